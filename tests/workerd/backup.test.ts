/**
 * The backup in D1, with the real D1 of the local runtime: what is pushed is there within the delay, whatever happens to
 * the object, and an idle store costs nothing.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import { wrangler } from '../harness/wrangler.ts'
import { withBindings } from './bindings.ts'
import { administer, adminSecret, errorOf, reset, stateOf, type Stores, valueOf } from './administration.ts'
import { order, withFaults } from './faults.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertWhole, mirrored, mirrorOf, query, type Row } from './mirror.ts'
import { Peer } from './peer.ts'
import { metricsOf } from './prometheus.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1', LOG_LEVEL: 'debug' }

/** Rows that were written in a store since its object was built. */
const rowsWritten = async (server: Server, storeId: string): Promise<number> => {
  const [row] = await server.sql(storeId, 'SELECT total_changes() AS rows')
  return Number(row!['rows'])
}

/** The tables of a database, and the version that they say they have. */
const schemaSql =
  "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name LIKE 'livestore_sync_%' UNION ALL " +
  'SELECT version, NULL FROM livestore_sync_schema ORDER BY name'

describe('with a backup', () => {
  const server = serverOf({ inspect: true, vars })

  it('what is pushed is in D1 within the delay, as the log holds it', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    const wide = { ...batchOf(2)[0]!, args: { text: 'é "\\ \u{1f600}', list: [1, null, true] } }
    await peer.pushed(batchOf(0, 2))
    await peer.pushed([wide])
    const rows = await mirrored(server(), storeId, 3)
    assert.equal(rows[2]!['args'], JSON.stringify(wide.args))
    await assertWhole(server(), storeId)
    const { backup } = await stateOf(server(), storeId)
    const compaction = { foldedTo: 0, isUnderWay: false, lastError: null }
    assert.deepEqual(backup, { head: 3, lagEvents: 0, lagSeconds: 0, failures: 0, lastError: null, compaction })
    const metrics = await metricsOf(server(), storeId)
    for (const [name, value] of Object.entries({
      backup_head: 3,
      backup_lag_events: 0,
      backup_lag_seconds: 0,
      backup_events_total: 3,
    }))
      assert.equal(metrics.value(name), value, name)
    const failures = metrics.samples.filter(({ name }) => name === 'livestore_sync_backup_failures_total')
    assert.ok(failures.length > 0 && failures.every(({ value }) => value === 0), 'at the first try')
  })

  it('an event that fills a row is copied, too', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v05', storeId)
    const large = { ...batchOf(1)[0]!, args: 'x'.repeat(1_890_000) }
    await peer.pushed(batchOf(0))
    await peer.pushed([large])
    await peer.pushed(batchOf(2))
    await assertWhole(server(), storeId)
  })

  it('a store that is read alone asks D1 for nothing, also after an eviction', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 5))
    await assertWhole(server(), storeId)
    const copiedAt = (): Promise<readonly Row[]> =>
      query(server(), 'SELECT copied_at FROM livestore_sync_lifetimes WHERE store_id = ?', storeId)
    const [before, rows] = [await copiedAt(), await rowsWritten(server(), storeId)]
    await server().evict(storeId)
    assert.equal((await peer.pages()).flatMap(({ events }) => events).length, 5)
    assert.deepEqual([await copiedAt(), (await stateOf(server(), storeId)).backup?.head], [before, 5])
    assert.ok(rows >= 0 && (await rowsWritten(server(), storeId)) <= rows, 'nothing is written')
  })

  it('the next lifetime of a store lies beside the one that a reset ended', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 3))
    await assertWhole(server(), storeId)
    const { backendId } = await stateOf(server(), storeId)
    await reset(server(), storeId)
    const again = await Peer.connect(server(), 'v04', storeId)
    await again.pushed(batchOf(0, 2))
    await assertWhole(server(), storeId)
    assert.equal((await mirrorOf(server(), storeId, backendId)).length, 3)
    const listed = valueOf<Stores>(await administer(server(), '/admin/v1/stores?limit=1000'))
    const entry = listed.stores.find((store) => store.storeId === storeId)!
    assert.deepEqual([entry.head, entry.lifetimes, entry.backendId === backendId], [2, 2, false])
  })

  it('tables of another version are left alone, which the state, the metrics and the log say; then it goes on', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0))
    await assertWhole(server(), storeId)
    await query(server(), 'UPDATE livestore_sync_schema SET version = 3')
    try {
      await peer.pushed(batchOf(1, 2))
      const state = await eventually('it fails', async () => {
        const state = await stateOf(server(), storeId)
        return state.backup!.failures > 0 && state
      })
      const message = 'the tables in D1 have version 3, and this release writes version 2'
      const { at, ...error } = state.backup!.lastError!
      assert.deepEqual(error, { reason: 'schema', message })
      assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000)
      assert.deepEqual([state.backup!.head, state.backup!.lagEvents], [1, 2])
      assert.equal((await mirrorOf(server(), storeId)).length, 1)
      const metrics = await metricsOf(server(), storeId)
      assert.ok(metrics.value('backup_failures_total', { reason: 'schema' }) > 0)
      assert.equal(metrics.value('backup_lag_events'), 2)
      const lines = (await linesOf(server(), storeId)).filter(({ event }) => event === 'backup-failed')
      assert.deepEqual(lines, [{ level: 'warn', event: 'backup-failed', storeId, reason: 'schema', message }])
      // Pushes are as they were.
      await peer.pushed(batchOf(3))
    } finally {
      await query(server(), 'UPDATE livestore_sync_schema SET version = 2')
    }
    await assertWhole(server(), storeId)
    assert.deepEqual((await stateOf(server(), storeId)).backup?.failures, 0)
  })

  it('all stores are listed, a page at a time, to who has the secret alone', async () => {
    const prefix = freshStoreId()
    const ids = ['a', 'b "quoted"', 'c/é', 'd'].map((name) => `${prefix} ${name}`)
    for (const [index, storeId] of ids.entries()) {
      const peer = await Peer.connect(server(), 'v04', storeId)
      await peer.pushed(batchOf(0, index + 1))
    }
    for (const storeId of ids) await assertWhole(server(), storeId)
    const list = async (parameters: string): Promise<Stores> =>
      valueOf<Stores>(await administer(server(), `/admin/v1/stores?${parameters}`))
    const first = await list(`after=${encodeURIComponent(prefix)}&limit=3`)
    assert.deepEqual(
      first.stores.map(({ storeId, head, events }) => [storeId, head, events]),
      ids.slice(0, 3).map((storeId, index) => [storeId, index + 1, index + 1]),
    )
    assert.equal(first.next, ids[2])
    for (const { storeId, backendId, firstAt, lastAt, copiedAt, bytes } of first.stores) {
      const state = await stateOf(server(), storeId)
      assert.deepEqual([backendId, firstAt, lastAt], [state.backendId, state.lastPush!.at, state.lastPush!.at])
      assert.ok(Date.parse(copiedAt) >= Date.parse(lastAt) && bytes > 0)
    }
    const rest = await list(`after=${encodeURIComponent(first.next!)}&limit=1`)
    assert.deepEqual([rest.stores.map(({ storeId }) => storeId), rest.next], [[ids[3]], ids[3]])
    assert.deepEqual(await list('after=~~~&limit=1000'), { stores: [], next: null })
    assert.ok((await list('')).stores.length > 0)
    errorOf(await administer(server(), '/admin/v1/stores?limit=0'), 400)
    errorOf(await administer(server(), '/admin/v1/stores', { method: 'POST' }), 405)
    errorOf(await knock(server(), { target: '/admin/v1/stores' }), 401)
    errorOf(await knock(server(), { target: '/admin/v1/stores', headers: { authorization: 'Bearer wrong' } }), 401)
  })
})

