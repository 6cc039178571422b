/**
 * Hooks of an app: what they are shown, what their errors do, and that one that waits holds up nobody but its own request.
 *
 * The Worker is that of `tests/hooks`, whose hooks ask this process and return what it answers, when it answers.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import type { DoRpcGeneration } from '../clients/do-rpc/remote-object.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { type ConnectOptions, targetOf } from '../harness/raw-client.ts'
import { authToken, root, type Server, startServer } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import { adminSecret, disconnect, reset, stateOf } from './administration.ts'
import { lineOf } from './answers.ts'
import { logTableOf } from './database.ts'
import { type Hook, HookListener } from './hook-listener.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { call } from './over-do-rpc.ts'
import { framesIn, post } from './over-http.ts'
import {
  assertEvents,
  eventsIn,
  fill,
  type Generation,
  generations,
  interruptedFrame,
  logOf,
  type PullOptions,
  pageIn,
  pagesIn,
  Peer,
  pullFrame,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'
import { hs256, secret } from './tokens.ts'
import { allWays, assertLater, isStored, pushBy } from './ways.ts'

let listener: HookListener
const server = serverOf(async () => {
  listener = await HookListener.start()
  const { vars, ...options } = listener.options([
    'validate_payload',
    'on_push',
    'on_push_res',
    'on_pull',
    'on_pull_res',
  ])
  const more = { JWT_SECRET: secret, ADMIN_SECRET: adminSecret }
  return { ...options, doRpcClients: true, inspect: true, vars: { ...vars, ...more } }
})
after(() => listener.stop())

const connect = (generation: Generation, storeId: string, options?: Partial<ConnectOptions>): Promise<Peer> =>
  Peer.connect(server(), generation, storeId, options)

/** A peer whose live pull has everything. */
const connectLive = async (generation: Generation, storeId: string): Promise<Peer> => {
  const peer = await connect(generation, storeId)
  peer.pull({ live: true })
  // The hooks are asked before and after a page, so it is not there when a push of no event is answered.
  await peer.client.upTo('the pull has its last page', (frame) => pageIn(frame)?.remaining === 0)
  return peer
}

/** The frames up to the answer to a request, and that answer as a line. */
const answered = async (
  peer: Peer,
  request: number,
): Promise<{ readonly frames: readonly string[]; readonly line: string }> => {
  const isAnswer = (frame: string): boolean => {
    const { _tag, requestId } = JSON.parse(frame) as { readonly _tag: string; readonly requestId: unknown }
    const isEnd = /^(Exit|WSMessage\.PushAck|WSMessage\.Error)$/.test(_tag)
    return isEnd && Number(/\d+$/.exec(String(requestId))?.[0]) === request
  }
  const frames = await peer.client.upTo(`request ${request} is answered`, isAnswer)
  return { frames: frames.slice(0, -1), line: lineOf(peer.generation, frames.at(-1)!) }
}

const id = (generation: Generation, request: number): string =>
  generation === 'v03' ? `"request-${request}"` : generation === 'v04' ? `"${request}"` : String(request)

/** The line of a refusal by a hook. */
const refusal = (generation: Generation, request: number, text: string): string =>
  `${generation === 'v03' ? 'Error' : 'UnknownError'} ${id(generation, request)}: ${text}`

/** The line of a push that is stored. */
const stored = (generation: Generation, request: number): string =>
  generation === 'v03' ? `WSMessage.PushAck ${id(generation, request)}` : `Success ${id(generation, request)}: {}`

/** What a hook is shown of a frame with a page: in Rust the frame, in JavaScript the same of all dialects. */
const shownPage = (frame: string): object => {
  const message = JSON.parse(frame) as { values?: readonly object[]; batch?: object; remaining?: number }
  if (HookListener.language === 'rust') return message
  const [value] = message.values ?? []
  const { batch, remaining } = message
  const pageInfo = remaining ? { _tag: 'MoreKnown', remaining } : { _tag: 'NoMore' }
  return value ?? { batch, pageInfo, backendId: '' }
}

/** The page that a hook was shown. */
const pageOf = (seen: object) =>
  pageIn(JSON.stringify(HookListener.language === 'rust' ? seen : { _tag: 'Chunk', requestId: 0, values: [seen] }))!

/** The frames that answer these requests over HTTP. */
const overHttp = async (
  storeId: string,
  frames: object | readonly object[],
  headers: Readonly<Record<string, string>> = {},
  payload: unknown = { authToken },
): Promise<readonly string[]> => framesIn(await post(server(), storeId, frames, payload, headers))

/** The frames that answer a request by a call of a Durable Object. */
const overDoRpc = (generation: Generation, storeId: string, frame: object): Promise<readonly string[]> =>
  call(server(), generation as DoRpcGeneration, storeId, frame)

const linesOfAnswer = (generation: Generation, frames: readonly string[]): readonly string[] =>
  frames.map((frame) => lineOf(generation, frame))

/** Messages of the lines that were logged about hooks. */
const hookErrors = async (storeId: string, from = server()): Promise<readonly (string | undefined)[]> =>
  (await linesOf(from, storeId)).filter((line) => line.event === 'hook-error').map((line) => line.message)

