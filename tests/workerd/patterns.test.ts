/**
 * An app's own Worker that imports the package (`tests/apps/patterns.ts`): what its classes, hooks and routers may do beside
 * syncing, and what stays the sync backend's own.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { bundleApp } from '../harness/app.ts'
import { type ConnectOptions, targetOf } from '../harness/raw-client.ts'
import { authToken, type Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { lineOf } from './answers.ts'
import { knock } from './knock.ts'
import { framesIn } from './over-http.ts'
import { assertEvents, eventsIn, type Generation, generations, Peer, pullFrame, pushFrame } from './peer.ts'

const objects = {
  ROOM: 'Room',
  STRICT: 'Strict',
  BOARD: 'Board',
  TIMED: 'Timed',
  TELLING: 'Telling',
  EFFECTS: 'Effects',
}

const server = serverOf(async () => ({
  dist: bundleApp('patterns.ts'),
  binding: undefined,
  objects,
  // What the variables of a deployment say is the sync backend's where options say nothing else.
  vars: { AUTH_TOKEN: undefined, ALLOWED_ORIGINS: undefined, MAX_BATCH_EVENTS: '5' },
}))

/** What a method of an object returns. */
const call = async (binding: keyof typeof objects, storeId: string, method: string, ...args: unknown[]) => {
  const target = `/call/${binding}/${storeId}/${method}/${encodeURIComponent(JSON.stringify(args))}`
  const { returned, thrown } = JSON.parse((await knock(server(), { target })).body) as Record<string, unknown>
  if (thrown !== undefined) throw new Error(String(thrown))
  return returned
}

const pathOf = (generation: Generation, path: string): string =>
  generation === 'v03' ? `${path}/websocket` : `${path}/`

/** A connection below a path of the app's router. */
const connect = (generation: Generation, path: string, storeId: string, options: Partial<ConnectOptions> = {}) =>
  Peer.connect(server(), generation, storeId, { path: pathOf(generation, path), ...options })

/** The answer to a push, in one line without the number of its request. */
const answerTo = async (peer: Peer, batch: unknown): Promise<string> =>
  lineOf(peer.generation, JSON.stringify((await peer.pushed(batch)).answer)).replace(/^(\S+) \S+?(:|$)/, '$1$2')

const named = (name: string) => batchOf(0).map((event) => ({ ...event, name }))

/** Signs a session of this name in. */
const signIn = async (session: string): Promise<void> => {
  const database = await server().miniflare.getD1Database('DB')
  await database.exec('CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, user TEXT)')
  await database.prepare('INSERT OR REPLACE INTO session VALUES (?, ?)').bind(session, 'ada').run()
}

/** A socket of an app's own. */
const open = async (path: string): Promise<{ readonly socket: WebSocket; readonly messages: string[] }> => {
  const socket = new WebSocket(`${server().wsUrl}${path}`)
  const messages: string[] = []
  socket.on('message', (message) => messages.push(String(message)))
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  return { socket, messages }
}

describe('a class that is extended', () => {
  it('gives another env to the sync backend, and has methods and statements of its own', async () => {
    const storeId = freshStoreId().replaceAll('-', '_')
    const peer = await connect('v04', '/room', storeId)
    assert.match(await answerTo(peer, batchOf(0, 4)), /4 events, but at most 3/)
    assert.match(await answerTo(peer, batchOf(0, 3)), /^Success/)
    assert.deepEqual(await call('ROOM', storeId, 'about'), { events: 3, own: '5', given: '3' })
  })

  it('has sockets beside those that sync: neither hears of the other, also after an eviction', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v05', '/room', storeId)
    peer.pull({ live: true })
    await peer.settled()
    const { socket, messages } = await open(`/presence/${storeId}/presence`)
    const { socket: other, messages: others } = await open(`/presence/${storeId}/presence`)
    socket.send('here')
    await eventually('both hear of it', () => messages.length === 1 && others.length === 1)
    await server().miniflare.unsafeEvictDurableObject('', 'Room', { name: storeId, webSockets: 'hibernate' })
    other.send('still here')
    await eventually('both hear of it after the eviction', () => messages.length === 2 && others.length === 2)
    assert.deepEqual(messages, ['ada: here', 'ada: still here'])
    await peer.pushed(batchOf(0))
    await server().miniflare.unsafeEvictDurableObject('', 'Room', { name: storeId, webSockets: 'hibernate' })
    const again = await connect('v04', '/room', storeId)
    await again.pushed(batchOf(1))
    assertEvents(eventsIn(await peer.settled()), batchOf(0, 2).slice(1))
    assert.equal(messages.length, 2)
    for (const one of [socket, other]) {
      assert.equal(one.readyState, WebSocket.OPEN)
      one.close()
    }
  })

  it('looks a session up in a hook, by a header that it has forwarded', async () => {
    await signIn('s1')
    const storeId = freshStoreId()
    for (const generation of generations) {
      const stranger = await connect(generation, '/room', storeId, { headers: { cookie: 'session=none' } })
      assert.match(await answerTo(stranger, named('v1.Private')), new RegExp(`nobody is signed in to ${storeId}`))
    }
    const ada = await connect('v04', '/room', storeId, { headers: { cookie: 'a=b; session=s1' } })
    assert.match(await answerTo(ada, named('v1.Private')), /^Success/)
  })
})

