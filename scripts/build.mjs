// Builds dist/: cargo compiles the core to WebAssembly, wasm-bindgen writes its JavaScript side, wasm-opt shrinks it,
// esbuild bundles it with host/worker.ts. Skips everything when no source is newer than the result.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { root, toolchain, wasmTarget } from './toolchain.mjs'

const started = Date.now()
const bindgen = join(root, '.cache/bindgen')
const dist = join(root, 'dist')
const result = join(dist, 'index_bg.wasm')

/** @param {string} path @returns {string[]} */
const filesBelow = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => filesBelow(join(path, name))) : [path]

/** @param {string} path */
const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** @param {string} message */
const say = (message) => console.log(`build: ${message}`)

/**
 * @param {string} what
 * @param {string} command
 * @param {string[]} args
 * @param {Record<string, string | undefined>} [env]
 */
const run = (what, command, args, env = process.env) => {
  say(what)
  const { status, error } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) {
    console.error(`build: failed: ${command} ${args.join(' ')}${error ? ` (${error.message})` : ''}`)
    process.exit(1)
  }
}

/** @param {string} name */
const sizes = (name) => {
  const bytes = readFileSync(join(dist, name))
  return { bytes: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length }
}

const sources = ['src', 'host', 'Cargo.toml', 'Cargo.lock', 'package-lock.json', 'scripts/build.mjs']
const newest = Math.max(...sources.flatMap((source) => filesBelow(join(root, source))).map(modified))
if (Math.min(modified(result), modified(join(dist, 'index.js'))) > newest) {
  say('dist/ is up to date')
  process.exit(0)
}

const tools = toolchain()
run('compiling the core for wasm32', tools.cargo, ['build', '--release', '--lib', '--target', wasmTarget], tools.env)
rmSync(bindgen, { recursive: true, force: true })
run('writing its JavaScript side', tools.wasmBindgen, [
  ...['--target', 'web', '--encode-into', 'always', '--out-dir', bindgen, '--out-name', 'core'],
  ...['--experimental-reset-state-function', '--omit-default-module-path'],
  join(root, 'target/wasm', wasmTarget, 'release/livestore_sync_worker.wasm'),
])
mkdirSync(dist, { recursive: true })
run('optimising', tools.wasmOpt, [
  ...['-O3', '--all-features', '--strip-debug', '--strip-producers'],
  ...[join(bindgen, 'core_bg.wasm'), '-o', result],
])
run('bundling', tools.esbuild, [
  ...[
    'host/worker.ts',
    '--bundle',
    '--format=esm',
    '--target=es2024',
    '--minify',
    '--legal-comments=none',
    '--log-level=warning',
    '--log-override:duplicate-object-key=silent',
  ],
  ...['--external:cloudflare:workers', '--external:./index_bg.wasm', `--outfile=${join(dist, 'index.js')}`],
])
const files = ['index.js', 'index_bg.wasm'].map((name) => ({ name, ...sizes(name) }))
for (const { name, bytes, gzip } of files) say(`dist/${name} ${bytes} bytes, ${gzip} gzip`)
say(
  `done in ${((Date.now() - started) / 1000).toFixed(1)} s, ${files.reduce((sum, file) => sum + file.gzip, 0)} bytes gzip`,
)
