/**
 * `TTL_DAYS` in the runtime: a store that nobody has opened for that long deletes itself, by its alarm. Time passes by what is
 * kept of when it was opened: a test takes that back by days, and the alarm with it.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret, stateOf, storePath } from './administration.ts'
import { tablesIn } from './database.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertWhole, mirrorOf } from './mirror.ts'
import { Peer } from './peer.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1', LOG_LEVEL: 'debug', TTL_DAYS: '30' }

const dayMs = 86_400_000

/** What is kept of when a store was opened, as days before now, and when its alarm goes off, as days from now. */
const keptOf = async (
  server: Server,
  storeId: string,
): Promise<readonly [atDays: number, dueDays: number] | undefined> => {
  const [row] = await server.sql(storeId, "SELECT value FROM livestore_sync_state WHERE key = 'opened'")
  if (row === undefined) return undefined
  const { atMs, dueMs } = JSON.parse(String(row['value'])) as { atMs: number; dueMs: number }
  return [Math.round((Date.now() - atMs) / dayMs), Math.round((dueMs - Date.now()) / dayMs)]
}

/** So many days pass for an object that is out of memory; it is woken by an operator, as its alarm would. */
const pass = async (server: Server, storeId: string, days: number): Promise<void> => {
  const back = (member: string): string => `'$.${member}', value ->> '$.${member}' - ${days * dayMs}`
  await server.sql(
    storeId,
    `UPDATE livestore_sync_state SET value = json_set(value, ${back('atMs')}, ${back('dueMs')}) WHERE key = 'opened'`,
  )
  await server.evict(storeId)
}

const isGone = (server: Server, storeId: string): Promise<unknown> =>
  eventually('it is gone', async () => (await administer(server, storePath(storeId))).status === 404, 20_000)

describe('a store that nobody opens', () => {
  const server = serverOf({ inspect: true, vars })

  it('is deleted with its backup once its days are over, and says so', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 3))
    await assertWhole(server(), storeId)
    peer.client.terminate()
    assert.deepEqual(await keptOf(server(), storeId), [0, 31])
    const { retention } = await stateOf(server(), storeId)
    assert.equal(Date.parse(retention!.endsAt) - Date.parse(retention!.openedAt), 31 * dayMs)
    await eventually('its socket is closed', async () => (await stateOf(server(), storeId)).sockets.length === 0)

    await pass(server(), storeId, 30)
    assert.equal((await stateOf(server(), storeId)).head, 3, 'an operator does not count')
    assert.deepEqual(await keptOf(server(), storeId), [30, 1])

    await pass(server(), storeId, 2)
    await isGone(server(), storeId)
    assert.deepEqual([await mirrorOf(server(), storeId), await tablesIn(server(), storeId)], [[], []])
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event.startsWith('store-'))
    assert.deepEqual(
      lines.map(({ level, event, message }) => [level, event, message]),
      [
        ['warn', 'store-expired', 'nobody has opened it for 30 days (TTL_DAYS): its 3 events are being deleted'],
        ['warn', 'store-deleted', 'deleted 3 events, and in the backup 3 events of 1 lifetimes'],
      ],
    )
    const next = await Peer.connect(server(), 'v04', storeId)
    await next.pushed(batchOf(0))
    assert.deepEqual([(await stateOf(server(), storeId)).head, await keptOf(server(), storeId)], [1, [0, 31]])
  })

  it('stays as long as a socket is open, over evictions', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v05', storeId)
    await peer.pushed(batchOf(0, 3))
    await assertWhole(server(), storeId)
    await pass(server(), storeId, 40)
    await stateOf(server(), storeId)
    await eventually('it counts as opened', async () => (await keptOf(server(), storeId))![0] === 0)
    await peer.pushed(batchOf(3))
    assert.equal((await stateOf(server(), storeId)).head, 4)
  })

  it('begins anew with each day that a client comes, and a push writes no row for that but one', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 3))
    await pass(server(), storeId, 29)
    await peer.pushed(batchOf(3))
    assert.deepEqual(await keptOf(server(), storeId), [0, 31])
  })
})

it('the alarm that was set comes over a restart, of a runtime of its own', async () => {
  await onOneStorage({ inspect: true, vars }, async (start) => {
    const storeId = freshStoreId()
    const first = await start()
    const peer = await Peer.connect(first, 'v04', storeId)
    await peer.pushed(batchOf(0, 3))
    await assertWhole(first, storeId)
    peer.client.terminate()
    await pass(first, storeId, 40)
    // Its alarm is set, and goes off in another life.
    await knock(first, { target: storePath(storeId), headers: { authorization: `Bearer ${adminSecret}` } })
    await first.kill()
    const second = await start()
    await isGone(second, storeId)
    assert.deepEqual(await mirrorOf(second, storeId), [])
  })
})

it('a store from before begins to count when it wakes, and is let be once that is switched off', async () => {
  await onOneStorage({ inspect: true, vars: { ...vars, TTL_DAYS: '0' } }, async (start) => {
    const storeId = freshStoreId()
    const first = await start()
    await (await Peer.connect(first, 'v04', storeId)).pushed(batchOf(0, 3))
    await assertWhole(first, storeId)
    assert.equal(await keptOf(first, storeId), undefined)
    assert.equal('retention' in (await stateOf(first, storeId)), false)
    await first.stop()
    const second = await start({ vars: { TTL_DAYS: '7' } })
    await stateOf(second, storeId)
    assert.deepEqual(await keptOf(second, storeId), [0, 8])
    await pass(second, storeId, 6)
    await second.stop()
    const third = await start()
    await stateOf(third, storeId)
    assert.equal(await keptOf(third, storeId), undefined)
  })
})

it('days that do not parse are told, and delete nothing', async () => {
  await withServer({ inspect: true, vars: { ...vars, TTL_DAYS: '1.5' } }, async (server) => {
    const storeId = freshStoreId()
    await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 3))
    await assertWhole(server, storeId)
    assert.equal('retention' in (await stateOf(server, storeId)), false)
    const told = await eventually('it is logged', () => server.logs.find((line) => line.includes('variable-ignored')))
    assert.match(told, /TTL_DAYS is '1\.5', but it must be an integer from 0 to 36500: days, 0 for no end/)
  })
})
