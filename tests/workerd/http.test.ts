/**
 * The http transport, request by request: what a socket is answered in frames, a request is answered in one JSON array
 * of the same frames, whatever it asks, and nothing that a request does harms another.
 */
import assert from 'node:assert/strict'
import { request as send } from 'node:http'
import { before, describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually, within } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret, stateOf } from './administration.ts'
import { lineOf } from './answers.ts'
import { type Answer, type Knock, knock } from './knock.ts'
import { framesIn as read, httpTarget, overHttp } from './over-http.ts'
import {
  assertEvents,
  eventsIn,
  failedFrame,
  fill,
  type Generation,
  generations,
  idOf,
  logOf,
  pagesIn,
  Peer,
  pullDoneFrame,
  pullFrame,
  type PullOptions,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'
import { SlowAnswer } from './slow-answer.ts'

const pullRequest = (generation: Generation, request: number, storeId: string, options: PullOptions = {}): object =>
  overHttp(pullFrame(generation, request, storeId, options))

const pushRequest = (
  generation: Generation,
  request: number,
  storeId: string,
  batch: unknown,
  backendId?: string,
): object => overHttp(pushFrame(generation, request, storeId, batch, backendId))

const pingRequest = (generation: Generation, request: number, storeId: string): object => ({
  ...pullRequest(generation, request, storeId),
  tag: 'SyncHttpRpc.Ping',
  payload: { storeId },
})

const pongFrame = (generation: Generation, request: number): object => ({
  _tag: 'Exit',
  requestId: idOf(generation, request),
  exit: { _tag: 'Success', value: { _tag: 'SyncMessage.Pong' } },
})

type Body = string | Uint8Array | object

const bytesOf = (body: Body): string | Uint8Array =>
  typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)

/** Posts `body` for `storeId`. */
const post = (
  server: Pick<Server, 'url'>,
  storeId: string,
  body: Body,
  { headers, ...over }: Partial<Knock> = {},
): Promise<Answer> =>
  knock(server, {
    method: 'POST',
    target: httpTarget(storeId),
    headers: { 'content-type': 'application/json', ...headers },
    body: bytesOf(body),
    ...over,
  })

/** The frames in an answer, each as the text that a socket would have got. */
const framesIn = (answer: Answer): readonly string[] => {
  const frames = read(answer)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.ok(answer.body === `[${frames.join()}]`, 'the array is written without a byte too many')
  return frames
}

/** The frames that answer `body`. */
const asked = async (server: Pick<Server, 'url'>, storeId: string, body: Body): Promise<readonly string[]> =>
  framesIn(await post(server, storeId, body))

const push = async (
  server: Pick<Server, 'url'>,
  generation: Generation,
  storeId: string,
  batch: readonly Event[],
): Promise<void> => {
  const frames = await asked(server, storeId, pushRequest(generation, 1, storeId, batch))
  assert.deepEqual(
    frames.map((frame) => JSON.parse(frame) as unknown),
    [pushedFrame(generation, 1)],
  )
}

const backendIdOf = async (server: Pick<Server, 'url'>, storeId: string): Promise<string> => {
  const [page] = pagesIn(await asked(server, storeId, pullRequest('v04', 1, storeId)))
  assert.match(page?.backendId ?? '', /^[\w-]{21}$/)
  return page!.backendId!
}

