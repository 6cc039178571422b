// Builds a Worker: cargo compiles the core to WebAssembly, wasm-bindgen writes its JavaScript side, esbuild bundles that
// with host/worker.ts, wasm-opt shrinks what the bundle can reach. Skips everything when the result is of these very
// sources, whose digest lies beside it. Beside the WebAssembly that is shipped it leaves the same with the names of
// functions, for scripts/names.mjs.
//
//   node scripts/build.mjs                        the Worker of this repository, into dist/
//   node scripts/build.mjs examples/rust-hooks    that of a crate with hooks of its own, into its own dist/
//   node scripts/build.mjs --draft tests/hooks    the same within seconds, large and slow: nothing to ship or to measure

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import { namedName, stripped } from './names.mjs'
import { bundleInspector } from './inspector.mjs'
import {
  commandLine,
  commandLineBundle,
  digestName,
  digestOf,
  filesBelow,
  inspector,
  isBuiltFrom,
  ownSources,
} from './sources.mjs'
import { cargoHome, root, toolchain, wasmTarget } from './toolchain.mjs'

const started = Date.now()
/** The folder of the crate that is built. */
const [folder = root] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const crate = resolve(folder)
/** Whether time to build counts for more than what is built. */
const isDraft = process.argv.includes('--draft')
const profile = isDraft ? 'draft' : 'release'
const draft = { inherits: 'release', 'opt-level': 1, lto: false, 'codegen-units': 64, incremental: true }
const isOwn = crate === resolve(root)
/** What is made of `host/`: the whole Worker, and what an app's own Worker imports. */
const entries = isOwn ? ['worker', 'cf-worker'] : ['worker']
const bindgen = join(root, '.cache', isOwn ? 'bindgen' : `bindgen-of/${basename(crate)}`)
const dist = join(crate, 'dist')
const result = join(dist, 'index_bg.wasm')

/** @param {string} path */
const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** @param {string} path */
const shown = (path) => relative(root, path)

/** @param {string} message */
const say = (message) => console.log(`build: ${message}`)

/** @param {string} message @returns {never} */
const fail = (message) => {
  console.error(`build: failed: ${message}`)
  process.exit(1)
}

/**
 * @param {string} what
 * @param {string} command
 * @param {string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, stdio?: 'inherit' | ['inherit', 'ignore', 'inherit'] }} [options]
 */
const run = (what, command, args, { env = process.env, stdio = 'inherit' } = {}) => {
  say(what)
  const { status, error } = spawnSync(command, args, { cwd: crate, env, stdio })
  if (status !== 0) fail(`${command} ${args.join(' ')}${error ? ` (${error.message})` : ''}`)
}

/** @param {string} text @param {RegExp} pattern @param {string} by @param {number} times */
const replaced = (text, pattern, by, times) => {
  const found = text.match(pattern)?.length ?? 0
  if (found !== times) fail(`wasm-bindgen's JavaScript has ${found} of ${pattern}, not ${times}`)
  return text.replaceAll(pattern, by)
}

/** @param {string} name */
const sizes = (name) => {
  const bytes = readFileSync(join(dist, name))
  return { bytes: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length }
}

const crateSources = ['src', 'Cargo.toml', 'Cargo.lock']
const sources = [...ownSources, ...(isOwn ? [] : crateSources.map((source) => join(crate, source)))]
// The package's command line is bundled by itself: there is nothing of the core in it.
if (isOwn && modified(join(dist, 'cli.js')) <= Math.max(...filesBelow(commandLine).map(modified))) {
  say('bundling the command line')
  const { build } = await import('esbuild')
  await build(commandLineBundle)
}

// So is the page of the administration, which the bundles import once somebody opens it.
const page = join(dist, 'inspector.js')
const pageSources = [inspector, join(root, 'scripts/inspector.mjs')].flatMap(filesBelow)
if (modified(page) <= Math.max(...pageSources.map(modified))) {
  say('bundling the page of the administration')
  mkdirSync(dist, { recursive: true })
  await bundleInspector(page)
}

