// A Rust compiler with a standard library for wasm32. Looks for one, else has rustup add it, else builds it from a source that
// is there or that Debian has. Writes to this project's .cache, and through rustup, cargo and (as root) apt alone.

import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  builtByName,
  canLinkWasm,
  cargoHome,
  debianPackages,
  findInPackage,
  findInPath,
  findRusts,
  findWasmRust,
  isAtLeast,
  list,
  output,
  ownSysroot,
  root,
  rustVersionMin,
  wasmStdFolder,
  wasmTarget,
} from '../toolchain.mjs'
import { ask } from './ask.mjs'
import { installPackages, isRootOnDebian } from './debian.mjs'
import { attempt, fail, say, step } from './steps.mjs'

/** @import { Rust, WasmRust } from '../toolchain.mjs' */

/** Names the compiler that builds the Worker, and makes sure that there is one. Ends the set-up if there can be none.
 * @param {() => boolean} takesOther whether there is a Worker without a compiler, asked for once the quick ways have failed
 * @returns {WasmRust | undefined} undefined if there is such a Worker
 */
export const installRust = (takesOther) => {
  /** Why what was tried did not work. @type {string[]} */
  const reasons = []
  let rust = findWasmRust()
  if (!rust) {
    addByRustup(reasons)
    rust = findWasmRust()
  }
  if (!rust) {
    if (takesOther()) return undefined
    buildStd(reasons)
    rust = findWasmRust()
  }
  if (!rust) fail(whatToType(reasons))
  if (!canLinkWasm(rust)) fail("no linker for WebAssembly: install LLVM's lld (Debian: apt-get install lld)")
  needCompiler()
  const isDebians = rust.cargo === findInPackage(debianPackages.cargo, 'cargo')
  const place = isDebians ? "Debian's Rust" : rust.from === 'rustup' ? "rustup's Rust" : 'the Rust in PATH'
  const std = rust.std === ownSysroot ? ', with the standard library in .cache/rust-std' : ''
  say(`${name(rust.version)}: ok, ${place} (${rust.cargo}) builds the Worker${std}`)
  return rust
}

/** `rustc 1.95.0`, of all that a compiler says of its version.
 * @param {string} version
 */
