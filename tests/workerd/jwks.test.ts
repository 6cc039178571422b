/**
 * The keys of `JWT_JWKS_URL`: which of them count, when they are fetched, and what happens when they cannot be had.
 *
 * An hour passes in no time here: the bundle is edited so that its clock can be set ahead.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { authToken, type Server, startServer } from '../harness/server.ts'
import {
  assertRefused,
  assertSyncs,
  type Credential,
  doors,
  enter,
  inCookie,
  inHeader,
  inPayload,
  isMade,
  showing,
} from './doors.ts'
import { KeyServer } from './key-server.ts'
import { knock } from './knock.ts'
import { assertEvents, eventsIn, Peer, pushedFrame } from './peer.ts'
import {
  hmac,
  jwkOf,
  type Jwk,
  keyPairOf,
  type KeyPair,
  pemOf,
  privateJwkOf,
  publicAlgorithms,
  secret,
  tokenBy,
  tokenByOther,
  tokenOf,
} from './tokens.ts'

const reasons = {
  unknown: 'Invalid auth token: the key that signed it is not known',
  algorithm: 'Invalid auth token: it is not signed with the algorithm of a key that is accepted here',
  signature: 'Invalid auth token: its signature is wrong',
} as const

const [minuteMs, tenMinutesMs] = [60_000, 600_000]

/** The header that sets the Worker's clock ahead of time. */
const aheadHeader = 'x-test-ahead-ms'