const bundles = entries.map((name) => `${name}.js`)
const digest = digestOf(sources, profile)
if (isBuiltFrom(dist, digest, [...bundles, basename(result)])) {
  say(`${shown(dist)} is up to date`)
  process.exit(0)
}

/** The library that cargo makes of the crate. */
const library = /^name = "([^"]+)"/m.exec(readFileSync(join(crate, 'Cargo.toml'), 'utf8'))?.[1]?.replaceAll('-', '_')
if (library === undefined) fail(`${crate}/Cargo.toml names no package`)

const tools = toolchain()
// The library is a WebAssembly module here alone: as a dependency its file would have the same name whatever features it
// was built with, and crates that share a target folder would take one for the other.
const compile = ['rustc', '--locked', '--profile', profile, '--lib', '--target', wasmTarget, '--crate-type', 'cdylib']
// The paths of sources, which panics are logged with, begin where those who read them know their way.
const homes = [cargoHome(), root]
const flags = [...tools.rustflags, ...homes.map((home) => `--remap-path-prefix=${home}=`)]
compile.push('--config', `target.${wasmTarget}.rustflags=${JSON.stringify(flags)}`)
for (const [key, value] of Object.entries(isDraft ? draft : {}))
  compile.push('--config', `profile.draft.${key}=${JSON.stringify(value)}`)

const wasm = join(bindgen, 'core_bg.wasm')
/** What the bundle is of is not compiled. */
const isCompiled = (/** @type {string} */ path) => !/\.[jt]s$/.test(path)
if (!isDraft || modified(wasm) < Math.max(...sources.flatMap(filesBelow).filter(isCompiled).map(modified))) {
  run('compiling the core for wasm32', tools.cargo, compile, tools)
  rmSync(bindgen, { recursive: true, force: true })
  run('writing its JavaScript side', tools.wasmBindgen, [
    ...['--target', 'web', '--encode-into', 'always', '--out-dir', bindgen, '--out-name', 'core'],
    ...['--experimental-reset-state-function', '--omit-default-module-path'],
    join(root, 'target/wasm', wasmTarget, `${profile}/${library}.wasm`),
  ])
}

/** Ends an instance of the core once something was thrown out of it. */
const guard = join(root, 'src/edge/instance.js')

/**
 * A long string is written by the platform, not letter by letter, and into exactly as much memory as it takes up. Most are ASCII,
 * which shows as it is written.
 */
const longString = `
    if (len > 4_096) {
        for (let bytes = len; ; bytes = utf8Length(arg)) {
            const at = malloc(bytes, 1) >>> 0;
            const { read, written } = cachedTextEncoder.encodeInto(arg, getUint8ArrayMemory0().subarray(at, at + bytes));
            if (read === len) {
                WASM_VECTOR_LEN = written;
                return at;
            }
            wasm.__wbindgen_free(at, bytes, 1);
        }
    }
`

say('bundling')
mkdirSync(dist, { recursive: true })
rmSync(join(dist, digestName), { force: true })
const esbuild = await import('esbuild')
await esbuild.build({
  absWorkingDir: root,
  entryPoints: entries.map((name) => `host/${name}.ts`),
  outdir: dist,
  bundle: true,
  format: 'esm',
  target: 'es2024',
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
  external: ['cloudflare:workers', './index_bg.wasm', './inspector.js'],
  plugins: [
    {
      name: 'core',
      setup: ({ onResolve, onLoad }) => {
        onResolve({ filter: /\/bindgen\/core\.js$/ }, () => ({ path: join(bindgen, 'core.js') }))
        // wasm-bindgen makes a copy of each, but the host and the core share one.
        onResolve({ filter: /\/livestore-sync-worker-\w+\/src\/edge\/\w+\.js$/ }, ({ path }) => ({
          path: join(root, 'src/edge', basename(path)),
        }))
        onLoad({ filter: /\/core\.js$/ }, ({ path }) => {
          // Classes that nothing uses are dropped once the bundler knows that nothing happens when they are declared.
          const core = readFileSync(path, 'utf8')
            .replaceAll(/^if \(Symbol\.dispose\) .*$/gm, '')
            .replaceAll('new FinalizationRegistry(', '/* @__PURE__ */ $&')
            // A module that several imports come from is listed once for each, of which who bundles this again is warned.
            .replaceAll(/^ *("\.\/snippets\/.+": )import\d+,\n(?=[^}]*\1)/gm, '')
          const imported = `import { guarded, utf8Length } from ${JSON.stringify(guard)}\n`
          const alive = replaced(core, /\bwasm = (\w+\.exports);/g, 'wasm = guarded($1);', 2)
          // It reserves three bytes for every letter behind the first that is not ASCII, and memory never shrinks.
          const exact = replaced(alive, /let len = arg\.length;\n(?= +let ptr = malloc)/g, `$&${longString}`, 1)
          return { contents: imported + exact }
        })
      },
    },
  ],
})

