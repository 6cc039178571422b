/** One connection among others: what its pulls get, in which order, and how it ends. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret, stateOf } from './administration.ts'
import { lineOf } from './answers.ts'
import {
  assertEvents,
  eventsIn,
  fill,
  generations,
  idOf,
  interruptedFrame,
  logOf,
  pagesIn,
  Peer,
  pullFrame,
  pushedFrame,
  rpcGenerations,
} from './peer.ts'

const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })

/** Resolves once a store has so many sockets. */
const countsSockets = (storeId: string, count: number): Promise<unknown> =>
  eventually(`${count} sockets are counted`, async () => (await stateOf(server(), storeId)).sockets.length === count)

for (const generation of generations) {
  describe(`${generation}: a connection`, () => {
    for (const code of [1000, 1001, 3000, 4999]) {
      it(`that its client closes with ${code} is closed with ${code}, and nothing waits for it`, async () => {
        const storeId = freshStoreId()
        const [peer, other] = [
          await Peer.connect(server(), generation, storeId),
          await Peer.connect(server(), generation, storeId),
        ]
        peer.pull({ live: true })
        await peer.settled()
        assert.equal((await peer.client.close(code, 'bye')).code, code)
        await countsSockets(storeId, 1)
        assert.deepEqual((await other.pushed(batchOf(0))).answer, pushedFrame(generation, 1))
      })
    }

    it('that breaks without a word keeps no other from its events', async () => {
      const storeId = freshStoreId()
      const peers = await Promise.all([1, 2, 3].map(() => Peer.connect(server(), generation, storeId)))
      for (const peer of peers) {
        peer.pull({ live: true })
        await peer.settled()
      }
      peers[0]!.client.terminate()
      await countsSockets(storeId, 2)
      await peers[1]!.pushed(batchOf(0))
      assertEvents(eventsIn(await peers[2]!.settled()), batchOf(0))
    })

    it('loses a race only after it was sent the events of the winner', async () => {
      const storeId = freshStoreId()
      const peers = await Promise.all(Array.from({ length: 8 }, () => Peer.connect(server(), generation, storeId)))
      for (const peer of peers) {
        peer.pull({ live: true })
        await peer.settled()
      }
      const outcomes = await Promise.all(peers.map((peer, index) => peer.pushed(batchOf(0, 2, `racer-${index}`))))
      const lines = outcomes.map(({ answer }) => lineOf(generation, JSON.stringify(answer)))
      const winners = outcomes.filter((_, index) => /^(Success|WSMessage.PushAck)/.test(lines[index]!))
      assert.equal(winners.length, 1, lines.join())
      const log = await logOf(server(), storeId)
      assert.equal(log.length, 2)
      for (const outcome of outcomes) {
        if (outcome !== winners[0]) assertEvents(eventsIn(outcome.frames), log)
      }
    })
  })
}

for (const generation of rpcGenerations) {
  describe(`${generation}: a pull`, () => {
    it('that is not live gets nothing after its end', async () => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server(), generation, storeId)
      await peer.pages()
      await (await Peer.connect(server(), 'v04', storeId)).pushed(batchOf(0))
      assert.deepEqual(await peer.settled(), [])
    })

    it('of which no page is acknowledged is sent a bounded part, and its connection goes on', async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 6_000)
      const peer = await Peer.connect(server(), generation, storeId)
      peer.pull({ live: true })
      const sent = eventsIn(await peer.settled())
      assert.ok(sent.length >= 100 && sent.length < events.length, `${sent.length} events were sent`)
      const { frames, answer } = await peer.pushed(batchOf(6_000))
      assert.deepEqual(answer, pushedFrame(generation, 2), 'a push is acknowledged')
      assert.deepEqual(frames, [], 'its event waits for its place in the pages')
      const received = [...sent]
      while (received.length < 6_001) {
        peer.ack(1)
        received.push(...eventsIn(await peer.settled()))
      }
      assertEvents(received, [...events, ...batchOf(6_000)])
    })

    it('that acknowledges nothing is sent a bounded part of what is pushed, and the rest in order once it does', async () => {
      const storeId = freshStoreId()
      const [peer, pusher] = [
        await Peer.connect(server(), generation, storeId),
        await Peer.connect(server(), 'v04', storeId),
      ]
      peer.pull({ live: true })
      await peer.settled()
      for (let head = 0; head < 200; head += 1) await pusher.pushed(batchOf(head))
      const sent = await peer.settled()
      assert.ok(sent.length > 0 && sent.length <= 20, `${sent.length} pages are on their way`)
      const owed = pagesIn(sent)
      for (const page of owed) peer.ack(page.request)
      const rest = await peer.drained()
      assertEvents([...eventsIn(sent), ...eventsIn(rest)], batchOf(0, 200))
      assert.ok(pagesIn(rest).length <= 4, 'what it had to wait for comes in full pages')
      await pusher.pushed(batchOf(200))
      assertEvents(eventsIn(await peer.settled()), batchOf(200))
    })

    it('whose cursor is beyond the head gets what comes after its cursor, and only that', async () => {
      const storeId = freshStoreId()
      const pusher = await Peer.connect(server(), 'v04', storeId)
      await pusher.pushed(batchOf(0, 3))
      const [page] = await pusher.pages()
      const peer = await Peer.connect(server(), generation, storeId)
      peer.pull({ live: true, after: 6, backendId: page!.backendId! })
      assert.deepEqual(eventsIn(await peer.settled()), [])
      await pusher.pushed(batchOf(3, 2))
      assert.deepEqual(eventsIn(await peer.settled()), [])
      await server().evict(storeId)
      await pusher.pushed(batchOf(5, 3))
      assertEvents(eventsIn(await peer.settled()), batchOf(6, 2))
      await pusher.pushed(batchOf(8))
      assertEvents(eventsIn(await peer.settled()), batchOf(8))
    })
  })
}

it('pulls with the id "1" and the id 1 on one connection are two, and one of them ends alone', async () => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(server(), 'v04', storeId)
  for (const generation of rpcGenerations) peer.client.send(pullFrame(generation, 1, storeId, { live: true }))
  await peer.settled()
  await server().evict(storeId)
  peer.client.send({ _tag: 'Interrupt', requestId: idOf('v05', 1) })
  assert.deepEqual(JSON.parse(await peer.client.next()), interruptedFrame('v05', 1))
  peer.request = 2
  const { frames } = await peer.pushed(batchOf(0))
  assert.equal(pagesIn(frames).length, 1)
  assert.ok(frames[0]!.startsWith('{"_tag":"Chunk","requestId":"1"'), frames[0])
})
