// A program of crates.io, compiled into the project's own folder.

import { rustEnv, toolsFolder } from '../toolchain.mjs'
import { run, step } from './steps.mjs'

/** @import { Rust } from '../toolchain.mjs' */

/** What runs for a second at a time is compiled for the time that this takes: a third less than with its crate's own profile. */
const quickly = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: '1',
  CARGO_PROFILE_RELEASE_LTO: 'off',
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
}

/**
 * @param {Rust} rust
 * @param {string} program
 * @param {{ crate: string, version: string, isLocked: boolean }} options
 */
export const installProgram = (rust, program, { crate, version, isLocked }) => {
  const args = ['install', crate, '--version', `=${version}`]
  if (isLocked) args.push('--locked')
  step(`${program} ${version}: cargo install, which takes a minute or two`, () =>
    run(rust.cargo, [...args, '--root', toolsFolder, '--force'], {
      env: { ...quickly, ...rustEnv(rust) },
      otherwise: 'check the connection to crates.io, then run the same command again',
    }),
  )
}
