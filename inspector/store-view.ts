/** One store: what it is, what is wrong with it, what is under way, and a tab that shows more. */
import { storePath } from './api.ts'
import { backupView } from './backup-view.ts'
import { eachFrame } from './cell.ts'
import { clientsView } from './clients-view.ts'
import { announce, type Child, h, morph, whileBusy } from './dom.ts'
import { eventsView } from './events-view.ts'
import { findingsOf } from './explain.ts'
import { ago, bytes, count, duration, many, moment, time, wordsOf } from './format.ts'
import { healthView } from './health-view.ts'
import type { LinkStatus } from './live.ts'
import { manageView } from './manage-view.ts'
import { storeHash, type Tab, tabs } from './route.ts'
import type { Session } from './session.ts'
import type { State } from '../host/administration.ts'
import type { View } from './view.ts'

const views: Readonly<Record<Tab, (session: Session) => View>> = {
  events: eventsView,
  clients: clientsView,
  health: healthView,
  backup: backupView,
  manage: manageView,
}

const titles: Readonly<Record<Tab, string>> = {
  events: 'Events',
  clients: 'Clients',
  health: 'Numbers',
  backup: 'Backup',
  manage: 'Manage',
}

const clockEveryMs = 1_000

export interface StoreView extends View {
  show(tab: Tab): void
}

export const storeView = (session: Session): StoreView => {
  const { storeId } = session
  let shown: { readonly tab: Tab; readonly view: View } | undefined
  const [facts, alerts, progress, links] = [
    h('dl', { class: 'facts' }),
    h('div'),
    h('div'),
    h('div', { class: 'tab-links' }),
  ]
  const link = h('span', { class: 'link' })
  const asOf = h('span', { class: 'as-of' })
  const again = h('button', { type: 'button', onclick: () => void whileBusy(again, refresh) }, 'Refresh')
  const retry = h(
    'button',
    { type: 'button', class: 'quiet', hidden: true, onclick: () => session.reconnect() },
    'Try now',
  )
  const panel = h('div', { class: 'panel' })
  const element = h(
    'div',
    { class: 'store' },
    h(
      'header',
      { class: 'store-head' },
      h('div', { class: 'title' }, h('h1', { tabindex: '-1' }, storeId || '(the empty id)')),
      h('div', { class: 'now' }, link, retry, asOf, again),
    ),
    alerts,
    progress,
    facts,
    h('nav', { class: 'tabs', 'aria-label': 'Parts of the store' }, links),
    panel,
  )

  const refresh = async (): Promise<void> => {
    // A store that was not there may be by now.
    if (session.known.value === undefined) await session.open()
    else await session.refresh()
    announce(session.failure.value ?? 'The state is that of now')
  }

  const giveUp = h('button', { type: 'button', class: 'quiet', onclick: () => void cancel() }, 'Give up')
  const cancel = async (): Promise<void> => {
    await session.api
      .json(storePath(storeId, '/restore'), { method: 'DELETE' })
      .catch((error: unknown) => (session.failure.value = wordsOf(error)))
    await session.refresh()
  }
  const bar = h('progress', { max: '1', value: '0' })
  const barWords = h('p')
  const banner = h('section', { class: 'banner', 'aria-label': 'Under way', hidden: true }, barWords, bar, giveUp)
  progress.append(banner)

  const drawProgress = ({ status, restore, deletion }: State): void => {
    const isRestoring = status === 'restoring' && restore !== undefined
    banner.hidden = !isRestoring && status !== 'deleting'
    giveUp.hidden = !isRestoring
    if (isRestoring) {
      const { staged, events, at, failures, lastError } = restore
      const share = events > 0 ? Math.min(1, staged / events) : 0
      barWords.textContent = [
        at === undefined ? 'A log is being brought in' : `A file is being brought in; ${bytes(at)} of it are here`,
        events > 0 ? `${count(staged)} of ${many(events, 'event')}` : `${many(staged, 'event')} so far`,
        failures > 0
          ? `it failed ${many(failures, 'time')} and is tried again${lastError ? `: ${lastError.message}` : ''}`
          : '',
      ]
        .filter(Boolean)
        .join(', ')
      bar.setAttribute('aria-label', 'Progress')
      // Nobody knows how long a file is that comes in pieces.
      if (events > 0) bar.value = share
      else bar.removeAttribute('value')
    } else if (deletion !== undefined) {
      barWords.textContent = `The store is being deleted: ${many(deletion.events, 'event')} here, ${deletion.backup ? many(deletion.backup.events, 'event') : 'none'} in the backup`
      bar.removeAttribute('value')
    }
  }

  const draw = eachFrame(() => {
    const known = session.known.value
    const { value: failure } = session.failure
    const state = known?.state
    const found = state === undefined ? [] : findingsOf(state)
    // The tab that they are about tells them in full.
    const told = found.filter(({ tab }) => tab !== shown?.tab)
    morph(
      alerts,
      failure === undefined ? null : h('p', { class: 'alert bad', role: 'alert' }, failure),
      told.length === 0
        ? null
        : h(
            'ul',
            { class: 'alerts', 'aria-label': 'Look at this' },
            told
              .slice(0, 3)
              .map(({ title, weight, tab }) =>
                h(
                  'li',
                  { class: `alert ${weight}` },
                  h('a', { href: storeHash(storeId, tab) }, title, h('span', { class: 'more' }, 'Why?')),
                ),
              ),
            told.length > 3 ? h('li', { class: 'alert' }, `and ${count(told.length - 3)} more`) : null,
          ),
    )
    morph(facts, ...factsOf(state, session.head))
    if (state !== undefined) drawProgress(state)
    else banner.hidden = true
    drawLinks(found.some(({ tab }) => tab === 'clients'))
  })

  const drawLinks = (hasStuck: boolean): void => {
    const { sockets } = session.known.value?.state ?? {}
    const clients = sockets?.filter(({ inspector }) => inspector !== true).length
    const extras: Partial<Record<Tab, Child>> = {
      events: session.head > 0 ? count(session.head) : null,
      clients: clients ? count(clients) : null,
    }
    morph(
      links,
      ...tabs.map((tab) =>
        h(
          'a',
          { href: storeHash(storeId, tab), ...(tab === shown?.tab ? { 'aria-current': 'page' } : {}) },
          titles[tab],
          extras[tab] ? h('span', { class: 'tally' }, extras[tab]) : null,
          tab === 'clients' && hasStuck ? h('span', { class: 'mark', title: 'Somebody is stuck' }, '!') : null,
        ),
      ),
    )
  }

  const drawClock = (): void => {
    const { value: status } = session.link
    link.className = `link is-${status.is}`
    link.textContent = linkInWords(status)
    retry.hidden = status.is !== 'waiting'
    const { value: known } = session.known
    asOf.textContent = known === undefined ? '' : `State as of ${time(known.at)}`
  }

  const unwatch = [
    session.known.watch(draw),
    session.failure.watch(draw),
    session.arrived.watch(draw),
    session.known.watch(drawClock),
    session.link.watch((status) => {
      drawClock()
      if (status.is === 'waiting' || status.is === 'ended') announce(linkInWords(status))
    }),
  ]
  const clock = window.setInterval(() => {
    if (!document.hidden && session.link.value.is === 'waiting') drawClock()
  }, clockEveryMs)

  return {
    element,
    show: (tab) => {
      if (shown?.tab === tab) return
      shown?.view.dispose()
      const view = views[tab](session)
      shown = { tab, view }
      panel.replaceChildren(view.element)
      element.dataset['tab'] = tab
      draw()
    },
    dispose: () => {
      for (const stop of unwatch) stop()
      clearInterval(clock)
      shown?.view.dispose()
    },
  }
}

