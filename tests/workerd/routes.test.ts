/**
 * The Worker's door, as shipped: every status, text and header that a client, a browser or an operator can be answered
 * before a store's object is reached.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { describe, it } from 'node:test'
import { eventually } from '../clients/waiting.ts'
import { batchOf } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions, startServer, templateToken } from '../harness/server.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { type Answer, type Knock, knock } from './knock.ts'
import { generations, logOf, Peer, pushedFrame } from './peer.ts'

const anonymous = { AUTH_TOKEN: undefined, ALLOW_ANONYMOUS: 'true', ALLOWED_ORIGINS: undefined }

const greeting = 'Info: Sync backend endpoint for @livestore/sync-cf.'
const notWebSocket = 'Durable Object expected Upgrade: websocket'

const corsHeaders = (answer: Answer): Record<string, string> =>
  Object.fromEntries(Object.entries(answer.headers).filter(([name]) => name.startsWith('access-control-')))

const corsFor = (origin: string, requested = '*'): Record<string, string> => ({
  'access-control-allow-origin': origin,
  'access-control-allow-methods': 'GET, POST, OPTIONS',
  'access-control-allow-headers': requested,
  ...(origin === '*' ? {} : { 'access-control-allow-credentials': 'true' }),
})

/** A refusal is plain text, and says just this. */
const assertText = (answer: Answer, status: number, body: string | RegExp): void => {
  assert.equal(answer.status, status, answer.body)
  assert.match(answer.headers['content-type'] ?? '', /^text\/plain\b/)
  if (typeof body === 'string') assert.equal(answer.body, body)
  else assert.match(answer.body, body)
}

const sync = (storeId: string, payload?: unknown): string => targetOf({ storeId, payload })
const plain = (storeId: string, payload?: unknown): string =>
  targetOf({ storeId, payload, path: '/websocket', transport: undefined })

/** The doors of the client generations: both RPC generations use one. */
const doors = [
  { name: '0.4 and later', target: sync, refusal: 'UnknownError' },
  { name: '0.3', target: plain, refusal: 'LiveStore.UnexpectedError' },
] as const

