// Which Rust compiler, linker and npm tools build the Worker's WebAssembly. Looks, installs nothing: scripts/setup.mjs
// installs what this module misses. Runs on Node 18 and needs no package, because setup runs before `npm ci`.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's top folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The Rust target of a Worker. */
export const wasmTarget = 'wasm32-unknown-unknown'

/** Used only while there is no Cargo.lock to name the version. */
const wasmBindgenVersionDefault = '0.2.130'

/** A Rust compiler that runs and is not too old.
 * @typedef {object} Rust
 * @property {'PATH' | 'rustup' | 'Debian'} from where it was found
 * @property {string} cargo the cargo to call
 * @property {string} rustc
 * @property {string} sysroot the compiler's folder, which holds lib/rustlib
 * @property {string} version what `rustc -vV` prints
 */

/** One for which there is a standard library for {@link wasmTarget}.
 * @typedef {Rust & { std: string }} WasmRust `std` is the sysroot that holds this library: the compiler's, or {@link ownSysroot}
 */

/** Everything scripts/build.mjs calls.
 * @typedef {object} Toolchain
 * @property {string} cargo the cargo of the wasm build
 * @property {Record<string, string | undefined>} env the whole environment for `cargo`: compiler, linker, target folder
 * @property {string[]} rustflags what the compiler has to be told for {@link wasmTarget}
 * @property {string} wasmBindgen
 * @property {string} wasmOpt
 * @property {string} wasmMetadce
 * @property {string} esbuild
 */

/** The tools of the wasm build. Throws, with what to do, if one of them is not there.
 * @returns {Toolchain}
 */
export const toolchain = () => {
  const rust = findWasmRust()
  if (!rust) throw new Error(`no Rust compiler with the target ${wasmTarget} found: ${runSetup}`)
  const wasmBindgen = findWasmBindgen()
  if (!wasmBindgen) throw new Error(`no wasm-bindgen ${wasmBindgenVersion()} found: ${runSetup}`)
  const tools = {
    wasmOpt: join(root, 'node_modules/binaryen/bin/wasm-opt'),
    wasmMetadce: join(root, 'node_modules/binaryen/bin/wasm-metadce'),
    esbuild: join(root, 'node_modules/.bin/esbuild'),
  }
  for (const tool of Object.values(tools)) if (!existsSync(tool)) throw new Error(`${tool} is missing: ${runSetup}`)
  const rustflags = rust.std === rust.sysroot ? [] : [`--sysroot=${rust.std}`]
  return { cargo: rust.cargo, env: wasmEnv(rust), rustflags, wasmBindgen, ...tools }
}

const runSetup = 'run `node scripts/setup.mjs --rust`'

/** The first compiler with a standard library for wasm32.
 * @returns {WasmRust | undefined}
 */
export const findWasmRust = () => {
  for (const rust of findRusts()) {
    const std = findWasmStd(rust)
    if (std !== undefined) return { ...rust, std }
  }
  return undefined
}

/** The compiler for this machine's own programs: the core under test, and the tools that are compiled here.
 * @returns {Rust | undefined}
 */
export const findRust = () => findRusts().next().value ?? undefined

/** The compilers of this machine: the one in PATH, rustup's if that is another, and Debian's, which may lie behind both.
 * @returns {Generator<Rust, void>}
 */
export const findRusts = function* () {
  const seen = new Set()
  for (const [from, find] of places) {
    const [cargo, rustc] = [find('cargo'), find('rustc')]
    const sysroot = cargo && rustc && sysrootOf(rustc)
    if (!sysroot || seen.has(sysroot)) continue
    seen.add(sysroot)
    const version = output(rustc, ['-vV'])
    if (version === undefined || !isAtLeast(version, rustVersionMin())) continue
    if (output(cargo, ['--version']) !== undefined) yield { from, cargo, rustc, sysroot, version }
  }
}