const name = (version) => version.replace(/ \([\s\S]*/, '')

// ----- rustup -----

/** Has rustup install what is missing, if its server answers: without, it would wait for minutes.
 * @param {string[]} reasons
 */
const addByRustup = (reasons) => {
  if (!findInPath('rustup')) return
  const version = output('rustup', ['run', activeToolchain(), 'rustc', '--version'])
  if (version !== undefined && !isAtLeast(version, rustVersionMin())) {
    reasons.push(`rustup's Rust is ${name(version)}, needed is ${rustVersionMin()} or newer`)
    return
  }
  const server = (process.env['RUSTUP_DIST_SERVER'] || 'https://static.rust-lang.org').replace(/\/+$/, '')
  // Files on this machine are there or not; rustup says so at once.
  const reason = /^https?:/.test(server) ? ask(`${server}/dist/channel-rust-stable.toml.sha256`) : undefined
  if (reason !== undefined) {
    const silent = `rustup's server ${server} does not answer (${reason})`
    say(silent)
    reasons.push(silent)
    return
  }
  const [what, args] =
    version === undefined
      ? [
          'toolchain install stable',
          ['--no-self-update', '--profile', 'minimal', '--component', 'rustfmt,clippy', '--target', wasmTarget],
        ]
      : ['target add', [wasmTarget]]
  const wrong = step(`Rust for ${wasmTarget}: rustup ${what}`, () => attempt('rustup', [...what.split(' '), ...args]))
  if (wrong !== undefined) reasons.push(wrong)
}

/** The toolchain that rustup would use here, by its whole name. */
const activeToolchain = () => output('rustup', ['show', 'active-toolchain'])?.split(/\s/)[0] ?? 'stable'

// ----- A standard library from source -----

/** Builds the standard library by the first compiler whose source is here, else by Debian's, which is installed if it may be.
 * @param {string[]} reasons
 */
const buildStd = (reasons) => {
  const rust = findWithSource() ?? installDebianRust(reasons)
  if (!rust) return
  needCompiler()
  const what = `Rust for ${wasmTarget}: building the standard library of ${name(rust.version)} into .cache/rust-std`
  const wrong = step(what, () => build(rust))
  if (wrong !== undefined) reasons.push(wrong)
}

/** @returns {Rust | undefined} */
const findWithSource = () => {
  for (const rust of findRusts())
    if (list(join(rust.sysroot, 'lib/rustlib/src/rust/library')).includes('std')) return rust
  return undefined
}

/** @param {string[]} reasons
 * @returns {Rust | undefined}
 */
const installDebianRust = (reasons) => {
  if (!isRootOnDebian()) return undefined
  const wrong = installPackages(Object.values(debianPackages), rustVersionMin())
  if (wrong !== undefined) {
    reasons.push(wrong)
    return undefined
  }
  return findWithSource()
}

/** @param {Rust} rust
 * @returns {string | undefined} what went wrong
 */
const build = (rust) => {
  const work = join(root, '.cache/rust-std.new')
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const crate = 'nothing'
  const manifest = `[package]\nname = "${crate}"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[workspace]\n`
  writeFileSync(join(work, 'Cargo.toml'), manifest)
  writeFileSync(join(work, 'lib.rs'), '#![no_std]\n')
  const env = {
    ...withoutCargoSettings(process.env),
    RUSTC: rust.rustc,
    RUSTC_BOOTSTRAP: '1',
    // Without bitcode a release build with link-time optimisation cannot use the result. The folders of this machine, which
    // panics are logged with, are nobody's business.
    CARGO_ENCODED_RUSTFLAGS: ['-Cembed-bitcode=yes', `--remap-path-prefix=${cargoHome()}=`].join('\x1f'),
  }
  const args = ['build', '-Zbuild-std=std,panic_abort,proc_macro', '--release', '--target', wasmTarget]
  const wrong = attempt(rust.cargo, args, { cwd: work, env })
  if (wrong !== undefined) return wrong

  const made = join(work, 'made')
  mkdirSync(wasmStdFolder(made), { recursive: true })
  const deps = join(work, 'target', wasmTarget, 'release/deps')
  for (const file of list(deps))
    if (file.endsWith('.rlib') && !file.startsWith(`lib${crate}-`))
      cpSync(join(deps, file), join(wasmStdFolder(made), file))
  writeFileSync(join(made, builtByName), rust.version)
  // Into place by one rename: a build never sees half of it.
  rmSync(ownSysroot, { recursive: true, force: true })
  renameSync(made, ownSysroot)
  rmSync(work, { recursive: true, force: true })
  return undefined
}

/** Without what would lead cargo away from a plain build by one compiler.
 * @param {NodeJS.ProcessEnv} env
 */
const withoutCargoSettings = (env) =>
  Object.fromEntries(
    Object.entries(env).filter(
      ([variable]) => !/^(CARGO_(TARGET|BUILD|PROFILE|ENCODED_RUSTFLAGS)|RUSTC|RUSTFLAGS)/.test(variable),
    ),
  )

// ----- The C compiler, by which Rust links what runs on this machine -----

const needCompiler = () => {
  if (process.platform === 'win32' || ['cc', 'gcc', 'clang'].some((program) => findInPath(program))) return
  const wrong = isRootOnDebian() ? installPackages(['gcc', 'libc6-dev']) : 'no C compiler is in PATH'
  if (wrong === undefined) return
  const what =
    process.platform === 'darwin' ? '`xcode-select --install`' : '`gcc` (Debian: apt-get install build-essential)'
  fail(`${wrong}, and Rust links by one: install ${what}, then run the same command again`)
}

// ----- What to type -----

/** One sentence for a machine on which none of this works.
 * @param {string[]} reasons
 */
const whatToType = (reasons) => {
  const why = reasons.length > 0 ? ` (${reasons.join('; ')})` : ''
  const again = 'then run the same command again'
  const asRoot = `on Debian, let root run \`apt-get install ${Object.values(debianPackages).join(' ')}\``
  const version = output('rustc', ['--version'])
  if (version === undefined && !findInPath('rustup'))
    return `Rust is not installed${why}: install it from https://rustup.rs and open a new shell, or ${asRoot}, ${again}`
  if (version === undefined)
    return `rustup has no Rust that runs here${why}: run \`rustup default stable\` where its server can be reached, or ${asRoot}, ${again}`
  if (!isAtLeast(version, rustVersionMin())) {
    const update = findInPath('rustup') ? 'run `rustup update stable`' : 'install a newer one from https://rustup.rs'
    return `this is ${name(version)}, needed is ${rustVersionMin()} or newer${why}: ${update}, ${again}`
  }
  const add = findInPath('rustup')
    ? `run \`rustup target add ${wasmTarget}\` where rustup's server can be reached`
    : 'install Rust from https://rustup.rs and open a new shell'
  return `Rust's standard library for ${wasmTarget} is missing${why}: ${add}, or ${asRoot}, ${again}`
}
