// Which Rust compiler, linker and npm tools build the Worker's WebAssembly. Looks, installs nothing: scripts/setup.mjs
// installs what this module misses. Runs on Node 18 and needs no package, because setup runs before `npm ci`.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's top folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The Rust target of a Worker. */
export const wasmTarget = 'wasm32-unknown-unknown'

/** Where Debian's packages rustc-web and cargo-web put their tools. */
const debianBin = '/usr/bin'

/** Used only while there is no Cargo.lock to name the version. */
const wasmBindgenVersionDefault = '0.2.130'

/** A Rust compiler that has a standard library for {@link wasmTarget}.
 * @typedef {object} WasmRust
 * @property {string} cargo the cargo to call
 * @property {string} sysroot the compiler's folder, which holds lib/rustlib
 * @property {boolean} isDebian whether it is Debian's own, to be put first in PATH
 */

/** Everything scripts/build.mjs calls.
 * @typedef {object} Toolchain
 * @property {string} cargo the cargo of the wasm build
 * @property {Record<string, string | undefined>} env the whole environment for `cargo`: PATH, linker, target folder
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
  const tools = {
    wasmBindgen: wasmBindgenPath,
    wasmOpt: join(root, 'node_modules/binaryen/bin/wasm-opt'),
    wasmMetadce: join(root, 'node_modules/binaryen/bin/wasm-metadce'),
    esbuild: join(root, 'node_modules/.bin/esbuild'),
  }
  for (const tool of Object.values(tools)) if (!existsSync(tool)) throw new Error(`${tool} is missing: ${runSetup}`)
  return { cargo: rust.cargo, env: wasmEnv(rust), ...tools }
}

const runSetup = 'run `node scripts/setup.mjs`'

/** The first compiler with a standard library for wasm32: the one in PATH, else Debian's.
 * @returns {WasmRust | undefined}
 */
export const findWasmRust = () => {
  const cargo = findInPath('cargo')
  const sysroot = cargo && sysrootOf('rustc')
  if (sysroot && hasWasmStd(sysroot)) return { cargo, sysroot, isDebian: dirname(cargo) === debianBin }
  return findDebianRust(hasWasmStd)
}

/** Debian's compiler, if it is installed and its sysroot passes.
 * @param {(sysroot: string) => boolean} accepts
 * @returns {WasmRust | undefined}
 */
export const findDebianRust = (accepts) => {
  const cargo = join(debianBin, 'cargo')
  const rustc = join(debianBin, 'rustc')
  if (!existsSync(cargo) || !existsSync(rustc)) return undefined
  const sysroot = sysrootOf(rustc)
  // Debian's older releases have a compiler there that is too old for this project.
  if (!sysroot || !accepts(sysroot) || !isAtLeast(output(rustc, ['--version']) ?? '', rustVersionMin()))
    return undefined
  return { cargo, sysroot, isDebian: true }
}

/** The environment for a wasm build. It has a target folder of its own: the host's build may come from another compiler,
 * and the two would throw away each other's work.
 * @param {WasmRust} rust
 * @returns {Record<string, string | undefined>}
 */
export const wasmEnv = (rust) => {
  /** @type {Record<string, string | undefined>} */
  const env = { ...process.env, CARGO_TARGET_DIR: join(root, 'target/wasm') }
  // node_modules/.bin stays ahead: Debian's folder may hold an old node.
  if (rust.isDebian) env['PATH'] = [join(root, 'node_modules/.bin'), debianBin, process.env['PATH']].join(delimiter)
  const linker = findWasmLinker(rust)
  if (linker && !env[linkerVariable]) env[linkerVariable] = linker
  return env
}

const linkerVariable = 'CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER'

/** Whether this compiler can link for wasm32 here.
 * @param {WasmRust} rust
 */
export const canLinkWasm = (rust) =>
  Boolean(process.env[linkerVariable] ?? rustLld(rust.sysroot) ?? findWasmLinker(rust))

/** The linker to name to a compiler that does not bring rust-lld, as Debian's does not.
 * @param {WasmRust} rust
 * @returns {string | undefined}
 */
const findWasmLinker = (rust) => {
  if (rustLld(rust.sysroot)) return undefined
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

/** The folder of a sysroot that holds the standard library for wasm32.
 * @param {string} sysroot
 */
export const wasmStdFolder = (sysroot) => join(sysroot, 'lib/rustlib', wasmTarget)

/** In {@link wasmStdFolder}: the compiler that built it, if scripts/setup.mjs did. */
export const builtByFile = 'built-by'

/** Whether a sysroot holds a whole standard library for wasm32.
 * @param {string} sysroot
 */
export const hasWasmStd = (sysroot) => {
  const folder = wasmStdFolder(sysroot)
  if (!list(join(folder, 'lib')).some((name) => /^libcore.*\.rlib$/.test(name))) return false
  // rustup lists a component after its last file is in place; without this line the files are an interrupted attempt.
  const components = read(join(sysroot, 'lib/rustlib/components'))
  if (components !== undefined) return components.includes(`rust-std-${wasmTarget}`)
  // What setup built with Debian's compiler is of no use to a newer release of it.
  const builtBy = read(join(folder, builtByFile))
  return builtBy === undefined || builtBy === output(join(sysroot, 'bin/rustc'), ['-vV'])
}

/** The sysroot of a compiler, undefined if it does not run.
 * @param {string} rustc
 */
export const sysrootOf = (rustc) => output(rustc, ['--print', 'sysroot'])

/** The wasm-bindgen of this project, which has to be of the crate's very version. */
export const wasmBindgenRoot = join(root, '.cache/tools')
export const wasmBindgenPath = join(wasmBindgenRoot, 'bin/wasm-bindgen')

/** The version of the crate wasm-bindgen in Cargo.lock. */
export const wasmBindgenVersion = () =>
  /\nname = "wasm-bindgen"\nversion = "([^"]+)"/.exec(read(join(root, 'Cargo.lock')) ?? '')?.[1] ??
  wasmBindgenVersionDefault

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