/** Where compilers are looked for, and how.
 * @type {ReadonlyArray<readonly [from: Rust['from'], find: (tool: 'cargo' | 'rustc') => string | undefined]>}
 */
const places = [
  ['PATH', (tool) => findInPath(tool)],
  ['rustup', (tool) => (findInPath('rustup') ? output('rustup', ['which', tool]) : undefined)],
  ['Debian', (tool) => findInPackage(debianPackages[tool], tool)],
]

/** Debian's packages of a Rust that is kept new enough for browsers, and so for this project. */
export const debianPackages = { rustc: 'rustc-web', cargo: 'cargo-web', source: 'rust-web-src', linker: 'lld' }

/** A program of an installed package of Debian.
 * @param {string} name of the package
 * @param {string} program
 * @returns {string | undefined}
 */
export const findInPackage = (name, program) =>
  output('dpkg-query', ['-L', name])
    ?.split('\n')
    .find((path) => path.endsWith(`/bin/${program}`) && isExecutable(path))

/** The environment for a wasm build. It has a target folder of its own: the host's build may come from another compiler,
 * and the two would throw away each other's work.
 * @param {WasmRust} rust
 * @returns {Record<string, string | undefined>}
 */
export const wasmEnv = (rust) => {
  /** @type {Record<string, string | undefined>} */
  const env = { ...rustEnv(rust), CARGO_TARGET_DIR: join(root, 'target/wasm') }
  // They are meant for this machine, and cargo would take them instead of those for the target.
  for (const name of ['RUSTFLAGS', 'CARGO_ENCODED_RUSTFLAGS']) delete env[name]
  const linker = findWasmLinker(rust)
  if (linker && !env[linkerVariable]) env[linkerVariable] = linker
  return env
}

/** Where cargo keeps the sources of crates. */
export const cargoHome = () => process.env['CARGO_HOME'] ?? join(homedir(), '.cargo')

/** The environment in which a compiler's cargo finds that compiler.
 * @param {Rust} rust
 * @returns {Record<string, string | undefined>}
 */
export const rustEnv = ({ from, rustc }) => ({
  ...process.env,
  ...(from === 'PATH' ? {} : { RUSTC: rustc, RUSTDOC: join(dirname(rustc), 'rustdoc') }),
})

const linkerVariable = 'CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER'

/** Whether this compiler can link for wasm32 here.
 * @param {Rust} rust
 */
export const canLinkWasm = (rust) =>
  Boolean(process.env[linkerVariable] ?? rustLld(rust.sysroot) ?? findWasmLinker(rust))

/** The linker to name to a compiler that does not find rust-lld: where there is none in its sysroot, as in Debian's, or where
 * the build has it look into another one.
 * @param {Rust & { std?: string }} rust
 * @returns {string | undefined}
 */
const findWasmLinker = (rust) => {
  const own = rustLld(rust.sysroot)
  if (own !== undefined) return rust.std === ownSysroot ? own : undefined
  const other = sysrootOf('rustc')
  return (other && rustLld(other)) ?? findInPath('rust-lld') ?? findInPath('wasm-ld')
}

/** The rust-lld inside a sysroot.
 * @param {string} sysroot
 * @returns {string | undefined}
 */
const rustLld = (sysroot) => {
  const rustlib = join(sysroot, 'lib/rustlib')
  return list(rustlib)
    .map((host) => join(rustlib, host, 'bin/rust-lld'))
    .find((path) => existsSync(path))
}

/** Where scripts/setup.mjs puts a standard library for wasm32 that it has built, as in a sysroot. */
export const ownSysroot = join(root, '.cache/rust-std')

/** In {@link ownSysroot}: the version of the compiler that built it, and for which alone it is good. */
export const builtByName = 'built-by'

/** The folder of a sysroot that holds the libraries for wasm32.
 * @param {string} sysroot
 */
export const wasmStdFolder = (sysroot) => join(sysroot, 'lib/rustlib', wasmTarget, 'lib')

