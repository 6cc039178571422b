/** What is too much is refused by name, what is just enough is served, and pages keep their size. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually, within } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions } from '../harness/server.ts'
import { serverOf as anyServerOf } from '../harness/servers.ts'
import { adminSecret, reset, stateOf } from './administration.ts'
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
import { metricsOf } from './prometheus.ts'
import { hs256, secret } from './tokens.ts'
import { allWays, assertLater, isStored, pushBy, refusedIn, type Way, ways } from './ways.ts'

const serverOf = (vars: ServerOptions['vars'], options: ServerOptions = {}): (() => Server) =>
  anyServerOf({ vars: { LOG_LEVEL: 'debug', ADMIN_SECRET: adminSecret, ...vars }, ...options })

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

/** Asserts that a store has refused this often for this reason and no other, has said so each time, and to whom. */
const assertRefusals = async (
  server: Server,
  storeId: string,
  reason: string,
  count: number,
  facts: Partial<Way> = {},
): Promise<void> => {
  const lines = (await linesOf(server, storeId)).filter(({ event }) => event === 'refused')
  assert.equal(lines.length, count)
  for (const { level, message, ...line } of lines) {
    assert.deepEqual([level, line.reason], ['info', reason])
    assert.ok(message!.length > 0)
    for (const [name, value] of Object.entries(facts)) assert.equal(line[name as keyof Way], value)
  }
  assert.deepEqual((await metricsOf(server, storeId)).refusals, { [reason]: count })
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
      readonly reason: string
    }> = [
      {
        name: 'MAX_EVENT_BYTES',
        reason: 'no-batch',
        fits: (storeId) => pushFrame(generation, 1, storeId, [eventOf(0, 1_000)]),
        isTooMuch: (storeId) => pushFrame(generation, 1, storeId, [eventOf(0, 1_001)]),
        stores: [eventOf(0, 1_000)],
      },
      {
        name: 'MAX_BATCH_EVENTS',
        reason: 'no-batch',
        fits: (storeId) => pushFrame(generation, 1, storeId, batchOf(0, 5)),
        isTooMuch: (storeId) => pushFrame(generation, 1, storeId, batchOf(0, 6)),
        stores: batchOf(0, 5),
      },
      {
        name: 'MAX_FRAME_BYTES',
        reason: 'frame-too-large',
        fits: (storeId) => frameOf(generation, storeId, 4_000),
        isTooMuch: (storeId) => frameOf(generation, storeId, 4_001),
        stores: batchOf(0, 2),
      },
    ]
    for (const { name, reason, fits, isTooMuch, stores } of cases) {
      it(`one more than ${name} is refused to ${generation} by that name, logged, counted, and not stored`, async () => {
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
        await assertRefusals(server(), peer.storeId, reason, 1, { generation, transport: 'ws' })

        peer.client.send(fits(peer.storeId))
        const answers = (await peer.settled()).map((frame) => JSON.parse(frame) as unknown)
        assert.deepEqual(answers[0], pushedFrame(generation, 1), 'just as much as it names is accepted')
        assertEvents(eventsIn(await witness.settled()), stores)
        assertEvents(await logOf(server(), peer.storeId), stores)
      })
    }
  }

  for (const generation of rpcGenerations) {
    const cases: ReadonlyArray<readonly [string, string, readonly Event[]]> = [
      ['MAX_EVENT_BYTES', 'no-batch', [eventOf(0, 1_001)]],
      ['MAX_BATCH_EVENTS', 'no-batch', batchOf(0, 6)],
      ['MAX_FRAME_BYTES', 'frame-too-large', [0, 1, 2, 3, 4].map((head) => eventOf(head, 900))],
    ]
    for (const [name, reason, batch] of cases) {
      it(`one more than ${name} is refused to ${generation} over HTTP by that name, logged, counted, and not stored`, async () => {
        const storeId = freshStoreId()
        const way = { generation, transport: 'http' } as const
        assert.ok(refusedIn(await pushBy(server(), way, storeId, batch)).includes(name))
        await assertRefusals(server(), storeId, reason, 1, way)
        assertEvents(await logOf(server(), storeId), [])
      })
    }
  }
})