describe('without CORS and without auth', () => {
  const server = serverOf({ vars: anonymous })

  const badPath = { status: 400, body: 'Invalid path' }
  const badQuery = { status: 500, body: /^Invalid search params: / }
  const noUpgrade = { status: 426, body: notWebSocket }
  const accepted = { status: 101 }
  const cases: ReadonlyArray<Omit<Knock, 'body'> & { readonly status: number; readonly body?: string | RegExp }> = [
    { target: '/', status: 200, body: greeting },
    { target: '/?utm=1', status: 200, body: greeting },
    { target: '/?storeId=a', status: 200, body: greeting },
    { target: '/', method: 'POST', ...badPath },
    { target: '/', method: 'OPTIONS', ...badPath },
    { target: '/unknown', ...badPath },
    { target: '/x?storeId=a', ...badPath },
    { target: '/x?transport=ws', ...badPath },
    { target: '/x?storeId=a&transport=bogus', ...badPath },
    { target: '/x?storeId=a&transport=do-rpc', ...badPath },
    { target: '/x?storeId=a&storeId=b&transport=ws', ...badPath },
    { target: '/x?storeId=a&transport=bogus', upgrade: 'websocket', ...badPath },

    { target: '/?storeId=a&transport=ws', ...noUpgrade },
    { target: '/?storeId=a&transport=ws', method: 'POST', ...noUpgrade },
    { target: '/?storeId=a&transport=ws', method: 'OPTIONS', ...noUpgrade },
    { target: '/?storeId=a&transport=ws', headers: { upgrade: 'h2c', connection: 'Upgrade' }, ...noUpgrade },
    { target: '/any/path?storeId=a&transport=ws', ...noUpgrade },
    { target: '/?storeId=&transport=ws', ...noUpgrade },
    { target: '/?storeId=a&transport=ws&extra=1', ...noUpgrade },
    { target: '/?storeId=a&transport=ws', upgrade: 'websocket', ...accepted },
    { target: '/?transport=ws&storeId=a', upgrade: 'WebSocket', ...accepted },
    { target: '/?storeId=&transport=ws', upgrade: 'websocket', ...accepted },
    { target: '/?storeId=%2Fa%20%E2%98%83&transport=ws', upgrade: 'websocket', ...accepted },
    { target: '/?storeId=a&transport=http', method: 'POST', status: 200 },
    { target: '/?transport=http&storeId=', method: 'POST', status: 200 },
    { target: '/any/path?storeId=a&transport=http&extra=1', status: 200 },
    { target: '/x?storeId=a&storeId=b&transport=http', method: 'POST', ...badPath },
    { target: '/x?storeId=a&transport=http&payload=notjson', method: 'POST', ...badPath },

    { target: '/x?storeId=a&transport=ws&payload=%257B%2522a%2522%253A1%257D', ...noUpgrade },
    { target: '/x?storeId=a&transport=ws&payload=%7B%22a%22%3A1%7D', ...noUpgrade },
    { target: '/x?storeId=a&transport=ws&payload=', ...badPath },
    { target: '/x?storeId=a&transport=ws&payload=notjson', ...badPath },
    { target: '/x?storeId=a&transport=ws&payload=%257B', ...badPath },
    { target: '/x?storeId=a&transport=ws&payload=%25', ...badPath },
    { target: '/x?storeId=a&transport=ws&payload=%2522%25E9%2522', ...badPath },
    { target: '/x?storeId=a&transport=ws&payload=1&payload=2', ...badPath },
    { target: '/?storeId=a&transport=ws&payload=notjson', status: 200, body: greeting },

    { target: '/websocket', ...badQuery },
    { target: '/websocket?storeId=a&storeId=b', ...badQuery },
    { target: '/websocket?storeId=a&payload=notjson', ...badQuery },
    { target: '/websocket?storeId=a&payload=', ...badQuery },
    { target: '/websocket?storeId=a', ...noUpgrade },
    { target: '/websocket?storeId=a', method: 'POST', ...noUpgrade },
    { target: '/websocket?storeId=', ...noUpgrade },
    { target: '/deep/er/websocket?storeId=a', ...noUpgrade },
    { target: '/deep/er/websocket?storeId=a', upgrade: 'websocket', ...accepted },
    { target: '/websocket/?storeId=a', ...badPath },
    { target: '/websocket/?storeId=a', upgrade: 'websocket', ...badPath },
    { target: '/websocketx?storeId=a', ...badPath },
    { target: '/websocket?storeId=a&transport=bogus', ...badPath },
  ]
  for (const { status, body, ...request } of cases) {
    const with_ = request.upgrade ?? request.headers?.['upgrade']
    const name = `${request.method ?? 'GET'} ${request.target}${with_ === undefined ? '' : ` with Upgrade: ${with_}`}`
    it(`${name} is answered ${status}`, async () => {
      const answer = await knock(server(), request)
      if (body === undefined) assert.equal(answer.status, status, answer.body)
      else assertText(answer, status, body)
      assert.deepEqual(corsHeaders(answer), {})
    })
  }

  it('HEAD / is answered 400 without a body', async () => {
    const answer = await knock(server(), { method: 'HEAD', target: '/' })
    assert.deepEqual([answer.status, answer.body], [400, ''])
  })

  it('an accepted upgrade names no subprotocol and no extension', async () => {
    const answer = await knock(server(), { target: sync('a'), upgrade: 'websocket' })
    assert.equal(answer.status, 101)
    assert.equal(answer.headers['sec-websocket-protocol'], undefined)
    assert.equal(answer.headers['sec-websocket-extensions'], undefined)
  })

  for (const origin of ['https://app.example.com', 'null']) {
    for (const { name, target } of doors) {
      it(`a page of ${origin} may not open a socket at the door of ${name}`, async () => {
        const answer = await knock(server(), { target: target('a'), upgrade: 'websocket', headers: { origin } })
        assertText(answer, 403, /ALLOWED_ORIGINS/)
        assert.ok(answer.body.includes(origin))
      })
    }
  }

  it('a page of the own origin may open a socket', async () => {
    const { status } = await knock(server(), {
      target: sync('a'),
      upgrade: 'websocket',
      headers: { origin: server().url },
    })
    assert.equal(status, 101)
  })

  it('a store id that is too long for a socket to remember is refused with a text', async () => {
    const answer = await knock(server(), { target: sync('x'.repeat(20_000)), upgrade: 'websocket' })
    assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.body}`)
    assert.notEqual(answer.body, '')
  })

  it('names that are alike in table names are stores of their own', async () => {
    const storeIds = ['a-b', 'a_b', 'a.b', '', ' ', 'ä', '😀', "'; drop table context_7; --", 'x'.repeat(1_000)]
    for (const storeId of storeIds) {
      const peer = await Peer.connect(server(), 'v04', storeId, { payload: undefined })
      assert.deepEqual(
        (await peer.pushed(batchOf(0, 1, storeId))).answer,
        pushedFrame('v04', 1),
        JSON.stringify(storeId),
      )
      await peer.client.close()
    }
    for (const storeId of storeIds) {
      const log = await logOf(server(), storeId, 'v04', { payload: undefined })
      assert.deepEqual(log, batchOf(0, 1, storeId), JSON.stringify(storeId))
    }
  })
})

describe('with ALLOWED_ORIGINS=*', () => {
  const server = serverOf({ vars: { ...anonymous, ALLOWED_ORIGINS: '*' } })

  const preflights = ['/', '/any', sync('a'), plain('a'), '/?storeId=a&transport=http', '/websocket']
  for (const target of preflights) {
    it(`a preflight of ${target} is answered 204 with the headers it asked for`, async () => {
      const headers = {
        origin: 'https://app.example.com',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,x-livestore-store-id',
      }
      const answer = await knock(server(), { method: 'OPTIONS', target, headers })
      assert.deepEqual([answer.status, answer.body], [204, ''])
      assert.deepEqual(corsHeaders(answer), corsFor('*', 'content-type,x-livestore-store-id'))
    })
  }

  it('OPTIONS that asks for no headers is allowed all of them', async () => {
    assert.deepEqual(corsHeaders(await knock(server(), { method: 'OPTIONS', target: '/' })), corsFor('*'))
  })

  const answers: ReadonlyArray<readonly [Knock, number]> = [
    [{ target: '/unknown' }, 400],
    [{ target: '/', method: 'HEAD' }, 400],
    [{ target: sync('a') }, 426],
    [{ target: plain('a') }, 426],
    [{ target: '/websocket' }, 500],
    [{ target: '/?storeId=a&transport=http', method: 'POST' }, 200],
  ]
  for (const [request, status] of answers) {
    it(`a page can read the ${status} of ${request.method ?? 'GET'} ${request.target}`, async () => {
      const answer = await knock(server(), { ...request, headers: { origin: 'https://app.example.com' } })
      assert.equal(answer.status, status)
      assert.deepEqual(corsHeaders(answer), corsFor('*'))
    })
  }

  it('the greeting has no CORS headers', async () => {
    const answer = await knock(server(), { target: '/' })
    assertText(answer, 200, greeting)
    assert.deepEqual(corsHeaders(answer), {})
  })

  it('a page of any origin may open a socket', async () => {
    const headers = { origin: 'https://anywhere.example' }
    for (const { target } of doors) {
      assert.equal((await knock(server(), { target: target('a'), upgrade: 'websocket', headers })).status, 101)
    }
  })
})

describe('with a list of ALLOWED_ORIGINS', () => {
  const server = serverOf({
    vars: { ...anonymous, ALLOWED_ORIGINS: 'https://app.example.com, https://*.example.org' },
  })

  const origins: ReadonlyArray<readonly [string, boolean]> = [
    ['https://app.example.com', true],
    ['https://APP.example.com', true],
    ['https://x.y.example.org', true],
    ['https://example.org', false],
    ['https://evil-example.org', false],
    ['https://app.example.com:8443', false],
    ['http://app.example.com', false],
    ['null', false],
  ]
  for (const [origin, isListed] of origins) {
    it(`a page of ${origin} ${isListed ? 'may' : 'may not'} open a socket and read refusals`, async () => {
      const headers = { origin }
      for (const { target } of doors) {
        const answer = await knock(server(), { target: target('a'), upgrade: 'websocket', headers })
        assert.equal(answer.status, isListed ? 101 : 403)
      }
      const refusal = await knock(server(), { target: '/unknown', headers })
      assert.deepEqual(corsHeaders(refusal), isListed ? corsFor(origin) : {})
      assert.equal(refusal.headers['vary'], 'Origin')
      const preflight = await knock(server(), { method: 'OPTIONS', target: sync('a'), headers })
      assert.equal(preflight.status, 204)
      assert.deepEqual(corsHeaders(preflight), isListed ? corsFor(origin) : {})
    })
  }

  it('what is no browser sends no origin, and is let in', async () => {
    assert.equal((await knock(server(), { target: sync('a'), upgrade: 'websocket' })).status, 101)
  })
})

describe('with AUTH_TOKEN', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: 'first-token, second-token', LOG_LEVEL: 'debug' } })
  const refused = (word: string, reason: string): string =>
    `${word}: { "cause": Error: ${reason}, "note": undefined, "payload": undefined }`
  for (const { name, target, refusal } of doors) {
    for (const token of ['first-token', 'second-token']) {
      it(`${token} opens the door of ${name}`, async () => {
        const answer = await knock(server(), { target: target('a', { authToken: token }), upgrade: 'websocket' })
        assert.equal(answer.status, 101)
      })
    }

    const wrong: ReadonlyArray<readonly [string, unknown]> = [
      ['a token that is none of them', { authToken: 'wrong-token' }],
      ['the whole list', { authToken: 'first-token, second-token' }],
      ['an empty token', { authToken: '' }],
      ['the token of the templates', { authToken: templateToken }],
    ]
    for (const [what, payload] of wrong) {
      it(`${what} is refused at the door of ${name}, in its words and readable for a page`, async () => {
        const answer = await knock(server(), { target: target('a', payload), upgrade: 'websocket' })
        assertText(answer, 400, refused(refusal, 'Invalid auth token'))
        assert.deepEqual(corsHeaders(answer), corsFor('*'))
      })
    }

    const missing: ReadonlyArray<readonly [string, unknown]> = [
      ['no payload', undefined],
      ['null', null],
      ['an empty object', {}],
      ['a text', 'first-token'],
      ['a token that is no text', { authToken: ['first-token'] }],
    ]
    for (const [what, payload] of missing) {
      it(`${what} is refused at the door of ${name}, and told what is missing`, async () => {
        const answer = await knock(server(), { target: target('a', payload), upgrade: 'websocket' })
        assert.equal(answer.status, 400)
        assert.ok(answer.body.startsWith(`${refusal}: { "cause": Error: `), answer.body)
        assert.match(answer.body, /authToken/)
      })
    }

    it(`a request that is no upgrade is refused for its token first at the door of ${name}`, async () => {
      assert.equal((await knock(server(), { target: target('a', { authToken: 'wrong-token' }) })).status, 400)
      assert.equal((await knock(server(), { target: target('a', { authToken: 'first-token' }) })).status, 426)
    })
  }

  it('a refused connection reaches no object, and no log line holds a token or what an event says', async () => {
    const secret = 'what-the-event-says'
    const peer = await Peer.connect(server(), 'v04', 'logged', { payload: { authToken: 'first-token' } })
    const [event] = batchOf(0)
    assert.deepEqual((await peer.pushed([{ ...event, name: secret, args: { secret } }])).answer, pushedFrame('v04', 1))
    await peer.pushed([{ ...event, seqNum: secret }])
    await peer.pushed([{ ...event, args: { secret }, seqNum: 7 }])
    await knock(server(), { target: sync('never', { authToken: 'wrong-token' }), upgrade: 'websocket' })
    const lines = await eventually(
      'the refused push is logged',
      () => server().logs.some((line) => line.includes('"refused"')) && server().logs,
    )
    const text = lines.join('\n')
    const never = lines.filter((line) => line.includes('"never"'))
    assert.ok(
      never.every((line) => line.includes('"refused"')),
      never.join(),
    )
    assert.ok(text.includes('"connected"'), 'the log is as talkative as it can be')
    for (const word of ['first-token', 'second-token', 'wrong-token', secret]) {
      assert.ok(!text.includes(word), `the log holds ${word}`)
    }
  })
})

describe('with the token of the templates', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: templateToken } })
  const hosts: ReadonlyArray<readonly [string, boolean]> = [
    ['localhost:8787', true],
    ['127.0.0.1', true],
    ['[::1]:8787', true],
    ['app.localhost', true],
    ['sync.example.com', false],
    ['localhost.example.com', false],
    ['127.0.0.1.example.com', false],
    ['192.168.0.2', false],
  ]
  for (const [host, isLocal] of hosts) {
    it(`it ${isLocal ? 'opens' : 'does not open'} the doors of ${host}`, async () => {
      for (const { target } of doors) {
        const answer = await knock(server(), {
          target: target('a', { authToken: templateToken }),
          upgrade: 'websocket',
          headers: { host },
        })
        if (isLocal) assert.equal(answer.status, 101, answer.body)
        else assertText(answer, 503, /AUTH_TOKEN/)
      }
    })
  }

  it('it is refused for what comes through the network, as by a tunnel, whatever its Host says', async () => {
    const headers = { host: 'localhost', 'cf-ray': '8f0c1a2b3c4d5e6f-FRA' }
    for (const { target } of doors) {
      const answer = await knock(server(), {
        target: target('a', { authToken: templateToken }),
        upgrade: 'websocket',
        headers,
      })
      assertText(answer, 503, /AUTH_TOKEN/)
    }
  })

  it('it is refused for a deployment at a URL of its own, whatever the connection comes through', async () => {
    const answer = await server().miniflare.dispatchFetch(
      `http://sync.example.com${sync('a', { authToken: templateToken })}`,
    )
    assert.equal(answer.status, 503)
    assert.match(await answer.text(), /AUTH_TOKEN/)
  })
})

