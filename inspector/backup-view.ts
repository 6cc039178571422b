/** The tab of the backup: how far it is, whether it is right, and bringing a log back from it. */
import { Failure, storePath } from './api.ts'
import { eachFrame } from './cell.ts'
import { announce, type Child, h, morph, whileBusy } from './dom.ts'
import { findingsOf } from './explain.ts'
import { findingList } from './findings.ts'
import { bytes, count, duration, many, moment, wordsOf } from './format.ts'
import { openRestore } from './restore.ts'
import type { Session } from './session.ts'
import { boxedTable } from './table.ts'
import type { Difference, State, Verified, VerifyLine } from '../host/administration.ts'
import type { View } from './view.ts'

/** Differences that are shown; the last line of an answer counts all. */
const differencesShown = 500

export const backupView = (session: Session): View => {
  const [findings, facts, lifetimes, last] = [h('section'), h('div'), h('section'), h('p', { class: 'faint' })]
  const verification = verify(session)
  const restore = h(
    'section',
    {},
    h('h2', {}, 'Restore'),
    h(
      'p',
      {},
      'Brings a log back from the backup of this store, or of another: all of it, or up to an event or a time. First it says what would be kept and lost.',
    ),
    last,
    h('button', { type: 'button', onclick: () => void openRestore(session) }, 'Restore …'),
  )
  const draw = eachFrame(() => {
    const state = session.known.value?.state
    if (state === undefined) return
    const found = findingsOf(state).filter(({ tab }) => tab === 'backup')
    morph(findings, found.length > 0 ? findingList(found) : null)
    morph(facts, ...factsOf(state))
    morph(lifetimes, ...lifetimesOf(state))
    last.hidden = state.lastRestore === undefined
    last.textContent = lastRestoreOf(state)
  })
  const unwatch = session.known.watch(draw)
  return {
    element: h(
      'div',
      { class: 'page' },
      findings,
      h('section', {}, h('h2', {}, 'Backup'), facts),
      lifetimes,
      verification.element,
      restore,
    ),
    dispose: () => {
      unwatch()
      verification.dispose()
    },
  }
}

const factsOf = ({ backup, backendId = '', head = 0, status }: State): readonly Child[] => {
  if (status === 'backup-found') return [h('p', {}, 'The backup is all there is of this store.')]
  if (backup === undefined)
    return [h('p', { class: 'calm' }, 'This store has no backup: no D1 database is bound as DB, or BACKUP is off.')]
  const { compaction } = backup
  const figures: ReadonlyArray<readonly [string, string]> = [
    ['copied up to', `${count(backup.head)} of ${count(head)}`],
    ['events behind', count(backup.lagEvents)],
    ['time behind', backup.lagEvents === 0 ? '–' : duration(backup.lagSeconds * 1_000)],
    ['copies failed in a row', count(backup.failures)],
    ...(compaction === undefined
      ? []
      : ([
          ['folded up to', count(compaction.foldedTo)],
          ['compaction', compaction.isUnderWay ? 'under way' : 'idle'],
        ] as const)),
  ]
  return [
    h(
      'dl',
      { class: 'figures' },
      figures.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))),
    ),
    compaction === undefined
      ? h('p', { class: 'faint' }, 'Old events are not folded: COMPACT_AFTER_DAYS is off.')
      : null,
    h(
      'p',
      { class: 'faint' },
      'Of the lifetime ',
      h('span', { class: 'id' }, backendId),
      '. That is the backend id; a reset begins another one.',
    ),
  ]
}

const lastRestoreOf = ({ lastRestore }: State): string => {
  if (lastRestore === undefined) return ''
  const { at, outcome, message } = lastRestore
  const how = outcome === 'ended' ? 'was ended by an operator' : 'failed'
  return `The last one ${how}, ${moment(Date.parse(at))}${message === undefined ? '.' : `: ${message}`}`
}

