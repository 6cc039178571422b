/** The tab of numbers: what was counted since the object woke, refusals by reason, how long things took. */
import { eachFrame } from './cell.ts'
import { type Child, h, morph, svg } from './dom.ts'
import { reasonInWords } from './explain.ts'
import { ago, bytes, count } from './format.ts'
import { type Histogram, type Metrics, quantile } from './metrics.ts'
import type { Session } from './session.ts'
import { headOf } from './table.ts'
import type { View } from './view.ts'

export const healthView = (session: Session): View => {
  const [counters, refusals, durations] = [h('section'), h('section'), h('section')]
  const draw = eachFrame(() => {
    const metrics = session.metrics.value
    if (metrics === undefined) return
    morph(counters, ...countersOf(metrics))
    morph(refusals, ...refusalsOf(metrics))
    morph(durations, ...durationsOf(metrics))
  })
  const unwatch = session.metrics.watch(draw)
  const unwatchState = session.known.watch(() => void session.wantMetrics())
  return {
    element: h('div', { class: 'page' }, counters, refusals, durations),
    dispose: () => {
      unwatch()
      unwatchState()
      session.wantsMetrics = false
      session.metrics.value = undefined
    },
  }
}

const shown: ReadonlyArray<readonly [name: string, label: string]> = [
  ['pushes_total', 'pushes stored'],
  ['events_total', 'events stored'],
  ['pushes_repeated_total', 'pushes repeated'],
  ['pulls_total', 'pulls'],
  ['pages_total', 'pages sent'],
  ['deliveries_total', 'deliveries'],
  ['connections_total', 'sockets accepted'],
  ['calls_failed_total', 'calls failed'],
]

const countersOf = ({ values }: Metrics): readonly Child[] => {
  const woken = values.get('woken_timestamp_seconds')
  const since = woken === undefined ? '' : `It woke ${ago(Date.now() - woken * 1_000)}. `
  return [
    h('h2', {}, 'Since the object woke'),
    h('p', { class: 'faint' }, `${since}An object that nobody needs is put to sleep, and counts anew when it wakes.`),
    h(
      'dl',
      { class: 'figures' },
      shown.map(([name, label]) => h('div', {}, h('dt', {}, label), h('dd', {}, count(values.get(name) ?? 0)))),
      h('div', {}, h('dt', {}, 'on their way'), h('dd', {}, bytes(values.get('in_flight_bytes') ?? 0))),
    ),
  ]
}

/** A bar of a `share` of the width. */
const bar = (share: number): Child =>
  svg(
    'svg',
    { class: 'bar-line', viewBox: '0 0 100 1', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { width: share > 0 ? Math.max(0.5, share * 100) : 0, height: 1 }),
  )

const refusalsOf = ({ refusals }: Metrics): readonly Child[] => {
  const most = refusals[0]?.[1] ?? 1
  return [
    h('h2', {}, 'Refusals by reason'),
    refusals.length === 0
      ? h('p', { class: 'calm' }, 'None since the object woke.')
      : h(
          'table',
          { class: 'bars' },
          headOf(['Reason', 'Refusals'], { class: 'unseen' }),
          h(
            'tbody',
            {},
            refusals.map(([reason, refused]) =>
              h(
                'tr',
                {},
                h('th', { scope: 'row' }, reason, h('small', {}, reasonInWords(reason))),
                h('td', {}, bar(refused / most), h('span', { class: 'number' }, count(refused))),
              ),
            ),
          ),
        ),
  ]
}

const whats: Readonly<Record<string, readonly [title: string, text: string]>> = {
  request: ['Requests', 'over HTTP and Durable Object RPC, to their answer'],
  frame: ['Messages', 'of sockets that waited for a hook'],
  call: ['Calls', 'to client objects'],
}

const durationsOf = ({ durations }: Metrics): readonly Child[] => {
  const seen = durations.filter((histogram) => histogram.count > 0)
  return [
    h('h2', {}, 'Durations'),
    seen.length === 0
      ? h(
          'p',
          { class: 'calm' },
          'Nothing was waited for: pushes and pulls on sockets are answered in the turn in which they come.',
        )
      : h('div', { class: 'histograms' }, seen.map(histogramOf)),
  ]
}

const upTo = (ms: number): string => (ms === Infinity ? 'more' : ms >= 1_000 ? `${ms / 1_000} s` : `${ms} ms`)

const histogramOf = (histogram: Histogram): Child => {
  const { what, buckets, count: all, sumMs } = histogram
  const [title, text] = whats[what] ?? [what, '']
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count))
  const median = quantile(histogram, 0.5)
  const slow = quantile(histogram, 0.99)
  const within = (ms: number): string => (ms === Infinity ? 'more than 5 s' : `${upTo(ms)} or less`)
  return h(
    'figure',
    {},
    h('figcaption', {}, h('h3', {}, title), h('p', { class: 'faint' }, text)),
    h(
      'table',
      { class: 'bars' },
      headOf(['Up to', 'How many'], { class: 'unseen' }),
      h(
        'tbody',
        {},
        buckets.map(({ toMs, count: value }) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, upTo(toMs)),
            h('td', {}, bar(value === 0 ? 0 : value / most), h('span', { class: 'number' }, count(value))),
          ),
        ),
      ),
    ),
    h(
      'p',
      { class: 'faint' },
      `${count(all)} in all, ${(sumMs / all).toFixed(1)} ms on average; half took ${within(median)}, 99 of 100 ${within(slow)}.`,
    ),
  )
}
