/**
 * The one table of the benchmark: which numbers it shows, what they are called, how they compare.
 *
 * Pure: takes the numbers of all rounds, returns text.
 */
import { median } from './measure.ts'

/** Short names of the backends, as `--backends` and the table's head use them. */
export type Name = 'ours' | 'before' | 'backup' | 'sync-cf' | 'minimal-js'

/** A number by backend; absent where a backend did not run. */
export type Row = Readonly<Partial<Record<Name, number>>>

/** The numbers of each round by backend. */
export type Rounds = Readonly<Partial<Record<Name, readonly number[]>>>

/** The medians of the rounds. */
export const mediansOf = (rounds: Rounds): Row =>
  Object.fromEntries(Object.entries(rounds).map(([name, numbers]) => [name, median(numbers)]))

interface Metric {
  readonly key: string
  readonly label: string
  readonly better: 'lower' | 'higher'
}

/** The rows of the table. */
export const metrics: readonly Metric[] = [
  { key: 'push1.p50Ms', label: 'push of 1 event, p50 ms', better: 'lower' },
  { key: 'push1.p99Ms', label: 'push of 1 event, p99 ms', better: 'lower' },
  { key: 'push1.cpuUs', label: 'push of 1 event, CPU µs', better: 'lower' },
  { key: 'push100.perSecond', label: 'pushes of 100 events, events/s', better: 'higher' },
  { key: 'push100.cpuUs', label: 'pushes of 100 events, CPU µs/event', better: 'lower' },
  { key: 'pull.perSecond', label: 'pull of a whole log, events/s', better: 'higher' },
  { key: 'pull.cpuUs', label: 'pull of a whole log, CPU µs/event', better: 'lower' },
  { key: 'fanout.perSecond', label: 'fan-out to 100 sockets, deliveries/s', better: 'higher' },
  { key: 'fanout.cpuUs', label: 'fan-out to 100 sockets, CPU µs/delivery', better: 'lower' },
  { key: 'stores.perSecond', label: '100 stores at once, pushes/s', better: 'higher' },
  { key: 'stores.cpuUs', label: '100 stores at once, CPU µs/push', better: 'lower' },
  { key: 'young.p50Ms', label: 'first 1,500 pushes of an isolate, p50 ms', better: 'lower' },
  { key: 'young.cpuUs', label: 'first 1,500 pushes of an isolate, CPU µs', better: 'lower' },
  { key: 'large10.pushCpuMs', label: 'pushes of events of 10 kB, CPU ms/MB', better: 'lower' },
  { key: 'large10.pullCpuMs', label: 'pull of events of 10 kB, CPU ms/MB', better: 'lower' },
  { key: 'large100.pushCpuMs', label: 'pushes of events of 100 kB, CPU ms/MB', better: 'lower' },
  { key: 'large100.pullCpuMs', label: 'pull of events of 100 kB, CPU ms/MB', better: 'lower' },
  { key: 'large500.pushCpuMs', label: 'pushes of events of 500 kB, CPU ms/MB', better: 'lower' },
  { key: 'large500.pullCpuMs', label: 'pull of events of 500 kB, CPU ms/MB', better: 'lower' },
  { key: 'crowd.p50Ms', label: '1,000 sockets on one store, push to last delivery, p50 ms', better: 'lower' },
  { key: 'crowd.cpuUs', label: '1,000 sockets on one store, CPU µs/delivery', better: 'lower' },
  { key: 'client.perSecond', label: 'pull by the published 0.4.0 client, events/s', better: 'higher' },
  { key: 'client.cpuUs', label: 'pull by the published 0.4.0 client, CPU µs/event', better: 'lower' },
  { key: 'first.p50Ms', label: 'first pull of a new store, p50 ms', better: 'lower' },
  { key: 'first.cpuUs', label: 'first pull of a new store, CPU µs', better: 'lower' },
  { key: 'httpPush1.p50Ms', label: 'HTTP push of 1 event, p50 ms', better: 'lower' },
  { key: 'httpPush1.p99Ms', label: 'HTTP push of 1 event, p99 ms', better: 'lower' },
  { key: 'httpPush1.cpuUs', label: 'HTTP push of 1 event, CPU µs', better: 'lower' },
  { key: 'httpPush100.perSecond', label: 'HTTP pushes of 100 events, events/s', better: 'higher' },
  { key: 'httpPush100.cpuUs', label: 'HTTP pushes of 100 events, CPU µs/event', better: 'lower' },
  { key: 'httpPull.perSecond', label: 'HTTP pull of a whole log, events/s', better: 'higher' },
  { key: 'httpPull.cpuUs', label: 'HTTP pull of a whole log, CPU µs/event', better: 'lower' },
  { key: 'jwtPush1.p50Ms', label: 'push of 1 event with a JWT, p50 ms', better: 'lower' },
  { key: 'jwtPush1.cpuUs', label: 'push of 1 event with a JWT, CPU µs', better: 'lower' },
  { key: 'jwtHttpPush1.p50Ms', label: 'HTTP push of 1 event with a JWT, p50 ms', better: 'lower' },
  { key: 'jwtHttpPush1.cpuUs', label: 'HTTP push of 1 event with a JWT, CPU µs', better: 'lower' },
  { key: 'hookPush1.p50Ms', label: 'push of 1 event with a no-op hook, p50 ms', better: 'lower' },
  { key: 'hookPush1.cpuUs', label: 'push of 1 event with a no-op hook, CPU µs', better: 'lower' },
  { key: 'process.residentMib', label: 'memory of workerd after the socket rows, MiB', better: 'lower' },
  { key: 'bundle.gzipKb', label: 'bundle as deployed, gzip KB', better: 'lower' },
  { key: 'bundle.minifiedGzipKb', label: 'bundle minified, gzip KB', better: 'lower' },
]

