// The cargo-deny command, by which `npm run check` looks at the licences and sources of crates: one that is there, else compiled
// here.

import { cargoDenyVersion, findCargoDeny, rustEnv, toolsFolder } from '../toolchain.mjs'
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
