// Runs the cargo of the first Rust on this machine that can build this project: that in PATH, unless it does not run or is too
// old. scripts/toolchain.mjs says where others are looked for.
//
//   node scripts/cargo.mjs test [more arguments of cargo]

import { spawnSync } from 'node:child_process'
import { findRust, root, rustEnv, rustVersionMin } from './toolchain.mjs'

const rust = findRust()
if (!rust) {
  console.error(`cargo: FAILED: no Rust ${rustVersionMin()} or newer found: run \`node scripts/setup.mjs --rust\``)
  process.exit(1)
}
const { status, error } = spawnSync(rust.cargo, process.argv.slice(2), {
  cwd: root,
  env: rustEnv(rust),
  stdio: 'inherit',
})
if (error) console.error(`cargo: FAILED: ${error.message}`)
process.exit(status ?? 1)
