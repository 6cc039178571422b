/**
 * What a bug in the core costs, be it a trap or an exception of an import that runs through the core: the requests that
 * the core was at work for, the sockets of the object that may have missed a frame, and nobody else.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually, within } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { root, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import { namedName, namesOf, stripped } from '../../scripts/names.mjs'
import { storeInPart } from './database.ts'
import { order, secretOfFault, withFaults } from './faults.ts'
import { HookListener } from './hook-listener.ts'
import { KeyServer } from './key-server.ts'
import { type Answer, knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { call } from './over-do-rpc.ts'
import { httpTarget, overHttp, post } from './over-http.ts'
import { assertEvents, eventsIn, fill, logOf, Peer, pullFrame, pushedFrame, pushFrame } from './peer.ts'
import { jwkOf, keyPairOf, tokenBy } from './tokens.ts'

const hows = ['trap', 'throw'] as const

/** Those, and a push that cannot be taken back: its object is thrown away as well, with all JavaScript that it has yet to run. */
const ends = [...hows, 'push that stays in part'] as const

const unavailable = 'The store is not available: try again'

const assertUnavailable = ({ status, body, headers }: Answer): void => {
  assert.deepEqual([status, body], [503, unavailable])
  assert.match(headers['content-type'] ?? '', /^text\/plain\b/)
}

const withServer = async (options: ServerOptions, test: (server: Server) => Promise<void>): Promise<void> => {
  const server = await startServer(options)
  try {
    await test(server)
  } finally {
    await server.stop()
  }
}

/** Changes a Worker's source, so that no alarm is set to more than two seconds from now. */
const impatient = (source: string): string => {
  const call = /\.setAlarm\(([\w$]+)\)/
  assert.match(source, call)
  return source.replace(call, '.setAlarm(Math.min($1,Date.now()+2000))')
}

/** The lines of instances that ended. */
const trapsOf = (server: Server): readonly string[] => server.logs.filter((line) => line.includes('"event":"trap"'))

const connectLive = async (server: Server, storeId: string, generation: 'v04' | 'v05' = 'v04'): Promise<Peer> => {
  const peer = await Peer.connect(server, generation, storeId)
  peer.pull({ live: true })
  await peer.client.upTo('the pull has its page', (frame) => frame.includes('"Chunk"'))
  return peer
}

/** Ends the core while it works for a store of its own. */
const endCore = async (server: Server, how: (typeof ends)[number]): Promise<void> => {
  const storeId = freshStoreId()
  const peer = await connectLive(server, storeId)
  if (how === 'push that stays in part') await storeInPart(server, storeId, 'IGNORE')
  else await order(server, { how, at: 'unlucky' })
  peer.push(marked('unlucky', 0))
  await peer.client.dismissed()
}

/** Asserts that a peer's live pull goes on, and that it gets what is pushed, once. */
const assertLive = async (server: Server, peer: Peer, head: number): Promise<void> => {
  const answer = await post(server, peer.storeId, pushFrame('v05', 1, peer.storeId, batchOf(head)))
  assert.equal(answer.status, 200, answer.body)
  assertEvents(eventsIn(await peer.settled()), batchOf(head))
}

/** Events whose text is found by a fault. */
const marked = (mark: string, head: number) => batchOf(head, 1, mark)

