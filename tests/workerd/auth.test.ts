/**
 * Who is let in: one test for each way to fail at it, at every door, and one for each way to succeed, which is to sync.
 *
 * What somebody may do who was let in is the affair of `grants.test.ts`, and how keys are fetched that of `jwks.test.ts`.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { authToken, type Server, type ServerOptions, startServer, templateToken } from '../harness/server.ts'
import { serverOf as anyServerOf } from '../harness/servers.ts'
import {
  assertRefused,
  assertSyncs,
  both,
  type Credential,
  doors,
  enter,
  inCookie,
  inHeader,
  inPayload,
  isMade,
  refusalAt,
} from './doors.ts'
import { withServer } from '../harness/servers.ts'
import { knock } from './knock.ts'
import { assertEvents, logOf, Peer } from './peer.ts'
import {
  always,
  derOf,
  derSignedBy,
  hmac,
  hs256,
  jwkOf,
  keyPairOf,
  partsOf,
  pemOf,
  privateJwkOf,
  publicAlgorithms,
  secondsFromNow,
  secret,
  signedBy,
  tokenBy,
  tokenByOther,
  tokenOf,
} from './tokens.ts'

type Vars = NonNullable<ServerOptions['vars']>

/** What a client shows at a store. */
type CredentialOf = (storeId: string) => Credential

/** Ways to succeed: what is shown. */
type Rights = ReadonlyArray<readonly [what: string, credentialOf: CredentialOf]>

/** Ways to fail: what is shown, and the reason that is told. */
type Wrongs = ReadonlyArray<readonly [what: string, credentialOf: CredentialOf, reason: string]>

const byPayload =
  (token: unknown): CredentialOf =>
  () =>
    inPayload(token)

const invalid = (what: string): string => `Invalid auth token: ${what}`

const reasons = {
  none: 'No auth token: the sync payload must be {"authToken":"..."}',
  wrong: 'Invalid auth token',
  parts: invalid('it does not have three parts'),
  base64: invalid('a part of it is not base64url without padding'),
  header: invalid('its header is not an object of distinct names'),
  crit: invalid("its header has 'crit', which is not supported"),
  alg: invalid("its header has no text 'alg'"),
  kid: invalid("its 'kid' is not a text"),
  claims: invalid('its claims are not an object of distinct names'),
  exp: invalid("its claim 'exp' is not a number"),
  nbf: invalid("its claim 'nbf' is not a number"),
  long: invalid('it has more than 8192 bytes'),
  algorithm: invalid('it is not signed with the algorithm of a key that is accepted here'),
  signature: invalid('its signature is wrong'),
  expired: invalid('it has expired'),
  early: invalid('it is not valid yet'),
  issuer: invalid("its claim 'iss' is not the issuer that is expected here"),
  audience: invalid("its claim 'aud' has no audience that is expected here"),
  store: invalid('it does not open this store'),
  access: invalid("it says neither 'read' nor 'write'"),
} as const

const serverOf = (vars: Vars): (() => Server) => anyServerOf({ vars })

/** A deployment with these variables: what opens it, and what does not. The first of `rights` is its usual one. */
const deployment = (what: string, vars: Vars, rights: Rights, wrongs: Wrongs): void => {
  describe(what, () => {
    const server = serverOf(vars)
    const usual = rights[0]![1]

    for (const [name, credentialOf] of rights) {
      it(`${name} opens every door, to sync`, () => assertSyncs(server(), credentialOf))
    }

    for (const [name, credentialOf, reason] of wrongs) {
      it(`${name} is refused at every door, and makes no object`, async () => {
        const storeId = freshStoreId()
        await assertRefused(server(), storeId, credentialOf(storeId), reason)
        assert.ok(!(await isMade(server(), storeId)))
      })
    }

    it('those who are refused change nothing for those who are not', async () => {
      const storeId = freshStoreId()
      const witness = await Peer.connect(server(), 'v04', storeId, { payload: undefined, ...usual(storeId) })
      assert.ok(await isMade(server(), storeId), 'an object that is made can be told')
      witness.pull({ live: true })
      await witness.pushed(batchOf(0, 2))
      await witness.settled()
      for (const [, credentialOf, reason] of wrongs) {
        await assertRefused(server(), storeId, credentialOf(storeId), reason)
      }
      assert.deepEqual(await witness.settled(), [])
      const log = await logOf(server(), storeId, 'v04', { payload: undefined, ...usual(storeId) })
      assertEvents(log, batchOf(0, 2))
    })
  })
}

