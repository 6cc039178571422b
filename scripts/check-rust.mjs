// Format and lints of the Rust code, for the host and for wasm32, and of the crates that have hooks, which exist for
// wasm32 alone. Says what it has to leave out.

import { spawnSync } from 'node:child_process'
import { findInPath, findWasmRust, output, root, wasmEnv, wasmTarget } from './toolchain.mjs'

/** The crates beside the library's own. */
const crates = ['examples/rust-hooks', 'tests/hooks']

/** @param {string} cargo
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env] */
const run = (cargo, args, env = process.env) => {
  console.log(`check: cargo ${args.join(' ')}`)
  const { status, error } = spawnSync(cargo, args, { cwd: root, env, stdio: 'inherit' })
  if (status !== 0) {
    console.error(`check: FAILED: cargo ${args.join(' ')}${error ? `: ${error.message}` : ''}`)
    process.exit(1)
  }
}

/** Whether the cargo in PATH has this command; with rustup there is no excuse, as it can install it.
 * @param {'fmt' | 'clippy'} command
 * @param {string} component */
const hasCommand = (command, component) => {
  if (output('cargo', [command, '--version']) !== undefined) return true
  if (findInPath('rustup')) {
    console.error(`check: FAILED: cargo ${command} is not installed: run \`rustup component add ${component}\``)
    process.exit(1)
  }
  console.log(`check: SKIPPED cargo ${command}: this machine's Rust comes without it`)
  return false
}

/** @param {string} crate */
const manifestOf = (crate) => ['--manifest-path', `${crate}/Cargo.toml`]

if (hasCommand('fmt', 'rustfmt')) {
  run('cargo', ['fmt', '--check'])
  for (const crate of crates) run('cargo', ['fmt', '--check', ...manifestOf(crate)])
}

if (hasCommand('clippy', 'clippy')) {
  run('cargo', ['clippy', '--all-targets', '--', '-D', 'warnings'])

  const rust = findWasmRust()
  if (rust && !rust.isDebian) {
    for (const manifest of [[], ...crates.map(manifestOf)]) {
      run(rust.cargo, ['clippy', ...manifest, '--target', wasmTarget, '--', '-D', 'warnings'], wasmEnv(rust))
    }
  } else {
    const why = rust ? `the compiler that has this target (in ${rust.sysroot}) comes without clippy` : 'no such target'
    console.log(`check: SKIPPED cargo clippy --target ${wasmTarget}: ${why}`)
  }
}
