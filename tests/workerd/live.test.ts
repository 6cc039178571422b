/** The live route: an operator's socket, and the tickets by which a page opens it. */
import assert from 'node:assert/strict'
import { createHmac, hkdfSync } from 'node:crypto'
import { after, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { RawClient } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret, disconnect, errorOf, reset, stateOf, storePath, ticketOf } from './administration.ts'
import { HookListener } from './hook-listener.ts'
import { knock } from './knock.ts'
import { linesOf, startsOf } from './log-lines.ts'
import { assertEvents, eventsIn, logOf, pageIn, Peer, pushedFrame } from './peer.ts'

const protocol = 'livestore-admin'
const vars = { ADMIN_SECRET: adminSecret, LOG_LEVEL: 'debug' }
const server = serverOf({ vars })

const livePath = (storeId: string): string => storePath(storeId, '/live')

/** A store that has so many events. */
const storeWith = async (at: Server, count: number): Promise<string> => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(at, 'v04', storeId)
  await peer.pushed(batchOf(0, count))
  peer.client.terminate()
  return storeId
}

/** An operator's socket, opened as a page does it. */
const inspect = async (at: Server, storeId: string): Promise<Peer> => {
  const { ticket } = await ticketOf(at, storeId)
  const client = await RawClient.open(at, { target: livePath(storeId), protocols: [protocol, ticket] })
  assert.equal(client.protocol, protocol)
  return Peer.on(client, 'v04', storeId)
}

/** A ticket as the Worker makes it, of any time: what derives the key and what is signed is said here once more. */
const forge = (storeId: string, expiresAtMs: number | string, secret = adminSecret): string => {
  const purpose = 'livestore-sync-worker: ticket of the live route'
  const key = Buffer.from(hkdfSync('sha256', secret, '', purpose, 32))
  const signature = createHmac('sha256', key).update(`${expiresAtMs}\n${storeId}`).digest('base64url')
  return `${expiresAtMs}.${signature}`
}

/** What is answered to who asks for a socket with this ticket. */
const askWith = (at: Server, storeId: string, offered: string | undefined, headers: Record<string, string> = {}) => {
  const protocols = offered === undefined ? {} : { 'sec-websocket-protocol': offered }
  return knock(at, { target: livePath(storeId), upgrade: 'websocket', headers: { ...protocols, ...headers } })
}

/** A push on an operator's socket is refused, and it lives on. */
const assertRefused = async (inspector: Peer): Promise<void> => {
  for (const batch of [batchOf(0), []]) {
    const text = JSON.stringify((await inspector.pushed(batch)).answer)
    assert.match(text, /"_tag":"Failure".*the token grants reading alone: pushes are refused/)
  }
  assert.equal(inspector.client.ended, undefined)
}

