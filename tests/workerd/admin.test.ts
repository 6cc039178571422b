/** What an operator is told of a store and may do to it, request by request, and that nobody else is or may. */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { kindOf, payload } from '../clients/backends.ts'
import { openDoRpcClient } from '../clients/do-rpc/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { LivePull } from '../clients/live-pull.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import type { Server, ServerOptions } from '../harness/server.ts'
import { onOneStorage, serverOf as anyServerOf, withServer } from '../harness/servers.ts'
import {
  administer,
  adminSecret,
  disconnect,
  errorOf,
  type Exported,
  exportOf,
  linesIn,
  reset,
  type State,
  stateOf,
  storePath,
  valueOf,
} from './administration.ts'
import { lineOf } from './answers.ts'
import { tablesIn } from './database.ts'
import { type Answer, type Knock, knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { framesIn, post } from './over-http.ts'
import {
  assertEvents,
  eventsIn,
  failedFrame,
  fill,
  type Generation,
  generations,
  logOf,
  pagesIn,
  Peer,
  pullDoneFrame,
  pullFrame,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'
import { Metrics, metricsOf } from './prometheus.ts'
import { SlowAnswer } from './slow-answer.ts'
import { hs256, secret } from './tokens.ts'

const administered = { ADMIN_SECRET: adminSecret, LOG_LEVEL: 'debug' }

const serverOf = (options: ServerOptions = {}): (() => Server) =>
  anyServerOf({ vars: administered, inspect: true, ...options })

/** Every route, for a store. */
const routesOf = (storeId: string) =>
  [
    { method: 'GET', target: storePath(storeId) },
    { method: 'GET', target: storePath(storeId, '/events') },
    { method: 'GET', target: storePath(storeId, '/export') },
    { method: 'GET', target: storePath(storeId, '/metrics') },
    { method: 'GET', target: `/admin/v1/metrics?storeId=${encodeURIComponent(storeId)}` },
    { method: 'POST', target: storePath(storeId, '/reset'), body: JSON.stringify({ storeId }) },
    { method: 'POST', target: storePath(storeId, '/disconnect') },
  ] as const

/** A store with events, and a peer that is level with it and answers nothing by itself. */
const storeWith = async (
  server: Server,
  count: number,
  generation: Generation = 'v04',
): Promise<{ readonly storeId: string; readonly peer: Peer }> => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(server, generation, storeId)
  if (count > 0) assert.deepEqual((await peer.pushed(batchOf(0, count))).answer, pushedFrame(generation, 1))
  return { storeId, peer }
}

/** An answer of the administration that is read later. */
const slowAnswer = (server: Server, target: string): Promise<SlowAnswer> =>
  SlowAnswer.begun(server, { target, headers: { authorization: `Bearer ${adminSecret}` } })

const backendIdOf = async (peer: Peer): Promise<string> => (await peer.pages()).at(-1)!.backendId!

describe('without ADMIN_SECRET', () => {
  for (const value of [undefined, '', ' ']) {
    it(`(${JSON.stringify(value)}) each route is answered as any unknown path is, also with a secret`, async () => {
      await withServer({ vars: { ADMIN_SECRET: value } }, async (server) => {
        const facts = ({ status, body, headers }: Answer): object => ({ status, body, type: headers['content-type'] })
        const unknown = facts(await knock(server, { target: '/unknown' }))
        assert.deepEqual(unknown, { status: 400, body: 'Invalid path', type: 'text/plain' })
        for (const route of routesOf('a')) {
          for (const secret of [adminSecret, '', value ?? 'undefined']) {
            const headers = { authorization: `Bearer ${secret}` }
            assert.deepEqual(facts(await knock(server, { ...route, headers })), unknown, route.target)
          }
        }
        assert.deepEqual(facts(await knock(server, { target: '/admin/v1/nowhere' })), unknown)
      })
    })
  }
})

describe('a request to the administration', () => {
  const server = serverOf()

  const wrong: ReadonlyArray<readonly [string, string | undefined]> = [
    ['no Authorization', undefined],
    ['another secret', 'Bearer wrong'],
    ['the secret and more', `Bearer ${adminSecret}x`],
    ['the beginning of the secret', `Bearer ${adminSecret.slice(0, -1)}`],
    ['the secret in other letters', `Bearer ${adminSecret.toUpperCase()}`],
    ['an empty secret', 'Bearer '],
    ['the bare secret', adminSecret],
    ['another scheme', `Basic ${adminSecret}`],
    ['the token of the clients', `Bearer ${payload.authToken}`],
  ]
  for (const [what, authorization] of wrong) {
    it(`with ${what} is answered 401 in JSON whatever it asks, and reaches no store`, async () => {
      const { storeId, peer } = await storeWith(server(), 3)
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
      const beyond = { method: 'GET', target: `${storePath(storeId)}?secret=${adminSecret}` }
      for (const route of [...routesOf(storeId), beyond, { target: '/admin/v1/nowhere' }]) {
        const error = errorOf(await knock(server(), { ...route, headers }), 401)
        assert.ok(!error.includes(adminSecret))
      }
      assert.deepEqual(peer.client.ended, undefined)
      assertEvents(await logOf(server(), storeId), batchOf(0, 3))
    })
  }

  it('takes the name of the scheme in any letters', async () => {
    const { storeId } = await storeWith(server(), 1)
    for (const scheme of ['bearer', 'BEARER']) {
      const headers = { authorization: `${scheme} ${adminSecret}` }
      assert.equal((await knock(server(), { target: storePath(storeId), headers })).status, 200)
    }
  })

  for (const target of [
    '/admin/v1/',
    '/admin/v1/nowhere',
    '/admin/v1/stores/a/nothing',
    '/admin/v1/stores/a/events/1',
    '/admin/v1/stores/a%2Fevents/b/c',
    '/admin/v1/metrics/a',
  ]) {
    it(`for ${target} is answered 404`, async () => {
      assert.match(errorOf(await administer(server(), target), 404), /no such route/)
    })
  }

  it('is no request to the administration without the whole beginning of its path', async () => {
    for (const target of ['/admin/v1', '/admin/v2/stores/a', '/x/admin/v1/stores/a']) {
      const { status, body } = await administer(server(), target)
      assert.deepEqual([status, body], [400, 'Invalid path'], target)
    }
  })

  for (const route of routesOf('a')) {
    it(`for ${route.target} is answered 405 by any method but ${route.method}`, async () => {
      // Which a store itself takes, too.
      const isDeletion = (method: string): boolean => method === 'DELETE' && route.target === storePath('a')
      const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'].filter(
        (method) => method !== route.method && !isDeletion(method),
      )
      for (const method of methods) {
        const error = errorOf(await administer(server(), route.target, { method }), 405)
        assert.ok(error.includes(route.method), error)
      }
    })
  }

  const unreadable: ReadonlyArray<readonly [string, string, RegExp]> = [
    ['/admin/v1/metrics', 'without a store', /storeId/],
    [storePath('a', '/events?after=-1'), 'after a negative number', /after/],
    [storePath('a', '/events?after=1.5'), 'after a fraction', /after/],
    [storePath('a', '/events?after='), 'after nothing', /after/],
    [storePath('a', '/events?limit=many'), 'with a limit that is no number', /limit/],
    ['/admin/v1/stores/%FF', 'for a store id that is not UTF-8', /UTF-8/],
  ]
  for (const [target, what, says] of unreadable) {
    it(`${what} is answered 400 and told which parameter it is`, async () => {
      assert.match(errorOf(await administer(server(), target), 400), says)
    })
  }

  it('for a store that does not exist is answered 404 by each route, and makes no table', async () => {
    const storeId = freshStoreId()
    for (const { target, ...route } of routesOf(storeId)) {
      assert.equal(errorOf(await administer(server(), target, route), 404), 'there is no such store', target)
    }
    assert.deepEqual(await tablesIn(server(), storeId), [])
    assert.deepEqual(await linesOf(server(), storeId), [], 'no store was opened')
    const { peer } = await storeWith(server(), 0)
    await peer.settled()
    assert.notDeepEqual(await tablesIn(server(), peer.storeId), [], 'control: a store has tables')
  })

  it('is answered the same when its store has just left memory', async () => {
    const { storeId } = await storeWith(server(), 3)
    for (const { target, ...route } of routesOf(storeId)) {
      await server().evict(storeId)
      assert.equal((await administer(server(), target, route)).status, 200, target)
    }
  })

  for (const storeId of ['', 'a/b', 'ä ö', '%', '%2F', 'events', 'a?b#c', '"\\\n', '🎉', '../x']) {
    it(`finds the store ${JSON.stringify(storeId)}, and no other`, async () => {
      const peer = await Peer.connect(server(), 'v04', storeId)
      await peer.pushed(batchOf(0, 2, `of-${storeId.length}`))
      const { answer } = await peer.pushed([])
      assert.deepEqual(answer, pushedFrame('v04', 2))
      const state = await stateOf(server(), storeId)
      assert.deepEqual([state.storeId, state.head], [storeId, 2])
      assert.deepEqual(
        (await exportOf(server(), storeId)).map(({ clientId }) => clientId),
        Array<string>(2).fill(`of-${storeId.length}`),
      )
      const metrics = await metricsOf(server(), storeId)
      assert.ok(metrics.samples.every(({ labels }) => labels['store'] === storeId))
      assert.equal(metrics.value('events_total'), 2)
      const query = `?${new URLSearchParams({ storeId })}`
      const asked = Metrics.parse((await administer(server(), `/admin/v1/metrics${query}`)).body)
      assert.equal(asked.value('head', { store: storeId }), 2)
      assert.equal(await disconnect(server(), storeId), 1)
      assert.equal((await peer.client.dismissed()).code, 1012)
      await reset(server(), storeId)
      assert.equal((await stateOf(server(), storeId)).head, 0)
    })
  }
})

