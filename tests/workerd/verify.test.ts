/**
 * The backup beside the log, with the real D1 of the local runtime: what somebody changes there by hand is told, and made
 * right on request.
 */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret, errorOf, exportOf, linesIn, reset, stateOf, storePath } from './administration.ts'
import { Peer } from './peer.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }

type Line = Readonly<Record<string, unknown>>

/** Runs a statement in D1 that somebody has written by hand. */
const byHand = async (server: Server, sql: string, ...params: readonly unknown[]): Promise<void> => {
  const database = await server.miniflare.getD1Database('DB')
  await database
    .prepare(sql)
    .bind(...params)
    .run()
}

/** The lines of a comparison, or of a repair, and the last of them. */
const verify = async (
  server: Server,
  storeId: string,
  query = '',
): Promise<{ readonly lines: readonly Line[]; readonly last: Line }> => {
  const method = query.includes('repair=') ? 'POST' : 'GET'
  const answer = await administer(server, storePath(storeId, `/verify${query}`), { method })
  const lines = linesIn(answer).map((line) => JSON.parse(line) as Line)
  return { lines: lines.slice(0, -1), last: lines.at(-1)! }
}

/** Resolves once all that was pushed is copied. */
const copied = (server: Server, storeId: string): Promise<unknown> =>
  eventually('all is copied', async () => {
    const { head, backup } = await stateOf(server, storeId)
    return backup?.head === head
  })

const assertSame = async (server: Server, storeId: string, events: number): Promise<void> => {
  const { lines, last } = await verify(server, storeId)
  assert.deepEqual(lines, [])
  assert.deepEqual(last, { result: 'same', events, head: events, lag: 0, differences: 0 })
}

const ofStore = 'WHERE store_id = ?'

