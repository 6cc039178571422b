/**
 * Compaction of the backup, with the real D1 and the compression of the local runtime: old events are folded, and whoever
 * reads the backup afterwards finds what was there before.
 */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import {
  administer,
  adminSecret,
  errorOf,
  type Exported,
  exportOf,
  linesIn,
  opened,
  type State,
  stateOf,
  storePath,
  valueOf,
} from './administration.ts'
import { withBindings } from './bindings.ts'
import { logTableOf } from './database.ts'
import { empty } from './emptied.ts'
import { linesOf } from './log-lines.ts'
import { query } from './mirror.ts'
import { Peer } from './peer.ts'
import { metricsOf } from './prometheus.ts'

const vars = {
  ADMIN_SECRET: adminSecret,
  BACKUP: 'd1',
  BACKUP_DELAY_SECONDS: '1',
  COMPACT_AFTER_DAYS: '1',
  LOG_LEVEL: 'debug',
}

/** A second of the beginning of the year. */
const at = (second: number): string => new Date(Date.parse('2026-01-01T00:00:00.000Z') + second * 1000).toISOString()

/** A store whose log has `old` events of the beginning of the year, a second apart, and five of today. */
const filled = async (server: Server, storeId: string, old: number): Promise<readonly Exported[]> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  await peer.settled()
  const args = `json_object('id', n, 'text', 'é "\\ ${'\u{1f600}'} ' || char(1, 8232) || hex(randomblob(8)), 'list', json('[1.50,null]'))`
  await server.sql(
    storeId,
    `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${old})
     INSERT INTO "${logTableOf(storeId)}" SELECT n, n - 1, 'v1.TodoCreated', ${args},
     strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', n || ' seconds'), 'V1StGXR8_Z5jdHi6B-myT', 'static' FROM numbers`,
  )
  await server.evict(storeId)
  await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(old, 5))
  return exportOf(server, storeId)
}

/** Resolves once nothing but `left` events has rows of its own; with the segments. */
const folded = (server: Server, storeId: string, left: number) =>
  eventually(
    'what is old is folded',
    async () => {
      const { backup } = await stateOf(server, storeId)
      if (backup?.compaction?.isUnderWay !== false || backup.lagEvents > 0) return false
      const [rows] = await query(
        server,
        'SELECT count(*) AS count FROM livestore_sync_events WHERE store_id = ?',
        storeId,
      )
      if (rows?.['count'] !== left) return false
      return query(
        server,
        'SELECT first_seq_num, last_seq_num, events, bytes, length(data) AS stored FROM livestore_sync_segments ' +
          'WHERE store_id = ? AND is_folded = 1 ORDER BY last_seq_num',
        storeId,
      )
    },
    60_000,
  )

const restored = async (server: Server, storeId: string, how: object = {}): Promise<readonly Exported[]> => {
  const body = JSON.stringify({ storeId, ...how })
  valueOf<State>(await administer(server, storePath(storeId, '/restore'), { method: 'POST', body }), 202)
  await eventually('it is restored', async () => (await stateOf(server, storeId)).status === 'open', 60_000)
  return exportOf(server, storeId)
}