describe("an operator's socket", () => {
  it('is sent each of 100 pushes once, in order, beside the client that makes them', async () => {
    const storeId = await storeWith(server(), 5)
    const [inspector, pusher] = [await inspect(server(), storeId), await Peer.connect(server(), 'v04', storeId)]
    const request = inspector.pull({ live: true })
    const events = [...eventsIn([await inspector.client.next()])]
    inspector.ack(request)
    for (let number = 0; number < 100; number += 1) {
      const { answer } = await pusher.pushed(batchOf(5 + number))
      assert.deepEqual(answer, pushedFrame('v04', number + 1))
      const page = pageIn(await inspector.client.next())!
      assert.deepEqual([page.request, page.remaining], [request, 0])
      events.push(...page.events)
      inspector.ack(request)
    }
    assertEvents(events, batchOf(0, 105))
    assert.deepEqual(inspector.client.ended, undefined)
  })

  it('follows from a cursor, and pauses as any client does that acknowledges nothing', async () => {
    const storeId = await storeWith(server(), 3)
    const { backendId } = await stateOf(server(), storeId)
    const [inspector, pusher] = [await inspect(server(), storeId), await Peer.connect(server(), 'v04', storeId)]
    const request = inspector.pull({ live: true, after: 2, backendId })
    assertEvents(eventsIn([await inspector.client.next()]), batchOf(2))
    for (let number = 3; number < 40; number += 1) await pusher.pushed(batchOf(number))
    const { sockets } = await stateOf(server(), storeId)
    const own = sockets.find((socket) => socket.inspector)!
    assert.ok(own.lag > 0 && own.unacknowledged > 1, 'it was sent what it has room for')
    const events = []
    for (let taken = 0; taken < own.unacknowledged; taken += 1) inspector.ack(request)
    while (events.length < 37) events.push(...eventsIn([await inspector.client.next()]))
    assertEvents(events, batchOf(3, 37))
  })

  it('goes on after the object has left memory, as what it is', async () => {
    const storeId = await storeWith(server(), 1)
    const [inspector, pusher] = [await inspect(server(), storeId), await Peer.connect(server(), 'v04', storeId)]
    const request = inspector.pull({ live: true })
    await inspector.client.next()
    inspector.ack(request)
    // All of it has arrived once the state says so.
    await eventually('the page is acknowledged', async () => {
      const { sockets } = await stateOf(server(), storeId)
      return sockets.some((socket) => socket.inspector && socket.unacknowledged === 0)
    })
    await server().evict(storeId)
    await pusher.pushed(batchOf(1))
    assertEvents(eventsIn([await inspector.client.next()]), batchOf(1))
    assert.deepEqual((await startsOf(server(), storeId)).at(-1), 2, 'the push met an object that had to be built anew')
    const { sockets } = await stateOf(server(), storeId)
    assert.deepEqual(sockets.map((socket) => socket.inspector).sort(), [false, true])
    await assertRefused(inspector)
  })

  it('pushes nothing', async () => {
    const storeId = await storeWith(server(), 2)
    const inspector = await inspect(server(), storeId)
    await assertRefused(inspector)
    assertEvents(await logOf(server(), storeId), batchOf(0, 2))
    const { lastErrors, sockets } = await stateOf(server(), storeId)
    assert.deepEqual(
      lastErrors.map(({ reason, clientId, subject }) => ({ reason, clientId, subject })),
      [
        { reason: 'read-only', clientId: 'client', subject: null },
        { reason: 'read-only', clientId: 'client', subject: null },
      ],
    )
    assert.equal(sockets.filter((socket) => socket.inspector).length, 1)
  })

  it('is opened with the secret by who can send headers', async () => {
    const storeId = await storeWith(server(), 2)
    const headers = { authorization: `Bearer ${adminSecret}` }
    for (const protocols of [[], [protocol]]) {
      const client = await RawClient.open(server(), { target: livePath(storeId), headers, protocols })
      assert.equal(client.protocol, protocols[0] ?? '', 'who offers none is answered none')
      const inspector = Peer.on(client, 'v04', storeId)
      assertEvents(
        (await inspector.pages()).flatMap(({ events }) => events),
        batchOf(0, 2),
      )
    }
  })

  it('is closed by a disconnect', async () => {
    const storeId = await storeWith(server(), 1)
    const inspector = await inspect(server(), storeId)
    inspector.pull({ live: true })
    await inspector.client.next()
    assert.equal(await disconnect(server(), storeId), 1)
    assert.equal((await inspector.client.dismissed()).code, 1012)
  })

  it('is told of a reset as clients are, and closed', async () => {
    const storeId = await storeWith(server(), 1)
    const { backendId } = await stateOf(server(), storeId)
    const inspector = await inspect(server(), storeId)
    const request = inspector.pull({ live: true })
    await inspector.client.next()
    const fresh = await reset(server(), storeId)
    const error = { _tag: 'BackendIdMismatchError', expected: fresh, received: backendId }
    const told = JSON.parse(await inspector.client.next()) as { readonly requestId: string }
    assert.equal(told.requestId, String(request))
    for (const part of Object.values(error)) assert.ok(JSON.stringify(told).includes(part), part)
    assert.equal((await inspector.client.dismissed()).code, 1012)
  })

  it('is closed when its store is deleted', async () => {
    const storeId = await storeWith(server(), 1)
    const inspector = await inspect(server(), storeId)
    const target = `${storePath(storeId)}?confirm=${encodeURIComponent(storeId)}`
    assert.equal((await administer(server(), target, { method: 'DELETE' })).status, 200)
    assert.equal((await inspector.client.dismissed()).code, 1013)
    assert.match(errorOf(await administer(server(), storePath(storeId)), 404), /no such store/)
  })

  it('counts among the sockets that a store may have', async () => {
    await withServer({ vars: { ...vars, MAX_CONNECTIONS: '2' } }, async (small) => {
      const storeId = await storeWith(small, 1)
      const first = await Peer.connect(small, 'v04', storeId)
      const inspector = await inspect(small, storeId)
      const { ticket } = await ticketOf(small, storeId)
      const refused = await askWith(small, storeId, `${protocol}, ${ticket}`)
      assert.match(errorOf(refused, 503), /MAX_CONNECTIONS/)
      await inspector.client.close()
      await eventually('there is room again', async () => {
        const { connections } = await stateOf(small, storeId)
        return connections.byTransport.ws === 1
      })
      await inspect(small, storeId)
      first.client.terminate()
    })
  })

  it('needs nothing that says who may sync, and no transport that clients may use', async () => {
    await onOneStorage({ vars }, async (start) => {
      const open = await start()
      const storeId = await storeWith(open, 2)
      await open.stop()
      const closed = await start({ vars: { AUTH_TOKEN: undefined, ENABLED_TRANSPORTS: 'http' } })
      const inspector = await inspect(closed, storeId)
      assertEvents(
        (await inspector.pages()).flatMap(({ events }) => events),
        batchOf(0, 2),
      )
    })
  })

  it('is there for no store that is not', async () => {
    const storeId = freshStoreId()
    const { ticket } = await ticketOf(server(), storeId)
    for (const [offered, headers] of [
      [`${protocol}, ${ticket}`, {}],
      [undefined, { authorization: `Bearer ${adminSecret}` }],
    ] as const) {
      assert.match(errorOf(await askWith(server(), storeId, offered, headers), 404), /there is no such store/)
      assert.match(errorOf(await administer(server(), storePath(storeId)), 404), /there is no such store/)
    }
  })
})