const withClock = (source: string): string => {
  const handler = /\{fetch:\(([\w$]+),([\w$]+)\)=>/
  assert.match(source, handler, 'the bundle has a fetch handler')
  const clock = 'let aheadMs=0;{const now=Date.now;Date.now=()=>now()+aheadMs}'
  const edited = source.replace(
    handler,
    (start, request) => `${start}(aheadMs=Number(${request}.headers.get("${aheadHeader}")??aheadMs),0)?0:`,
  )
  return `${clock}${edited}`
}

interface Deployment {
  readonly server: Server
  readonly keys: KeyServer
  /** Sets the Worker's clock so far ahead of the true time. */
  ahead(ms: number): Promise<void>
}

/** Runs `test` with a deployment that has fetched no keys yet, and the server of its keys. */
const withDeployment =
  (set: readonly Jwk[], test: (deployment: Deployment) => Promise<void>): (() => Promise<void>) =>
  async () => {
    const keys = await KeyServer.start(set)
    // The token of the templates is for witnesses: it needs no keys.
    const server = await startServer({ vars: { JWT_JWKS_URL: keys.url }, edit: withClock })
    try {
      const ahead = async (ms: number): Promise<void> => {
        await knock(server, { target: '/', headers: { [aheadHeader]: String(ms) } })
      }
      await test({ server, keys, ahead })
    } finally {
      await server.stop()
      await keys.leave()
    }
  }

const assertLetsIn = async (server: Server, credential: Credential): Promise<void> => {
  for (const door of doors) {
    const { status, body } = await enter(server, door, freshStoreId(), credential)
    assert.equal(status, door.isSocket ? 101 : 200, body)
  }
}

/** Asserts that every door answers 503 for the keys, and that no object is made. */
const assertNoKeys = async (server: Server, token: string, why = /./): Promise<void> => {
  const storeId = freshStoreId()
  for (const door of doors) {
    const answer = await enter(server, door, storeId, { ...inPayload(token), headers: { origin: 'https://a.example' } })
    assert.equal(answer.status, 503, answer.body)
    assert.match(answer.headers['content-type'] ?? '', /^text\/plain\b/)
    assert.equal(answer.headers['access-control-allow-origin'], '*')
    const start = 'The keys of JWT_JWKS_URL cannot be had: '
    assert.ok(answer.body.startsWith(start), answer.body)
    assert.match(answer.body.slice(start.length), why)
    for (const part of token.split('.')) assert.ok(!answer.body.includes(part), 'the answer holds nothing of the token')
  }
  assert.ok(!(await isMade(server, storeId)))
}

const pairs = publicAlgorithms.map((algorithm) => keyPairOf(algorithm))
const [rsa, ec, ed] = pairs as [KeyPair, KeyPair, KeyPair]
const kidOf = (pair: KeyPair): string => `kid-of-${pair.algorithm}`
const own = (pair: KeyPair, claims: object = {}): string => tokenBy(pair, claims, { kid: kidOf(pair) })
const usual: readonly Jwk[] = pairs.map((pair) =>
  jwkOf(pair, { kid: kidOf(pair), use: 'sig', alg: pair.algorithm, key_ops: ['verify'] }),
)

describe('of a key set', () => {
  const nameless = keyPairOf('ES256')
  const unusable: Readonly<Record<string, KeyPair>> = {
    'is for encryption': keyPairOf('RS256'),
    'is for another algorithm': keyPairOf('RS256'),
    'is a private one': keyPairOf('EdDSA'),
    'is for signing alone': keyPairOf('ES256'),
  }
  const [forEncryption, forAnother, isPrivate, signs] = Object.values(unusable) as [KeyPair, KeyPair, KeyPair, KeyPair]
  const symmetric = { kty: 'oct', kid: 'symmetric', alg: 'HS256', k: Buffer.from(secret).toString('base64url') }
  let keys: KeyServer
  let server: Server
  before(async () => {
    keys = await KeyServer.start([
      symmetric,
      { kty: 'of the future', kid: 'future' },
      jwkOf(forEncryption, { kid: 'is for encryption', use: 'enc' }),
      jwkOf(forAnother, { kid: 'is for another algorithm', alg: 'RSA-OAEP-256' }),
      privateJwkOf(isPrivate, { kid: 'is a private one' }),
      jwkOf(signs, { kid: 'is for signing alone', key_ops: ['sign'] }),
      ...usual,
    ])
    server = await startServer({ vars: { AUTH_TOKEN: undefined, JWT_JWKS_URL: keys.url } })
  })
  after(async () => {
    await server.stop()
    await keys.leave()
  })

  for (const pair of pairs) {
    const { algorithm } = pair
    it(`the key of ${algorithm} opens every door to a token that names it, to sync`, () =>
      assertSyncs(server, () => inPayload(own(pair))))

    it(`the key of ${algorithm} is found for a token that names none`, async () => {
      await assertLetsIn(server, inHeader(tokenBy(pair)))
      await assertLetsIn(server, inCookie(tokenBy(pair)))
    })

    it(`the key of ${algorithm} refuses a token by another key that calls itself by its name`, () =>
      assertRefused(
        server,
        freshStoreId(),
        inPayload(tokenBy(keyPairOf(algorithm), {}, { kid: kidOf(pair) })),
        reasons.signature,
      ))

    it(`the key of ${algorithm} refuses a token of HS256 whose secret it is`, async () => {
      for (const header of [{ alg: 'HS256', kid: kidOf(pair) }, { alg: 'HS256' }]) {
        for (const key of [pemOf(pair), JSON.stringify(jwkOf(pair)), String(jwkOf(pair)['x'] ?? jwkOf(pair)['n'])]) {
          await assertRefused(server, freshStoreId(), inPayload(tokenOf(header, {}, hmac(key))), reasons.algorithm)
        }
      }
    })

    it(`the key of ${algorithm} is not for a token of another algorithm`, async () => {
      const other = pairs.find((one) => one !== pair)!
      await assertRefused(
        server,
        freshStoreId(),
        inPayload(tokenBy(other, {}, { kid: kidOf(pair) })),
        reasons.algorithm,
      )
    })

    it(`the key of ${algorithm} is not for a token that names none and is by another key`, () =>
      assertRefused(server, freshStoreId(), inPayload(tokenBy(keyPairOf(algorithm))), reasons.signature))
  }

  for (const algorithm of ['RS512', 'PS256', 'ES384', 'ES512'] as const) {
    const pair = keyPairOf(algorithm)
    it(
      `a key of ${algorithm} opens every door, and to no other algorithm`,
      withDeployment(
        [...usual, jwkOf(pair, { kid: kidOf(pair), alg: algorithm, use: 'sig' })],
        async ({ server: own }) => {
          await assertLetsIn(own, inPayload(tokenBy(pair, {}, { kid: kidOf(pair) })))
          await assertLetsIn(own, inHeader(tokenBy(pair)))
          const foreign = tokenBy(keyPairOf(algorithm), {}, { kid: kidOf(pair) })
          await assertRefused(own, freshStoreId(), inPayload(foreign), reasons.signature)
          const other = tokenByOther(pair, algorithm.startsWith('ES') ? 'ES256' : 'RS384', {}, { kid: kidOf(pair) })
          await assertRefused(own, freshStoreId(), inPayload(other), reasons.algorithm)
        },
      ),
    )
  }

  for (const [what, pair] of Object.entries(unusable)) {
    it(`a key that ${what} opens nothing`, async () => {
      const storeId = freshStoreId()
      await assertRefused(server, storeId, inPayload(tokenBy(pair, {}, { kid: what })), reasons.unknown)
      await assertRefused(server, storeId, inPayload(tokenBy(pair)), reasons.signature)
      assert.ok(!(await isMade(server, storeId)))
    })
  }

  it('a symmetric key opens nothing', async () => {
    const storeId = freshStoreId()
    for (const header of [{ alg: 'HS256', kid: 'symmetric' }, { alg: 'HS256' }, { alg: 'HS256', kid: 'future' }]) {
      await assertRefused(server, storeId, inPayload(tokenOf(header, {}, hmac(secret))), reasons.algorithm)
    }
    await assertRefused(server, storeId, inPayload(tokenBy(rsa, {}, { kid: 'symmetric' })), reasons.unknown)
    assert.ok(!(await isMade(server, storeId)))
  })

  it('a key that no other names is unknown', async () => {
    for (const kid of ['another', '', kidOf(ec).toUpperCase(), `${kidOf(ec)} `]) {
      await assertRefused(server, freshStoreId(), inPayload(tokenBy(ec, {}, { kid })), reasons.unknown)
    }
  })

  it(
    'a key without a name is for a token of any name',
    withDeployment([...usual, jwkOf(nameless)], async ({ server }) => {
      await assertLetsIn(server, inPayload(tokenBy(nameless, {}, { kid: 'any' })))
      await assertLetsIn(server, inPayload(tokenBy(nameless)))
      await assertLetsIn(server, inPayload(own(rsa)))
      const foreign = tokenBy(keyPairOf('ES256'), {}, { kid: 'any' })
      await assertRefused(server, freshStoreId(), inPayload(foreign), reasons.signature)
    }),
  )
})

describe('a key set is fetched', () => {
  it(
    'for the first token that needs it and then kept, for all doors and stores, and is told nothing of who asks',
    withDeployment(usual, async ({ server, keys }) => {
      for (const door of doors) await enter(server, door, 'a', inPayload(authToken))
      for (const token of ['x', 'x.y.z']) {
        for (const door of doors) await enter(server, door, 'a', inPayload(token))
      }
      assert.equal(keys.count, 0)
      await assertLetsIn(server, inHeader(own(rsa)))
      await Promise.all(
        Array.from({ length: 20 }, (_, index) => assertLetsIn(server, inPayload(own(pairs[index % 3]!)))),
      )
      await assertRefused(server, freshStoreId(), inPayload(tokenBy(keyPairOf('ES256'))), reasons.signature)
      assert.equal(keys.count, 1)
      const headers = Object.keys(keys.requests[0]!)
      for (const name of ['authorization', 'cookie']) assert.ok(!headers.includes(name), headers.join())
      assert.ok(!JSON.stringify(keys.requests).includes(own(rsa).split('.')[1]!))
    }),
  )

  it(
    'again for a key that is not in it, but not within a minute, and a key that was taken out of it counts no more',
    withDeployment(usual.slice(0, 1), async ({ server, keys, ahead }) => {
      await assertLetsIn(server, inPayload(own(rsa)))
      keys.answer = KeyServer.setOf(usual.slice(1, 2))
      await assertRefused(server, freshStoreId(), inPayload(own(ec)), reasons.unknown)
      await ahead(minuteMs - 20_000)
      await assertRefused(server, freshStoreId(), inPayload(own(ec)), reasons.unknown)
      assert.equal(keys.count, 1, 'within a minute it is not asked for again')
      await assertLetsIn(server, inPayload(own(rsa)))

      await ahead(minuteMs + 1_000)
      await assertLetsIn(server, inPayload(own(rsa)))
      assert.equal(keys.count, 1, 'a key that is in it is no reason to ask')
      await assertLetsIn(server, inPayload(own(ec)))
      assert.equal(keys.count, 2)
      await assertRefused(server, freshStoreId(), inPayload(own(rsa)), reasons.unknown)
      assert.equal(keys.count, 2)
    }),
  )

  it(
    'once a minute at most, however many made-up names it is asked for',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      const madeUp = (index: number): Credential => inPayload(tokenBy(rsa, {}, { kid: `made-up-${index}` }))
      const askAll = (): Promise<unknown> =>
        Promise.all(
          Array.from({ length: 20 }, (_, index) =>
            assertRefused(server, freshStoreId(), madeUp(index), reasons.unknown),
          ),
        )
      await assertLetsIn(server, inPayload(own(rsa)))
      await askAll()
      assert.equal(keys.count, 1)
      for (let minute = 1; minute <= 3; minute += 1) {
        await ahead(minute * (minuteMs + 1_000))
        await askAll()
        assert.equal(keys.count, 1 + minute)
      }
      await assertLetsIn(server, inPayload(own(ed)))
    }),
  )

  it(
    'again after ten minutes, so that a key that was taken out of it is not accepted for longer',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      await assertLetsIn(server, inPayload(own(ec)))
      keys.answer = KeyServer.setOf(usual.slice(0, 1))
      await ahead(tenMinutesMs - 20_000)
      await assertLetsIn(server, inPayload(own(ec)))
      assert.equal(keys.count, 1)
      await ahead(tenMinutesMs + 1_000)
      await assertRefused(server, freshStoreId(), inPayload(own(ec)), reasons.unknown)
      await assertLetsIn(server, inPayload(own(rsa)))
      assert.equal(keys.count, 2)
    }),
  )

  const successor = keyPairOf('ES256')
  const named = (pair: KeyPair): Jwk => jwkOf(pair, { kid: 'of one name', alg: pair.algorithm })
  const by = (pair: KeyPair): Credential => inPayload(tokenBy(pair, {}, { kid: 'of one name' }))

  it(
    'again after ten minutes, so that a key is replaced by another of its algorithm and its name',
    withDeployment([named(ec)], async ({ server, keys, ahead }) => {
      await assertLetsIn(server, by(ec))
      await assertRefused(server, freshStoreId(), by(successor), reasons.signature)
      keys.answer = KeyServer.setOf([named(successor)])
      await ahead(tenMinutesMs + 1_000)
      await assertLetsIn(server, by(successor))
      await assertRefused(server, freshStoreId(), by(ec), reasons.signature)
    }),
  )
})