describe('what hooks are shown', () => {
  const claims = { sub: 'ada', role: 'editor', name: 'Ada \u{1f98a}' }
  const headers = { 'X-App-Version': '4.2', 'X-Device': 'a "phone"', 'X-Other': 'unasked' }
  const forwarded = [
    ['x-app-version', '4.2'],
    ['x-device', 'a "phone"'],
  ]
  const shown = (hook: Hook, storeId: string): unknown => {
    const [call, ...more] = listener.of(hook, storeId)
    assert.deepEqual(more, [], `${hook} was called once`)
    const { atMs: _, seen: __, ...known } = call!
    return known
  }

  for (const generation of generations) {
    it(`over a ${generation} socket: claims, forwarded headers, store, transport and dialect, in every hook`, async () => {
      const storeId = freshStoreId()
      const payload = { authToken: hs256(claims), theme: 'dark' }
      const peer = await connect(generation, storeId, { payload, headers })
      const pull = peer.pull()
      const [page] = await peer.client.take(generation === 'v03' ? 1 : 2)
      const backendId = pageIn(page!)?.backendId
      const push = peer.push(batchOf(0, 2), backendId)
      assert.equal((await answered(peer, push)).line, stored(generation, push))

      const facts = { storeId, claims, headers: forwarded, transport: 'ws' }
      for (const hook of ['on_pull', 'on_push', 'on_push_res'] as const) {
        assert.deepEqual(shown(hook, storeId), { hook, ...facts, generation: generation.toUpperCase() })
      }
      const opening = { hook: 'validate_payload', ...facts, generation: null }
      assert.deepEqual(shown('validate_payload', storeId), opening)
      assert.deepEqual(listener.of('validate_payload', storeId)[0]!.seen, payload)
      const named = backendId ?? null
      assert.deepEqual(listener.of('on_push', storeId)[0]!.seen, { batch: batchOf(0, 2), backendId: named })
      assert.deepEqual(listener.of('on_pull', storeId)[0]!.seen, {
        after: 0,
        backendId: null,
        live: generation === 'v03',
      })
      assert.deepEqual(listener.of('on_pull_res', storeId)[0]!.seen, shownPage(page!))
      assert.equal(pull, 1)
    })
  }

  for (const generation of rpcGenerations) {
    it(`over HTTP in ${generation}: the same`, async () => {
      const storeId = freshStoreId()
      const payload = { authToken: hs256(claims) }
      const push = pushFrame(generation, 1, storeId, batchOf(0))
      const answer = await overHttp(storeId, push, headers, payload)
      assert.deepEqual(linesOfAnswer(generation, answer), [stored(generation, 1)])
      const facts = { storeId, claims, headers: forwarded, transport: 'http', generation: generation.toUpperCase() }
      for (const hook of ['on_push', 'on_push_res'] as const) {
        assert.deepEqual(shown(hook, storeId), { hook, ...facts })
      }
      await overHttp(storeId, pullFrame(generation, 2, storeId), headers, payload)
      for (const hook of ['on_pull', 'on_pull_res'] as const) {
        assert.deepEqual(shown(hook, storeId), { hook, ...facts })
      }
    })

    it(`in a call of another object in ${generation}: what there is, which is no claims and no headers`, async () => {
      const storeId = freshStoreId()
      const answer = await overDoRpc(generation, storeId, pushFrame(generation, 1, storeId, batchOf(0)))
      assert.deepEqual(linesOfAnswer(generation, answer), [stored(generation, 1)])
      const generationName = generation.toUpperCase()
      const facts = { storeId, claims: null, headers: [], transport: 'do-rpc', generation: generationName }
      for (const hook of ['on_push', 'on_push_res'] as const) {
        assert.deepEqual(shown(hook, storeId), { hook, ...facts })
      }
      assertEvents(listener.of('on_push', storeId)[0]!.seen.batch, batchOf(0))
      assert.deepEqual(listener.of('validate_payload', storeId), [])
    })
  }

  it('nothing of a request that is refused before, and nothing of a push without events', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v04', storeId)
    const foreign = peer.request++
    peer.client.send(pushFrame('v04', foreign, `${storeId}-of-others`, batchOf(0)))
    assert.match((await answered(peer, foreign)).line, /payload.storeId is not the store/)
    const empty = peer.push([])
    assert.equal((await answered(peer, empty)).line, stored('v04', empty))
    assert.deepEqual(listener.of('on_push', storeId), [])
    assert.deepEqual(listener.of('on_push_res', storeId), [])
  })

  it('where a pull starts and whether it is live', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3)
    const peer = await connect('v05', storeId)
    const backendId = (await peer.pages())[0]!.backendId!
    const request = peer.pull({ live: true, after: 2, backendId })
    assertEvents(eventsIn([await peer.client.next()]), batchOf(2))
    peer.interrupt(request)
    const pulls = listener.of('on_pull', storeId).map(({ seen }) => seen)
    assert.deepEqual(pulls, [
      { after: 0, backendId: null, live: false },
      { after: 2, backendId, live: true },
    ])
  })
})

describe('validate_payload', () => {
  const doors = [
    { generation: 'v03', options: { path: '/websocket', transport: undefined }, tag: 'LiveStore.UnexpectedError' },
    { generation: 'v04', options: { transport: 'ws' }, tag: 'UnknownError' },
    { generation: 'http', options: { transport: 'http' }, tag: 'UnknownError' },
  ]
  for (const { generation, options, tag } of doors) {
    it(`that refuses answers ${generation} 400 in its words, and the object never hears of it`, async () => {
      const storeId = freshStoreId()
      listener.answer('validate_payload', storeId, () => 'this app is too old')
      const payload = { authToken, version: 1 }
      const target = targetOf({ storeId, payload, ...options })
      const isHttp = generation === 'http'
      const answer = await knock(
        server(),
        isHttp ? { method: 'POST', target, body: '[]' } : { target, upgrade: 'websocket' },
      )
      assert.equal(answer.status, 400)
      const words = `${tag}: { "cause": Error: this app is too old, "note": undefined, "payload": undefined }`
      assert.equal(answer.body, words)
      assert.deepEqual(listener.of('validate_payload', storeId)[0]!.seen, payload)
      const lines = await linesOf(server(), storeId)
      assert.ok(
        lines.every(({ event, reason }) => event === 'refused' && reason === 'hook'),
        JSON.stringify(lines),
      )
    })
  }

  it('is not asked about those whom the policy does not let in', async () => {
    const storeId = freshStoreId()
    const target = targetOf({ storeId, payload: { authToken: 'wrong' } })
    assert.equal((await knock(server(), { target, upgrade: 'websocket' })).status, 400)
    assert.deepEqual(listener.of('validate_payload', storeId), [])
  })
})

