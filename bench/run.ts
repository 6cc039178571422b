/**
 * The benchmark: ours and the two peers, one after the other in the same runtime, the same frames, one table.
 *
 *     node bench/run.ts [--only push1,httpPull] [--backends ours,minimal-js] [--before FOLDER] [--backup] [--markdown]
 *
 * BENCH_ROUNDS sets how often each backend runs (3). A whole run of at least 3 rounds writes `bench/results/latest.json`.
 * Any wrong or missing answer of a backend ends the run with an error.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { transformSync } from 'esbuild'
import { root, startServer } from '../tests/harness/server.ts'
import type { Backend, Server } from '../tests/harness/server.ts'
import { residentMib } from './measure.ts'
import { groups, hookDist, sections } from './sections.ts'
import type { Group, Load, Numbers, Section } from './sections.ts'
import { mediansOf, metrics, table } from './table.ts'
import type { Name, Rounds } from './table.ts'

/** Loads of the sections that a backend runs. */
type Loads = { readonly [S in Section]?: Load[S] }

/** Where the sources of peers are, of which only one is deployed as it stands. */
const peers = 'bench/peers'
const isPeer = (name: string): boolean => name.startsWith('sync-cf')

const push1 = { warm: 2000, pushes: 3000 }

const fast = {
  push1,
  push100: { warm: 50, pushes: 600 },
  pull: { events: 20_000, warm: 3, pulls: 12 },
  fanout: { sockets: 100, warm: 30, pushes: 200 },
  stores: { stores: 100, warm: 20, pushesEach: 30 },
  first: { warm: 20, stores: 150 },
  young: { warm: 0, pushes: 1500 },
  large: { kilobytes: [10, 100, 500], megabytes: 20, pulls: 3 },
  crowd: { sockets: 1000, warm: 5, pushes: 30 },
  client: { events: 100_000 },
  httpPush1: push1,
  httpPush100: { warm: 50, pushes: 600 },
  httpPull: { events: 20_000, warm: 3, pulls: 12 },
} satisfies Loads

/** Less of the same for a backend that takes far longer for each event. */
const slow = {
  push1: { warm: 200, pushes: 400 },
  push100: { warm: 15, pushes: 15 },
  pull: { events: 2000, warm: 2, pulls: 2 },
  fanout: { sockets: 100, warm: 10, pushes: 25 },
  stores: { stores: 100, warm: 2, pushesEach: 6 },
  first: { warm: 10, stores: 60 },
  young: { warm: 0, pushes: 1500 },
  large: { kilobytes: [10, 100, 500], megabytes: 5, pulls: 1 },
  crowd: { sockets: 1000, warm: 1, pushes: 3 },
  client: { events: 2000 },
  httpPush1: { warm: 200, pushes: 400 },
  httpPush100: { warm: 15, pushes: 15 },
  httpPull: { events: 2000, warm: 2, pulls: 2 },
} satisfies Loads

/** What only ours can do. */
const alone = { jwtPush1: push1, jwtHttpPush1: push1, hookPush1: push1 } satisfies Loads

interface Contender {
  readonly backend: Backend
  readonly load: Loads
  /** The folder whose `.js`, `.mjs` and `.wasm` files get deployed. */
  readonly folder: string
  /** What its server is started with beside that. */
  readonly server?: { readonly dist?: string; readonly vars?: Readonly<Record<string, string>> }
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' },
    backends: { type: 'string' },
    before: { type: 'string' },
    backup: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
  },
})

/** Another build of ours to compare with, in a folder below the root. */
const before: Partial<Record<Name, Contender>> =
  options.before === undefined
    ? {}
    : {
        before: {
          backend: 'livestore-sync-worker',
          load: { ...fast, jwtPush1: push1, jwtHttpPush1: push1 },
          folder: options.before,
          server: { dist: options.before },
        },
      }