it('a burst costs one alarm and one position, and a push no more than without', async () => {
  await withServer({ inspect: true, vars: { ...vars, BACKUP_DELAY_SECONDS: '4' } }, async (server) => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server, 'v04', storeId)
    await peer.pushed(batchOf(0))
    await assertWhole(server, storeId)
    const from = await rowsWritten(server, storeId)
    const pushes = 20
    for (let head = 1; head <= pushes; head += 1) await peer.pushed(batchOf(head))
    const pushed = await rowsWritten(server, storeId)
    // Two for each push, and one that sets the alarm.
    assert.equal(pushed - from, 2 * pushes + 1)
    await assertWhole(server, storeId)
    // The runtime removes an alarm once it has returned.
    await eventually('the alarm has returned', async () => (await rowsWritten(server, storeId)) - pushed === 2)
    await peer.pushed(batchOf(pushes + 1))
    assert.equal((await rowsWritten(server, storeId)) - pushed, 2 + 2 + 1)
  })
})

it('where tables are missing, they are those that `wrangler d1 migrations apply` makes', async () => {
  await withServer({ vars }, async (server) => {
    assert.deepEqual(valueOf<Stores>(await administer(server, '/admin/v1/stores')), { stores: [], next: null })
    const storeId = freshStoreId()
    await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 2))
    await assertWhole(server, storeId)
    const lines = await linesOf(server, storeId)
    assert.ok(!lines.some(({ event }) => event === 'backup-failed'))
    const own = await query(server, schemaSql)
    assert.equal(own.length, 5)

    const folder = mkdtempSync(join(tmpdir(), 'migrated-'))
    try {
      const there = ['--local', '--persist-to', folder]
      await wrangler('d1', 'migrations', 'apply', 'DB', ...there)
      const { stdout } = await wrangler('d1', 'execute', 'DB', '--json', '--command', schemaSql, ...there)
      const [{ results }] = JSON.parse(stdout) as [{ results: readonly Row[] }]
      assert.deepEqual(results, own)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

it('with BACKUP=off nothing is written, and what lies there is still listed', async () => {
  await onOneStorage({ inspect: true, vars }, async (start) => {
    const storeId = freshStoreId()
    const off = await start({ vars: { BACKUP: 'off' } })
    const peer = await Peer.connect(off, 'v04', storeId)
    await peer.pushed(batchOf(0))
    const from = await rowsWritten(off, storeId)
    await peer.pushed(batchOf(1, 2))
    // Event, event, head: no alarm, without which nothing is copied.
    assert.equal((await rowsWritten(off, storeId)) - from, 3)
    assert.ok(!('backup' in (await stateOf(off, storeId))))
    assert.deepEqual(await mirrorOf(off, storeId), [])
    await off.stop()
    // From then on, all that there is.
    const on = await start()
    await (await Peer.connect(on, 'v04', storeId)).pages()
    await assertWhole(on, storeId)
    await on.stop()
    const again = await start({ vars: { BACKUP: 'off' } })
    const { stores } = valueOf<Stores>(await administer(again, '/admin/v1/stores'))
    assert.deepEqual(
      stores.map((store) => [store.storeId, store.head]),
      [[storeId, 3]],
    )
  })
})

describe('without a database', () => {
  it('a Worker works as well, and says where stores could be listed from', async () => {
    await withServer({ vars: { ...vars, BACKUP: undefined }, database: false }, async (server) => {
      const storeId = freshStoreId()
      await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 3))
      const state = await stateOf(server, storeId)
      assert.deepEqual([state.head, 'backup' in state], [3, false])
      assert.match(errorOf(await administer(server, '/admin/v1/stores'), 404), /no D1 database is bound as DB/)
    })
  })

  it('a backup that is asked for is an error that names its variable', async () => {
    await withServer({ vars, database: false }, async (server) => {
      const { status, body } = await knock(server, { target: '/' })
      assert.equal(status, 500)
      assert.match(body, /BACKUP is 'd1', but it must be 'off', as long as no D1 database is bound as DB/)
    })
  })
})

it('where a database is bound, there is a backup unless it is off', async () => {
  await withServer({ vars: { ...vars, BACKUP: undefined } }, async (server) => {
    const storeId = freshStoreId()
    await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 3))
    await assertWhole(server, storeId)
  })
})

