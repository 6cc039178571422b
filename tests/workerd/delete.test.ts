/**
 * A store that is deleted, with the real D1 of the local runtime: what an operator asks for and reads, what clients meet
 * meanwhile, that nothing is left of it whatever happens, and that the next store of that id is a new one.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import {
  administer,
  adminSecret,
  errorOf,
  type State,
  stateOf,
  storePath,
  type Stores,
  valueOf,
} from './administration.ts'
import { logTableOf, tablesIn } from './database.ts'
import { empty } from './emptied.ts'
import { type Answer, knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertWhole, mirrorOf, query } from './mirror.ts'
import { call } from './over-do-rpc.ts'
import { framesIn, post } from './over-http.ts'
import { eventsIn, generations, pagesIn, Peer, pullFrame } from './peer.ts'
import { metricsOf } from './prometheus.ts'
import { allWays, assertLater, pushBy } from './ways.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1', LOG_LEVEL: 'debug' }

const reason = 'the store is being deleted: try again later'

const remove = (server: Server, storeId: string): Promise<Answer> =>
  administer(server, storePath(storeId, `?confirm=${encodeURIComponent(storeId)}`), { method: 'DELETE' })

/** A store with `events` events, all of them in the backup, and a peer that pulls live. */
const filled = async (server: Server, storeId: string, events: number): Promise<Peer> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  peer.pull({ live: true })
  await peer.pushed(batchOf(0, events))
  await assertWhole(server, storeId)
  return peer
}

/** Asserts that nothing is left of a store. */
const assertGone = async (server: Server, storeId: string): Promise<void> => {
  assert.deepEqual(await mirrorOf(server, storeId), [])
  const tables = await query(server, "SELECT name FROM sqlite_master WHERE name = 'livestore_sync_lifetimes'")
  if (tables.length > 0) {
    assert.deepEqual(await query(server, 'SELECT * FROM livestore_sync_lifetimes WHERE store_id = ?', storeId), [])
  }
  assert.deepEqual(await tablesIn(server, storeId), [])
  assert.equal(errorOf(await administer(server, storePath(storeId)), 404), 'there is no such store')
}

/** The lines about a deletion, in order. */
const told = async (server: Server, storeId: string): Promise<readonly string[]> => {
  const lines = (await linesOf(server, storeId)).filter(({ event }) => /^(delete-|store-|backup-found)/.test(event))
  return lines.map(({ event, message }) => `${event}: ${message}`)
}

const lifetimes = (server: Server, storeId: string): Promise<readonly unknown[]> =>
  query(server, 'SELECT * FROM livestore_sync_lifetimes WHERE store_id = ?', storeId)

