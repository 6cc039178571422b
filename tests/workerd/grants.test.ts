/**
 * What a connection may do that was let in, and for how long: as its token says, whatever its client says beside, also
 * after the object has left memory.
 */
import assert from 'node:assert/strict'
import { type IncomingMessage, request as send } from 'node:http'
import { after, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually, within } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions } from '../harness/server.ts'
import { serverOf as anyServerOf } from '../harness/servers.ts'
import { lineOf } from './answers.ts'
import {
  assertRefused,
  both,
  type Credential,
  doors,
  enter,
  framesIn,
  httpPull,
  httpPush,
  inPayload,
  isMade,
  post,
  showing,
} from './doors.ts'
import { linesOf } from './log-lines.ts'
import {
  assertEvents,
  eventsIn,
  fill,
  type Generation,
  generations,
  idOf,
  logOf,
  pagesIn,
  Peer,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'
import { hs256, partsOf, secret } from './tokens.ts'

/** The token of the templates is that of witnesses: it grants everything, for ever. */
const serverOf = (vars: NonNullable<ServerOptions['vars']>): (() => Server) =>
  anyServerOf({ vars: { JWT_SECRET: secret, LOG_LEVEL: 'debug', ...vars } })

/** The line of an answer that refuses request `request` for `reason`. */
const refusalLine = (generation: Generation, request: number, reason: string): string =>
  `${generation === 'v03' ? 'Error' : 'UnknownError'} ${JSON.stringify(idOf(generation, request))}: ${reason}`

/** The header in which the Worker tells the object what a client may do. */
const visitHeader = 'x-livestore-sync-visit'

/** What the Worker would write there of a grant. */
const visitOf = (grant: object): string =>
  JSON.stringify({ to: 'object', visit: { storeId: 'store', errand: { sync: { door: 'http', grant } } } })

const lifeMs = 3_000

/** A token that is about to expire. */
const shortLived = (): { readonly credential: Credential; readonly isOver: () => Promise<void> } => {
  const endMs = Date.now() + lifeMs
  const isOver = async (): Promise<void> => {
    await eventually('the token expires', () => Date.now() > endMs + 10)
  }
  return { credential: inPayload(hs256({ exp: endMs / 1_000 })), isOver }
}

describe('a token that expires', { concurrency: true }, () => {
  const server = serverOf({})
  /** A peer whose token is about to expire, with a live pull, and one whose token is not. */
  const open = async (generation: Generation) => {
    const storeId = freshStoreId()
    const { credential, isOver } = shortLived()
    const peer = await Peer.connect(server(), generation, storeId, showing(credential))
    const other = await Peer.connect(server(), 'v04', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await other.pushed(batchOf(0))
    assertEvents(eventsIn(await peer.settled()), batchOf(0))
    assert.deepEqual((await peer.pushed(batchOf(1))).answer, pushedFrame(generation, 2))
    await peer.settled()
    return { storeId, peer, other, credential, isOver, seen: peer.client.frames.length }
  }

  const assertDismissed = async (peer: Peer): Promise<void> => {
    const closed = await peer.client.dismissed()
    assert.deepEqual(closed, { code: 4401, reason: 'the token has expired: connect again with a new one' })
  }

  /** Asserts that nothing has come since, but for the error with which the pull of a 0.3 client ends. */
  const assertLastWord = (peer: Peer, generation: Generation, seen: number): void => {
    const rest = peer.client.frames.slice(seen).map((frame) => lineOf(generation, frame))
    const word = 'the token has expired: connect again with a new one'
    assert.equal(rest.length, generation === 'v03' ? 1 : 0)
    for (const line of rest) assert.ok(line.startsWith('Error') && line.endsWith(word), line)
  }

  /** Asserts that the store goes on without the one who was dismissed, and that this happened once. */
  const assertGoesOn = async (storeId: string, other: Peer, head: number): Promise<void> => {
    assert.deepEqual((await other.pushed(batchOf(head))).answer, pushedFrame('v04', other.request - 1))
    assertEvents(await logOf(server(), storeId), batchOf(0, head + 1))
    const lines = (await linesOf(server(), storeId)).filter((line) => line.event === 'expired')
    assert.deepEqual(
      lines.map(({ level, message }) => [level, message]),
      [['info', 'closed a connection whose token has expired']],
    )
  }

  for (const generation of generations) {
    it(`closes its socket of ${generation} with 4401 at its own next push, of which nothing is stored`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await isOver()
      peer.push(batchOf(2, 1, 'late'))
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 2)
    })

    it(`closes its socket of ${generation} with 4401 at its own next pull`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await isOver()
      peer.pull({})
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 2)
    })

    it(`closes its socket of ${generation} with 4401 at the next push of another, whose events it is not sent`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await isOver()
      await other.pushed(batchOf(2))
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 3)
    })

    it(`closes its socket of ${generation} with 4401 at the next push over http, whose events it is not sent`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await isOver()
      const frames = framesIn(await post(server(), storeId, inPayload(authToken), httpPush('v05', storeId, batchOf(2))))
      assert.deepEqual(JSON.parse(frames[0]!), pushedFrame('v05', 1))
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 3)
    })

    it(`closes its socket of ${generation} with 4401 at its own next push, also after the object left memory`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await server().evict(storeId)
      await isOver()
      peer.push(batchOf(2, 1, 'late'))
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 2)
    })

    it(`closes its socket of ${generation} with 4401 at the next push of another, also after the object left memory`, async () => {
      const { storeId, peer, other, isOver, seen } = await open(generation)
      await isOver()
      await server().evict(storeId)
      await other.pushed(batchOf(2))
      await assertDismissed(peer)
      assertLastWord(peer, generation, seen)
      await assertGoesOn(storeId, other, 3)
    })

    it(`leaves alone the other sockets of ${generation}, of which each has a token of its own`, async () => {
      const { storeId, peer, other, isOver } = await open(generation)
      const lasting = await Peer.connect(server(), generation, storeId, showing(inPayload(hs256({ exp: 9e9 }))))
      lasting.pull({ live: true })
      await lasting.settled()
      await isOver()
      await other.pushed(batchOf(2))
      await assertDismissed(peer)
      assertEvents(eventsIn(await lasting.settled()), batchOf(2))
      assert.deepEqual((await lasting.pushed(batchOf(3))).answer, pushedFrame(generation, 2))
      const again = await Peer.connect(server(), generation, storeId, showing(inPayload(hs256())))
      assertEvents(
        (await again.pages()).flatMap((page) => page.events),
        batchOf(0, 4),
      )
    })
  }

  it('opens no door any more', async () => {
    const { credential, isOver } = shortLived()
    const storeId = freshStoreId()
    const push = httpPush('v04', storeId, batchOf(0))
    assert.equal(framesIn(await post(server(), storeId, credential, push)).length, 1)
    for (const door of doors.filter(({ isSocket }) => isSocket)) {
      assert.equal((await enter(server(), door, storeId, credential)).status, 101)
    }
    await isOver()
    await assertRefused(server(), storeId, credential, 'Invalid auth token: it has expired')
    assertEvents(await logOf(server(), storeId), batchOf(0))
  })
})