describe('a backup that is verified', () => {
  const server = serverOf({ vars })
  let peer: Peer
  let storeId = ''

  before(async () => {
    storeId = freshStoreId()
    peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 40))
    const [wide, escaped, large, last] = batchOf(40, 4)
    await peer.pushed([
      { ...wide!, args: { text: 'é "\\ \u{1f600} \u0000 \u2028 \ud800', list: [1, null, true, 1e21, -0.5] } },
      { ...escaped!, name: 'v1.é"\\\u{1f600}' },
    ])
    await peer.pushed([{ ...large!, args: 'x'.repeat(1_890_000) }])
    await peer.pushed([last!])
    await copied(server(), storeId)
  })

  it('is the same as the log, however its events are made', async () => {
    await assertSame(server(), storeId, 44)
  })

  it('is not what somebody has made of it, which a repair undoes without writing the log', async () => {
    const before = await exportOf(server(), storeId)
    await byHand(server(), `DELETE FROM livestore_sync_events ${ofStore} AND seq_num BETWEEN 5 AND 9`, storeId)
    await byHand(
      server(),
      `UPDATE livestore_sync_events SET args = '{}' ${ofStore} AND seq_num IN (12, 13, 43)`,
      storeId,
    )
    await byHand(server(), `UPDATE livestore_sync_events SET client_id = 'c' ${ofStore} AND seq_num = 41`, storeId)
    await byHand(server(), `UPDATE livestore_sync_lifetimes SET events = 3 ${ofStore}`, storeId)
    const extra = `INSERT INTO livestore_sync_events SELECT store_id, backend_id, 99, 98, name, args, '', '', '' FROM livestore_sync_events ${ofStore} AND seq_num = 1`
    await byHand(server(), extra, storeId)
    const expected = [
      { difference: 'missing', from: 5, to: 9 },
      { difference: 'columns', from: 12, to: 13, columns: ['args'] },
      { difference: 'columns', from: 41, to: 41, columns: ['clientId'] },
      { difference: 'columns', from: 43, to: 43, columns: ['args'] },
      { difference: 'extra', from: 99, to: 99 },
    ]
    const { lines, last } = await verify(server(), storeId)
    assert.deepEqual(lines.slice(0, -1), expected)
    const lifetime = lines.at(-1) as { readonly backup: Line; readonly log: Line }
    assert.deepEqual(lifetime, {
      difference: 'lifetime',
      columns: ['events'],
      backup: { ...lifetime.log, events: 3 },
      log: { ...lifetime.log, head: 44, events: 44 },
    })
    assert.deepEqual(last, { result: 'different', events: 44, head: 44, lag: 0, differences: 11 })

    const repaired = await verify(server(), storeId, '?repair=true')
    assert.deepEqual(
      repaired.lines.map(({ difference, repaired }) => [difference, repaired]),
      [...expected.map(({ difference }) => [difference, difference !== 'extra']), ['lifetime', true]],
    )
    assert.equal(repaired.last['repaired'], 10)
    // What the log has not may be the only copy.
    const { lines: left } = await verify(server(), storeId)
    assert.deepEqual(left, [{ difference: 'extra', from: 99, to: 99 }])
    assert.equal((await verify(server(), storeId, '?repair=discard')).last['repaired'], 1)
    await assertSame(server(), storeId, 44)
    assert.deepEqual(await exportOf(server(), storeId), before)
  })

  it('goes on being one while it is compared and repaired', async () => {
    await byHand(server(), `UPDATE livestore_sync_lifetimes SET head = 7 ${ofStore}`, storeId)
    await peer.pushed(batchOf(44, 3))
    await verify(server(), storeId, '?repair=true')
    await copied(server(), storeId)
    await verify(server(), storeId, '?repair=true')
    await assertSame(server(), storeId, 47)
  })

  it('is compared a part at a time', async () => {
    const long = freshStoreId()
    const writer = await Peer.connect(server(), 'v05', long)
    const padding = 'x'.repeat(700_000)
    for (let head = 0; head < 12; head += 1) await writer.pushed([{ ...batchOf(head)[0]!, args: padding }])
    await copied(server(), long)
    const first = await verify(server(), long, '?queries=20')
    const { next, ...rest } = first.last
    assert.deepEqual([first.lines, rest], [[], { result: 'unfinished', events: 11, head: 12, lag: 0, differences: 0 }])
    assert.equal(next, 11)
    const second = await verify(server(), long, `?queries=20&after=${next}`)
    assert.deepEqual(second.last, { result: 'same', events: 1, head: 12, lag: 0, differences: 0 })
    await assertSame(server(), long, 12)
  })

  it('is that of this lifetime of this store alone', async () => {
    const own = freshStoreId()
    const writer = await Peer.connect(server(), 'v04', own)
    await writer.pushed(batchOf(0, 3))
    await copied(server(), own)
    const ended = await stateOf(server(), own)
    await reset(server(), own)
    await byHand(server(), `DELETE FROM livestore_sync_events ${ofStore} AND seq_num = 2`, own)
    await (await Peer.connect(server(), 'v04', own)).pushed(batchOf(0, 2))
    await copied(server(), own)
    await assertSame(server(), own, 2)
    assert.equal((await verify(server(), own, '?repair=discard')).last['repaired'], 0)
    const database = await server().miniflare.getD1Database('DB')
    const left = await database
      .prepare('SELECT seq_num FROM livestore_sync_events WHERE store_id = ? AND backend_id = ? ORDER BY seq_num')
      .bind(own, ended.backendId)
      .all()
    assert.deepEqual(left.results, [{ seq_num: 1 }, { seq_num: 3 }])
  })

  it('says what D1 says where that fails, and is asked for by the right method', async () => {
    await byHand(server(), 'UPDATE livestore_sync_schema SET version = 3')
    try {
      const { lines, last } = await verify(server(), storeId)
      assert.deepEqual(lines, [{ error: 'the tables in D1 have version 3, and this release writes version 2' }])
      assert.equal(last['result'], 'unfinished')
    } finally {
      await byHand(server(), 'UPDATE livestore_sync_schema SET version = 2')
    }
    errorOf(await administer(server(), storePath(storeId, '/verify?repair=true')), 405)
    errorOf(await administer(server(), storePath(storeId, '/verify'), { method: 'POST' }), 405)
    errorOf(await administer(server(), storePath(storeId, '/verify?queries=19')), 400)
    errorOf(await administer(server(), storePath(freshStoreId(), '/verify')), 404)
  })
})

it('a store without a backup says so', async () => {
  await withServer({ vars: { ...vars, BACKUP: 'off' } }, async (server) => {
    const storeId = freshStoreId()
    await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0))
    const answer = await administer(server, storePath(storeId, '/verify'))
    assert.match(errorOf(answer, 404), /no backup: no D1 database is bound as DB, or BACKUP is off/)
  })
})