describe('with the token of the templates and DEV_HOSTS', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: templateToken, DEV_HOSTS: '192.168.0.2, *.trycloudflare.com' } })
  const through = { 'cf-ray': '8f0c1a2b3c4d5e6f-FRA' }
  const hosts: ReadonlyArray<readonly [string, Record<string, string>, boolean]> = [
    ['192.168.0.2:8787', {}, true],
    ['some-words.trycloudflare.com', through, true],
    ['localhost:8787', {}, true],
    ['localhost:8787', through, false],
    ['192.168.0.3:8787', {}, false],
    ['trycloudflare.com', through, false],
  ]
  for (const [host, headers, isListed] of hosts) {
    it(`it ${isListed ? 'opens' : 'does not open'} the doors of ${host}${headers === through ? ' through the network' : ''}`, async () => {
      for (const { target } of doors) {
        const answer = await knock(server(), {
          target: target('a', { authToken: templateToken }),
          upgrade: 'websocket',
          headers: { host, ...headers },
        })
        if (isListed) assert.equal(answer.status, 101, answer.body)
        else assertText(answer, 503, /DEV_HOSTS/)
      }
    })
  }
})

describe('with the token of the templates beside one of its own', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: `${templateToken},own-token` } })

  it('a deployment lets its own in, and the one of the templates on localhost only', async () => {
    const ask = async (host: string, token: string): Promise<number> =>
      (await knock(server(), { target: sync('a', { authToken: token }), upgrade: 'websocket', headers: { host } }))
        .status
    assert.deepEqual(
      [
        await ask('sync.example.com', 'own-token'),
        await ask('sync.example.com', templateToken),
        await ask('localhost', 'own-token'),
        await ask('localhost', templateToken),
      ],
      [101, 400, 101, 101],
    )
  })
})

