/** What is too much is refused by name, what is just enough is served, and pages keep their size. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import { lineOf } from './answers.ts'
import { knock } from './knock.ts'
import { linesOf, startsOf } from './log-lines.ts'
import {
  assertEvents,
  eventsIn,
  type Generation,
  generations,
  idOf,
  logOf,
  type Page,
  pagesIn,
  Peer,
  pullFrame,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'

const serverOf = (vars: ServerOptions['vars']): (() => Server) => {
  let server: Server | undefined
  before(async () => {
    server = await startServer({ vars: { LOG_LEVEL: 'debug', ...vars } })
  })
  after(async () => {
    await server?.stop()
  })
  return () => server!
}

/** Bytes of everything in an event that its client chose. */
const contentBytes = (event: Event): number =>
  [event.name, JSON.stringify(event.args), event.clientId, event.sessionId].reduce(
    (sum, text) => sum + Buffer.byteLength(text),
    0,
  )

/** The event after `parent` with exactly this many bytes of content. */
const eventOf = (parent: number, bytes: number, letter = 'x'): Event => {
  const event = batchOf(parent)[0]!
  const free = bytes - contentBytes({ ...event, args: '' })
  return { ...event, args: letter.repeat(free / Buffer.byteLength(letter)) }
}

/** The start of a refusal of request `request`. */
const refusalOf = (generation: Generation, request: number): string =>
  `${generation === 'v03' ? 'Error' : 'UnknownError'} ${JSON.stringify(idOf(generation, request))}: `

describe('limits that a deployment sets', () => {
  const server = serverOf({ MAX_EVENT_BYTES: '1000', MAX_BATCH_EVENTS: '5', MAX_FRAME_BYTES: '4000' })

  /** A push frame of exactly this many bytes, whose last event is padded. */
  const frameOf = (generation: Generation, storeId: string, bytes: number): string => {
    const frame = (padding: number): string =>
      JSON.stringify({ ...pushFrame(generation, 1, storeId, batchOf(0, 2)), padding: 'x'.repeat(padding) })
    return frame(bytes - Buffer.byteLength(frame(0)))
  }

  for (const generation of generations) {
    const cases: ReadonlyArray<{
      readonly name: string
      readonly fits: (storeId: string) => string | object
      readonly isTooMuch: (storeId: string) => string | object
      readonly stores: readonly Event[]
    }> = [
      {
        name: 'MAX_EVENT_BYTES',
        fits: (storeId) => pushFrame(generation, 1, storeId, [eventOf(0, 1_000)]),
        isTooMuch: (storeId) => pushFrame(generation, 1, storeId, [eventOf(0, 1_001)]),
        stores: [eventOf(0, 1_000)],
      },
      {
        name: 'MAX_BATCH_EVENTS',
        fits: (storeId) => pushFrame(generation, 1, storeId, batchOf(0, 5)),
        isTooMuch: (storeId) => pushFrame(generation, 1, storeId, batchOf(0, 6)),
        stores: batchOf(0, 5),
      },
      {
        name: 'MAX_FRAME_BYTES',
        fits: (storeId) => frameOf(generation, storeId, 4_000),
        isTooMuch: (storeId) => frameOf(generation, storeId, 4_001),
        stores: batchOf(0, 2),
      },
    ]
    for (const { name, fits, isTooMuch, stores } of cases) {
      it(`one more than ${name} is refused to ${generation} by that name, logged, and not stored`, async () => {
        const peer = await Peer.connect(server(), generation, freshStoreId())
        const witness = await Peer.connect(server(), generation, peer.storeId)
        witness.pull({ live: true })
        await witness.settled()
        peer.client.send(isTooMuch(peer.storeId))
        const lines = (await peer.settled()).map((frame) => lineOf(generation, frame))
        assert.equal(lines.length, 1)
        assert.ok(lines[0]!.startsWith(refusalOf(generation, 1)), lines[0])
        assert.ok(lines[0]!.includes(name), lines[0])
        assert.deepEqual(await witness.settled(), [])
        const logged = (await linesOf(server(), peer.storeId)).filter((line) => line.event === 'refused')
        assert.deepEqual(
          logged.map((line) => [line.level, line.message!.includes(name)]),
          [['info', true]],
        )

        peer.client.send(fits(peer.storeId))
        const answers = (await peer.settled()).map((frame) => JSON.parse(frame) as unknown)
        assert.deepEqual(answers[0], pushedFrame(generation, 1), 'just as much as it names is accepted')
        assertEvents(eventsIn(await witness.settled()), stores)
        assertEvents(await logOf(server(), peer.storeId), stores)
      })
    }
  }
})

