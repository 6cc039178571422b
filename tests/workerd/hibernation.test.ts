/**
 * An idle store leaves memory, and nobody notices when it comes back.
 *
 * That an object was rebuilt is told by its `opened` line, which counts the sockets it found. Tests that are about the
 * idle time itself wait it out, all at once; the others have the runtime drop the object at the very moment they mean.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { root } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { startsOf } from './log-lines.ts'
import {
  assertEvents,
  eventsIn,
  failedFrame,
  fill,
  type Generation,
  generations,
  interruptedFrame,
  logOf,
  pageIn,
  pagesIn,
  Peer,
  pings,
  pullDoneFrame,
  pushedFrame,
  rpcGenerations,
} from './peer.ts'

/** The runtime drops an object after 10 s without an event. It gives no sign of it, so time is all there is to await. */
const idleMs = 14_000
const idle = (): Promise<void> => delay(idleMs)

const server = serverOf({ vars: { LOG_LEVEL: 'debug' } })

const connect = (generation: Generation, storeId: string): Promise<Peer> => Peer.connect(server(), generation, storeId)

/** A peer of each generation with a live pull, all of which have the log of the store. */
const connectLive = async (storeId: string, which: readonly Generation[] = generations): Promise<readonly Peer[]> => {
  const peers = await Promise.all(which.map((generation) => connect(generation, storeId)))
  for (const peer of peers) {
    peer.pull({ live: true })
    assert.equal(pagesIn(await peer.settled()).at(-1)?.remaining, 0)
  }
  return peers
}

/** Asserts that each peer was sent one page with these events, and nothing else. */
const assertDelivered = async (peers: readonly Peer[], events: readonly Event[]): Promise<void> => {
  for (const peer of peers) {
    const frames = await peer.settled()
    assert.equal(frames.length, 1, `${peer.generation} got ${JSON.stringify(frames)}`)
    assertEvents(eventsIn(frames), events)
  }
}

/** Frames in the order in which they have to come: page and answer of a push, on the pusher's own socket. */
const assertOwnPush = (peer: Peer, frames: readonly string[], answer: unknown, events: readonly unknown[]): void => {
  assert.deepEqual(answer, pushedFrame(peer.generation, peer.request - 1))
  assert.deepEqual(eventsIn(frames), peer.generation === 'v03' ? [] : events)
}