describe('on_push', () => {
  for (const generation of generations) {
    it(`that refuses tells its ${generation} client the text and nothing else, and no other anything`, async () => {
      const storeId = freshStoreId()
      const peer = await connectLive(generation, storeId)
      const others = await Promise.all(generations.map((other) => connectLive(other, storeId)))
      listener.answer('on_push', storeId, () => 'editors only')
      const push = peer.push(batchOf(0))
      const { frames, line } = await answered(peer, push)
      assert.equal(line, refusal(generation, push, 'editors only'))
      assert.deepEqual(frames, [])
      for (const other of [peer, ...others]) assert.deepEqual(await other.settled(), [])
      assert.deepEqual(await logOf(server(), storeId), [])
      assert.deepEqual(listener.of('on_push_res', storeId), [])

      listener.answer('on_push', storeId, () => '')
      const again = peer.push(batchOf(0))
      assert.equal((await answered(peer, again)).line, stored(generation, again), 'the connection goes on')
      assert.deepEqual(await hookErrors(storeId), ['editors only'])
    })

    it(`that refuses without waiting does the same in ${generation}`, async () => {
      const storeId = freshStoreId()
      const peer = await connect(generation, storeId)
      const refused = batchOf(0).map((event) => ({ ...event, name: 'v1.Refused', args: { secret: 'of the user' } }))
      const push = peer.push(refused)
      assert.equal((await answered(peer, push)).line, refusal(generation, push, 'refused at once'))
      assert.deepEqual(await logOf(server(), storeId), [])
      assert.ok(!JSON.stringify(await linesOf(server(), storeId)).includes('of the user'), 'no line holds args')
    })

    it(`that waits delays its own ${generation} push alone, which is then decided against the new head`, async () => {
      const storeId = freshStoreId()
      const peer = await connectLive(generation, storeId)
      const other = await connectLive('v04', storeId)
      const held = listener.hold('on_push', storeId)
      const slow = peer.push(batchOf(0, 1, 'slow'))
      await held.waits

      const [theirs, own] = [batchOf(0, 2, 'fast'), batchOf(2, 1, 'fast')]
      const first = other.push(theirs)
      assert.equal((await answered(other, first)).line, stored('v04', first), 'another connection pushes')
      const second = peer.push(own)
      const meanwhile = await answered(peer, second)
      assert.equal(meanwhile.line, stored(generation, second), 'the same connection pushes')
      const late = await connect(generation, storeId)
      assertEvents(
        (await late.pages()).flatMap((page) => page.events),
        [...theirs, ...own],
      )

      held.release()
      const { frames, line } = await answered(peer, slow)
      const [, kind] = /^(Error "request-\d+": .*|ServerAheadError [^:]*: minimum 3, provided 0)$/.exec(line) ?? []
      assert.ok(kind !== undefined, line)
      // Broadcasts of 0.3 follow the acknowledgement.
      assertEvents(eventsIn([...meanwhile.frames, ...frames]), [...theirs, ...own])
      assertEvents(eventsIn(await other.settled()), own)
      assertEvents(await logOf(server(), storeId), [...theirs, ...own])
    })
  }

  it('that returns at once is obeyed before what follows in one frame, and what comes of it stays in order', async () => {
    await withServer(listener.options(['on_push']), async (own) => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(own, 'v05', storeId)
      peer.pull({ live: true })
      await peer.settled()
      const named = (name: string): readonly Event[] => batchOf(0).map((event) => ({ ...event, name }))
      peer.client.send([
        pushFrame('v05', 11, storeId, named('v1.Refused')),
        pushFrame('v05', 12, storeId, named('v1.LetIn')),
        pushFrame('v05', 13, storeId, []),
      ])
      const lines: string[] = []
      while (lines.length < 4) lines.push(lineOf('v05', await peer.client.next()))
      assert.deepEqual(lines, [
        refusal('v05', 11, 'refused at once'),
        'Chunk 1: 1 events',
        stored('v05', 12),
        stored('v05', 13),
      ])
    })
  })

  it('that waits for a push that still fits lets it in', async () => {
    const storeId = freshStoreId()
    const [peer, other] = [await connect('v04', storeId), await connectLive('v05', storeId)]
    const held = listener.hold('on_push', storeId)
    const push = peer.push(batchOf(0, 3))
    await held.waits
    assert.deepEqual(await other.settled(), [], 'nobody is sent an event that is not stored')
    assert.deepEqual(await logOf(server(), storeId), [])
    held.release()
    assert.equal((await answered(peer, push)).line, stored('v04', push))
    assertEvents(eventsIn(await other.settled()), batchOf(0, 3))
  })

  it('that waits for a client that has left stores nothing, and the one that took its place gets no answer of it', async () => {
    const storeId = freshStoreId()
    const [leaving, staying] = [await connect('v04', storeId), await connectLive('v04', storeId)]
    const held = listener.hold('on_push', storeId)
    leaving.push(batchOf(0, 1, 'left'))
    await held.waits
    leaving.client.terminate()
    await eventually('the object knows that the client has left', async () =>
      (await linesOf(server(), storeId)).some((line) => line.event === 'disconnected'),
    )
    const next = await connect('v04', storeId)
    held.release()
    const push = next.push(batchOf(0, 1, 'next'))
    const { frames, line } = await answered(next, push)
    assert.deepEqual([frames, line], [[], stored('v04', push)])
    assertEvents(eventsIn(await staying.settled()), batchOf(0, 1, 'next'))
    assertEvents(await logOf(server(), storeId), batchOf(0, 1, 'next'))
  })

  for (const generation of rpcGenerations) {
    it(`that waits for a push which its ${generation} client interrupts is of no consequence any more`, async () => {
      const storeId = freshStoreId()
      const peer = await connect(generation, storeId)
      const held = listener.hold('on_push', storeId)
      const push = peer.push(batchOf(0, 1, 'interrupted'))
      await held.waits
      peer.interrupt(push)
      assert.deepEqual(JSON.parse(await peer.client.next()), interruptedFrame(generation, push))
      held.release('too late')
      const again = peer.push(batchOf(0, 1, 'again'))
      const { frames, line } = await answered(peer, again)
      assert.deepEqual([frames, line], [[], stored(generation, again)])
      assertEvents(await logOf(server(), storeId), batchOf(0, 1, 'again'))
    })
  }

  it('that refuses a push over HTTP or DO-RPC tells its text alone', async () => {
    for (const generation of rpcGenerations) {
      const storeId = freshStoreId()
      listener.answer('on_push', storeId, () => 'editors only')
      const push = pushFrame(generation, 1, storeId, batchOf(0))
      const expected = [refusal(generation, 1, 'editors only')]
      assert.deepEqual(linesOfAnswer(generation, await overHttp(storeId, push)), expected)
      assert.deepEqual(linesOfAnswer(generation, await overDoRpc(generation, storeId, push)), expected)
      assert.deepEqual(await logOf(server(), storeId), [])
    }
  })
})