describe('MAX_CONNECTIONS', () => {
  const server = serverOf({ MAX_CONNECTIONS: '3' })

  const assertFull = async (storeId: string): Promise<void> => {
    for (const door of [{}, { path: '/websocket', transport: undefined }]) {
      const target = targetOf({ storeId, payload: { authToken }, ...door })
      const answer = await knock(server(), { target, upgrade: 'websocket' })
      assert.equal(answer.status, 503)
      assert.match(answer.body, /MAX_CONNECTIONS/)
    }
  }

  it('refuses one socket more with 503, of a full store alone, and lets one in for each that leaves', async () => {
    const storeId = freshStoreId()
    const peers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    for (const peer of peers) {
      peer.pull({ live: true })
      await peer.settled()
    }
    await assertFull(storeId)
    await Peer.connect(server(), 'v04', freshStoreId())
    await peers[0]!.client.close()
    const late = await Peer.connect(server(), 'v05', storeId)
    await assertFull(storeId)

    await late.pushed(batchOf(0))
    for (const peer of peers.slice(1)) assertEvents(eventsIn(await peer.settled()), batchOf(0))
    const lines = await linesOf(server(), storeId)
    const refusals = lines.filter((line) => line.event === 'refused' && line.message?.includes('MAX_CONNECTIONS'))
    assert.equal(refusals.length, 4, 'each refusal is logged')
  })

  it('counts the sockets that outlived the object', async () => {
    const storeId = freshStoreId()
    const peers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    await server().evict(storeId)
    await assertFull(storeId)
    assert.deepEqual(await startsOf(server(), storeId), [0, 3])
    peers[2]!.client.terminate()
    await peers[2]!.client.closed
    await peers[1]!.settled()
    await Peer.connect(server(), 'v04', storeId)
    await assertFull(storeId)
  })
})