describe('a ticket', () => {
  it('says until when it is good: a minute', async () => {
    const before = Date.now()
    const { ticket, expiresAt, ...rest } = await ticketOf(server(), 'any store')
    assert.deepEqual(rest, {})
    assert.match(ticket, /^[\w.-]+$/, 'letters that a subprotocol may have')
    const expiresAtMs = Date.parse(expiresAt)
    assert.ok(expiresAtMs >= before + 60_000 && expiresAtMs <= Date.now() + 60_000, expiresAt)
    assert.equal(ticket, forge('any store', expiresAtMs))
  })

  for (const secret of [undefined, 'wrong']) {
    it(`is given to nobody with ${secret ?? 'no'} secret`, async () => {
      const headers: Record<string, string> = secret === undefined ? {} : { authorization: `Bearer ${secret}` }
      const target = livePath('a-store')
      assert.match(errorOf(await knock(server(), { method: 'POST', target, headers }), 401), /ADMIN_SECRET/)
    })
  }

  it('opens its store whatever that is called, as often as it is shown in time', async () => {
    const storeId = `${freshStoreId()} ü/\n"€ 🎉`
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0))
    const { ticket } = await ticketOf(server(), storeId)
    for (let times = 0; times < 2; times += 1) {
      const client = await RawClient.open(server(), { target: livePath(storeId), protocols: [protocol, ticket] })
      assertEvents(
        (await Peer.on(client, 'v04', storeId).pages()).flatMap(({ events }) => events),
        batchOf(0),
      )
    }
  })

  /** Each with what is offered where `good` is a ticket of the store, and what is said of it. */
  const faults: ReadonlyArray<readonly [string, (good: string, storeId: string) => string | undefined, RegExp]> = [
    ['is missing', () => undefined, /there is no ticket in the subprotocols/],
    ['is missing behind the name of the protocol', () => protocol, /there is no ticket/],
    ['stands without the name of the protocol', (good) => good, /there is no ticket/],
    ['is no ticket', () => `${protocol}, a-ticket`, /not what POST to the same address answers/],
    ['is the secret', () => `${protocol}, ${adminSecret}`, /not what POST to the same address answers/],
    [
      'is of another store',
      (_, storeId) => `${protocol}, ${forge(`${storeId}2`, Date.now() + 60_000)}`,
      /not of this store and this ADMIN_SECRET, or was changed/,
    ],
    [
      'was made with another secret',
      (_, storeId) => `${protocol}, ${forge(storeId, Date.now() + 60_000, 'another')}`,
      /not of this store and this ADMIN_SECRET/,
    ],
    [
      'has expired',
      (_, storeId) => `${protocol}, ${forge(storeId, Date.now() - 1)}`,
      /has expired: it is good for 60 seconds/,
    ],
    ['was made good for longer', (good) => `${protocol}, ${Number(good[0]) + 1}${good.slice(1)}`, /not of this store/],
    ['has a nought before it', (good) => `${protocol}, 0${good}`, /not of this store/],
    [
      'has another last letter, of which two bits count for nothing',
      (good) => {
        const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
        return `${protocol}, ${good.slice(0, -1)}${letters[letters.indexOf(good.at(-1)!) ^ 1]}`
      },
      /not of this store/,
    ],
    ['is cut', (good) => `${protocol}, ${good.slice(0, -1)}`, /not of this store/],
    ['has no signature', (good) => `${protocol}, ${good.split('.')[0]}.`, /not of this store/],
  ]
  for (const [what, offer, told] of faults) {
    it(`that ${what} is answered 401 in words, and wakes nobody`, async () => {
      const storeId = await storeWith(server(), 1)
      const { ticket } = await ticketOf(server(), storeId)
      await server().evict(storeId)
      const starts = await startsOf(server(), storeId)
      assert.match(errorOf(await askWith(server(), storeId, offer(ticket, storeId)), 401), told)
      assert.deepEqual(await startsOf(server(), storeId), starts)
      // The right one does, which shows that this would have been seen.
      assert.equal((await askWith(server(), storeId, `${protocol}, ${ticket}`)).status, 101)
      assert.equal((await startsOf(server(), storeId)).length, starts.length + 1)
    })
  }

  it('that is wrong is told of in the log without the ticket', async () => {
    await withServer({ vars }, async (own) => {
      const { ticket } = await ticketOf(own, 'another')
      errorOf(await askWith(own, 'a-store', `${protocol}, ${ticket}`), 401)
      const told = (await linesOf(own, 'a-store')).filter(({ event }) => event === 'refused')
      assert.deepEqual(
        told.map(({ reason }) => reason),
        ['admin-secret'],
      )
      assert.ok(!own.logs.some((line) => line.includes(ticket)))
    })
  })
})

