/**
 * When SQLite fails: nothing is half stored, nobody is told what is nobody's business, clients ask again, and what can
 * recover does.
 *
 * The faults are made from outside, by statements on the object's own connection.
 */
import assert from 'node:assert/strict'
import { request as send } from 'node:http'
import { describe, it } from 'node:test'
import type { DoRpcGeneration } from '../clients/do-rpc/remote-object.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { within } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { serverOf } from '../harness/servers.ts'
import { administer, adminSecret, stateOf, storePath } from './administration.ts'
import { lineOf } from './answers.ts'
import { logTableOf, storeInPart } from './database.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { call } from './over-do-rpc.ts'
import { framesIn, httpTarget, overHttp, post } from './over-http.ts'
import {
  assertEvents,
  eventsIn,
  fill,
  logOf,
  pagesIn,
  Peer,
  pullDoneFrame,
  pullFrame,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'
import { SlowAnswer } from './slow-answer.ts'
import { allWays, assertLater, isStored, pushBy, type Way } from './ways.ts'

const server = serverOf({ inspect: true, doRpcClients: true, vars: { LOG_LEVEL: 'debug', ADMIN_SECRET: adminSecret } })

/** A store with three events, a peer that pushed them and one that listens. */
const open = async (): Promise<{ readonly storeId: string; readonly pusher: Peer; readonly listener: Peer }> => {
  const storeId = freshStoreId()
  const [pusher, listener] = [
    await Peer.connect(server(), 'v05', storeId),
    await Peer.connect(server(), 'v04', storeId),
  ] as const
  listener.pull({ live: true })
  await listener.settled()
  await pusher.pushed(batchOf(0, 3))
  assertEvents(eventsIn(await listener.settled()), batchOf(0, 3))
  return { storeId, pusher, listener }
}

const errorsOf = async (storeId: string): Promise<readonly string[]> =>
  (await linesOf(server(), storeId)).filter((line) => line.level === 'error').map((line) => line.event)

/** What belongs to the storage and not into an answer. */
const inside = /eventlog|context_7|sql|table|no-more/i

const reason = 'storage failed: try again later'

/** The rows are there, but no statement that reads or writes events finds its columns. */
const hiding = (storeId: string): string => `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN args TO hidden`
const showing = (storeId: string): string => `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN hidden TO args`

describe('a push that cannot be stored', () => {
  const words = 'the backend could not store the events; nothing was stored'

  interface Fault {
    readonly what: string
    readonly make: (storeId: string) => string
    readonly mend: (storeId: string) => string
  }

  const firstRow: Fault = {
    what: 'the row of its event',
    make: hiding,
    mend: showing,
  }
  const secondRow: Fault = {
    what: 'the second row of its events',
    make: (storeId) =>
      `CREATE TRIGGER fault BEFORE INSERT ON "${logTableOf(storeId)}" WHEN NEW.seqNum = 5
       BEGIN SELECT RAISE(ABORT, 'no-more'); END`,
    mend: () => 'DROP TRIGGER fault',
  }
  const secondSession: Fault = { ...secondRow, what: 'the row of another session' }
  const head: Fault = {
    what: 'the head',
    make: () => "CREATE TRIGGER fault BEFORE UPDATE ON context_7 BEGIN SELECT RAISE(ABORT, 'no-more'); END",
    mend: () => 'DROP TRIGGER fault',
  }
  const cases: ReadonlyArray<readonly [Fault, Way]> = [
    [firstRow, allWays[0]!],
    [secondRow, allWays[1]!],
    [secondSession, allWays[2]!],
    ...allWays.map((way) => [head, way] as const),
  ]
  for (const [{ what, make, mend }, way] of cases) {
    const { generation, transport } = way
    it(`because of ${what} is stored in no part, and ${generation} pushes it again over ${transport}`, async () => {
      const { storeId, listener } = await open()
      await server().sql(storeId, make(storeId))
      const isOther = (index: number): boolean => what === secondSession.what && index === 1
      const batch = batchOf(3, 2).map((event, index) => (isOther(index) ? { ...event, sessionId: 'other' } : event))
      const line = await pushBy(server(), way, storeId, batch)
      assertLater(way, line, { words, reason })
      assert.doesNotMatch(line, inside)
      assert.deepEqual(await listener.settled(), [])
      assert.deepEqual(await errorsOf(storeId), ['storage-failed'])

      await server().sql(storeId, mend(storeId))
      assertEvents(await logOf(server(), storeId), batchOf(0, 3))
      assert.ok(isStored(await pushBy(server(), way, storeId, batch)))
      assertEvents(eventsIn(await listener.settled()), batch)
      assertEvents(await logOf(server(), storeId), [...batchOf(0, 3), ...batch])
    })
  }
})

describe('a reset that cannot be stored', () => {
  it('leaves the log and its lifetime as they were', async () => {
    const { storeId, pusher, listener } = await open()
    const before = await stateOf(server(), storeId)
    await server().sql(
      storeId,
      "CREATE TRIGGER fault BEFORE INSERT ON context_7 BEGIN SELECT RAISE(ABORT, 'no-more'); END",
    )
    const answer = await administer(server(), storePath(storeId, '/reset'), {
      method: 'POST',
      body: JSON.stringify({ storeId }),
    })
    assert.equal(answer.status, 500, answer.body)
    await server().sql(storeId, 'DROP TRIGGER fault')
    const { backendId, head } = await stateOf(server(), storeId)
    assert.deepEqual([backendId, head], [before.backendId, before.head])
    assertEvents(await logOf(server(), storeId), batchOf(0, 3))
    await pusher.pushed(batchOf(3))
    assertEvents(eventsIn(await listener.settled()), batchOf(3))
  })
})

describe('a push whose rows are stored, whose head is not, and that cannot be taken back', () => {
  /** How long a body may stop until it is answered anyway. */
  const stallMs = 10_000
  /** How a row is kept from being deleted: by an error, or in silence. */
  const keeping = ["ABORT, 'no-more'", 'IGNORE'] as const
  const pushes: ReadonlyArray<readonly [Way, number]> = [
    [{ generation: 'v04', transport: 'ws' }, 1],
    [{ generation: 'v05', transport: 'http' }, 100],
    [{ generation: 'v05', transport: 'do-rpc' }, 1],
  ]
  for (const [way, count] of pushes) {
    for (const how of keeping) {
      it(`over ${way.transport} (${how}) is gone with its object, and stored when it comes again`, async () => {
        const [{ storeId, listener }, other] = [await open(), await open()]
        const mend = await storeInPart(server(), storeId, how)
        const line = await pushBy(server(), way, storeId, batchOf(3, count))
        assert.match(line, /^(closed 1\d\d\d|503|rejected)/)
        assert.doesNotMatch(line, inside)
        await listener.client.dismissed()
        assertEvents(eventsIn(listener.client.frames), batchOf(0, 3))

        await mend()
        const [row] = await server().sql(storeId, 'SELECT currentHead AS head FROM context_7')
        assert.equal(row!['head'], 3)
        assertEvents(await logOf(server(), storeId), batchOf(0, 3))
        assert.ok(isStored(await pushBy(server(), way, storeId, batchOf(3, count))))
        assertEvents(await logOf(server(), storeId), batchOf(0, 3 + count))
        assert.deepEqual(await errorsOf(storeId), ['given-up', 'trap'])

        // The same isolate goes on with others.
        await other.pusher.pushed(batchOf(3))
        assertEvents(eventsIn(await other.listener.settled()), batchOf(3))
      })
    }
  }

  it('answers what others of its isolate wait for, and goes on with them', async () => {
    const [{ storeId }, other] = [await open(), await open()]
    // More than 64 kB, of which the second half does not come: it is the core that waits for it.
    const begun = JSON.stringify(overHttp(pushFrame('v04', 1, other.storeId, batchOf(3))))
    const answered = Promise.withResolvers<number | undefined>()
    const options = { method: 'POST', headers: { 'content-length': begun.length + 100_000 } }
    const waiting = send(server().url + httpTarget(other.storeId), options, (answer) => {
      answer.resume()
      answered.resolve(answer.statusCode)
    })
    waiting.on('error', answered.reject)
    waiting.write(begun)
    // Its object has come that far when it has answered requests that were made later.
    const http: Way = { generation: 'v04', transport: 'http' }
    for (const head of [3, 4, 5]) assert.ok(isStored(await pushBy(server(), http, other.storeId, batchOf(head))))

    await storeInPart(server(), storeId, 'IGNORE')
    assert.ok(!isStored(await pushBy(server(), http, storeId, batchOf(3))))
    assert.equal(await within('it is answered', answered.promise, stallMs / 2), 503)
    waiting.destroy()
    const large = batchOf(6).map((event) => ({ ...event, args: { text: 'x'.repeat(100_000) } }))
    assert.ok(isStored(await pushBy(server(), http, other.storeId, large)))
  })
})

describe('a log that cannot be read', () => {
  const hide = (storeId: string) => server().sql(storeId, hiding(storeId))
  const show = (storeId: string) => server().sql(storeId, showing(storeId))

  for (const generation of rpcGenerations) {
    it(`closes the socket of ${generation} that pulls it, so that its client pulls again, and no other`, async () => {
      const { storeId, pusher, listener } = await open()
      await hide(storeId)
      const puller = await Peer.connect(server(), generation, storeId)
      puller.pull({ live: true })
      assert.deepEqual(await puller.client.closed, { code: 1013, reason })
      assert.deepEqual(puller.client.frames, [])
      assert.deepEqual(await errorsOf(storeId), ['storage-failed'])

      await show(storeId)
      const again = await Peer.connect(server(), generation, storeId)
      again.pull({ live: true })
      assertEvents(eventsIn(await again.settled()), batchOf(0, 3))
      await pusher.pushed(batchOf(3))
      for (const peer of [again, listener]) assertEvents(eventsIn(await peer.settled()), batchOf(3))
    })

    for (const transport of ['http', 'do-rpc'] as const) {
      it(`is an answer without events to ${generation} over ${transport}, whose client asks again`, async () => {
        const { storeId } = await open()
        const ask = async (): Promise<readonly string[]> => {
          const pull = pullFrame(generation, 1, storeId)
          return transport === 'http'
            ? framesIn(await post(server(), storeId, pull))
            : call(server(), generation as DoRpcGeneration, storeId, pull)
        }
        await hide(storeId)
        const id = generation === 'v04' ? '"1"' : 1
        assert.deepEqual(
          (await ask()).map((frame) => lineOf(generation, frame)),
          [`Chunk ${id}: 0 events`, `Success ${id}: null`],
        )
        assert.deepEqual(await errorsOf(storeId), ['storage-failed'])
        await show(storeId)
        assertEvents(eventsIn(await ask()), batchOf(0, 3))
      })
    }
  }

  it('is told to a 0.3 client in words that end its pull, and its socket goes on', async () => {
    const { storeId } = await open()
    await hide(storeId)
    const puller = await Peer.connect(server(), 'v03', storeId)
    puller.pull()
    const line = 'Error "request-1": the backend could not read the events'
    assert.equal(lineOf('v03', await puller.client.next()), line)
    assert.deepEqual(await errorsOf(storeId), ['storage-failed'])
    await show(storeId)
    assert.deepEqual((await puller.pushed(batchOf(3))).answer, pushedFrame('v03', 2))
  })

  it('in the middle of an answer over HTTP ends that after its last page, from which its client goes on', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 18_000, 1_000)
    const answer = await SlowAnswer.toRequest(server(), storeId, pullFrame('v04', 1, storeId))
    await hide(storeId)
    const frames = await answer.frames()
    await show(storeId)
    assert.deepEqual(JSON.parse(frames.at(-1)!), pullDoneFrame('v04', 1))
    const [pages, received] = [pagesIn(frames), eventsIn(frames)]
    assert.equal(pages.length, frames.length - 1)
    assert.ok(pages.at(-1)!.remaining > 0, 'it was in the middle')
    const { backendId } = pages[0]!
    const rest = pullFrame('v04', 2, storeId, { after: received.length, backendId: backendId! })
    assertEvents([...received, ...eventsIn(framesIn(await post(server(), storeId, rest)))], events)
  })
})