describe('without limits of its own, a deployment', () => {
  const server = serverOf({})

  /** Events and bytes of a page as sync-cf counts them: the pull response, without its envelope. */
  const assertPages = (generation: Generation, pages: readonly Page[], framesOf: readonly string[]): void => {
    assert.equal(pages.length, framesOf.length)
    for (const [index, page] of pages.entries()) {
      const frame = framesOf[index]!
      const envelope = generation === 'v03' ? 0 : frame.indexOf('"values":[') + '"values":['.length + ']}'.length
      const bytes = Buffer.byteLength(frame) - envelope
      assert.ok(page.events.length > 0 && page.events.length <= 100, `${page.events.length} events in a page`)
      assert.ok(bytes <= 900_000 || page.events.length === 1, `${bytes} bytes in a page of ${page.events.length}`)
    }
  }

  /** Pushes batches one after the other, and checks what is published and what is pulled afterwards. */
  const pushAndPull = async (
    pushing: Generation,
    batches: ReadonlyArray<readonly Event[]>,
  ): Promise<ReadonlyMap<Generation, { published: readonly Page[]; pulled: readonly Page[] }>> => {
    const storeId = freshStoreId()
    const pusher = await Peer.connect(server(), pushing, storeId)
    const readers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    const published = new Map<Peer, string[]>(readers.map((reader) => [reader, []]))
    for (const reader of readers) {
      reader.pull({ live: true })
      assert.deepEqual(eventsIn(await reader.drained()), [])
    }
    for (const batch of batches) {
      const { answer } = await pusher.pushed(batch)
      assert.deepEqual(answer, pushedFrame(pushing, pusher.request - 1))
      for (const reader of readers) published.get(reader)!.push(...(await reader.drained()))
    }
    const result = new Map<Generation, { published: readonly Page[]; pulled: readonly Page[] }>()
    for (const reader of readers) {
      const { generation } = reader
      const frames = published.get(reader)!
      assertEvents(eventsIn(frames), batches.flat())
      // 0.3 gets a pushed batch in one frame, as its own backend sends it.
      if (generation !== 'v03') assertPages(generation, pagesIn(frames), frames)
      assert.equal(pagesIn(frames).at(-1)?.remaining, 0)
      const late = await Peer.connect(server(), generation, storeId)
      const pulled = await late.pages({ live: true })
      assertPages(generation, pulled, pagesTexts(late))
      assertEvents(
        pulled.flatMap((page) => page.events),
        batches.flat(),
      )
      result.set(generation, { published: pagesIn(frames), pulled })
    }
    return result
  }

  const pagesTexts = (peer: Peer): readonly string[] =>
    peer.client.frames.filter((frame) => pagesIn([frame]).length > 0)

  const sizes = (pages: readonly Page[]): readonly number[] => pages.map((page) => page.events.length)

  for (const pushing of generations) {
    it(`takes batches of 250 and of 1,000 events from ${pushing}, and serves them in pages of 100`, async () => {
      const pages = await pushAndPull(pushing, [batchOf(0, 250), batchOf(250, 1_000)])
      for (const generation of rpcGenerations) {
        const { published, pulled } = pages.get(generation)!
        assert.deepEqual(sizes(published), [100, 100, 50, ...Array<number>(10).fill(100)])
        assert.deepEqual(sizes(pulled), [...Array<number>(12).fill(100), 50])
        const total = new Set(published.flatMap((page) => page.createdAt)).size
        assert.equal(total, 2, 'one time for each push')
      }
      assert.deepEqual(sizes(pages.get('v03')!.published), [250, 1_000])
    })

    it(`takes an event of 1.85 MB from ${pushing}, and sends it alone in its page`, async () => {
      const big = eventOf(2, 1_850_000)
      const pages = await pushAndPull(pushing, [batchOf(0, 2), [big], batchOf(3, 2)])
      for (const generation of generations) {
        assert.deepEqual(sizes(pages.get(generation)!.pulled), [2, 1, 2])
        assert.deepEqual(sizes(pages.get(generation)!.published), [2, 1, 2])
      }
    })
  }

  it('takes an event that is too large for a page between others in one batch', async () => {
    const batch = [...batchOf(0), eventOf(1, 950_000), ...batchOf(2), eventOf(3, 899_900), ...batchOf(4)]
    const pages = await pushAndPull('v04', [batch])
    for (const generation of rpcGenerations) assert.deepEqual(sizes(pages.get(generation)!.published), [1, 1, 1, 1, 1])
  })

  it('counts the bytes of a page, not its letters', async () => {
    const events = Array.from({ length: 12 }, (_, index) => eventOf(index, 200_000, '😀'))
    const pages = await pushAndPull('v05', [events])
    for (const generation of rpcGenerations) assert.deepEqual(sizes(pages.get(generation)!.pulled), [4, 4, 4])
  })

  it('counts the bytes of a page as they are written, where texts have to be escaped', async () => {
    const events = batchOf(0, 100).map((event) => ({ ...event, name: '\u0001'.repeat(4_000) }))
    await pushAndPull('v04', [events])
  })

  it('takes a batch of many large events from 0.3, whose client does not cut it', async () => {
    const events = Array.from({ length: 20 }, (_, index) => eventOf(index, 500_000))
    await pushAndPull('v03', [events])
  })

  for (const generation of generations) {
    it(`takes an event of 1,900,000 bytes and not one byte more from ${generation}`, async () => {
      const peer = await Peer.connect(server(), generation, freshStoreId())
      const { answer } = await peer.pushed([eventOf(0, 1_900_001)])
      assert.match(lineOf(generation, JSON.stringify(answer)), /MAX_EVENT_BYTES/)
      assert.deepEqual((await peer.pushed([eventOf(0, 1_900_000)])).answer, pushedFrame(generation, 2))
      assertEvents(await logOf(server(), peer.storeId, generation), [eventOf(0, 1_900_000)])
    })
  }

  for (const generation of rpcGenerations) {
    it(`holds hundreds of live pulls on one socket of ${generation}, refuses one too many, and goes on with the others`, async () => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server(), generation, storeId)
      const pusher = await Peer.connect(server(), 'v04', storeId)
      let refusal: string | undefined
      while (refusal === undefined) {
        assert.ok(peer.request < 10_000, 'no pull was refused')
        // A hundred at a time.
        const from = peer.request
        for (let count = 0; count < 100; count += 1) peer.pull({ live: true })
        const lines = (await peer.settled()).map((frame) => lineOf(generation, frame))
        const refused = lines.findIndex((line) => !line.startsWith('Chunk'))
        if (refused === -1) continue
        refusal = lines[refused]!
        assert.ok(refusal.startsWith(refusalOf(generation, from + refused)), refusal)
        peer.request = from + refused
      }
      const held = peer.request - 1
      // Each must still fit beside the socket when all of them have fallen behind.
      assert.ok(held >= 250, `${held} pulls`)

      const assertAllServed = async (parent: number): Promise<void> => {
        await pusher.pushed(batchOf(parent))
        const pages = pagesIn(await peer.settled())
        assert.equal(pages.length, held)
        assert.equal(new Set(pages.map((page) => page.request)).size, held)
        for (const page of pages) assertEvents(page.events, batchOf(parent))
      }
      await assertAllServed(0)
      await server().evict(storeId)
      await assertAllServed(1)
      assert.deepEqual(await startsOf(server(), storeId), [0, 2])

      peer.interrupt(1)
      await peer.settled()
      peer.client.send(pullFrame(generation, 1, storeId, { live: true }))
      const [again] = pagesIn(await peer.settled())
      assertEvents(again!.events, batchOf(0, 2))
      await assertAllServed(2)
    })
  }
})