const [first, second] = ['first-token', 'second-token']

deployment(
  'with static tokens',
  { AUTH_TOKEN: `${first}, ${second}` },
  [
    ['the first token', byPayload(first)],
    ['the second token', byPayload(second)],
    ['a token in a header', () => inHeader(first)],
    ['a token in a header of another spelling', () => ({ headers: { authorization: `bearer  ${second}` } })],
    ['a token in a cookie', () => inCookie(first)],
    ['a token in a quoted cookie', () => inCookie(`"${second}"`)],
    ['a token among other things in the payload', () => ({ payload: { user: { id: 1 }, authToken: first, list: [] } })],
    ['a token in a header beside a payload without one', () => both({ payload: { user: 1 } }, inHeader(first))],
    ['a token in a header beside a wrong cookie', () => both(inCookie('wrong'), inHeader(first))],
    [
      'a token in a cookie beside a header of another scheme',
      () => both(inCookie(first), { headers: { authorization: 'Basic dTpw' } }),
    ],
  ],
  [
    ['no payload', () => ({}), reasons.none],
    ['a payload that is null', () => ({ payload: null }), reasons.none],
    ['a payload without a token', () => ({ payload: { user: 1 } }), reasons.none],
    ['a payload that is the token', () => ({ payload: first }), reasons.none],
    ['a payload that is a list', () => ({ payload: [{ authToken: first }] }), reasons.none],
    ['a token deeper in the payload', () => ({ payload: { auth: { authToken: first } } }), reasons.none],
    ['a token under a name of other letters', () => ({ payload: { authtoken: first } }), reasons.none],
    ['a token that is a list', byPayload([first]), reasons.none],
    ['a token that is null', byPayload(null), reasons.none],
    ['a token that is true', byPayload(true), reasons.none],
    ['an empty token', byPayload(''), reasons.wrong],
    ['a token that is none of them', byPayload('third-token'), reasons.wrong],
    ['a token with a letter too few', byPayload(first.slice(0, -1)), reasons.wrong],
    ['a token with a letter too many', byPayload(`${first}n`), reasons.wrong],
    ['a token with a space behind it', byPayload(`${first} `), reasons.wrong],
    ['a token in other letters', byPayload(first.toUpperCase()), reasons.wrong],
    ['the whole list', byPayload(`${first}, ${second}`), reasons.wrong],
    ['the comma between them', byPayload(','), reasons.wrong],
    ['the token of the templates', byPayload(templateToken), reasons.wrong],
    ['a JSON Web Token', byPayload(hs256()), reasons.wrong],
    ['a wrong token in a header', () => inHeader('third-token'), reasons.wrong],
    ['an empty token in a header', () => ({ headers: { authorization: 'Bearer ' } }), reasons.none],
    ['a token in a header without a scheme', () => ({ headers: { authorization: first } }), reasons.none],
    ['a token in a header of another scheme', () => ({ headers: { authorization: `Basic ${first}` } }), reasons.none],
    ['a wrong token in a cookie', () => inCookie('third-token'), reasons.wrong],
    ['a token in a cookie of another name', () => ({ headers: { cookie: `xauthToken=${first}` } }), reasons.none],
    ['a token in another header', () => ({ headers: { 'x-auth-token': first } }), reasons.none],
    ['a wrong payload beside a right header', () => both(inPayload('third-token'), inHeader(first)), reasons.wrong],
    ['a wrong payload beside a right cookie', () => both(inPayload('third-token'), inCookie(first)), reasons.wrong],
    ['a wrong header beside a right cookie', () => both(inHeader('third-token'), inCookie(first)), reasons.wrong],
  ],
)