describe('MAX_STORE_BYTES', () => {
  const max = 100_000
  const server = serverOf({ MAX_STORE_BYTES: String(max) }, { doRpcClients: true })
  const reason = 'the store is full (MAX_STORE_BYTES): try again later'

  /** Pushes until the store is full; resolves with what it took. */
  const fillUp = async (storeId: string): Promise<readonly Event[]> => {
    const peer = await Peer.connect(server(), 'v04', storeId)
    const events: Event[] = []
    while ((await stateOf(server(), storeId)).bytes < max) {
      const event = eventOf(events.length, 20_000)
      assert.deepEqual((await peer.pushed([event])).answer, pushedFrame('v04', peer.request - 1))
      events.push(event)
      assert.ok(events.length < 50, 'the store takes more than it should')
    }
    peer.client.terminate()
    return events
  }

  for (const way of allWays) {
    const { generation, transport } = way
    it(`has ${generation} push again over ${transport} later, what has not changed being refused again, and pulls go on`, async () => {
      const storeId = freshStoreId()
      const listener = await Peer.connect(server(), 'v04', storeId)
      listener.pull({ live: true })
      await listener.client.next()
      const events = await fillUp(storeId)
      const { bytes } = await stateOf(server(), storeId)
      const words = `the store has ${bytes} bytes, but at most ${max} are accepted (MAX_STORE_BYTES)`
      for (let times = 0; times < 2; times += 1) {
        assertLater(way, await pushBy(server(), way, storeId, batchOf(events.length)), { words, reason })
      }
      assert.equal((await stateOf(server(), storeId)).bytes, bytes, 'nothing was stored')
      await assertRefusals(server(), storeId, 'store-full', 2, way)
      const { lastErrors } = await stateOf(server(), storeId)
      assert.deepEqual([...new Set(lastErrors.map(({ message }) => message))], [words], 'its operator has the numbers')
      assertEvents(await logOf(server(), storeId, generation), events)
      assertEvents(eventsIn(listener.client.frames), events)
      assert.equal(listener.client.ended, undefined)
    })
  }

  it('is of each store alone, outlives an eviction, and a reset makes room', async () => {
    const [storeId, way] = [freshStoreId(), ways[0]!]
    const events = await fillUp(storeId)
    assert.ok(isStored(await pushBy(server(), way, freshStoreId(), batchOf(0))), 'another store takes events')
    await server().evict(storeId)
    refusedIn(await pushBy(server(), way, storeId, batchOf(events.length)))
    await reset(server(), storeId)
    assert.ok(isStored(await pushBy(server(), way, storeId, batchOf(0))))
  })
})

