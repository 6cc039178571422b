/** `token`: what it prints lets a client in at a server that knows the key, and does there what is said. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type CryptoKey, importSPKI, jwtVerify, type JWTPayload } from 'jose'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { knock } from '../workerd/knock.ts'
import { Peer, pushedFrame } from '../workerd/peer.ts'
import { jwkOf, keyPairOf, pemOf, privateJwkOf, secret } from '../workerd/tokens.ts'
import { Cli } from './run.ts'

/** Names of claims and the like, as the Worker has them, and as the command reads them as well. */
const checks = {
  JWT_ISSUER: 'https://login.example.com/',
  JWT_AUDIENCE: 'my-app, other-app',
  JWT_STORE_CLAIM: 'opens',
  JWT_ACCESS_CLAIM: 'may',
}

/** No server, no secret of an administration: nobody is asked. */
const cli = (env: Readonly<Record<string, string | undefined>> = { JWT_SECRET: secret, ...checks }) =>
  new Cli(undefined, { LIVESTORE_ADMIN_SECRET: undefined, ...env })

/** The status that a client is answered with. */
const statusOf = async (server: Server, storeId: string, authToken: string): Promise<number> =>
  (await knock(server, { target: targetOf({ storeId, payload: { authToken } }), upgrade: 'websocket' })).status

const pem = (pair: ReturnType<typeof keyPairOf>): string =>
  String(pair.privateKey.export({ type: 'pkcs8', format: 'pem' }))

const claimsOf = (token: string): JWTPayload =>
  JSON.parse(String(Buffer.from(token.split('.')[1]!, 'base64url'))) as JWTPayload

const headerOf = (token: string): object => JSON.parse(String(Buffer.from(token.split('.')[0]!, 'base64url'))) as object

describe('a token by JWT_SECRET', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: undefined, JWT_SECRET: secret, ...checks } })

  const pushes = async (storeId: string, authToken: string): Promise<unknown> => {
    const peer = await Peer.connect(server(), 'v04', storeId, { payload: { authToken } })
    return (await peer.pushed(batchOf(0, 1))).answer
  }

  it('lets a client write to the store that it names, and to no other', async () => {
    const storeId = freshStoreId()
    const token = (await cli().text('token', '--store', storeId, '--sub', 'zoë')).trimEnd()
    assert.deepEqual(await pushes(storeId, token), pushedFrame('v04', 1))
    assert.equal(await statusOf(server(), freshStoreId(), token), 400)
    const { iat, exp, ...claims } = claimsOf(token)
    const expected = { iss: checks.JWT_ISSUER, aud: 'my-app', sub: 'zoë', opens: storeId, may: 'write' }
    assert.deepEqual(claims, expected)
    assert.equal(exp! - iat!, 3_600)
    assert.deepEqual(headerOf(token), { alg: 'HS256', typ: 'JWT' })
  })

  it('lets a client read alone', async () => {
    const storeId = freshStoreId()
    const token = async (...flags: readonly string[]) =>
      (await cli().text('token', '--store', storeId, ...flags)).trimEnd()
    await pushes(storeId, await token())
    const reader = await token('--access', 'read')
    assert.match(JSON.stringify(await pushes(storeId, reader)), /read/)
    const peer = await Peer.connect(server(), 'v04', storeId, { payload: { authToken: reader } })
    assert.equal((await peer.pages())[0]!.events.length, 1)
  })

  it('opens every store, if that is said', async () => {
    const token = (await cli().text('token', '--store', '*')).trimEnd()
    for (const storeId of [freshStoreId(), freshStoreId()]) assert.equal(await statusOf(server(), storeId, token), 101)
  })

  it('is good as long as is said', async () => {
    for (const [expires, seconds] of [
      ['90s', 90],
      ['15m', 900],
      ['7d', 604_800],
    ] as const) {
      const { token, expiresAt, claims } = await cli().json<{ token: string; expiresAt: string; claims: JWTPayload }>(
        ...['token', '--store', 'a', '--expires', expires],
      )
      assert.equal(claims.exp! - claims.iat!, seconds)
      assert.deepEqual([claimsOf(token), Date.parse(expiresAt)], [claims, claims.exp! * 1_000])
    }
  })

  it('has what flags say rather than what the environment does', async () => {
    const flags = ['--issuer', 'i', '--audience', 'b', '--store-claim', 's', '--access-claim', 'a', '--kid', 'k']
    const token = (await cli().text('token', '--store', 'x', ...flags)).trimEnd()
    const { iat: _, exp: __, ...claims } = claimsOf(token)
    assert.deepEqual(claims, { iss: 'i', aud: 'b', s: 'x', a: 'write' })
    assert.deepEqual(headerOf(token), { alg: 'HS256', typ: 'JWT', kid: 'k' })
    assert.equal(await statusOf(server(), 'x', token), 400)
  })
})