/** The lines of a comparison, or of a repair. */
const verify = async (server: Server, storeId: string, query = '') => {
  const method = query.includes('repair=') ? 'POST' : 'GET'
  const answer = await administer(server, storePath(storeId, `/verify${query}`), { method })
  return linesIn(answer).map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('a backup whose old events are folded', () => {
  const server = serverOf({ inspect: true, vars })
  const old = 2_600
  let storeId = ''
  let events: readonly Exported[] = []

  before(async () => {
    storeId = freshStoreId()
    events = await filled(server(), storeId, old)
    await folded(server(), storeId, 5)
  })

  it('has few rows and few bytes, and says how many', async () => {
    const segments = await folded(server(), storeId, 5)
    assert.deepEqual(
      segments.map(({ first_seq_num, last_seq_num }) => [first_seq_num, last_seq_num]),
      [
        [1, 2_000],
        [2_001, old],
      ],
    )
    const sum = (column: string) => segments.reduce((sum, segment) => sum + Number(segment[column]), 0)
    assert.ok(sum('stored') * 3 < sum('bytes'), `${sum('stored')} of ${sum('bytes')}`)
    assert.equal((await stateOf(server(), storeId)).backup!.compaction!.foldedTo, old)
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event.startsWith('compact'))
    assert.deepEqual(
      lines.map(({ event, message }) => [event, message]),
      [['compacted', `folded ${old} events of ${sum('bytes')} bytes into 2 segments of ${sum('stored')} bytes`]],
    )
    const metrics = await metricsOf(server(), storeId)
    assert.equal(metrics.value('backup_folded_events_total'), old)
    assert.equal(metrics.value('backup_segment_bytes_total'), sum('stored'))
  })

  it('is the same as the log', async () => {
    const [last, ...others] = (await verify(server(), storeId)).toReversed()
    assert.deepEqual(others, [])
    assert.deepEqual(last, { result: 'same', events: old + 5, head: old + 5, lag: 0, differences: 0 })
  })

  it('comes back whole, and goes on', async () => {
    await empty(server(), storeId)
    assert.deepEqual(await restored(server(), storeId, { keepBackendId: true, lastKnownHead: old + 5 }), events)
    await (await Peer.connect(server(), 'v04', storeId)).pushed(batchOf(old + 5))
    await folded(server(), storeId, 6)
    events = await exportOf(server(), storeId)
    assert.equal((await verify(server(), storeId))[0]!['result'], 'same')
  })

  it('comes back up to a number or a time that lies within a segment', async () => {
    for (const [upTo, count] of [
      [1_234, 1_234],
      [2_000, 2_000],
      [at(2_001), 2_001],
      [at(1_999.5), 1_999],
      [at(0.5), 0],
      [at(700), 700],
      [at(old + 100), old],
    ] as const) {
      const into = freshStoreId()
      const how = { from: { storeId }, upTo }
      if (count === 0) {
        const body = JSON.stringify({ storeId: into, ...how })
        const answer = await administer(server(), storePath(into, '/restore'), { method: 'POST', body })
        assert.match(errorOf(answer, 409), /holds no event up to there/)
        continue
      }
      assert.deepEqual(await restored(server(), into, how), events.slice(0, count), String(upTo))
    }
  })

  it('comes back in the minute after an upgrade, whose tables nobody has made yet', async () => {
    const [from, into] = [freshStoreId(), freshStoreId()]
    const events = await filled(server(), from, 20)
    await folded(server(), from, 25)
    await query(server(), 'ALTER TABLE livestore_sync_segments RENAME TO livestore_sync_segments_kept')
    await query(server(), 'UPDATE livestore_sync_schema SET version = 1')
    assert.deepEqual(await restored(server(), into, { from: { storeId: from } }), events)
    await query(server(), 'DROP TABLE livestore_sync_segments')
    await query(server(), 'ALTER TABLE livestore_sync_segments_kept RENAME TO livestore_sync_segments')
  })

  it('is told from the log where a segment is damaged, and made right', async () => {
    const byHand = (set: string) =>
      query(
        server(),
        `UPDATE livestore_sync_segments SET ${set} WHERE store_id = ? AND last_seq_num = 2000 RETURNING 1`,
        storeId,
      )
    await byHand("data = unhex(substr(hex(data), 1, 400) || '00' || substr(hex(data), 403))")
    const damaged = await verify(server(), storeId)
    assert.deepEqual(damaged[0], { difference: 'missing', from: 1, to: 2_000 })
    const into = freshStoreId()
    const body = JSON.stringify({ storeId: into, from: { storeId } })
    valueOf<State>(await administer(server(), storePath(into, '/restore'), { method: 'POST', body }), 202)
    const failed = await eventually('it is given up', async () => {
      const state = await stateOf(server(), into)
      return state.status === 'restore-failed' && state
    })
    assert.match(failed.restore!.failed!, /a segment of the backup is damaged/)
    // Where there is a log the store goes on with it, and says so for as long as no other one takes its place.
    const own = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', own)
    await peer.pushed(batchOf(0, 2))
    peer.client.terminate()
    const replacing = JSON.stringify({ storeId: own, from: { storeId }, replace: true })
    const begun = await administer(server(), storePath(own, '/restore'), { method: 'POST', body: replacing })
    assert.equal(valueOf<State>(begun, 202).lastRestore, undefined)
    const { head, lastRestore } = await opened(server(), own)
    const { at, outcome, message, from } = lastRestore!
    assert.deepEqual([head, outcome, from.storeId], [2, 'failed', storeId])
    assert.match(`${message} ${at}`, /a segment of the backup is damaged.* \d{4}-\S+Z$/)
    await server().evict(own)
    assert.deepEqual((await stateOf(server(), own)).lastRestore, lastRestore)
    const [line, , last] = [...(await verify(server(), storeId, '?repair=true')), undefined]
    assert.deepEqual(line, { difference: 'missing', from: 1, to: 2_000, repaired: true })
    assert.equal(last, undefined)
    assert.equal((await verify(server(), storeId))[0]!['result'], 'same')
    assert.deepEqual(await restored(server(), own, { from: { storeId }, replace: true }), events)
    assert.equal((await stateOf(server(), own)).lastRestore, undefined)
    const left = await query(
      server(),
      'SELECT first_seq_num FROM livestore_sync_segments WHERE store_id = ? AND is_folded = 1',
      storeId,
    )
    assert.deepEqual(left, [{ first_seq_num: 2_001 }])
  })
})