describe('a store that is deleted', () => {
  const server = serverOf({ inspect: true, vars: { ...vars, ADOPT_D1: 'DB' } })

  it('is gone from D1, from its object and from the list of stores, and the next one is new', async () => {
    const [storeId, other] = [freshStoreId(), freshStoreId()]
    const peer = await filled(server(), storeId, 25)
    await filled(server(), other, 3)
    const { backendId } = await stateOf(server(), storeId)
    assert.deepEqual(valueOf(await remove(server(), storeId)), {
      storeId,
      events: 25,
      backup: { lifetimes: 1, events: 25 },
    })
    assert.deepEqual(await peer.client.closed, { code: 1013, reason })
    await assertGone(server(), storeId)
    const { stores } = valueOf<Stores>(await administer(server(), '/admin/v1/stores?limit=1000'))
    const listed = stores.map(({ storeId }) => storeId)
    assert.deepEqual([listed.includes(storeId), listed.includes(other)], [false, true])
    assert.deepEqual(await told(server(), storeId), [
      'delete-begun: its 25 events are being deleted; nobody is served meanwhile',
      'store-deleted: deleted 25 events, and in the backup 25 events of 1 lifetimes',
    ])
    errorOf(await remove(server(), storeId), 404)

    const next = await Peer.connect(server(), 'v04', storeId)
    const { answer } = await next.pushed(batchOf(25), backendId)
    assert.match(JSON.stringify(answer), /BackendIdMismatchError/)
    assert.deepEqual(eventsIn(await next.drained()), [])
    await next.pushed(batchOf(0, 2))
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.status, state.head, state.backendId === backendId], ['open', 2, false])
    await assertWhole(server(), storeId)
    await server().evict(storeId)
    assert.equal((await stateOf(server(), storeId)).backendId, state.backendId)
    await assertWhole(server(), other)
  })

  it('takes earlier lifetimes along, also when its object was out of memory', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 4)
    await administer(server(), storePath(storeId, '/reset'), { method: 'POST', body: JSON.stringify({ storeId }) })
    await filled(server(), storeId, 2)
    await server().evict(storeId)
    const { events, backup } = valueOf<{ readonly events: number; readonly backup: object }>(
      await remove(server(), storeId),
    )
    assert.deepEqual([events, backup], [2, { lifetimes: 2, events: 6 }])
    await assertGone(server(), storeId)
  })

  it('has to be named twice', async () => {
    const storeId = `a/b ${freshStoreId()}`
    await filled(server(), storeId, 3)
    const wrong = ['', '?confirm=', '?confirm=true', `?confirm=${encodeURIComponent(storeId)}x`, '?confirm=%']
    for (const confirm of wrong) {
      const answer = await administer(server(), storePath(storeId, confirm), { method: 'DELETE' })
      assert.match(errorOf(answer, 400), /^nothing was done: .* add \?confirm= and the id of the store/)
    }
    const target = storePath(storeId, `?confirm=${encodeURIComponent(storeId)}`)
    errorOf(await knock(server(), { target, method: 'DELETE' }), 401)
    errorOf(await administer(server(), target, { method: 'POST' }), 405)
    assert.deepEqual([(await stateOf(server(), storeId)).events, (await lifetimes(server(), storeId)).length], [3, 1])
    valueOf(await remove(server(), storeId))
    await assertGone(server(), storeId)
  })

  it('that is not there is not made', async () => {
    const storeId = freshStoreId()
    assert.equal(errorOf(await remove(server(), storeId), 404), 'there is no such store')
    assert.deepEqual(await tablesIn(server(), storeId), [])
  })

  it('of which there is nothing but a backup is deleted, and found no more', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 5)
    await empty(server(), storeId)
    const socket = { target: targetOf({ storeId }), upgrade: 'websocket' }
    assert.equal((await knock(server(), socket)).status, 503)
    assert.equal(
      valueOf<{ readonly status: string }>(await administer(server(), storePath(storeId))).status,
      'backup-found',
    )
    assert.deepEqual(valueOf(await remove(server(), storeId)), {
      storeId,
      events: 0,
      backup: { lifetimes: 1, events: 5 },
    })
    await assertGone(server(), storeId)
    const next = await Peer.connect(server(), 'v05', storeId)
    await next.pushed(batchOf(0))
    const found = (await told(server(), storeId)).filter((line) => line.startsWith('backup-found'))
    assert.equal(found.length, 1, 'before')
  })

  it('leaves a log alone that sync-cf kept in D1, which the next store finds', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 2)
    const table = `"${logTableOf(storeId)}"`
    const columns = 'seqNum INTEGER PRIMARY KEY, parentSeqNum INTEGER, name, args, createdAt, clientId, sessionId'
    await query(server(), `CREATE TABLE ${table} (${columns})`)
    await query(server(), `INSERT INTO ${table} VALUES (1, 0, 'v1.Made', '{}', '2026-01-01T00:00:00.000Z', 'c', 's')`)
    valueOf(await remove(server(), storeId))
    assert.deepEqual(await tablesIn(server(), storeId), [])
    assert.equal((await query(server(), `SELECT * FROM ${table}`)).length, 1)
    const { status } = valueOf<{ readonly status: string }>(await administer(server(), storePath(storeId)))
    assert.equal(status, 'log-elsewhere')
    await query(server(), `DROP TABLE ${table}`)
    await assertGone(server(), storeId)
  })

  it('with a file on its way in is deleted with that', async () => {
    const storeId = freshStoreId()
    const body =
      '{"format":"livestore-sync-export","version":1,"storeId":"x","backendId":"y","head":2,"exportedAt":"z"}\n'
    const half = await administer(server(), storePath(storeId, '/import'), { method: 'POST', body: `${body}{` })
    assert.notEqual(half.status, 200)
    if ((await administer(server(), storePath(storeId))).status !== 404) {
      valueOf(await remove(server(), storeId))
    }
    await assertGone(server(), storeId)
  })

  it('of 120,000 events is forgotten by several alarms, of which the answer waits for the first', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 1)
    const { backendId } = await stateOf(server(), storeId)
    await query(
      server(),
      'WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 120000) INSERT INTO livestore_sync_events ' +
        "SELECT ?, ?, x, x - 1, 'v1.Made', '{}', '', 'c', 's' FROM n",
      storeId,
      backendId,
    )
    const state = valueOf<State>(await remove(server(), storeId), 202)
    assert.deepEqual([state.status, state.deletion!.failures], ['deleting', 0])
    await eventually('it is gone', async () => (await administer(server(), storePath(storeId))).status === 404, 60_000)
    await assertGone(server(), storeId)
  })
})

