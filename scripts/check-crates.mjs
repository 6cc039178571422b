// Licences, duplicates and sources of all crates in the lock files, by deny.toml: `npm run check` does this.
//
//   node scripts/check-crates.mjs                 what can be told offline
//   node scripts/check-crates.mjs --advisories    known vulnerabilities too, by a database that is fetched from GitHub

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { findInPath, root } from './toolchain.mjs'

const wantsAdvisories = process.argv.includes('--advisories')
const own = join(root, '.cache/tools/bin/cargo-deny')
const deny = existsSync(own) ? own : findInPath('cargo-deny')
if (!deny) {
  const install = 'cargo install --locked cargo-deny --version ^0.20 --root .cache/tools'
  console.log(`check: SKIPPED crates: cargo-deny is not installed (${install})`)
  // Who asks for it by name, or is a machine that ought to have it, is not told that all is well.
  process.exit(wantsAdvisories || process.env['REQUIRE_CARGO_DENY'] ? 1 : 0)
}

const checks = ['licenses', 'bans', 'sources', ...(wantsAdvisories ? ['advisories'] : [])]
for (const crate of ['.', 'examples/rust-hooks', 'tests/hooks', 'fuzz']) {
  const args = ['--manifest-path', join(crate, 'Cargo.toml'), '--locked']
  if (!wantsAdvisories) args.push('--offline')
  args.push('--config', join(root, 'deny.toml'), 'check', '--hide-inclusion-graph', ...checks)
  console.log(`check: cargo-deny ${args.join(' ')}`)
  const { status, error } = spawnSync(deny, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) {
    console.error(`check: FAILED: crates of ${crate}${error ? `: ${error.message}` : ''}`)
    process.exit(1)
  }
}
