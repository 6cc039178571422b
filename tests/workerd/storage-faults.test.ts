/**
 * When SQLite fails: nothing is half stored, nobody is told what is nobody's business, and what can recover does.
 *
 * The faults are made from outside, by statements on the object's own connection.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { type Server, startServer } from '../harness/server.ts'
import { lineOf } from './answers.ts'
import { logTableOf } from './database.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertEvents, eventsIn, type Generation, generations, logOf, pagesIn, Peer, pushedFrame } from './peer.ts'

let server: Server
before(async () => {
  server = await startServer({ inspect: true, vars: { LOG_LEVEL: 'debug' } })
})
after(async () => {
  await server.stop()
})

/** A store with three events, a peer that pushed them and one that listens. */
const open = async (
  generation: Generation,
): Promise<{ readonly storeId: string; readonly pusher: Peer; readonly listener: Peer }> => {
  const storeId = freshStoreId()
  const pusher = await Peer.connect(server, generation, storeId)
  const listener = await Peer.connect(server, 'v04', storeId)
  listener.pull({ live: true })
  await listener.settled()
  await pusher.pushed(batchOf(0, 3))
  await pusher.settled()
  assertEvents(eventsIn(await listener.settled()), batchOf(0, 3))
  return { storeId, pusher, listener }
}

const errorsOf = async (storeId: string): Promise<readonly string[]> =>
  (await linesOf(server, storeId)).filter((line) => line.level === 'error').map((line) => line.event)

/** What belongs to the storage and not into an answer. */
const inside = /eventlog|context_7|sql|table|no-more/i

describe('a push that cannot be stored', () => {
  const faults = [
    {
      what: 'the row of its event',
      make: (storeId: string) => `ALTER TABLE "${logTableOf(storeId)}" RENAME TO hidden`,
      mend: (storeId: string) => `ALTER TABLE hidden RENAME TO "${logTableOf(storeId)}"`,
    },
    {
      what: 'the second row of its events',
      make: (storeId: string) =>
        `CREATE TRIGGER fault BEFORE INSERT ON "${logTableOf(storeId)}" WHEN NEW.seqNum = 5
         BEGIN SELECT RAISE(ABORT, 'no-more'); END`,
      mend: () => 'DROP TRIGGER fault',
    },
    {
      what: 'the head',
      make: () => "CREATE TRIGGER fault BEFORE UPDATE ON context_7 BEGIN SELECT RAISE(ABORT, 'no-more'); END",
      mend: () => 'DROP TRIGGER fault',
    },
  ] as const
  for (const { what, make, mend } of faults) {
    for (const generation of generations) {
      it(`because of ${what} is refused to ${generation} as a whole, and can be pushed again`, async () => {
        const { storeId, pusher, listener } = await open(generation)
        await server.sql(storeId, make(storeId))
        const { frames, answer } = await pusher.pushed(batchOf(3, 2))
        assert.deepEqual(frames, [])
        assert.match(lineOf(generation, JSON.stringify(answer)), /^(UnknownError|Error) .+could not store/)
        assert.doesNotMatch(JSON.stringify(answer), inside)
        assert.deepEqual(await listener.settled(), [])
        assert.deepEqual(await errorsOf(storeId), ['storage-failed'])

        await server.sql(storeId, mend(storeId))
        assertEvents(await logOf(server, storeId), batchOf(0, 3))
        assert.deepEqual((await pusher.pushed(batchOf(3, 2))).answer, pushedFrame(generation, 3))
        assertEvents(eventsIn(await listener.settled()), batchOf(3, 2))
        assertEvents(await logOf(server, storeId), batchOf(0, 5))
      })
    }
  }
})

describe('a log that cannot be read', () => {
  for (const generation of generations) {
    it(`closes the connection of ${generation} that pulls it, so that its client pulls again, and no other`, async () => {
      const { storeId, pusher, listener } = await open('v05')
      await server.sql(storeId, `ALTER TABLE "${logTableOf(storeId)}" RENAME TO hidden`)
      const puller = await Peer.connect(server, generation, storeId)
      puller.pull({ live: true })
      const { code, reason } = await puller.client.closed
      assert.deepEqual([code, puller.client.frames], [1011, []])
      assert.doesNotMatch(reason, inside)
      assert.deepEqual(await errorsOf(storeId), ['storage-failed'])

      await server.sql(storeId, `ALTER TABLE hidden RENAME TO "${logTableOf(storeId)}"`)
      const again = await Peer.connect(server, generation, storeId)
      again.pull({ live: true })
      assertEvents(eventsIn(await again.settled()), batchOf(0, 3))
      await pusher.pushed(batchOf(3))
      for (const peer of [again, listener]) assertEvents(eventsIn(await peer.settled()), batchOf(3))
    })
  }
})

describe('a store that cannot be opened', () => {
  it('lets nobody in and closes who was there, until it can: then everything is as it was', async () => {
    const { storeId, pusher, listener } = await open('v04')
    const backendId = pagesIn(listener.client.frames)[0]!.backendId
    await server.sql(storeId, 'ALTER TABLE context_7 RENAME TO hidden')
    await server.sql(storeId, 'CREATE TABLE context_7 (unrelated)')
    await server.evict(storeId)
    pusher.push(batchOf(3))
    assert.equal((await pusher.client.closed).code, 1011)
    const answer = await knock(server, { target: targetOf({ storeId }), upgrade: 'websocket' })
    assert.equal(answer.status, 503)
    assert.doesNotMatch(answer.body, inside)
    assert.ok((await errorsOf(storeId)).includes('open-failed'))

    await server.sql(storeId, 'DROP TABLE context_7')
    await server.sql(storeId, 'ALTER TABLE hidden RENAME TO context_7')
    assertEvents(await logOf(server, storeId), batchOf(0, 3))
    const again = await Peer.connect(server, 'v04', storeId)
    assert.deepEqual((await again.pushed(batchOf(3), backendId)).answer, pushedFrame('v04', 1))
    assertEvents(eventsIn(await listener.settled()), batchOf(3))
  })
})
