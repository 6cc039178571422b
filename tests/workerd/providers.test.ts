/**
 * The recipes of docs/authentication.md: with the variables that the page shows, tokens of the shape that each provider
 * documents sync, and those that look like them and are for something else are refused.
 *
 * The tokens are signed here, with keys of the tests, and the key sets are served on this machine. Their shapes are those of
 * - better-auth 1.7, as it issued them itself: <https://better-auth.com/docs/plugins/jwt>
 * - Clerk: <https://clerk.com/docs/guides/sessions/session-tokens> and <https://clerk.com/docs/request-authentication/jwt-templates>
 * - Auth0, both profiles: <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>
 * - Supabase: <https://supabase.com/docs/guides/auth/jwt-fields> and <https://supabase.com/docs/guides/auth/signing-keys>
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { exportJWK, generateKeyPair, type GenerateKeyPairResult, type JWTHeaderParameters, SignJWT } from 'jose'
import { freshStoreId } from '../clients/events.ts'
import { shownIn } from '../harness/document.ts'
import { type Server, startServer } from '../harness/server.ts'
import { assertRefused, assertSyncs, type Credential, doors, enter, inPayload, isMade } from './doors.ts'
import { KeyServer } from './key-server.ts'
import { secondsFromNow } from './tokens.ts'

const page = 'docs/authentication.md'

/** The variables that the page shows below a heading. */
const variablesIn = (section: string): Readonly<Record<string, string>> => {
  const toml = shownIn(page, section, 'toml')
  const variables = Object.fromEntries(
    [...toml.matchAll(/^(\w+) = "(.*)"$/gm)].map(([, name, value]) => [name!, value!]),
  )
  assert.equal(toml.trim().split('\n').length, Object.keys(variables).length + 1, 'every line but [vars] is a variable')
  return variables
}

const invalid = (what: string): string => `Invalid auth token: ${what}`

const reasons = {
  none: 'No auth token: the sync payload must be {"authToken":"..."}',
  parts: invalid('it does not have three parts'),
  algorithm: invalid('it is not signed with the algorithm of a key that is accepted here'),
  unknown: invalid('the key that signed it is not known'),
  signature: invalid('its signature is wrong'),
  issuer: invalid("its claim 'iss' is not the issuer that is expected here"),
  audience: invalid("its claim 'aud' has no audience that is expected here"),
  store: invalid('it does not open this store'),
  access: invalid("it says neither 'read' nor 'write'"),
  expired: invalid('it has expired'),
} as const

type Claims = Readonly<Record<string, unknown>>

/** Claims without those that are `undefined`. */
const signed = (claims: Claims, header: JWTHeaderParameters, key: GenerateKeyPairResult['privateKey'] | Uint8Array) =>
  new SignJWT(JSON.parse(JSON.stringify(claims)) as Record<string, unknown>).setProtectedHeader(header).sign(key)

interface Provider {
  /** The heading of its recipe. */
  readonly section: string
  readonly algorithm: string
  /** What its header has beside `alg` and `kid`. */
  readonly header?: Readonly<Record<string, string>>
  /** What its JWK has beside the key. */
  readonly jwk: Readonly<Record<string, string>>
  /** The claims of a token that opens the store, for these variables. */
  readonly claims: (storeId: string, variables: Readonly<Record<string, string>>) => Claims
  /** Tokens that open it as well: what is different about their claims, and their header. */
  readonly alsoRight: Readonly<Record<string, readonly [different: (storeId: string) => Claims, header?: object]>>
  /** Tokens of the same issuer and key that must not open it: what is different, and what is told. */
  readonly wrong: Readonly<Record<string, readonly [different: (storeId: string) => Claims, reason: string]>>
}

const [now, minute, hours] = [() => secondsFromNow(0), () => secondsFromNow(60), () => secondsFromNow(12 * 3_600)]
const kid = 'key-of-the-tests'

