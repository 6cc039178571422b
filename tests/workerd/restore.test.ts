/**
 * A store that comes back from its backup, with the real D1 of the local runtime: what an operator asks for, what clients
 * meet meanwhile, and that an emptied object serves nobody before somebody has decided.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { type Server, startServer } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import {
  administer,
  adminSecret,
  errorOf,
  exportOf,
  opened,
  reset,
  type State,
  stateOf,
  storePath,
  valueOf,
} from './administration.ts'
import { withBindings } from './bindings.ts'
import { empty } from './emptied.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertWhole, mirrorOf, query } from './mirror.ts'
import { post } from './over-http.ts'
import { assertEvents, Peer, pullFrame, pushedFrame } from './peer.ts'

const vars = {
  ADMIN_SECRET: adminSecret,
  BACKUP: 'd1',
  BACKUP_DELAY_SECONDS: '1',
  COMPACT_AFTER_DAYS: 'off',
  LOG_LEVEL: 'debug',
}

/** A store with `events` events, all of them in the backup; resolves with its lifetime. */
const filled = async (server: Server, storeId: string, events: number): Promise<string> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  await peer.pushed(batchOf(0, events))
  await assertWhole(server, storeId)
  peer.client.terminate()
  return (await stateOf(server, storeId)).backendId
}

const restore = async (server: Server, storeId: string, how: object = {}) =>
  administer(server, storePath(storeId, '/restore'), { method: 'POST', body: JSON.stringify({ storeId, ...how }) })

/** The status that a new socket of a client is answered with. */
const statusOf = async (server: Server, storeId: string): Promise<number> => {
  return (await knock(server, { target: targetOf({ storeId, transport: 'ws' }), upgrade: 'websocket' })).status
}

describe('a store whose object was emptied', () => {
  const server = serverOf({ inspect: true, vars })

  it('serves nobody and says why, until it is restored', async () => {
    const storeId = freshStoreId()
    const before = await filled(server(), storeId, 250)
    const events = await exportOf(server(), storeId)
    await empty(server(), storeId)
    for (let visits = 0; visits < 3; visits += 1) assert.equal(await statusOf(server(), storeId), 503)
    const found = valueOf<{ readonly status: string; readonly lifetimes: ReadonlyArray<Record<string, unknown>> }>(
      await administer(server(), storePath(storeId)),
    )
    assert.equal(found.status, 'backup-found')
    assert.deepEqual(
      found.lifetimes.map(({ backendId, head }) => [backendId, head]),
      [[before, 250]],
    )
    const tables = await server().sql(storeId, "SELECT name FROM sqlite_master WHERE name LIKE 'eventlog%'")
    assert.deepEqual(tables, [], 'nothing was made')
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event === 'backup-found')
    assert.equal(lines.length, 1, 'it is asked once a minute')
    assert.match(lines[0]!.message!, /a backup of it up to event 250: nobody is served until it is restored or reset/)

    const dry = valueOf<Record<string, unknown>>(await restore(server(), storeId, { dryRun: true }))
    assert.deepEqual([dry['dryRun'], dry['keepsBackendId'], dry['lost']], [true, false, { afterUpTo: 0, ofStore: 0 }])
    assert.equal(await statusOf(server(), storeId), 503)

    const begun = valueOf<State>(await restore(server(), storeId), 202)
    assert.deepEqual([begun.status, begun.restore!.events], ['restoring', 250])
    const { backendId, head } = await opened(server(), storeId)
    assert.deepEqual([head, backendId === before], [250, false])
    assert.deepEqual(await exportOf(server(), storeId), events)
    const peer = await Peer.connect(server(), 'v04', storeId)
    assert.equal((await peer.pages()).flatMap(({ events }) => events).length, 250)
    await peer.pushed(batchOf(250))
    await assertWhole(server(), storeId)
    assert.equal((await mirrorOf(server(), storeId, before)).length, 250, 'what was restored stays')
  })

  it('goes on in its lifetime if nothing is missing', async () => {
    const storeId = freshStoreId()
    const before = await filled(server(), storeId, 20)
    await empty(server(), storeId)
    errorOf(await restore(server(), storeId, { keepBackendId: true }), 400)
    errorOf(await restore(server(), storeId, { keepBackendId: true, lastKnownHead: 21 }), 409)
    valueOf<State>(await restore(server(), storeId, { keepBackendId: true, lastKnownHead: 20 }), 202)
    assert.equal((await opened(server(), storeId)).backendId, before)
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(20, 5), before)
    await assertWhole(server(), storeId)
    assert.equal((await mirrorOf(server(), storeId)).length, 25, 'the mirror goes on, too')
  })

  it('begins anew when it is reset', async () => {
    const storeId = freshStoreId()
    const before = await filled(server(), storeId, 3)
    await empty(server(), storeId)
    const begun = await reset(server(), storeId)
    assert.notEqual(begun, before)
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 2))
    assert.deepEqual(
      [(await stateOf(server(), storeId)).backendId, (await exportOf(server(), storeId)).length],
      [begun, 2],
    )
  })

  it('emptied while it is in memory is asked about, too', async () => {
    const storeId = freshStoreId()
    const before = await filled(server(), storeId, 3)
    const events = await exportOf(server(), storeId)
    const peer = await Peer.connect(server(), 'v04', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await empty(server(), storeId, 'stays')
    peer.push(batchOf(3))
    assert.equal((await peer.client.closed).code, 1013)
    assert.equal(await statusOf(server(), storeId), 503)
    const found = valueOf<{ readonly status: string }>(await administer(server(), storePath(storeId)))
    assert.equal(found.status, 'backup-found')
    valueOf<State>(await restore(server(), storeId, { keepBackendId: true, lastKnownHead: 3 }), 202)
    assert.equal((await opened(server(), storeId)).backendId, before)
    assert.deepEqual(await exportOf(server(), storeId), events)
  })

  it('with an event that fills a row comes back with it', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v05', storeId)
    const large = { ...batchOf(1)[0]!, args: `é "\\ ${'x'.repeat(1_889_000)}` }
    await peer.pushed(batchOf(0))
    await peer.pushed([large])
    await peer.pushed(batchOf(2))
    await assertWhole(server(), storeId)
    const events = await exportOf(server(), storeId)
    await empty(server(), storeId)
    valueOf<State>(await restore(server(), storeId), 202)
    await opened(server(), storeId)
    assert.deepEqual(await exportOf(server(), storeId), events)
  })

  it('over HTTP is answered 503, and sockets that are still open are closed', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 3)
    const peer = await Peer.connect(server(), 'v04', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await empty(server(), storeId)
    peer.push(batchOf(3))
    assert.equal((await peer.client.closed).code, 1013)
    assert.equal((await post(server(), storeId, pullFrame('v04', 1, storeId))).status, 503)
  })

  it('one of which there is no backup is made at once, and D1 is asked no more', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0))
    await server().evict(storeId)
    await query(server(), "INSERT INTO livestore_sync_lifetimes VALUES (?, 'other', 9, 9, 9, '', '', '', '')", storeId)
    assert.equal((await peer.pages()).flatMap(({ events }) => events).length, 1)
  })
})