describe('a request', () => {
  const server = serverOf()

  for (const generation of rpcGenerations) {
    const request = 7
    const assertAnswer = async (storeId: string, body: Body, expected: readonly object[]): Promise<void> => {
      const answer = await post(server(), storeId, body)
      framesIn(answer)
      assert.deepEqual(JSON.parse(answer.body), expected)
    }

    it(`Ping of ${generation} is answered with a pong`, async () => {
      const storeId = freshStoreId()
      await assertAnswer(storeId, pingRequest(generation, request, storeId), [pongFrame(generation, request)])
    })

    it(`Push of ${generation} is answered with its Exit alone, when it is stored, repeated or empty`, async () => {
      const storeId = freshStoreId()
      for (const batch of [batchOf(0, 3), batchOf(0, 3), [], batchOf(2, 2)]) {
        await assertAnswer(storeId, pushRequest(generation, request, storeId, batch), [
          pushedFrame(generation, request),
        ])
      }
      assertEvents(await logOf(server(), storeId), batchOf(0, 4))
    })

    it(`Push of ${generation} onto a stale head or to another lifetime of the log is refused with the facts`, async () => {
      const storeId = freshStoreId()
      await push(server(), generation, storeId, batchOf(0, 2))
      const backendId = await backendIdOf(server(), storeId)
      const ahead = { _tag: 'ServerAheadError', minimumExpectedNum: 2, providedNum: 0 }
      const stale = batchOf(0, 1, 'stale')
      const refused = (error: object): object => failedFrame(generation, request, { _tag: 'Fail', error })
      await assertAnswer(storeId, pushRequest(generation, request, storeId, stale), [refused(ahead)])
      await assertAnswer(storeId, pushRequest(generation, request, storeId, stale, backendId), [refused(ahead)])
      const mismatch = { _tag: 'BackendIdMismatchError', expected: backendId, received: 'another' }
      for (const body of [
        pushRequest(generation, request, storeId, batchOf(2), 'another'),
        pushRequest(generation, request, storeId, stale, 'another'),
        pullRequest(generation, request, storeId, { backendId: 'another', after: 1 }),
      ]) {
        await assertAnswer(storeId, body, [refused(mismatch)])
      }
      assertEvents(await logOf(server(), storeId), batchOf(0, 2))
    })

    it(`Pull of ${generation} is answered with its pages and its Exit, from the start and from a cursor`, async () => {
      const storeId = freshStoreId()
      const backendId = await backendIdOf(server(), storeId)
      const chunk = (events: readonly Event[], createdAt = ''): object => {
        const metadata = { _tag: 'Some', value: { _tag: 'SyncMessage.SyncMetadata', createdAt } }
        const batch = events.map((eventEncoded) => ({ eventEncoded, metadata }))
        const values = [{ batch, pageInfo: { _tag: 'NoMore' }, backendId }]
        return { _tag: 'Chunk', requestId: idOf(generation, request), values }
      }
      const done = pullDoneFrame(generation, request)
      await assertAnswer(storeId, pullRequest(generation, request, storeId), [chunk([]), done])
      await push(server(), generation, storeId, batchOf(0, 3))
      const [page] = pagesIn(await asked(server(), storeId, pullRequest(generation, 1, storeId)))
      const createdAt = page!.createdAt[0]!
      assert.match(createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      for (const after of [0, 1, 2, 3, 99]) {
        const body = pullRequest(generation, request, storeId, after === 0 ? {} : { backendId, after })
        await assertAnswer(storeId, body, [chunk(batchOf(0, 3).slice(after), createdAt), done])
      }
    })

    it(`Pull of ${generation} that asks to be live ends all the same`, async () => {
      const storeId = freshStoreId()
      const pull = pullRequest(generation, request, storeId) as { readonly payload: object }
      const frames = await asked(server(), storeId, { ...pull, payload: { ...pull.payload, live: true } })
      assert.deepEqual(JSON.parse(frames.at(-1)!), pullDoneFrame(generation, request))
    })

    it(`Pull of ${generation} of 250 events is three pages and an Exit, byte for byte the frames of a socket`, async () => {
      const storeId = freshStoreId()
      await push(server(), generation, storeId, batchOf(0, 250))
      const answer = await post(server(), storeId, pullRequest(generation, request, storeId))
      const pages = pagesIn(framesIn(answer))
      assert.deepEqual(
        pages.map((page) => [page.events.length, page.remaining]),
        [
          [100, 150],
          [100, 50],
          [50, 0],
        ],
      )
      const peer = await Peer.connect(server(), generation, storeId)
      peer.request = request
      await peer.pages()
      const { frames } = peer.client
      assert.equal(frames.length, 4)
      assert.ok(answer.body === `[${frames.join()}]`)
      await peer.client.close()
    })

    it(`of ${generation} in a list of several is answered in its turn, in one array`, async () => {
      const storeId = freshStoreId()
      const refusedId = JSON.stringify(idOf(generation, 4))
      const lines = (
        await asked(server(), storeId, [
          pingRequest(generation, 1, storeId),
          pushRequest(generation, 2, storeId, batchOf(0, 2)),
          pullRequest(generation, 3, storeId),
          pushRequest(generation, 4, storeId, batchOf(0, 1, 'stale')),
          { _tag: 'Ping' },
          pushRequest(generation, 5, storeId, batchOf(2)),
          pullRequest(generation, 6, storeId),
        ])
      ).map((frame) => lineOf(generation, frame))
      const id = (number: number): string => JSON.stringify(idOf(generation, number))
      assert.deepEqual(lines, [
        `Success ${id(1)}: {"_tag":"SyncMessage.Pong"}`,
        `Success ${id(2)}: {}`,
        `Chunk ${id(3)}: 2 events`,
        `Success ${id(3)}: null`,
        `ServerAheadError ${refusedId}: minimum 2, provided 0`,
        'Pong',
        `Success ${id(5)}: {}`,
        `Chunk ${id(6)}: 3 events`,
        `Success ${id(6)}: null`,
      ])
    })

    it(`of ${generation} that pulls much in a list with others is answered in full`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3_000, 1_000)
      const backendId = await backendIdOf(server(), storeId)
      const frames = await asked(server(), storeId, [
        pullRequest(generation, 1, storeId),
        pushRequest(generation, 2, storeId, batchOf(3_000)),
        pullRequest(generation, 3, storeId, { backendId, after: 1_000 }),
      ])
      for (const [number, from] of [
        [1, 0],
        [3, 1_000],
      ] as const) {
        const pages = pagesIn(frames).filter((page) => page.request === number)
        const seqNums = pages.flatMap((page) => page.events.map((event) => event.seqNum))
        // The push came between: a pull that is still under way may bring its event, too.
        assert.ok(seqNums.length === 3_000 - from || seqNums.length === 3_001 - from, `${seqNums.length} events`)
        assert.deepEqual(
          seqNums,
          seqNums.map((_, index) => from + 1 + index),
        )
        assert.equal(pages.at(-1)!.remaining, 0)
      }
      const exits = frames
        .filter((frame) => frame.startsWith('{"_tag":"Exit"'))
        .map((frame) => lineOf(generation, frame))
      const id = (number: number): string => JSON.stringify(idOf(generation, number))
      assert.deepEqual(exits.toSorted(), [`Success ${id(1)}: null`, `Success ${id(2)}: {}`, `Success ${id(3)}: null`])
    })

    it(`of ${generation} is answered under the very id it has`, async () => {
      const ids: readonly unknown[] =
        generation === 'v04'
          ? ['abc', '-4', '0x10', '', '123456789012345678901234567890', 'é"\\']
          : [0, -4, 1.5, 1e21, 2 ** 53]
      const storeId = freshStoreId()
      for (const id of ids) {
        const lines = (await asked(server(), storeId, { ...pullRequest(generation, 1, storeId), id })).map((frame) =>
          lineOf(generation, frame),
        )
        assert.deepEqual(lines, [`Chunk ${JSON.stringify(id)}: 0 events`, `Success ${JSON.stringify(id)}: null`])
      }
    })
  }

  it('is answered whatever its method and content type', async () => {
    const storeId = freshStoreId()
    const body = pingRequest('v04', 1, storeId)
    for (const over of [
      { method: 'PUT' },
      { method: 'DELETE' },
      { headers: { 'content-type': 'text/plain' } },
      { headers: { 'content-type': 'application/json; charset=utf-8' } },
      { headers: { 'content-type': '' } },
      { headers: { 'transfer-encoding': 'chunked' } },
    ]) {
      assert.deepEqual(JSON.parse((await post(server(), storeId, body, over)).body), [pongFrame('v04', 1)])
    }
  })
})