const clerk: Provider = {
  section: 'Clerk',
  algorithm: 'RS256',
  header: { cat: 'cl_B7d4PD222AAA', typ: 'JWT' },
  jwk: { use: 'sig', alg: 'RS256' },
  claims: (storeId, variables) => ({
    aud: 'livestore-sync',
    stores: storeId,
    access: 'write',
    azp: 'https://app.example.com',
    exp: hours(),
    iat: now(),
    iss: variables['JWT_ISSUER'],
    jti: 'a2d90bd6eb6cbc1aa4de',
    nbf: secondsFromNow(-5),
    sub: 'user_2b8KXqVfT0aNQxTtmBpR9cL5yZ1',
  }),
  alsoRight: {
    'whose stores are a list of the public metadata': [(storeId) => ({ stores: ['another', storeId] })],
  },
  wrong: {
    'a session token, without a template': [
      () => ({
        aud: undefined,
        stores: undefined,
        access: undefined,
        exp: minute(),
        fva: [7, -1],
        sid: 'sess_2b8KXqVfT0aNQxTtmBpR9cL5yZ1',
        sts: 'active',
        v: 2,
        o: { id: 'org_123', rol: 'admin', slg: 'org-slug' },
      }),
      reasons.audience,
    ],
    'a token of another template': [() => ({ aud: 'hasura' }), reasons.audience],
    'a token of the development instance': [() => ({ iss: 'https://a-name-1.clerk.accounts.dev' }), reasons.issuer],
    'a token for another store': [() => ({ stores: 'user-another' }), reasons.store],
    'a token whose metadata has no stores': [() => ({ stores: null }), reasons.store],
  },
}

const auth0: Provider = {
  section: 'Auth0',
  algorithm: 'RS256',
  header: { typ: 'JWT' },
  jwk: { use: 'sig', alg: 'RS256', x5t: 'LnF3yRk0Ne1wJtQ8mB2cV5hPzXs' },
  claims: (storeId, variables) => ({
    [variables['JWT_STORE_CLAIM']!]: [storeId],
    [variables['JWT_ACCESS_CLAIM']!]: 'write',
    iss: variables['JWT_ISSUER'],
    sub: 'auth0|65f1a2b3c4d5e6f7a8b9c0d1',
    aud: [variables['JWT_AUDIENCE'], `${variables['JWT_ISSUER']}userinfo`],
    iat: now(),
    exp: hours(),
    scope: 'openid profile email',
    azp: 'AbCdEfGhIjKlMnOpQrStUvWxYz012345',
  }),
  alsoRight: {
    'of the profile of RFC 9068': [
      () => ({
        azp: undefined,
        client_id: 'AbCdEfGhIjKlMnOpQrStUvWxYz012345',
        jti: '73WakrfVbNJBaAmhQtEeDv',
      }),
      { typ: 'at+jwt' },
    ],
    'with permissions': [() => ({ permissions: ['read:stores'] })],
  },
  wrong: {
    'an ID token': [() => ({ aud: 'AbCdEfGhIjKlMnOpQrStUvWxYz012345', nonce: 'a' }), reasons.audience],
    'a token of another API': [() => ({ aud: 'https://api.example.com' }), reasons.audience],
    'a token of another tenant': [() => ({ iss: 'https://another.eu.auth0.com/' }), reasons.issuer],
    'a token whose issuer has no slash': [() => ({ iss: 'https://example.eu.auth0.com' }), reasons.issuer],
    'a token of which the Action did not run': [() => ({ 'https://example.com/stores': undefined }), reasons.store],
    'a token whose claim has no namespace': [
      (storeId) => ({ 'https://example.com/stores': undefined, stores: [storeId] }),
      reasons.store,
    ],
    'a token of somebody without stores': [() => ({ 'https://example.com/stores': [] }), reasons.store],
    'a token without access': [() => ({ 'https://example.com/access': undefined }), reasons.access],
  },
}

const supabase: Provider = {
  section: 'Supabase',
  algorithm: 'ES256',
  header: { typ: 'JWT' },
  jwk: { use: 'sig', alg: 'ES256', key_ops: 'verify' },
  claims: (storeId, variables) => ({
    stores: [storeId],
    access: 'write',
    aal: 'aal1',
    amr: [{ method: 'password', timestamp: now() }],
    app_metadata: { provider: 'email', providers: ['email'] },
    aud: 'authenticated',
    email: 'somebody@example.com',
    exp: secondsFromNow(3_600),
    iat: now(),
    is_anonymous: false,
    iss: variables['JWT_ISSUER'],
    phone: '',
    role: 'authenticated',
    session_id: '4b938a09-5372-4177-a314-cfa292099ea2',
    sub: '8ccaa7af-909f-44e7-84cb-67cdccb56be6',
    user_metadata: {},
  }),
  alsoRight: {},
  wrong: {
    'a token of which the hook did not run': [() => ({ stores: undefined, access: undefined }), reasons.store],
    'a token whose stores are nested': [
      (storeId) => ({ stores: undefined, app_metadata: { stores: [storeId] } }),
      reasons.store,
    ],
    'a token of another project': [() => ({ iss: 'https://another.supabase.co/auth/v1' }), reasons.issuer],
    'a token of a role without sign-in': [() => ({ aud: 'anon', role: 'anon' }), reasons.audience],
    'a token that has expired': [() => ({ exp: secondsFromNow(-1) }), reasons.expired],
  },
}

