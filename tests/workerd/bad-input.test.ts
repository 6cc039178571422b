/**
 * What no client of a release sends: the answer is the reference's or a better one, the connection that sent it lives
 * on, the log stays as it was, and another connection of the store notices nothing.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import type { Outgoing } from '../harness/raw-client.ts'
import { type Server, startServer } from '../harness/server.ts'
import { lineOf } from './answers.ts'
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
  rpcGenerations,
} from './peer.ts'

let server: Server
before(async () => {
  server = await startServer()
})
after(async () => {
  await server.stop()
})

/** The events of every store here before the input comes. */
const stored = batchOf(0, 3)

/** The number of the request in each input: what an answer has to echo. */
const request = 7

interface Case {
  readonly what: string
  readonly frames: readonly Outgoing[]
  /** The answers, in order: a line of `lineOf`, whole or as a pattern. */
  readonly answers: ReadonlyArray<string | RegExp>
}

const assertAnswers = (generation: Generation, frames: readonly string[], expected: Case['answers']): void => {
  const lines = frames.map((frame) => lineOf(generation, frame))
  assert.equal(lines.length, expected.length, `answers: ${JSON.stringify(lines)}`)
  for (const [index, line] of lines.entries()) {
    const one = expected[index]!
    if (typeof one === 'string') assert.equal(line, one)
    else assert.match(line, one)
  }
}

