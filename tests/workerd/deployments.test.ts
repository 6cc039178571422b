/**
 * Several deployments in one isolate, as a host has them that calls the Worker's handler, or makes its objects, with
 * bindings and variables of its own: each goes by its own variables.
 *
 * The bundle is edited: the first word of a request's path names the deployment, and the variable of that name holds
 * what it sets. A path that begins with `/each/` is a host that hands over a copy of its bindings with each request.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, startServer } from '../harness/server.ts'
import { type Credential, inPayload, showing } from './doors.ts'
import { KeyServer } from './key-server.ts'
import { type Answer, knock } from './knock.ts'
import { logOf, Peer, pushedFrame } from './peer.ts'
import { hs256, jwkOf, keyPairOf, secret, tokenBy } from './tokens.ts'

/** Has the bundle's handler and class called with the variables of a deployment. */
const withDeployments = (source: string): string => {
  const exported = /export\s*\{([\w$]+) as SyncBackendDO,(.*?),([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a class and a handler')
  return source.replace(
    exported,
    (_, object: string, others: string, handler: string) => `
      const known = new Map()
      const bindingsOf = (env, name) => ({ ...env, ...JSON.parse(env[name] ?? '{}') })
      const host = {
        fetch: (request, env) => {
          const [, name] = new URL(request.url).pathname.split('/')
          if (name === 'each') return ${handler}.fetch(request, bindingsOf(env, name))
          if (!known.has(name)) known.set(name, bindingsOf(env, name))
          return ${handler}.fetch(request, known.get(name))
        },
      }
      class Hosted extends ${object} {
        constructor(state, env) { super(state, bindingsOf(env, state.id.name.split(' ')[0])) }
      }
      export { Hosted as SyncBackendDO, ${others}, host as default }`,
  )
}

const keyPair = keyPairOf('ES256')
const jwk = jwkOf(keyPair, { kid: 'a' })

describe('deployments in one isolate', () => {
  let keys: KeyServer
  let server: Server
  before(async () => {
    keys = await KeyServer.start([jwk])
    const deployments = {
      // The first to be asked, so that what it is must not stick.
      open: { ALLOW_ANONYMOUS: 'true', ALLOWED_ORIGINS: '*' },
      token: { AUTH_TOKEN: 'own-token', ALLOWED_ORIGINS: 'https://app.example.com' },
      jwt: { JWT_SECRET: secret },
      set: { JWT_JWKS_URL: keys.url, JWT_ISSUER: 'one' },
      other: { JWT_JWKS_URL: keys.url, JWT_ISSUER: 'two' },
      each: { JWT_JWKS_URL: `${keys.url}?each` },
      wrong: { ALLOW_ANONYMOUS: 'perhaps' },
      closed: {},
      small: { MAX_BATCH_EVENTS: '1' },
    }
    const vars = Object.fromEntries(Object.entries(deployments).map(([name, own]) => [name, JSON.stringify(own)]))
    server = await startServer({
      vars: { AUTH_TOKEN: undefined, ALLOWED_ORIGINS: undefined, ...vars },
      edit: withDeployments,
    })
  })
  after(async () => {
    await server.stop()
    await keys.leave()
  })

  const enter = (deployment: string, credential: Credential): Promise<Answer> => {
    const { payload, headers } = showing(credential)
    const target = targetOf({ storeId: freshStoreId(), path: `/${deployment}/`, payload })
    return knock(server, { target, headers, upgrade: 'websocket' })
  }

  const credentials: ReadonlyArray<readonly [what: string, credential: Credential, letInBy: readonly string[]]> = [
    ['nothing', {}, ['open']],
    ['a static token', inPayload('own-token'), ['open', 'token']],
    ['the token of the harness', inPayload(authToken), ['open']],
    ['a token by the secret', inPayload(hs256()), ['open', 'jwt']],
    ['a token of the key set', inPayload(tokenBy(keyPair, { iss: 'one' }, { kid: 'a' })), ['open', 'set', 'each']],
    ['a token of another issuer', inPayload(tokenBy(keyPair, { iss: 'two' }, { kid: 'a' })), ['open', 'other', 'each']],
  ]
  const statusOf: Readonly<Record<string, number>> = { wrong: 500, closed: 503 }
  for (const round of ['first', 'second']) {
    for (const [what, credential, letInBy] of credentials) {
      it(`let in by their own variables whoever shows ${what}, at the ${round} request`, async () => {
        for (const deployment of ['open', 'token', 'jwt', 'set', 'other', 'each', 'wrong', 'closed']) {
          const { status, body } = await enter(deployment, credential)
          const refusal = statusOf[deployment] ?? 400
          assert.equal(status, letInBy.includes(deployment) ? 101 : refusal, `${deployment}: ${body}`)
        }
      })
    }
  }

  it('share the key set of one address, and keep it where each request brings its own bindings', () => {
    const asked = keys.requests.length
    assert.equal(asked, 2, 'once for the address that two of them share, once for the other')
  })

  it('let pages of their own origins read their answers', async () => {
    const allowed = async (deployment: string, origin: string): Promise<string | undefined> => {
      const { headers } = await knock(server, { target: `/${deployment}/nowhere`, headers: { origin } })
      return headers['access-control-allow-origin']
    }
    const [listed, unlisted] = ['https://app.example.com', 'https://elsewhere.example.com']
    assert.deepEqual(
      [await allowed('open', unlisted), await allowed('token', listed), await allowed('token', unlisted)],
      ['*', listed, undefined],
    )
    assert.equal(await allowed('jwt', listed), undefined)
  })

  it('bound their objects by their own limits', async () => {
    const path = '/open/'
    const large = await Peer.connect(server, 'v04', 'large store', { path })
    const small = await Peer.connect(server, 'v04', 'small store', { path })
    assert.match(JSON.stringify((await small.pushed(batchOf(0, 2))).answer), /MAX_BATCH_EVENTS/)
    assert.deepEqual((await large.pushed(batchOf(0, 2))).answer, pushedFrame('v04', 1))
    assert.deepEqual((await small.pushed(batchOf(0, 1))).answer, pushedFrame('v04', 2))
    assert.equal((await logOf(server, 'small store', 'v04', { path })).length, 1)
    assert.equal((await logOf(server, 'large store', 'v04', { path })).length, 2)
  })
})