const betterAuth: Provider = {
  section: 'better-auth',
  algorithm: 'EdDSA',
  jwk: { alg: 'EdDSA' },
  claims: (storeId, variables) => ({
    iat: now(),
    stores: [storeId],
    access: 'write',
    sub: 'iKNLKgfkqCrDCq0JRJBSBAaNgPIdCsM1',
    exp: hours(),
    iss: variables['JWT_ISSUER'],
    aud: 'livestore-sync',
  }),
  alsoRight: {},
  wrong: {
    'a token of the defaults, for its own server': [() => ({ aud: 'https://app.example.com' }), reasons.audience],
    'a token with the user for a payload': [
      () => ({ stores: undefined, access: undefined, id: 'iKNLKgfkqCrDCq0JRJBSBAaNgPIdCsM1', emailVerified: true }),
      reasons.store,
    ],
    'a token that has expired': [() => ({ exp: secondsFromNow(-1) }), reasons.expired],
  },
}

for (const provider of [clerk, auth0, supabase, betterAuth]) {
  const { section, algorithm } = provider
  describe(`the recipe for ${section}`, () => {
    const variables = variablesIn(section)
    let keys: KeyServer
    let server: Server
    let pair: GenerateKeyPairResult
    before(async () => {
      pair = await generateKeyPair(algorithm, { extractable: true })
      const { key_ops, ...jwk } = provider.jwk
      const operations = key_ops === undefined ? {} : { key_ops: [key_ops] }
      keys = await KeyServer.start([{ ...(await exportJWK(pair.publicKey)), ...jwk, ...operations, kid }])
      assert.match(variables['JWT_JWKS_URL'] ?? '', /^https:\/\//)
      server = await startServer({ vars: { ...variables, JWT_JWKS_URL: keys.url, AUTH_TOKEN: undefined } })
    })
    after(async () => {
      await server.stop()
      await keys.leave()
    })

    /** A token as its provider issues it, but for this. */
    const tokenOf = (storeId: string, different: Claims = {}, otherHeader: object = {}): Promise<string> => {
      const header = { alg: algorithm, kid, ...provider.header, ...otherHeader }
      return signed({ ...provider.claims(storeId, variables), ...different }, header, pair.privateKey)
    }

    it('lets its token into the store that it names', () =>
      assertSyncs(server, async (storeId) => inPayload(await tokenOf(storeId))))

    for (const [what, [different, header]] of Object.entries(provider.alsoRight))
      it(`lets in a token ${what}`, () =>
        assertSyncs(server, async (storeId) => inPayload(await tokenOf(storeId, different(storeId), header))))

    for (const [what, [different, reason]] of Object.entries(provider.wrong)) {
      it(`refuses ${what}`, async () => {
        const storeId = freshStoreId()
        await assertRefused(server, storeId, inPayload(await tokenOf(storeId, different(storeId))), reason)
        assert.ok(!(await isMade(server, storeId)))
      })
    }

    it('refuses the same claims by a key of somebody else, and what is no JWT', async () => {
      const storeId = freshStoreId()
      const claims = provider.claims(storeId, variables)
      const other = await generateKeyPair(algorithm)
      const byOther = (kid: string) => signed(claims, { alg: algorithm, kid }, other.privateKey)
      const secret = new TextEncoder().encode('a secret of 32 bytes that somebody made up')
      const wrongs = [
        [await byOther(kid), reasons.signature],
        [await byOther('another-key'), reasons.unknown],
        [await signed(claims, { alg: 'HS256', kid }, secret), reasons.algorithm],
        ['an-opaque-token', reasons.parts],
      ] as const
      for (const [token, reason] of wrongs) await assertRefused(server, storeId, inPayload(token), reason)
      assert.ok(!(await isMade(server, storeId)))
    })
  })
}

describe('a project of Supabase that signs with its legacy secret', () => {
  const secret = 'a-legacy-secret-of-a-project-of-the-tests'
  const key = new TextEncoder().encode(secret)
  const { JWT_JWKS_URL: _, ...variables } = variablesIn('Supabase')
  const header = { alg: 'HS256', typ: 'JWT' }
  /** What is in every page of such a project. */
  const anonKey = () =>
    signed({ iss: 'supabase', ref: 'abcdefghijklmnop', role: 'anon', iat: now(), exp: hours() }, header, key)

  it('publishes no key', async () => {
    const keys = await KeyServer.start([])
    const server = await startServer({ vars: { ...variables, JWT_JWKS_URL: keys.url, AUTH_TOKEN: undefined } })
    try {
      const token = await signed(supabase.claims('a', variables), header, key)
      for (const door of doors) {
        const { status, body } = await enter(server, door, freshStoreId(), inPayload(token))
        assert.equal(status, 503)
        assert.match(body, /no public key/)
      }
    } finally {
      await server.stop()
      await keys.leave()
    }
  })

  it('lets its users in, and not who has the key of its pages', async () => {
    const server = await startServer({ vars: { ...variables, JWT_SECRET: secret, AUTH_TOKEN: undefined } })
    try {
      await assertSyncs(server, async (storeId) =>
        inPayload(await signed(supabase.claims(storeId, variables), header, key)),
      )
      await assertRefused(server, freshStoreId(), inPayload(await anonKey()), reasons.issuer)
    } finally {
      await server.stop()
    }
  })

  it('control: without what the page says must be set, that key opens every store', async () => {
    const server = await startServer({ vars: { JWT_SECRET: secret, AUTH_TOKEN: undefined } })
    try {
      await assertSyncs(server, async () => inPayload(await anonKey()))
    } finally {
      await server.stop()
    }
  })
})

describe('the recipe for cookies', () => {
  const { JWT_AUDIENCE: _, ...variables } = variablesIn('Clerk')
  const origin = 'https://app.example.com'
  let keys: KeyServer
  let server: Server
  let pair: GenerateKeyPairResult
  before(async () => {
    pair = await generateKeyPair('RS256')
    keys = await KeyServer.start([{ ...(await exportJWK(pair.publicKey)), ...clerk.jwk, kid }])
    server = await startServer({
      vars: { ...variables, ...variablesIn('Cookies'), JWT_JWKS_URL: keys.url, AUTH_TOKEN: undefined },
    })
  })
  after(async () => {
    await server.stop()
    await keys.leave()
  })

  /** Clerk's session token with claims of its own, in the cookie that the provider keeps it in, or another one. */
  const sessionOf = async (storeId: string, different: Claims = {}, name = '__session'): Promise<Credential> => {
    const claims = { ...clerk.claims(storeId, variables), aud: undefined, exp: minute(), sid: 'sess_1', v: 2 }
    const token = await signed({ ...claims, ...different }, { alg: 'RS256', kid, ...clerk.header }, pair.privateKey)
    return { headers: { cookie: `theme=dark; ${name}=${token}`, origin } }
  }

  it('lets in who comes with it from a page that is listed', () => assertSyncs(server, sessionOf))

  it('lets in who comes within the grace, and nobody later', async () => {
    await assertSyncs(server, (storeId) => sessionOf(storeId, { exp: secondsFromNow(-3_500) }))
    const storeId = freshStoreId()
    await assertRefused(server, storeId, await sessionOf(storeId, { exp: secondsFromNow(-3_700) }), reasons.expired)
  })

  it('refuses a session for another store, and looks for a token in no other cookie', async () => {
    const storeId = freshStoreId()
    await assertRefused(server, storeId, await sessionOf('another'), reasons.store)
    await assertRefused(server, storeId, await sessionOf(storeId, {}, 'authToken'), reasons.none)
    assert.ok(!(await isMade(server, storeId)))
  })
})

describe('the recipe for tokens of your own', () => {
  const secret = 'a secret of 32 bytes or more, of the tests'
  type SignToken = (userId: string, stores: readonly string[], secret: string) => Promise<string>
  let server: Server
  let signToken: SignToken
  before(async () => {
    // The page's own code, without its types.
    const [importing = '', ...code] = shownIn(page, 'Your own tokens', 'ts').trim().split('\n')
    assert.equal(importing, "import { SignJWT } from 'jose'")
    const plain = code.join('\n').replace(/: (readonly )?string(\[\])?/g, '')
    signToken = new Function('SignJWT', `${plain}\nreturn signToken`)(SignJWT) as SignToken
    server = await startServer({
      vars: { ...variablesIn('Your own tokens'), JWT_SECRET: secret, AUTH_TOKEN: undefined },
    })
  })
  after(() => server.stop())

  it('lets its token into the stores that it names', () =>
    assertSyncs(server, async (storeId) => inPayload(await signToken('a-user', ['another', storeId], secret))))

  it('refuses it for another store, and by another secret', async () => {
    const storeId = freshStoreId()
    await assertRefused(server, storeId, inPayload(await signToken('a-user', ['another'], secret)), reasons.store)
    await assertRefused(
      server,
      storeId,
      inPayload(await signToken('a-user', [storeId], `${secret}!`)),
      reasons.signature,
    )
    assert.ok(!(await isMade(server, storeId)))
  })
})