describe('a push that waits for its hook while storage fails', () => {
  const later = {
    words: 'the backend could not store the events; nothing was stored',
    reason: 'storage failed: try again later',
  }

  for (const way of allWays) {
    const { generation, transport } = way
    it(`is refused as any other would be, and ${generation} pushes it again over ${transport}`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 1)
      const held = listener.hold('on_push', storeId)
      const line = pushBy(server(), way, storeId, batchOf(1))
      await held.waits
      await server().sql(storeId, `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN args TO hidden`)
      held.release()
      assertLater(way, await line, later)
      await server().sql(storeId, `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN hidden TO args`)
      assert.ok(isStored(await pushBy(server(), way, storeId, batchOf(1))))
    })
  }
})

describe('on_push_res', () => {
  for (const generation of generations) {
    it(`that fails is told to its ${generation} client though the push is stored, and the next try is acknowledged`, async () => {
      const storeId = freshStoreId()
      const [peer, other] = [await connect(generation, storeId), await connectLive('v04', storeId)]
      listener.answer('on_push_res', storeId, () => 'the index is down')
      const push = peer.push(batchOf(0))
      assert.equal((await answered(peer, push)).line, refusal(generation, push, 'the index is down'))
      assertEvents(eventsIn(await other.settled()), batchOf(0))

      listener.answer('on_push_res', storeId, () => '')
      const again = peer.push(batchOf(0))
      assert.equal((await answered(peer, again)).line, stored(generation, again))
      assert.equal(listener.of('on_push_res', storeId).length, 2, 'the repetition was shown as well')
      assertEvents(await logOf(server(), storeId), batchOf(0))
      assert.deepEqual(await other.settled(), [], 'nobody is sent an event twice')
      assert.deepEqual(await hookErrors(storeId), ['the index is down'])
    })
  }

  it('that waits holds back the acknowledgement of its push and nothing else', async () => {
    const storeId = freshStoreId()
    const [peer, other] = [await connectLive('v04', storeId), await connectLive('v05', storeId)]
    const held = listener.hold('on_push_res', storeId)
    const push = peer.push(batchOf(0))
    await held.waits
    assertEvents(eventsIn(await other.settled()), batchOf(0))
    assertEvents(eventsIn(await peer.settled()), batchOf(0))
    const next = other.push(batchOf(1))
    assert.equal((await answered(other, next)).line, stored('v05', next))
    held.release()
    const { frames, line } = await answered(peer, push)
    assert.equal(line, stored('v04', push))
    assertEvents(eventsIn(frames), batchOf(1))
  })

  it('that waits for a client that has left answers nobody', async () => {
    const storeId = freshStoreId()
    const leaving = await connect('v04', storeId)
    const held = listener.hold('on_push_res', storeId)
    leaving.push(batchOf(0))
    await held.waits
    leaving.client.terminate()
    await eventually('the object knows that the client has left', async () =>
      (await linesOf(server(), storeId)).some((line) => line.event === 'disconnected'),
    )
    const next = await connect('v04', storeId)
    held.release('too late')
    await eventually('the error is logged', async () => (await hookErrors(storeId)).length === 1)
    const push = next.push(batchOf(1))
    const { frames, line } = await answered(next, push)
    assert.deepEqual([frames, line], [[], stored('v04', push)])
  })
})

describe('on_pull', () => {
  const pulls: ReadonlyArray<{ readonly generation: Generation; readonly options: PullOptions }> = [
    { generation: 'v03', options: {} },
    ...rpcGenerations.flatMap((generation) => [true, false].map((live) => ({ generation, options: { live } }))),
  ]
  for (const { generation, options } of pulls) {
    it(`that refuses ends a ${generation} pull ${JSON.stringify(options)} before its first page`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3)
      const peer = await connect(generation, storeId)
      listener.answer('on_pull', storeId, () => 'members only')
      const pull = peer.pull(options)
      const { frames, line } = await answered(peer, pull)
      assert.deepEqual([frames, line], [[], refusal(generation, pull, 'members only')])
      const other = await connect('v04', storeId)
      const push = other.push(batchOf(3))
      await answered(other, push)
      // 0.3 sockets are sent what is pushed whether they pull or not.
      assertEvents(eventsIn(await peer.settled()), generation === 'v03' ? batchOf(3) : [])
    })
  }

  for (const generation of rpcGenerations) {
    it(`that refuses over HTTP or DO-RPC in ${generation} leaves its failure alone`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3)
      listener.answer('on_pull', storeId, () => 'members only')
      const pull = pullFrame(generation, 1, storeId)
      const expected = [refusal(generation, 1, 'members only')]
      assert.deepEqual(linesOfAnswer(generation, await overHttp(storeId, pull)), expected)
      assert.deepEqual(linesOfAnswer(generation, await overDoRpc(generation, storeId, pull)), expected)
    })

    it(`that waits for a pull which its ${generation} client interrupts starts none`, async () => {
      const storeId = freshStoreId()
      const [peer, other] = [await connect(generation, storeId), await connect('v04', storeId)]
      const held = listener.hold('on_pull', storeId)
      const pull = peer.pull({ live: true })
      await held.waits
      peer.interrupt(pull)
      assert.deepEqual(JSON.parse(await peer.client.next()), interruptedFrame(generation, pull))
      held.release()
      const push = other.push(batchOf(0))
      assert.equal((await answered(other, push)).line, stored('v04', push))
      assert.deepEqual(await peer.settled(), [])
    })
  }

  it('that waits delays its own pull alone, which then has what was pushed meanwhile', async () => {
    const storeId = freshStoreId()
    const [peer, other] = [await connect('v05', storeId), await connect('v04', storeId)]
    const held = listener.hold('on_pull', storeId)
    const pull = peer.pull({ live: true })
    await held.waits
    const push = other.push(batchOf(0, 2))
    assert.equal((await answered(other, push)).line, stored('v04', push))
    held.release()
    const page = pageIn(await peer.client.next())
    assert.deepEqual([page?.request, page?.events], [pull, batchOf(0, 2)])
  })
})

