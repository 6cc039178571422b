/**
 * What `wrangler deploy` makes of the bundle.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { wrangler } from '../harness/wrangler.ts'

it('is bundled by wrangler without a warning', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  try {
    const { stdout, stderr } = await wrangler('deploy', '--dry-run', '--outdir', folder)
    assert.match(stdout, /Total Upload/)
    assert.doesNotMatch(stdout + stderr, /warning/i)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
