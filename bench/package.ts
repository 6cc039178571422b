/**
 * The package beside `@livestore/sync-cf`: what it weighs, how an isolate starts, and what hooks in JavaScript cost.
 *
 *     node bench/package.ts [--rounds 5]
 *
 * Both serve the same app (`bench/peers/sync-cf.mjs`, `bench/apps/hooks.mjs`), bundled by wrangler as it deploys; the import is what differs. It prints a table in
 * Markdown. What is installed is measured in empty folders, so the npm registry has to be there.
 */
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { root, startServer } from '../tests/harness/server.ts'
import { wrangler } from '../tests/harness/wrangler.ts'
import { Connection } from './connection.ts'
import { checkChunks } from './events.ts'
import { median } from './measure.ts'
import { sections } from './sections.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)

const packages = {
  ours: { module: './dist/cf-worker.js', push: { warm: 2000, pushes: 3000 } },
  'sync-cf': {
    module: './tests/clients/v04/node_modules/@livestore/sync-cf/dist/cf-worker/mod.js',
    push: { warm: 200, pushes: 400 },
  },
} as const

type Package = keyof typeof packages

/** The apps' sources: without hooks it is that of the benchmark's peer. */
const sources = { plain: 'bench/peers/sync-cf.mjs', hooks: 'bench/apps/hooks.mjs' } as const

type App = keyof typeof sources
const apps = Object.keys(sources) as App[]

const names = Object.keys(packages) as Package[]

/** The folder below the root with the bundle of an app. */
const folderOf = (name: Package, app: App): string => `.cache/package-bench/${name}-${app}`

const bundle = async (name: Package, app: App, out: string, ...more: readonly string[]): Promise<string> => {
  const { stdout, stderr } = await wrangler(
    ...['deploy', sources[app], '--dry-run', '--name', 'app', '--outdir', join(root, out)],
    ...['--alias', `@livestore/sync-cf/cf-worker:${packages[name].module}`],
    ...['--compatibility-date', '2026-04-07', '--compatibility-flags', 'nodejs_compat'],
    ...['--config', join(root, 'bench/peers/sync-cf.wrangler.toml'), ...more],
  )
  return stdout + stderr
}

/** Bytes of the modules in a folder, by gzip. */
const gzipOf = (folder: string): number =>
  readdirSync(join(root, folder))
    .filter((file) => /\.(js|wasm)$/.test(file))
    .reduce((sum, file) => sum + gzipSync(readFileSync(join(root, folder, file))).length, 0)

/** Bytes and packages below a folder. */
const weigh = (folder: string): { bytes: number; packages: number } =>
  readdirSync(folder, { withFileTypes: true }).reduce(
    (sum, entry) => {
      const path = join(folder, entry.name)
      const one = entry.isDirectory() ? weigh(path) : { bytes: lstatSync(path).size, packages: 0 }
      const isPackage = entry.name === 'package.json' && /node_modules\/(@[^/]+\/)?[^/]+$/.test(folder)
      return { bytes: sum.bytes + one.bytes, packages: sum.packages + one.packages + Number(isPackage) }
    },
    { bytes: 0, packages: 0 },
  )

/** What a package weighs packed, and installed with everything that comes with it. */
const weights = (name: Package) => {
  const folder = mkdtempSync(join(tmpdir(), 'package-'))
  const npm = (...args: readonly string[]) => execFileSync('npm', [...args], { cwd: folder, encoding: 'utf8' })
  try {
    npm('init', '--yes')
    const packed = JSON.parse(
      npm('pack', '--json', '--silent', name === 'ours' ? root : '@livestore/sync-cf@0.4.0'),
    ) as readonly { filename: string; size: number }[]
    const [{ filename, size }] = packed as [{ filename: string; size: number }]
    npm('install', '--silent', '--no-audit', '--no-fund', `./${filename}`)
    return { packed: size, ...weigh(join(folder, 'node_modules')) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** From the start of the runtime to the first page of a new store. */
const coldStart = async (dist: string): Promise<number> => {
  const startedAt = performance.now()
  const server = await startServer({ dist })
  try {
    const connection = await Connection.open(server.wsUrl, 'cold')
    const chunks = await connection.pull(0)
    const ms = performance.now() - startedAt
    checkChunks(chunks, 0, 0, 'pull')
    connection.close()
    return ms
  } finally {
    await server.stop()
  }
}

const push = async (dist: string, name: Package) => {
  const server = await startServer({ dist })
  try {
    return await sections.push1(server, packages[name].push)
  } finally {
    await server.stop()
  }
}

type Numbers = Record<string, number[]>
const numbers: Record<Package, Numbers> = { ours: {}, 'sync-cf': {} }
const add = (name: Package, key: string, value: number): void => {
  ;(numbers[name][key] ??= []).push(value)
}

for (const name of names) {
  const { packed, bytes, packages: count } = weights(name)
  add(name, 'packed, kB', packed / 1000)
  add(name, 'installed, MB', bytes / 1e6)
  add(name, 'packages installed', count)
  for (const app of apps) {
    const out = folderOf(name, app)
    rmSync(join(root, out), { recursive: true, force: true })
    mkdirSync(join(root, out), { recursive: true })
    await bundle(name, app, out)
    // As the harness calls the main file.
    renameSync(join(root, out, basename(sources[app]).replace(/\.mjs$/, '.js')), join(root, out, 'worker.js'))
    if (app === 'hooks') add(name, 'bundle as deployed, gzip kB', gzipOf(out) / 1000)
  }
  const minified = `${folderOf(name, 'hooks')}-minified`
  rmSync(join(root, minified), { recursive: true, force: true })
  await bundle(name, 'hooks', minified, '--minify')
  add(name, 'bundle minified, gzip kB', gzipOf(minified) / 1000)
}
for (let round = 0; round < rounds; round++) {
  for (const app of apps) {
    const suffix = app === 'hooks' ? 'hooks' : 'no hooks'
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      const dist = folderOf(name, app)
      add(name, `runtime's start to the first page, ms, ${suffix}`, await coldStart(dist))
      const cost = await push(dist, name)
      add(name, `push of 1 event, p50 ms, ${suffix}`, cost['push1.p50Ms']!)
      add(name, `push of 1 event, CPU µs, ${suffix}`, cost['push1.cpuUs']!)
    }
  }
  console.error(`round ${round + 1} of ${rounds}`)
}

const shown = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3))
console.log('| | livestore-sync-worker | @livestore/sync-cf 0.4.0 |\n| --- | --: | --: |')
for (const key of Object.keys(numbers.ours)) {
  const cells = names.map((name) => shown(median(numbers[name][key]!)))
  console.log(`| ${key} | ${cells.join(' | ')} |`)
}