describe('an alarm of the class', () => {
  const alarmAt = (storeId: string) => call('TIMED', storeId, 'alarmAt') as Promise<number | null>
  const calls = (storeId: string) => call('TIMED', storeId, 'calls') as Promise<readonly number[]>

  it('is called when its time has come, and not with those of the sync backend, which are not lost either', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v04', '/timed', storeId)
    const startedAt = Date.now()
    await call('TIMED', storeId, 'setAlarm', 4_000)
    // The hook fails, so that the sync backend sets an alarm for a second later, and again and again.
    await peer.pushed(batchOf(0))
    assert.ok(((await alarmAt(storeId)) ?? 0) >= startedAt + 3_900, 'the app sees its own alarm')
    const called = await eventually('it is called', async () => (await calls(storeId))[0], 10_000)
    assert.ok(called >= startedAt + 4_000, `it was called after ${called - startedAt} ms`)
    assert.equal((await calls(storeId)).length, 1)
    assert.equal(await alarmAt(storeId), null)
    const failures = (): number => server().logs.filter((line) => /"event":"hook-error"/.test(line)).length
    const before = failures()
    await eventually('the sync backend is called, too', () => failures() > before, 20_000)
    assert.equal((await calls(storeId)).length, 1)
  })

  it('is called again where it fails, and can be set anew and deleted', async () => {
    const storeId = freshStoreId()
    await connect('v04', '/timed', storeId)
    await call('TIMED', storeId, 'fails')
    await call('TIMED', storeId, 'setAlarm', 0)
    await eventually('it is called again', async () => (await calls(storeId)).length === 2, 20_000)
    await call('TIMED', storeId, 'setAlarm', 60_000)
    assert.ok((await alarmAt(storeId)) !== null)
    await server().miniflare.unsafeEvictDurableObject('', 'Timed', { name: storeId, webSockets: 'hibernate' })
    assert.ok((await alarmAt(storeId)) !== null, 'it is known after an eviction')
    await call('TIMED', storeId, 'deleteAlarm')
    assert.equal(await alarmAt(storeId), null)
  })
})

describe('a mixin', () => {
  it('adds syncing to a class that has fetch, alarm and methods of its own', async () => {
    const storeId = freshStoreId()
    const count = async (path: string): Promise<string> => (await knock(server(), { target: path })).body
    assert.equal(await count(`/count/${storeId}/count`), 'counted 1')
    const peer = await connect('v05', '/board', storeId)
    assert.match(await answerTo(peer, batchOf(0)), /^Success/)
    assert.equal(await count(`/count/${storeId}/more`), 'counted 1')
    assert.equal(await call('BOARD', storeId, 'alarms'), 0)
    assert.equal(await call('BOARD', storeId, 'broadcast'), 0, 'it is told of its own sockets')
    assert.match(await answerTo(peer, batchOf(1)), /^Success/)
  })
})

