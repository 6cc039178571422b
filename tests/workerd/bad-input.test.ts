/**
 * What no client of a release sends: the answer is the reference's or a better one, whoever sent it is served on, the log
 * stays as it was, and another connection of the store notices nothing.
 *
 * Which answer belongs to which input is for `tests/host/hostile` to say. Here is what the platform makes of input before
 * the core sees it: nothing, bytes, letters that are none, depth and size; and one of each kind of answer, by each way.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import type { Outgoing } from '../harness/raw-client.ts'
import { serverOf } from '../harness/servers.ts'
import { lineOf } from './answers.ts'
import { knock } from './knock.ts'
import { framesIn, httpTarget, overHttp } from './over-http.ts'
import {
  assertEvents,
  eventsIn,
  type Generation,
  generations,
  idOf,
  logOf,
  Peer,
  pullFrame,
  pushedFrame,
  pushFrame,
} from './peer.ts'

const server = serverOf()

/** The events of every store here before the input comes. */
const stored = batchOf(0, 3)

/** The number of the request in each input: what an answer has to echo. */
const request = 7

interface Case {
  readonly what: string
  readonly input: Outgoing
  /** The answers, in order: a line of `lineOf`, whole or as a pattern. */
  readonly answers: ReadonlyArray<string | RegExp>
}

/** A way for input to come, each case by a connection of its own: the frames that answer it. */
type Ask = (storeId: string, input: Outgoing) => Promise<readonly string[]>

const overSocket =
  (generation: Generation): Ask =>
  async (storeId, input) => {
    const peer = await Peer.connect(server(), generation, storeId)
    peer.client.send(input)
    const answers = await peer.settled()
    peer.request = 40
    const log = (await peer.pages()).flatMap((page) => page.events)
    assertEvents(log, stored)
    assert.equal((await peer.client.close()).code, 1000)
    return answers
  }

const overRequest: Ask = async (storeId, input) => {
  const body = typeof input === 'string' || input instanceof Uint8Array ? input : JSON.stringify(input)
  return framesIn(await knock(server(), { method: 'POST', target: httpTarget(storeId), body }))
}

/** One test per case; all of them share one store with a witness. */
const testCases = (generation: Generation, ask: Ask, casesOf: (storeId: string) => readonly Case[]): void => {
  const storeId = freshStoreId()
  let witness: Peer
  before(async () => {
    witness = await Peer.connect(server(), generation, storeId)
    witness.pull({ live: true })
    await witness.pushed(stored)
    await witness.settled()
  })
  after(async () => {
    // A control: the witness does notice a push that is fit to be stored.
    const pusher = await Peer.connect(server(), generation, storeId)
    assert.deepEqual((await pusher.pushed(batchOf(3))).answer, pushedFrame(generation, 1))
    assertEvents(eventsIn(await witness.settled()), batchOf(3))
  })

  for (const { what, input, answers } of casesOf(storeId)) {
    it(`${what} is answered ${answers.length === 0 ? 'with nothing' : answers.join(' and ')}`, async () => {
      const lines = (await ask(storeId, input)).map((frame) => lineOf(generation, frame))
      assert.equal(lines.length, answers.length, `answers: ${JSON.stringify(lines)}`)
      for (const [index, line] of lines.entries()) {
        const one = answers[index]!
        if (typeof one === 'string') assert.equal(line, one)
        else assert.match(line, one)
      }
      assert.deepEqual(await witness.settled(), [], 'another connection notices nothing')
    })
  }
}

const syntax = /^Defect SyntaxError: ./
const unknown = (tag: string): string => `Defect: Unknown request tag: ${tag}`

/** A Pull or Push request of which some keys are replaced; `undefined` takes a key away. */
const altered = (frame: object, top: object, payload: object = {}): object => ({
  ...frame,
  payload: { ...(frame as { payload: object }).payload, ...payload },
  ...top,
})

/** A text that is nested a million times. */
const deep = '['.repeat(1e6) + ']'.repeat(1e6)