describe('the core that ends between storing a push and telling of it', () => {
  let server: Server
  before(async () => {
    server = await startServer({ edit: withFaults, vars: { LOG_LEVEL: 'debug' } })
  })
  after(() => server.stop())

  for (const how of hows) {
    it(`by a ${how}: closes all sockets of that object and no other, and nobody misses the push`, async () => {
      const [storeId, elsewhere] = [freshStoreId(), freshStoreId()]
      const [listener, pusher] = [await connectLive(server, storeId), await connectLive(server, storeId, 'v05')]
      const [other, idle] = [await connectLive(server, elsewhere), await Peer.connect(server, 'v03', elsewhere)]
      const before = trapsOf(server).length

      await order(server, { how, at: 'unlucky' })
      pusher.push(marked('unlucky', 0))
      for (const { client } of [listener, pusher]) {
        assert.deepEqual(await client.dismissed(), { code: 1012, reason: 'connect again' })
        assert.deepEqual(eventsIn(client.frames), [])
      }

      await assertLive(server, other, 0)
      assert.deepEqual((await idle.pushed(batchOf(1))).answer, pushedFrame('v03', 1))
      const again = await connectLive(server, storeId)
      assertEvents(eventsIn(again.client.frames), marked('unlucky', 0))
      assert.deepEqual((await again.pushed(marked('unlucky', 0))).answer, pushedFrame('v04', 2), 'a repetition')
      await assertLive(server, again, 1)
      assertEvents(await logOf(server, storeId), [...marked('unlucky', 0), ...batchOf(1)])

      const lines = await linesOf(server, storeId)
      assert.equal(lines.filter(({ event }) => event === 'trap').length, 1, 'the line names the store')
      assert.equal(trapsOf(server).length, before + 1)
      for (const { client } of [other, idle, again]) assert.equal(client.ended, undefined)
    })

    it(`by a ${how} in what goes on after a wait: the same, and the request is answered 503`, async () => {
      const [storeId, elsewhere] = [freshStoreId(), freshStoreId()]
      const [listener, other] = [await connectLive(server, storeId), await connectLive(server, elsewhere)]
      await order(server, { how, at: 'unlucky' })
      // Of more than 64 kB, the body of a request is waited for in the core, so that its push is handled when the runtime goes on with it.
      const push = { ...pushFrame('v04', 1, storeId, marked('unlucky', 0)), unknown: 'x'.repeat(70_000) }
      assertUnavailable(await post(server, storeId, push))
      assert.deepEqual(await listener.client.dismissed(), { code: 1012, reason: 'connect again' })

      await assertLive(server, other, 0)
      assert.equal((await post(server, storeId, push)).status, 200, 'the next request is served')
      assertEvents(await logOf(server, storeId), marked('unlucky', 0))
    })
  }

  it('says nothing of what was thrown', () => {
    assert.ok(trapsOf(server).some((line) => line.includes('strike')))
    assert.ok(!server.logs.some((line) => line.includes(secretOfFault)), server.logs.join('\n'))
  })

  it('lets a page read that its request has failed', async () => {
    const storeId = freshStoreId()
    await connectLive(server, storeId)
    await order(server, { how: 'trap', at: 'unlucky' })
    const frame = overHttp(pushFrame('v05', 1, storeId, marked('unlucky', 0)))
    const headers = { origin: 'https://app.example' }
    const answer = await knock(server, {
      method: 'POST',
      target: httpTarget(storeId),
      headers,
      body: JSON.stringify(frame),
    })
    assertUnavailable(answer)
    assert.equal(answer.headers['access-control-allow-origin'], '*')
  })

  it('answers 503 where the Worker itself was at work, and serves the next', async () => {
    const storeId = freshStoreId()
    const peer = await connectLive(server, storeId)
    const headers = { origin: 'https://app.example' }
    for (const how of hows) {
      // As it writes to the log whom it refuses.
      await order(server, { how, at: '"event":"refused"' })
      const target = httpTarget(storeId, { authToken: 'wrong' })
      assertUnavailable(await knock(server, { method: 'POST', target, headers }))
      assert.equal((await knock(server, { method: 'OPTIONS', target, headers })).status, 204)
    }
    await assertLive(server, peer, 0)
  })

  it('goes on with its other outputs where one of them fails, and closes the socket that has missed it', async () => {
    const [storeId, before] = [freshStoreId(), trapsOf(server).length]
    const peers = [await connectLive(server, storeId), await connectLive(server, storeId, 'v05')] as const
    const pusher = await Peer.connect(server, 'v05', storeId)
    await order(server, { how: 'refuse', at: 'unlucky' })
    assert.deepEqual((await pusher.pushed(marked('unlucky', 0))).answer, pushedFrame('v05', 1))
    assert.deepEqual(await peers[0].client.dismissed(), { code: 1012, reason: 'connect again' })
    assertEvents(eventsIn(await peers[1].settled()), marked('unlucky', 0))
    assert.equal(trapsOf(server).length, before)
  })

  it('does not end by what is thrown elsewhere', async () => {
    const storeId = freshStoreId()
    const [peer, before] = [await connectLive(server, storeId), trapsOf(server).length]
    await order(server, { how: 'elsewhere', at: 'unlucky' })
    assert.deepEqual((await peer.pushed(marked('unlucky', 0))).answer, pushedFrame('v04', 2))
    await eventually('the runtime has logged it', () => server.logs.includes('uncaught'))
    await assertLive(server, peer, 1)
    const opened = (await linesOf(server, storeId)).filter(({ event }) => event === 'opened')
    assert.deepEqual([opened.length, trapsOf(server).length], [1, before])
  })
})

