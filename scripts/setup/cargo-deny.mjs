// The cargo-deny command, by which `npm run check` looks at the licences and sources of crates: one that is there, else compiled
// here. Without the rest of the set-up, as CI has it:
//
//   node scripts/setup/cargo-deny.mjs

import { fileURLToPath } from 'node:url'
import { cargoDenyVersion, findCargoDeny, findRust, rustEnv, rustVersionMin, toolsFolder } from '../toolchain.mjs'
import { run, say, step } from './steps.mjs'

/** @import { Rust } from '../toolchain.mjs' */

/** @param {Rust} rust */
export const installCargoDeny = (rust) => {
  const found = findCargoDeny()
  if (found !== undefined) return say(`cargo-deny ${cargoDenyVersion}: ok, ${found}`)
  const args = [
    'install',
    'cargo-deny',
    '--version',
    `=${cargoDenyVersion}`,
    '--locked',
    '--root',
    toolsFolder,
    '--force',
  ]
  step(`cargo-deny ${cargoDenyVersion}: cargo install, which takes some minutes`, () =>
    run(rust.cargo, args, {
      env: rustEnv(rust),
      otherwise: 'check the connection to crates.io, then run the same command again',
    }),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rust = findRust()
  if (!rust) throw new Error(`no Rust ${rustVersionMin()} or newer found`)
  installCargoDeny(rust)
}