/** What is wrong with a token, whatever key it should have been signed with. `right` makes a right one. */
const wrongsOfEveryKey = (right: (claims?: object) => string): Wrongs => {
  const token = right({ sub: 'me', role: 'user' })
  const [header, claims, signature] = partsOf(token)
  const swap = (text: string): string => (text.startsWith('A') ? `B${text.slice(1)}` : `A${text.slice(1)}`)
  const raised = partsOf(right({ sub: 'me', role: 'admin' }))[1]
  const shortened = Buffer.from(signature, 'base64url').subarray(1).toString('base64url')
  const nothing = { alg: 'none', typ: 'JWT' }
  return [
    ['no token', () => ({}), reasons.none],
    ['an empty token', byPayload(''), reasons.parts],
    ['the token of the templates', byPayload(templateToken), reasons.parts],
    ['a token without a signature part', byPayload(`${header}.${claims}`), reasons.parts],
    ['a token of five parts', byPayload(`${token}.${header}.${claims}`), reasons.parts],
    ['a token without anything between its dots', byPayload('..'), reasons.header],
    ['a token with padding', byPayload(`${header}.${claims}.${signature}=`), reasons.base64],
    ['a token in the letters of other base64', byPayload(`${header}.${claims}.+/+/`), reasons.base64],
    ['a token with a space before it', byPayload(` ${token}`), reasons.base64],
    ['a token whose header is no JSON', byPayload(tokenOf('alg', {}, always())), reasons.header],
    ['a token whose header is a list', byPayload(tokenOf([], {}, always())), reasons.header],
    ['a token without alg', byPayload(tokenOf({ typ: 'JWT' }, {}, always())), reasons.alg],
    ['a token whose alg is a list', byPayload(tokenOf({ alg: ['HS256'] }, {}, always())), reasons.alg],
    [
      'a token whose alg is there twice',
      byPayload(tokenOf('{"alg":"HS256","alg":"none"}', {}, always())),
      reasons.header,
    ],
    ['a token whose claims are no JSON', byPayload(tokenOf({ alg: 'HS256' }, 'sub', always())), reasons.claims],
    [
      'a token whose claims are not UTF-8',
      byPayload(tokenOf({ alg: 'HS256' }, Buffer.from([0xff]), always())),
      reasons.claims,
    ],
    ['a token whose claims are a list', byPayload(tokenOf({ alg: 'HS256' }, [], always())), reasons.claims],
    ['an unsigned token', byPayload(tokenOf(nothing, {}, always())), reasons.algorithm],
    [
      'an unsigned token that still has a signature',
      byPayload(`${partsOf(tokenOf(nothing, {}, always()))[0]}.${claims}.${signature}`),
      reasons.algorithm,
    ],
    ['a token of an alg None', byPayload(tokenOf({ alg: 'None' }, {}, always())), reasons.algorithm],
    ['a token with an empty signature', byPayload(`${header}.${claims}.`), reasons.signature],
    [
      'a token with a signature of zeros',
      byPayload(`${header}.${claims}.${'A'.repeat(signature.length)}`),
      reasons.signature,
    ],
    ['a token with a changed signature', byPayload(`${header}.${claims}.${swap(signature)}`), reasons.signature],
    ['a token with a shortened signature', byPayload(`${header}.${claims}.${shortened}`), reasons.signature],
    ['a token with other claims than were signed', byPayload(`${header}.${raised}.${signature}`), reasons.signature],
    ['a token that has expired', byPayload(right({ exp: secondsFromNow(-1) })), reasons.expired],
    ['a token that expired at the beginning of time', byPayload(right({ exp: 0 })), reasons.expired],
    ['a token that is not valid yet', byPayload(right({ nbf: secondsFromNow(3_600) })), reasons.early],
    ['a token whose exp is a text', byPayload(right({ exp: String(secondsFromNow(3_600)) })), reasons.exp],
    ['a token whose exp is null', byPayload(right({ exp: null })), reasons.exp],
    ['a token whose nbf is a text', byPayload(right({ nbf: '0' })), reasons.nbf],
    ['a token that is too long', byPayload(right({ text: 'x'.repeat(9_000) })), reasons.long],
    ['a wrong token in a header', () => inHeader(`${header}.${raised}.${signature}`), reasons.signature],
    ['a wrong token in a cookie', () => inCookie(`${header}.${raised}.${signature}`), reasons.signature],
    ['a wrong token beside a right header', () => both(inPayload('x.y.z'), inHeader(token)), reasons.base64],
  ]
}

/** How a right token may be shown. */
const rightsOfEveryKey = (right: (claims?: object) => string): Rights => [
  ['a token', byPayload(right())],
  ['a token in a header', () => inHeader(right())],
  ['a token in a cookie', () => inCookie(right())],
  ['a token that is valid now', byPayload(right({ nbf: secondsFromNow(-3_600), exp: secondsFromNow(3_600) }))],
  ['a token of fractions', byPayload(right({ nbf: secondsFromNow(-9) + 0.5, exp: secondsFromNow(3_600) + 0.25 }))],
  ['a token that says where, what and whom it is for', byPayload(right({ iss: 'i', aud: ['a'], sub: 's', jti: '1' }))],
]