describe('an answer that is streamed', () => {
  const count = 24
  let server: Server
  let storeId: string
  before(async () => {
    server = await startServer({ edit: withFaults, direct: true, vars: { LOG_LEVEL: 'debug' } })
    storeId = freshStoreId()
    await fill(server, storeId, count, 790_000)
  })
  after(() => server.stop())

  /** A pull whose beginning has been read, and of which the server has no more to say until more is read. */
  const startPull = async (request: number): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    const body = JSON.stringify(overHttp(pullFrame('v05', request, storeId)))
    const response = await fetch(server.url + httpTarget(storeId), { method: 'POST', body })
    const reader = response.body!.getReader()
    await reader.read()
    return reader
  }

  const readOn = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<number> => {
    let bytes = 0
    for (let next = await reader.read(); next.done !== true; next = await reader.read()) bytes += next.value.length
    return bytes
  }

  const assertServed = async (): Promise<void> => {
    const bytes = await within('another pull is answered', startPull(9).then(readOn))
    assert.ok(bytes > (count - 2) * 790_000, `${bytes} bytes`)
  }

  for (const how of hows) {
    it(`breaks off where the core ends in it by a ${how}, and the next request is served`, async () => {
      const before = trapsOf(server).length
      const [reader, peer] = [await startPull(77), await Peer.connect(server, 'v04', storeId)]
      await order(server, { how, at: '"requestId":77' })
      await assert.rejects(within('it breaks off', readOn(reader)), /terminated/)
      assert.equal((await peer.client.dismissed()).code, 1012)
      assert.equal(trapsOf(server).length, before + 1)
      await assertServed()
    })

    it(`breaks off where the core has ended by a ${how} meanwhile, be it replaced or not, and may be left`, async () => {
      const before = trapsOf(server).length
      const [left, read, late] = [await startPull(1), await startPull(2), await startPull(3)]
      await order(server, { how, at: '"event":"refused"' })
      // At the Worker, where no socket is, whose end would be an event that has it replaced.
      const target = httpTarget(storeId, { authToken: 'wrong' })
      assertUnavailable(await knock(server, { method: 'POST', target }))

      await left.cancel()
      await assert.rejects(within('it breaks off', readOn(read)), /terminated/)
      await assertServed()
      await assert.rejects(within('it breaks off', readOn(late)), /terminated/)
      assert.equal(trapsOf(server).length, before + 1)
    })
  }
})

describe('a request that waits at the Worker', () => {
  for (const how of ends) {
    it(`is answered 503 when the core ends by a ${how}`, async () => {
      const keys = await KeyServer.start()
      const vars = { JWT_JWKS_URL: keys.url, LOG_LEVEL: 'debug' }
      await withServer({ edit: withFaults, inspect: true, vars }, async (server) => {
        const pair = keyPairOf('ES256')
        const token = tokenBy(pair)
        keys.answer = 'silence'
        const storeId = freshStoreId()
        const waiting = [
          post(server, storeId, pullFrame('v04', 1, storeId), { authToken: token }),
          knock(server, { target: targetOf({ storeId, payload: { authToken: token } }), upgrade: 'websocket' }),
        ]
        await eventually('the keys are asked for', () => keys.count > 0)
        await endCore(server, how)
        for (const answer of await within('they are answered', Promise.all(waiting), 4_000)) assertUnavailable(answer)

        keys.answer = KeyServer.setOf([jwkOf(pair)])
        const again = await post(server, storeId, pullFrame('v04', 1, storeId), { authToken: token })
        assert.equal(again.status, 200, again.body)
      }).finally(() => keys.leave())
    })
  }
})