describe('a restore', () => {
  const server = serverOf({ inspect: true, vars })

  it('brings another store in, up to a time, in place of what there is', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    await filled(server(), from, 4)
    const peer = await Peer.connect(server(), 'v04', from)
    const upTo = (await exportOf(server(), from)).at(-1)!.createdAt
    await eventually('the clock has gone on', () => Date.now() > Date.parse(upTo) + 5)
    await peer.pushed(batchOf(4, 4))
    await assertWhole(server(), from)
    await filled(server(), storeId, 1)
    const there = await exportOf(server(), storeId)
    const how = { from: { storeId: from }, upTo }
    assert.match(errorOf(await restore(server(), storeId, how), 409), /holds 1 events/)
    const forecast = valueOf<{ readonly kept: object; readonly lost: object }>(
      await restore(server(), storeId, { ...how, dryRun: true }),
    )
    assert.deepEqual(forecast.lost, { afterUpTo: 4, ofStore: 1 })
    assert.deepEqual(await exportOf(server(), storeId), there)
    const follower = await Peer.connect(server(), 'v05', storeId)
    follower.pull({ live: true })
    await follower.settled()
    valueOf<State>(await restore(server(), storeId, { ...how, replace: true }), 202)
    assert.equal((await follower.client.closed).code, 1013)
    await opened(server(), storeId)
    assert.deepEqual(await exportOf(server(), storeId), (await exportOf(server(), from)).slice(0, 4))
  })

  it('that cannot be done is refused in words, and nothing is touched', async () => {
    const storeId = freshStoreId()
    errorOf(await restore(server(), storeId), 404)
    await filled(server(), storeId, 3)
    const body = (text: string) => administer(server(), storePath(storeId, '/restore'), { method: 'POST', body: text })
    for (const text of ['', '{}', '{"storeId":"another"}', `{"storeId":"${storeId}","upto":3}`]) {
      assert.match(errorOf(await body(text), 400), /nothing was done/)
    }
    errorOf(await restore(server(), storeId, { from: { backendId: 'unknown' } }), 404)
    errorOf(await administer(server(), storePath(storeId, '/restore')), 405)
    errorOf(await administer(server(), storePath(storeId, '/restore'), { method: 'DELETE' }), 404)
    await query(server(), 'DELETE FROM livestore_sync_events WHERE store_id = ? AND seq_num = 2', storeId)
    assert.match(errorOf(await restore(server(), storeId, { replace: true }), 409), /event 3 continues from 2/)
    assert.equal((await exportOf(server(), storeId)).length, 3)
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event.startsWith('restore'))
    assert.deepEqual(lines, [])
  })

  it('of 200,000 events completes, and the log is the one that was', async () => {
    const storeId = freshStoreId()
    await filled(server(), storeId, 1)
    const table = `eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`
    await server().sql(
      storeId,
      `WITH RECURSIVE n(x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 200000) INSERT INTO "${table}" ` +
        `SELECT x, x - 1, 'v1.Made', '{"id":' || x || '}', '2026-01-01T00:00:00.000Z', 'c', 's' FROM n`,
    )
    await server().evict(storeId)
    await (await Peer.connect(server(), 'v04', storeId)).pushed(batchOf(200_000))
    await eventually('all is copied', async () => (await stateOf(server(), storeId)).backup!.lagEvents === 0, 60_000)
    const sum = `SELECT count(*) AS events, sum(seqNum * length(args)) AS sum FROM "${table}"`
    const before = await server().sql(storeId, sum)
    await empty(server(), storeId)
    valueOf<State>(await restore(server(), storeId), 202)
    const { head } = await opened(server(), storeId, 60_000)
    assert.equal(head, 200_001)
    assert.deepEqual(await server().sql(storeId, sum), before)
  })
})