describe('PUSH_RATE', { concurrency: true }, () => {
  const rate = 1
  const burst = 10
  /** Pushes that are done at once or wait, if they come together. */
  const taken = 2 * burst
  const server = serverOf({ PUSH_RATE: String(rate), JWT_SECRET: secret }, { doRpcClients: true })
  const later = {
    words: `more than ${rate} pushes per second (PUSH_RATE): try again later`,
    reason: 'too many pushes (PUSH_RATE): try again later',
  }

  /** The answers to the pushes of a peer that have come, each in one line. */
  const answersTo = ({ client, generation }: Peer): readonly string[] =>
    client.frames
      .filter((frame) => /^\{"_tag":"(Exit|WSMessage\.PushAck|WSMessage\.Error)"/.test(frame))
      .map((frame) => lineOf(generation, frame).replace(/^(\S+) \S+?(:|$)/, '$1$2'))

  const untilAnswered = (peer: Peer, count: number): Promise<unknown> =>
    eventually(`${count} pushes are answered`, () => answersTo(peer).length >= count, 30_000)

  for (const generation of generations) {
    it(`has ${generation} push 10 seconds' worth at once, and what is beyond wait for its turn`, async () => {
      const peer = await Peer.connect(server(), generation, freshStoreId())
      const startedAt = performance.now()
      const seconds = (): number => (performance.now() - startedAt) / 1_000
      for (let head = 0; head < burst + 3; head += 1) peer.push(batchOf(head))
      await peer.settled()
      // One of them answers a push of no event, which waits for nothing.
      const stored = answersTo(peer).length - 1
      assert.ok(stored >= burst && stored <= burst + seconds() * rate, `${stored} after ${seconds()} s`)
      await untilAnswered(peer, burst + 3)
      assert.ok(seconds() > 1.9, 'the second of those that wait')
      await untilAnswered(peer, burst + 4)
      assert.ok(seconds() > 2.9, 'the third')
      assert.ok(answersTo(peer).every(isStored))
      assertEvents(await logOf(server(), peer.storeId, generation), batchOf(0, burst + 3))
      assert.deepEqual((await metricsOf(server(), peer.storeId)).refusals, {})
    })
  }

  /** The answers to these many pushes of one event at once: all but the first repeat it. */
  const atOnce = async (way: Way, storeId: string, count: number, payload?: unknown): Promise<readonly string[]> => {
    if (way.transport !== 'ws') {
      return Promise.all(Array.from({ length: count }, () => pushBy(server(), way, storeId, batchOf(0), payload)))
    }
    const peer = await Peer.connect(server(), way.generation, storeId, payload === undefined ? {} : { payload })
    for (let pushed = 0; pushed < count; pushed += 1) peer.push(batchOf(0))
    const { client } = peer
    await eventually('all are answered', () => client.ended !== undefined || answersTo(peer).length >= count, 30_000)
    const end = client.ended && `closed ${client.ended.code}: ${client.ended.reason}`
    return [...answersTo(peer), ...(end === undefined ? [] : [end])]
  }

  for (const way of allWays) {
    const { generation, transport } = way
    it(`has ${generation} push again over ${transport} what would wait for more than 10 seconds`, async () => {
      const storeId = freshStoreId()
      const lines = await atOnce(way, storeId, taken + 5)
      const refused = lines.filter((line) => !isStored(line))
      assert.ok(refused.length > 0)
      for (const line of refused) assertLater(way, line, later)
      assertEvents(await logOf(server(), storeId), batchOf(0))
      const { refusals } = await metricsOf(server(), storeId)
      assert.deepEqual(Object.keys(refusals), ['push-rate'])
      // One that is closed is told once for all that it has pushed.
      if (transport !== 'ws' || generation === 'v03') {
        assert.equal(refusals['push-rate'], refused.length)
        assert.ok(lines.length - refused.length >= taken, `${lines.length - refused.length} were done`)
      }
      await assertRefusals(server(), storeId, 'push-rate', refusals['push-rate']!, way)
    })
  }

  for (const generation of rpcGenerations) {
    it(`is no other for a ${generation} client that connects again`, async () => {
      const storeId = freshStoreId()
      const way = { generation, transport: 'ws' } as const
      const startedAt = performance.now()
      await atOnce(way, storeId, taken + 1)
      let line = ''
      const push = async (): Promise<void> => {
        while (!isStored(line)) line = await pushBy(server(), way, storeId, batchOf(1))
      }
      await within('it gets its push in', push(), 30_000)
      assert.ok(performance.now() - startedAt > 10_900, 'when the first that was refused would have been its turn')
    })
  }

  it('is of each subject of a token, whatever carries it, and one for all who have none', async () => {
    const storeId = freshStoreId()
    const payloadOf = (claims: object): unknown => ({ authToken: hs256(claims) })
    const [v03, http] = [ways[0]!, ways.at(-1)!]
    const ada = payloadOf({ sub: 'ada' })
    const all = await Promise.all([
      atOnce(v03, storeId, taken + 5, ada),
      atOnce(http, storeId, taken + 5, payloadOf({ sub: 'ada', iat: 7 })),
    ])
    const stored = all.flat().filter(isStored).length
    assert.ok(stored >= taken && stored < 2 * taken, `${stored} of both ways were done`)
    const others = await Promise.all([
      atOnce(v03, storeId, burst, payloadOf({ sub: 'bob' })),
      atOnce(http, storeId, burst, payloadOf({ name: 'eve' })),
    ])
    assert.deepEqual([...new Set(others.flat().map(isStored))], [true])
    const more = await Promise.all([
      atOnce(v03, storeId, taken, undefined),
      atOnce(http, storeId, taken, payloadOf({ name: 'dan' })),
    ])
    const ofNobody = more.flat().filter(isStored).length
    assert.ok(ofNobody < 2 * taken, 'static tokens, and those without the claim, share one')
  })

  it('is asked of pushes alone', async () => {
    const peer = await Peer.connect(server(), 'v03', freshStoreId())
    for (let times = 0; times < taken + 5; times += 1) peer.push(batchOf(0))
    await peer.settled()
    for (let times = 0; times < taken; times += 1) {
      assertEvents(await logOf(server(), peer.storeId, 'v05'), batchOf(0))
    }
  })
})

describe('EVENT_NAMES', () => {
  const server = serverOf({ EVENT_NAMES: 'v1.*, v2.Todo*Done ,exact' }, { doRpcClients: true })
  const named = (...names: readonly string[]): readonly Event[] =>
    names.map((name, head) => ({ ...batchOf(head)[0]!, name }))

  const allowed = ['v1.Noted', 'v1.', 'exact', 'v2.TodoDone', 'v2.TodoIsDone']
  const refused = ['v1', 'V1.Noted', 'xv1.Noted', 'exactly', 'v2.TodoDoneX', 'v2.Tododone', 'v3.Noted', '', '*']

  for (const way of allWays) {
    const { generation, transport } = way
    it(`lets ${generation} push over ${transport} what it names`, async () => {
      const storeId = freshStoreId()
      assert.ok(isStored(await pushBy(server(), way, storeId, named(...allowed))))
      assertEvents(await logOf(server(), storeId, generation), named(...allowed))
    })

    it(`refuses ${generation} over ${transport} a batch with any other name, says where it stands, and stores none of it`, async () => {
      const storeId = freshStoreId()
      for (const name of refused) {
        const words = refusedIn(await pushBy(server(), way, storeId, named('v1.Noted', name, 'v9.Later')))
        assert.equal(words, `batch[1].name is '${name}', which EVENT_NAMES does not allow`)
      }
      await assertRefusals(server(), storeId, 'event-name', refused.length, way)
      assertEvents(await logOf(server(), storeId, generation), [])
      assert.ok(isStored(await pushBy(server(), way, storeId, named('exact'))), 'its client can go on')
    })
  }

  it('repeats of a name no more than 100 letters', async () => {
    const line = await pushBy(server(), ways[1]!, freshStoreId(), named('ä'.repeat(500)))
    assert.equal(refusedIn(line), `batch[0].name is '${'ä'.repeat(100)}', which EVENT_NAMES does not allow`)
  })
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
    assert.deepEqual((await metricsOf(server(), storeId)).refusals, { connections: 4 })
  })

  it('is logged as every other limit is', async () => {
    const storeId = freshStoreId()
    for (let count = 0; count < 3; count += 1) await Peer.connect(server(), 'v04', storeId)
    await assertFull(storeId)
    await assertRefusals(server(), storeId, 'connections', 2, { transport: 'ws' })
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
    let pushed = 0
    for (const batch of batches) {
      const { answer } = await pusher.pushed(batch)
      assert.deepEqual(answer, pushedFrame(pushing, pusher.request - 1))
      pushed += batch.length
      for (const reader of readers) {
        const frames = published.get(reader)!
        // A large one reaches 0.3 in several turns.
        do frames.push(...(await reader.drained()))
        while (eventsIn(frames).length < pushed)
      }
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

  it('takes frames of any letters, short ones and those that are long enough to be read in another way', async () => {
    const peer = await Peer.connect(server(), 'v04', freshStoreId())
    const events: Event[] = []
    for (const letter of ['x', 'é', '“', '😀']) {
      for (const units of [4_094, 4_095, 4_096, 4_097, 20_000]) {
        const event = (args: string): Event => ({ ...batchOf(events.length)[0]!, args })
        const frame = pushFrame('v04', peer.request + 1, peer.storeId, [event('')])
        const free = units - JSON.stringify(frame).length
        const text = letter.repeat(free / letter.length).padEnd(free, '.')
        events.push(event(text))
        assert.deepEqual((await peer.pushed(events.slice(-1))).answer, pushedFrame('v04', peer.request - 1))
      }
    }
    assertEvents(await logOf(server(), peer.storeId, 'v04'), events)
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
      const refusals = (await metricsOf(server(), storeId)).refusals['pulls'] ?? 0
      await assertRefusals(server(), storeId, 'pulls', refusals, { generation, transport: 'ws' })
      assert.ok(refusals > 0)
      // Each must still fit beside the socket when all of them have fallen behind.
      assert.ok(held >= 230, `${held} pulls`)

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