describe('an answer over http whose token expires while it is read', () => {
  const server = serverOf({})

  it('ends with that as it is read on, and leaves alone those who come meanwhile', async () => {
    const storeId = freshStoreId()
    const log = await fill(server(), storeId, 2_000, 10_000)
    const { credential, isOver } = shortLived()
    const { hostname, port } = new URL(server().url)
    const slow = await new Promise<IncomingMessage>((resolve, reject) => {
      const target = targetOf({ storeId, transport: 'http', ...showing(credential) })
      const request = send({ host: hostname, port, method: 'POST', path: target, agent: false })
      request.on('error', reject)
      // Its first bytes are there, and the others wait until they are read.
      request.on('response', (response) => response.once('readable', () => resolve(response)))
      request.end(JSON.stringify(httpPull('v04', storeId)))
    })
    const other = await Peer.connect(server(), 'v04', storeId)
    await isOver()
    await other.pushed(batchOf(2_000))
    const late = await Peer.connect(server(), 'v05', storeId)
    const pages = await late.pages({ live: true })
    assert.equal(pages.at(-1)!.events.at(-1)!.seqNum, 2_001)
    const parts: Buffer[] = []
    const read = async (): Promise<void> => {
      for await (const part of slow) parts.push(part as Buffer)
    }
    await within('the slow answer ends', read())
    const frames = (JSON.parse(Buffer.concat(parts).toString()) as readonly object[]).map((frame) =>
      JSON.stringify(frame),
    )
    assert.equal(lineOf('v04', frames.at(-1)!), refusalLine('v04', 1, 'the token has expired'))
    const events = eventsIn(frames)
    assert.ok(events.length < log.length, `it has ${events.length} events`)
    assertEvents(events, log.slice(0, events.length))
    await other.pushed(batchOf(2_001))
    assertEvents(eventsIn(await late.settled()), batchOf(2_001))
    assert.equal(late.client.ended, undefined)
  })
})