/** Variables of a deployment without static tokens. */
const jwt = (vars: Readonly<Record<string, string>>): Vars => ({ AUTH_TOKEN: undefined, ...vars })

const rsa = keyPairOf('RS256')
deployment('with JWT_SECRET', jwt({ JWT_SECRET: secret }), rightsOfEveryKey(hs256), [
  ...wrongsOfEveryKey(hs256),
  ['a token of another secret', byPayload(hs256({}, `${secret}.`)), reasons.signature],
  ['a token of an empty secret', byPayload(hs256({}, '')), reasons.signature],
  ['the secret itself', byPayload(secret), reasons.parts],
  ['a token of the secret by HS512', byPayload(tokenOf({ alg: 'HS512' }, {}, hmac(secret, 512))), reasons.algorithm],
  ['a token of the secret by hs256', byPayload(tokenOf({ alg: 'hs256' }, {}, hmac(secret))), reasons.algorithm],
  ['a token by a key pair', byPayload(tokenBy(rsa)), reasons.algorithm],
  [
    'a token with crit',
    byPayload(tokenOf({ alg: 'HS256', crit: ['b64'], b64: false }, {}, hmac(secret))),
    reasons.crit,
  ],
  ['a token with an empty crit', byPayload(tokenOf({ alg: 'HS256', crit: [] }, {}, hmac(secret))), reasons.crit],
  ['a token whose kid is a number', byPayload(tokenOf({ alg: 'HS256', kid: 1 }, {}, hmac(secret))), reasons.kid],
  [
    'a token in which a claim is there twice',
    byPayload(tokenOf({ alg: 'HS256' }, '{"exp":1,"exp":9e9}', hmac(secret))),
    reasons.claims,
  ],
])

for (const algorithm of publicAlgorithms) {
  const [own, foreign] = [keyPairOf(algorithm), keyPairOf(algorithm)]
  const others = publicAlgorithms.filter((other) => other !== algorithm)
  const right = (claims?: object): string => tokenBy(own, claims)
  const texts: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    ['PEM text', pemOf(own)],
    ['PEM text without its last line break', pemOf(own).trimEnd()],
    ['DER', derOf(own)],
    ['JWK', JSON.stringify(jwkOf(own))],
    ['bytes in the JWK', Buffer.from(String(jwkOf(own)['x'] ?? jwkOf(own)['n']), 'base64url')],
  ]
  const confusions: Wrongs = texts.map(([what, text]) => [
    `a token of HS256 whose secret is the public key's ${what}`,
    byPayload(tokenOf({ alg: 'HS256' }, {}, hmac(text))),
    reasons.algorithm,
  ])
  const foreigners: Wrongs = [
    ['a token by another key', byPayload(tokenBy(foreign)), reasons.signature],
    [
      'a token by another key that it brings along',
      byPayload(tokenBy(foreign, {}, { jwk: jwkOf(foreign) })),
      reasons.signature,
    ],
    [
      'a token by another key that it tells the address of',
      byPayload(tokenBy(foreign, {}, { jku: 'http://127.0.0.1:9/' })),
      reasons.signature,
    ],
    ...others.map(
      (other) => [`a token by a key of ${other}`, byPayload(tokenBy(keyPairOf(other))), reasons.algorithm] as const,
    ),
    ...others.map(
      (other) =>
        [`a token that calls itself ${other}`, byPayload(tokenBy(own, {}, { alg: other })), reasons.algorithm] as const,
    ),
  ]
  const ofThisAlgorithm: Wrongs =
    algorithm === 'RS256'
      ? [
          [
            'a token by PS256 that calls itself RS256',
            byPayload(tokenOf({ alg: 'RS256' }, {}, signedBy(own, 'PS256'))),
            reasons.signature,
          ],
          [
            'a token by RS512 that calls itself RS256',
            byPayload(tokenOf({ alg: 'RS256' }, {}, signedBy(own, 'RS512'))),
            reasons.signature,
          ],
        ]
      : algorithm === 'ES256'
        ? [
            [
              'a token with a signature in DER',
              byPayload(tokenOf({ alg: 'ES256' }, {}, derSignedBy(own))),
              reasons.signature,
            ],
            ['a token by ES384', byPayload(tokenByOther(own, 'ES384')), reasons.algorithm],
          ]
        : [['a token by Ed448', byPayload(tokenOf({ alg: 'Ed448' }, {}, signedBy(own))), reasons.algorithm]]
  const alsoRight: Rights =
    algorithm === 'RS256'
      ? (['RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const).map(
          (other) => [`a token by ${other}`, byPayload(tokenByOther(own, other))] as const,
        )
      : algorithm === 'EdDSA'
        ? [['a token that calls itself Ed25519', byPayload(tokenBy(own, {}, { alg: 'Ed25519' }))]]
        : []

  deployment(
    `with a PEM of ${algorithm} as JWT_PUBLIC_KEY`,
    jwt({ JWT_PUBLIC_KEY: pemOf(own) }),
    [
      ...rightsOfEveryKey(right),
      ['a token that names a key', byPayload(tokenBy(own, {}, { kid: 'any' }))],
      ...alsoRight,
    ],
    [...wrongsOfEveryKey(right), ...confusions, ...foreigners, ...ofThisAlgorithm],
  )

  deployment(
    `with a JWK of ${algorithm} as JWT_PUBLIC_KEY`,
    jwt({ JWT_PUBLIC_KEY: JSON.stringify(jwkOf(own, { kid: 'own', use: 'sig', alg: algorithm })) }),
    [
      ['a token', byPayload(right())],
      ['a token that names the key', byPayload(tokenBy(own, {}, { kid: 'own' }))],
    ],
    [
      [
        'a token that names another key',
        byPayload(tokenBy(own, {}, { kid: 'another' })),
        invalid('the key that signed it is not known'),
      ],
      ...confusions,
      ...foreigners,
    ],
  )
}