describe('a body', () => {
  const server = serverOf()

  for (const method of ['GET', 'POST', 'DELETE']) {
    it(`that a ${method} does not have is answered like one that is empty`, async () => {
      const answer = await knock(server(), { method, target: httpTarget(freshStoreId()) })
      const lines = framesIn(answer).map((frame) => lineOf('v04', frame))
      assert.equal(lines.length, 1)
      assert.match(lines[0]!, /^Defect SyntaxError: ./)
    })
  }

  it('of 100,000 things that are no messages is not answered with 100,000 frames', async () => {
    const frames = await asked(server(), freshStoreId(), `[${'0,'.repeat(99_999)}0]`)
    assert.ok(frames.length <= 1_000, `${frames.length} answers`)
  })

  it('of 40 MB, more than any client sends, is refused in words', async () => {
    const storeId = freshStoreId()
    const body = pushRequest('v04', 1, storeId, [{ ...batchOf(0)[0]!, args: 'x'.repeat(40e6) }])
    const answer = await post(server(), storeId, body)
    assert.equal(answer.status, 413)
    assert.match(answer.body, /bytes/)
    assert.deepEqual(corsHeaders(answer), corsFor('*'))
    assertEvents(await logOf(server(), storeId), [])
  })

  it('of 40 MB is refused as well where its sender does not say how large it is', async () => {
    const storeId = freshStoreId()
    let left = 40
    const body = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(Buffer.alloc(1e6, ' ')) : controller.close()),
    })
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    const answer = await fetch(server().url + httpTarget(storeId), init)
    assert.equal(answer.status, 413)
    assert.match(await answer.text(), /bytes/)
  })

  it('of letters of every length is stored and answered letter by letter, also where a stream is cut', async () => {
    const storeId = freshStoreId()
    const texts = ['', 'a', 'ab'].map((before) => before + 'é’😀\u0000'.repeat(60_000) + '😀'.repeat(100_000))
    const batch = batchOf(0, texts.length).map((event, index) => ({ ...event, args: { text: texts[index]! } }))
    for (const [generation, event] of [...rpcGenerations, 'v03' as const].map(
      (one, at) => [one, batch[at]!] as const,
    )) {
      if (generation === 'v03') await (await Peer.connect(server(), 'v03', storeId)).pushed([event])
      else await asked(server(), storeId, pushRequest(generation, 1, storeId, [event]))
    }
    assertEvents(await logOf(server(), storeId), batch)
    assertEvents(eventsIn(await asked(server(), storeId, pullRequest('v04', 1, storeId))), batch)
  })

  it('of 20 MB that stops half way is refused after a while, and another waits for it no longer', async () => {
    const storeId = freshStoreId()
    const text = 'x'.repeat(100_000)
    const batch = batchOf(0, 200).map((event) => ({ ...event, args: { text } }))
    const body = JSON.stringify(pushRequest('v04', 1, storeId, batch))
    const answered = Promise.withResolvers<number>()
    const options = { method: 'POST', headers: { 'content-length': body.length } }
    const stopped = send(server().url + httpTarget(storeId), options, (answer) => {
      answer.resume()
      answered.resolve(answer.statusCode!)
    })
    stopped.on('error', answered.reject)
    stopped.write(body.slice(0, body.length / 2))
    const other = post(server(), storeId, body)
    assert.equal(await within('the first is answered', answered.promise, 30_000), 503)
    stopped.destroy()
    assert.deepEqual(
      framesIn(await other).map((frame) => JSON.parse(frame)),
      [pushedFrame('v04', 1)],
    )
    assertEvents(await logOf(server(), storeId), batch)
  })

  it('of 6 MB reaches those who follow on sockets in order and once, whatever their generation', async () => {
    const storeId = freshStoreId()
    const peers = await Promise.all(generations.map((one) => Peer.connect(server(), one, storeId)))
    for (const peer of peers) {
      peer.pull({ live: true })
      await peer.settled()
    }
    const text = 'x'.repeat(100_000)
    const batch = batchOf(0, 60).map((event) => ({ ...event, args: { text } }))
    await asked(server(), storeId, pushRequest('v04', 1, storeId, batch))
    const followed = async (peer: Peer): Promise<void> => {
      const events: Event[] = []
      while (events.length < batch.length) events.push(...eventsIn(await peer.drained()))
      assertEvents(events, batch)
    }
    await within('everyone has it', Promise.all(peers.map(followed)), 30_000)
    for (const peer of peers) await peer.client.close()
  })
})