describe('when the server of the keys cannot be reached', () => {
  it(
    'every door is answered 503, those who need no keys are served, and it is asked again as soon as it is back',
    withDeployment(usual, async ({ server, keys }) => {
      const storeId = freshStoreId()
      const witness = await Peer.connect(server, 'v04', storeId)
      witness.pull({ live: true })
      await witness.settled()
      await keys.leave()
      await assertNoKeys(server, own(rsa))
      assert.deepEqual((await witness.pushed(batchOf(0))).answer, pushedFrame('v04', 2))
      await keys.comeBack()
      const peer = await Peer.connect(server, 'v05', storeId, showing(inPayload(own(rsa))))
      assertEvents(
        (await peer.pages()).flatMap((page) => page.events),
        batchOf(0),
      )
      assert.equal(keys.count, 1)
    }),
  )

  it(
    'the keys that were fetched go on counting, also when they are old, and a new one is unknown',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      await assertLetsIn(server, inPayload(own(rsa)))
      const peer = await Peer.connect(server, 'v04', freshStoreId(), showing(inPayload(own(ed))))
      await keys.leave()
      for (const ms of [0, minuteMs + 1_000, tenMinutesMs + 1_000, 2 * tenMinutesMs]) {
        await ahead(ms)
        for (const pair of pairs) await assertLetsIn(server, inPayload(own(pair)))
        await assertRefused(server, freshStoreId(), inPayload(tokenBy(ec, {}, { kid: 'new' })), reasons.unknown)
      }
      const { frames } = await peer.pushed(batchOf(0))
      assertEvents(eventsIn(frames), [])
      assert.equal(keys.count, 1)
      await keys.comeBack()
      keys.answer = KeyServer.setOf(usual.slice(0, 1))
      await ahead(2 * tenMinutesMs + minuteMs + 1_000)
      await assertRefused(server, freshStoreId(), inPayload(own(ec)), reasons.unknown)
      assert.equal(keys.count, 2)
    }),
  )

  it(
    'an old set is tried to renew once a minute',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      await assertLetsIn(server, inPayload(own(rsa)))
      keys.answer = { status: 500, body: 'out of order' }
      await ahead(tenMinutesMs + 1_000)
      for (let index = 0; index < 5; index += 1) await assertLetsIn(server, inPayload(own(rsa)))
      assert.equal(keys.count, 2)
      await ahead(tenMinutesMs + minuteMs + 2_000)
      for (let index = 0; index < 5; index += 1) await assertLetsIn(server, inPayload(own(rsa)))
      assert.equal(keys.count, 3)
    }),
  )

  it(
    'or says nothing, it is waited for some seconds and no longer',
    withDeployment(usual, async ({ server, keys }) => {
      keys.answer = 'silence'
      const startedAt = performance.now()
      const [door] = doors
      const answer = await enter(server, door!, freshStoreId(), inPayload(own(rsa)))
      const waitedMs = performance.now() - startedAt
      assert.equal(answer.status, 503, answer.body)
      assert.ok(waitedMs > 3_000 && waitedMs < 12_000, `${waitedMs} ms`)
      keys.answer = KeyServer.setOf(usual)
      await assertLetsIn(server, inPayload(own(rsa)))
    }),
  )
})