for (const [algorithm, other] of [
  ['RS512', 'RS256'],
  ['PS256', 'RS256'],
  ['ES384', 'ES256'],
  ['ES512', 'ES384'],
] as const) {
  const own = keyPairOf(algorithm)
  for (const [what, text] of [
    ['JWK', JSON.stringify(jwkOf(own, { alg: algorithm }))],
    ...(algorithm.startsWith('ES') ? [['PEM', pemOf(own)] as const] : []),
  ] as const) {
    deployment(
      `with a ${what} of ${algorithm} as JWT_PUBLIC_KEY`,
      jwt({ JWT_PUBLIC_KEY: text }),
      [['a token', byPayload(tokenBy(own))]],
      [
        ['a token by another key', byPayload(tokenBy(keyPairOf(algorithm))), reasons.signature],
        [`a token by ${other}`, byPayload(tokenByOther(own, other)), reasons.algorithm],
        [`a token that calls itself ${other}`, byPayload(tokenBy(own, {}, { alg: other })), reasons.algorithm],
        [
          `a token by ${other} that calls itself ${algorithm}`,
          byPayload(tokenOf({ alg: algorithm }, {}, signedBy(own, other))),
          reasons.signature,
        ],
        [
          `a token of HS256 whose secret is the public key's ${what}`,
          byPayload(tokenOf({ alg: 'HS256' }, {}, hmac(text))),
          reasons.algorithm,
        ],
      ],
    )
  }
}

const onOneLine = keyPairOf('ES256')
deployment(
  'with a PEM on one line as JWT_PUBLIC_KEY, and static tokens beside it',
  { AUTH_TOKEN: first, JWT_PUBLIC_KEY: pemOf(onOneLine).replaceAll('\n', '\\n') },
  [
    ['a JSON Web Token', byPayload(tokenBy(onOneLine))],
    ['a static token', byPayload(first)],
  ],
  [
    ['a token that is neither', byPayload('third-token'), reasons.parts],
    ['the token of the templates', byPayload(templateToken), reasons.parts],
    ['a static token as a part of the other', byPayload(`${first}.${first}.${first}`), reasons.base64],
  ],
)

const [storeClaim, accessClaim] = ['https://app.example.com/stores', 'app.access']
const issuer = 'https://issuer.example.com/'
const claim =
  (over: (storeId: string) => object): CredentialOf =>
  (storeId) =>
    inPayload(hs256({ iss: issuer, aud: 'sync', [storeClaim]: storeId, [accessClaim]: 'write', ...over(storeId) }))
const claimOf = (name: string, values: readonly unknown[], reason: string): Wrongs =>
  values.map((value) => [
    value === undefined ? `a token without ${name}` : `a token whose ${name} is ${JSON.stringify(value)}`,
    claim(() => ({ [name]: value })),
    reason,
  ])
