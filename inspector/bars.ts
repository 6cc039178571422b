/** What a chart of pushes shows: how many of them, and of their events, came in each step of time. */

export const second = 1_000
export const minute = 60 * second
export const hour = 60 * minute
const steps = [1, 2, 5, 10, 30]
  .flatMap((n) => [n * second, n * minute])
  .concat([1, 2, 6, 12, 24, 7 * 24].map((n) => n * hour))
const stepsSorted = steps.toSorted((a, b) => a - b)
/** So many steps are shown at most. */
const barsMax = 120

export interface Bar {
  events: number
  pushes: number
}

export interface Drawing {
  /** When the first step begins, in milliseconds. */
  readonly from: number
  readonly step: number
  readonly bars: readonly Bar[]
}

/** Sorts pushes into steps of time. `windowMs` is how far to look back from `now`, 0 for all. */
export const barsOf = (pushes: ReadonlyMap<number, number>, windowMs: number, now: number): Drawing => {
  let [from, to] = windowMs > 0 ? [now - windowMs, now] : [Infinity, -Infinity]
  if (windowMs === 0)
    for (const at of pushes.keys()) {
      from = Math.min(from, at)
      to = Math.max(to, at)
    }
  if (from > to) return { from: now, step: second, bars: [] }
  const span = Math.max(to - from, 10 * second)
  const step = stepsSorted.find((one) => span / one <= barsMax) ?? span / barsMax
  const start = Math.floor(from / step) * step
  const bars = Array.from({ length: Math.floor((Math.max(to, start + span) - start) / step) + 1 }, (): Bar => ({
    events: 0,
    pushes: 0,
  }))
  for (const [at, events] of pushes) {
    const bar = bars[Math.floor((at - start) / step)]
    if (bar === undefined) continue
    bar.events += events
    bar.pushes += 1
  }
  return { from: start, step, bars }
}