/**
 * A function with one caller stays one: V8 compiles the hot ones again in the background, and what they have swallowed with them. An
 * isolate's first 1,500 pushes cost 5 % less CPU so, and the bundle has no byte more.
 */
const optimisations = ['-O3', '--one-caller-inline-max-function-size=0']

/** @param {string} wasm @param {string} named */
const shrink = (wasm, named) => {
  // What the platform's crate exports and the bundle does not name is dropped from the WebAssembly, too.
  const words = new Set(bundles.flatMap((name) => readFileSync(join(dist, name), 'utf8').match(/[\w$]+/g) ?? []))
  const exported = WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(wasm)))
  const used = exported.flatMap(({ name }) => (words.has(name) ? [{ name: `export ${name}`, export: name }] : []))
  const graph = join(bindgen, 'graph.json')
  const exports = { name: 'bundle', root: true, reaches: used.map(({ name }) => name) }
  writeFileSync(graph, JSON.stringify([exports, ...used]))
  /** What the compiler makes use of. More would let the optimiser write what other engines do not read. */
  const features = [
    'bulk-memory',
    'multivalue',
    'mutable-globals',
    'nontrapping-float-to-int',
    'reference-types',
    'sign-ext',
  ]
  const enabled = features.map((feature) => `--enable-${feature}`)
  run(
    'dropping exports that nothing uses',
    tools.wasmMetadce,
    [...enabled, '-g', `--graph-file=${graph}`, wasm, '-o', wasm],
    { stdio: ['inherit', 'ignore', 'inherit'] },
  )
  run('optimising', tools.wasmOpt, [...enabled, ...optimisations, '-g', '--strip-producers', wasm, '-o', named])
}

/** Writes what TypeScript users are told of the bundles. */
const declare = () => {
  const types = join(root, '.cache/types')
  rmSync(types, { recursive: true, force: true })
  run('declaring its types', join(root, 'node_modules/.bin/tsc'), [
    ...['--project', join(root, 'host/tsconfig.json'), '--outDir', types],
  ])
  /** @param {string} name */
  const copy = (name) => {
    const text = readFileSync(join(types, 'host', name), 'utf8')
    writeFileSync(join(dist, name), text)
    for (const [, imported = ''] of text.matchAll(/from '\.\/([\w-]+)\.(?:js|ts)'/g)) copy(`${imported}.d.ts`)
  }
  for (const name of entries) copy(`${name}.d.ts`)
}

const named = join(dist, namedName)
if (isDraft) copyFileSync(wasm, named)
else shrink(wasm, named)
writeFileSync(result, stripped(readFileSync(named)))

if (isOwn && !isDraft) declare()
writeFileSync(join(dist, digestName), `${digest}\n`)

const files = [...bundles, basename(page), basename(result)].map((name) => ({ name, ...sizes(name) }))
for (const { name, bytes, gzip } of files) say(`${shown(join(dist, name))} ${bytes} bytes, ${gzip} gzip`)
// A Worker is one of the bundles, and the WebAssembly.
const whole = (files[0]?.gzip ?? 0) + (files.at(-1)?.gzip ?? 0)
say(`done in ${((Date.now() - started) / 1000).toFixed(1)} s, ${whole} bytes gzip`)