const lifetimesOf = ({ lifetimes = [] }: State): readonly Child[] =>
  lifetimes.length === 0
    ? []
    : [
        h('h2', {}, 'Lifetimes in the backup'),
        boxedTable(
          'Lifetimes',
          ['Lifetime', 'Events', 'Bytes', 'First event', 'Last event'],
          lifetimes.map((one) =>
            h(
              'tr',
              {},
              h('td', { class: 'id' }, one.backendId),
              h('td', { class: 'number' }, count(one.events)),
              h('td', { class: 'number' }, bytes(one.bytes)),
              h('td', {}, moment(Date.parse(one.firstAt))),
              h('td', {}, moment(Date.parse(one.lastAt))),
            ),
          ),
        ),
      ]

/** The section that compares backup and log. */
const verify = (session: Session): View => {
  const result = h('p')
  const differences = h('ul', { class: 'differences' })
  const begin = h('button', { type: 'button', onclick: () => void whileBusy(begin, () => run(0)) }, 'Verify')
  const goOn = h(
    'button',
    { type: 'button', hidden: true, onclick: () => void whileBusy(begin, () => run(next)) },
    'Go on',
  )
  const giveUp = h('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => stopper?.abort() }, 'Stop')
  let next = 0
  let compared = 0
  let shown = 0
  let stopper: AbortController | undefined

  const run = async (after: number): Promise<void> => {
    stopper = new AbortController()
    giveUp.hidden = false
    goOn.hidden = true
    if (after === 0) {
      compared = shown = 0
      differences.replaceChildren()
    }
    result.textContent = 'Comparing …'
    try {
      const path = storePath(session.storeId, `/verify${after > 0 ? `?after=${after}` : ''}`)
      await session.api.lines<VerifyLine>(path, (lines) => lines.forEach(take), { signal: stopper.signal })
    } catch (error) {
      result.textContent = stopper.signal.aborted
        ? 'Stopped'
        : error instanceof Failure && error.status === 404
          ? 'There is no backup to compare with'
          : wordsOf(error)
    }
    giveUp.hidden = true
    announce(result.textContent ?? '')
  }

  const take = (line: VerifyLine): void => {
    if ('error' in line) differences.append(h('li', {}, line.error))
    else if ('difference' in line) {
      if ((shown += 1) <= differencesShown) differences.append(h('li', {}, differenceInWords(line)))
    } else {
      compared += line.events
      next = line.next ?? 0
      goOn.hidden = next === 0
      result.textContent = resultInWords(line, compared)
      result.className = line.result === 'same' ? 'is-good' : line.result === 'different' ? 'is-bad' : ''
    }
  }

  return {
    element: h(
      'section',
      {},
      h('h2', {}, 'Verify'),
      h(
        'p',
        {},
        'Compares the backup with the log, event by event. Nothing is written; D1 counts about five rows read for each event.',
      ),
      h('div', { class: 'buttons' }, begin, goOn, giveUp),
      result,
      differences,
    ),
    dispose: () => stopper?.abort(),
  }
}

const differenceInWords = ({ difference, from = 0, to = 0, columns = [] }: Difference): string => {
  const span = from === to ? `Event ${count(from)}` : `Events ${count(from)} to ${count(to)}`
  switch (difference) {
    case 'missing':
      return `${span}: in the log, not in the backup`
    case 'columns':
      return `${span}: ${columns.join(', ')} differ`
    case 'extra':
      return `${span}: in the backup alone`
    case 'chain':
      return `${span}: in the log itself, they do not continue from the one before`
    case 'lifetime':
      return `What the backup says of itself does not fit the log: ${columns.join(', ')}`
    default:
      return `${span}: ${difference}`
  }
}

const resultInWords = ({ result, differences, lag, head }: Verified, compared: number): string => {
  const lacks = lag > 0 ? `; ${many(lag, 'event')} have yet to be copied` : ''
  if (result === 'same') return `The same: ${many(compared, 'event')} compared, up to ${count(head)}${lacks}`
  if (result === 'different')
    return `Different: ${many(differences, 'difference')} in ${many(compared, 'event')}${lacks}`
  return `${many(compared, 'event')} compared so far, ${many(differences, 'difference')} in the last part`
}