describe('several classes in one Worker', () => {
  it('go each by its own options', async () => {
    const storeId = freshStoreId()
    const [strict, room] = [await connect('v04', '/strict', storeId), await connect('v04', '/room', storeId)]
    assert.match(await answerTo(strict, batchOf(0, 2)), /2 events, but at most 1/)
    assert.match(await answerTo(strict, named('v1.Other')), /v1\.Other/)
    assert.match(await answerTo(room, named('v1.Other')), /^Success/)
    assert.match(await answerTo(await connect('v04', '/telling', storeId), batchOf(0, 6)), /hasEnv/)
  })

  it('serve the transports that they list, and give the headers that they add to answers over HTTP', async () => {
    const storeId = freshStoreId()
    const target = targetOf({ storeId, path: '/strict/', transport: 'http' })
    const body = JSON.stringify(pullFrame('v04', 1, storeId))
      .replace('SyncWsRpc', 'SyncHttpRpc')
      .replace(',"live":false', '')
    const answer = await knock(server(), { method: 'POST', target, body })
    assert.equal(answer.status, 200, answer.body)
    assert.equal(answer.headers['x-strict'], 'yes')
    assert.equal(answer.headers['cache-control'], 'no-cache')
    assert.equal(answer.headers['x-app'], 'patterns')
    assert.equal(framesIn(answer).length, 2)
    await assert.rejects(call('STRICT', storeId, 'rpc', 'bytes'), /transport do-rpc is not enabled/)
  })
})

describe('what a hook is shown', () => {
  const toldBy = async (peer: Peer): Promise<Record<string, unknown>> => {
    const line = await answerTo(peer, batchOf(0))
    return JSON.parse(line.slice(line.indexOf('{'))) as Record<string, unknown>
  }

  for (const generation of generations) {
    it(`over a ${generation} socket: the payload, what forwardHeaders takes, env and where it comes from`, async () => {
      const storeId = freshStoreId()
      const payload = { authToken: 'any', nested: { a: [1, 'é'] } }
      const peer = await connect(generation, '/telling', storeId, { payload, headers: { 'x-user': 'ada' } })
      const told = { storeId, payload, headers: [['x-user', 'ada']], transport: 'ws', generation, hasEnv: true }
      assert.deepEqual(await toldBy(peer), told)
      await server().miniflare.unsafeEvictDurableObject('', 'Telling', { name: storeId, webSockets: 'hibernate' })
      assert.deepEqual(await toldBy(peer), told, 'it is kept over an eviction')
    })
  }

  it('of a request that the app hands to the object as it came: the same', async () => {
    const storeId = freshStoreId()
    const payload = { authToken: 'any' }
    const peer = await connect('v04', '/direct', storeId, { payload })
    const headers = [['x-user', 'nobody']]
    const told = { storeId, payload, headers, transport: 'ws', generation: 'v04', hasEnv: true }
    assert.deepEqual(await toldBy(peer), told)
  })

  it('is not more than can be kept: a larger payload is refused, and only where hooks want to see it', async () => {
    const storeId = freshStoreId()
    const payload = { text: 'x'.repeat(8_200) }
    const target = (path: string) => targetOf({ storeId, path, payload })
    const answer = await knock(server(), { target: target('/telling/'), upgrade: 'websocket' })
    assert.equal(answer.status, 400)
    assert.match(answer.body, /payload, claims and forwarded headers .* 82\d\d bytes, but at most 8192/)
    assert.equal((await knock(server(), { target: target('/strict/'), upgrade: 'websocket' })).status, 101)
  })
})

describe('hooks that are Effects', () => {
  it('are run, as far as they need no fiber', async () => {
    const storeId = freshStoreId()
    const peer = await connect('v05', '/effects', storeId)
    assert.match(await answerTo(peer, named('v1.Refused')), /the Effect refuses$/)
    assert.match(await answerTo(peer, named('v1.Failed')), /in a word$/)
    assert.match(await answerTo(peer, named('v1.Died')), /JSON/)
    assert.match(await answerTo(peer, named('v1.Slept')), /asks for more of its fiber .*Effect\.runPromise/)
    assert.match(await answerTo(peer, named('v1.Rescued')), /^Success/)
    assert.match(
      await answerTo(
        peer,
        batchOf(1).map((event) => ({ ...event, name: 'v1.Logged' })),
      ),
      /^Success/,
    )
    await eventually('it is logged', () => server().logs.includes('an Effect says v1.Logged'))
    assert.equal((await peer.pages()).flatMap((page) => page.events).length, 2)
  })
})