describe('a token that expires, with JWT_GRACE_SECONDS', { concurrency: true }, () => {
  const server = serverOf({ JWT_GRACE_SECONDS: '600' })

  for (const generation of generations) {
    it(`leaves its socket of ${generation} open for that long, also after the object left memory`, async () => {
      const storeId = freshStoreId()
      const endMs = Date.now() + 300
      const credential = inPayload(hs256({ exp: endMs / 1_000 }))
      const peer = await Peer.connect(server(), generation, storeId, showing(credential))
      const other = await Peer.connect(server(), 'v04', storeId)
      peer.pull({ live: true })
      await peer.settled()
      await eventually('the token expires', () => Date.now() > endMs + 10)
      await other.pushed(batchOf(0))
      assertEvents(eventsIn(await peer.settled()), batchOf(0))
      await server().evict(storeId)
      assert.deepEqual((await peer.pushed(batchOf(1))).answer, pushedFrame(generation, 2))
      await other.pushed(batchOf(2))
      assertEvents(eventsIn(await peer.settled()).slice(-1), batchOf(2))
      const answer = await post(server(), storeId, credential, httpPush('v04', storeId, batchOf(3)))
      assert.deepEqual(JSON.parse(framesIn(answer)[0]!), pushedFrame('v04', 1))
      assert.equal(peer.client.ended, undefined)
    })
  }
})

describe('a token that grants reading alone', () => {
  const server = serverOf({ JWT_ACCESS_CLAIM: 'access' })
  const reason = 'the token grants reading alone: pushes are refused'
  const reading = inPayload(hs256({ access: 'read' }))

  /** Asserts that a push is refused, in the words of its generation, and that nothing of it is stored or published. */
  const assertRefusesPush = async (peer: Peer, witness: Peer, batch: unknown): Promise<void> => {
    const { frames, answer } = await peer.pushed(batch)
    const line = lineOf(peer.generation, JSON.stringify(answer))
    assert.equal(line, refusalLine(peer.generation, peer.request - 1, reason))
    assert.deepEqual(frames, [])
    assert.deepEqual(await witness.settled(), [])
  }

  for (const generation of generations) {
    it(`lets ${generation} pull and follow, refuses each of its pushes, and lets it go on`, async () => {
      const storeId = freshStoreId()
      const witness = await Peer.connect(server(), 'v04', storeId)
      witness.pull({ live: true })
      await witness.pushed(batchOf(0, 120))
      await witness.drained()
      const peer = await Peer.connect(server(), generation, storeId, showing(reading))
      const pages = await peer.pages({ live: true })
      assertEvents(
        pages.flatMap((page) => page.events),
        batchOf(0, 120),
      )
      for (const batch of [batchOf(120), batchOf(0), batchOf(120, 3), batchOf(7, 1, 'stale'), []]) {
        await assertRefusesPush(peer, witness, batch)
      }
      await witness.pushed(batchOf(120))
      assertEvents(eventsIn(await peer.client.take(1)), batchOf(120))
      await witness.drained()

      await server().evict(storeId)
      await assertRefusesPush(peer, witness, batchOf(121))
      await witness.pushed(batchOf(121))
      assertEvents(eventsIn(await peer.client.take(1)), batchOf(121))
      assert.equal(peer.client.ended, undefined)
      const log = await logOf(server(), storeId, generation, showing(reading))
      assertEvents(log, batchOf(0, 122))
      const refused = (await linesOf(server(), storeId)).filter((line) => line.event === 'refused')
      assert.deepEqual(
        refused.map((line) => [line.level, line.message!.endsWith(reason)]),
        Array.from({ length: 6 }, () => ['info', true]),
      )
    })
  }

  for (const generation of rpcGenerations) {
    it(`lets ${generation} pull over http, and refuses its pushes`, async () => {
      const storeId = freshStoreId()
      const witness = await Peer.connect(server(), 'v04', storeId)
      witness.pull({ live: true })
      await witness.pushed(batchOf(0, 3))
      await witness.settled()
      const line = async (batch: unknown): Promise<string> => {
        const frames = framesIn(await post(server(), storeId, reading, httpPush(generation, storeId, batch)))
        assert.equal(frames.length, 1)
        return lineOf(generation, frames[0]!)
      }
      for (const batch of [batchOf(3), batchOf(0), []]) {
        assert.equal(await line(batch), refusalLine(generation, 1, reason))
      }
      const frames = framesIn(await post(server(), storeId, reading, httpPull(generation, storeId)))
      assertEvents(eventsIn(frames), batchOf(0, 3))
      assert.deepEqual(await witness.settled(), [])
    })
  }

  it('refuses one push of several requests in one body, and answers the others', async () => {
    const storeId = freshStoreId()
    await Peer.connect(server(), 'v04', storeId)
    const frames = framesIn(
      await post(server(), storeId, reading, [
        httpPull('v04', storeId),
        httpPush('v04', storeId, batchOf(0)),
        httpPull('v05', storeId),
      ]),
    )
    assert.deepEqual(eventsIn(frames), [])
    assert.deepEqual(
      frames.filter((frame) => frame.includes(reason)).map((frame) => lineOf('v04', frame)),
      [refusalLine('v04', 1, reason)],
    )
    assert.equal(pagesIn(frames).length, 2)
  })

  for (const access of ['write', 'read-write']) {
    it(`is none that says ${access}`, async () => {
      const peer = await Peer.connect(server(), 'v04', freshStoreId(), showing(inPayload(hs256({ access }))))
      assert.deepEqual((await peer.pushed(batchOf(0))).answer, pushedFrame('v04', 1))
    })
  }
})

