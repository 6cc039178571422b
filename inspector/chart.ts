/** Pushes and events over time, of the events that are here: two bars in each step, the pushes within the events. */
import { type Bar, barsOf, type Drawing, hour, minute, second } from './bars.ts'
import { announce, h, morph, svg } from './dom.ts'
import { axisTime, count, duration, many, moment } from './format.ts'
import type { Session } from './session.ts'

const [width, height] = [1_200, 100]
const redrawEveryMs = 500

const ranges: ReadonlyArray<readonly [name: string, ms: number]> = [
  ['What is loaded', 0],
  ['Last minute', minute],
  ['Last 10 minutes', 10 * minute],
  ['Last hour', hour],
  ['Last day', 24 * hour],
]

const pathOf = (values: readonly number[], max: number): string => {
  const slot = width / values.length
  const gap = Math.min(2, slot / 5)
  return values
    .map((value, index) => {
      const tall = value === 0 ? 0 : Math.max(2, (value / max) * height)
      return tall === 0
        ? ''
        : `M${(index * slot).toFixed(1)} ${height}h${(slot - gap).toFixed(1)}v${-tall.toFixed(1)}h${(gap - slot).toFixed(1)}z`
    })
    .join('')
}

/** The chart of a session, and a function that ends it. */
export const chart = (session: Session): { readonly element: HTMLElement; dispose(): void } => {
  const [events, pushes] = [svg('path', { class: 'events' }), svg('path', { class: 'pushes' })]
  const picture = svg(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', tabindex: '0' },
    events,
    pushes,
  )
  const [begin, end, caption] = [
    h('span', { class: 'begin' }),
    h('span', { class: 'end' }),
    h('p', { class: 'caption' }),
  ]
  const select = h(
    'select',
    { 'aria-label': 'Time shown in the chart', onchange: () => draw() },
    ranges.map(([name, ms]) => h('option', { value: ms }, name)),
  )
  const element = h('figure', { class: 'chart' }, picture, h('figcaption', {}, begin, caption, select, end))
  let drawing: Drawing = { from: 0, step: second, bars: [] }
  /** The step that is pointed at. */
  let chosen: number | undefined

  const tell = (): void => {
    const { from, step, bars } = drawing
    const bar = chosen === undefined ? undefined : bars[chosen]
    if (chosen !== undefined && bar !== undefined) {
      const at = from + chosen * step
      morph(caption, h('b', {}, moment(at)), ` within ${duration(step)}: ${sum(bar)}`)
      return
    }
    const all = bars.reduce((a, b) => ({ events: a.events + b.events, pushes: a.pushes + b.pushes }), {
      events: 0,
      pushes: 0,
    })
    const rest = session.head - session.log.size
    const note = Number(select.value) === 0 && rest > 0 ? ` of ${count(session.head)}` : ''
    const max = Math.max(0, ...drawing.bars.map((bar) => bar.events))
    morph(
      caption,
      h('span', { class: 'key pushes', 'aria-hidden': 'true' }),
      many(all.pushes, 'push', 'pushes'),
      h('span', { class: 'key events', 'aria-hidden': 'true' }),
      `${many(all.events, 'event')}${note}, at most ${count(max)} in ${duration(drawing.step)}`,
    )
  }

  const draw = (): void => {
    drawing = barsOf(session.log.pushes, Number(select.value), Date.now())
    const { from, step, bars } = drawing
    const max = Math.max(1, ...bars.map((bar) => bar.events))
    events.setAttribute(
      'd',
      pathOf(
        bars.map((bar) => bar.events),
        max,
      ),
    )
    pushes.setAttribute(
      'd',
      pathOf(
        bars.map((bar) => bar.pushes),
        max,
      ),
    )
    const span = bars.length * step
    const busiest = bars.findIndex((bar) => bar.events === max)
    const summary =
      busiest < 0
        ? 'No events'
        : `Pushes and events in steps of ${duration(step)}; the most were ${sum(bars[busiest]!)} at ${moment(from + busiest * step)}`
    picture.setAttribute('aria-label', summary)
    begin.textContent = bars.length === 0 ? '' : axisTime(from, span)
    end.textContent = bars.length === 0 ? '' : axisTime(from + span, span)
    tell()
  }

  const choose = (index: number | undefined): void => {
    chosen = index
    tell()
  }
  picture.addEventListener('pointermove', (event) => {
    const { left, width: wide } = picture.getBoundingClientRect()
    choose(Math.floor(((event.clientX - left) / wide) * drawing.bars.length))
  })
  picture.addEventListener('pointerleave', () => choose(undefined))
  picture.addEventListener('blur', () => choose(undefined))
  picture.addEventListener('keydown', (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (move === undefined) return
    event.preventDefault()
    const last = drawing.bars.length - 1
    choose(Math.min(last, Math.max(0, (chosen ?? (move < 0 ? last + 1 : -1)) + move)))
    announce(caption.textContent ?? '')
  })

  let due: number | undefined
  const soon = (): void => {
    due ??= window.setTimeout(() => {
      due = undefined
      if (!document.hidden) draw()
    }, redrawEveryMs)
  }
  const unwatch = session.arrived.watch(soon)
  // A window that ends now moves on although nothing happens.
  const moving = window.setInterval(() => {
    if (Number(select.value) > 0) soon()
  }, second)
  draw()
  return {
    element,
    dispose: () => {
      unwatch()
      clearTimeout(due)
      clearInterval(moving)
    },
  }
}

const sum = (bar: Bar): string => `${many(bar.events, 'event')} in ${many(bar.pushes, 'push', 'pushes')}`
