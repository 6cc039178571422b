/**
 * Rows written are what a store costs: two for a push of one event, none for anything that is only sent.
 *
 * Counted by SQLite itself, on the very connection that the object's statements use. Index entries are not in that
 * count; no statement here changes a column that has one.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { serverOf } from '../harness/servers.ts'
import { assertEvents, eventsIn, fill, generations, pagesIn, Peer, pushedFrame, rpcGenerations } from './peer.ts'

const server = serverOf({ inspect: true })

/** Rows that were inserted, changed or deleted in a store since its object was built. */
const rowsWritten = async (storeId: string): Promise<number> => {
  const [row] = await server().sql(storeId, 'SELECT total_changes() AS rows')
  return Number(row!['rows'])
}

/** Rows that `work` writes. */
const rowsOf = async (storeId: string, work: () => unknown): Promise<number> => {
  const from = await rowsWritten(storeId)
  await work()
  return (await rowsWritten(storeId)) - from
}

it('control: the count sees what is written', async () => {
  const storeId = freshStoreId()
  await (await Peer.connect(server(), 'v04', storeId)).settled()
  await server().sql(storeId, 'CREATE TABLE control (a)')
  const rows = await rowsOf(storeId, () => server().sql(storeId, 'INSERT INTO control VALUES (1), (2), (3)'))
  assert.equal(rows, 3)
})

it('a push of one event writes two rows, however many sockets it is delivered to', async () => {
  const storeId = freshStoreId()
  const pusher = await Peer.connect(server(), 'v04', storeId)
  await pusher.settled()
  const listeners: Peer[] = []
  for (const [head, sockets] of [0, 1, 30, 30].entries()) {
    while (listeners.length < sockets) {
      const listener = await Peer.connect(server(), generations[listeners.length % generations.length]!, storeId)
      listener.pull({ live: true })
      await listener.settled()
      listeners.push(listener)
    }
    const rows = await rowsOf(storeId, async () => {
      assert.deepEqual((await pusher.pushed(batchOf(head))).answer, pushedFrame('v04', head + 1))
      for (const listener of listeners) {
        const frames = await listener.settled()
        assertEvents(eventsIn(frames), batchOf(head))
        const [page] = pagesIn(frames)
        if (listener.generation !== 'v03') listener.ack(page!.request)
        await listener.settled()
      }
    })
    assert.equal(rows, 2, `with ${sockets} listeners`)
  }
})

it('a push of a hundred events writes a row for each and one for the head', async () => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(server(), 'v05', storeId)
  await peer.settled()
  const batch = batchOf(0, 100).map((event, index) => ({ ...event, clientId: `client-${index % 7}` }))
  assert.equal(await rowsOf(storeId, () => peer.pushed(batch)), 101)
})

it('what is refused or repeated writes nothing', async () => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(server(), 'v04', storeId)
  await peer.pushed(batchOf(0, 3))
  const batches = [batchOf(1, 1, 'stale'), batchOf(9), batchOf(0, 3), [], [...batchOf(3), ...batchOf(7)]]
  for (const batch of batches) assert.equal(await rowsOf(storeId, () => peer.pushed(batch)), 0)
})

for (const generation of rpcGenerations) {
  it(`connecting, pulling, interrupting and leaving write nothing in ${generation}`, async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 2_500)
    const rows = await rowsOf(storeId, async () => {
      const peer = await Peer.connect(server(), generation, storeId)
      const pages = await peer.pages({ live: true })
      assertEvents(
        pages.flatMap((page) => page.events),
        events,
      )
      peer.interrupt(1)
      await peer.settled()
      await peer.client.close()
      await (await Peer.connect(server(), generation, storeId)).settled()
    })
    assert.equal(rows, 0)
  })
}

it('coming back into memory writes nothing', async () => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(server(), 'v04', storeId)
  peer.pull({ live: true })
  await peer.pushed(batchOf(0, 3))
  await server().evict(storeId)
  assert.equal(await rowsOf(storeId, () => peer.settled()), 0)
  assert.equal(await rowsOf(storeId, () => peer.pushed(batchOf(3))), 2)
})