describe('a deployment with limits', () => {
  const server = serverOf({ vars: { MAX_FRAME_BYTES: '4000', MAX_CONNECTIONS: '1', LOG_LEVEL: 'debug' } })

  for (const generation of rpcGenerations) {
    it(`takes a body of MAX_FRAME_BYTES from ${generation} and refuses one byte more by that name`, async () => {
      const storeId = freshStoreId()
      const bodyOf = (bytes: number): string => {
        const body = (padding: number): string =>
          JSON.stringify({ ...pushRequest(generation, 7, storeId, batchOf(0, 2)), padding: 'x'.repeat(padding) })
        return body(bytes - Buffer.byteLength(body(0)))
      }
      const [refusal, ...more] = (await asked(server(), storeId, bodyOf(4_001))).map((frame) =>
        lineOf(generation, frame),
      )
      assert.deepEqual(more, [])
      assert.ok(refusal!.startsWith(`UnknownError ${JSON.stringify(idOf(generation, 7))}: `), refusal)
      assert.match(refusal!, /MAX_FRAME_BYTES/)
      assert.deepEqual(pagesIn(await asked(server(), storeId, pullRequest(generation, 1, storeId)))[0]!.events, [])
      assert.deepEqual(
        (await asked(server(), storeId, bodyOf(4_000))).map((frame) => JSON.parse(frame) as unknown),
        [pushedFrame(generation, 7)],
      )
    })
  }

  it('answers requests of a store that has as many sockets as it may', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const frames = await asked(server(), storeId, pingRequest('v05', index, storeId))
        assert.deepEqual(JSON.parse(frames[0]!), pongFrame('v05', index))
      }),
    )
    await push(server(), 'v05', storeId, batchOf(0))
    assertEvents(eventsIn(await peer.settled()), batchOf(0))
    await peer.client.close()
  })
})