describe('after 10 s without an event', { concurrency: true }, () => {
  for (const pushing of generations) {
    it(`a store with live pulls of every generation is dropped, and a push of its ${pushing} socket reaches each once`, async () => {
      const storeId = freshStoreId()
      const peers = await connectLive(storeId)
      const pusher = peers.find((peer) => peer.generation === pushing)!
      const others = peers.filter((peer) => peer !== pusher)
      await pusher.pushed(batchOf(0, 2))
      await pusher.settled()
      await assertDelivered(others, batchOf(0, 2))
      await idle()

      const woken = await pusher.pushed(batchOf(2))
      assertOwnPush(pusher, woken.frames, woken.answer, batchOf(2))
      if (pushing === 'v03') await assertDelivered([pusher], batchOf(2))
      await assertDelivered(others, batchOf(2))
      assert.deepEqual(await startsOf(server(), storeId), [0, 3], 'the push met an object that had to be built anew')

      const warm = await pusher.pushed(batchOf(3, 3))
      assertOwnPush(pusher, warm.frames, warm.answer, batchOf(3, 3))
      if (pushing === 'v03') await assertDelivered([pusher], batchOf(3, 3))
      await assertDelivered(others, batchOf(3, 3))
      assert.deepEqual(await startsOf(server(), storeId), [0, 3])
      assertEvents(await logOf(server(), storeId), batchOf(0, 6))
    })
  }

  it('control: a store that has an event every 4 s is not dropped in the same time', async () => {
    const storeId = freshStoreId()
    const [pusher] = await connectLive(storeId, ['v04'])
    for (let head = 0; head * 4_000 <= idleMs; head += 1) {
      assertOwnPush(pusher!, ...parts(await pusher!.pushed(batchOf(head))), batchOf(head))
      await delay(4_000)
    }
    assert.ok(pusher!.request > 4, 'there were several pushes')
    assert.deepEqual(await startsOf(server(), storeId), [0])
  })

  it('a socket that only ever pushed goes on pushing onto the right head', async () => {
    const storeId = freshStoreId()
    const pusher = await connect('v05', storeId)
    await pusher.pushed(batchOf(0, 3))
    await idle()
    assert.deepEqual((await pusher.pushed(batchOf(3, 2))).answer, pushedFrame('v05', 2))
    assert.deepEqual(await startsOf(server(), storeId), [0, 1])
    assertEvents(await logOf(server(), storeId), batchOf(0, 5))
  })

  it('a socket that never sent anything can begin', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v04', storeId)
    await idle()
    peer.pull({ live: true })
    assert.equal(pageIn(await peer.client.next())?.remaining, 0)
    assert.deepEqual(await startsOf(server(), storeId), [0, 1])
  })

  for (const [waitMs, starts] of [
    [6_000, [0]],
    [idleMs, [0, 7]],
  ] as const) {
    it(`a client that waits for the pull of a socket it has lost is found ${waitMs} ms later, and no other is disturbed`, async () => {
      const storeId = freshStoreId()
      const [lost, waiting, silent, onlyPushes, old, pulled, interrupted] = [
        await connect('v04', storeId),
        await connect('v04', storeId),
        await connect('v05', storeId),
        await connect('v05', storeId),
        await connect('v03', storeId),
        await connect('v04', storeId),
        await connect('v05', storeId),
      ]
      lost.request = 33
      lost.pull({ live: true })
      pulled.pull()
      interrupted.pull({ live: true })
      interrupted.interrupt(1)
      for (const peer of [lost, pulled, interrupted]) await peer.settled()
      await onlyPushes.pushed(batchOf(0))
      assert.deepEqual([waiting.client.frames, silent.client.frames], [[], []], 'they have time to pull')
      await delay(waitMs)
      assert.deepEqual((await onlyPushes.pushed(batchOf(1))).answer, pushedFrame('v05', 2))
      // An empty page of that pull, which only the client that made it has heard of.
      for (const { client } of [waiting, silent]) {
        const page = pageIn(await client.next())
        assert.deepEqual([page?.request, page?.events, page?.remaining], [33, [], 0])
      }
      assertEvents(eventsIn(await old.settled()), batchOf(0, 2))
      assertEvents(eventsIn(await lost.settled()), batchOf(0, 2))
      for (const peer of [pulled, interrupted, onlyPushes]) assert.deepEqual(await peer.settled(), [])
      await onlyPushes.pushed(batchOf(2))
      waiting.ack(33)
      assert.equal((await waiting.client.closed).code, 1012)
      assert.deepEqual(await silent.settled(), [], 'it is asked once, and goes on')
      assert.deepEqual(await startsOf(server(), storeId), starts)
    })
  }

  it('a client that waits for the pull of a lost socket is found when that is closed', async () => {
    const storeId = freshStoreId()
    const [lost, waiting] = [await connect('v05', storeId), await connect('v05', storeId)]
    lost.request = 33
    lost.pull({ live: true })
    await lost.settled()
    await delay(6_000)
    assert.deepEqual(waiting.client.frames, [])
    lost.client.terminate()
    assert.equal(pageIn(await waiting.client.next())?.request, 33)
    waiting.ack(33)
    assert.equal((await waiting.client.closed).code, 1012)
  })

  for (const which of [['v04', 'v05'], ['v03']] as const) {
    it(`pings of ${which.join(' and ')} sockets are answered without keeping the store in memory or waking it`, async () => {
      const storeId = freshStoreId()
      const peers = await connectLive(storeId, which)
      const ping = async (): Promise<void> => {
        for (const { client, generation } of peers) {
          client.send(pings[generation].ping)
          assert.equal(await client.next(), pings[generation].pong)
        }
      }
      for (let waitedMs = 0; waitedMs < idleMs; waitedMs += 2_000) {
        await ping()
        await delay(2_000)
      }
      await ping()
      assert.deepEqual(await startsOf(server(), storeId), [0], 'no ping reached the object')
      await peers[0]!.pushed(batchOf(0))
      assert.deepEqual(await startsOf(server(), storeId), [0, which.length], 'the pings did not keep it in memory')
    })
  }

  for (const generation of rpcGenerations) {
    it(`a half-sent pull of ${generation} goes on when its pages are acknowledged`, async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 2_500)
      const peer = await connect(generation, storeId)
      const pull = peer.pull({ live: true })
      const sent = pagesIn(await peer.settled())
      assert.ok(sent.length > 1 && sent.at(-1)!.remaining > 0, `${sent.length} pages came at once`)
      await idle()

      const pages = [...sent]
      // The runtime was dropped with what it knew of acknowledgements, so as a client does: one for each page.
      for (let acked = 0; pages.at(-1)!.remaining > 0; acked += 1) {
        assert.ok(acked < 25, 'the pull stays behind though all was acknowledged')
        peer.ack(pull)
        pages.push(...pagesIn(await peer.settled()))
      }
      assert.deepEqual(await startsOf(server(), storeId), [0, 1])
      const received = pages.flatMap((page) => page.events)
      assertEvents(received, events)
      assert.deepEqual(
        pages.map((page) => page.remaining),
        pages.map((_, index) => 2_500 - 100 * (index + 1)),
      )
      assertOwnPush(peer, ...parts(await peer.pushed(batchOf(2_500))), batchOf(2_500))
    })

    it(`an Interrupt of ${generation} is answered and ends its pull alone`, async () => {
      const storeId = freshStoreId()
      const [peer] = await connectLive(storeId, [generation])
      const second = peer!.pull({ live: true })
      await peer!.settled()
      await idle()
      peer!.interrupt(1)
      assert.deepEqual(JSON.parse(await peer!.client.next()), interruptedFrame(generation, 1))
      assert.deepEqual(await startsOf(server(), storeId), [0, 1])
      const { frames } = await peer!.pushed(batchOf(0))
      assert.deepEqual(
        pagesIn(frames).map((page) => page.request),
        [second],
      )
    })
  }
})