it('a runtime that is killed before, during or after a copy goes on by itself', async () => {
  await onOneStorage({ vars }, async (start) => {
    const storeId = freshStoreId()
    let head = 0
    for (const waitsMs of [0, 950, 1_000, 1_020, 1_050, 1_100]) {
      const server = await start()
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(batchOf(head, 50))
      head += 50
      await new Promise((resolve) => setTimeout(resolve, waitsMs))
      await server.kill()
    }
    const server = await start()
    // Nobody visits the store: its alarm alone goes on.
    const rows = await mirrored(server, storeId, head)
    assert.equal(rows.length, head)
    await assertWhole(server, storeId)
  })
})

describe('a D1 that does not answer', () => {
  const asked = 'D1 was asked'

  /** Has D1 not answer so often, for ever; what the host waits for a minute, it waits for so many milliseconds. */
  const withoutAnswer =
    (times: number, minuteMs = 60_000) =>
    (source: string): string => {
      const database = `{
        prepare: (sql) => env.DB.prepare(sql),
        batch: (statements) => {
          // At its birth a store is asked about by one statement.
          if (statements.length === 1) return env.DB.batch(statements)
          console.log(${JSON.stringify(asked)})
          globalThis.left ??= ${times}
          return globalThis.left-- > 0 ? new Promise(() => {}) : env.DB.batch(statements)
        },
      }`
      const timers = `{
        const { setTimeout: set } = globalThis
        globalThis.setTimeout = (work, ms, ...args) => set(work, ms === 60000 ? ${minuteMs} : ms, ...args)
      }`
      return `${timers};${withBindings(`DB: ${database}`)(source)}`
    }

  const untilAsked = (server: Server, times: number): Promise<unknown> =>
    eventually(`it is asked ${times} times`, () => server.logs.filter((line) => line === asked).length >= times)

  it('holds up nobody, is said, and is asked again', async () => {
    await withServer({ vars, edit: withoutAnswer(1, 1_500) }, async (server) => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(batchOf(0))
      await untilAsked(server, 1)
      await peer.pushed(batchOf(1))
      const { backup } = await stateOf(server, storeId)
      assert.deepEqual([backup!.head, backup!.lagEvents, backup!.failures], [0, 2, 0])
      const error = await eventually('it is given up', async () => {
        const { backup } = await stateOf(server, storeId)
        return backup!.lastError ?? undefined
      })
      assert.deepEqual([error.reason, error.message], ['no-answer', 'D1 has not answered within 60000 ms'])
      await peer.pushed(batchOf(2))
      await assertWhole(server, storeId)
      assert.equal((await stateOf(server, storeId)).backup!.failures, 0)
    })
  })

  it('is asked again by the next runtime, if this one is killed meanwhile', async () => {
    await onOneStorage({ vars }, async (start) => {
      const storeId = freshStoreId()
      const first = await start({ edit: withoutAnswer(1) })
      await (await Peer.connect(first, 'v04', storeId)).pushed(batchOf(0, 3))
      await untilAsked(first, 1)
      await first.kill()
      // Nobody visits the store.
      assert.equal((await mirrored(await start(), storeId, 3)).length, 3)
    })
  })

  it('is asked again if the instance of the core ends meanwhile', async () => {
    const edit = (source: string): string => withFaults(withoutAnswer(1)(source))
    await withServer({ vars, edit }, async (server) => {
      const storeId = freshStoreId()
      await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 3))
      await untilAsked(server, 1)
      const other = await Peer.connect(server, 'v04', freshStoreId())
      other.pull({ live: true })
      await other.settled()
      await order(server, { how: 'trap', at: 'the last straw' })
      other.push([{ ...batchOf(0)[0]!, args: { text: 'the last straw' } }])
      await eventually('a trap is logged', () => server.logs.some((line) => line.includes('"event":"trap"')))
      await untilAsked(server, 2)
      assert.equal((await mirrored(server, storeId, 3)).length, 3)
    })
  })
})