describe('with nothing that tells who may connect', () => {
  const server = serverOf({ vars: { AUTH_TOKEN: undefined, ALLOWED_ORIGINS: '*' } })

  for (const { name, target } of doors) {
    it(`the door of ${name} is answered 503 and says which variable to set`, async () => {
      for (const payload of [undefined, { authToken: '' }, { authToken }]) {
        const answer = await knock(server(), { target: target('a', payload), upgrade: 'websocket' })
        assertText(answer, 503, /AUTH_TOKEN/)
        assert.match(answer.body, /ALLOW_ANONYMOUS/)
        assert.deepEqual(corsHeaders(answer), corsFor('*'))
      }
    })
  }

  it('the greeting is answered all the same', async () => {
    assertText(await knock(server(), { target: '/' }), 200, greeting)
  })
})

describe('the Durable Object binding', () => {
  const missing = (name: string): string => `Failed dependency: Required Durable Object binding '${name}' not available`

  const check = async (options: ServerOptions, test: (server: Server) => Promise<void>): Promise<void> => {
    const server = await startServer(options)
    try {
      await test(server)
    } finally {
      await server.stop()
    }
  }

  const assertServes = async (server: Server): Promise<void> => {
    for (const generation of generations) {
      const peer = await Peer.connect(server, generation, `store-${generation}`)
      assert.deepEqual((await peer.pushed(batchOf(0, 2))).answer, pushedFrame(generation, 1))
      assert.deepEqual(await logOf(server, peer.storeId, generation), batchOf(0, 2))
      await peer.client.close()
    }
  }

  it('is missed with 424 and its usual name, after the token was checked', () =>
    check({ binding: undefined }, async (server) => {
      for (const { target } of doors) {
        const answer = await knock(server, { target: target('a', { authToken }), upgrade: 'websocket' })
        assertText(answer, 424, missing('SYNC_BACKEND_DO'))
        assert.deepEqual(corsHeaders(answer), corsFor('*'))
        assert.equal((await knock(server, { target: target('a') })).status, 400)
      }
    }))

  it('is missed by the name that SYNC_BINDING gives, even if another one is there', () =>
    check({ vars: { SYNC_BINDING: 'STORES' } }, async (server) => {
      assertText(await knock(server, { target: sync('a', { authToken }) }), 424, missing('STORES'))
    }))

  it('is missed when SYNC_BINDING names a binding of another kind', () =>
    check({ vars: { SYNC_BINDING: 'DB' } }, async (server) => {
      const answer = await knock(server, { target: sync('a', { authToken }), upgrade: 'websocket' })
      assertText(answer, 424, missing('DB'))
    }))

  it('may have the name and the class of 0.3 deployments', () =>
    check({ binding: { name: 'WEBSOCKET_SERVER', className: 'WebSocketServer' } }, assertServes))

  it('may have the name of one generation and the class of the other', () =>
    check({ binding: { name: 'WEBSOCKET_SERVER', className: 'SyncBackendDO' } }, assertServes))

  it('may have any name that SYNC_BINDING gives', () =>
    check({ binding: { name: 'STORES', className: 'SyncBackendDO' }, vars: { SYNC_BINDING: 'STORES' } }, assertServes))
})