describe('a store that cannot be opened', () => {
  it('lets nobody in and closes who was there, until it can: then everything is as it was', async () => {
    const { storeId, pusher, listener } = await open()
    const backendId = pagesIn(listener.client.frames)[0]!.backendId
    await server().sql(storeId, 'ALTER TABLE context_7 RENAME TO hidden')
    await server().sql(storeId, 'CREATE TABLE context_7 (unrelated)')
    await server().evict(storeId)
    pusher.push(batchOf(3))
    assert.equal((await pusher.client.closed).code, 1011)
    const answer = await knock(server(), { target: targetOf({ storeId }), upgrade: 'websocket' })
    assert.equal(answer.status, 503)
    assert.doesNotMatch(answer.body, inside)
    const lines = [
      await pushBy(server(), { generation: 'v04', transport: 'http' }, storeId, batchOf(3)),
      await pushBy(server(), { generation: 'v04', transport: 'do-rpc' }, storeId, batchOf(3)),
      await pushBy(server(), { generation: 'v05', transport: 'do-rpc' }, storeId, batchOf(3)),
    ]
    assert.match(lines[0]!, /^503, .+: The store could not be opened$/)
    for (const line of lines.slice(1)) assert.match(line, /^rejected: .*The store could not be opened/)
    for (const line of lines) assert.doesNotMatch(line, inside)
    assert.ok((await errorsOf(storeId)).includes('open-failed'))

    await server().sql(storeId, 'DROP TABLE context_7')
    await server().sql(storeId, 'ALTER TABLE hidden RENAME TO context_7')
    assertEvents(await logOf(server(), storeId), batchOf(0, 3))
    const again = await Peer.connect(server(), 'v04', storeId)
    assert.deepEqual((await again.pushed(batchOf(3), backendId)).answer, pushedFrame('v04', 1))
    assertEvents(eventsIn(await listener.settled()), batchOf(3))
  })
})
