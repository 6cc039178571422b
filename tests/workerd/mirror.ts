/** What lies in D1 of a store, and whether that is all of it. */
import assert from 'node:assert/strict'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { exportOf, stateOf } from './administration.ts'

export type Row = Readonly<Record<string, unknown>>

/** What a statement returns in D1. */
export const query = async (server: Server, sql: string, ...params: readonly unknown[]): Promise<readonly Row[]> => {
  const database = await server.miniflare.getD1Database('DB')
  const { results } = await database
    .prepare(sql)
    .bind(...params)
    .all()
  return results as unknown as readonly Row[]
}

const eventColumns = 'seq_num, parent_seq_num, name, args, created_at, client_id, session_id'

/** The events of a store in D1; none where there are no tables. */
export const mirrorOf = async (server: Server, storeId: string, backendId?: string): Promise<readonly Row[]> => {
  const tables = await query(server, "SELECT name FROM sqlite_master WHERE name = 'livestore_sync_events'")
  if (tables.length === 0) return []
  const all = await query(
    server,
    `SELECT backend_id, ${eventColumns} FROM livestore_sync_events WHERE store_id = ? ORDER BY seq_num`,
    storeId,
  )
  return all.filter((row) => backendId === undefined || row['backend_id'] === backendId)
}

/** Resolves with the events of a store in D1 once there are so many. */
export const mirrored = (server: Server, storeId: string, count: number): Promise<readonly Row[]> =>
  eventually(`${count} events are copied`, async () => {
    const rows = await mirrorOf(server, storeId)
    return rows.length >= count && rows
  })

/** Asserts that D1 holds the whole log of a store, and what it says of it. */
export const assertWhole = async (server: Server, storeId: string): Promise<void> => {
  const events = await exportOf(server, storeId)
  const { backendId, head } = await stateOf(server, storeId)
  const rows = await eventually('all is copied', async () => {
    const rows = await mirrorOf(server, storeId, backendId)
    return rows.length === events.length && rows
  })
  assert.deepEqual(
    rows,
    events.map((event) => ({
      backend_id: backendId,
      seq_num: event.seqNum,
      parent_seq_num: event.parentSeqNum,
      name: event.name,
      args: JSON.stringify(event.args),
      created_at: event.createdAt,
      client_id: event.clientId,
      session_id: event.sessionId,
    })),
  )
  const [lifetime] = await query(
    server,
    'SELECT head, events, first_at, last_at FROM livestore_sync_lifetimes WHERE store_id = ? AND backend_id = ?',
    storeId,
    backendId,
  )
  const [first_at, last_at] = [events[0]!.createdAt, events.at(-1)!.createdAt]
  assert.deepEqual(lifetime, { head, events: events.length, first_at, last_at })
  await eventually('the object knows', async () => (await stateOf(server, storeId)).backup?.head === head)
}