describe('a variable that does not parse', () => {
  const secret = 'x'.repeat(32)
  const smallKey = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey
  const privateKey = '{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"hidden-key"}'
  const bad: ReadonlyArray<readonly [name: string, value: string, others?: Record<string, string>]> = [
    ['ALLOW_ANONYMOUS', 'yes'],
    ['COOKIE_NAME', 'auth token'],
    ['JURISDICTION', 'europe'],
    // A place of the platform, but not of this runtime.
    ['JURISDICTION', 'eu'],
    ['EVENT_NAMES', ','],
    ['MAX_EVENT_BYTES', '2000001'],
    ['MAX_BATCH_EVENTS', '0'],
    ['MAX_FRAME_BYTES', '1e6'],
    ['MAX_STORE_BYTES', '10GB'],
    ['MAX_STORE_BYTES', '10000000001'],
    ['MAX_CONNECTIONS', 'many'],
    ['PUSH_RATE', '0'],
    ['PUSH_RATE', '0.5'],
    ['JWT_AUDIENCE', ',', { JWT_SECRET: secret }],
    ['JWT_GRACE_SECONDS', 'an hour', { JWT_SECRET: secret }],
    ['JWT_GRACE_SECONDS', '86401', { JWT_SECRET: secret }],
    ['JWT_ISSUER', 'https://issuer.example.com'],
    ['JWT_AUDIENCE', 'app'],
    ['JWT_STORE_CLAIM', 'stores'],
    ['JWT_ACCESS_CLAIM', 'access'],
  ]
  /** What may be a secret is not repeated. */
  const hidden: typeof bad = [
    ['JWT_SECRET', 'too-short'],
    ['JWT_SECRET', secret, { JWT_JWKS_URL: 'https://issuer.example.com/keys' }],
    ['JWT_PUBLIC_KEY', 'no-key-at-all'],
    ['JWT_PUBLIC_KEY', privateKey],
    ['JWT_PUBLIC_KEY', 'no-key', { JWT_JWKS_URL: 'https://issuer.example.com/keys' }],
    ['JWT_JWKS_URL', 'http://issuer.example.com/keys'],
    ['JWT_JWKS_URL', 'https://user:password@issuer.example.com/keys'],
  ]
  for (const [name, value, others] of [...bad, ...hidden]) {
    const isHidden = hidden.some((one) => one[1] === value)
    const with_ = others === undefined ? '' : ` beside ${Object.keys(others).join()}`
    it(`${name}=${value}${with_} is named in a 500${isHidden ? ' that hides it' : ''}, whatever is asked`, async () => {
      const server = await startServer({ vars: { ADMIN_SECRET: 'secret', ...others, [name]: value } })
      try {
        const targets = ['/', '/unknown', sync('a', { authToken }), plain('a', { authToken }), '/admin/v1/stores/a']
        for (const target of targets) {
          const answer = await knock(server, { target })
          assert.equal(answer.status, 500, target)
          assert.ok(answer.body.startsWith(`Configuration: ${name} is `), answer.body)
          assert.equal(answer.body.includes(value), !isHidden, answer.body)
          assert.match(answer.body, /but it must be \S/)
        }
      } finally {
        await server.stop()
      }
    })
  }

  for (const [what, key, words] of [
    ['a private key', privateKey, 'a private key (only the public one belongs here)'],
    ['a secret', '{"kty":"oct","k":"hidden-key"}', 'a symmetric key (JWT_SECRET is for those)'],
    [
      'a certificate',
      '-----BEGIN CERTIFICATE-----hidden-key',
      'a certificate (`openssl x509 -pubkey -noout` prints its public key)',
    ],
    ['a small key', String(smallKey.export({ type: 'spki', format: 'pem' })), 'a key of another kind or size'],
    ['no text of a key', 'hidden-key', 'a text that cannot be read as one'],
  ] as const) {
    it(`JWT_PUBLIC_KEY that is ${what} is told to be that, also to those who ask at once`, () =>
      withServer({ vars: { JWT_PUBLIC_KEY: key } }, async (server) => {
        const targets = [sync('a', { authToken }), '/', sync('a', { authToken })]
        const answers = await Promise.all(targets.map((target) => knock(server, { target })))
        for (const { status, body } of answers) {
          assert.equal(status, 500)
          assert.ok(body.endsWith(`, and it is ${words}`), body)
          assert.ok(!body.includes('hidden-key') && !body.includes('BEGIN'), body)
        }
      }))
  }
})