describe('with hooks', () => {
  let [listener, server] = [undefined! as HookListener, undefined! as Server]
  before(async () => {
    listener = await HookListener.start()
    const options = listener.options(['validate_payload', 'on_push', 'on_pull_res'])
    server = await startServer({ ...options, edit: withFaults, inspect: true, doRpcClients: true })
  })
  after(async () => {
    await server.stop()
    listener.stop()
  })

  for (const how of ends) {
    it(`what waits for one fails when the core ends by a ${how}: on a socket, over HTTP, in a call, in a stream`, async () => {
      const stores = { socket: freshStoreId(), http: freshStoreId(), call: freshStoreId(), stream: freshStoreId() }
      await fill(server, stores.stream, 4, 790_000)
      const [waiting, idle] = [await connectLive(server, stores.socket), await connectLive(server, stores.socket)]
      const held = [stores.socket, stores.http, stores.call].map((storeId) => listener.hold('on_push', storeId))
      waiting.push(batchOf(0))
      const overHttp = post(server, stores.http, pushFrame('v04', 1, stores.http, batchOf(0)))
      const overDoRpc = call(server, 'v04', stores.call, pushFrame('v04', 1, stores.call, batchOf(0)))
      overDoRpc.catch(() => {})
      await Promise.all(held.map(({ waits }) => waits))
      assert.deepEqual(await idle.settled(), [], 'another of the same store is answered meanwhile')
      let pages = 0
      const stuck = Promise.withResolvers<string>()
      listener.answer('on_pull_res', stores.stream, () => ((pages += 1) === 3 ? stuck.promise : ''))
      const streamed = call(server, 'v04', stores.stream, pullFrame('v04', 1, stores.stream))
      streamed.catch(() => {})
      await eventually('the stream waits', () => pages === 3)

      await endCore(server, how)
      assert.equal((await waiting.client.dismissed()).code, 1012)
      assertUnavailable(await within('the request over HTTP is answered', overHttp))
      await assert.rejects(within('the call is answered', overDoRpc), new RegExp(unavailable))
      await assert.rejects(within('the stream breaks off', streamed), /disconnected prematurely/)

      for (const { release } of held) release()
      stuck.resolve('')
      assert.deepEqual(await logOf(server, stores.http), [])
      await assertLive(server, idle, 0)
      for (const storeId of [stores.http, stores.call]) {
        const again = await Peer.connect(server, 'v04', storeId)
        assert.deepEqual((await again.pushed(batchOf(0))).answer, pushedFrame('v04', 1))
      }
    })

    it(`a client whose push has waited for one and is answered keeps its socket when the core ends by a ${how}`, async () => {
      const storeId = freshStoreId()
      const peer = await connectLive(server, storeId)
      const held = listener.hold('on_push', storeId)
      peer.push(batchOf(0))
      await held.waits
      held.release()
      await peer.client.upTo('it is answered', (frame) => frame.includes('"Exit"'))
      await endCore(server, how)
      await assertLive(server, peer, 1)
      assert.equal(peer.client.ended, undefined)
    })
  }

  for (const how of hows)
    it(`a turn that follows one closes the sockets of its object when the core ends in it by a ${how}`, async () => {
      const [storeId, elsewhere] = [freshStoreId(), freshStoreId()]
      const [pusher, idle, other] = [
        await connectLive(server, storeId),
        await connectLive(server, storeId),
        await connectLive(server, elsewhere),
      ]
      await order(server, { how, at: '"text":"unlucky', after: 1 }) // The hook tells the test of it first.
      pusher.push(marked('unlucky', 0))
      for (const { client } of [pusher, idle]) assert.equal((await client.dismissed()).code, 1012)
      await assertLive(server, other, 0)
      assertEvents(await logOf(server, storeId), marked('unlucky', 0))
    })

  it('one that panics at once costs its own socket, and a line says where, and not what', async () => {
    const storeId = freshStoreId()
    await withServer(listener.options(['on_push']), async (server) => {
      const [peer, idle] = [await connectLive(server, storeId), await connectLive(server, storeId)]
      peer.push(batchOf(0).map((event) => ({ ...event, name: 'v1.Panic', args: { text: secretOfFault } })))
      assert.deepEqual(await peer.client.dismissed(), { code: 1012, reason: 'connect again' })
      await assertLive(server, idle, 0)
      await linesOf(server, storeId) // By now all lines have come.

      const panics = server.logs.filter((line) => line.includes('"event":"panic"'))
      assert.deepEqual(
        panics.map((line) => line.replace(/\d+:\d+/, 'LINE:COLUMN')),
        ['{"level":"error","event":"panic","location":"src/lib.rs:LINE:COLUMN"}'],
      )
      const [line] = /\d+/.exec(panics[0]!)!
      const source = readFileSync(join(root, 'tests/hooks/src/lib.rs'), 'utf8').split('\n')
      assert.match(source[Number(line) - 1]!, /panic!/)
      assert.equal(trapsOf(server).length, 1)
      assert.ok(!server.logs.some((line) => line.includes(secretOfFault)), server.logs.join('\n'))
    })
  })

  it('one that panics before all of a frame has been sent costs the sockets of its object', async () => {
    await withServer(listener.options(['on_push_res']), async (server) => {
      const [storeId, headers] = [freshStoreId(), { 'x-device': 'panics' }]
      const idle = await connectLive(server, storeId)
      const peer = await Peer.connect(server, 'v05', storeId, { headers })
      peer.client.send([pushFrame('v05', 1, storeId, batchOf(0)), pushFrame('v05', 2, storeId, batchOf(1))])
      for (const { client } of [peer, idle]) assert.equal((await client.dismissed()).code, 1012)
      const again = await connectLive(server, storeId)
      await assertLive(server, again, eventsIn(again.client.frames).length)
    })
  })

  it('an alarm that cannot open its store goes off again', async () => {
    const [storeId, storage] = [freshStoreId(), mkdtempSync(join(tmpdir(), 'alarm-'))]
    const options = { ...listener.options(['on_committed']), edit: impatient, inspect: true, storage }
    const held = listener.hold('on_committed', storeId)
    await withServer(options, async (server) => {
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(batchOf(0))
      await held.waits
      await server.sql(storeId, 'ALTER TABLE context_7 RENAME TO hidden')
      await server.sql(storeId, 'CREATE TABLE context_7 (unrelated)')
      await server.kill()
    })
    await withServer(options, async (server) => {
      await eventually('the alarm meets it', () => server.logs.some((line) => line.includes('"open-failed"')))
      assert.equal(listener.of('on_committed', storeId).length, 1)
      await server.sql(storeId, 'DROP TABLE context_7')
      await server.sql(storeId, 'ALTER TABLE hidden RENAME TO context_7')
      await listener.told(storeId, 2)
    })
    rmSync(storage, { recursive: true })
  })

  it('an alarm in which the core ends goes off again, though nobody comes', async () => {
    const [storeId, storage] = [freshStoreId(), mkdtempSync(join(tmpdir(), 'alarm-'))]
    const options = { ...listener.options(['on_committed']), storage }
    /** Ends the core once, as it opens the store. */
    const unlucky = (source: string): string => `{
      const { decode } = TextDecoder.prototype
      let isLucky = false
      TextDecoder.prototype.decode = function (...args) {
        const text = decode.apply(this, args)
        if (isLucky || !text.includes('"event":"opened","storeId":"${storeId}"')) return text
        isLucky = true
        throw new Error()
      }
    }
    ${impatient(source)}`
    const held = listener.hold('on_committed', storeId)
    await withServer({ ...options, edit: impatient }, async (server) => {
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(batchOf(0))
      await held.waits
      await server.kill()
    })
    await withServer({ ...options, edit: unlucky }, async (server) => {
      await eventually('the alarm meets it', () => trapsOf(server).length === 1)
      await listener.told(storeId, 2)
    })
    rmSync(storage, { recursive: true })
  })

  it('a panic has its line also after the core was replaced', async () => {
    await withServer(listener.options(['on_push']), async (server) => {
      const panicking = batchOf(0).map((event) => ({ ...event, name: 'v1.Panic' }))
      for (const count of [1, 2]) {
        const peer = await Peer.connect(server, 'v04', freshStoreId())
        peer.push(panicking)
        assert.equal((await peer.client.dismissed()).code, 1012)
        const panics = (): number => server.logs.filter((line) => line.includes('"event":"panic"')).length
        await eventually('it is logged', () => panics() === count)
      }
    })
  })
})

describe('the functions of a trap', () => {
  it('have names in a file beside the one that is shipped, which is the same but for them', async () => {
    // Down to the core, however much of what lies above it a build inlines.
    const edit = (source: string): string => `Error.stackTraceLimit = 50;${withFaults(source)}`
    await withServer({ dist: 'dist', edit }, async (server) => {
      const storeId = freshStoreId()
      const peer = await connectLive(server, storeId)
      await order(server, { how: 'trap', at: 'unlucky' })
      peer.push(marked('unlucky', 0))
      await peer.client.dismissed()
      const [line] = await eventually('it is logged', () => trapsOf(server).length > 0 && trapsOf(server))
      const named = execFileSync(process.execPath, ['scripts/names.mjs', 'dist'], { cwd: root, input: line! })
      assert.doesNotMatch(String(named), /wasm-function\[/)
      assert.match(String(named), /livestore_sync_worker::backend::/)
    })

    const [shipped, named] = ['index_bg.wasm', namedName].map((name) => readFileSync(join(root, 'dist', name)))
    assert.deepEqual(stripped(named!), shipped!)
    assert.equal(namesOf(shipped!).size, 0)
    assert.ok(named!.length > shipped!.length)
  })
})
