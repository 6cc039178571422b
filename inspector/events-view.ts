/** The tab of events: the chart, the list that follows the log, and one event in full. */
import { eachFrame } from './cell.ts'
import { chart } from './chart.ts'
import { announce, freshId, h, morph } from './dom.ts'
import { EventFilter } from './event-filter.ts'
import type { LoggedEvent } from './event-log.ts'
import { count, eventTime, many, moment } from './format.ts'
import { VirtualList } from './list.ts'
import type { Session } from './session.ts'
import type { View } from './view.ts'

/** Names and clients that are suggested. */
const suggestionsMax = 50
/** Letters of args that a row shows. */
const previewMax = 300
const [filterAfterMs, loadAfterMs] = [150, 60]

export const eventsView = (session: Session): View => {
  const { log } = session
  const filter = new EventFilter(session)
  let isPaused = false
  let showsArgs = false
  /** The event that the keys are at. */
  let chosen: number | undefined
  let isOpen = false

  const list = new VirtualList(
    {
      count: () => filter.count,
      fill: (row, index) => fillRow(row, index),
      seen: (from, to) => load(from, to),
      pinned: () => drawStatus(),
    },
    'Events, oldest first',
  )
  const hintId = freshId()
  list.element.setAttribute('aria-describedby', hintId)

  // ----- rows -----

  const rowId = (seqNum: number): string => `event-${seqNum}`

  const fillRow = (row: HTMLElement, index: number): void => {
    const [seqNum, event] = [filter.at(index), filter.eventAt(index)]
    if (row.childElementCount === 0)
      row.append(...['number', 'time', 'name', 'client', 'args'].map((name) => h('span', { class: name })))
    const [number, time, name, client, args] = [...row.children]
    row.id = rowId(seqNum)
    row.setAttribute('aria-posinset', String(index + 1))
    row.setAttribute('aria-setsize', String(filter.count))
    row.setAttribute('aria-selected', String(seqNum === chosen))
    // The first of a push says when it was stored; those that follow belong to it.
    const isFirst = event === undefined || filter.eventAt(index - 1)?.createdAt !== event.createdAt
    row.className = `row${isFirst ? ' first' : ''}${event === undefined ? ' absent' : ''}`
    const missing = log.covers(seqNum) ? 'no event has this number' : 'loading …'
    const texts = [
      count(seqNum),
      event && isFirst ? eventTime(event.createdAt, Date.now()) : '',
      event?.name ?? missing,
      event?.clientId ?? '',
      event && showsArgs ? (JSON.stringify(event.args) ?? 'none').slice(0, previewMax) : '',
    ]
    for (const [at, cell] of [number, time, name, client, args].entries())
      if (cell && cell.textContent !== texts[at]) cell.textContent = texts[at]!
  }

  let loading: number | undefined
  /** What stays in sight for a moment is asked for, if it is not here. */
  const load = (from: number, to: number): void => {
    clearTimeout(loading)
    if (filter.isOn) return
    const span = { from: filter.at(from), to: filter.at(to) }
    if (!log.coversAll(span)) loading = window.setTimeout(() => void session.load(span), loadAfterMs)
  }

  // ----- what is above the list -----

  const follow = h('button', { type: 'button', class: 'follow', onclick: () => pause(!isPaused) })
  const args = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => showArgs(!showsArgs) }, 'Args')
  const newest = h('button', { type: 'button', class: 'newest', hidden: true, onclick: () => toNewest() })
  const status = h('p', { class: 'status' })
  const older = h('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => void searchOlder() })

  const suggesting = (label: string, placeholder: string, seen: ReadonlyMap<string, number>) => {
    const listId = freshId()
    const options = h('datalist', { id: listId })
    const input = h('input', {
      type: 'search',
      list: listId,
      placeholder,
      'aria-label': label,
      autocomplete: 'off',
      spellcheck: 'false',
      oninput: () => filterSoon(),
    })
    input.addEventListener('focus', () => {
      const often = [...seen].toSorted(([, a], [, b]) => b - a).slice(0, suggestionsMax)
      options.replaceChildren(...often.map(([value]) => h('option', { value })))
    })
    return { input, options }
  }
  const name = suggesting('Show events whose name contains', 'Name', log.names)
  const client = suggesting('Show events of clients whose id contains', 'Client', log.clients)
  const goTo = h('input', {
    type: 'number',
    min: '1',
    step: '1',
    placeholder: 'Number',
    'aria-label': 'Go to the event of a number',
  })
  const going = h(
    'form',
    {
      class: 'go',
      onsubmit: (event) => {
        event.preventDefault()
        const seqNum = Number(goTo.value)
        if (seqNum >= 1 && filter.count > 0) choose(filter.indexOf(seqNum), 'middle')
        list.element.focus()
      },
    },
    goTo,
    h('button', { type: 'submit' }, 'Go'),
  )

  const pause = (value: boolean): void => {
    isPaused = value
    announce(isPaused ? 'Paused' : 'Following')
    if (!isPaused) list.isPinned = true
    update()
    drawStatus()
  }

  const toNewest = (): void => {
    if (isPaused) pause(false)
    list.toEnd()
    list.element.focus()
    drawStatus()
  }

  const showArgs = (value: boolean): void => {
    showsArgs = value
    args.setAttribute('aria-pressed', String(value))
    list.element.classList.toggle('with-args', value)
    list.refill()
    drawDetail()
  }

  let filtering: number | undefined
  const filterSoon = (): void => {
    clearTimeout(filtering)
    filtering = window.setTimeout(filterNow, filterAfterMs)
  }

  const filterNow = (): void => {
    clearTimeout(filtering)
    filtering = undefined
    filter.set({ name: name.input.value, client: client.input.value })
    list.isPinned = true
    list.refill()
    drawStatus()
    announce(status.textContent ?? '')
  }

  let isSearching = false
  const searchOlder = async (): Promise<void> => {
    if (isSearching) return
    if (filtering !== undefined) filterNow()
    isSearching = true
    let before = filter.count
    list.isPinned = false
    const progress = (): void => {
      const added = filter.count - before
      before = filter.count
      countInSight += added
      list.shift(added)
      drawStatus()
    }
    progress()
    await filter.searchOlder(progress)
    isSearching = false
    if (!filter.hasOlder) list.element.focus()
    drawStatus()
    announce(status.textContent ?? '')
  }

  /** How many rows there were when the end was in sight last. */
  let countInSight = 0

  const drawStatus = (): void => {
    if (list.isPinned && !isPaused) countInSight = filter.count
    const waiting = isPaused ? session.log.head - shownTo : 0
    follow.textContent = isPaused ? 'Resume' : 'Pause'
    follow.classList.toggle('is-paused', isPaused)
    newest.hidden = list.isPinned && !isPaused
    const others = isPaused && !filter.isOn ? waiting : filter.count - countInSight
    newest.textContent = others > 0 ? `${count(others)} new ↓` : 'To the newest ↓'
    const isEmpty = session.known.value?.state.backendId !== undefined && session.head === 0
    status.textContent = filter.isOn
      ? `${count(filter.count)} of the newest ${many(filter.searched, 'event')} match`
      : isEmpty
        ? 'No events yet'
        : `${many(shownTo, 'event')}${isPaused ? `, paused${waiting > 0 ? `, ${count(waiting)} new` : ''}` : ''}`
    older.hidden = !filter.hasOlder
    older.textContent = isSearching ? 'Searching …' : 'Search older events'
  }

  // ----- one event -----

  const detail = h('aside', { class: 'detail', hidden: true, 'aria-label': 'Event' })
  const body = h('div')
  const shows = h('button', { type: 'button', onclick: () => readArgs() }, 'Show args')
  const copies = h('button', { type: 'button', class: 'quiet', onclick: () => void copy() }, 'Copy')
  const close = h(
    'button',
    { type: 'button', class: 'close', 'aria-label': 'Close', onclick: () => closeDetail() },
    '×',
  )
  const pre = h('pre', { class: 'args', tabindex: '0', 'aria-label': 'Args' })
  detail.append(close, body, h('div', { class: 'args-bar' }, h('h3', {}, 'Args'), shows, copies), pre)
  detail.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return
    event.stopPropagation()
    closeDetail()
  })

  const readArgs = (): void => {
    showArgs(true)
    pre.focus()
  }

  const chosenEvent = (): LoggedEvent | undefined =>
    chosen === undefined ? undefined : (log.get(chosen) ?? filter.eventAt(filter.indexOf(chosen)))
  const argsText = ({ args: value }: LoggedEvent): string => JSON.stringify(value, null, 2) ?? 'none were sent'

  const copy = async (): Promise<void> => {
    const event = chosenEvent()
    if (event === undefined) return
    const isDone = await navigator.clipboard?.writeText(argsText(event)).then(
      () => true,
      () => false,
    )
    announce(isDone ? 'Copied' : 'This browser does not let the page copy')
  }

  const drawDetail = (): void => {
    const event = chosenEvent()
    detail.hidden = !isOpen || event === undefined
    if (event === undefined) return
    const ofPush = log.pushes.get(event.createdAt) ?? 1
    const facts: ReadonlyArray<readonly [string, string]> = [
      ['Continues from', count(event.parentSeqNum)],
      ['Stored', `${moment(event.createdAt)} (${eventTime(event.createdAt, event.createdAt).slice(-3)} ms)`],
      ['Push', ofPush === 1 ? 'alone' : `one of ${many(ofPush, 'event')} that are here`],
      ['Client', event.clientId],
      ['Session', event.sessionId],
    ]
    morph(
      body,
      h('p', { class: 'overline' }, `Event ${count(event.seqNum)}`),
      h('h2', {}, event.name),
      h(
        'dl',
        {},
        facts.map(([term, value]) => [h('dt', {}, term), h('dd', {}, value)]),
      ),
    )
    shows.hidden = showsArgs
    copies.hidden = pre.hidden = !showsArgs
    const text = showsArgs ? argsText(event) : ''
    if (pre.textContent !== text) pre.textContent = text
  }

  const choose = (index: number, where: 'nearest' | 'middle' = 'nearest'): void => {
    if (filter.count === 0) return
    const at = Math.max(0, Math.min(filter.count - 1, index))
    chosen = filter.at(at)
    list.reveal(at, where)
    list.refill()
    list.element.setAttribute('aria-activedescendant', rowId(chosen))
    drawStatus()
    drawDetail()
  }

  const open = (): void => {
    if (chosen === undefined) return
    isOpen = true
    drawDetail()
  }

  const closeDetail = (): void => {
    isOpen = false
    detail.hidden = true
    list.element.focus()
  }

  list.element.addEventListener('click', ({ target }) => {
    const row = target instanceof Element ? target.closest('.row') : null
    const position = Number(row?.getAttribute('aria-posinset'))
    if (!(position > 0)) return
    choose(position - 1)
    open()
  })
  list.element.addEventListener('keydown', (event) => {
    const current = chosen === undefined ? filter.count : filter.indexOf(chosen)
    const page = list.rowsInSight
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: current + 1,
      ArrowUp: current - 1,
      PageDown: current + page,
      PageUp: current - page,
      Home: 0,
      End: filter.count - 1,
    }
    const to = moves[event.key]
    if (to !== undefined) choose(to)
    else if (event.key === 'Enter' || event.key === ' ') open()
    else if (event.key === 'Escape' && isOpen) closeDetail()
    else return
    event.preventDefault()
  })

  // ----- what comes -----

  let shownTo = 0
  const update = (): void => {
    if (!isPaused) {
      shownTo = session.head
      filter.showTo(shownTo)
    }
    list.draw()
    drawStatus()
  }
  const updateSoon = eachFrame(() => {
    update()
    list.refill()
    if (isOpen) drawDetail()
  })
  const unwatch = [
    session.begun.watch(() => {
      shownTo = 0
      chosen = undefined
      list.element.removeAttribute('aria-activedescendant')
      filter.clear()
      detail.hidden = true
    }),
    session.arrived.watch(updateSoon),
    session.known.watch(updateSoon),
  ]
  const plot = chart(session)
  const hint = 'Arrow keys choose an event, Enter shows it'
  const element = h(
    'div',
    { class: 'events' },
    plot.element,
    h(
      'div',
      { class: 'bar', role: 'group', 'aria-label': 'Events' },
      follow,
      name.input,
      name.options,
      client.input,
      client.options,
      args,
      going,
      h('div', { class: 'bar-status' }, status, older),
    ),
    h('div', { class: 'split' }, h('div', { class: 'list-box' }, list.element, newest), detail),
    h('p', { id: hintId, class: 'unseen' }, hint),
  )
  return {
    element,
    dispose: () => {
      for (const stop of unwatch) stop()
      clearTimeout(filtering)
      clearTimeout(loading)
      plot.dispose()
      list.dispose()
    },
  }
}