describe('on_pull_res', () => {
  const firstsOf = (storeId: string): readonly number[] => {
    const pages = listener.of('on_pull_res', storeId).map(({ seen }) => pageOf(seen))
    return pages.filter((page) => page.events.length > 0).map((page) => page.events[0]!.seqNum)
  }
  const everyHundred = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at * 100 + 1)
  const ascending = (numbers: readonly number[]): readonly number[] => numbers.toSorted((a, b) => a - b)

  for (const generation of rpcGenerations) {
    it(`sees each page of a long ${generation} pull once, also of those that follow acknowledgements`, async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 2_500)
      const peer = await connect(generation, storeId)
      const pages = await peer.pages({ live: true })
      assertEvents(
        pages.flatMap((page) => page.events),
        events,
      )
      await eventually('every page is shown', () => firstsOf(storeId).length >= 25)
      assert.deepEqual(ascending(firstsOf(storeId)), everyHundred(25))
    })

    it(`sees each page of a long answer over HTTP and DO-RPC in ${generation} once`, async () => {
      for (const ask of [overHttp, overDoRpc.bind(undefined, generation)]) {
        const storeId = freshStoreId()
        const events = await fill(server(), storeId, 2_500)
        assertEvents(eventsIn(await ask(storeId, pullFrame(generation, 1, storeId))), events)
        assert.deepEqual(firstsOf(storeId), everyHundred(25))
      }
    })

    it(`that fails ends a live ${generation} pull, and no other of the same connection`, async () => {
      const storeId = freshStoreId()
      const [peer, other] = [await connectLive(generation, storeId), await connect('v04', storeId)]
      let calls = 0
      listener.answer('on_pull_res', storeId, () => (++calls === 1 ? 'not this page' : ''))
      const pull = peer.pull({ live: true })
      const { frames, line } = await answered(peer, pull)
      assert.equal(line, refusal(generation, pull, 'not this page'))
      assert.deepEqual(
        pagesIn(frames).map((page) => page.request),
        [pull],
      )
      const push = other.push(batchOf(0))
      await answered(other, push)
      const pages = pagesIn(await peer.settled())
      assert.deepEqual(
        pages.map((page) => page.request),
        [1],
      )
      await server().evict(storeId)
      const next = other.push(batchOf(1))
      await answered(other, next)
      const after = pagesIn(await peer.settled())
      assert.deepEqual(
        after.map((page) => page.request),
        [1],
        'the end of the pull outlives an eviction',
      )
      assert.deepEqual(await hookErrors(storeId), ['not this page'])
    })

    it(`that fails ends a ${generation} pull that is not live with its failure alone`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 150)
      const peer = await connect(generation, storeId)
      let pages = 0
      listener.answer('on_pull_res', storeId, () => (++pages === 2 ? 'not this page' : ''))
      const pull = peer.pull()
      const { frames, line } = await answered(peer, pull)
      assert.equal(line, refusal(generation, pull, 'not this page'))
      assert.equal(pagesIn(frames).length, frames.length)
      assert.deepEqual(await peer.settled(), [])
    })

    it(`that fails ends an answer over HTTP or DO-RPC in ${generation} after the pages that it let pass`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 350)
      const page = `Chunk ${id(generation, 1)}: 100 events`
      for (const ask of [overHttp, overDoRpc.bind(undefined, generation)]) {
        let pages = 0
        listener.answer('on_pull_res', storeId, () => (++pages === 3 ? 'not this page' : ''))
        const answer = await ask(storeId, pullFrame(generation, 1, storeId))
        assert.deepEqual(linesOfAnswer(generation, answer), [page, page, refusal(generation, 1, 'not this page')])
        assert.equal(pages, 3)
      }
    })

    it(`that fails at a later piece of an answer in ${generation} ends it there`, async () => {
      for (const ask of [overHttp, overDoRpc.bind(undefined, generation)]) {
        const storeId = freshStoreId()
        const events = await fill(server(), storeId, 2_500)
        let pages = 0
        listener.answer('on_pull_res', storeId, () => (++pages === 20 ? 'not this page' : ''))
        const frames = await ask(storeId, pullFrame(generation, 1, storeId))
        const sent = eventsIn(frames)
        assert.ok(sent.length >= 100 && sent.length < 2_000, `${sent.length} events were sent`)
        assertEvents(sent, events.slice(0, sent.length))
        assert.equal(lineOf(generation, frames.at(-1)!), refusal(generation, 1, 'not this page'))
        assert.equal(pagesIn(frames).length, frames.length - 1)
      }
    })
  }

  for (const generation of rpcGenerations) {
    it(`that has a page of a ${generation} answer when that ends: a disconnect waits for the page, a reset does not`, async () => {
      for (const ask of [overHttp, overDoRpc.bind(undefined, generation)]) {
        const storeId = freshStoreId()
        await fill(server(), storeId, 2_500)
        const before = listener.of('on_pull_res', storeId).length
        const { backendId } = await stateOf(server(), storeId)
        const underWay = async (end: () => Promise<unknown>): Promise<readonly string[]> => {
          const held = listener.hold('on_pull_res', storeId)
          const answer = ask(storeId, pullFrame(generation, 1, storeId))
          await held.waits
          await end()
          held.release()
          return linesOfAnswer(generation, await answer)
        }
        const pages = (lines: readonly string[]): readonly string[] => lines.filter((line) => line.startsWith('Chunk'))
        const stopped = await underWay(() => disconnect(server(), storeId))
        assert.ok(pages(stopped).length > 0)
        assert.deepEqual(stopped, [...pages(stopped), `Success ${id(generation, 1)}: null`])
        const ended = await underWay(() => reset(server(), storeId))
        assert.deepEqual(ended, [`BackendIdMismatchError ${id(generation, 1)}: received ${backendId}`])
        assert.ok(listener.of('on_pull_res', storeId).length > before)
      }
    })
  }

  it('that fails for one of two requests in one body leaves the answer to the other', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3)
    let pages = 0
    listener.answer('on_pull_res', storeId, () => (++pages === 2 ? 'not this page' : ''))
    const requests = [1, 2, 3].map((request) => pullFrame('v04', request, storeId))
    const lines = linesOfAnswer('v04', await overHttp(storeId, requests))
    const about = (request: number): readonly string[] => lines.filter((line) => line.includes(`"${request}"`))
    // The hook is asked of all three at once, and which it hears of second is not said.
    const isRefused = (request: number): boolean => about(request).length === 1
    assert.equal([1, 2, 3].filter(isRefused).length, 1)
    for (const request of [1, 2, 3]) {
      const served = [`Chunk "${request}": 3 events`, `Success "${request}": null`]
      assert.deepEqual(about(request), isRefused(request) ? [refusal('v04', request, 'not this page')] : served)
    }
  })

  it('sees each page of a 0.3 pull once, also of those that the alarm sends, and its error is told', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 500, 12_000)
    const peer = await connect('v03', storeId)
    const pages = await peer.pages()
    assertEvents(
      pages.flatMap((page) => page.events),
      events,
    )
    await eventually('every page is shown', () => firstsOf(storeId).length >= pages.length)
    assert.deepEqual(
      ascending(firstsOf(storeId)),
      pages.map((page) => page.events[0]!.seqNum),
    )
    assert.ok(pages.reduce((bytes, page) => bytes + page.bytes, 0) > 5_000_000, 'it took more than one turn')

    const last = pages.at(-1)!.events[0]!.seqNum
    listener.answer('on_pull_res', storeId, ({ seen }) =>
      pageOf(seen).events[0]?.seqNum === last ? 'not this page' : '',
    )
    const pull = peer.pull()
    assert.equal((await answered(peer, pull)).line, refusal('v03', pull, 'not this page'))
  })

  it('sees each part of a broadcast once, however many get it, and its error is logged alone', async () => {
    const storeId = freshStoreId()
    const peers = await Promise.all(rpcGenerations.map((generation) => connectLive(generation, storeId)))
    const pusher = await connect('v04', storeId)
    listener.answer('on_pull_res', storeId, () => 'not this part')
    const push = pusher.push(batchOf(0, 250))
    assert.equal((await answered(pusher, push)).line, stored('v04', push))
    await eventually('every part is shown', () => firstsOf(storeId).length >= 3)
    const next = pusher.push(batchOf(250))
    assert.equal((await answered(pusher, next)).line, stored('v04', next))
    for (const peer of peers) assertEvents(eventsIn(await peer.settled()), batchOf(0, 251))
    await eventually('every part is shown', () => firstsOf(storeId).length >= 4)
    assert.deepEqual(firstsOf(storeId), [1, 101, 201, 251])
    await eventually('every error is logged', async () => (await hookErrors(storeId)).length === 4)
  })
})