deployment(
  'with all that can be asked of a token',
  jwt({
    JWT_SECRET: secret,
    JWT_ISSUER: issuer,
    JWT_AUDIENCE: 'sync, app',
    JWT_STORE_CLAIM: storeClaim,
    JWT_ACCESS_CLAIM: accessClaim,
  }),
  [
    ['a token of this store', claim(() => ({}))],
    ['a token of a list of stores', claim((storeId) => ({ [storeClaim]: ['another', storeId] }))],
    ['a token of all stores', claim(() => ({ [storeClaim]: '*' }))],
    ['a token of all stores in a list', claim(() => ({ [storeClaim]: ['another', '*'] }))],
    ['a token for the other audience', claim(() => ({ aud: 'app' }))],
    ['a token for a list of audiences', claim(() => ({ aud: ['other', 'app'] }))],
    ['a token that may read and write', claim(() => ({ [accessClaim]: 'read-write' }))],
  ],
  [
    ...claimOf('iss', [undefined, 'https://issuer.example.com', `${issuer}x`, '', null, [issuer], 1], reasons.issuer),
    ...claimOf(
      'aud',
      [undefined, 'other', ['other'], [], 'sync, app', 'Sync', null, ['sync', 1], { sync: true }],
      reasons.audience,
    ),
    ...claimOf(storeClaim, [undefined, 'another', ['another'], [], '', 'store-*', '**', null, 1, true], reasons.store),
    [
      'a token whose stores are the start of this one',
      claim((storeId) => ({ [storeClaim]: storeId.slice(0, -1) })),
      reasons.store,
    ],
    [
      'a token whose stores are more than this one',
      claim((storeId) => ({ [storeClaim]: `${storeId},another` })),
      reasons.store,
    ],
    ['a token whose stores are an object', claim((storeId) => ({ [storeClaim]: { [storeId]: true } })), reasons.store],
    ['a token whose stores are a list in a list', claim((storeId) => ({ [storeClaim]: [[storeId]] })), reasons.store],
    [
      'a token of this store in other letters',
      claim((storeId) => ({ [storeClaim]: storeId.toUpperCase() })),
      reasons.store,
    ],
    ...claimOf(
      accessClaim,
      [undefined, 'admin', 'WRITE', '', '*', 'read,write', null, true, ['write']],
      reasons.access,
    ),
    [
      'a token whose access lies deeper',
      claim(() => ({ [accessClaim]: undefined, app: { access: 'write' } })),
      reasons.access,
    ],
    ['a token that is right but for having expired', claim(() => ({ exp: secondsFromNow(-1) })), reasons.expired],
  ],
)

deployment(
  'with JWT_GRACE_SECONDS',
  jwt({ JWT_SECRET: secret, JWT_GRACE_SECONDS: '600' }),
  [
    ['a token that expired within them', () => inPayload(hs256({ exp: secondsFromNow(-60) }))],
    ['a token that has not expired', () => inPayload(hs256({ exp: secondsFromNow(60) }))],
    ['a token that is valid within them', () => inPayload(hs256({ nbf: secondsFromNow(60) }))],
  ],
  [
    ['a token that expired before them', byPayload(hs256({ exp: secondsFromNow(-601) })), reasons.expired],
    ['a token that is valid after them', () => inPayload(hs256({ nbf: secondsFromNow(700) })), reasons.early],
  ],
)

describe('a key that nobody has read yet', () => {
  for (const [what, vars, right, wrong] of [
    ['a PEM', { JWT_PUBLIC_KEY: pemOf(rsa) }, tokenBy(rsa), tokenBy(keyPairOf('RS256'))],
    ['a JWK', { JWT_PUBLIC_KEY: JSON.stringify(jwkOf(onOneLine)) }, tokenBy(onOneLine), tokenBy(keyPairOf('ES256'))],
    ['a secret', { JWT_SECRET: secret }, hs256(), hs256({}, `${secret}.`)],
  ] as const) {
    it(`is waited for by all who come at once: ${what}`, () =>
      withServer({ vars: jwt(vars) }, async (server) => {
        const knocks = Array.from({ length: 20 }, async (_, index) => {
          const door = doors[index % doors.length]!
          const isRight = index % 4 !== 0
          const { status, body } = await enter(server, door, freshStoreId(), inPayload(isRight ? right : wrong))
          if (isRight) assert.equal(status, door.isSocket ? 101 : 200, body)
          else assert.equal(body, refusalAt(door, reasons.signature))
        })
        await Promise.all(knocks)
      }))
  }
})