/** The kinds of input that the ways of the RPC generations share. */
const rpcCases = (
  generation: Generation,
  storeId: string,
  { pull, push, otherTag }: { readonly pull: object; readonly push: object; readonly otherTag: string },
): readonly Case[] => {
  const id = JSON.stringify(idOf(generation, request))
  const pulled = [`Chunk ${id}: 3 events`, `Success ${id}: null`]
  const die = [new RegExp(`^Die ${id}: .`)]
  const event = batchOf(3)[0]!
  const pushOf = (...events: readonly object[]): object => altered(push, {}, { batch: events })
  const refused = (words: string): Case['answers'] => [new RegExp(`^UnknownError ${id}: .*${words}`)]
  return [
    { what: 'that is empty', input: '', answers: [syntax] },
    { what: 'of bytes that are no text', input: Buffer.from([0x92, 0x01, 0x02]), answers: [syntax] },
    {
      what: 'of a request in Latin-1',
      input: Buffer.from(JSON.stringify(pull).replace(storeId, 'ÿ'), 'latin1'),
      answers: [syntax],
    },
    { what: 'of a request in bytes', input: Buffer.from(JSON.stringify(pull)), answers: pulled },
    {
      what: 'of a list with a ping, something else and a request',
      input: [{ _tag: 'Ping' }, 7, pull],
      answers: ['Pong', unknown('undefined'), ...pulled],
    },
    {
      what: 'with a request of another transport',
      input: altered(pull, { tag: otherTag }),
      answers: [generation === 'v04' ? unknown(otherTag) : `Die ${id}: Unknown request tag: ${otherTag}`],
    },
    {
      what: 'with a pull of another store',
      input: altered(pull, {}, { storeId: 'another' }),
      answers: refused('storeId'),
    },
    {
      what: 'with a push onto a stale head',
      input: pushOf(...batchOf(1, 1, 'stale')),
      answers: [`ServerAheadError ${id}: minimum 3, provided 1`],
    },
    { what: 'opened a million times', input: '{"a":'.repeat(1e6), answers: [syntax] },
    {
      what: 'with a pull whose cursor is nested a million times',
      input: JSON.stringify(pull).replace('{"_tag":"None"}', deep),
      answers: die,
    },
    { what: 'of 20 MB of brackets', input: '['.repeat(20e6), answers: [syntax] },
    { what: 'of 20 MB in an unknown key', input: { ...pull, padding: 'x'.repeat(20e6) }, answers: pulled },
    {
      what: 'with an event of 20 MB',
      input: pushOf({ ...event, args: 'x'.repeat(20e6) }),
      answers: refused('MAX_EVENT_BYTES'),
    },
  ]
}

describe('v04: a frame', () => {
  testCases('v04', overSocket('v04'), (storeId) => {
    const frames = { pull: pullFrame('v04', request, storeId), push: pushFrame('v04', request, storeId, batchOf(3)) }
    const interrupt = { _tag: 'Interrupt', requestId: idOf('v04', 999) }
    return [
      ...rpcCases('v04', storeId, { ...frames, otherTag: 'SyncHttpRpc.Pull' }),
      {
        what: 'of a pull and an Ack of a request to come',
        input: [frames.pull, { ...interrupt, _tag: 'Ack' }],
        answers: ['Chunk "7": 3 events', 'Success "7": null'],
      },
    ]
  })

  it('of 100,000 things that are no messages is not answered with 100,000 frames', async () => {
    const peer = await Peer.connect(server(), 'v04', freshStoreId())
    peer.client.send(`[${'0,'.repeat(99_999)}0]`)
    // A closed connection is an answer, too.
    await peer.settled().catch((error: unknown) => {
      if (peer.client.ended === undefined) throw error
    })
    assert.ok(peer.client.frames.length <= 1_000, `${peer.client.frames.length} answers`)
  })
})

describe('v05: a body', () => {
  testCases('v05', overRequest, (storeId) => {
    const pull = overHttp(pullFrame('v05', request, storeId))
    const push = overHttp(pushFrame('v05', request, storeId, batchOf(3)))
    return [
      ...rpcCases('v05', storeId, { pull, push, otherTag: 'SyncWsRpc.Pull' }),
      { what: 'of an empty list', input: '[]', answers: [] },
    ]
  })
})