describe('beside sockets', () => {
  const server = serverOf({ vars: { LOG_LEVEL: 'debug' } })

  for (const generation of rpcGenerations) {
    it(`a push of ${generation} is on every live pull before it is answered`, async () => {
      const storeId = freshStoreId()
      const peers = await Promise.all(generations.map((one) => Peer.connect(server(), one, storeId)))
      for (const peer of peers) {
        peer.pull({ live: true })
        await peer.settled()
      }
      await push(server(), generation, storeId, batchOf(0, 120))
      for (const peer of peers) assertEvents(eventsIn(await peer.settled()), batchOf(0, 120))
      await push(server(), generation, storeId, batchOf(120))
      for (const peer of peers) assertEvents(eventsIn(await peer.settled()), batchOf(120))
      for (const peer of peers) await peer.client.close()
    })

    it(`a push of ${generation} wakes a store that left memory, with its live pulls`, async () => {
      const storeId = freshStoreId()
      const peers = await Promise.all(generations.map((one) => Peer.connect(server(), one, storeId)))
      for (const peer of peers) {
        peer.pull({ live: true })
        await peer.settled()
      }
      await push(server(), generation, storeId, batchOf(0, 2))
      for (const peer of peers) assertEvents(eventsIn(await peer.settled()), batchOf(0, 2))
      const backendId = await backendIdOf(server(), storeId)
      await server().evict(storeId)
      await push(server(), generation, storeId, batchOf(2))
      for (const peer of peers) assertEvents(eventsIn(await peer.settled()), batchOf(2))
      assert.equal(await backendIdOf(server(), storeId), backendId)
      for (const peer of peers) await peer.client.close()
    })
  }

  it('pushes that come at once are admitted one after the other', async () => {
    const storeId = freshStoreId()
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const generation = rpcGenerations[index % 2]!
        const batch = batchOf(0, 1, `rival-${index}`)
        const [frame] = await asked(server(), storeId, pushRequest(generation, index, storeId, batch))
        return lineOf(generation, frame!).replace(/ .*:/, ':')
      }),
    )
    assert.equal(answers.filter((answer) => answer === 'Success: {}').length, 1)
    assert.equal(answers.filter((answer) => answer.startsWith('ServerAheadError')).length, 29)
    assert.equal((await logOf(server(), storeId)).length, 1)
  })
})

