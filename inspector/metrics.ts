/** What a store counts, read from the text that Prometheus is given. */

export interface Metrics {
  /** The values without labels of their own, by name without prefix. */
  readonly values: ReadonlyMap<string, number>
  /** Refusals by reason, those that there were, the most frequent first. */
  readonly refusals: ReadonlyArray<readonly [reason: string, count: number]>
  readonly durations: readonly Histogram[]
}

export interface Histogram {
  /** `request`, `frame` or `call`. */
  readonly what: string
  readonly count: number
  readonly sumMs: number
  /** How many took longer than the bound before and at most this many milliseconds; the last bound is infinite. */
  readonly buckets: ReadonlyArray<{ readonly toMs: number; readonly count: number }>
}

const sampleLine = /^livestore_sync_(\w+)\{(.*)\} (\S+)$/
const labelPair = /(\w+)="((?:[^"\\]|\\.)*)"/g

export const parseMetrics = (text: string): Metrics => {
  const values = new Map<string, number>()
  const refusals: Array<readonly [string, number]> = []
  const histograms = new Map<string, { sumMs: number; count: number; bounds: Array<{ toMs: number; upTo: number }> }>()
  for (const line of text.split('\n')) {
    const [, name, labelText = '', number] = sampleLine.exec(line) ?? []
    if (name === undefined) continue
    const labels = new Map([...labelText.matchAll(labelPair)].map(([, key = '', value = '']) => [key, value]))
    const value = Number(number)
    const [what, reason] = [labels.get('what'), labels.get('reason')]
    if (what !== undefined) {
      const histogram = histograms.get(what) ?? { sumMs: 0, count: 0, bounds: [] }
      histograms.set(what, histogram)
      if (name.endsWith('_sum')) histogram.sumMs = value
      else if (name.endsWith('_count')) histogram.count = value
      else {
        const bound = labels.get('le')
        histogram.bounds.push({ toMs: bound === '+Inf' ? Infinity : Number(bound), upTo: value })
      }
    } else if (reason === undefined) values.set(name, value)
    else if (name === 'refusals_total' && value > 0) refusals.push([reason, value])
  }
  return {
    values,
    refusals: refusals.toSorted(([, a], [, b]) => b - a),
    durations: [...histograms].map(([what, { sumMs, count, bounds }]) => ({
      what,
      sumMs,
      count,
      buckets: bounds
        .toSorted((a, b) => a.toMs - b.toMs)
        .map(({ toMs, upTo }, index, sorted) => ({ toMs, count: upTo - (sorted[index - 1]?.upTo ?? 0) })),
    })),
  }
}

/** In how many milliseconds at most the `share` of them that were fastest was done: the bound of their bucket. */
export const quantile = ({ buckets, count }: Histogram, share: number): number => {
  let seen = 0
  for (const bucket of buckets) {
    seen += bucket.count
    if (seen >= count * share) return bucket.toMs
  }
  return Infinity
}