describe('v03: a frame', () => {
  testCases('v03', overSocket('v03'), () => {
    const id = '"request-7"'
    const pull = pullFrame('v03', request, '')
    const pushOf = (...events: readonly unknown[]): object => pushFrame('v03', request, '', events)
    const event = batchOf(3)[0]!
    const refused = (words: string): Case['answers'] => [new RegExp(`^Error ${id}: .*${words}`)]
    const ignored = { answers: [] }
    return [
      { what: 'of bytes that are no text', input: Buffer.from([0x92, 0x01, 0x02]), ...ignored },
      { what: 'of a pull in bytes', input: Buffer.from(JSON.stringify(pull)), answers: ['PullRes: 3 events'] },
      {
        what: 'of a ping with its keys the other way round',
        input: '{"requestId":"ping","_tag":"WSMessage.Ping"}',
        answers: ['WSMessage.Pong "ping"'],
      },
      {
        what: 'with a push onto a stale head',
        input: pushOf(...batchOf(1, 1, 'stale')),
        answers: [`Error ${id}: Invalid parent event number. Received e1 but expected e3`],
      },
      {
        what: 'of an administrator without the secret',
        input: { _tag: 'WSMessage.AdminResetRoomReq', requestId: 'request-7', adminSecret: 'guess' },
        answers: [`Error ${id}: Invalid admin secret`],
      },
      {
        what: 'with an event of 20 MB',
        input: pushOf({ ...event, args: 'x'.repeat(20e6) }),
        answers: refused('MAX_EVENT_BYTES'),
      },
    ]
  })
})

describe('texts that are hard to write', () => {
  const event = batchOf(0)[0]!
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)
  const raw =
    (args: string): ((seqNum: number) => string) =>
    (seqNum) =>
      JSON.stringify({ ...event, args: 'ARGS', seqNum, parentSeqNum: seqNum - 1 }).replace('"ARGS"', () => args)
  const field =
    (over: Partial<Event>): ((seqNum: number) => string) =>
    (seqNum) =>
      JSON.stringify({ ...event, ...over, seqNum, parentSeqNum: seqNum - 1 })
  const hard = '\u0000\u0001\u001f "\\/\b\f\n\r\t\u007f\u0080\u2028\u2029\ufeff\uffff é 😀 </script> %s $& \'; --'
  const events: ReadonlyArray<(seqNum: number) => string> = [
    field({ name: hard, clientId: hard, sessionId: hard, args: { [hard]: hard } }),
    field({ name: '', clientId: '', sessionId: '', args: '' }),
    field({ name: '\u0001'.repeat(4_000), clientId: '\u0001'.repeat(1_000), sessionId: '"'.repeat(1_000) }),
    raw('"\\ud800 \\udc00 \\/ \\u0041"'),
    raw('{"a":1,"a":2,"__proto__":{"b":3},"constructor":null}'),
    raw(' [ 1 ,\n2.50 , -0 , 1e-7 , 12345678901234567890123 ]\t'),
    raw(nested(1_000)),
    raw('null'),
    raw('false'),
    (seqNum) => JSON.stringify({ ...event, args: undefined, seqNum, parentSeqNum: seqNum - 1 }),
  ]

  for (const generation of generations) {
    it(`pushed by ${generation} are published and pulled alike, in every generation`, async () => {
      const storeId = freshStoreId()
      const pusher = await Peer.connect(server(), generation, storeId)
      const listeners = await Promise.all(generations.map((one) => Peer.connect(server(), one, storeId)))
      for (const listener of listeners) {
        listener.pull({ live: true })
        await listener.settled()
      }
      const published = new Map<Generation, string[]>()
      for (const [index, write] of events.entries()) {
        const frame = JSON.stringify(pushFrame(generation, index + 1, storeId, ['EVENT']))
        pusher.client.send(frame.replace('"EVENT"', () => write(index + 1)))
        const answers = (await pusher.settled()).map((answer) => JSON.parse(answer) as { _tag: string })
        assert.deepEqual(
          answers.filter((answer) => answer._tag !== 'WSMessage.PullRes'),
          [pushedFrame(generation, index + 1)],
          write(index + 1).slice(0, 200),
        )
        for (const listener of listeners) {
          const frames = await listener.settled()
          assert.equal(frames.length, 1)
          published.set(listener.generation, [...(published.get(listener.generation) ?? []), frames[0]!])
        }
      }
      const sent = events.map((write, index) => JSON.parse(write(index + 1)) as Event)
      const expected = sent.map((one) => ({ ...one, args: one.args ?? null }))
      for (const listener of listeners) {
        const frames = published.get(listener.generation)!
        assertEvents(eventsIn(frames), expected)
        const reader = await Peer.connect(server(), listener.generation, storeId)
        reader.pull({ live: true })
        const pulled = await reader.settled()
        const itemsOf = (texts: readonly string[]): string =>
          texts.map((text) => /"batch":\[(.*)\],"(?:pageInfo|requestId)"/s.exec(text)![1]).join()
        assert.ok(itemsOf(pulled) === itemsOf(frames), 'a pull gets the very text that was published')
      }
    })
  }
})
