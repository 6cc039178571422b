// Format, lints and documentation of the Rust code, for the host and for wasm32, and of the crates that have hooks, which
// exist for wasm32 alone. Says what it has to leave out.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findRust, findWasmRust, output, root, rustEnv, rustVersionMin, wasmEnv, wasmTarget } from './toolchain.mjs'

/** The crates beside the library's own. */
const crates = ['examples/rust-hooks', 'tests/hooks']

/** Formatted, but not linted here: its files are part of the host's tests, its targets are calls of them. */
const formatted = [...crates, 'fuzz']

/** @param {string} text @returns {never} */
const fail = (text) => {
  console.error(`check: FAILED: ${text}`)
  process.exit(1)
}

const host = findRust() ?? fail(`no Rust ${rustVersionMin()} or newer found: run \`node scripts/setup.mjs --rust\``)

/** The Rust of the Worker; it may be another. */
const wasm = findWasmRust()

/** @param {string[]} args
 * @param {string} [cargo]
 * @param {NodeJS.ProcessEnv} [env] */
const run = (args, cargo = host.cargo, env = rustEnv(host)) => {
  console.log(`check: cargo ${args.join(' ')}`)
  const { status, error } = spawnSync(cargo, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) fail(`cargo ${args.join(' ')}${error ? `: ${error.message}` : ''}`)
}

/** Whether this Rust has the command; with rustup's there is no excuse, as rustup can install it.
 * @param {'fmt' | 'clippy'} command
 * @param {string} component */
const hasCommand = (command, component) => {
  if (output(host.cargo, [command, '--version']) !== undefined) return true
  if (output('rustup', ['which', 'cargo']) !== undefined)
    fail(`cargo ${command} is not installed: run \`rustup component add ${component}\``)
  console.log(`check: SKIPPED cargo ${command}: this machine's Rust comes without it`)
  return false
}

/** @param {string} crate */
const manifestOf = (crate) => ['--manifest-path', `${crate}/Cargo.toml`]

if (hasCommand('fmt', 'rustfmt')) {
  run(['fmt', '--check'])
  for (const crate of formatted) run(['fmt', '--check', ...manifestOf(crate)])
}

if (hasCommand('clippy', 'clippy')) {
  run(['clippy', '--locked', '--all-targets', '--', '-D', 'warnings'])

  if (wasm?.from === 'PATH' && wasm.std === wasm.sysroot) {
    for (const manifest of [[], ...crates.map(manifestOf)]) {
      run(
        ['clippy', '--locked', ...manifest, '--target', wasmTarget, '--', '-D', 'warnings'],
        wasm.cargo,
        wasmEnv(wasm),
      )
    }
  } else {
    const why = wasm ? `the compiler that has this target (in ${wasm.sysroot}) comes without clippy` : 'no such target'
    console.log(`check: SKIPPED cargo clippy --target ${wasmTarget}: ${why}`)
  }
}

// Links of the documentation lead somewhere. It is for who works here, so it has what is private, and leads there.
const doc = ['doc', '--locked', '--no-deps', '--document-private-items']
const strict = { RUSTDOCFLAGS: '-D warnings -A rustdoc::private-intra-doc-links' }
run(doc, host.cargo, { ...rustEnv(host), ...strict })
if (wasm && wasm.std === wasm.sysroot && existsSync(join(dirname(wasm.cargo), 'rustdoc'))) {
  // As on the host, but for src/edge.
  run([...doc, '--target', wasmTarget], wasm.cargo, { ...wasmEnv(wasm), ...strict })
} else {
  console.log(`check: SKIPPED cargo doc --target ${wasmTarget}: no rustdoc that has this target`)
}