describe('the state of a store', () => {
  const server = serverOf()
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

  it('of a store without events says so', async () => {
    const { storeId, peer } = await storeWith(server(), 0)
    const backendId = await backendIdOf(peer)
    peer.client.terminate()
    const { bytes, time, ...state } = await eventually('the socket is gone', async () => {
      const now = await stateOf(server(), storeId)
      return now.sockets.length === 0 && now
    })
    assert.deepEqual(state, {
      storeId,
      backendId,
      head: 0,
      events: 0,
      format: 7,
      lastPush: null,
      connections: {
        byTransport: { ws: 0, http: 0, 'do-rpc': 0 },
        byGeneration: { v03: 0, v04: 0, v05: 0, unknown: 0 },
      },
      inFlightBytes: 0,
      sockets: [],
      clientObjects: [],
      stuckClients: [],
      lastErrors: [],
      status: 'open',
    } satisfies Omit<State, 'bytes' | 'time'>)
    assert.match(time, iso)
    assert.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes`)
  })

  it('tells its head, its events, its bytes and its last push, also after an eviction', async () => {
    const { storeId, peer } = await storeWith(server(), 3)
    const small = await stateOf(server(), storeId)
    await peer.pushed(batchOf(3, 500))
    const [page] = await peer.pages({ after: 502, backendId: await backendIdOf(peer) })
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.head, state.events], [503, 503])
    assert.deepEqual(state.lastPush, { seqNum: 503, at: page!.createdAt[0] })
    assert.match(state.lastPush!.at, iso)
    assert.ok(state.bytes > small.bytes, `${small.bytes} and then ${state.bytes} bytes`)
    await server().evict(storeId)
    const woken = await stateOf(server(), storeId)
    assert.deepEqual(
      [woken.backendId, woken.head, woken.events, woken.bytes, woken.lastPush],
      [state.backendId, 503, 503, state.bytes, state.lastPush],
    )
  })

  it('counts sockets of each generation and a request over HTTP while it is answered', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 12_000, 1_000)
    const peers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    const connections = async (): Promise<State['connections']> => (await stateOf(server(), storeId)).connections
    const silent = await eventually('the sockets are counted', async () => {
      const now = await connections()
      return now.byTransport.ws === 3 && now
    })
    assert.deepEqual(silent.byGeneration, { v03: 1, v04: 0, v05: 0, unknown: 2 }, 'before they have said a word')
    for (const peer of peers) await peer.pushed([])
    assert.deepEqual(await connections(), {
      byTransport: { ws: 3, http: 0, 'do-rpc': 0 },
      byGeneration: { v03: 1, v04: 1, v05: 1, unknown: 0 },
    })
    const answer = await SlowAnswer.toRequest(server(), storeId, pullFrame('v05', 1, storeId))
    assert.deepEqual(await connections(), {
      byTransport: { ws: 3, http: 1, 'do-rpc': 0 },
      byGeneration: { v03: 1, v04: 1, v05: 2, unknown: 0 },
    })
    // The runtime takes some of it, and then nothing.
    await eventually('more than 100,000 bytes wait for its reader', async () => {
      const { inFlightBytes } = await stateOf(server(), storeId)
      return inFlightBytes > 100_000 && (await metricsOf(server(), storeId)).value('in_flight_bytes') === inFlightBytes
    })
    assert.equal((await answer.rest()).isCut, false)
    peers[0]!.client.terminate()
    const left = await eventually('who has left is not counted', async () => {
      const now = await connections()
      return now.byTransport.ws === 2 && now
    })
    assert.deepEqual(left, {
      byTransport: { ws: 2, http: 0, 'do-rpc': 0 },
      byGeneration: { v03: 0, v04: 1, v05: 1, unknown: 0 },
    })
  })

  it('lists sockets with what their live pulls lack, also after an eviction', async () => {
    const storeId = freshStoreId()
    const [slow, level] = [
      await Peer.connect(server(), 'v05', storeId),
      await Peer.connect(server(), 'v04', storeId),
    ] as const
    slow.pull({ live: true })
    await slow.client.next()
    level.pull({ live: true })
    await level.client.next()
    for (let head = 0; head < 40; head += 1) {
      await level.pushed(batchOf(head))
      level.ack(1)
    }
    level.ack(1)
    await level.settled()
    const { sockets } = await stateOf(server(), storeId)
    const [first, second] = [sockets[0]!, sockets[1]!]
    const received = eventsIn(slow.client.frames).length
    assert.deepEqual([first.generation, first.pulls, first.stuck], ['v05', 1, false])
    assert.equal(first.lag, 40 - received)
    assert.ok(first.lag > 0 && first.unacknowledged >= 16, JSON.stringify(first))
    assert.deepEqual(second, {
      transport: 'ws',
      generation: 'v04',
      pulls: 1,
      lag: 0,
      unacknowledged: 0,
      stuck: false,
      subject: null,
      clientId: 'client',
      inspector: false,
    })
    assert.equal((await metricsOf(server(), storeId)).value('pull_lag_events'), first.lag)
    await server().evict(storeId)
    const woken = await stateOf(server(), storeId)
    assert.deepEqual(woken.sockets.map(({ generation, lag }) => [generation, lag]).toSorted(), [
      ['v04', 0],
      ['v05', first.lag],
    ])
  })

  it('keeps the last refusals with their reason and time, the oldest first, but no lost race', async () => {
    const { storeId, peer } = await storeWith(server(), 1)
    await peer.pushed([{ ...batchOf(1)[0]!, seqNum: 7 }])
    await peer.pushed(batchOf(0, 1, 'stale'))
    await peer.pushed(batchOf(1), 'another-lifetime')
    const { lastErrors, time } = await stateOf(server(), storeId)
    assert.deepEqual(
      lastErrors.map(({ reason }) => reason),
      ['no-batch', 'backend-id-mismatch'],
    )
    assert.match(lastErrors[0]!.message, /batch\[0\]\.seqNum is 7/)
    for (const { at } of lastErrors) assert.ok(iso.test(at) && at <= time, at)
  })

  it('names who is connected and who was refused, by the claim of the token and the id in the events', async () => {
    const vars = { ...administered, AUTH_TOKEN: undefined, JWT_SECRET: secret }
    await withServer({ vars }, async (own) => {
      const storeId = freshStoreId()
      const authToken = hs256({ sub: 'user-7' })
      const peer = await Peer.connect(own, 'v04', storeId, { payload: { authToken } })
      await peer.pushed(batchOf(0, 1, 'device-1'))
      await peer.pushed([{ ...batchOf(1, 1, 'device-1')[0]!, seqNum: 7 }])
      const { sockets, lastErrors } = await stateOf(own, storeId)
      const named = { subject: 'user-7', clientId: 'device-1' }
      assert.deepEqual(
        [...sockets, ...lastErrors].map(({ subject, clientId }) => ({ subject, clientId })),
        [named, named],
      )
      await own.evict(storeId)
      const [woken] = (await stateOf(own, storeId)).sockets
      assert.deepEqual([woken!.subject, woken!.clientId], ['user-7', null], 'the claim is kept with the socket')
    })
  })

  it('keeps 20 of them', async () => {
    const { storeId, peer } = await storeWith(server(), 1)
    for (let count = 0; count < 25; count += 1) await peer.pushed([{ ...batchOf(1)[0]!, seqNum: 100 + count }])
    const { lastErrors } = await stateOf(server(), storeId)
    assert.equal(lastErrors.length, 20)
    assert.match(lastErrors[0]!.message, /seqNum is 105/)
    assert.match(lastErrors.at(-1)!.message, /seqNum is 124/)
  })

  it('calls a client stuck after 10 stale pushes in a row, warns once, and no more once it gets one in', async () => {
    const { storeId, peer } = await storeWith(server(), 3)
    const push = async (clientId: string, count: number): Promise<void> => {
      for (let times = 0; times < count; times += 1) await peer.pushed(batchOf(0, 1, clientId))
    }
    const stuck = async (): Promise<State['stuckClients']> => (await stateOf(server(), storeId)).stuckClients
    await push('lucky', 9)
    await push('stuck', 9)
    assert.deepEqual(await stuck(), [])
    await peer.pushed(batchOf(3, 1, 'lucky'))
    await push('lucky', 9)
    await push('stuck', 4)
    const [reason, message] = ['server-ahead', 'a push continued from 0, but the head is 4']
    assert.deepEqual(await stuck(), [{ clientId: 'stuck', refusals: 13, reason, message, head: 0 }])
    const warnings = (await linesOf(server(), storeId)).filter(({ event }) => event === 'stuck')
    assert.deepEqual(
      warnings.map(({ level, message }) => [level, /client stuck was refused 10 times/.test(message!)]),
      [['warn', true]],
    )
    await peer.pushed(batchOf(4, 1, 'stuck'))
    assert.deepEqual(await stuck(), [])
  })
})

describe('client objects of a store', () => {
  const server = serverOf({ doRpcClients: true, inspect: false })

  for (const generation of rpcGenerations) {
    it(`of ${generation} are listed while they pull live, also after an eviction, and none is left after a reset`, async () => {
      const storeId = freshStoreId()
      const options = { url: server().wsUrl, storeId, payload }
      const client = await openDoRpcClient(generation as 'v04' | 'v05', server(), options)
      const live = await LivePull.start(client)
      try {
        assert.equal(await client.push(batchOf(0, 3)), 'ok')
        await live.until(3)
        const objects = await eventually('the object has got everything', async () => {
          const { clientObjects } = await stateOf(server(), storeId)
          return clientObjects[0]?.lag === 0 && clientObjects
        })
        assert.deepEqual(
          objects.map(({ id, ...rest }) => [rest, /^[0-9a-f]{64}$/.test(id)]),
          [[{ binding: generation === 'v04' ? 'CLIENT_V04' : 'CLIENT_V05', generation, lag: 0 }, true]],
        )
        const metrics = await metricsOf(server(), storeId)
        assert.deepEqual([metrics.value('client_objects'), metrics.value('pull_lag_events')], [1, 0])
        assert.equal(metrics.value('duration_milliseconds_count', { what: 'call' }), metrics.value('deliveries_total'))
        await server().evict(storeId)
        assert.deepEqual((await stateOf(server(), storeId)).clientObjects, objects)
        const { received } = await client.object.callbacks()
        const backendId = await reset(server(), storeId)
        // By its content it is the end of the pull, which today's clients have no use for: see `client-objects.test.ts`.
        const isCalled = async (): Promise<boolean> => (await client.object.callbacks()).received > received
        await eventually('it is called once more', isCalled)
        const peer = await Peer.connect(server(), 'v04', storeId)
        assert.deepEqual((await peer.pushed(batchOf(0, 2, 'after'), backendId)).answer, pushedFrame('v04', 1))
        assert.deepEqual((await stateOf(server(), storeId)).clientObjects, [])
        await server().evict(storeId)
        await peer.pushed(batchOf(2, 1, 'after'), backendId)
        const state = await stateOf(server(), storeId)
        assert.deepEqual([state.clientObjects, state.head], [[], 3])
        assert.equal((await client.object.callbacks()).received, received + 1, 'nothing of the next lifetime comes')
        assert.deepEqual(live.events, batchOf(0, 3))
      } finally {
        await live.stop()
        await client.close()
      }
    })
  }

  it('that get nothing in are counted as calls that failed', async () => {
    const storeId = freshStoreId()
    const options = { url: server().wsUrl, storeId, payload, bindingName: 'NO_SUCH_BINDING' }
    const client = await openDoRpcClient('v04', server(), options)
    const live = await LivePull.start(client)
    try {
      assert.equal(await client.push(batchOf(0)), 'ok')
      const metrics = await eventually('the call has failed', async () => {
        const now = await metricsOf(server(), storeId)
        return now.value('calls_failed_total') > 0 && now
      })
      assert.deepEqual([metrics.value('calls_failed_total'), metrics.value('client_objects')], [1, 0])
      const dropped = (await linesOf(server(), storeId)).filter(({ event }) => event === 'client-object-dropped')
      assert.deepEqual(
        dropped.map(({ level, message }) => [level, /NO_SUCH_BINDING/.test(message!)]),
        [['warn', true]],
      )
    } finally {
      await live.stop()
      await client.close()
    }
  })
})

describe('an export', () => {
  const server = serverOf()

  /** Pushes one event whose args are written in exactly these letters. */
  const pushArgs = async (peer: Peer, head: number, args: string | undefined): Promise<void> => {
    const { args: _, ...event } = batchOf(head)[0]!
    const request = peer.request++
    const frame = JSON.stringify(pushFrame('v04', request, peer.storeId, [{ ...event, ...(args && { args: 0 }) }]))
    peer.client.send(frame.replace('"args":0', `"args":${args}`))
    assert.deepEqual(JSON.parse(await peer.client.next()), pushedFrame('v04', request))
  }

  it('is every event once, in order, with its args byte for byte and the time of its push', async () => {
    const { storeId, peer } = await storeWith(server(), 0)
    const all = ['{"b":1.0,"a":1e3}', '"\\u00e9\\/"', '"é😀\u2028"', 'null', '[ {} , [ ] ]', '-0.10', undefined, '""']
    for (const [head, args] of all.entries()) await pushArgs(peer, head, args)
    const createdAt = (await peer.pages()).flatMap((page) => page.createdAt)
    const lines = linesIn(await administer(server(), storePath(storeId, '/events')))
    assert.deepEqual(
      lines,
      all.map(
        (args, head) =>
          `{"seqNum":${head + 1},"parentSeqNum":${head},"name":"v1.Noted","args":${args ?? 'null'},` +
          `"clientId":"client","sessionId":"static","createdAt":"${createdAt[head]}"}`,
      ),
    )
  })

  it('escapes names and ids of any kind', async () => {
    const { storeId, peer } = await storeWith(server(), 0)
    const odd = '"\\\n\u0001\u007f é😀'
    await peer.pushed([{ ...batchOf(0)[0]!, name: odd, clientId: odd, sessionId: odd }])
    const [event] = await exportOf(server(), storeId)
    assert.deepEqual([event!.name, event!.clientId, event!.sessionId], [odd, odd, odd])
  })

  it('keeps an event on one line, however its args are spread', async () => {
    const { storeId, peer } = await storeWith(server(), 0)
    await pushArgs(peer, 0, '{\n  "text": "a\\nb",\r\n  "list": [\n  ]\n}')
    await pushArgs(peer, 1, '1')
    const events = await exportOf(server(), storeId)
    assert.deepEqual(
      events.map(({ args }) => args),
      [{ text: 'a\nb', list: [] }, 1],
    )
  })

  it('of a store without events is empty', async () => {
    const { storeId } = await storeWith(server(), 0)
    assert.deepEqual(await exportOf(server(), storeId), [])
  })

  describe('of 1,050 events', () => {
    let storeId = ''
    const numbersOf = async (query: string): Promise<readonly number[]> =>
      (await exportOf(server(), storeId, query)).map(({ seqNum }) => seqNum)
    const range = (from: number, to: number): readonly number[] =>
      Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

    before(async () => {
      storeId = freshStoreId()
      await fill(server(), storeId, 1_050)
    })

    const cases: ReadonlyArray<readonly [string, readonly [number, number]]> = [
      ['', [1, 1_050]],
      ['?after=0', [1, 1_050]],
      ['?limit=1', [1, 1]],
      ['?limit=100', [1, 100]],
      ['?limit=101', [1, 101]],
      ['?limit=250', [1, 250]],
      ['?limit=0', [1, 0]],
      ['?limit=18446744073709551615', [1, 1_050]],
      ['?after=999', [1_000, 1_050]],
      ['?after=999&limit=51', [1_000, 1_050]],
      ['?after=40&limit=205', [41, 245]],
      ['?after=1050', [1, 0]],
      ['?after=1051', [1, 0]],
      ['?after=9007199254740992', [1, 0]],
      ['?after=18446744073709551615&limit=5', [1, 0]],
    ]
    for (const [query, [from, to]] of cases) {
      it(`with the query '${query}' has ${Math.max(0, to - from + 1)} of them`, async () => {
        assert.deepEqual(await numbersOf(query), range(from, to))
      })
    }

    it('does not have what is pushed after its end, and a later one goes on from there', async () => {
      const head = (await numbersOf('')).at(-1)!
      const peer = await Peer.connect(server(), 'v04', storeId)
      await peer.pushed(batchOf(head, 5))
      assert.deepEqual(await numbersOf(`?after=${head}`), range(head + 1, head + 5))
    })
  })

  it('of 20 MB arrives complete, while the store serves', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 18_000, 1_000)
    const peer = await Peer.connect(server(), 'v04', storeId)
    const answer = await slowAnswer(server(), storePath(storeId, '/events'))
    assert.deepEqual((await peer.pushed(batchOf(18_000))).answer, pushedFrame('v04', 1))
    const { text, isCut } = await answer.rest()
    assert.equal(isCut, false)
    assert.ok(text.length > 20_000_000, `${text.length} bytes`)
    const exported = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Exported)
      .map(({ createdAt: _, ...event }) => event)
    assertEvents(exported, [...events, ...batchOf(18_000)])
  })

  it('of events of 1.85 MB arrives complete', async () => {
    const { storeId, peer } = await storeWith(server(), 0)
    const events = [0, 1, 2].map((head) => ({ ...batchOf(head)[0]!, args: { text: 'x'.repeat(1_850_000) } }))
    for (const event of events) await peer.pushed([event])
    const exported = await exportOf(server(), storeId)
    assertEvents(
      exported.map(({ createdAt: _, ...event }) => event),
      events,
    )
  })

  it('that is broken off in the middle does no harm', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 18_000, 1_000)
    const peer = await Peer.connect(server(), 'v04', storeId)
    for (let times = 0; times < 5; times += 1) {
      const answer = await slowAnswer(server(), storePath(storeId, '/events'))
      answer.leave()
    }
    assert.deepEqual((await peer.pushed(batchOf(18_000))).answer, pushedFrame('v04', 1))
    assert.equal((await exportOf(server(), storeId)).length, events.length + 1)
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.head, state.connections.byTransport], [18_001, { ws: 1, http: 0, 'do-rpc': 0 }])
  })

  it('is cut off by a reset in its middle, so that half a log is not taken for one', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 18_000, 1_000)
    const answer = await slowAnswer(server(), storePath(storeId, '/events'))
    await reset(server(), storeId)
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 5, 'after'))
    const { text, isCut } = await answer.rest()
    assert.equal(isCut, true, `${text.length} bytes came`)
    assert.ok(!text.includes('"clientId":"after"'), 'it has nothing of what came afterwards')
    assert.equal((await exportOf(server(), storeId)).length, 5)
  })

  it('counts events and not numbers where the log has lost some', async () => {
    const { storeId, peer } = await storeWith(server(), 50)
    await server().sql(storeId, 'UPDATE context_7 SET currentHead = 60')
    await server().evict(storeId)
    await peer.pushed(batchOf(60, 100))
    const missing = (await linesOf(server(), storeId)).filter(({ event }) => event === 'events-missing')
    assert.deepEqual(
      missing.map(({ level }) => level),
      ['error'],
    )
    assert.equal((await exportOf(server(), storeId)).length, 150)
    assert.equal((await exportOf(server(), storeId, '?limit=120')).length, 120)
  })
})

describe('a reset', () => {
  const server = serverOf()

  /** It names its store, in more bytes than are read. */
  const bodyOf100KB = (storeId: string): string => JSON.stringify({ storeId, why: 'x'.repeat(100_000) })

  const wrong: ReadonlyArray<
    readonly [what: string, bodyFor: (storeId: string) => string | Uint8Array, headers?: Knock['headers']]
  > = [
    ['no body', () => ''],
    ['another id', () => '{"storeId":"another"}'],
    ['the bare id', (storeId) => storeId],
    ['the id as a text', (storeId) => JSON.stringify(storeId)],
    ['the id under another name', (storeId) => JSON.stringify({ store: storeId })],
    ['the id in an array', (storeId) => JSON.stringify([{ storeId }])],
    ['the id in other letters', (storeId) => JSON.stringify({ storeId: storeId.toUpperCase() })],
    ['a body that is no JSON', (storeId) => `{"storeId":"${storeId}"`],
    ['a body that is no UTF-8', () => Uint8Array.of(0x7b, 0xff, 0x7d)],
    ['a body of 100 KB', bodyOf100KB],
    ['a body of 100 KB whose length is not said', bodyOf100KB, { 'transfer-encoding': 'chunked' }],
  ]
  for (const [what, bodyFor, headers = {}] of wrong) {
    it(`with ${what} is answered 400, and nothing is done`, async () => {
      const { storeId, peer } = await storeWith(server(), 3)
      const { backendId } = await stateOf(server(), storeId)
      const route = { method: 'POST', body: bodyFor(storeId), headers }
      assert.match(errorOf(await administer(server(), storePath(storeId, '/reset'), route), 400), /nothing was done/)
      const state = await stateOf(server(), storeId)
      assert.deepEqual([state.backendId, state.head], [backendId, 3])
      assert.deepEqual((await peer.pushed(batchOf(3))).answer, pushedFrame('v04', 2), 'its sockets live on')
      assertEvents(await logOf(server(), storeId), batchOf(0, 4))
    })
  }

  it('begins another lifetime of its store and no other: a new backend id and no events', async () => {
    const [{ storeId, peer }, other] = [await storeWith(server(), 7), await storeWith(server(), 3)]
    const before = await stateOf(server(), storeId)
    const backendId = await reset(server(), storeId)
    assert.notEqual(backendId, before.backendId)
    assert.equal((await peer.client.dismissed()).code, 1012)
    const state = await stateOf(server(), storeId)
    assert.deepEqual(
      [state.backendId, state.head, state.events, state.lastPush, state.sockets],
      [backendId, 0, 0, null, []],
    )
    // That it was reset is kept, in a table of its own.
    assert.ok(state.bytes <= before.bytes + 2 * 4_096)
    assert.deepEqual(await exportOf(server(), storeId), [])
    for (const generation of generations) assertEvents(await logOf(server(), storeId, generation), [])
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event === 'reset')
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [['warn', 'removed 7 events']],
    )

    assert.equal(other.peer.client.ended, undefined, 'other stores are left alone')
    assert.deepEqual((await other.peer.pushed(batchOf(3))).answer, pushedFrame('v04', 2))
    assertEvents(await logOf(server(), other.storeId), batchOf(0, 4))
  })

  for (const generation of rpcGenerations) {
    it(`ends the live pulls of a ${generation} socket, also one that waits for acknowledgements, before it is closed`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 2_500)
      const peer = await Peer.connect(server(), generation, storeId)
      const { backendId: old } = await stateOf(server(), storeId)
      for (const after of [2_500, 0]) peer.pull({ live: true, after, backendId: old })
      await peer.settled()
      const backendId = await reset(server(), storeId)
      assert.deepEqual(framesIn(await post(server(), storeId, pushFrame(generation, 9, storeId, batchOf(0)))), [
        JSON.stringify(pushedFrame(generation, 9)),
      ])
      const error = { _tag: 'BackendIdMismatchError', expected: backendId, received: old }
      const ends = [await peer.client.next(), await peer.client.next()].map((frame) => JSON.parse(frame) as unknown)
      assert.deepEqual(
        ends,
        [1, 2].map((request) => failedFrame(generation, request, { _tag: 'Fail', error })),
      )
      assert.deepEqual(await peer.client.dismissed(), { code: 1012, reason: 'the store was reset: connect again' })
      assert.deepEqual(
        pagesIn(peer.client.frames).filter((page) => page.backendId !== old),
        [],
        'nothing of the next lifetime reaches it',
      )
    })
  }

  it('ends the pull of a 0.3 socket in words, and the socket stays open, for nothing', async () => {
    const storeId = freshStoreId()
    const [asking, silent] = [
      await Peer.connect(server(), 'v03', storeId),
      await Peer.connect(server(), 'v03', storeId),
    ] as const
    asking.pull()
    await asking.client.next()
    await asking.pushed(batchOf(0, 2))
    for (const peer of [asking, silent]) await peer.settled()
    await reset(server(), storeId)
    const words = 'the store was emptied since this client pulled from it: clear its data and start again'
    const refused = (requestId: string): object => ({ _tag: 'WSMessage.Error', requestId, message: words })
    assert.deepEqual(JSON.parse(await asking.client.next()), refused('request-1'))

    for (const isDropped of [false, true]) {
      if (isDropped) await server().evict(storeId)
      const pusher = await Peer.connect(server(), 'v03', storeId)
      assert.deepEqual((await pusher.pushed(batchOf(Number(isDropped), 1, 'new'))).answer, pushedFrame('v03', 1))
      for (const peer of [asking, silent]) {
        assert.deepEqual(await peer.settled(), [], 'it hears of nothing')
        const { answer } = await peer.pushed(batchOf(Number(isDropped) + 1))
        assert.deepEqual(answer, refused(`request-${peer.request - 1}`), 'though its head is that of the store')
        assert.equal(peer.client.ended, undefined)
      }
      const late = await Peer.connect(server(), 'v03', storeId)
      late.pull({ after: 2 })
      if (!isDropped) assert.deepEqual(JSON.parse(await late.client.next()), refused('request-1'), 'it has more')
    }
    assertEvents(await logOf(server(), storeId), batchOf(0, 2, 'new'))
  })

  for (const generation of rpcGenerations) {
    it(`is told to a ${generation} client of before by BackendIdMismatchError, whatever it asks and by which way`, async () => {
      const { storeId, peer } = await storeWith(server(), 5, generation)
      const old = await backendIdOf(peer)
      const backendId = await reset(server(), storeId)
      const error = { _tag: 'BackendIdMismatchError', expected: backendId, received: old }
      const refused = (request: number): object => failedFrame(generation, request, { _tag: 'Fail', error })
      const again = await Peer.connect(server(), generation, storeId)
      assert.deepEqual((await again.pushed(batchOf(5), old)).answer, refused(1))
      assert.deepEqual((await again.pushed(batchOf(0), old)).answer, refused(2))
      again.pull({ after: 5, backendId: old, live: true })
      assert.deepEqual(JSON.parse(await again.client.next()), refused(3))
      for (const frame of [
        pushFrame(generation, 4, storeId, batchOf(5), old),
        pullFrame(generation, 4, storeId, { after: 5, backendId: old }),
      ]) {
        const [answer, ...more] = framesIn(await post(server(), storeId, frame))
        assert.deepEqual([JSON.parse(answer!), more], [refused(4), []])
      }
      assert.deepEqual((await again.pushed(batchOf(0, 2, 'new'), backendId)).answer, pushedFrame(generation, 4))
      assertEvents(await logOf(server(), storeId, generation), batchOf(0, 2, 'new'))
    })

    it(`ends a ${generation} pull over HTTP that is being answered as one of another lifetime`, async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 18_000, 1_000)
      const { backendId: old } = await stateOf(server(), storeId)
      const answer = await SlowAnswer.toRequest(server(), storeId, pullFrame(generation, 1, storeId))
      const backendId = await reset(server(), storeId)
      const frames = await answer.frames()
      const error = { _tag: 'BackendIdMismatchError', expected: backendId, received: old }
      assert.deepEqual(JSON.parse(frames.at(-1)!), failedFrame(generation, 1, { _tag: 'Fail', error }))
      const pages = pagesIn(frames)
      assert.equal(pages.length, frames.length - 1)
      assert.deepEqual([...new Set(pages.map((page) => page.backendId))], [old], 'no page is of the new lifetime')
      assert.ok(pages.at(-1)!.remaining > 0, 'it was in the middle')
      assert.deepEqual((await stateOf(server(), storeId)).connections.byTransport.http, 0)
    })
  }

  it('is survived by its effect: an eviction and a restart change nothing of it', () =>
    onOneStorage({ vars: administered, inspect: true }, async (start) => {
      const [storeId, first] = [freshStoreId(), await start()]
      const peer = await Peer.connect(first, 'v04', storeId)
      await peer.pushed(batchOf(0, 100))
      const backendId = await reset(first, storeId)
      await first.evict(storeId)
      assert.deepEqual(await exportOf(first, storeId), [])
      const again = await Peer.connect(first, 'v04', storeId)
      assert.equal(await backendIdOf(again), backendId)
      assert.deepEqual((await again.pushed(batchOf(0, 3, 'new'), backendId)).answer, pushedFrame('v04', 2))
      await first.kill()
      const second = await start()
      const state = await stateOf(second, storeId)
      assert.deepEqual([state.backendId, state.head, state.events], [backendId, 3, 3])
      assertEvents(await logOf(second, storeId), batchOf(0, 3, 'new'))
    }))

  it('can be repeated, each time with another backend id', async () => {
    const { storeId } = await storeWith(server(), 3)
    const ids = [await reset(server(), storeId), await reset(server(), storeId), await reset(server(), storeId)]
    assert.equal(new Set(ids).size, 3)
    assert.equal((await stateOf(server(), storeId)).backendId, ids[2])
  })

  it('forgets who was stuck', async () => {
    const { storeId, peer } = await storeWith(server(), 3)
    for (let count = 0; count < 12; count += 1) await peer.pushed(batchOf(0, 1, 'stuck'))
    assert.equal((await stateOf(server(), storeId)).stuckClients.length, 1)
    await reset(server(), storeId)
    assert.deepEqual((await stateOf(server(), storeId)).stuckClients, [])
  })

  it('of a store whose storage fails is answered 500, and nothing is done', async () => {
    const { storeId, peer } = await storeWith(server(), 3)
    await server().sql(storeId, "CREATE TRIGGER fault BEFORE INSERT ON context_7 BEGIN SELECT RAISE(ABORT, 'no'); END")
    const { backendId } = await stateOf(server(), storeId)
    const route = { method: 'POST', body: JSON.stringify({ storeId }) }
    errorOf(await administer(server(), storePath(storeId, '/reset'), route), 500)
    await server().sql(storeId, 'DROP TRIGGER fault')
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.backendId, state.head], [backendId, 3])
    assert.deepEqual((await peer.pushed(batchOf(3))).answer, pushedFrame('v04', 2))
    assertEvents(await logOf(server(), storeId), batchOf(0, 4))
  })
})

describe('a disconnect', () => {
  const server = serverOf({ inspect: false })

  it('closes every socket of its store with 1012, says how many, and none of another', async () => {
    const storeId = freshStoreId()
    const other = await storeWith(server(), 1)
    assert.equal((await storeWith(server(), 1)).peer.client.ended, undefined)
    const peers = await Promise.all(
      [...generations, ...generations].map((generation) => Peer.connect(server(), generation, storeId)),
    )
    for (const peer of peers) await peer.pushed([])
    assert.equal(await disconnect(server(), storeId), 6)
    for (const peer of peers) {
      const { code, reason } = await peer.client.dismissed()
      assert.deepEqual([code, reason], [1012, 'disconnected by the administration: connect again'])
    }
    assert.equal(await disconnect(server(), storeId), 0)
    assert.deepEqual((await other.peer.pushed(batchOf(1))).answer, pushedFrame('v04', 2))
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.sockets, state.connections.byTransport.ws], [[], 0])
  })

  for (const generation of rpcGenerations) {
    it(`of ${generation} clients in the middle of a live pull: they connect again and miss nothing`, async () => {
      const storeId = freshStoreId()
      const options = { url: server().wsUrl, storeId, payload }
      const client = await kindOf(generation).makeClient(server())(options)
      const pusher = await Peer.connect(server(), 'v04', storeId)
      await client.connect()
      const live = await LivePull.start(client)
      try {
        await pusher.pushed(batchOf(0, 3))
        await live.until(3)
        assert.equal(await disconnect(server(), storeId), 2)
        const again = await Peer.connect(server(), 'v04', storeId)
        await again.pushed(batchOf(3, 3))
        assert.deepEqual(await live.until(6, 30_000), batchOf(0, 6))
      } finally {
        await live.stop()
        await client.close()
      }
    })

    it(`ends a ${generation} pull over HTTP that is being answered after a page, from which its client goes on`, async () => {
      const storeId = freshStoreId()
      const events = await fill(server(), storeId, 18_000, 1_000)
      const answer = await SlowAnswer.toRequest(server(), storeId, pullFrame(generation, 1, storeId))
      assert.equal(await disconnect(server(), storeId), 0)
      const frames = await answer.frames()
      assert.deepEqual(JSON.parse(frames.at(-1)!), pullDoneFrame(generation, 1))
      const pages = pagesIn(frames)
      assert.equal(pages.length, frames.length - 1)
      assert.ok(pages.at(-1)!.remaining > 0, 'it was in the middle')
      const received = eventsIn(frames)
      const { backendId } = await stateOf(server(), storeId)
      const rest = await post(
        server(),
        storeId,
        pullFrame(generation, 2, storeId, { after: received.length, backendId }),
      )
      assertEvents([...received, ...eventsIn(framesIn(rest))], events)
    })
  }

  it('of a 0.3 client in the middle of its pull: that ends, and it misses nothing once its app starts again', async () => {
    const storeId = freshStoreId()
    const open = async (cursor: number) => {
      const client = await kindOf('v03').makeClient(server())({ url: server().wsUrl, storeId, payload })
      await client.connect()
      return { client, live: await LivePull.start(client, cursor) }
    }
    const pusher = await Peer.connect(server(), 'v04', storeId)
    const [first, ended] = [await open(0), 'disconnected by the administration: connect again']
    await pusher.pushed(batchOf(0, 3))
    await first.live.until(3)
    assert.equal(await disconnect(server(), storeId), 2)
    // It would miss what is pushed before it is connected again, and never know.
    assert.deepEqual(await eventually('its pull ends', () => first.live.ended), {
      error: 'InvalidPullError',
      message: ended,
    })
    await first.client.close()
    await (await Peer.connect(server(), 'v04', storeId)).pushed(batchOf(3, 3))
    assert.deepEqual(first.live.events, batchOf(0, 3))
    const second = await open(3)
    assert.deepEqual(await second.live.until(6), batchOf(3, 3))
    await second.live.stop()
    await second.client.close()
  })
})

describe('metrics', () => {
  const server = serverOf()

  it('are counters, gauges and histograms that are each described once, and are all there from the start', async () => {
    const { storeId } = await storeWith(server(), 0)
    const metrics = await metricsOf(server(), storeId)
    const prefix = 'livestore_sync_'
    assert.deepEqual(
      [...metrics.types].map(([name, type]) => `${name.replace(prefix, '')} ${type}`),
      [
        'head gauge',
        'store_bytes gauge',
        'sockets gauge',
        'client_objects gauge',
        'pull_lag_events gauge',
        'in_flight_bytes gauge',
        'woken_timestamp_seconds gauge',
        'pushes_total counter',
        'pushes_repeated_total counter',
        'events_total counter',
        'pulls_total counter',
        'pages_total counter',
        'deliveries_total counter',
        'calls_failed_total counter',
        'connections_total counter',
        'refusals_total counter',
        'duration_milliseconds histogram',
      ],
    )
    assert.ok(metrics.samples.every(({ name }) => name.startsWith(prefix)))
    const reasons = metrics.samples.filter(({ name }) => name === `${prefix}refusals_total`)
    assert.ok(reasons.length >= 16 && reasons.every(({ value }) => value === 0))
  })

  it('move by what was done, by nothing more, and never by being read', async () => {
    const storeId = freshStoreId()
    const pusher = await Peer.connect(server(), 'v04', storeId)
    await pusher.pushed([])
    let last = await metricsOf(server(), storeId)
    assert.equal(last.value('connections_total'), 1)
    const assertGrown = async (what: string, growth: Record<string, number>): Promise<void> => {
      const now = await metricsOf(server(), storeId)
      assert.deepEqual(now.since(last), growth, what)
      last = now
    }
    await assertGrown('nothing', {})
    await pusher.pushed(batchOf(0, 3))
    await assertGrown('a push', { pushes: 1, events: 3 })
    await pusher.pushed(batchOf(0, 3))
    await assertGrown('the same push', { pushes_repeated: 1 })
    await pusher.pushed(batchOf(0, 5))
    await assertGrown('a push that is new in part', { pushes: 1, events: 2 })
    await pusher.pushed([])
    await assertGrown('a push of nothing', {})
    await pusher.pages()
    await assertGrown('a pull', { pulls: 1, pages: 1 })
    const peers: Peer[] = []
    for (const generation of generations) {
      const peer = await Peer.connect(server(), generation, storeId)
      peer.pull({ live: true })
      await peer.client.next()
      peers.push(peer)
    }
    await assertGrown('three live pulls', { connections: 3, pulls: 3, pages: 3 })
    await pusher.pushed(batchOf(5, 250))
    for (const peer of peers) {
      await eventually('it has arrived', () => eventsIn(peer.client.frames).length === 255)
    }
    await assertGrown('a push to three of them, in pages of 100', { pushes: 1, events: 250, deliveries: 7 })
    assert.deepEqual((await post(server(), storeId, pushFrame('v05', 1, storeId, batchOf(255)))).status, 200)
    await assertGrown('a push over HTTP', { pushes: 1, events: 1, deliveries: 3 })
    await post(server(), storeId, pullFrame('v04', 1, storeId))
    await assertGrown('a pull over HTTP', { pulls: 1, pages: 3 })
    assert.deepEqual(last.value('sockets'), 4)
    assert.deepEqual(last.value('head'), 256)
    assert.equal(last.value('store_bytes'), (await stateOf(server(), storeId)).bytes)
    assert.deepEqual(last.refusals, {})
  })

  it('count refusals by their reason', async () => {
    const { storeId, peer } = await storeWith(server(), 3)
    await peer.pushed(batchOf(0, 1, 'stale'))
    await peer.pushed(batchOf(0, 1, 'stale'))
    await peer.pushed(batchOf(3), 'another')
    await peer.pushed([{ ...batchOf(3)[0]!, seqNum: 9 }])
    peer.client.send('not JSON', pushFrame('v04', 90, 'another-store', batchOf(3)))
    await peer.settled()
    const plain = await Peer.connect(server(), 'v03', storeId)
    plain.client.send({ _tag: 'WSMessage.AdminInfoReq', requestId: 'a', adminSecret: 'wrong' })
    await plain.client.next()
    await post(server(), storeId, pushFrame('v05', 1, storeId, batchOf(1, 1, 'stale')))
    assert.deepEqual((await metricsOf(server(), storeId)).refusals, {
      'server-ahead': 3,
      'backend-id-mismatch': 1,
      'other-store': 1,
      'no-batch': 1,
      malformed: 1,
      'admin-secret': 1,
    })
  })

  it('have histograms that add up', async () => {
    const { storeId } = await storeWith(server(), 3)
    for (let count = 0; count < 7; count += 1) await post(server(), storeId, pullFrame('v04', 1, storeId))
    const metrics = await metricsOf(server(), storeId)
    for (const what of ['request', 'frame', 'call']) {
      const buckets = metrics.samples.filter(
        ({ name, labels }) => name === 'livestore_sync_duration_milliseconds_bucket' && labels['what'] === what,
      )
      const bounds = buckets.map(({ labels }) => (labels['le'] === '+Inf' ? Infinity : Number(labels['le'])))
      assert.deepEqual(
        bounds,
        bounds.toSorted((one, other) => one - other),
      )
      assert.equal(bounds.at(-1), Infinity)
      const counts = buckets.map(({ value }) => value)
      assert.deepEqual(
        counts,
        counts.toSorted((one, other) => one - other),
        'each bucket holds those below it',
      )
      const count = metrics.value('duration_milliseconds_count', { what })
      assert.equal(counts.at(-1), count)
      assert.equal(count, what === 'request' ? 7 : 0)
      assert.ok(metrics.value('duration_milliseconds_sum', { what }) >= 0)
    }
  })

  it('count again from nothing when the object woke, which they tell', async () => {
    const { storeId } = await storeWith(server(), 3)
    const first = await metricsOf(server(), storeId)
    assert.equal(first.value('pushes_total'), 1)
    await server().evict(storeId)
    const second = await metricsOf(server(), storeId)
    assert.deepEqual([second.value('pushes_total'), second.value('head')], [0, 3])
    assert.ok(second.value('woken_timestamp_seconds') >= first.value('woken_timestamp_seconds'))
    const ageS = Date.now() / 1_000 - second.value('woken_timestamp_seconds')
    assert.ok(ageS >= 0 && ageS < 60, `${ageS} s`)
  })
})

describe('the administrative messages of 0.3', () => {
  const server = serverOf()

  const message = (kind: 'Info' | 'ResetRoom', secret: unknown, requestId = 'ask'): object => ({
    _tag: `WSMessage.Admin${kind}Req`,
    requestId,
    ...(secret === undefined ? {} : { adminSecret: secret }),
  })
  const invalid = { _tag: 'WSMessage.Error', requestId: 'ask', message: 'Invalid admin secret' }

  it('tell the id of the object', async () => {
    const { storeId, peer } = await storeWith(server(), 0, 'v03')
    peer.client.send(message('Info', adminSecret))
    const { info, ...rest } = JSON.parse(await peer.client.next()) as { info: { durableObjectId: string } }
    assert.deepEqual(rest, { _tag: 'WSMessage.AdminInfoRes', requestId: 'ask' })
    assert.match(info.durableObjectId, /^[0-9a-f]{64}$/)
    const again = await Peer.connect(server(), 'v03', storeId)
    await server().evict(storeId)
    again.client.send(message('Info', adminSecret))
    assert.equal(
      (JSON.parse(await again.client.next()) as { info: typeof info }).info.durableObjectId,
      info.durableObjectId,
    )
  })

  for (const kind of ['Info', 'ResetRoom'] as const) {
    for (const secret of [undefined, '', 'wrong', `${adminSecret} `, payload.authToken]) {
      it(`${kind} with the secret ${JSON.stringify(secret)} is refused, and nothing is done`, async () => {
        const { storeId, peer } = await storeWith(server(), 3, 'v03')
        await peer.settled()
        peer.client.send(message(kind, secret))
        assert.deepEqual(JSON.parse(await peer.client.next()), invalid)
        assertEvents(await logOf(server(), storeId), batchOf(0, 3))
        const refused = (await linesOf(server(), storeId)).filter(({ event }) => event === 'refused')
        assert.deepEqual(
          refused.map((line) => [line.level, line.reason, line.message]),
          [['info', 'admin-secret', 'Invalid admin secret']],
        )
      })
    }
  }

  it('are refused where there is no ADMIN_SECRET, also with an empty one', () =>
    withServer({}, async (bare) => {
      const peer = await Peer.connect(bare, 'v03', 'a')
      for (const kind of ['Info', 'ResetRoom'] as const) {
        for (const secret of [undefined, '', adminSecret]) {
          peer.client.send(message(kind, secret))
          assert.deepEqual(JSON.parse(await peer.client.next()), invalid)
        }
      }
    }))

  it('empty the store for good, as a reset does: RPC sockets are closed, those of 0.3 hear nothing more', async () => {
    const storeId = freshStoreId()
    const [asking, other] = [await Peer.connect(server(), 'v03', storeId), await Peer.connect(server(), 'v03', storeId)]
    const closed = await Promise.all(rpcGenerations.map((generation) => Peer.connect(server(), generation, storeId)))
    other.pull()
    await other.client.next()
    await asking.pushed(batchOf(0, 9))
    for (const peer of [asking, other]) await peer.settled()
    const { backendId } = await stateOf(server(), storeId)
    asking.client.send(message('ResetRoom', adminSecret))
    assert.deepEqual(JSON.parse(await asking.client.next()), { _tag: 'WSMessage.AdminResetRoomRes', requestId: 'ask' })
    for (const peer of closed) assert.equal((await peer.client.dismissed()).code, 1012)
    assert.match(await other.client.next(), /^\{"_tag":"WSMessage.Error","requestId":"request-1",/)
    await server().evict(storeId)
    const state = await stateOf(server(), storeId)
    assert.deepEqual([state.head, state.events], [0, 0])
    assert.notEqual(state.backendId, backendId)
    const again = await Peer.connect(server(), 'v03', storeId)
    assert.deepEqual((await again.pushed(batchOf(0, 2, 'new'))).answer, pushedFrame('v03', 1))
    for (const peer of [asking, other]) assert.deepEqual(await peer.settled(), [])
    for (const generation of generations) assertEvents(await logOf(server(), storeId, generation), batchOf(0, 2, 'new'))
    const lines = (await linesOf(server(), storeId)).filter(({ event }) => event === 'reset')
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [['warn', 'removed 9 events']],
    )
  })

  it('mean nothing to sockets of other generations', async () => {
    for (const generation of rpcGenerations) {
      const { storeId, peer } = await storeWith(server(), 2, generation)
      peer.client.send(message('ResetRoom', adminSecret))
      assert.match(lineOf(generation, await peer.client.next()), /^Defect: Unknown request tag/)
      assertEvents(await logOf(server(), storeId), batchOf(0, 2))
    }
  })

  it('are refused to whoever is let in by no token', async () => {
    const target = targetOf({ storeId: freshStoreId(), path: '/websocket', transport: undefined, payload: {} })
    assert.equal((await knock(server(), { target, upgrade: 'websocket' })).status, 400)
  })
})
