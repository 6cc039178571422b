/**
 * The package in a project of Vite with Cloudflare's plugin: in the development server, which bundles dependencies before
 * it serves them, in what it builds, and in the preview of that.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { adminSecret, configuration, dates, page, viteConfig, worker } from './app.ts'
import { ownWorker, vite as shown } from './frameworks.ts'
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

describe('the Worker of a page, as documents have it', () => {
  let project: Project
  before(() => {
    project = makeProject('vite-plugin', {
      'index.html': page,
      'src/index.ts': shown.worker,
      'vite.config.ts': viteConfig,
      'wrangler.toml': configuration({ main: 'src/index.ts', date: dates.newest, more: shown.assets }),
      '.dev.vars': ownWorker['.dev.vars'],
    })
  })
  after(() => project.remove())

  /** The page is there at any path but that of sync. */
  const assertServes = async (url: string): Promise<void> => {
    await assertSyncs(url, { path: '/sync' })
    const headers = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }
    for (const path of ['', '/a/view']) assert.match(await (await fetch(url + path, { headers })).text(), /My app/)
    assert.doesNotMatch(await (await fetch(`${url}/sync`, { headers })).text(), /My app/)
  }

  it('syncs clients in the development server', async () => {
    const server = await serve(project)
    await assertServes(server.url)
    assertQuiet(server.output)
  })

  it('syncs clients in the preview of what was built', async () => {
    const { status, output } = await project.run(vite, 'build')
    assert.equal(status, 0, output)
    const server = await serve(project, 'preview')
    await assertServes(server.url)
    assertQuiet(server.output)
  })
})