describe('a pull of 20 MB', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })
  const storeId = freshStoreId()
  const count = 2_000
  let log: readonly Event[]
  before(async () => {
    log = await fill(server(), storeId, count, 10_000)
  })

  /** Asserts that nothing is kept of requests that are over. */
  const assertNoneLeft = (): Promise<unknown> =>
    eventually('nothing is left of them', async () => {
      const { connections, inFlightBytes } = await stateOf(server(), storeId)
      return connections.byTransport.http === 0 && inFlightBytes === 0
    })

  const startPull = (generation: Generation): Promise<SlowAnswer> =>
    SlowAnswer.toRequest(server(), storeId, pullFrame(generation, 1, storeId))

  /** The events of a whole answer, after a check of everything around them. */
  const eventsOf = (generation: Generation, body: string): readonly Event[] => {
    const frames = (JSON.parse(body) as readonly object[]).map((frame) => JSON.stringify(frame))
    const pages = pagesIn(frames)
    assert.equal(frames.length, pages.length + 1)
    assert.deepEqual(JSON.parse(frames.at(-1)!), pullDoneFrame(generation, 1))
    assert.deepEqual(
      pages.map((page) => page.remaining === 0),
      pages.map((_, index) => index === pages.length - 1),
    )
    for (const page of pages) assert.ok(page.bytes <= 900_300, `a page of ${page.bytes} bytes`)
    return pages.flatMap((page) => page.events)
  }

  for (const generation of rpcGenerations) {
    it(`of ${generation} is one whole JSON array`, async () => {
      const { status, headers, body } = await post(server(), storeId, pullRequest(generation, 1, storeId))
      assert.equal(status, 200)
      assert.equal(headers['content-type'], 'application/json')
      assert.ok(body.length > 20e6)
      assertEvents(eventsOf(generation, body), log)
      await assertNoneLeft()
    })
  }

  it('comes to several who ask at once', async () => {
    const bodies = await Promise.all(
      [0, 1, 2, 3].map(async () => (await post(server(), storeId, pullRequest('v04', 1, storeId))).body),
    )
    for (const body of bodies) assertEvents(eventsOf('v04', body), log)
  })

  it('that nobody reads on holds up nobody, and is whole when it is read at last', async () => {
    const slow = await startPull('v04')
    const peer = await Peer.connect(server(), 'v05', storeId)
    assert.deepEqual(await asked(server(), storeId, pingRequest('v05', 3, storeId)).then((frames) => frames.length), 1)
    const fast = await within('another pull is answered', post(server(), storeId, pullRequest('v05', 1, storeId)))
    assertEvents(eventsOf('v05', fast.body), log)
    await push(server(), 'v04', storeId, batchOf(log.length, 5))
    log = [...log, ...batchOf(log.length, 5)]
    assert.deepEqual(await peer.settled(), [])
    await peer.client.close()
    const events = eventsOf('v04', (await slow.rest()).text)
    // Whether it tells of what was pushed meanwhile is its own affair.
    assert.ok(events.length === count || events.length === log.length, `${events.length} events`)
    assertEvents(events, log.slice(0, events.length))
  })

  it('that is broken off, again and again, leaves nothing behind', async () => {
    for (let round = 0; round < 20; round += 1) (await startPull(rpcGenerations[round % 2]!)).leave()
    await push(server(), 'v05', storeId, batchOf(log.length))
    log = [...log, ...batchOf(log.length)]
    const { body } = await post(server(), storeId, pullRequest('v05', 1, storeId))
    assertEvents(eventsOf('v05', body), log)
    await assertNoneLeft()
    assert.deepEqual(
      server().logs.filter((line) => line.includes('"error"')),
      [],
    )
  })

  it('whose asker leaves in the middle of asking leaves nothing behind', async () => {
    const { hostname, port } = new URL(server().url)
    for (let round = 0; round < 20; round += 1) {
      const headers = { 'content-length': '100000' }
      const request = send({ host: hostname, port, method: 'POST', path: httpTarget(storeId), agent: false, headers })
      request.on('error', () => {})
      await new Promise<void>((resolve) => request.write('{"_tag":"Request"', () => resolve()))
      request.destroy()
    }
    const frames = await asked(server(), storeId, pingRequest('v04', 1, storeId))
    assert.deepEqual(
      frames.map((frame) => JSON.parse(frame) as unknown),
      [pongFrame('v04', 1)],
    )
    await assertNoneLeft()
  })
})

