/**
 * Published clients over a deployment that moves from sync-cf with its log in D1 to this backend while they are open: they keep
 * what they have, and what they did meanwhile arrives.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { type Server, type ServerOptions, startServer } from '../harness/server.ts'
import { adminSecret, stateOf } from '../workerd/administration.ts'
import { query } from '../workerd/mirror.ts'
import { payload } from './backends.ts'
import { batchOf, freshStoreId } from './events.ts'
import { makeClient } from './v03/client.ts'
import { openTodoStore, type TodoStore } from './v04/store.ts'
import { eventually } from './waiting.ts'

const vars = { ADMIN_SECRET: adminSecret, ADOPT_D1: 'DB' }

/** A deployment: `move` replaces what runs by this backend, on the same storage and address. */
class Deployment {
  readonly folder = mkdtempSync(join(tmpdir(), 'moved-'))
  readonly #options: ServerOptions
  server!: Server

  constructor(options: ServerOptions) {
    this.#options = { storage: join(this.folder, 'server'), ...options }
  }

  async start(): Promise<void> {
    this.server = await startServer(this.#options)
  }

  async move(): Promise<void> {
    const { url } = this.server
    await this.server.stop()
    const port = Number(new URL(url).port)
    this.server = await startServer({ ...this.#options, backend: 'livestore-sync-worker', port, vars })
  }

  async stop(): Promise<void> {
    await this.server.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Resolves once D1 holds so many events of a store. */
const stored = (server: Server, storeId: string, events: number): Promise<unknown> =>
  eventually('D1 has it', async () => {
    const table = `eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`
    const [row] = await query(server, `SELECT count(*) AS events FROM "${table}"`)
    return row!['events'] === events
  })

it('0.4.0 stores stay open while their log moves from D1 into its object', { timeout: 120_000 }, async () => {
  const deployment = new Deployment({ backend: 'sync-cf-d1' })
  await deployment.start()
  const storeId = freshStoreId()
  const opened: TodoStore[] = []
  const open = async (clientId: string): Promise<TodoStore> => {
    const { url, folder } = { url: deployment.server.wsUrl, folder: join(deployment.folder, clientId) }
    const store = await openTodoStore({ url, storeId, clientId, payload, folder, pingEveryMs: 1_000 })
    opened.push(store)
    return store
  }
  const shows = (who: string, store: TodoStore, expected: readonly string[]): Promise<unknown> => {
    const ids = (): readonly string[] => store.todos().map(({ id }) => id)
    const isThere = (): boolean => JSON.stringify(ids().toSorted()) === JSON.stringify(expected.toSorted())
    return eventually(`${who} shows ${expected.join()}`, isThere, 40_000, ids)
  }
  try {
    const [ada, bob] = [await open('ada'), await open('bob')]
    for (const id of ['one', 'two', 'three']) ada.create(id)
    await shows('bob', bob, ['one', 'two', 'three'])
    await stored(deployment.server, storeId, 3)
    await deployment.move()
    ada.create('meanwhile')
    bob.create('as well')
    const all = ['one', 'two', 'three', 'meanwhile', 'as well']
    await shows('ada', ada, all)
    await shows('bob', bob, all)
    await shows('a store that is new', await open('cyd'), all)
    assert.equal((await stateOf(deployment.server, storeId)).head, 5)
  } finally {
    await Promise.all(opened.map((store) => store.close()))
    await deployment.stop()
  }
})

it('a 0.3.1 client goes on where it was after its log has moved', { timeout: 120_000 }, async () => {
  const deployment = new Deployment({
    backend: 'sync-cf-0.3',
    binding: { name: 'WEBSOCKET_SERVER', className: 'WebSocketServer' },
  })
  await deployment.start()
  const storeId = freshStoreId()
  const connect = () => makeClient({ url: deployment.server.wsUrl, storeId, payload })
  try {
    const before = await connect()
    assert.equal(await before.push(batchOf(0, 30)), 'ok')
    await stored(deployment.server, storeId, 30)
    await before.close()
    await deployment.move()
    const again = await connect()
    const missed = []
    for await (const page of again.pull(30, 'once')) missed.push(...page.events)
    assert.deepEqual(missed, [])
    assert.equal(await again.push(batchOf(30, 5)), 'ok')
    await again.close()
    const late = await connect()
    const all = []
    for await (const page of late.pull(0, 'once')) all.push(...page.events.map(({ seqNum }) => seqNum))
    assert.deepEqual(
      all,
      Array.from({ length: 35 }, (_, index) => index + 1),
    )
    await late.close()
  } finally {
    await deployment.stop()
  }
})