const heads: Record<Name, string> = {
  ours: 'ours',
  before: 'before',
  backup: 'with backup',
  'sync-cf': 'sync-cf',
  'minimal-js': 'minimal JS',
}

const number = (value: number | undefined): string => {
  if (value === undefined) return '–'
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** How many times better `ours` is than `peer`; below 1 it is worse. */
const ratio = (ours: number | undefined, peer: number | undefined, better: Metric['better']): string => {
  if (ours === undefined || peer === undefined) return '–'
  return `${number(better === 'lower' ? peer / ours : ours / peer)}×`
}

/** By how much of their median the numbers of several rounds differ: the highest from the lowest. */
const spread = (rounds: readonly number[]): string => {
  if (rounds.length < 2) return '–'
  const middle = median(rounds)
  return middle === 0 ? '–' : `${Math.round(((Math.max(...rounds) - Math.min(...rounds)) / middle) * 100)} %`
}

/**
 * The table of the medians over the rounds of each row (by metric key), as aligned text, or as Markdown. Its last column is how far
 * the rounds of the first backend are apart.
 */
export const table = (
  rows: ReadonlyMap<string, Rounds>,
  names: readonly Name[],
  style: 'text' | 'markdown',
): string => {
  const peers = names.includes('ours') ? names.filter((name) => name !== 'ours') : []
  const varies = `${heads[names[0]!]} varies by`
  const cells = [['', ...names.map((name) => heads[name]), ...peers.map((name) => `vs ${heads[name]}`), varies]]
  for (const { key, label, better } of metrics) {
    const rounds = rows.get(key)
    if (rounds === undefined) continue
    const row = mediansOf(rounds)
    const ratios = peers.map((peer) => ratio(row.ours, row[peer], better))
    cells.push([label, ...names.map((name) => number(row[name])), ...ratios, spread(rounds[names[0]!] ?? [])])
  }
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)))
  const lines = cells.map((line) =>
    line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))),
  )
  if (style === 'text') return lines.map((line) => line.join('  ')).join('\n')
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`))
  return [lines[0]!, rule, ...lines.slice(1)].map((line) => `| ${line.join(' | ')} |`).join('\n')
}