describe('answers that nobody reads on', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })

  it('are broken off where they are once others wait for room, and what had been made of a page is let go', async () => {
    const storeId = freshStoreId()
    // Each is a page of its own.
    const sizes = [950_000, 1_300_000, ...Array<number>(8).fill(1_850_000)]
    for (const [head, size] of sizes.entries()) {
      await push(server(), 'v04', storeId, [{ ...batchOf(head)[0]!, args: { text: 'x'.repeat(size) } }])
    }
    const start = async (after: number) => ({
      after,
      answer: await SlowAnswer.toRequest(server(), storeId, pullFrame('v04', 1, storeId, { after })),
    })
    const inFlightBytes = async (): Promise<number> => (await stateOf(server(), storeId)).inFlightBytes
    // Of those that begin at different pages, no two that stop after as many bytes stop at the same place in a page.
    const begun: Array<Awaited<ReturnType<typeof start>>> = []
    while ((await inFlightBytes()) < 32e6) {
      assert.ok(begun.length < 40, 'they hold more than an object may')
      begun.push(await start(begun.length % 3))
    }
    // None of these has room before another is broken off, whose page is no larger; so that is done to two kinds at least.
    const waiting = Math.ceil(begun.length / 3) + 1
    const late = await Promise.all(Array.from({ length: waiting }, () => start(2)))

    /** Letters that each of those that were broken off lacks of its last page. */
    const lacking: number[] = []
    for (const { after, answer } of begun) {
      if (lacking.length === waiting) break
      const { text, isCut } = await answer.rest()
      if (!isCut) continue
      const pages = text.split('"text":"').slice(1)
      lacking.push(sizes[after + pages.length - 1]! - pages.at(-1)!.search(/[^x]|$/))
    }
    assert.equal(lacking.length, waiting)
    // One may have stopped near the end of a page, or its connection lost the end.
    const within = lacking.filter((letters) => letters > 300_000)
    assert.ok(within.length > lacking.length / 2, String(lacking))
    for (const { answer } of [...begun, ...late]) answer.leave()
    await eventually('nothing is left of them', async () => (await inFlightBytes()) === 0)
  })
})

const corsHeaders = (answer: Answer): Record<string, string> =>
  Object.fromEntries(Object.entries(answer.headers).filter(([name]) => name.startsWith('access-control-')))

const corsFor = (origin: string, requested = '*'): Record<string, string> => ({
  'access-control-allow-origin': origin,
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  'access-control-allow-headers': requested,
  ...(origin === '*' ? {} : { 'access-control-allow-credentials': 'true' }),
})

/** Every sort of answer: what is asked, and with which status it is answered to a page that may read it. */
const answersOf = (storeId: string): ReadonlyArray<readonly [what: string, Partial<Knock>, status: number]> => [
  ['a pong', { body: JSON.stringify(pingRequest('v04', 1, storeId)) }, 200],
  ['a pull', { body: JSON.stringify(pullRequest('v05', 1, storeId)) }, 200],
  ['a push', { body: JSON.stringify(pushRequest('v05', 1, storeId, batchOf(0))) }, 200],
  ['a refused push', { body: JSON.stringify(pushRequest('v04', 1, storeId, batchOf(9))) }, 200],
  ['a request of another store', { body: JSON.stringify(pingRequest('v05', 1, 'another')) }, 200],
  ['what is no JSON', { body: '{not json' }, 200],
  ['an empty body', { body: '' }, 200],
  ['a wrong token', { target: httpTarget(storeId, { authToken: 'wrong' }) }, 400],
  ['no token', { target: `/?storeId=${storeId}&transport=http` }, 400],
  ['a body that is too large', { body: ' '.repeat(40_000_000) }, 413],
  ['a payload that is no JSON', { target: `/x?storeId=${storeId}&transport=http&payload=notjson` }, 400],
]

