/**
 * How much one object's memory grows by what its clients do: a table of what they do, and of how many MiB that takes.
 *
 *     node bench/memory.ts [--only frame,live.unread] [--collect]
 *
 * With --collect garbage is collected all the time: what grows then is not garbage. Exits with 1 if a row grows by more
 * than it may, or holds more, or if a client that does its part does not get what it should. A whole run writes
 * `bench/results/memory.json`.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../tests/harness/server.ts'
import { isolateFlags } from './memory/isolate.ts'
import { removeLogs } from './memory/logs.ts'
import { rows } from './memory/rows.ts'
import { type Result, run } from './memory/run.ts'
import type { Row } from './memory/scene.ts'

const memory = '/dev/shm'
if (existsSync(memory)) process.env['TMPDIR'] = memory
process.env['MINIFLARE_WORKERD_V8_FLAGS'] = `${process.env['MINIFLARE_WORKERD_V8_FLAGS'] ?? ''} ${isolateFlags}`.trim()

/** The rows whose names are given, or whose names begin with what is given before a dot. */
const choose = (only: string | undefined): readonly Row[] => {
  if (only === undefined) return rows
  const names = only.split(',')
  const isMeant = (row: Row, name: string): boolean => row.name === name || row.name.startsWith(`${name}.`)
  const unknown = names.find((name) => !rows.some((row) => isMeant(row, name)))
  if (unknown !== undefined) {
    throw new Error(`unknown row "${unknown}": there are ${rows.map((row) => row.name).join(', ')}`)
  }
  return rows.filter((row) => names.some((name) => isMeant(row, name)))
}

const isOver = ({ memory, limit, heldLimit }: Result): boolean =>
  memory !== undefined && (memory.growth > limit || memory.held > heldLimit)

const outcomeOf = (result: Result): string => {
  const outcome = [...(isOver(result) ? ['OVER'] : []), ...result.failures.map((failure) => `FAILED: ${failure}`)]
  return [...(outcome.length === 0 ? ['ok'] : outcome), ...(result.note === '' ? [] : [result.note])].join('; ')
}

const table = (results: readonly Result[]): string => {
  const number = (value: number | undefined): string => value?.toFixed(0) ?? '–'
  const head = ['row', 'growth', 'limit', 'held', 'limit', 'by V8', 'after', 'other store ms', 'closed']
  const cells = results.map(({ name, memory, limit, heldLimit, neighbour, closed }) => {
    const { growth, held, heldByV8, after } = memory ?? {}
    return [name, ...[growth, limit, held, heldLimit, heldByV8, after, neighbour?.worstMs, closed].map(number)]
  })
  const widths = head.map((_, column) => Math.max(...[head, ...cells].map((line) => line[column]!.length)))
  const text = (line: readonly string[]): string =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
  return [text(head), ...cells.map((line, index) => `${text(line)}  ${outcomeOf(results[index]!)}`)].join('\n')
}

const { only, collect } = parseArgs({
  options: { only: { type: 'string' }, collect: { type: 'boolean', default: false } },
}).values
const chosen = choose(only)
const start = performance.now()
const results: Result[] = []
try {
  for (const row of chosen) {
    const started = performance.now()
    const result = await run(row, collect ? 'always' : 'as usual')
    results.push(result)
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.error(`${row.title}: ${result.memory?.growth.toFixed(0) ?? '–'} MiB, ${outcomeOf(result)} (${seconds} s)`)
  }
} finally {
  await removeLogs()
}
const allowances = results.flatMap(({ name, because }) => (because === undefined ? [] : `${name}: ${because}`))
console.log([table(results), 'MiB of resident memory.', ...allowances].join('\n\n'))
if (chosen.length === rows.length && !collect) {
  const report = {
    date: new Date().toISOString(),
    machine: { cpu: cpus()[0]!.model, cores: cpus().length },
    seconds: Math.round((performance.now() - start) / 1000),
    rows: results,
  }
  mkdirSync(join(root, 'bench/results'), { recursive: true })
  writeFileSync(join(root, 'bench/results/memory.json'), `${JSON.stringify(report, null, 2)}\n`)
}
if (results.some((result) => isOver(result) || result.failures.length > 0)) process.exitCode = 1