describe('a header that only the Worker may send to its objects', () => {
  const server = serverOf({ JWT_ACCESS_CLAIM: 'access', JWT_STORE_CLAIM: 'stores' })
  const anonymous = serverOf({ JWT_SECRET: undefined, AUTH_TOKEN: undefined, ALLOW_ANONYMOUS: 'true' })

  /** A credential with a grant that its client made up. */
  const forging = (credential: Credential, grant: object | string, name = visitHeader): Credential =>
    both(credential, { headers: { [name]: typeof grant === 'string' ? grant : visitOf(grant) } })

  const all = { access: 'write', claims: { sub: 'admin', access: 'write', stores: '*' } }
  const names = [visitHeader, visitHeader.toUpperCase(), 'X-LiveStore-Sync-Visit']

  it('gives a token that grants reading alone no writing, at any door', async () => {
    const storeId = freshStoreId()
    const reading = inPayload(hs256({ access: 'read', stores: '*' }))
    await Peer.connect(server(), 'v04', storeId, showing(inPayload(hs256({ access: 'write', stores: '*' }))))
    for (const name of names) {
      for (const generation of generations) {
        const peer = await Peer.connect(server(), generation, storeId, showing(forging(reading, all, name)))
        const line = lineOf(generation, JSON.stringify((await peer.pushed(batchOf(0))).answer))
        assert.match(line, /the token grants reading alone/)
        peer.client.terminate()
      }
      const answer = await post(server(), storeId, forging(reading, all, name), httpPush('v05', storeId, batchOf(0)))
      assert.match(lineOf('v05', framesIn(answer)[0]!), /the token grants reading alone/)
    }
    assertEvents(await logOf(server(), storeId), [])
  })

  it('lets nobody in who has no token, a wrong one or one of another store', async () => {
    const storeId = freshStoreId()
    const [none, wrong, store] = [
      'No auth token: the sync payload must be {"authToken":"..."}',
      'Invalid auth token: its signature is wrong',
      'Invalid auth token: it does not open this store',
    ]
    for (const name of names) {
      await assertRefused(server(), storeId, forging({}, all, name), none)
      await assertRefused(server(), storeId, forging(inPayload(hs256(all.claims, `${secret}.`)), all, name), wrong)
      const elsewhere = inPayload(hs256({ access: 'write', stores: 'another' }))
      await assertRefused(server(), storeId, forging(elsewhere, all, name), store)
    }
    assert.ok(!(await isMade(server(), storeId)))
  })

  it('makes no token live longer', async () => {
    const storeId = freshStoreId()
    const endMs = Date.now() + 2_000
    const token = hs256({ access: 'write', stores: [storeId], exp: endMs / 1_000 })
    const credential = forging(inPayload(token), { ...all, expiresAtMs: 9e15 })
    const peer = await Peer.connect(server(), 'v04', storeId, showing(credential))
    const other = await Peer.connect(server(), 'v05', storeId)
    peer.pull({ live: true })
    await peer.settled()
    await eventually('the token expires', () => Date.now() > endMs + 10)
    await other.pushed(batchOf(0))
    assert.equal((await peer.client.dismissed()).code, 4401)
    await assertRefused(server(), storeId, credential, 'Invalid auth token: it has expired')
  })

  const forgeries: ReadonlyArray<readonly [what: string, grant: object | string]> = [
    ['one that grants reading alone', { access: 'read' }],
    ['one that has expired', { access: 'write', expiresAtMs: 1 }],
    ['one with claims', all],
    ['one that is none', 'no grant'],
    ['an empty one', ''],
    ['a large one', { access: 'read', claims: { text: 'x'.repeat(10_000) } }],
  ]
  for (const [what, grant] of forgeries) {
    it(`takes nothing from those who need no token or have a static one, such as ${what}`, async () => {
      for (const [to, credential] of [
        [anonymous(), {}],
        [server(), inPayload(authToken)],
      ] as const) {
        const storeId = freshStoreId()
        const shown = showing(forging(credential, grant))
        for (const [index, generation] of generations.entries()) {
          const peer = await Peer.connect(to, generation, storeId, shown)
          peer.pull({ live: true })
          await peer.settled()
          await to.evict(storeId)
          const { answer } = await peer.pushed(batchOf(index))
          assert.deepEqual(answer, pushedFrame(generation, 2), 'it is not the grant that counts')
        }
        const answer = await post(to, storeId, forging(credential, grant), httpPush('v04', storeId, batchOf(3)))
        assert.deepEqual(JSON.parse(framesIn(answer)[0]!), pushedFrame('v04', 1))
        assertEvents(await logOf(to, storeId, 'v04', { payload: undefined, ...credential }), batchOf(0, 4))
      }
    })
  }
})