it('with RESTORE_EMPTY=auto an emptied store restores itself, also over a kill', async () => {
  await onOneStorage({ inspect: true, vars: { ...vars, RESTORE_EMPTY: 'auto' } }, async (start) => {
    const storeId = freshStoreId()
    const first = await start()
    await filled(first, storeId, 300)
    const events = await exportOf(first, storeId)
    await empty(first, storeId)
    assert.equal(await statusOf(first, storeId), 503)
    await first.kill()
    const second = await start()
    // The first visitor may still be too early; nobody but the alarm is needed.
    await opened(second, storeId)
    assert.deepEqual(await exportOf(second, storeId), events)
  })
})

it('with RESTORE_EMPTY=new an emptied store begins anew', async () => {
  await withServer({ inspect: true, vars: { ...vars, RESTORE_EMPTY: 'new' } }, async (server) => {
    const storeId = freshStoreId()
    await filled(server, storeId, 3)
    await empty(server, storeId)
    const peer = await Peer.connect(server, 'v04', storeId)
    await peer.pushed(batchOf(0))
    assert.equal((await exportOf(server, storeId)).length, 1)
  })
})

it('a D1 that fails keeps new stores waiting, and no others', async () => {
  const database = `{
      prepare: (sql) => env.DB.prepare(sql),
      batch: (statements) => globalThis.away ? Promise.reject(new Error('D1 is away')) : env.DB.batch(statements),
    }`
  const edit = withBindings(`DB: ${database}`, "globalThis.away = env.AWAY === 'yes'")
  await onOneStorage({ vars, edit }, async (start) => {
    const [known, fresh] = [freshStoreId(), freshStoreId()]
    const here = await start()
    await filled(here, known, 2)
    await here.stop()
    const away = await start({ vars: { AWAY: 'yes' } })
    assert.equal(await statusOf(away, fresh), 503)
    const peer = await Peer.connect(away, 'v04', known)
    await peer.pushed(batchOf(2))
    const lines = away.logs.filter((line) => line.includes('"event":"backup-unknown"'))
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, /D1 is away/)
    await away.stop()
    const back = await start()
    await (await Peer.connect(back, 'v04', fresh)).pushed(batchOf(0))
    await assertWhole(back, known)
  })
})

it('a store that was restored is handed back to sync-cf, and grows there', async () => {
  const [storage, storeId] = [mkdtempSync(join(tmpdir(), 'handed-back-')), freshStoreId()]
  try {
    const ours = await startServer({ storage, inspect: true, vars })
    const { backendId } = await filled(ours, storeId, 250)
      .then(() => empty(ours, storeId))
      .then(() => restore(ours, storeId))
      .then(() => opened(ours, storeId))
    await ours.stop()
    const theirs = await startServer({ backend: 'sync-cf', storage })
    const peer = await Peer.connect(theirs, 'v04', storeId)
    const pages = await peer.pages()
    assertEvents(
      pages.flatMap(({ events }) => events),
      batchOf(0, 250),
    )
    assert.equal(pages[0]!.backendId, backendId)
    const { answer } = await peer.pushed(batchOf(250, 3), backendId)
    assert.deepEqual(answer, pushedFrame('v04', peer.request - 1))
    peer.client.terminate()
    await theirs.stop()
  } finally {
    rmSync(storage, { recursive: true, force: true })
  }
})