describe('who asks for a socket', () => {
  it('may be a page of the own origin and none of another, whichever may sync', async () => {
    const storeId = await storeWith(server(), 1)
    const { ticket } = await ticketOf(server(), storeId)
    const offered = `${protocol}, ${ticket}`
    for (const origin of ['https://app.example.com', 'null', 'http://localhost:1']) {
      for (const headers of [{ origin }, { origin, authorization: `Bearer ${adminSecret}` }])
        assert.match(errorOf(await askWith(server(), storeId, offered, headers), 403), /another origin/)
    }
    assert.equal((await askWith(server(), storeId, offered, { origin: new URL(server().url).origin })).status, 101)
  })

  it('asks for an upgrade, by GET', async () => {
    const target = livePath('a-store')
    assert.match(errorOf(await administer(server(), target), 426), /ask for an upgrade/)
    for (const method of ['PUT', 'DELETE']) errorOf(await administer(server(), target, { method }), 405)
    // With a secret that is wrong, a ticket does not help.
    const { ticket } = await ticketOf(server(), 'a-store')
    const headers = { authorization: 'Bearer wrong' }
    errorOf(await askWith(server(), 'a-store', `${protocol}, ${ticket}`, headers), 401)
  })

  it('finds nothing where there is no ADMIN_SECRET', async () => {
    await withServer({ vars: { LOG_LEVEL: 'debug' } }, async (plain) => {
      const offered = `${protocol}, ${forge('a-store', Date.now() + 60_000, '')}`
      const target = livePath('a-store')
      for (const answer of [await askWith(plain, 'a-store', offered), await knock(plain, { method: 'POST', target })])
        assert.deepEqual([answer.status, answer.body], [400, 'Invalid path'])
    })
  })
})

describe("an app's own hooks", () => {
  let listener: HookListener
  const own = serverOf(async () => {
    HookListener.language = 'javascript'
    listener = await HookListener.start()
    const asked = listener.options(['validate_payload', 'on_push', 'on_push_res', 'on_pull', 'on_pull_res'])
    return { ...asked, vars: { ...asked.vars, ...vars } }
  })
  after(() => listener.stop())

  it('are not asked about an operator', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(own(), 'v04', storeId)
    await peer.pushed(batchOf(0, 2))
    const before = listener.calls.length
    assert.ok(before > 0, 'they are asked about clients')
    const inspector = await inspect(own(), storeId)
    assertEvents(
      (await inspector.pages()).flatMap(({ events }) => events),
      batchOf(0, 2),
    )
    await assertRefused(inspector)
    assert.equal(listener.calls.length, before)
  })
})