describe('a key set that is elsewhere', () => {
  const set = JSON.stringify({ keys: usual })
  const path = '/.well-known/jwks.json'

  it(
    'on the same host is found, over three redirects at most',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      const hops = [path, '/a', '/b?c=d', '/e']
      const redirect = (to: readonly string[]) => (from: string) => to[to.indexOf(from) + 1]
      keys.answer = { redirect: redirect([...hops, '/f']), body: set }
      await assertNoKeys(server, own(rsa), /^it redirects too often$/)
      keys.answer = { redirect: redirect(hops), body: set }
      await assertLetsIn(server, inPayload(own(rsa)))
      await ahead(tenMinutesMs + 1_000)
      keys.answer = { redirect: (from) => (from === path ? `${keys.url}/there` : undefined), body: set }
      await assertLetsIn(server, inPayload(own(ec)))
    }),
  )

  it('on another host is not asked for', async () => {
    const other = await KeyServer.start(usual)
    try {
      await withDeployment(usual, async ({ server, keys }) => {
        const port = new URL(other.url).port
        for (const location of [
          other.url,
          `//127.0.0.1:${port}/`,
          `http://localhost:${new URL(keys.url).port}${path}`,
        ]) {
          keys.answer = { redirect: () => location, body: set }
          await assertNoKeys(server, own(rsa), /^it redirects to another host$/)
        }
        assert.equal(other.count, 0)
        keys.answer = KeyServer.setOf(usual)
        await assertLetsIn(server, inPayload(own(rsa)))
      })()
    } finally {
      await other.leave()
    }
  })
})

