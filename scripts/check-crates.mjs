// Licences, duplicates and sources of all crates in the lock files, by deny.toml: `npm run check` does this.
//
//   node scripts/check-crates.mjs                 what the crates say themselves
//   node scripts/check-crates.mjs --advisories    known vulnerabilities too, by a database that is fetched from GitHub

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { cargoDenyVersion, findCargoDeny, root } from './toolchain.mjs'

const wantsAdvisories = process.argv.includes('--advisories')
const deny = findCargoDeny()
if (deny === undefined) {
  console.error(`check: FAILED: no cargo-deny ${cargoDenyVersion} found: run \`node scripts/setup.mjs --tests\``)
  process.exit(1)
}

const checks = ['licenses', 'bans', 'sources', ...(wantsAdvisories ? ['advisories'] : [])]
for (const crate of ['.', 'examples/rust-hooks', 'tests/hooks', 'fuzz']) {
  const args = ['--manifest-path', join(crate, 'Cargo.toml'), '--locked']
  args.push('--config', join(root, 'deny.toml'), 'check', '--hide-inclusion-graph', ...checks)
  console.log(`check: cargo-deny ${args.join(' ')}`)
  const { status, error } = spawnSync(deny, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) {
    console.error(`check: FAILED: crates of ${crate}${error ? `: ${error.message}` : ''}`)
    process.exit(1)
  }
}