it('no line about an error of a hook holds args', async () => {
  const storeId = freshStoreId()
  const peer = await connectLive('v04', storeId)
  const batch = batchOf(0).map((event) => ({ ...event, args: { secret: 'of the user' } }))
  for (const hook of ['on_push', 'on_push_res', 'on_pull_res', 'on_pull'] as const) {
    listener.answer(hook, storeId, () => `${hook} failed`)
    if (hook === 'on_pull' || hook === 'on_pull_res') peer.pull()
    else await answered(peer, peer.push(batch))
    await eventually(`${hook} is logged`, async () => (await hookErrors(storeId)).includes(`${hook} failed`))
    listener.answer(hook, storeId, () => '')
  }
  const lines = await linesOf(server(), storeId)
  for (const line of lines.filter(({ event }) => event === 'hook-error')) {
    assert.deepEqual(Object.keys(line), ['level', 'event', 'storeId', 'message'])
    assert.deepEqual([line.level, line.storeId], ['warn', storeId])
  }
  assert.ok(!JSON.stringify(lines).includes('of the user'))
})

describe('on_committed', () => {
  const numbersOf = (batches: ReadonlyArray<readonly Event[]>): ReadonlyArray<readonly number[]> =>
    batches.map((batch) => batch.map((event) => event.seqNum))
  const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at + 1)

  /** Runs `scenario` on servers of its own, each of which has the storage of the one before. */
  const onServers = (
    scenario: (
      start: (asked?: readonly Hook[], vars?: Readonly<Record<string, string>>) => Promise<Server>,
    ) => Promise<void>,
  ): Promise<void> =>
    onOneStorage({ inspect: true, vars: { ADMIN_SECRET: adminSecret } }, (start) =>
      scenario((asked = ['on_committed'], more = {}) => {
        const { vars, ...options } = listener.options(asked)
        return start({ ...options, vars: { ...vars, ...more } })
      }),
    )

  /** Pushes `count` events on top of `head`, and resolves once they are acknowledged. */
  const push = async (on: Server, storeId: string, head: number, count = 1): Promise<void> => {
    const peer = await Peer.connect(on, 'v04', storeId)
    assert.equal((await answered(peer, peer.push(batchOf(head, count)))).line, stored('v04', 1))
    peer.client.terminate()
  }

  interface Kept {
    readonly after: number
    readonly failures?: number
  }

  /** What a store keeps of how far the hook has been told, if anything. */
  const keptOf = async (on: Server, storeId: string): Promise<Kept | undefined> => {
    const tables = await on.sql(storeId, "SELECT name FROM sqlite_master WHERE name = 'livestore_sync_state'")
    if (tables.length === 0) return undefined
    const rows = await on.sql(storeId, "SELECT value FROM livestore_sync_state WHERE key = 'follower:committed'")
    return rows[0] && (JSON.parse(String(rows[0]['value'])) as Kept)
  }

  /** Resolves once the store keeps that the hook has been told up to `head`. */
  const keeps = (on: Server, storeId: string, head: number): Promise<unknown> =>
    eventually(`the store keeps ${head}`, async () => (await keptOf(on, storeId))?.after === head)

  /** Resolves once the store keeps that the hook has failed so often at the first event. */
  const keepsFailures = (on: Server, storeId: string, failures: number): Promise<unknown> =>
    eventually(`it fails ${failures} times`, async () => {
      const kept = await keptOf(on, storeId)
      return kept?.after === 0 && kept.failures === failures
    })

  it('is told of every event in order, a hundred at most at a time, and of none twice while it succeeds', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      await push(on, storeId, 0)
      await push(on, storeId, 1, 250)
      await push(on, storeId, 251)
      await keeps(on, storeId, 252)
      const batches = await listener.told(storeId, 252)
      assert.deepEqual(numbersOf(batches).flat(), upTo(252))
      assertEvents(batches.flat(), batchOf(0, 252))
      assert.ok(batches.every((batch) => batch.length > 0 && batch.length <= 100))
      const [call] = listener.of('on_committed', storeId)
      assert.match(call!.seen.backendId, /^[\w-]{21}$/)
      const { atMs: _, seen: __, ...known } = call!
      const nothing = { claims: null, headers: [], transport: null, generation: null }
      assert.deepEqual(known, { hook: 'on_committed', storeId, ...nothing })
    })
  })

  it('is told of what is stored alone: not of a push that waits for its hook, is refused or repeated', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start(['on_push', 'on_committed'])]
      const peer = await Peer.connect(on, 'v04', storeId)
      const held = listener.hold('on_push', storeId)
      const slow = peer.push(batchOf(0, 1, 'slow'))
      await held.waits
      assert.deepEqual(listener.of('on_committed', storeId), [])
      held.release('no')
      await answered(peer, slow)
      for (const batch of [batchOf(7), batchOf(0), batchOf(0), [], batchOf(1)]) await answered(peer, peer.push(batch))
      await keeps(on, storeId, 2)
      assert.deepEqual(numbersOf(await listener.told(storeId, 2)), [[1], [2]])
    })
  })

  it('that waits or fails holds up no push; it is called again with the same events, after ever longer', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      const held = listener.hold('on_committed', storeId)
      await push(on, storeId, 0)
      await held.waits
      for (const head of [1, 2]) await push(on, storeId, head)
      held.release('the search is down')
      listener.answer('on_committed', storeId, () => 'the search is down')
      const calls = await eventually('it is called four times', () => {
        const calls = listener.of('on_committed', storeId)
        return calls.length >= 4 && calls
      })
      for (const head of [3, 4]) await push(on, storeId, head)
      assert.equal(listener.of('on_committed', storeId).length, 4, 'a push is no reason to call it earlier')
      const [, ...again] = calls.map(({ atMs }) => atMs)
      const waits = again.slice(1).map((at, index) => at - again[index]!)
      assert.ok(waits[0]! > 1_900 && waits[1]! > 3_900, `${waits} ms between the calls after the first failure`)
      listener.answer('on_committed', storeId, () => '')
      await keeps(on, storeId, 5)
      const told = numbersOf(await listener.told(storeId, 6))
      assert.deepEqual(told[0], [1])
      assert.deepEqual(told.at(-1), upTo(5))
      const failures = (await hookErrors(storeId, on)).length
      assert.equal(failures, told.length - 1)
    })
  })

  it('goes on where it was after an eviction, without being told anything twice', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      await push(on, storeId, 0, 3)
      await keeps(on, storeId, 3)
      await on.evict(storeId)
      await push(on, storeId, 3, 2)
      await keeps(on, storeId, 5)
      assert.deepEqual(numbersOf(await listener.told(storeId, 5)), [
        [1, 2, 3],
        [4, 5],
      ])
    })
  })

  it('keeps its patience over an eviction', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      listener.answer('on_committed', storeId, () => 'the search is down')
      await push(on, storeId, 0)
      await keepsFailures(on, storeId, 3)
      assert.equal(listener.of('on_committed', storeId).length, 3)
      await on.evict(storeId)
      await push(on, storeId, 1)
      assert.equal(listener.of('on_committed', storeId).length, 3)
      const [last] = listener.of('on_committed', storeId).slice(-1)
      listener.answer('on_committed', storeId, () => '')
      await keeps(on, storeId, 2)
      assert.ok(listener.of('on_committed', storeId)[3]!.atMs - last!.atMs > 3_900)
    })
  })

  it('is told of everything after the runtime was killed, by whoever wakes the store', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      await push(on, storeId, 0)
      await keeps(on, storeId, 1)
      const held = listener.hold('on_committed', storeId)
      await push(on, storeId, 1, 2)
      await held.waits
      await push(on, storeId, 3)
      await on.kill()
      const again = await start()
      await Peer.connect(again, 'v04', storeId)
      await keeps(again, storeId, 4)
      assert.deepEqual(numbersOf(listener.of('on_committed', storeId).map(({ seen }) => seen.batch)), [
        [1],
        [2, 3],
        [2, 3, 4],
      ])
    })
  })

  it('is told of the very first events after the runtime was killed', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      const held = listener.hold('on_committed', storeId)
      await push(on, storeId, 0, 2)
      await held.waits
      await on.kill()
      const again = await start()
      await Peer.connect(again, 'v04', storeId)
      await keeps(again, storeId, 2)
    })
  })

  for (const isKilled of [false, true]) {
    it(`is told of what a reset removes before what comes after it${isKilled ? ', also if the runtime is killed' : ''}`, async () => {
      await onServers(async (start) => {
        const [storeId, on] = [freshStoreId(), await start()]
        await push(on, storeId, 0)
        await keeps(on, storeId, 1)
        const held = listener.hold('on_committed', storeId)
        await push(on, storeId, 1, 2)
        await held.waits
        await push(on, storeId, 3)
        const { backendId: old } = await stateOf(on, storeId)
        const backendId = await reset(on, storeId)
        await push(on, storeId, 0, 2)
        let now = on
        if (isKilled) {
          await on.kill()
          now = await start()
          await Peer.connect(now, 'v04', storeId)
        }
        held.release('too late')
        await keeps(now, storeId, 2)
        const told = listener
          .of('on_committed', storeId)
          .flatMap(({ seen }) => seen.batch.map((event) => `${seen.backendId} ${event.seqNum}`))
        const [first, second] = [[1, 2, 3, 4].map((at) => `${old} ${at}`), [1, 2].map((at) => `${backendId} ${at}`)]
        assert.deepEqual([...new Set(told)], [...first, ...second], 'each at least once, in order')
        assert.deepEqual(told.slice(-2), second)
        await push(now, storeId, 2)
        await keeps(now, storeId, 3)
        assert.deepEqual(listener.of('on_committed', storeId).at(-1)!.seen, { batch: batchOf(2), backendId })
      })
    })
  }

  it('is called again by the alarm after the runtime was killed, though nobody comes', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start()]
      listener.answer('on_committed', storeId, () => 'the search is down')
      await push(on, storeId, 0, 2)
      await keepsFailures(on, storeId, 2)
      await on.kill()
      const before = listener.of('on_committed', storeId).length
      listener.answer('on_committed', storeId, () => '')
      await start()
      await eventually('it is called again', () => listener.of('on_committed', storeId).length > before)
      assert.deepEqual(listener.of('on_committed', storeId).at(-1)!.seen.batch, batchOf(0, 2))
    })
  })

  it('that waits keeps no long 0.3 pull waiting, which goes on while on_committed waits', async () => {
    await onServers(async (start) => {
      const [storeId, first] = [freshStoreId(), await start([])]
      const events = await fill(first, storeId, 30_000, 200)
      await first.stop()
      const on = await start()
      const held = listener.hold('on_committed', storeId)
      const before = await Peer.connect(on, 'v03', storeId)
      before.pull()
      await before.client.next()
      await push(on, storeId, 30_000)
      await held.waits
      const after = await Peer.connect(on, 'v03', storeId)
      after.pull()
      for (const peer of [before, after]) {
        await peer.client.upTo('the log is complete', (frame) => pageIn(frame)!.remaining === 0)
        assertEvents(eventsIn(peer.client.frames), [...events, ...batchOf(30_000)])
      }
      held.release()
    })
  })

  it('begins at the head of a store that had events before the app had the hook', async () => {
    await onServers(async (start) => {
      const [storeId, on] = [freshStoreId(), await start([])]
      await push(on, storeId, 0, 3)
      await on.stop()
      const again = await start()
      const peer = await Peer.connect(again, 'v04', storeId)
      assert.equal((await peer.pages()).length, 1)
      await push(again, storeId, 3, 2)
      await keeps(again, storeId, 5)
      assert.deepEqual(numbersOf(await listener.told(storeId, 2)), [[4, 5]])
    })
  })

  it('that is not written costs no row and no alarm; one that returns at once costs a row for each push, and an alarm', async () => {
    for (const [vars, rows, kept, hasAlarm] of [
      [{}, [2, 2, 2, 2], undefined, false],
      // The first one has two more: where it begins, and when it is looked at should it not return.
      [{ HOOKS_COMMITTED: 'at-once' }, [5, 3, 3, 3], 4, true],
    ] as const) {
      await onServers(async (start) => {
        const [storeId, on] = [freshStoreId(), await start([], vars)]
        const peer = await Peer.connect(on, 'v04', storeId)
        const written = async (): Promise<number> =>
          Number((await on.sql(storeId, 'SELECT total_changes() AS rows'))[0]!['rows'])
        await peer.settled()
        const counted: number[] = []
        for (const [head] of rows.entries()) {
          const from = await written()
          await answered(peer, peer.push(batchOf(head)))
          counted.push((await written()) - from)
        }
        assert.deepEqual(counted, rows)
        await on.evict(storeId)
        await answered(peer, peer.push([]))
        assert.equal((await keptOf(on, storeId))?.after, kept)
        // The runtime makes this table when an alarm is set for the first time.
        const alarms = await on.sql(storeId, "SELECT name FROM sqlite_master WHERE name = '_cf_METADATA'")
        assert.equal(alarms.length > 0, hasAlarm)
      })
    }
  })
})