const linkInWords = (status: LinkStatus): string => {
  switch (status.is) {
    case 'connecting':
      return 'Connecting …'
    case 'live':
      return 'Live'
    case 'waiting':
      return `${status.why}; again in ${count(Math.max(1, Math.ceil((status.until - Date.now()) / 1_000)))} s`
    case 'resting':
      return 'Resting'
    case 'ended':
      return `Not live: ${status.why}`
  }
}

const statuses: Readonly<Record<string, string>> = {
  open: 'open',
  restoring: 'being restored',
  'restore-failed': 'restore failed',
  deleting: 'being deleted',
  'delete-failed': 'deletion failed',
  'backup-found': 'a backup alone',
  'log-elsewhere': 'log elsewhere',
}

const factsOf = (state: State | undefined, head: number): readonly Child[] => {
  if (state === undefined) return []
  const { status, bytes: size, lastPush, sockets, clientObjects = [], backup, retention, backendId } = state
  const clients = (sockets ?? []).filter(({ inspector }) => inspector !== true).length
  const facts: ReadonlyArray<readonly [term: string, value: Child, title?: string] | false> = [
    ['Status', statuses[status] ?? status],
    backendId !== undefined && ['Head', count(head)],
    size !== undefined && ['Size', bytes(size)],
    lastPush !== undefined && [
      'Last push',
      lastPush === null ? 'none' : ago(Math.max(0, Date.parse(state.time ?? lastPush.at) - Date.parse(lastPush.at))),
      lastPush === null ? '' : moment(Date.parse(lastPush.at)),
    ],
    sockets !== undefined && [
      'Connected',
      `${count(clients)}${clientObjects.length > 0 ? ` + ${count(clientObjects.length)} objects` : ''}`,
    ],
    backup !== undefined && [
      'Backup',
      backup.lagEvents === 0 ? 'complete' : `${count(backup.lagEvents)} behind`,
      backup.lagEvents === 0 ? '' : `The first of them was stored ${duration(backup.lagSeconds * 1_000)} ago`,
    ],
    retention !== undefined && ['Ends', moment(Date.parse(retention.endsAt)), 'unless somebody opens it'],
    backendId !== undefined && [
      'Lifetime',
      h('span', { class: 'id' }, backendId),
      'The backend id: another one after a reset',
    ],
  ]
  return facts
    .filter((fact) => fact !== false)
    .map(([term, value, title]) =>
      h('div', { title, class: term.toLowerCase() }, h('dt', {}, term), h('dd', {}, value)),
    )
}
