// Installs what building and running need and this machine lacks: npm packages, a Rust standard library for wasm32 and
// the wasm-bindgen command. Each step skips itself when its result is there, so that every npm script can start here.
//
//   node scripts/setup.mjs [--examples] [--tests]
//
//   --examples   also the packages of the example apps
//   --tests      these, the LiveStore clients that tests and benchmarks drive, the tools of the projects in which tests use the
//                package, and a Chromium for the apps
//
// Runs on Node 18 and needs no package, because it comes before `npm ci`.

import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync, cpSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { chromiumInstallation, findChromium, runsChromium } from './browser.mjs'
import {
  builtByFile,
  canLinkWasm,
  findDebianRust,
  findInPath,
  findWasmRust,
  hasWasmStd,
  isAtLeast,
  list,
  output,
  read,
  root,
  rustVersionMin,
  sysrootOf,
  wasmBindgenPath,
  wasmBindgenRoot,
  wasmBindgenVersion,
  wasmStdFolder,
  wasmTarget,
} from './toolchain.mjs'

/** The oldest Node that wrangler and miniflare run on. */
const nodeVersionMin = '22.12.0'

/** In a node_modules folder: the lock file and machine it was installed for. */
const stampName = '.livestore-sync-worker-lock'

/** Folders of folders with packages that only tests need, and what each of those is.
 * @type {ReadonlyArray<readonly [folder: string, what: string]>}
 */
const testPackages = [
  ['tests/clients', 'client'],
  ['tests/package/projects', 'project'],
]

/** How long `rustup target add` may go without receiving a byte: with its server out of reach it waits for minutes. */
const rustupStallMsMax = Number(process.env['SETUP_RUSTUP_STALL_MS'] ?? 45_000)

const main = async () => {
  const options = process.argv.slice(2)
  const unknown = options.find((option) => option !== '--tests' && option !== '--examples')
  if (unknown) fail(`unknown option ${unknown}; there are --examples and --tests`)
  const forTests = options.includes('--tests')

  installPackages('.', 'npm packages')
  checkNode()
  if (forTests) for (const [folder, what] of testPackages) installPackagesBelow(folder, what)
  if (forTests || options.includes('--examples')) installPackagesBelow('examples', 'example')
  if (forTests) installChromium()
  checkRust()
  await installWasmStd()
  installWasmBindgen()
}

// ----- npm -----

/** `npm ci` in a folder, unless its node_modules come from this very lock file.
 * @param {string} folder relative to the top
 * @param {string} what
 */
const installPackages = (folder, what) => {
  const lock = read(join(root, folder, 'package-lock.json'))
  if (lock === undefined) fail(`${join(folder, 'package-lock.json')} is missing; it belongs to the repository`)
  const stamp = `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`
  const stampPath = join(root, folder, 'node_modules', stampName)
  if (read(stampPath) === stamp) return say(`${what}: up to date`)
  say(`${what}: npm ci`)
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: join(root, folder),
    env: { ...process.env, PATH: pathWithoutLocalNode() },
    otherwise: 'check the connection to the npm registry, then run the same command again',
  })
  writeFileSync(stampPath, stamp)
}

/** The same in each folder below one that has a lock file.
 * @param {string} folder relative to the top
 * @param {string} what each of them is
 */
const installPackagesBelow = (folder, what) => {
  for (const name of list(join(root, folder)).sort()) {
    if (existsSync(join(root, folder, name, 'package-lock.json')))
      installPackages(join(folder, name), `${what} ${name}`)
  }
}

/** PATH without any node_modules/.bin: `npm ci` deletes the node in there, and must not run on it. */
const pathWithoutLocalNode = () =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !/node_modules[\\/]\.bin[\\/]?$/.test(folder))
    .join(delimiter)

/** The npm package `node` brings the Node that all npm scripts run on, whatever the machine's own is. */
const checkNode = () => {
  const version = output(join(root, 'node_modules/.bin/node'), ['--version'])
  if (version !== undefined && isAtLeast(version, nodeVersionMin)) return say(`Node ${version} in node_modules: ok`)
  rmSync(join(root, 'node_modules', stampName), { force: true })
  fail(
    `node_modules/.bin/node is ${version ?? 'missing or does not run'}, needed is ${nodeVersionMin} or newer. ` +
      'The install script of the npm package `node` puts it there: check that npm may run install scripts ' +
      '(`npm config get ignore-scripts` says false), then run the same command again',
  )
}

// ----- Chromium -----

/** A Chromium for the browser tests, unless there is one. */
const installChromium = () => {
  const found = findChromium()
  if (found !== undefined) return say(`Chromium: ok, ${found}`)
  const { what, commands } = chromiumInstallation()
  say(`Chromium: ${what}`)
  for (const [program = '', ...args] of commands) run(program, args, { otherwise: noChromium })
  const path = findChromium()
  if (path === undefined || !runsChromium(path)) fail(noChromium)
}

const noChromium =
  'no Chromium could be installed for the browser tests. Install Chromium or Chrome, on Debian as root by ' +
  '`apt-get install chromium`, or set CHROMIUM_PATH to the program of one, and then run the same command again'