describe('a payload that is no JSON', () => {
  const server = serverOf({ AUTH_TOKEN: first })

  it('is refused at every door, whatever the headers say', async () => {
    const storeId = freshStoreId()
    for (const { authorization } of [{ authorization: '' }, { authorization: `Bearer ${first}` }]) {
      for (const payload of ['', 'notjson', first, '%257B', '%25', '%2522%25E9%2522', `%2522${first}%2522&payload=1`]) {
        for (const { name, path, transport, isSocket } of doors) {
          const target = `${path === '/' ? '/x' : path}?storeId=${storeId}&payload=${payload}`
          const answer = await knock(server(), {
            target: transport === undefined ? target : `${target}&transport=${transport}`,
            headers: { authorization },
            ...(isSocket ? { upgrade: 'websocket' } : { method: 'POST', body: '{}' }),
          })
          const expected = name === '0.3' ? [500, /^Invalid search params: payload/] : [400, /^Invalid path$/]
          assert.equal(answer.status, expected[0], `${name}: ${payload}`)
          assert.match(answer.body, expected[1] as RegExp)
        }
      }
    }
    assert.ok(!(await isMade(server(), storeId)))
  })
})

describe('a cookie', () => {
  const page = 'https://app.example.com'
  const lists: ReadonlyArray<readonly [what: string, allowed: string | undefined]> = [
    ['without ALLOWED_ORIGINS', undefined],
    ['with ALLOWED_ORIGINS=*', '*'],
    ['with a list of ALLOWED_ORIGINS', `${page}, https://*.example.org`],
  ]
  for (const [what, allowed] of lists) {
    describe(what, () => {
      const server = serverOf({ AUTH_TOKEN: first, ALLOWED_ORIGINS: allowed, JWT_SECRET: secret })

      const from = (origin: string): Credential => ({ headers: { origin } })
      const cookies = [inCookie(first), inCookie(hs256())]
      const assertLetsIn = async (credential: Credential): Promise<void> => {
        for (const door of doors) {
          const { status, body } = await enter(server(), door, freshStoreId(), credential)
          assert.equal(status, door.isSocket ? 101 : 200, body)
        }
      }

      it('of what is no page counts', async () => {
        for (const cookie of cookies) await assertLetsIn(cookie)
      })

      it('of a page of the own origin counts', async () => {
        for (const cookie of cookies) await assertLetsIn(both(cookie, from(server().url)))
      })

      for (const origin of [page, 'https://x.example.org']) {
        if (allowed === undefined || !allowed.includes(page)) continue
        it(`of ${origin}, which is listed, counts`, async () => {
          for (const cookie of cookies) await assertLetsIn(both(cookie, from(origin)))
        })
      }

      for (const origin of [page, 'https://elsewhere.example.net', 'null']) {
        if (allowed === '*') {
          it(`of ${origin}, which is not listed, does not count, and a payload or a header does`, async () => {
            for (const cookie of cookies)
              await assertRefused(server(), freshStoreId(), both(cookie, from(origin)), reasons.none)
            await assertLetsIn(both(inPayload(first), from(origin)))
            await assertLetsIn(both(inHeader(first), from(origin)))
          })
        } else if (allowed === undefined || origin !== page) {
          it(`of ${origin}, like anything else of that page, opens nothing`, async () => {
            const storeId = freshStoreId()
            for (const credential of [...cookies, inPayload(first), inHeader(first)]) {
              for (const door of doors) {
                const answer = await enter(server(), door, storeId, both(credential, from(origin)))
                assert.equal(answer.status, 403, answer.body)
                assert.match(answer.body, /ALLOWED_ORIGINS/)
              }
            }
            assert.ok(!(await isMade(server(), storeId)))
          })
        }
      }
    })
  }
})

describe('a cookie of the name that COOKIE_NAME says', () => {
  const page = 'https://app.example.com'
  const server = serverOf({ JWT_SECRET: secret, COOKIE_NAME: 'my-app.session', ALLOWED_ORIGINS: page })
  const inCookieNamed = (name: string): Credential => ({ headers: { cookie: `a=b; ${name}=${hs256()}`, origin: page } })

  for (const name of ['my-app.session', '__Secure-my-app.session', '__Host-my-app.session'])
    it(`${name} opens every door`, () => assertSyncs(server(), () => inCookieNamed(name)))

  it('authToken is another one', () => assertRefused(server(), 'a', inCookieNamed('authToken'), reasons.none))
})

