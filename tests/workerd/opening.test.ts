/** What an object needs to open its store: that somebody may make it, that the variables parse, and whose object it is. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { serverOf } from '../harness/servers.ts'
import { tablesIn } from './database.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { call } from './over-do-rpc.ts'
import { framesIn, post } from './over-http.ts'
import { assertEvents, eventsIn, generations, logOf, pagesIn, Peer, pullFrame, pushedFrame, pushFrame } from './peer.ts'
import { Recorder, withRecorder } from './recorder.ts'
import { hs256, secret } from './tokens.ts'

describe('a token that grants reading alone', () => {
  const vars = { LOG_LEVEL: 'debug', JWT_SECRET: secret, JWT_ACCESS_CLAIM: 'access' }
  const server = serverOf({ vars, inspect: true })
  const payloadOf = (access: string): unknown => ({ authToken: hs256({ access }) })

  /** What is answered at each door to who comes with the token. */
  const answersAt = (storeId: string) => {
    const payload = payloadOf('read')
    const upgrade = (door: object) =>
      knock(server(), { target: targetOf({ storeId, payload, ...door }), upgrade: 'websocket' })
    return Promise.all([
      upgrade({}),
      upgrade({ path: '/websocket', transport: undefined }),
      post(server(), storeId, pullFrame('v05', 1, storeId), payload),
      post(server(), storeId, pushFrame('v04', 1, storeId, batchOf(0)), payload),
    ])
  }

  it('makes no store: there is none then, and its bearer is told so by every door', async () => {
    const storeId = freshStoreId()
    const answers = await answersAt(storeId)
    for (const { status, body, headers } of answers) {
      assert.deepEqual([status, body], [404, 'There is no such store, and the token does not allow to make one'])
      assert.match(headers['content-type'] ?? '', /^text\/plain\b/)
    }
    assert.equal(answers.at(-1)!.headers['access-control-allow-origin'], '*', 'a page can read it')
    assert.deepEqual(await tablesIn(server(), storeId), [])
    assert.deepEqual(
      (await linesOf(server(), storeId)).map(({ level, event, reason }) => [level, event, reason]),
      answers.map(() => ['info', 'refused', 'no-store']),
    )
  })

  it('reads a store that another has made, also one that has left memory', async () => {
    const storeId = freshStoreId()
    const writer = await Peer.connect(server(), 'v04', storeId, { payload: payloadOf('write') })
    await writer.pushed(batchOf(0, 3))
    for (const isDropped of [false, true]) {
      if (isDropped) await server().evict(storeId)
      for (const generation of generations) {
        assertEvents(await logOf(server(), storeId, generation, { payload: payloadOf('read') }), batchOf(0, 3))
      }
      const statuses = (await answersAt(storeId)).map(({ status }) => status)
      assert.deepEqual(statuses, [101, 101, 200, 200])
    }
  })
})

describe('a variable that does not parse', () => {
  const server = serverOf({ vars: { MAX_BATCH_EVENTS: 'many' }, doRpcClients: true })

  for (const generation of ['v04', 'v05'] as const) {
    it(`is told to objects that call in ${generation} by the failure of the call, and to the log`, async () => {
      const storeId = freshStoreId()
      for (const frame of [pushFrame(generation, 1, storeId, batchOf(0)), pullFrame(generation, 1, storeId)]) {
        await assert.rejects(call(server(), generation, storeId, frame), /Configuration: MAX_BATCH_EVENTS is 'many'/)
      }
      const lines = await eventually('both calls are logged', () => {
        const lines = server().logs.filter((line) => line.includes('"event":"configuration"') && line.includes(storeId))
        return lines.length >= 2 && lines
      })
      for (const line of lines) assert.match(line, /^\{"level":"error",.*MAX_BATCH_EVENTS is 'many'/)
    })
  }
})

describe('a store whose id is longer than the platform tells its object', () => {
  const server = serverOf({ vars: { LOG_LEVEL: 'debug' }, doRpcClients: true, inspect: true, edit: withRecorder() })
  const longId = (): string => `${freshStoreId()} ${'x'.repeat(1_100)}`

  /** Asserts that the object was built so often for this store, and never for another. */
  const assertOpened = async (storeId: string, count: number): Promise<void> => {
    const opened = (await linesOf(server(), storeId)).filter(({ event }) => event === 'opened')
    assert.equal(opened.length, count)
    const own = server().logs.filter((line) => line.includes('"event":"open-failed"'))
    assert.deepEqual(own, [])
  }

  for (const generation of generations) {
    it(`is known after an eviction from its ${generation} sockets`, async () => {
      const storeId = longId()
      const peer = await Peer.connect(server(), generation, storeId)
      peer.pull({ live: true })
      await peer.pushed(batchOf(0, 2))
      await server().evict(storeId)
      assert.deepEqual((await peer.pushed(batchOf(2))).answer, pushedFrame(generation, 3))
      await peer.settled()
      assertEvents(eventsIn(peer.client.frames), batchOf(0, 3))
      await assertOpened(storeId, 2)
    })
  }

  it('is known after an eviction from its sockets also where what is stored names another beside it', async () => {
    const storeId = longId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0))
    await server().sql(storeId, "INSERT INTO context_7 SELECT 'another', currentHead, backendId FROM context_7")
    await server().evict(storeId)
    assert.deepEqual((await peer.pushed(batchOf(1))).answer, pushedFrame('v04', 2))
    await assertOpened(storeId, 2)
  })

  it('is known after an eviction from who asks', async () => {
    const storeId = longId()
    for (const [head, generation] of (['v04', 'v05'] as const).entries()) {
      const push = pushFrame(generation, 1, storeId, batchOf(2 * head))
      assert.equal((await post(server(), storeId, push)).status, 200)
      await server().evict(storeId)
      const next = pushFrame(generation, 2, storeId, batchOf(2 * head + 1))
      const [answer] = await call(server(), generation, storeId, next)
      assert.deepEqual(JSON.parse(answer!), pushedFrame(generation, 2))
      await server().evict(storeId)
    }
    const frames = framesIn(await post(server(), storeId, pullFrame('v04', 3, storeId)))
    assertEvents(eventsIn(frames), batchOf(0, 4))
    await assertOpened(storeId, 5)
  })

  it('is known after an eviction from what is stored, when nobody asks but the alarm', async () => {
    const storeId = longId()
    const recorder = new Recorder(server, 'v04', storeId)
    const [page] = pagesIn(await recorder.pull())
    await post(server(), storeId, pushFrame('v04', 1, storeId, batchOf(0)))
    await server().evict(storeId)
    const calls = await recorder.called(1)
    assertEvents(eventsIn(calls), batchOf(0))
    assert.equal(pagesIn(calls)[0]!.backendId, page!.backendId)
    await assertOpened(storeId, 2)
  })
})