/** The parts of a push's outcome, to be spread. */
function parts({ frames, answer }: { readonly frames: readonly string[]; readonly answer: unknown }) {
  return [frames, answer] as const
}

describe('when the object is dropped between any two frames', () => {
  /** What a client of each generation sends in one life; a step is one frame. */
  const dialogue = (generation: Generation): ReadonlyArray<(peer: Peer) => void> => {
    const common: ReadonlyArray<(peer: Peer) => void> = [
      (peer) => peer.pull({ live: true }),
      (peer) => peer.push(batchOf(0, 120)),
      (peer) => peer.push(batchOf(120)),
      (peer) => peer.push(batchOf(7, 1, 'stale')),
      (peer) => peer.push(batchOf(120)),
      (peer) => peer.push([]),
      (peer) => peer.push(batchOf(400, 1, 'ahead')),
      (peer) => peer.push([...batchOf(121), ...batchOf(123)]),
      (peer) => peer.client.send('{not json'),
    ]
    if (generation === 'v03') return [...common, (peer) => peer.pull({ after: 100 })]
    return [
      ...common,
      (peer) => peer.pull(),
      (peer) => peer.ack(8),
      (peer) => peer.ack(1),
      (peer) => peer.pull({ after: 100, backendId: 'another' }),
      (peer) => peer.push(batchOf(121), 'another'),
      (peer) => peer.pull({ live: true }),
      (peer) => peer.interrupt(1),
      (peer) => peer.interrupt(77),
      (peer) => peer.push(batchOf(121, 2)),
    ]
  }

  /** Everything that is sent during a dialogue, one list per step. */
  const run = async (storeId: string, generation: Generation, isDropped: boolean): Promise<readonly unknown[]> => {
    const peer = await connect(generation, storeId)
    const listener = await connect('v04', storeId)
    listener.pull({ live: true })
    const seen: unknown[] = [await listener.settled()]
    for (const step of dialogue(generation)) {
      if (isDropped) await server().evict(storeId)
      step(peer)
      seen.push([await peer.settled(), await listener.settled()])
    }
    const text = JSON.stringify(seen)
      .replaceAll(/backendId\\":\\"[\w-]{21}\\"/g, 'backendId')
      .replaceAll(/expected\\":\\"[\w-]{21}\\"/g, 'expected')
      .replaceAll(/createdAt\\":\\"[\d:.TZ-]{24}\\"/g, 'createdAt')
    return JSON.parse(text) as readonly unknown[]
  }

  for (const generation of generations) {
    it(`a dialogue in ${generation} gets the same frames as if it had stayed`, async () => {
      const [warm, dropped] = [freshStoreId(), freshStoreId()]
      const expected = await run(warm, generation, false)
      assert.deepEqual(await run(dropped, generation, true), expected)
      assert.equal(expected.length, dialogue(generation).length + 1)
      assert.deepEqual(await startsOf(server(), warm), [0])
      assert.deepEqual(await startsOf(server(), dropped), [0, ...dialogue(generation).map(() => 2)])
      assert.deepEqual(await logOf(server(), dropped), await logOf(server(), warm))
    })
  }

  for (const generation of rpcGenerations) {
    it(`pushes during a half-sent pull of ${generation} are folded into its pages, in order and once`, async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 5_000)
      const [peer, pusher] = [await connect(generation, storeId), await connect('v04', storeId)]
      const pull = peer.pull({ live: true })
      const frames = [...(await peer.settled())]
      await server().evict(storeId)
      await pusher.pushed(batchOf(5_000, 10, 'pusher'))
      for (let acked = 0; pagesIn(frames).at(-1)!.remaining > 0; acked += 1) {
        assert.ok(acked < 60, 'the pull stays behind though all was acknowledged')
        if (acked === 1) await server().evict(storeId)
        peer.ack(pull)
        frames.push(...(await peer.settled()))
      }
      await pusher.pushed(batchOf(5_010, 1, 'pusher'))
      frames.push(...(await peer.settled()))
      assertEvents(eventsIn(frames), [...events, ...batchOf(5_000, 10, 'pusher'), ...batchOf(5_010, 1, 'pusher')])
      assert.deepEqual(await startsOf(server(), storeId), [0, 2, 2])
    })

    it(`a pull of ${generation} that is not live ends after its last page, though half of it was sent in another life`, async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 2_000)
      const peer = await connect(generation, storeId)
      const pull = peer.pull()
      const frames = [...(await peer.settled())]
      await server().evict(storeId)
      while (pagesIn(frames).at(-1)!.remaining > 0) {
        peer.ack(pull)
        frames.push(...(await peer.settled()))
      }
      assert.deepEqual(JSON.parse(frames.pop()!), pullDoneFrame(generation, pull))
      assertEvents(eventsIn(frames), events)
    })
  }

  it('an Ack of a finished pull means nothing', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v04', storeId)
    peer.pull()
    await peer.settled()
    await server().evict(storeId)
    peer.ack(1)
    assert.deepEqual(await peer.settled(), [])
  })

  it('an Ack of a pull that was made on an earlier socket closes the connection, so that its client pulls again', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v04', storeId)
    peer.request = 20
    peer.pull({ live: true })
    await peer.settled()
    await server().evict(storeId)
    peer.ack(19)
    assert.equal((await peer.client.closed).code, 1012)
  })

  it('sockets that closed meanwhile are not counted, and the others are', async () => {
    const storeId = freshStoreId()
    const peers = await connectLive(storeId)
    await server().evict(storeId)
    assert.equal((await peers[0]!.client.close(1000)).code, 1000)
    await server().evict(storeId)
    await peers[1]!.pushed(batchOf(0))
    await assertDelivered([peers[2]!], batchOf(0))
    assert.equal((await startsOf(server(), storeId)).at(-1), 2)
  })
})