describe('while D1 takes no deletion', () => {
  const setVersion = (server: Server, by: number): Promise<unknown> =>
    query(server, `UPDATE livestore_sync_schema SET version = version + ${by}`)

  it('the store serves nobody and says why, goes on over a kill, and is gone as soon as D1 takes it', async () => {
    await onOneStorage({ inspect: true, doRpcClients: true, vars }, async (start) => {
      const storeId = freshStoreId()
      const first = await start()
      const peers = await Promise.all(generations.map((generation) => Peer.connect(first, generation, storeId)))
      for (const peer of peers) peer.pull({ live: true })
      await filled(first, storeId, 3)
      const { backendId } = await stateOf(first, storeId)
      await setVersion(first, 1)
      const begun = valueOf<State>(await remove(first, storeId), 202)
      assert.equal(begun.status, 'delete-failed')
      const { events, backup, failures, lastError } = begun.deletion!
      assert.deepEqual([events, backup, failures], [3, null, 1])
      assert.match(lastError!.message, /^the tables in D1 have version/)
      for (const { client } of peers) assert.deepEqual(await client.closed, { code: 1013, reason })

      assert.equal((await knock(first, { target: targetOf({ storeId }), upgrade: 'websocket' })).status, 503)
      const frames = framesIn(await post(first, storeId, pullFrame('v04', 1, storeId, { after: 3, backendId })))
      assert.deepEqual([eventsIn(frames), pagesIn(frames).map((page) => page.backendId)], [[], [backendId]])
      const words = 'The store is being deleted: try again later'
      for (const way of allWays.filter(({ transport }) => transport !== 'ws'))
        assertLater(way, await pushBy(first, way, storeId, batchOf(3)), { words, reason })
      assert.ok((await metricsOf(first, storeId)).refusals['deleting']! > 0)
      for (const [method, path] of [
        ['GET', '/events'],
        ['GET', '/export'],
        ['GET', '/verify'],
        ['POST', '/reset'],
        ['POST', '/restore'],
        ['POST', '/import'],
        ['POST', '/disconnect'],
        ['DELETE', '/restore'],
      ] as const) {
        const answer = await administer(first, storePath(storeId, path), { method })
        assert.equal(errorOf(answer, 409), 'the store is being deleted: see the state')
      }
      assert.match((await told(first, storeId)).join('\n'), /^delete-begun: .*\ndelete-failed: the tables in D1/)

      // Asked again it is tried again, and fails again.
      assert.ok(valueOf<State>(await remove(first, storeId), 202).deletion!.failures >= 2)
      await setVersion(first, -1)
      await first.kill()
      const second = await start()
      await eventually('it is gone', async () => (await administer(second, storePath(storeId))).status === 404, 30_000)
      await assertGone(second, storeId)
    })
  })
})

