/**
 * What the object of a store makes of a request: the Worker tells it, and what an app's own Worker hands on as it came is
 * read by the same rules.
 *
 * The bundle is edited: a path that begins with `/raw/` is handed to the object as it came, below another Worker's door,
 * and the object logs what it is asked.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { type ConnectOptions, targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, startServer } from '../harness/server.ts'
import { adminSecret, storePath } from './administration.ts'
import { framesIn, httpPull, httpPush } from './doors.ts'
import { type Answer, type Knock, knock } from './knock.ts'
import { assertEvents, eventsIn, generations, Peer, pushedFrame, rpcGenerations } from './peer.ts'
import { hs256, partsOf, secret } from './tokens.ts'

const visitHeader = 'x-livestore-sync-visit'

/** Puts another Worker's door before the bundle's own, and has the object log what it is asked. */
const withOtherDoor = (source: string): string => {
  const exported = /export\s*\{([\w$]+) as SyncBackendDO,(.*?),([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a class and a handler')
  return source.replace(
    exported,
    (_, object: string, others: string, handler: string) => `
      const doors = {
        fetch: (request, env) => {
          const { pathname, searchParams } = new URL(request.url)
          if (!pathname.startsWith('/raw/')) return ${handler}.fetch(request, env)
          const objects = env.SYNC_BACKEND_DO
          const id = objects.idFromName(['object', 'storeId', 'name'].map((name) => searchParams.get(name)).find(Boolean) ?? '')
          if (pathname === '/raw/id') return new Response(String(id))
          const rest = new URL(request.url.replace('/raw/', '/'))
          return objects.get(id).fetch(new Request(rest, request))
        },
      }
      class Logging extends ${object} {
        fetch(request) {
          console.log(JSON.stringify({ url: request.url, visit: request.headers.get('${visitHeader}') }))
          if (request.url.endsWith('/fails')) throw new Error('the object is out of reach')
          return super.fetch(request)
        }
      }
      export { Logging as SyncBackendDO, ${others}, doors as default }`,
  )
}

interface Asked {
  readonly url: string
  readonly visit: string | null
}

const raw = { path: '/raw/' }

/** The words of a request to the object whose visit is not the Worker's. */
const forged = `The header ${visitHeader} is not for clients to set`

let server: Server
before(async () => {
  server = await startServer({
    vars: {
      AUTH_TOKEN: 'own-token',
      JWT_SECRET: secret,
      JWT_ACCESS_CLAIM: 'access',
      ADMIN_SECRET: adminSecret,
      ALLOWED_ORIGINS: 'https://app.example.com',
    },
    edit: withOtherDoor,
  })
})
after(async () => {
  await server.stop()
})

/** What the object has been asked that has to do with a store, once there are `count` such things. */
const asked = (word: string, count: number): Promise<readonly Asked[]> =>
  eventually(`the object is asked ${count} times`, () => {
    const lines = server.logs.filter((line) => line.startsWith('{"url"') && line.includes(word))
    return lines.length >= count && lines.map((line) => JSON.parse(line) as Asked)
  })

const post = (body: object, options: ConnectOptions, headers: Knock['headers'] = {}): Promise<Answer> =>
  knock(server, {
    method: 'POST',
    target: targetOf({ ...options, transport: 'http' }),
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })

/** Pushes an event by the object's own door, as an app's Worker would, and asserts that it is stored. */
const pushRaw = async (storeId: string): Promise<void> => {
  const answer = await post(httpPush('v04', storeId, batchOf(0)), { storeId, ...raw })
  assert.deepEqual(JSON.parse(framesIn(answer)[0]!), pushedFrame('v04', 1))
}

describe("the object, behind the Worker's door", () => {
  it('is told all there is to know in a header, and sees neither the query nor the token in it', async () => {
    const plainId = freshStoreId()
    const storeId = `${plainId} é"`
    const token = hs256({ sub: 'ada', access: 'read' })
    const page = { origin: 'https://app.example.com' }
    const payload = { authToken: token }
    const headers = { ...page, 'access-control-request-headers': 'b3' } // It means something to a preflight alone.
    await post(httpPull('v04', storeId), { storeId, payload, path: '/any/path' }, headers)
    await knock(server, { target: targetOf({ storeId, payload }), upgrade: 'websocket', headers })
    await knock(server, {
      target: targetOf({ storeId, payload, path: '/websocket', transport: undefined }),
      upgrade: 'websocket',
    })

    const [http, socket, v03] = await asked(plainId, 3)
    const claims = { sub: 'ada', access: 'read' }
    const errand = (door: string): object => ({ sync: { door, grant: { access: 'read', claims } } })
    const visit = ({ visit }: Asked): object => (JSON.parse(visit!) as { readonly visit: object }).visit
    assert.deepEqual(visit(http!), {
      storeId,
      errand: errand('http'),
      headers: [
        ['Access-Control-Allow-Origin', page.origin],
        ['Access-Control-Allow-Methods', 'GET, POST, OPTIONS'],
        ['Access-Control-Allow-Headers', '*'],
        ['Access-Control-Allow-Credentials', 'true'],
        ['Vary', 'Origin'],
      ],
    })
    assert.deepEqual(visit(socket!), { storeId, errand: errand('socket-rpc') })
    assert.deepEqual(visit(v03!), { storeId, errand: errand('socket-v03') })
    assert.equal(new URL(http!.url).pathname, '/any/path')
    const everything = JSON.stringify([http, socket, v03])
    for (const part of [...partsOf(token), token, '?']) assert.ok(!everything.includes(part), everything)
  })

  it('is told what an operator asks, and not asked for the secret again', async () => {
    const storeId = freshStoreId()
    await pushRaw(storeId)
    const target = storePath(storeId, '/events?after=0&limit=1')
    const authorization = `Bearer ${adminSecret}`
    const answer = await knock(server, { target, headers: { authorization } })
    assert.equal(answer.status, 200, answer.body)
    assert.equal(answer.body.trim().split('\n').length, 1)
    const [, events] = await asked(storeId, 2)
    const { visit } = JSON.parse(events!.visit!) as { readonly visit: object }
    assert.deepEqual(visit, { storeId, errand: { administer: 'GET events?after=0&limit=1' } })
  })

  it('is missed with 503 where it cannot be reached, for a page that may read it', async () => {
    const target = targetOf({
      storeId: freshStoreId(),
      payload: { authToken: 'own-token' },
      transport: 'http',
      path: '/fails',
    })
    const headers = { origin: 'https://app.example.com' }
    const answer = await knock(server, { method: 'POST', target, headers, body: '{}' })
    assert.deepEqual([answer.status, answer.body], [503, 'The store is not available: try again'])
    assert.equal(answer.headers['access-control-allow-origin'], headers.origin)
  })

  it('gets a GET with a body like any other request', async () => {
    const storeId = freshStoreId()
    const target = targetOf({ storeId, payload: { authToken: 'own-token' }, transport: 'http' })
    const body = JSON.stringify(httpPush('v04', storeId, batchOf(0)))
    const answer = await knock(server, { method: 'GET', target, body })
    assert.deepEqual(JSON.parse(framesIn(answer)[0]!), pushedFrame('v04', 1))
  })
})

describe("the object, behind an app's own door", () => {
  for (const generation of generations) {
    it(`serves a ${generation} socket that is handed on as it came, with any token or none`, async () => {
      const storeId = freshStoreId()
      const path = generation === 'v03' ? '/raw/websocket' : '/raw/'
      const peer = await Peer.connect(server, generation, storeId, { path, payload: undefined })
      assert.deepEqual((await peer.pushed(batchOf(0))).answer, pushedFrame(generation, 1))
      const other = await Peer.connect(server, generation, storeId, { path, payload: { session: 'of the app' } })
      assertEvents(
        (await other.pages()).flatMap((page) => page.events),
        batchOf(0),
      )
    })
  }

  for (const generation of rpcGenerations) {
    it(`serves ${generation} over HTTP, for a page that may read it`, async () => {
      const storeId = freshStoreId()
      await pushRaw(storeId)
      const headers = { origin: 'https://app.example.com' }
      const answer = await post(httpPull(generation, storeId), { storeId, ...raw }, headers)
      assertEvents(eventsIn(framesIn(answer)), batchOf(0))
      assert.equal(answer.headers['access-control-allow-origin'], headers.origin)
    })
  }

  it('answers 400 where there is no door', async () => {
    for (const target of ['/raw/?storeId=a', '/raw/x?storeId=a&transport=smoke', '/raw/?transport=http']) {
      const { status, body } = await knock(server, { target })
      assert.deepEqual([status, body], [400, 'Invalid path'])
    }
  })

  it('lets no visitor of another store in', async () => {
    const [storeId, other] = [freshStoreId(), freshStoreId()]
    await pushRaw(storeId)
    const door = `&object=${storeId}`
    const socket = await knock(server, { target: targetOf({ storeId: other, ...raw }) + door, upgrade: 'websocket' })
    assert.deepEqual([socket.status, socket.body], [400, 'this object belongs to another store'])
    const target = targetOf({ storeId: other, transport: 'http', ...raw }) + door
    const body = JSON.stringify(httpPull('v04', other))
    const [answer] = framesIn(await knock(server, { method: 'POST', target, body }))
    assert.match(answer!, /"Failure"/)
    assert.deepEqual(eventsIn([answer!]), [])
  })

  it('asks an operator for the secret', async () => {
    const storeId = freshStoreId()
    await pushRaw(storeId)
    const target = `/raw${storePath(storeId, '/reset')}?name=${storeId}`
    const body = JSON.stringify({ storeId })
    for (const headers of [{}, { authorization: 'Bearer wrong' }] as ReadonlyArray<Record<string, string>>) {
      const answer = await knock(server, { method: 'POST', target, headers, body })
      assert.equal(answer.status, 401, answer.body)
    }
    const headers = { authorization: `Bearer ${adminSecret}` }
    assert.equal((await knock(server, { method: 'POST', target, headers, body })).status, 200)
  })

  it('does not believe a visit that a client made up, not even one that was written for another object', async () => {
    const [storeId, otherId] = [freshStoreId(), freshStoreId()]
    await pushRaw(storeId)
    const { body: to } = await knock(server, { target: `/raw/id?name=${otherId}` })
    assert.match(to, /^[0-9a-f]{64}$/)
    const grant = { access: 'write', claims: { role: 'editor' } }
    const errands = [{ administer: 'reset' }, { administer: 'state' }, { sync: { door: 'http', grant } }]
    const visits = errands.flatMap((errand) => [
      JSON.stringify({ visit: { storeId, errand } }),
      JSON.stringify({ to: '', visit: { storeId, errand } }),
      JSON.stringify({ to, visit: { storeId, errand } }),
    ])
    for (const visit of [...visits, '', '{}', 'null']) {
      const answer = await post({ storeId }, { storeId, ...raw }, { [visitHeader]: visit })
      assert.deepEqual([answer.status, answer.body], [400, forged], visit)
    }
    const events = eventsIn(framesIn(await post(httpPull('v04', storeId), { storeId, ...raw })))
    assertEvents(events, batchOf(0))
  })
})

describe('a deployment of which a variable does not parse', () => {
  it("says so also behind an app's own door", async () => {
    const wrong = await startServer({ vars: { PUSH_RATE: 'fast' }, edit: withOtherDoor })
    try {
      const target = targetOf({ storeId: 'a', payload: { authToken }, transport: 'http', path: '/raw/' })
      const answer = await knock(wrong, { method: 'POST', target })
      assert.equal(answer.status, 500)
      assert.match(answer.body, /^Configuration: PUSH_RATE is 'fast'/)
    } finally {
      await wrong.stop()
    }
  })
})