const inRust = { skip: HookListener.language !== 'rust' }

describe('a hook that panics', inRust, () => {
  it('costs the requests that wait for hooks: their clients are told to connect again, and nothing is lost', async () => {
    const { vars, ...options } = listener.options(['on_push', 'on_committed'])
    await withServer({ ...options, vars }, async (own) => {
      const [storeId, elsewhere] = [freshStoreId(), freshStoreId()]
      const [peer, idle] = [await Peer.connect(own, 'v04', storeId), await Peer.connect(own, 'v04', storeId)]
      const waiting = await Peer.connect(own, 'v05', elsewhere)
      idle.pull({ live: true })
      await idle.settled()
      const held = listener.hold('on_push', elsewhere)
      waiting.push(batchOf(0))
      await held.waits

      let calls = 0
      listener.answer('on_push', storeId, () => (++calls === 1 ? 'panic' : ''))
      peer.push(batchOf(0))
      assert.equal((await peer.client.dismissed()).code, 1012)
      assert.equal((await waiting.client.dismissed()).code, 1012)
      held.release()
      for (const [store, generation] of [
        [storeId, 'v04'],
        [elsewhere, 'v05'],
      ] as const) {
        const again = await Peer.connect(own, generation, store)
        const push = again.push(batchOf(0))
        assert.equal((await answered(again, push)).line, stored(generation, push))
      }
      assertEvents(eventsIn(await idle.settled()), batchOf(0))
      assert.equal(own.logs.filter((line) => line.includes('"event":"trap"')).length, 1, own.logs.join('\n'))

      await listener.told(storeId, 1)
      let told = 0
      listener.answer('on_committed', storeId, () => (++told === 1 ? 'panic' : ''))
      idle.push(batchOf(1))
      await eventually('it has panicked', () => own.logs.filter((line) => line.includes('"event":"trap"')).length === 2)
      idle.push(batchOf(2))
      const numbers = (): readonly number[] =>
        listener.of('on_committed', storeId).flatMap(({ seen }) => seen.batch.map((event) => event.seqNum))
      await eventually('it is told of the next event', () => numbers().includes(3))
      assert.deepEqual(numbers(), [1, 2, 2, 3])
    })
  })
})