describe('what a socket keeps', () => {
  /** Runs in the Worker: stores of these names have sockets that cannot keep more than at first, or read it. */
  const prelude = (): void => {
    const { serializeAttachment, deserializeAttachment } = WebSocket.prototype as unknown as {
      serializeAttachment: (this: WebSocket, kept: unknown) => void
      deserializeAttachment: (this: WebSocket) => unknown
    }
    const full = new WeakSet<WebSocket>()
    Object.assign(WebSocket.prototype, {
      serializeAttachment(this: WebSocket, kept: unknown) {
        if (full.has(this)) throw new Error('no room')
        if (String(kept).includes('unkept-')) full.add(this)
        serializeAttachment.call(this, kept)
      },
      deserializeAttachment(this: WebSocket) {
        const kept = deserializeAttachment.call(this)
        return String(kept).includes('unreadable-') ? 'of another time' : kept
      },
    })
  }
  const own = serverOf({ vars: { LOG_LEVEL: 'debug' }, edit: (source) => `(${prelude})();${source}` })

  it('and cannot be read after an eviction closes it, so that its client connects again', async () => {
    const storeId = `unreadable-${freshStoreId()}`
    const peer = await Peer.connect(own(), 'v04', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await own().evict(storeId)
    const pusher = await Peer.connect(own(), 'v05', storeId)
    assert.deepEqual(await peer.client.dismissed(), { code: 1011, reason: 'invalid attachment: connect again' })
    assert.deepEqual((await pusher.pushed(batchOf(0))).answer, pushedFrame('v05', 1))
  })

  it('and cannot be kept closes it, so that its client pulls again', async () => {
    const storeId = `unkept-${freshStoreId()}`
    const peer = await Peer.connect(own(), 'v04', storeId)
    peer.pull({ live: true })
    const reason = 'the connection could not be kept: connect again'
    assert.deepEqual(await peer.client.dismissed(), { code: 1011, reason })
    assert.ok(own().logs.some((line) => line.includes('"event":"attachment"') && line.includes(storeId)))
  })
})

describe('a large log', () => {
  it('reaches a 0.3 client whole, over turns between which others are served, with what they push folded in', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 30_000, 200)
    const [peer, pusher] = [await connect('v03', storeId), await connect('v04', storeId)]
    peer.pull()
    await peer.client.next()
    const pushed = batchOf(30_000, 3, 'pusher')
    assert.deepEqual((await pusher.pushed(pushed)).answer, pushedFrame('v04', 1))
    const before = peer.client.frames.length
    const isLast = (frame: string): boolean => pageIn(frame)!.remaining === 0
    await peer.client.upTo('the log is complete', isLast)
    assert.ok(before < peer.client.frames.length, 'the push was answered before the last page')
    assertEvents(eventsIn(peer.client.frames), [...events, ...pushed])
    assert.deepEqual(await peer.settled(), [])
    assert.deepEqual(await startsOf(server(), storeId), [0])
  })
})