describe('what a connection keeps of its token', () => {
  const server = serverOf({})

  /** Claims that are a JSON text of just this many bytes. */
  const claimsOf = (bytes: number): object => ({ text: 'x'.repeat(bytes - JSON.stringify({ text: '' }).length) })

  it('is bounded: claims of 9,000 bytes are refused at every door, with the bytes that a token may have', async () => {
    const storeId = freshStoreId()
    const token = hs256(claimsOf(9_000))
    assert.ok(token.length > 8_192)
    await assertRefused(server(), storeId, inPayload(token), 'Invalid auth token: it has more than 8192 bytes')
    assert.ok(!(await isMade(server(), storeId)))
  })

  it('is bounded: claims that are larger than their token, because they are no ASCII, are refused with both numbers', async () => {
    const storeId = freshStoreId()
    const token = hs256({ text: 'é'.repeat(1_500) })
    assert.ok(token.length < 8_192)
    for (const door of doors) {
      const answer = await enter(server(), door, storeId, inPayload(token))
      assert.equal(answer.status, 400)
      const [, bytes] = /claims .* have (\d+) bytes, but at most 8192 can be kept/.exec(answer.body) ?? []
      assert.ok(Number(bytes) > 9_000 && Number(bytes) < 9_200, answer.body)
    }
    assert.ok(!(await isMade(server(), storeId)))
  })

  const largest: ReadonlyArray<readonly [what: string, claims: object, storeId: () => string]> = [
    ['claims of 6,000 bytes', claimsOf(6_000), freshStoreId],
    ['claims of almost 8,192 bytes, escaped,', { text: 'é'.repeat(1_350) }, freshStoreId],
    [
      'claims of almost 8,192 bytes, escaped, in a store whose id is not Latin,',
      { text: 'é'.repeat(1_350) },
      () => `${freshStoreId()} 日本`,
    ],
  ]
  for (const [what, claims, storeIdOf] of largest) {
    for (const generation of rpcGenerations) {
      it(`leaves room beside ${what} for 50 live pulls of ${generation}, and a pull too many is refused alone`, async () => {
        const storeId = storeIdOf()
        const peer = await Peer.connect(server(), generation, storeId, showing(inPayload(hs256(claims))))
        const pusher = await Peer.connect(server(), 'v04', storeId)
        let refusal: string | undefined
        while (refusal === undefined) {
          assert.ok(peer.request < 1_000, 'no pull was refused')
          const request = peer.pull({ live: true })
          const lines = (await peer.settled()).map((frame) => lineOf(generation, frame))
          assert.equal(lines.length, 1)
          if (!lines[0]!.startsWith('Chunk')) refusal = lines[0]!.slice(refusalLine(generation, request, '').length)
        }
        assert.equal(refusal, 'this connection has as many pulls under way as one connection can hold')
        const held = peer.request - 2
        assert.ok(held >= 50, `${held} pulls`)

        const assertAllServed = async (parent: number): Promise<void> => {
          await pusher.pushed(batchOf(parent))
          const pages = pagesIn(await peer.settled())
          assert.equal(new Set(pages.map((page) => page.request)).size, held)
          for (const page of pages) assertEvents(page.events, batchOf(parent))
        }
        await assertAllServed(0)
        await server().evict(storeId)
        await assertAllServed(1)
        // None of them acknowledges anything, so that all fall behind, and each is kept with its place.
        for (let head = 2; head < 40; head += 1) await pusher.pushed(batchOf(head))
        await peer.settled()
        await server().evict(storeId)
        assert.deepEqual((await peer.pushed(batchOf(40))).answer, pushedFrame(generation, peer.request - 1))
        assert.equal(peer.client.ended, undefined)
        const errors = (await linesOf(server(), storeId)).filter((line) => line.level === 'error')
        assert.deepEqual(errors, [])
      })
    }
  }
})