describe('what is no key set', () => {
  const none = /no public key that could verify a token: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519$/
  const malformed = /not a JSON object with an array `keys`$/
  const set = (...keys: readonly Jwk[]): string => JSON.stringify({ keys })
  const documents: ReadonlyArray<readonly [what: string, body: string, why: RegExp, status?: number]> = [
    ['an empty text', '', malformed],
    ['a page', '<!doctype html><title>Log in</title>', malformed],
    ['a list of keys', JSON.stringify(usual), malformed],
    ['a key', JSON.stringify(usual[0]), malformed],
    ['an object whose keys are an object', JSON.stringify({ keys: { a: usual[0] } }), malformed],
    ['an object whose keys are there twice', `{"keys":[],"keys":${JSON.stringify(usual)}}`, malformed],
    ['a set that breaks off', set(...usual).slice(0, -2), malformed],
    ['a set without keys', set(), none],
    ['a set of texts', JSON.stringify({ keys: ['a', 1, null, []] }), none],
    ['a set of a symmetric key', set({ kty: 'oct', k: Buffer.from(secret).toString('base64url') }), none],
    ['a set of a private key', set(privateJwkOf(rsa, { kid: kidOf(rsa) })), none],
    ['a set of a small key', set({ kty: 'RSA', n: 'A'.repeat(171), e: 'AQAB' }), none],
    ['a set of another curve', set({ ...jwkOf(ec), crv: 'P-384' }), none],
    [
      'a set of more than 131072 bytes',
      set(...usual, { kty: 'x', text: 'x'.repeat(131_072) }),
      /more than 131072 bytes$/,
    ],
    ['a 404', set(...usual), /it answers 404$/, 404],
    ['a 500', set(...usual), /it answers 500$/, 500],
  ]
  let keys: KeyServer
  let server: Server
  before(async () => {
    keys = await KeyServer.start()
    server = await startServer({ vars: { JWT_JWKS_URL: keys.url } })
  })
  after(async () => {
    await server.stop()
    await keys.leave()
  })

  for (const [what, body, why, status] of documents) {
    it(`such as ${what} is told with 503`, async () => {
      keys.answer = { body, ...(status === undefined ? {} : { status }) }
      await assertNoKeys(server, own(rsa), why)
    })
  }

  it('such as a set that does not end is read no further than it may be long, and told with 503', async () => {
    keys.answer = { endless: ' '.repeat(10_000) }
    await assertNoKeys(server, own(rsa), /more than 131072 bytes$/)
  })

  it('keeps nobody out once there is one', async () => {
    keys.answer = { body: 'nothing' }
    await assertNoKeys(server, own(rsa))
    keys.answer = KeyServer.setOf(usual)
    await assertLetsIn(server, inPayload(own(rsa)))
  })

  it(
    'takes no place from the set before it',
    withDeployment(usual, async ({ server, keys, ahead }) => {
      await assertLetsIn(server, inPayload(own(rsa)))
      for (const [index, [, body, , status]] of documents.entries()) {
        keys.answer = { body, ...(status === undefined ? {} : { status }) }
        await ahead(tenMinutesMs + (index + 1) * (minuteMs + 1_000))
        await assertLetsIn(server, inPayload(own(rsa)))
        assert.equal(keys.count, 2 + index)
      }
    }),
  )
})