describe('the runtime answers pings', () => {
  /** Asserts that a ping of `peer` is answered, and whether an object that was dropped before was built for that. */
  const assertPing = async (peer: Peer, wakes: boolean): Promise<void> => {
    const { storeId, generation, client } = peer
    await peer.settled() // an object that is out of memory cannot be dropped
    await server().evict(storeId)
    const before = await startsOf(server(), storeId)
    client.send(pings[generation].ping)
    assert.equal(await client.next(), pings[generation].pong)
    assert.equal((await startsOf(server(), storeId)).length, before.length + Number(wakes))
  }

  it('of RPC sockets also where 0.3 sockets are connected, whose pings the object answers', async () => {
    const storeId = freshStoreId()
    const [old, v04, v05] = [
      await connect('v03', storeId),
      await connect('v04', storeId),
      await connect('v05', storeId),
    ]
    await assertPing(v04, false)
    await assertPing(v05, false)
    await assertPing(old, true)
  })

  it('of 0.3 sockets again once the last RPC socket has closed', async () => {
    const storeId = freshStoreId()
    const [old, rpc] = [await connect('v03', storeId), await connect('v04', storeId)]
    await rpc.client.close()
    await old.settled()
    await assertPing(old, false)
  })

  it('of 0.3 sockets again when the last RPC socket closes while the object is out of memory', async () => {
    const storeId = freshStoreId()
    const [old, rpc] = [await connect('v03', storeId), await connect('v04', storeId)]
    await server().evict(storeId)
    await rpc.client.close()
    await old.settled()
    await assertPing(old, false)
  })

  it('of an RPC socket that joins 0.3 sockets', async () => {
    const storeId = freshStoreId()
    const old = await connect('v03', storeId)
    await assertPing(old, false)
    const rpc = await connect('v05', storeId)
    await assertPing(rpc, false)
  })
})

it('nothing that is shipped, and nothing it is made of, has a timer but the one that ends with the body or the D1 it waits for, and the one that only lets others go first', () => {
  const timer = /\b(setTimeout|setInterval|setImmediate|scheduler|requestAnimationFrame|waitUntil)\b/
  assert.match('globalThis.setTimeout(f,1)', timer, 'control')
  /** What a hook of an app is given, for promises of its own. */
  const ofHooks =
    /\bwaitUntil(?=\(promise: Promise<\w+>\)| = \(promise: Promise<unknown>\)|: \(promise\) =>|:\w+=>|,$|\(promise\)|\(\w\)[,}]|:\w+[,}])/gm
  const folder = (path: string, ending: RegExp): readonly string[] =>
    readdirSync(join(root, path))
      .filter((name) => ending.test(name))
      .map((name) => join(path, name))
  // The command line and the inspector's page run elsewhere.
  const bundles = folder('dist', /(?<!cli|inspector)\.js$/)
  const files = [...folder('host', /\.ts$/), ...folder('src/edge', /\.js$/), ...bundles]
  assert.ok(files.includes('dist/worker.js') && files.includes('host/worker.ts'), files.join())
  for (const file of files) {
    const text = readFileSync(join(root, file), 'utf8')
    assert.ok(text.length > 0)
    const hasOne = file.startsWith('dist/') || file === 'src/edge/glue.js'
    const own = file.startsWith('src/') ? text : text.replaceAll(ofHooks, '')
    const rest = hasOne
      ? own.replace(/\bsetTimeout\((?=[^]*\bfinally\s*\{\s*clearTimeout\()/, '').replace(/\bsetTimeout\(\w+\)/, '')
      : own
    assert.doesNotMatch(rest, timer, file)
  }
})