describe('a store without a backup', () => {
  const server = serverOf({ inspect: true, vars: { ...vars, BACKUP: 'off' } })

  it('is deleted, and what is left of its clients makes no other', async () => {
    const storeId = freshStoreId()
    const peers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    for (const peer of peers) peer.pull({ live: true })
    await peers[1]!.pushed(batchOf(0, 7))
    for (const { client } of peers) client.pause()
    assert.equal(valueOf<{ readonly events: number }>(await remove(server(), storeId)).events, 7)
    // They have yet to read that their sockets are closed.
    for (const peer of peers) peer.push(batchOf(7))
    for (const { client } of peers) client.resume()
    for (const { client } of peers) assert.equal((await client.closed).code, 1013)
    for (const { client } of peers) client.terminate()
    assert.deepEqual(await tablesIn(server(), storeId), [])
    await server().evict(storeId)
    await assertGone(server(), storeId)
    const next = await Peer.connect(server(), 'v04', storeId)
    await next.pushed(batchOf(0, 1))
    assert.equal((await stateOf(server(), storeId)).head, 1)
  })

  it('emptied by somebody else that is evicted makes no other by what is left of its clients', async () => {
    const storeId = freshStoreId()
    const [peer, leaver] = [await Peer.connect(server(), 'v04', storeId), await Peer.connect(server(), 'v05', storeId)]
    peer.pull({ live: true })
    await peer.pushed(batchOf(0, 2))
    await empty(server(), storeId)
    leaver.client.terminate()
    peer.push(batchOf(2))
    assert.equal((await peer.client.closed).code, 1013)
    assert.deepEqual(await tablesIn(server(), storeId), [])
    const next = await Peer.connect(server(), 'v04', storeId)
    await next.pushed(batchOf(0, 1))
    assert.equal((await stateOf(server(), storeId)).head, 1)
  })

  it('leaves nothing of a backup that there was before', async () => {
    await onOneStorage({ inspect: true, vars }, async (start) => {
      const storeId = freshStoreId()
      const first = await start()
      await filled(first, storeId, 4)
      await first.stop()
      const second = await start({ vars: { BACKUP: 'off' } })
      assert.deepEqual(valueOf(await remove(second, storeId)), {
        storeId,
        events: 4,
        backup: { lifetimes: 1, events: 4 },
      })
      await assertGone(second, storeId)
    })
  })

  it('and without a database says that of none', async () => {
    await withServer({ inspect: true, database: false, vars: { ...vars, BACKUP: undefined } }, async (server) => {
      const storeId = freshStoreId()
      await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 4))
      assert.deepEqual(valueOf(await remove(server, storeId)), { storeId, events: 4, backup: null })
      assert.deepEqual(await tablesIn(server, storeId), [])
      errorOf(await remove(server, storeId), 404)
    })
  })
})

for (const backup of ['d1', 'off']) {
  it(`a call that names no store makes the one whose object it reaches, with BACKUP=${backup}`, async () => {
    await withServer({ doRpcClients: true, vars: { ...vars, BACKUP: backup } }, async (server) => {
      for (const generation of ['v04', 'v05'] as const) {
        const storeId = freshStoreId()
        const { payload, ...frame } = pullFrame(generation, 1, storeId) as { readonly payload: object }
        const { storeId: _, ...nameless } = payload as { readonly storeId: string }
        for (let times = 0; times < 2; times += 1) {
          const frames = await call(server, generation, storeId, { ...frame, payload: nameless })
          assert.ok(frames.length > 0)
          await remove(server, storeId)
        }
      }
    })
  })
}