describe('a token by JWT_PRIVATE_KEY', () => {
  for (const [kind, algorithm, environmentOf] of [
    ['RSA as PEM', 'RS256', pem],
    [
      'P-256 as JWK',
      'ES256',
      (pair: ReturnType<typeof keyPairOf>) => JSON.stringify(privateJwkOf(pair, { kid: 'one' })),
    ],
    ['Ed25519 as PEM on one line', 'EdDSA', (pair: ReturnType<typeof keyPairOf>) => pem(pair).replaceAll('\n', '\\n')],
  ] as const)
    it(`of ${kind} lets a client in`, async () => {
      const pair = keyPairOf(algorithm)
      const vars = { AUTH_TOKEN: undefined, JWT_PUBLIC_KEY: JSON.stringify(jwkOf(pair)), JWT_STORE_CLAIM: 'stores' }
      await withServer({ vars }, async (server) => {
        const own = cli({ JWT_PRIVATE_KEY: environmentOf(pair) })
        const token = (await own.text('token', '--store', 'a')).trimEnd()
        assert.equal(await statusOf(server, 'a', token), 101)
        assert.equal(await statusOf(server, 'b', token), 400)
        const kid = kind.endsWith('JWK') ? { kid: 'one' } : {}
        assert.deepEqual(headerOf(token), { alg: algorithm, typ: 'JWT', ...kid })
        if (algorithm !== 'RS256') return
        const other = (await own.text('token', '--store', 'a', '--alg', 'PS384')).trimEnd()
        assert.equal(await statusOf(server, 'a', other), 101)
      })
    })

  it('is signed by every algorithm that the server takes', async () => {
    for (const [algorithm, named] of [
      ['RS256', ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
      ['ES256', ['ES256']],
      ['ES384', ['ES384']],
      ['ES512', ['ES512']],
      ['EdDSA', ['EdDSA', 'Ed25519']],
    ] as const) {
      const pair = keyPairOf(algorithm)
      for (const alg of named) {
        const text = await cli({ JWT_PRIVATE_KEY: pem(pair) }).text('token', '--store', 'a', '--alg', alg)
        const name = alg === 'Ed25519' ? 'EdDSA' : alg
        const key = (await importSPKI(pemOf(pair), name)) as CryptoKey
        const { payload, protectedHeader } = await jwtVerify(text.trimEnd(), key)
        assert.deepEqual([payload['stores'], protectedHeader.alg], ['a', name])
      }
    }
  })

  it('is of the algorithm that its JWK names', async () => {
    const key = JSON.stringify(privateJwkOf(keyPairOf('RS256'), { alg: 'PS512' }))
    assert.deepEqual(headerOf(await cli({ JWT_PRIVATE_KEY: key }).text('token', '--store', 'a')), {
      alg: 'PS512',
      typ: 'JWT',
    })
  })
})

describe('token says what is wrong', () => {
  const wrong = (env: Readonly<Record<string, string>>, status: number, words: RegExp, ...flags: readonly string[]) =>
    cli(env).fails(['token', '--store', 'a', ...flags], status, words)

  it('with what is asked', async () => {
    await cli().fails(['token'], 2, /token: which store\? Give --store/)
    await cli().fails(['token', 'a'], 2, /it takes flags alone, not 'a'/)
    await wrong({ JWT_SECRET: secret }, 2, /--access is read or write, not 'all'/, '--access', 'all')
    for (const time of ['1', 'h', '0s', '1.5h', '-1h', ' 1h'])
      await wrong({ JWT_SECRET: secret }, 2, /--expires is a time such as 90s/, `--expires=${time}`)
    await wrong({ JWT_SECRET: secret }, 2, /with JWT_SECRET, --alg is HS256, not 'HS512'/, '--alg', 'HS512')
  })

  it('with the keys, and shows nothing of them', async () => {
    const ec = keyPairOf('ES256')
    await wrong({}, 1, /nothing to sign with: set the variable JWT_SECRET/)
    await wrong({ JWT_SECRET: secret, JWT_PRIVATE_KEY: pem(ec) }, 1, /both JWT_SECRET and JWT_PRIVATE_KEY are set/)
    await wrong({ JWT_SECRET: 'short' }, 1, /JWT_SECRET has less than 32 bytes/)
    for (const key of ['hunter2-hunter2', '{"d":"hunter2', '{"kty":"EC","d":"hunter2"}', pemOf(ec)]) {
      await wrong({ JWT_PRIVATE_KEY: key }, 1, /JWT_PRIVATE_KEY is no private key, neither as PEM nor as JWK/)
      const { stderr } = await cli({ JWT_PRIVATE_KEY: key }).run(['token', '--store', 'a'])
      assert.doesNotMatch(stderr, /hunter2/)
    }
    await wrong({ JWT_PRIVATE_KEY: pem(ec) }, 2, /this key signs by ES256, not by 'RS256'/, '--alg', 'RS256')
  })
})
