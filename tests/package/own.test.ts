/** The Worker of this repository by its own `wrangler.toml`: who runs it or deploys it is warned of nothing. */
import assert from 'node:assert/strict'
import { cpSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../harness/server.ts'
import { makeProject, type Project } from './project.ts'
import { assertQuiet, assertSyncs } from './sync.ts'

const wrangler = 'wrangler/bin/wrangler.js'

describe("this repository's own wrangler.toml", () => {
  let project: Project
  before(() => {
    const files = ['wrangler.toml', '.dev.vars'].map((name) => [name, readFileSync(join(root, name), 'utf8')] as const)
    project = makeProject('wrangler', Object.fromEntries(files))
    cpSync(join(root, 'dist'), join(project.folder, 'dist'), { recursive: true })
    cpSync(join(root, 'migrations'), join(project.folder, 'migrations'), { recursive: true })
  })
  after(() => project.remove())

  it('is deployed without a warning', async () => {
    const { status, output } = await project.run(wrangler, 'deploy', '--dry-run')
    assertQuiet(output)
    assert.match(output, /Total Upload/)
    assert.match(output, /env\.SYNC_BACKEND_DO/)
    assert.equal(status, 0)
  })

  it('is run without a warning, and syncs clients', async () => {
    const ports = ['--port', '0', '--inspector-port', '0']
    const server = await project.serve(wrangler, ['dev', ...ports], /Ready on (http:\/\/\S+)/)
    await assertSyncs(server.url)
    assertQuiet(server.output)
  })
})