// ----- Rust -----

const checkRust = () => {
  const [rustc, cargo] = [output('rustc', ['--version']), output('cargo', ['--version'])]
  if (rustc === undefined || cargo === undefined) {
    fail('Rust is not installed: install it from https://rustup.rs, open a new shell, and run the same command again')
  }
  const min = rustVersionMin()
  if (!isAtLeast(rustc, min)) fail(`this is ${rustc}, needed is ${min} or newer: run \`rustup update stable\``)
  say(`${rustc.replace(/ \(.*/, '')}: ok`)
}

/** A standard library for wasm32: rustup's, or one built from Debian's source where rustup's server is out of reach. */
const installWasmStd = async () => {
  if (!findWasmRust()) {
    await addRustupTarget()
    if (!findWasmRust()) buildDebianStd()
  }
  const rust = findWasmRust()
  if (!rust) fail(noWasmStd)
  if (!canLinkWasm(rust)) fail("no linker for WebAssembly: install LLVM's lld (Debian: apt-get install lld)")
  say(`Rust target ${wasmTarget}: ok, in ${rust.sysroot}`)
}

const noWasmStd =
  `Rust's standard library for ${wasmTarget} is missing and could not be installed. Either\n` +
  `  - run \`rustup target add ${wasmTarget}\` (Rust from https://rustup.rs) where its server can be reached, or\n` +
  '  - on Debian, let root run: apt-get install rustc-web cargo-web rust-web-src lld\n' +
  'and then run the same command again'

/** `rustup target add`, given up when nothing arrives. Leaves either the whole target or nothing of it. */
const addRustupTarget = async () => {
  const sysroot = sysrootOf('rustc')
  if (!findInPath('rustup') || !sysroot) return
  say(`Rust target ${wasmTarget}: rustup target add`)
  removeHalfTarget(sysroot)
  const child = spawn('rustup', ['target', 'add', wasmTarget], { cwd: root, stdio: 'inherit', detached: true })
  /** @param {NodeJS.Signals} signal */
  const killGroup = (signal) => {
    try {
      if (child.pid) process.kill(-child.pid, signal)
    } catch {
      // It has ended already.
    }
  }
  // A process group of its own does not get the terminal's Ctrl-C.
  const interrupt = () => {
    killGroup('SIGKILL')
    removeHalfTarget(sysroot)
    process.exit(130)
  }
  process.once('SIGINT', interrupt)

  const home = process.env['RUSTUP_HOME'] ?? join(homedir(), '.rustup')
  const received = () => [join(home, 'downloads'), join(home, 'tmp'), wasmStdFolder(sysroot)].map(bytesIn).join()
  let [last, lastChangeMs, isGivenUp] = [received(), Date.now(), false]
  const watch = setInterval(() => {
    const now = received()
    if (now !== last) [last, lastChangeMs] = [now, Date.now()]
    const quietMs = Date.now() - lastChangeMs
    if (quietMs > rustupStallMsMax) {
      isGivenUp = true
      killGroup(quietMs > rustupStallMsMax + 3_000 ? 'SIGKILL' : 'SIGTERM')
    }
  }, 500)
  const status = await new Promise((resolve) => {
    child.once('error', () => resolve(undefined))
    child.once('exit', resolve)
  })
  clearInterval(watch)
  process.off('SIGINT', interrupt)
  if (isGivenUp) say(`rustup received nothing for ${rustupStallMsMax / 1000} s and was stopped`)
  else if (status !== 0) say('rustup could not add the target')
  removeHalfTarget(sysroot)
}

/** Removes what an interrupted `rustup target add` left: rustup would take it for an installed target, or for a conflict.
 * @param {string} sysroot a toolchain of rustup's
 */
const removeHalfTarget = (sysroot) => {
  const rustlib = join(sysroot, 'lib/rustlib')
  if (!existsSync(join(rustlib, 'components')) || hasWasmStd(sysroot)) return
  const component = `rust-std-${wasmTarget}`
  rewrite(join(rustlib, 'components'), (text) => text.replace(`${component}\n`, ''))
  rewrite(join(rustlib, 'multirust-config.toml'), (text) =>
    text
      .split('[[components]]')
      .filter((entry) => !entry.includes('pkg = "rust-std"') || !entry.includes(`target = "${wasmTarget}"`))
      .join('[[components]]'),
  )
  rmSync(join(rustlib, `manifest-${component}`), { force: true })
  rmSync(wasmStdFolder(sysroot), { recursive: true, force: true })
}

/** @param {string} path
 * @param {(text: string) => string} edit
 */
const rewrite = (path, edit) => {
  const text = read(path)
  if (text !== undefined && edit(text) !== text) writeFileSync(path, edit(text))
}

/** @param {string} path
 * @returns {number} */
const bytesIn = (path) => {
  // The file may go away while it is looked at.
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (!stat?.isDirectory()) return stat?.size ?? 0
  return list(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0)
}