describe('the example', inRust, () => {
  it('lets editors alone delete, and writes a row into D1 for each event', async () => {
    await withServer({ dist: 'examples/rust-hooks/dist', vars: { JWT_SECRET: secret } }, async (own) => {
      const database = await own.miniflare.getD1Database('DB')
      const schema = readFileSync(join(root, 'examples/rust-hooks/schema.sql'), 'utf8')
      await database.exec(schema.replaceAll(/--.*|\n/g, ' '))
      const storeId = freshStoreId()
      const peerOf = (claims: object): Promise<Peer> =>
        Peer.connect(own, 'v04', storeId, { payload: { authToken: hs256(claims) } })
      const [viewer, editor] = [await peerOf({ role: 'viewer' }), await peerOf({ role: 'editor' })]
      const deletion = batchOf(2).map((event) => ({ ...event, name: 'v1.TodoDeleted' }))

      assert.equal((await answered(viewer, viewer.push(batchOf(0, 2)))).line, stored('v04', 1))
      const refused = await answered(viewer, viewer.push(deletion))
      assert.equal(refused.line, refusal('v04', 2, 'only editors may push v1.TodoDeleted'))
      const anonymous = await Peer.connect(own, 'v05', storeId)
      assert.equal((await answered(anonymous, anonymous.push(deletion))).line.split(' ')[0], 'UnknownError')
      assert.equal((await answered(editor, editor.push(deletion))).line, stored('v04', 1))

      const rowsOf = async (): Promise<unknown> => {
        const all = await database
          .prepare('SELECT store_id, seq_num, name, client_id FROM audit ORDER BY seq_num')
          .all()
        return all.results
      }
      const names = ['v1.Noted', 'v1.Noted', 'v1.TodoDeleted']
      const expected = names.map((name, at) => ({ store_id: storeId, seq_num: at + 1, name, client_id: 'client' }))
      const rows = await eventually('all are there', async () => {
        const rows = await rowsOf()
        return (rows as readonly unknown[]).length >= 3 && rows
      })
      assert.deepEqual(rows, expected)
    })
  })
})