describe('a page', () => {
  const page = 'https://app.example.com'

  const preflight = (origin: string): Knock => ({
    method: 'OPTIONS',
    target: httpTarget('a'),
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,x-livestore-store-id,b3,traceparent',
    },
  })

  describe('with ALLOWED_ORIGINS=*', () => {
    const server = serverOf({ vars: { ALLOWED_ORIGINS: '*' } })

    it('may ask, and name the headers that clients send', async () => {
      const answer = await knock(server(), preflight(page))
      assert.deepEqual([answer.status, answer.body], [204, ''])
      assert.deepEqual(corsHeaders(answer), corsFor('*', 'content-type,x-livestore-store-id,b3,traceparent'))
    })

    for (const [what, over, status] of answersOf('any')) {
      it(`can read the answer to ${what}`, async () => {
        const answer = await post(server(), 'any', '', { ...over, headers: { origin: page } })
        assert.equal(answer.status, status)
        assert.notEqual(answer.body, '')
        assert.deepEqual(corsHeaders(answer), corsFor('*'))
      })
    }
  })

  describe('with ALLOWED_ORIGINS=* and a long log', () => {
    const server = serverOf({ vars: { ALLOWED_ORIGINS: '*' } })

    it('can read an answer that is streamed', async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 8, 790_000)
      const answer = await post(server(), storeId, pullRequest('v05', 1, storeId), { headers: { origin: page } })
      assertEvents(eventsIn(framesIn(answer)), events)
      assert.equal(answer.headers['content-length'], undefined, 'it is streamed')
      assert.deepEqual(corsHeaders(answer), corsFor('*'))
    })
  })

  describe('with a list of ALLOWED_ORIGINS', () => {
    const server = serverOf({ vars: { ALLOWED_ORIGINS: `${page}, https://*.example.org` } })

    for (const [what, over, status] of answersOf('listed')) {
      it(`that is listed can read the answer to ${what}, and caches are told that it is for this page`, async () => {
        for (const origin of [page, 'https://x.example.org']) {
          const storeId = freshStoreId()
          const body = over.body === undefined ? undefined : String(over.body).replace('"listed"', `"${storeId}"`)
          const target = over.target ?? httpTarget(storeId)
          const answer = await post(server(), storeId, body ?? '', { target, headers: { origin } })
          assert.equal(answer.status, status, answer.body)
          assert.notEqual(answer.body, '')
          assert.deepEqual(corsHeaders(answer), corsFor(origin))
          assert.equal(answer.headers['vary'], 'Origin')
        }
      })
    }

    it('that is not listed is refused with 403, stores nothing, and cannot read it', async () => {
      const storeId = freshStoreId()
      for (const origin of ['https://elsewhere.example.com', 'http://app.example.com', 'null']) {
        const body = pushRequest('v04', 1, storeId, batchOf(0))
        const answer = await post(server(), storeId, body, { headers: { origin } })
        assert.equal(answer.status, 403)
        assert.match(answer.body, /ALLOWED_ORIGINS/)
        assert.deepEqual(corsHeaders(answer), {})
        assert.equal(answer.headers['vary'], 'Origin')
        assert.deepEqual(corsHeaders(await knock(server(), preflight(origin))), {})
      }
      assertEvents(await logOf(server(), storeId), [])
    })

    it('is not what a server sends: without an origin it is let in', async () => {
      const frames = await asked(server(), 'listed', pingRequest('v04', 1, 'listed'))
      assert.deepEqual(
        frames.map((frame) => JSON.parse(frame) as unknown),
        [pongFrame('v04', 1)],
      )
    })
  })

  describe('without ALLOWED_ORIGINS', () => {
    const server = serverOf({ vars: { ALLOWED_ORIGINS: undefined } })

    it('of another site is refused with 403, one of the own origin is served', async () => {
      const body = pingRequest('v05', 1, 'own')
      const foreign = await post(server(), 'own', body, { headers: { origin: page } })
      assert.equal(foreign.status, 403)
      const own = await post(server(), 'own', body, { headers: { origin: server().url } })
      assert.deepEqual(
        framesIn(own).map((frame) => JSON.parse(frame) as unknown),
        [pongFrame('v05', 1)],
      )
      assert.deepEqual(corsHeaders(own), {})
    })
  })
})

describe('a request whose sender may not ask', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: 'first-token, second-token' } })

  it('is refused for its token in the words of its generation, whatever it asks', async () => {
    const storeId = freshStoreId()
    const refused = 'UnknownError: { "cause": Error: Invalid auth token, "note": undefined, "payload": undefined }'
    const target = httpTarget(storeId, { authToken: 'wrong-token' })
    for (const body of [pushRequest('v04', 1, storeId, batchOf(0)), pullRequest('v05', 1, storeId), 'x', '']) {
      const answer = await post(server(), storeId, body, { target })
      assert.equal(answer.status, 400)
      assert.match(answer.headers['content-type'] ?? '', /^text\/plain\b/)
      assert.equal(answer.body, refused)
    }
    for (const token of ['first-token', 'second-token']) {
      const mayAsk = { target: httpTarget(storeId, { authToken: token }) }
      const [page] = pagesIn(framesIn(await post(server(), storeId, pullRequest('v04', 1, storeId), mayAsk)))
      assertEvents(page!.events, [])
    }
  })

  it('is not let in by a token in its body', async () => {
    const storeId = freshStoreId()
    const pull = pullRequest('v04', 1, storeId) as { readonly payload: object }
    const body = { ...pull, payload: { ...pull.payload, payload: { authToken: 'first-token' } } }
    const answer = await post(server(), storeId, body, { target: `/?storeId=${storeId}&transport=http` })
    assert.equal(answer.status, 400)
    assert.match(answer.body, /authToken/)
  })
})