describe('log lines', () => {
  const server = serverOf({ JWT_ACCESS_CLAIM: 'access', AUTH_TOKEN: `${authToken},static-hush-hush` })

  it('hold no token, no claim and no secret, even at LOG_LEVEL=debug and whatever goes wrong', async () => {
    const storeId = freshStoreId()
    const hush = { sub: 'subject-hush', role: 'role-hush', 'claim-hush': 1 }
    const endMs = Date.now() + 3_000
    const tokens = {
      right: hs256({ ...hush, access: 'write' }),
      reading: hs256({ ...hush, access: 'read' }),
      short: hs256({ ...hush, access: 'write', exp: endMs / 1_000 }),
      expired: hs256({ ...hush, access: 'write', exp: 1 }),
      foreign: hs256({ ...hush, access: 'write' }, `${secret}.`),
      malformed: 'malformed-hush.malformed-hush.malformed-hush',
      static: 'static-hush-hush',
    }
    const forged = { headers: { [visitHeader]: visitOf({ access: 'write', claims: { 'forged-hush': 1 } }) } }
    for (const token of Object.values(tokens)) {
      for (const door of doors) await enter(server(), door, storeId, both(inPayload(token), forged))
    }
    const peers: Peer[] = []
    for (const generation of generations) {
      for (const token of [tokens.right, tokens.reading, tokens.short, tokens.static]) {
        const peer = await Peer.connect(server(), generation, storeId, showing(inPayload(token)))
        peers.push(peer)
        await peer.pushed(batchOf(0, 1, generation))
        peer.client.send('{"no": "frame"}', pushFrame(generation, 9, 'another', batchOf(0)))
      }
    }
    await server().evict(storeId)
    await eventually('the token expires', () => Date.now() > endMs + 10)
    const log = await logOf(server(), storeId)
    await peers.at(-1)!.pushed(batchOf(log.length))
    const lines = await linesOf(server(), storeId)
    const events = new Set(lines.map((line) => line.event))
    for (const event of ['opened', 'connected', 'refused', 'expired']) assert.ok(events.has(event), [...events].join())
    const all = server().logs.join('\n')
    const words = Object.values(tokens).flatMap((token) => [token, ...partsOf(token).slice(1)])
    for (const word of [...words, secret, 'hush', authToken]) {
      assert.ok(word === undefined || !all.includes(word), `the log holds ${word}`)
    }
    for (const peer of peers) peer.client.terminate()
  })
})