describe('a page', () => {
  const server = serverOf({ JWT_SECRET: secret, ALLOWED_ORIGINS: '*' })

  it('can read why a token was refused', async () => {
    const headers = { origin: 'https://app.example.com' }
    for (const token of [hs256({ exp: 1 }), 'x', hs256({}, `${secret}.`)]) {
      for (const door of doors) {
        const answer = await enter(server(), door, 'a', { ...inPayload(token), headers })
        assert.equal(answer.status, 400)
        assert.ok(answer.body.startsWith(door.word), answer.body)
        assert.equal(answer.headers['access-control-allow-origin'], '*')
      }
    }
  })
})

describe('a variable about tokens that does not parse', () => {
  const pair = keyPairOf('ES256')
  const hidden = '(hidden)'
  const hush = 'hush-hush'
  const bad: ReadonlyArray<readonly [what: string, vars: Record<string, string>, named: string, shown: string]> = [
    ['a secret of 31 bytes', { JWT_SECRET: `${hush}-2345678901234567890x`.padEnd(31, '.') }, 'JWT_SECRET', hidden],
    ['a secret as a public key', { JWT_PUBLIC_KEY: `${hush} ${secret}` }, 'JWT_PUBLIC_KEY', hidden],
    ['a private key', { JWT_PUBLIC_KEY: JSON.stringify(privateJwkOf(pair, { kid: hush })) }, 'JWT_PUBLIC_KEY', hidden],
    [
      'a symmetric key',
      { JWT_PUBLIC_KEY: JSON.stringify({ kty: 'oct', k: 'c2VjcmV0', kid: hush }) },
      'JWT_PUBLIC_KEY',
      hidden,
    ],
    ['a key set', { JWT_PUBLIC_KEY: JSON.stringify({ keys: [jwkOf(pair, { kid: hush })] }) }, 'JWT_PUBLIC_KEY', hidden],
    ['a key set over http', { JWT_JWKS_URL: `http://${hush}.example.com/keys` }, 'JWT_JWKS_URL', hidden],
    ['a key set with a password', { JWT_JWKS_URL: `https://user:${hush}@example.com/keys` }, 'JWT_JWKS_URL', hidden],
    ['two sources of keys', { JWT_SECRET: `${secret} ${hush}`, JWT_PUBLIC_KEY: pemOf(pair) }, 'JWT_SECRET', hidden],
    ['an issuer without keys', { JWT_ISSUER: 'me' }, 'JWT_ISSUER', 'me'],
    ['a claim without keys', { JWT_STORE_CLAIM: 'stores' }, 'JWT_STORE_CLAIM', 'stores'],
    ['an audience of none', { JWT_SECRET: secret, JWT_AUDIENCE: ' , ' }, 'JWT_AUDIENCE', "','"],
    ['a grace of a week', { JWT_SECRET: secret, JWT_GRACE_SECONDS: '604800' }, 'JWT_GRACE_SECONDS', '604800'],
  ]
  for (const [what, vars, named, shown] of bad) {
    it(`such as ${what} is named in a 500, lets nobody in, and no secret is told`, async () => {
      const server = await startServer({ vars: { LOG_LEVEL: 'debug', ...vars } })
      try {
        const storeId = freshStoreId()
        for (const door of doors) {
          for (const credential of [inPayload(authToken), inPayload(hs256()), {}]) {
            const answer = await enter(server, door, storeId, credential)
            assert.equal(answer.status, 500, answer.body)
            assert.ok(answer.body.startsWith(`Configuration: ${named} is `), answer.body)
            assert.ok(answer.body.includes(shown), answer.body)
            for (const text of [answer.body, ...server.logs])
              assert.ok(!text.includes(hush) && !text.includes(secret), text)
          }
        }
        assert.ok(!(await isMade(server, storeId)))
      } finally {
        await server.stop()
      }
    })
  }
})

describe('a deployment that does not say who may connect', () => {
  const server = serverOf({ AUTH_TOKEN: undefined })

  it('lets nobody in at any door, and says with 503 which variables would', async () => {
    const storeId = freshStoreId()
    for (const credential of [{}, inPayload(''), inPayload(authToken), inPayload(hs256()), inHeader(authToken)]) {
      for (const door of doors) {
        const answer = await enter(server(), door, storeId, credential)
        assert.equal(answer.status, 503)
        for (const name of ['AUTH_TOKEN', 'JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWT_JWKS_URL', 'ALLOW_ANONYMOUS']) {
          assert.ok(answer.body.includes(name), answer.body)
        }
      }
    }
    assert.ok(!(await isMade(server(), storeId)))
  })
})