/** Ours with a backup that has nothing to copy yet for as long as this takes. */
const backup: Partial<Record<Name, Contender>> = options.backup
  ? {
      backup: {
        backend: 'livestore-sync-worker',
        load: fast,
        folder: 'dist',
        server: { vars: { BACKUP: 'd1', BACKUP_DELAY_SECONDS: '3600' } },
      },
    }
  : {}

const contenders: Partial<Record<Name, Contender>> = {
  ours: { backend: 'livestore-sync-worker', load: { ...fast, ...alone }, folder: 'dist' },
  'sync-cf': { backend: 'sync-cf', load: slow, folder: '.cache/peers/sync-cf' },
  'minimal-js': { backend: 'minimal-js', load: fast, folder: peers },
  ...before,
  ...backup,
}

const contender = (name: Name): Contender => {
  const found = contenders[name]
  if (found === undefined) throw new Error(`there is no backend ${name}`)
  return found
}

/** Storage in memory where the machine has it: what is measured is the backend, not the disk's day. */
const memory = '/dev/shm'
if (existsSync(memory)) process.env['TMPDIR'] = memory

const roundsOfReport = 3
const sectionMsMax = 120_000
const generatorLoadMax = 0.9

/** The chosen ones of `known`, in its order; throws at a name that is not among them. */
const choose = <T extends string>(known: readonly T[], chosen: string | undefined, what: string): T[] => {
  if (chosen === undefined) return [...known]
  const names = chosen.split(',')
  const unknown = names.find((name) => !(known as readonly string[]).includes(name))
  if (unknown !== undefined) throw new Error(`unknown ${what} "${unknown}": there are ${known.join(', ')}`)
  return known.filter((name) => names.includes(name))
}

const inTime = async <T>(what: string, work: Promise<T>): Promise<T> => {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: no answer in time`)), sectionMsMax)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** What an app's own Worker imports, and the command line: part of no Worker that is measured here. */
const notDeployed = ['cf-worker.js', 'cli.js']

const bundleNumbers = (folder: string): Numbers => {
  const names = readdirSync(join(root, folder)).filter(
    (name) => /\.(m?js|wasm)$/.test(name) && !notDeployed.includes(name),
  )
  let gzip = 0
  let minifiedGzip = 0
  for (const name of names.filter((name) => name.endsWith('.wasm') || folder !== peers || !isPeer(name))) {
    const contents = readFileSync(join(root, folder, name))
    const size = gzipSync(contents).length
    gzip += size
    const source = (): string => transformSync(contents.toString(), { minify: true, format: 'esm' }).code
    minifiedGzip += name.endsWith('.wasm') ? size : gzipSync(source()).length
  }
  return { 'bundle.gzipKb': gzip / 1000, 'bundle.minifiedGzipKb': minifiedGzip / 1000 }
}

const runSection = async <S extends Section>(section: S, server: Server, load: Load[S]): Promise<Numbers> =>
  sections[section](server, load)

/** Sections of one group on a fresh server, and the server's memory after them. */
const runGroup = async (name: Name, group: readonly Section[], special: Group['server']): Promise<Numbers> => {
  const { backend, load, server: own } = contender(name)
  const server: Server = await startServer({ backend, ...own, ...special })
  try {
    const numbers: Record<string, number> = {}
    for (const section of group) {
      const result = await inTime(`${name}, ${section}`, runSection(section, server, load[section]!))
      Object.assign(numbers, result)
      const busy = result[`${section}.generatorLoad`]!
      if (busy > generatorLoadMax) console.error(`  ${section}: the generator was busy ${Math.round(busy * 100)} %`)
    }
    return { ...numbers, 'process.residentMib': residentMib(server.pid) }
  } catch (error) {
    if (server.logs.length > 0) console.error(`last lines of ${name}:\n${server.logs.slice(-10).join('\n')}`)
    throw new Error(`${name} failed`, { cause: error })
  } finally {
    await server.stop()
  }
}

/** All chosen sections that the backend has a load for; the memory is that after the first group. */
const runBackend = async (name: Name, chosen: readonly Section[]): Promise<Numbers> => {
  const { load, folder } = contender(name)
  let numbers = bundleNumbers(folder)
  for (const group of groups) {
    const own = group.sections.filter((section) => chosen.includes(section) && load[section] !== undefined)
    if (own.length > 0) numbers = { ...(await runGroup(name, own, group.server)), ...numbers }
  }
  return numbers
}

const versionOf = (folder: string): string =>
  (JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as { version: string }).version

const allNames = Object.keys(contenders) as Name[]
const allSections = groups.flatMap((group) => group.sections)
const names = choose(allNames, options.backends, 'backend')
const asked = choose(allSections, options.only, 'section')
const lacksHook =
  names.includes('ours') && asked.includes('hookPush1') && !existsSync(join(root, hookDist, 'worker.js'))
if (lacksHook) {
  console.error(
    `hookPush1 is left out: there is no ${hookDist}/worker.js. Implement \`Hooks\` with an \`on_push\` that does nothing ` +
      `(examples/rust-hooks shows how), build that as dist/ is built, and put worker.js and index_bg.wasm there.`,
  )
}
const chosen = asked.filter((section) => section !== 'hookPush1' || !lacksHook)
const rounds = Number(process.env.BENCH_ROUNDS ?? roundsOfReport)
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('BENCH_ROUNDS must be a positive integer')