describe('who may sync', () => {
  const status = async (path: string, payload: unknown, headers: Record<string, string> = {}) => {
    const target = targetOf({ storeId: 'who', path, payload })
    const { status: code, body } = await knock(server(), { target, upgrade: 'websocket', headers })
    return `${code} ${body}`.trim()
  }
  const cause = (message: string): string =>
    `400 UnknownError: { "cause": Error: ${message}, "note": undefined, "payload": undefined }`

  it('is said by a hook alone, by all headers of the request, from pages of any origin', async () => {
    await signIn('s2')
    assert.equal(await status('/session/', undefined), cause('no session for who over ws'))
    const headers = { cookie: 'session=s2', origin: 'https://elsewhere.example' }
    assert.equal(await status('/session/', undefined, headers), '101')
    // Whoever may not sync is told so, before he is told how.
    const target = targetOf({ storeId: 'who', path: '/session/', payload: undefined })
    assert.equal((await knock(server(), { target })).status, 400)
    assert.equal((await knock(server(), { target, headers })).status, 426)
  })

  it('is said by options, and by no variable then', async () => {
    assert.equal(await status('/token/', { authToken: 'second' }), '101')
    assert.match(await status('/token/', { authToken }), /^400 .*Invalid auth token/)
  })

  it('is nobody where nothing says so, unless the app has a router of its own', async () => {
    assert.match(await status('/unsaid/', { authToken }), /^503 Nobody can connect yet/)
    assert.equal(await status('/room/', undefined), '101')
  })

  it('is decided on the payload that a schema decodes, whatever is called a schema', async () => {
    for (const schema of ['effect', 'standard', 'decode']) {
      const path = `/schema/${schema}/`
      assert.equal(await status(path, { authToken: 'right', device: 'phone', extra: 1 }), '101', schema)
      assert.equal(await status(path, { authToken: 'wrong' }), cause('wrong token for who'))
      assert.equal(await status(path, { authToken: 'right', device: '7' }), cause('device 7 of a reader is lost'))
      const roles = { authToken: 'right', device: '7', roles: ['a', 'b'], more: { x: 1, y: null } }
      assert.equal(await status(path, roles), cause('device 7 of a a,b is lost'))
      for (const wrong of [
        undefined,
        {},
        { authToken: 7 },
        { authToken: 'ab' },
        { authToken: 'right', device: 'x' },
        { authToken: 'right', more: { x: 'y' } },
      ]) {
        assert.match(await status(path, wrong), /^400 UnknownError/, `${schema}: ${JSON.stringify(wrong)}`)
      }
    }
    assert.equal(await status('/schema/effect/', {}), cause('payload.authToken must be a string, but is missing'))
  })

  it('is said in the words of 0.3 where a client of 0.3 asks', async () => {
    const target = targetOf({ storeId: 'who', path: '/v03/any', transport: undefined, payload: { authToken: 'no' } })
    const answer = await knock(server(), { target, upgrade: 'websocket' })
    assert.equal(answer.status, 400)
    assert.match(answer.body, /^LiveStore\.UnexpectedError: .*wrong token/)
    assert.equal(answer.headers['x-old'], 'yes')
    const peer = await Peer.connect(server(), 'v03', freshStoreId(), {
      path: '/v03/websocket',
      payload: { authToken: 'right' },
    })
    assert.match(await answerTo(peer, batchOf(0)), /^WSMessage\.PushAck/)
  })
})

describe('a router of an app', () => {
  it('may have a client sync another store than it names', async () => {
    const storeId = freshStoreId()
    const target = targetOf({ storeId, path: '/tenant/acme/', transport: 'http' })
    const body = JSON.stringify(pushFrame('v04', 1, `acme-${storeId}`, batchOf(0))).replace('SyncWsRpc', 'SyncHttpRpc')
    const answer = await knock(server(), { method: 'POST', target, body })
    assert.equal(answer.status, 200, answer.body)
    const peer = await connect('v04', '/room', `acme-${storeId}`)
    assertEvents(
      (await peer.pages()).flatMap((page) => page.events),
      batchOf(0),
    )
  })

  it('is left what is no request to sync', async () => {
    const answer = await knock(server(), { target: '/room/?storeId=a' })
    assert.equal(`${answer.status} ${answer.body}`, '404 the rest of the app')
  })

  it('is told of an option that there is not, before it can be missed', async () => {
    const { body } = await knock(server(), { target: '/misspelt' })
    assert.equal(body, "TypeError: makeWorker: there is no option 'validatPayload'")
  })
})
