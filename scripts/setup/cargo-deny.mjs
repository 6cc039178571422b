// The cargo-deny command, by which `npm run check` looks at the licences and sources of crates: one that is there, else compiled
// here. Without the rest of the set-up, as CI has it:
//
//   node scripts/setup/cargo-deny.mjs

import { fileURLToPath } from 'node:url'
import { cargoDenyVersion, findCargoDeny, findRust, rustVersionMin } from '../toolchain.mjs'
import { installProgram } from './crate.mjs'
import { say } from './steps.mjs'

/** @import { Rust } from '../toolchain.mjs' */

/** @param {Rust} rust */
export const installCargoDeny = (rust) => {
  const found = findCargoDeny()
  if (found !== undefined) return say(`cargo-deny ${cargoDenyVersion}: ok, ${found}`)
  installProgram(rust, 'cargo-deny', { crate: 'cargo-deny', version: cargoDenyVersion, isLocked: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rust = findRust()
  if (!rust) throw new Error(`no Rust ${rustVersionMin()} or newer found`)
  installCargoDeny(rust)
}
