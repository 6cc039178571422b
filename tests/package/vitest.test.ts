/** The package in a project whose own tests run in the Workers runtime, by Cloudflare's plugin of Vitest. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { templateToken } from '../harness/server.ts'
import { configuration, dates, worker } from './app.ts'
import { makeProject, type Project } from './project.ts'
import { assertQuiet } from './sync.ts'

const vitestConfig = `
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

export default defineConfig({ plugins: [cloudflareTest({ wrangler: { configPath: './wrangler.toml' } })] })
`

/** A test that a user may have: it pushes as a client does, pulls, and looks into the object. */
const userTest = `
import { env, exports } from 'cloudflare:workers'
import { runInDurableObject } from 'cloudflare:test'
import { expect, it } from 'vitest'
import { seen } from '../src/index.ts'

const connect = async (storeId: string, authToken: string) => {
  const payload = encodeURIComponent(JSON.stringify({ authToken }))
  const query = new URLSearchParams({ storeId, transport: 'ws', payload })
  return exports.default.fetch('https://app.example.com/sync?' + query, { headers: { Upgrade: 'websocket' } })
}

it('stores what is pushed', async () => {
  const { status, webSocket } = await connect('mine', '${templateToken}')
  expect(status).toBe(101)
  webSocket.accept()
  const ask = (id: string, tag: string, payload: object) =>
    new Promise<any[]>((resolve) => {
      const frames: any[] = []
      webSocket.addEventListener('message', function listen({ data }) {
        const frame = JSON.parse(data)
        if (frame.requestId !== id) return
        frames.push(frame)
        if (frame._tag !== 'Exit') return
        webSocket.removeEventListener('message', listen)
        resolve(frames)
      })
      webSocket.send(JSON.stringify({ _tag: 'Request', id, tag, payload, headers: [] }))
    })

  const event = { name: 'v1.Noted', args: { text: 'x' }, seqNum: 1, parentSeqNum: 0, clientId: 'c', sessionId: 's' }
  const batch = { storeId: 'mine', batch: [event], backendId: { _tag: 'None' } }
  const [acknowledged] = await ask('1', 'SyncWsRpc.Push', batch)
  expect(acknowledged.exit._tag).toBe('Success')
  const [page] = await ask('2', 'SyncWsRpc.Pull', { storeId: 'mine', live: false, cursor: { _tag: 'None' } })
  expect(page.values[0].batch[0].eventEncoded).toEqual(event)
  expect(seen).toEqual({ pushes: 1, pulls: 1 })

  const stub = env.SYNC_BACKEND_DO.get(env.SYNC_BACKEND_DO.idFromName('mine'))
  const count = await runInDurableObject(stub, (_object, { storage }) => {
    const [{ name }] = storage.sql.exec("SELECT name FROM sqlite_master WHERE name GLOB 'eventlog_*'").toArray()
    return storage.sql.exec('SELECT count(*) AS count FROM "' + name + '"').one().count
  })
  expect(count).toBe(1)
  webSocket.close()
})

it('serves the page of the administration', async () => {
  const response = await exports.default.fetch('https://app.example.com/admin')
  expect(response.status).toBe(200)
  expect(await response.text()).toMatch(/^<!doctype html>/)
})

it('lets in nobody whom it does not know', async () => {
  const response = await connect('mine', 'another')
  expect(response.status).toBe(400)
  expect(await response.text()).toContain('Invalid auth token')
})
`

let project: Project
before(() => {
  project = makeProject('vitest-plugin', {
    'src/index.ts': worker,
    'test/sync.test.ts': userTest,
    'vitest.config.ts': vitestConfig,
    'wrangler.toml': configuration({ main: 'src/index.ts', date: dates.newest }),
  })
})
after(() => project.remove())

it("a user's own tests of his Worker pass in the runtime", async () => {
  const { status, output } = await project.run('vitest/vitest.mjs', 'run')
  assert.match(output, /Tests +3 passed/, output)
  assertQuiet(output)
  assert.equal(status, 0)
})