const start = performance.now()
const machine = {
  cpu: cpus()[0]!.model,
  cores: cpus().length,
  loadAtStart: loadavg()[0],
}
const results = Object.fromEntries(names.map((name) => [name, [] as Numbers[]])) as Record<Name, Numbers[]>
for (let round = 0; round < rounds; round++) {
  const shift = round % names.length
  for (const name of [...names.slice(shift), ...names.slice(0, shift)]) {
    const started = performance.now()
    results[name].push(await runBackend(name, chosen))
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.error(`round ${round + 1} of ${rounds}: ${name} took ${seconds} s`)
  }
}

const measured = new Map<string, Rounds>()
for (const { key } of metrics) {
  const ran = names.filter((name) => results[name][0]![key] !== undefined)
  const row = ran.map((name) => [name, results[name].map((numbers) => numbers[key]!)])
  if (ran.length > 0) measured.set(key, Object.fromEntries(row) as Rounds)
}
const versions = {
  node: process.versions.node,
  workerd: versionOf('node_modules/workerd'),
  'sync-cf': versionOf('tests/clients/v04/node_modules/@livestore/sync-cf'),
}
console.log(table(measured, names, options.markdown ? 'markdown' : 'text'))
console.log(
  `\nMedians of ${rounds} rounds on ${machine.cores} cores of ${machine.cpu}; workerd ${versions.workerd}, ` +
    `sync-cf ${versions['sync-cf']}.`,
)
if (names.includes('sync-cf')) {
  const log = `its log to pull has ${slow.pull.events} events instead of ${fast.pull.events} (${fast.client.events} for the published client)`
  console.log(`sync-cf was given less to do, its numbers are per unit all the same: ${log}.`)
}

const whole = names.length === allNames.length && asked.length === allSections.length
if (whole && rounds >= roundsOfReport) {
  const report = {
    date: new Date().toISOString(),
    machine,
    versions,
    seconds: Math.round((performance.now() - start) / 1000),
    load: Object.fromEntries(names.map((name) => [name, contender(name).load])),
    medians: Object.fromEntries([...measured].map(([key, rounds]) => [key, mediansOf(rounds)])),
    rounds: results,
  }
  mkdirSync(join(root, 'bench/results'), { recursive: true })
  writeFileSync(join(root, 'bench/results/latest.json'), `${JSON.stringify(report, null, 2)}\n`)
  console.error('written to bench/results/latest.json')
}