it('goes on over a kill, and each event is there once', async () => {
  await onOneStorage({ inspect: true, vars }, async (start) => {
    const [storeId, old] = [freshStoreId(), 20_000]
    const first = await start()
    const events = await filled(first, storeId, old)
    const count = async (server: Server) => {
      const [row] = await query(server, 'SELECT count(*) AS count FROM livestore_sync_segments')
      return Number(row!['count'])
    }
    await eventually('some are folded', async () => (await count(first)) > 1, 60_000)
    await first.kill()
    const second = await start()
    // Nobody but the alarm is needed; who asks for the state wakes the object.
    await folded(second, storeId, 5)
    assert.equal(await count(second), 10)
    assert.equal((await verify(second, storeId))[0]!['result'], 'same')
    await empty(second, storeId)
    assert.deepEqual(await restored(second, storeId), events)
  })
})

it('of 200,000 events comes back from segments alone', async () => {
  await withServer({ inspect: true, vars }, async (server) => {
    const [storeId, old] = [freshStoreId(), 200_000]
    await (await Peer.connect(server, 'v04', storeId)).settled()
    await server.sql(
      storeId,
      `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ${old}) INSERT INTO "${logTableOf(storeId)}" ` +
        `SELECT x, x - 1, 'v1.Made', '{"id":' || x || '}', '2026-01-01T00:00:00.000Z', 'c', 's' FROM n`,
    )
    await server.evict(storeId)
    assert.equal((await folded(server, storeId, 0)).length, 100)
    const sum = `SELECT count(*) AS events, sum(seqNum * length(args)) AS sum FROM "${logTableOf(storeId)}"`
    const before = await server.sql(storeId, sum)
    await empty(server, storeId)
    const body = JSON.stringify({ storeId })
    valueOf<State>(await administer(server, storePath(storeId, '/restore'), { method: 'POST', body }), 202)
    await eventually('it is restored', async () => (await stateOf(server, storeId)).status === 'open', 60_000)
    assert.deepEqual(await server.sql(storeId, sum), before)
  })
})

it('a segment that D1 does not keep as it was written takes the place of nothing, and is written again', async () => {
  // The first that is written loses its last byte.
  const database = `{
      prepare: (sql) => ((globalThis.asked = sql), env.DB.prepare(sql)),
      batch: async (statements) => {
        const writes = globalThis.asked.includes('unhex')
        const results = await env.DB.batch(statements)
        if (!writes || globalThis.damaged) return results
        globalThis.damaged = true
        await env.DB.prepare('UPDATE livestore_sync_segments SET data = substr(data, 1, length(data) - 1)').run()
        return results
      },
    }`
  const edit = withBindings(`DB: ${database}`)
  await withServer({ inspect: true, vars, edit }, async (server) => {
    const [storeId, old] = [freshStoreId(), 600]
    await filled(server, storeId, old)
    const failed = await eventually('it fails', async () => {
      const { backup } = await stateOf(server, storeId)
      return backup?.compaction?.lastError ?? false
    })
    assert.equal(failed.message, `events 1 to ${old} were not read back from D1 as they were written`)
    const [rows] = await query(server, `SELECT count(*) AS count FROM livestore_sync_events WHERE seq_num <= ${old}`)
    assert.equal(rows!['count'], old)
    const lines = (await linesOf(server, storeId)).filter(({ event }) => event === 'compaction-failed')
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [['warn', failed.message]],
    )
    await folded(server, storeId, 5)
    assert.equal((await verify(server, storeId))[0]!['result'], 'same')
  })
})