/** One test per case, on a connection of its own; all of them share one store with a witness. */
const testCases = (generation: Generation, casesOf: (storeId: string) => readonly Case[]): void => {
  const storeId = freshStoreId()
  let witness: Peer
  before(async () => {
    witness = await Peer.connect(server, generation, storeId)
    witness.pull({ live: true })
    await witness.pushed(stored)
    await witness.settled()
  })
  after(async () => {
    // A control: the witness does notice a push that is fit to be stored.
    const pusher = await Peer.connect(server, generation, storeId)
    assert.deepEqual((await pusher.pushed(batchOf(3))).answer, pushedFrame(generation, 1))
    assertEvents(eventsIn(await witness.settled()), batchOf(3))
  })

  for (const { what, frames, answers } of casesOf(storeId)) {
    it(`${what} is answered ${answers.length === 0 ? 'with nothing' : answers.join(' and ')}`, async () => {
      const peer = await Peer.connect(server, generation, storeId)
      peer.client.send(...frames)
      assertAnswers(generation, await peer.settled(), answers)
      peer.request = 40
      const log = (await peer.pages()).flatMap((page) => page.events)
      assertEvents(log, stored)
      assert.deepEqual(await witness.settled(), [], 'another connection notices nothing')
      assert.equal((await peer.client.close()).code, 1000)
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

for (const generation of rpcGenerations) {
  describe(`${generation}: a frame`, () => {
    testCases(generation, (storeId) => {
      const id = JSON.stringify(idOf(generation, request))
      const pull = pullFrame(generation, request, storeId)
      const push = pushFrame(generation, request, storeId, batchOf(3))
      const pulled = [`Chunk ${id}: 3 events`, `Success ${id}: null`]
      const die = [new RegExp(`^Die ${id}: .`)]
      const noRequest = (tag: string): Case['answers'] => [
        generation === 'v04' ? unknown(tag) : `Die ${id}: Unknown request tag: ${tag}`,
      ]
      const noId = ['Defect: Request.id must be a string or a number']
      const event = batchOf(3)[0]!
      const pushOf = (...events: readonly object[]): object => pushFrame(generation, request, storeId, events)
      const pushWith = (over: object): object => pushOf({ ...event, ...over })
      const refused = (words: string): Case['answers'] => [new RegExp(`^UnknownError ${id}: .*${words}`)]
      const ahead = (provided: number): Case['answers'] => [`ServerAheadError ${id}: minimum 3, provided ${provided}`]

      const messages: readonly Case[] = [
        { what: 'that is no JSON', frames: ['{not json'], answers: [syntax] },
        { what: 'that is empty', frames: [''], answers: [syntax] },
        { what: 'of white space', frames: [' \n'], answers: [syntax] },
        { what: 'that ends too soon', frames: ['{"_tag":"Ping"'], answers: [syntax] },
        { what: 'that goes on after its end', frames: ['{"_tag":"Ping"}}'], answers: [syntax] },
        { what: 'of bytes that are no text', frames: [Buffer.from([0x92, 0x01, 0x02])], answers: [syntax] },
        { what: 'of text that is cut inside a letter', frames: [Buffer.from('{"é').subarray(0, 3)], answers: [syntax] },
        { what: 'null', frames: ['null'], answers: [unknown('undefined')] },
        { what: 'true', frames: ['true'], answers: [unknown('undefined')] },
        { what: 'of a number', frames: ['7'], answers: [unknown('undefined')] },
        { what: 'of a text', frames: ['"hi"'], answers: [unknown('undefined')] },
        { what: 'of an empty object', frames: ['{}'], answers: [unknown('undefined')] },
        { what: 'whose _tag is a number', frames: ['{"_tag":7}'], answers: [unknown('undefined')] },
        { what: 'whose _tag is null', frames: ['{"_tag":null}'], answers: [unknown('undefined')] },
        { what: 'with an unknown _tag', frames: ['{"_tag":"Bogus"}'], answers: [unknown('Bogus')] },
        {
          what: 'of the 0.3 generation',
          frames: ['{"_tag":"WSMessage.PullReq","requestId":"a"}'],
          answers: [unknown('WSMessage.PullReq')],
        },
        { what: 'of an empty list', frames: ['[]'], answers: [] },
        { what: 'of a list with null', frames: ['[null]'], answers: [unknown('undefined')] },
        { what: 'of a list in a list', frames: ['[[]]'], answers: [unknown('undefined')] },
        { what: 'of a list with one request', frames: [[pull]], answers: pulled },
        {
          what: 'of a list with a ping, something else and a request',
          frames: [[{ _tag: 'Ping' }, 7, pull]],
          answers: ['Pong', unknown('undefined'), ...pulled],
        },
        { what: 'Eof', frames: [{ _tag: 'Eof' }], answers: [] },
        { what: 'of a ping with spaces', frames: ['{ "_tag": "Ping" }'], answers: ['Pong'] },
        { what: 'of a ping in bytes', frames: [Buffer.from('{"_tag":"Ping"}')], answers: ['Pong'] },
        { what: 'of a request in bytes', frames: [Buffer.from(JSON.stringify(pull))], answers: pulled },
        {
          what: 'nested a million times',
          frames: ['['.repeat(1e6) + ']'.repeat(1e6)],
          answers: [unknown('undefined')],
        },
        { what: 'opened a million times', frames: ['{"a":'.repeat(1e6)], answers: [syntax] },
        { what: 'of 20 MB that is no JSON', frames: ['x'.repeat(20e6)], answers: [syntax] },
        { what: 'of 20 MB of brackets', frames: ['['.repeat(20e6)], answers: [syntax] },
        {
          what: 'of 20 MB in an unknown key',
          frames: [{ ...pull, padding: 'x'.repeat(20e6) }],
          answers: pulled,
        },
      ]

      const requests: readonly Case[] = [
        {
          what: 'with an unknown request',
          frames: [altered(pull, { tag: 'SyncWsRpc.Nope' })],
          answers: noRequest('SyncWsRpc.Nope'),
        },
        {
          what: 'with a request of another transport',
          frames: [altered(pull, { tag: 'SyncHttpRpc.Pull' })],
          answers: noRequest('SyncHttpRpc.Pull'),
        },
        {
          what: 'with a request without tag',
          frames: [altered(pull, { tag: undefined })],
          answers: noRequest('undefined'),
        },
        ...[undefined, null, true, {}, [], 'x'.repeat(200)].map((bad) => ({
          what: `with a request whose id is ${JSON.stringify(bad)?.slice(0, 20) ?? 'missing'}`,
          frames: [altered(pull, { id: bad })],
          answers: noId,
        })),
        { what: 'with a request without headers', frames: [altered(pull, { headers: undefined })], answers: pulled },
        {
          what: 'with a request whose headers are an object',
          frames: [altered(pull, { headers: { a: 'b' } })],
          answers: pulled,
        },
        { what: 'with a request without payload', frames: [altered(pull, { payload: undefined })], answers: die },
        { what: 'with a request whose payload is null', frames: [altered(pull, { payload: null })], answers: die },
        { what: 'with a request whose payload is a list', frames: [altered(pull, { payload: [] })], answers: die },
        { what: 'with a request whose payload is a text', frames: [altered(pull, { payload: 'x' })], answers: die },
        { what: 'with an inner payload of null', frames: [altered(pull, {}, { payload: null })], answers: pulled },
        {
          what: 'with an inner payload of anything',
          frames: [altered(pull, {}, { payload: [{ a: 1 }] })],
          answers: pulled,
        },
        { what: 'with unknown keys', frames: [altered(pull, { foo: 1 }, { bar: {} })], answers: pulled },
      ]

      const pulls: readonly Case[] = [
        ...['storeId', 'live', 'cursor'].map((key) => ({
          what: `with a pull without ${key}`,
          frames: [altered(pull, {}, { [key]: undefined })],
          answers: die,
        })),
        ...(
          [
            ['storeId', 7],
            ['storeId', null],
            ['live', 'yes'],
            ['live', 1],
            ['live', null],
            ['cursor', null],
            ['cursor', 3],
            ['cursor', {}],
            ['cursor', { _tag: 'Maybe' }],
            ['cursor', { _tag: 'Some' }],
            ['cursor', { _tag: 'Some', value: null }],
            ['cursor', { _tag: 'Some', value: { backendId: 'x' } }],
            ['cursor', { _tag: 'Some', value: { eventSequenceNumber: 1 } }],
            ['cursor', { _tag: 'Some', value: { backendId: 'x', eventSequenceNumber: 1.5 } }],
            ['cursor', { _tag: 'Some', value: { backendId: 'x', eventSequenceNumber: '1' } }],
            ['cursor', { _tag: 'Some', value: { backendId: 7, eventSequenceNumber: 1 } }],
          ] as const
        ).map(([key, value]) => ({
          what: `with a pull whose ${key} is ${JSON.stringify(value)}`,
          frames: [altered(pull, {}, { [key]: value })],
          answers: die,
        })),
        {
          what: 'with a pull whose cursor is nested a million times',
          frames: [JSON.stringify(pull).replace('{"_tag":"None"}', '['.repeat(1e6) + ']'.repeat(1e6))],
          answers: die,
        },
        {
          what: 'with a pull of another store',
          frames: [altered(pull, {}, { storeId: 'another' })],
          answers: refused('storeId'),
        },
        {
          what: 'with a pull of another lifetime of the log',
          frames: [pullFrame(generation, request, storeId, { backendId: 'another', after: 1 })],
          answers: [`BackendIdMismatchError ${id}: received another`],
        },
      ]

      const pushes: readonly Case[] = [
        ...['storeId', 'batch', 'backendId'].map((key) => ({
          what: `with a push without ${key}`,
          frames: [altered(push, {}, { [key]: undefined })],
          answers: die,
        })),
        ...['name', 'seqNum', 'parentSeqNum', 'clientId', 'sessionId'].map((key) => ({
          what: `with an event without ${key}`,
          frames: [pushWith({ [key]: undefined })],
          answers: die,
        })),
        ...(
          [
            ['batch', {}],
            ['batch', 'x'],
            ['batch', [7]],
            ['batch', [null]],
            ['batch', [[]]],
            ['backendId', 'x'],
            ['backendId', { _tag: 'Some', value: 7 }],
          ] as const
        ).map(([key, value]) => ({
          what: `with a push whose ${key} is ${JSON.stringify(value)}`,
          frames: [altered(push, {}, { [key]: value })],
          answers: die,
        })),
        ...(
          [
            ['name', 7],
            ['name', null],
            ['seqNum', '4'],
            ['seqNum', 4.5],
            ['seqNum', null],
            ['parentSeqNum', {}],
            ['clientId', 7],
            ['sessionId', []],
          ] as const
        ).map(([key, value]) => ({
          what: `with an event whose ${key} is ${JSON.stringify(value)}`,
          frames: [pushWith({ [key]: value })],
          answers: die,
        })),
        { what: 'with a push of no event', frames: [pushOf()], answers: [`Success ${id}: {}`] },
        {
          what: 'with a push of no event to another store',
          frames: [altered(pushOf(), {}, { storeId: 'another' })],
          answers: refused('storeId'),
        },
        {
          what: 'with a push to another store',
          frames: [altered(push, {}, { storeId: 'another' })],
          answers: refused('storeId'),
        },
        {
          what: 'with a push to another lifetime of the log, onto a stale head',
          frames: [pushFrame(generation, request, storeId, batchOf(1, 1, 'stale'), 'another')],
          answers: [`BackendIdMismatchError ${id}: received another`],
        },
        { what: 'with a gap after the head', frames: [pushWith({ seqNum: 9 })], answers: refused('seqNum is 9') },
        { what: 'with a push onto a stale head', frames: [pushOf(...batchOf(1, 1, 'stale'))], answers: ahead(1) },
        { what: 'with a push onto the root', frames: [pushOf(...batchOf(0, 1, 'stale'))], answers: ahead(0) },
        { what: 'with a push onto a head to come', frames: [pushOf(...batchOf(9))], answers: ahead(9) },
        {
          what: 'with a push onto the largest head there can be',
          frames: [pushOf(...batchOf(Number.MAX_SAFE_INTEGER - 1))],
          answers: ahead(Number.MAX_SAFE_INTEGER - 1),
        },
        {
          what: 'with a push that repeats a stored event and goes on from another',
          frames: [pushOf(...batchOf(1), ...batchOf(2, 2, 'other'))],
          answers: ahead(1),
        },
        {
          what: 'with a gap in a batch',
          frames: [pushOf(...batchOf(3), ...batchOf(5))],
          answers: refused('batch\\[1\\]'),
        },
        { what: 'with one number twice in a batch', frames: [pushOf(event, event)], answers: refused('batch\\[1\\]') },
        {
          what: 'with a batch in reverse',
          frames: [pushOf(...[...batchOf(3, 3)].reverse())],
          answers: refused('batch\\[1\\]'),
        },
        {
          what: 'with an event that is its own parent',
          frames: [pushWith({ parentSeqNum: 4 })],
          answers: refused('batch\\[0\\]'),
        },
        ...[-1, 0, -4e15, 2 ** 53, 1e300].map((seqNum) => ({
          what: `with an event number ${seqNum}`,
          frames: [pushWith({ seqNum })],
          answers: refused('batch\\[0\\]\\.seqNum'),
        })),
        ...[-1, 2 ** 53, 1e300].map((parentSeqNum) => ({
          what: `with a parent number ${parentSeqNum}`,
          frames: [pushWith({ parentSeqNum })],
          answers: refused('batch\\[0\\]\\.parentSeqNum'),
        })),
        {
          what: 'with an event number beyond every number',
          frames: [JSON.stringify(pushWith({ seqNum: 'HUGE' })).replace('"HUGE"', '1e999')],
          answers: refused('batch\\[0\\]\\.seqNum'),
        },
        {
          what: 'with a name of 5,000 bytes',
          frames: [pushWith({ name: 'n'.repeat(5_000) })],
          answers: refused('batch\\[0\\]\\.name'),
        },
        ...['clientId', 'sessionId'].map((key) => ({
          what: `with a ${key} of 2,000 bytes`,
          frames: [pushWith({ [key]: 'c'.repeat(2_000) })],
          answers: refused(`batch\\[0\\]\\.${key}`),
        })),
        {
          what: 'with a name that is no Unicode text',
          frames: [JSON.stringify(pushWith({ name: 'LONE' })).replace('LONE', '\\ud800')],
          answers: die,
        },
        {
          what: 'with an event of 20 MB',
          frames: [pushWith({ args: 'x'.repeat(20e6) })],
          answers: refused('MAX_EVENT_BYTES'),
        },
        {
          what: 'with 20,000 events',
          frames: [pushOf(...batchOf(3, 20_000))],
          answers: refused('MAX_BATCH_EVENTS'),
        },
      ]

      const others: readonly Case[] = [
        ...[undefined, null, {}, []].map((bad) => ({
          what: `Ack with the id ${JSON.stringify(bad) ?? 'missing'}`,
          frames: [{ _tag: 'Ack', requestId: bad }],
          answers: [],
        })),
        ...[undefined, null, {}, []].map((bad) => ({
          what: `Interrupt with the id ${JSON.stringify(bad) ?? 'missing'}`,
          frames: [{ _tag: 'Interrupt', requestId: bad }],
          answers: [],
        })),
        { what: 'Ack of an id that is no number', frames: [{ _tag: 'Ack', requestId: 'zz' }], answers: [] },
        {
          what: 'Ack of a request to come',
          frames: [pull, { _tag: 'Ack', requestId: idOf(generation, 999) }],
          answers: pulled,
        },
        {
          what: 'Ack of a pull that is over, more often than it had pages',
          frames: [pull, ...Array.from({ length: 5 }, () => ({ _tag: 'Ack', requestId: idOf(generation, request) }))],
          answers: pulled,
        },
        {
          what: 'Interrupt of a request that there never was',
          frames: [{ _tag: 'Interrupt', requestId: idOf(generation, 999) }],
          answers: [`Interrupted ${JSON.stringify(idOf(generation, 999))}`],
        },
      ]
      return [...messages, ...requests, ...pulls, ...pushes, ...others]
    })

    it('of 100,000 things that are no messages is not answered with 100,000 frames', async () => {
      const peer = await Peer.connect(server, generation, freshStoreId())
      peer.client.send(`[${'0,'.repeat(99_999)}0]`)
      // A closed connection is an answer, too.
      await peer.settled().catch((error: unknown) => {
        if (peer.client.ended === undefined) throw error
      })
      assert.ok(peer.client.frames.length <= 1_000, `${peer.client.frames.length} answers`)
    })
  })

  describe(`${generation}: requests of one connection`, () => {
    it('with the number of an earlier live pull takes its place', async () => {
      const peer = await Peer.connect(server, generation, freshStoreId())
      peer.pull({ live: true })
      peer.request = 1
      peer.pull({ live: true })
      assert.equal((await peer.settled()).length, 2)
      const { frames } = await peer.pushed(batchOf(0))
      assert.equal(frames.length, 1)
    })

    it('may have their numbers in any order: an Ack of a lower one is known, too', async () => {
      const peer = await Peer.connect(server, generation, freshStoreId())
      for (const number of [5, 4]) {
        peer.request = number
        peer.pull()
        assert.equal((await peer.settled()).length, 2)
        peer.ack(number)
      }
      assert.deepEqual(await peer.settled(), [])
    })

    it('are answered under the very id they have', async () => {
      const ids: readonly unknown[] =
        generation === 'v04'
          ? ['abc', '-4', '0x10', '', '123456789012345678901234567890', 'é"\\']
          : [0, -4, 1.5, 1e21, 9007199254740993]
      const storeId = freshStoreId()
      for (const id of ids) {
        const peer = await Peer.connect(server, generation, storeId)
        peer.client.send(altered(pullFrame(generation, 1, storeId), { id }))
        assertAnswers(generation, await peer.settled(), [
          `Chunk ${JSON.stringify(id)}: 0 events`,
          `Success ${JSON.stringify(id)}: null`,
        ])
        peer.client.terminate()
      }
    })

    it('interrupts of a push that is under way undo nothing', async () => {
      const peer = await Peer.connect(server, generation, freshStoreId())
      peer.push(batchOf(0, 2))
      peer.interrupt(1)
      const id = JSON.stringify(idOf(generation, 1))
      assertAnswers(generation, await peer.settled(), [`Success ${id}: {}`, `Interrupted ${id}`])
      assertEvents(await logOf(server, peer.storeId), batchOf(0, 2))
    })

    it('that are exactly a push already stored are acknowledged and stored once', async () => {
      const peer = await Peer.connect(server, generation, freshStoreId())
      peer.pull({ live: true })
      await peer.settled()
      await peer.pushed(batchOf(0, 3))
      assert.deepEqual(await peer.pushed(batchOf(0, 3)), { frames: [], answer: pushedFrame(generation, 3) })
      const longer = await peer.pushed(batchOf(1, 4))
      assert.deepEqual(longer.answer, pushedFrame(generation, 4))
      assertEvents(eventsIn(longer.frames), batchOf(3, 2))
      assertEvents(await logOf(server, peer.storeId), batchOf(0, 5))
    })
  })
}

describe('v03: a frame', () => {
  testCases('v03', () => {
    const id = '"request-7"'
    const pull = pullFrame('v03', request, '')
    const pushOf = (...events: readonly unknown[]): object => pushFrame('v03', request, '', events)
    const event = batchOf(3)[0]!
    const refused = (words: string): Case['answers'] => [new RegExp(`^Error ${id}: .*${words}`)]
    const stale = (received: number): Case['answers'] => [
      `Error ${id}: Invalid parent event number. Received e${received} but expected e3`,
    ]
    const admin = (tag: string): object => ({ _tag: tag, requestId: 'request-7', adminSecret: 'guess' })
    const ignored = { answers: [] }
    const cases: readonly Case[] = [
      { what: 'that is no JSON', frames: ['{oops'], ...ignored },
      { what: 'that is empty', frames: [''], ...ignored },
      { what: 'of bytes that are no text', frames: [Buffer.from([0x92, 0x01, 0x02])], ...ignored },
      ...['null', 'true', '7', '"hi"', '{}', '[]', '[null]'].map((frame) => ({
        what: frame,
        frames: [frame],
        ...ignored,
      })),
      { what: 'with an unknown _tag', frames: ['{"_tag":"WSMessage.Nope","requestId":"z"}'], ...ignored },
      { what: 'of a tag of the backend', frames: ['{"_tag":"WSMessage.PushAck","requestId":"z"}'], ...ignored },
      { what: 'of a later generation', frames: [pullFrame('v04', request, '')], ...ignored },
      { what: 'of a ping of a later generation', frames: ['{ "_tag": "Ping" }'], ...ignored },
      { what: 'of a ping with another id', frames: ['{"_tag":"WSMessage.Ping","requestId":"x"}'], ...ignored },
      {
        what: 'of a ping with its keys the other way round',
        frames: ['{"requestId":"ping","_tag":"WSMessage.Ping"}'],
        answers: ['WSMessage.Pong "ping"'],
      },
      { what: 'with a pull without id', frames: [{ _tag: 'WSMessage.PullReq' }], ...ignored },
      { what: 'with a pull whose id is a number', frames: [{ ...pull, requestId: 1 }], ...ignored },
      { what: 'with a pull whose cursor is null', frames: [{ ...pull, cursor: null }], ...ignored },
      { what: 'with a pull whose cursor is a text', frames: [{ ...pull, cursor: '1' }], ...ignored },
      {
        what: 'with a pull whose cursor is a fraction',
        frames: [{ ...pull, cursor: 1.5 }],
        answers: ['PullRes: 2 events'],
      },
      {
        what: 'with a pull whose cursor is negative',
        frames: [{ ...pull, cursor: -1 }],
        answers: ['PullRes: 3 events'],
      },
      {
        what: 'with a pull whose cursor is beyond the head',
        frames: [{ ...pull, cursor: 99 }],
        answers: ['PullRes: 0 events'],
      },
      { what: 'with a push without batch', frames: [{ ...pull, _tag: 'WSMessage.PushReq' }], ...ignored },
      { what: 'with a push of no event', frames: [pushOf()], answers: [`WSMessage.PushAck ${id}`] },
      { what: 'with an event without most keys', frames: [pushOf({ name: 'x' })], ...ignored },
      { what: 'with an event whose number is a text', frames: [pushOf({ ...event, seqNum: '4' })], ...ignored },
      { what: 'with a push onto a stale head', frames: [pushOf(...batchOf(1, 1, 'stale'))], answers: stale(1) },
      { what: 'with a push onto a head to come', frames: [pushOf(...batchOf(9))], answers: stale(9) },
      {
        what: 'with a gap in a batch',
        frames: [pushOf(...batchOf(3), ...batchOf(5))],
        answers: refused('batch\\[1\\]'),
      },
      { what: 'with a number twice in a batch', frames: [pushOf(event, event)], answers: refused('batch\\[1\\]') },
      { what: 'with a negative number', frames: [pushOf({ ...event, seqNum: -1 })], answers: refused('seqNum is -1') },
      {
        what: 'with an event of 20 MB',
        frames: [pushOf({ ...event, args: 'x'.repeat(20e6) })],
        answers: refused('MAX_EVENT_BYTES'),
      },
      ...['WSMessage.AdminInfoReq', 'WSMessage.AdminResetRoomReq'].map((tag) => ({
        what: tag,
        frames: [admin(tag)],
        answers: [`Error ${id}: Invalid admin secret`],
      })),
      { what: 'nested a million times', frames: ['['.repeat(1e6) + ']'.repeat(1e6)], ...ignored },
      { what: 'of 20 MB that is no JSON', frames: ['x'.repeat(20e6)], ...ignored },
    ]
    return cases
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
      const pusher = await Peer.connect(server, generation, storeId)
      const listeners = await Promise.all(generations.map((one) => Peer.connect(server, one, storeId)))
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
        const reader = await Peer.connect(server, listener.generation, storeId)
        reader.pull({ live: true })
        const pulled = await reader.settled()
        const itemsOf = (texts: readonly string[]): string =>
          texts.map((text) => /"batch":\[(.*)\],"(?:pageInfo|requestId)"/s.exec(text)![1]).join()
        assert.ok(itemsOf(pulled) === itemsOf(frames), 'a pull gets the very text that was published')
      }
    })
  }
})
