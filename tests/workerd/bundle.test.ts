/**
 * What `wrangler deploy` makes of the bundle.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { promisify } from 'node:util'
import { root } from '../harness/server.ts'

it('is bundled by wrangler without a warning', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'))
  try {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--outdir', folder],
      { cwd: root, env: { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false' } },
    )
    assert.match(stdout, /Total Upload/)
    assert.doesNotMatch(stdout + stderr, /warning/i)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
