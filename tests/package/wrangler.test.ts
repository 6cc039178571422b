/** The package in a project of wrangler: what it bundles, and what it runs on this machine. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { makeClient as makeClientV03 } from '../clients/v03/client.ts'
import { targetOf } from '../harness/raw-client.ts'
import { templateToken } from '../harness/server.ts'
import { knock } from '../workerd/knock.ts'
import { adminSecret, configuration, database, dates, of03, worker, worker03 } from './app.ts'
import { hono, ownWorker, readmeWorker } from './frameworks.ts'
import { makeProject, type Project, type Running, type Tools } from './project.ts'
import { assertAdministered, assertQuiet, assertSyncs } from './sync.ts'

const wrangler = 'wrangler/bin/wrangler.js'

/** What holds for each project: it is bundled and run without a warning. `define` says what else, of its server. */
const inProject = (
  tools: Tools,
  files: Readonly<Record<string, string>>,
  define: (server: () => Running) => void,
): void => {
  let project: Project
  let server: Running
  before(async () => {
    project = makeProject(tools, files)
    const options = ['--port', '0', '--inspector-port', '0']
    server = await project.serve(wrangler, ['dev', ...options], /Ready on (http:\/\/\S+)/)
  })
  after(() => project.remove())

  define(() => server)

  it('runs without a warning', () => assertQuiet(server.output))

  it('is bundled without a warning', async () => {
    const { status, output } = await project.run(wrangler, 'deploy', '--dry-run')
    assert.match(output, /Total Upload/)
    assertQuiet(output)
    assert.equal(status, 0)
  })
}

for (const [name, date] of Object.entries(dates)) {
  describe(`wrangler, compatibility date of the ${name}`, () => {
    const files = { 'src/index.ts': worker, 'wrangler.toml': configuration({ main: 'src/index.ts', date }) }
    inProject('wrangler', files, (server) => {
      it('syncs clients, whose messages hooks see', async () => {
        await assertSyncs(server().url, { path: '/sync' })
        const seen = (await (await fetch(server().url)).json()) as Record<string, number>
        assert.deepEqual(seen, { pushes: 3, pulls: 1 })
      })

      it('has the administration beside it', () => assertAdministered(server().url, adminSecret))

      it('lets in nobody whom it does not know', async () => {
        const target = targetOf({ storeId: 'a-store', path: '/sync', payload: { authToken: 'another' } })
        const { status, body } = await knock(server(), { target, upgrade: 'websocket' })
        assert.equal(status, 400)
        assert.match(body, /Invalid auth token/)
      })
    })
  })
}

describe('wrangler, the file of the package as main', () => {
  const main = 'node_modules/livestore-sync-worker/dist/worker.js'
  const more = `\n[vars]\nAUTH_TOKEN = "${templateToken}"\nADMIN_SECRET = "${adminSecret}"\n`
  inProject('wrangler', { 'wrangler.toml': configuration({ main, date: dates.template, more }) }, (server) => {
    it('syncs clients', () => assertSyncs(server().url))

    it('has the administration', () => assertAdministered(server().url, adminSecret))
  })
})

for (const [document, files, origin] of [
  ['docs/frameworks.md', ownWorker, 'http://localhost:3000'],
  ['README.md', readmeWorker, 'https://app.example.com'],
] as const)
  describe(`wrangler, a Worker of its own as ${document} has it`, () => {
    inProject('wrangler', files, (server) => {
      it('syncs clients', () => assertSyncs(server().url))

      it('serves a page of an origin that it lists, and none of another port', async () => {
        const target = targetOf({ storeId: 'a-store', payload: { authToken: templateToken } })
        for (const [from, status] of [
          [origin, 101],
          [`${origin.replace(/:\d+$/, '')}:3001`, 403],
        ] as const) {
          const answer = await knock(server(), { target, upgrade: 'websocket', headers: { origin: from } })
          assert.equal(answer.status, status, from)
        }
      })
    })
  })

describe('wrangler, the Worker of the 0.3 template', () => {
  const toml = configuration({ main: 'src/index.ts', date: dates.template, binding: of03, more: database })
  inProject('wrangler', { 'src/index.ts': worker03, 'wrangler.toml': toml }, (server) => {
    it('syncs clients of 0.3 and of 0.4', async () => {
      await assertSyncs(server().url, { makeClient: makeClientV03 })
      await assertSyncs(server().url, { path: '/websocket' })
    })
  })
})

describe('wrangler, routes of Hono', () => {
  const toml = configuration({ main: 'src/index.ts', date: dates.newest })
  inProject('hono', { 'src/index.ts': hono, 'wrangler.toml': toml }, (server) => {
    it('syncs clients beside the routes of the app', async () => {
      await assertSyncs(server().url, { path: '/sync' })
      assert.equal(await (await fetch(server().url)).text(), 'the page')
    })
  })
})
