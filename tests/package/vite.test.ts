/**
 * The package in a project of Vite with Cloudflare's plugin: in the development server, which bundles dependencies before
 * it serves them, in what it builds, and in the preview of that.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { adminSecret, configuration, dates, page, viteConfig, worker } from './app.ts'
import { makeProject, type Project } from './project.ts'
import { assertAdministered, assertQuiet, assertSyncs } from './sync.ts'
import { serve, vite } from './vite.ts'

for (const tools of ['vite-plugin', 'vite-plugin-1.13'] as const) {
  describe(tools, () => {
    let project: Project
    before(() => {
      project = makeProject(tools, {
        'index.html': page,
        'src/index.ts': worker,
        'vite.config.ts': viteConfig,
        'wrangler.toml': configuration({ main: 'src/index.ts', date: dates.template }),
      })
    })
    after(() => project.remove())

    it('syncs clients in the development server', async () => {
      const server = await serve(project)
      await assertSyncs(server.url, { path: '/sync' })
      await assertAdministered(server.url, adminSecret)
      assertQuiet(server.output)
    })

    it('syncs clients in the preview of what was built', async () => {
      const { status, output } = await project.run(vite, 'build')
      assert.match(output, /\.wasm/, 'the WebAssembly is a file of its own')
      assertQuiet(output)
      assert.equal(status, 0)
      const server = await serve(project, 'preview')
      await assertSyncs(server.url, { path: '/sync' })
      await assertAdministered(server.url, adminSecret)
      assert.match(await (await fetch(server.url)).text(), /My app/)
      assertQuiet(server.output)
    })
  })
}