/** The sysroot with the standard library for wasm32 that this compiler takes.
 * @param {Rust} rust
 * @returns {string | undefined}
 */
export const findWasmStd = ({ sysroot, version }) => {
  if (hasWasmStd(sysroot)) return sysroot
  return hasWasmStd(ownSysroot) && read(join(ownSysroot, builtByName)) === version ? ownSysroot : undefined
}

/** Whether a sysroot holds a whole standard library for wasm32.
 * @param {string} sysroot
 */
const hasWasmStd = (sysroot) => {
  if (!list(wasmStdFolder(sysroot)).some((name) => /^libcore.*\.rlib$/.test(name))) return false
  // rustup lists a component after its last file is in place; without this line the files are an interrupted attempt.
  const components = read(join(sysroot, 'lib/rustlib/components'))
  return components === undefined || components.includes(`rust-std-${wasmTarget}`)
}

/** The sysroot of a compiler, undefined if it does not run.
 * @param {string} rustc
 */
export const sysrootOf = (rustc) => output(rustc, ['--print', 'sysroot'])

/** Where scripts/setup.mjs puts a wasm-bindgen and a cargo-deny. */
export const toolsFolder = join(root, '.cache/tools')

/** The wasm-bindgen command in the version of the crate, as the two check that they match: the project's, else the machine's.
 * @returns {string | undefined}
 */
export const findWasmBindgen = () => {
  const wanted = `wasm-bindgen ${wasmBindgenVersion()}`
  const places = [join(toolsFolder, 'bin/wasm-bindgen'), findInPath('wasm-bindgen')]
  return places.find((path) => path !== undefined && output(path, ['--version']) === wanted)
}

/** The version of the crate wasm-bindgen in Cargo.lock. */
export const wasmBindgenVersion = () =>
  /\nname = "wasm-bindgen"\nversion = "([^"]+)"/.exec(read(join(root, 'Cargo.lock')) ?? '')?.[1] ??
  wasmBindgenVersionDefault

/** The release of cargo-deny by whose rules deny.toml is written. */
export const cargoDenyVersion = '0.20.2'

/** The cargo-deny command of that release: the project's, else the machine's.
 * @returns {string | undefined}
 */
export const findCargoDeny = () => {
  const places = [join(toolsFolder, 'bin/cargo-deny'), findInPath('cargo-deny')]
  return places.find((path) => path !== undefined && output(path, ['--version']) === `cargo-deny ${cargoDenyVersion}`)
}

/** The oldest Rust that Cargo.toml accepts. */
export const rustVersionMin = () => /^rust-version = "([^"]+)"/m.exec(read(join(root, 'Cargo.toml')) ?? '')?.[1] ?? '0'

/** Whether the version a command prints is not older than `min`.
 * @param {string} text such as `v24.1.0` or `rustc 1.95.0 (…)`
 * @param {string} min
 */
export const isAtLeast = (text, min) => {
  const [a, b] = [text, min].map((version) => (version.match(/\d+/g) ?? []).map(Number))
  for (const [i, wanted] of (b ?? []).entries()) if (a?.[i] !== wanted) return (a?.[i] ?? 0) > wanted
  return true
}

/** What a command prints, trimmed; undefined if it is not there or fails.
 * @param {string} command
 * @param {string[]} args
 * @returns {string | undefined}
 */
export const output = (command, args) => {
  const { status, stdout } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

/** The first file of this name in PATH that can be run.
 * @param {string} name
 * @returns {string | undefined}
 */
export const findInPath = (name) =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find(isExecutable)

/** @param {string} path */
const isExecutable = (path) => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** A file's text, undefined if there is none.
 * @param {string} path
 * @returns {string | undefined}
 */
export const read = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)

/** The names in a folder, none if there is no such folder.
 * @param {string} folder
 * @returns {string[]}
 */
export const list = (folder) => (existsSync(folder) ? readdirSync(folder) : [])