/** Installs Debian's Rust and its source, and builds the standard library for wasm32 from that. */
const buildDebianStd = () => {
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const isAllowed = sudo.length === 0 || output('sudo', ['-n', 'true']) !== undefined
  if (process.platform !== 'linux' || !findInPath('apt-get') || !isAllowed) fail(noWasmStd)

  const missing = ['rustc-web', 'cargo-web', 'rust-web-src', 'lld'].filter(
    (name) => output('dpkg-query', ['-W', '-f', '${Status}', name]) !== 'install ok installed',
  )
  if (missing.length > 0) {
    say(`Rust target ${wasmTarget}: apt-get install ${missing.join(' ')}`)
    const apt = [...sudo, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get']
    run(apt, ['update'], { otherwise: noWasmStd })
    // Never at the price of a package the user has chosen, such as Debian's older rustc.
    run(apt, ['install', '-y', '--no-install-recommends', '--no-remove', ...missing], { otherwise: noWasmStd })
  }

  const rust = findDebianRust(() => true)
  if (!rust) fail(noWasmStd)
  say(`Rust target ${wasmTarget}: building its standard library from Debian's source`)
  const work = mkdtempSync(join(tmpdir(), 'rust-std-'))
  try {
    const name = 'nothing'
    writeFileSync(
      join(work, 'Cargo.toml'),
      `[package]\nname = "${name}"\nversion = "0.0.0"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[workspace]\n`,
    )
    writeFileSync(join(work, 'lib.rs'), '#![no_std]\n')
    const rustc = join(rust.sysroot, 'bin/rustc')
    const env = {
      ...withoutCargoSettings(process.env),
      PATH: [join(rust.sysroot, 'bin'), process.env['PATH']].join(delimiter),
      RUSTC: rustc,
      RUSTC_BOOTSTRAP: '1',
      // Without bitcode a release build with link-time optimisation cannot use the result.
      RUSTFLAGS: '-Cembed-bitcode=yes',
    }
    const build = ['build', '-Zbuild-std=std,panic_abort,proc_macro', '--release', '--target', wasmTarget]
    run(rust.cargo, build, { cwd: work, env, otherwise: noWasmStd })

    const made = join(work, 'made')
    mkdirSync(join(made, 'lib'), { recursive: true })
    const deps = join(work, 'target', wasmTarget, 'release/deps')
    for (const file of list(deps)) {
      if (file.endsWith('.rlib') && !file.startsWith(`lib${name}-`)) cpSync(join(deps, file), join(made, 'lib', file))
    }
    writeFileSync(join(made, builtByFile), output(rustc, ['-vV']) ?? '')
    // Into place by one rename: a build never sees half of it.
    const folder = wasmStdFolder(rust.sysroot)
    const script = 'rm -rf "$2" "$3" && cp -R "$1" "$2" && chmod -R a+rX "$2" && mv "$2" "$3"'
    run([...sudo, 'sh'], ['-c', script, 'sh', made, `${folder}.new`, folder], { otherwise: noWasmStd })
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Without what would lead cargo away from a plain build by one compiler.
 * @param {NodeJS.ProcessEnv} env
 */
const withoutCargoSettings = (env) =>
  Object.fromEntries(
    Object.entries(env).filter(
      ([name]) => !/^(CARGO_(TARGET|BUILD|PROFILE|ENCODED_RUSTFLAGS)|RUSTC|RUSTFLAGS|RUSTUP_TOOLCHAIN)/.test(name),
    ),
  )

/** The wasm-bindgen command in the version of the crate: the two check that they match. */
const installWasmBindgen = () => {
  const version = wasmBindgenVersion()
  if (output(wasmBindgenPath, ['--version']) === `wasm-bindgen ${version}`) return say(`wasm-bindgen ${version}: ok`)
  say(`wasm-bindgen ${version}: cargo install, which takes some minutes`)
  // Not --locked: a registry mirror may lag behind the newest patch releases in that lock file.
  run('cargo', ['install', 'wasm-bindgen-cli', '--version', `=${version}`, '--root', wasmBindgenRoot, '--force'], {
    otherwise: 'check the connection to crates.io, then run the same command again',
  })
}

// ----- Running and reporting -----

/** Runs a command with its output shown; ends this program if it fails.
 * @param {string | string[]} command with a prefix such as sudo, if it is a list
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, otherwise: string }} options `otherwise`: what to do when it fails
 */
const run = (command, args, { cwd = root, env = process.env, otherwise }) => {
  const [program = '', ...all] = [command, args].flat()
  const { status, signal, error } = spawnSync(program, all, { cwd, env, stdio: 'inherit' })
  if (status === 0) return
  const how = error?.message ?? (signal ? `was ended by ${signal}` : `ended with code ${status}`)
  fail(`\`${[program, ...all].join(' ')}\` ${how}: ${otherwise}`)
}

/** @param {string} text */
const say = (text) => console.log(`setup: ${text}`)

/** @param {string} text
 * @returns {never} */
function fail(text) {
  throw new Failure(text)
}

/** A step that could not be done; the message says what to do. */
class Failure extends Error {}

try {
  await main()
} catch (error) {
  if (!(error instanceof Failure)) throw error
  console.error(`setup: FAILED: ${error.message}`)
  process.exitCode = 1
}
