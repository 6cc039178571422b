/**
 * What the log tells of those whom the Worker does not let in, since a browser shows its user nothing of it: the sentence
 * that the client got, once for each reason and minute.
 *
 * Minutes pass in no time here: the bundle is edited so that its clock can be set ahead.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import { serverOf as anyServerOf } from '../harness/servers.ts'
import { adminSecret, storePath } from './administration.ts'
import { both, type Credential, doors, enter, inPayload } from './doors.ts'
import { KeyServer } from './key-server.ts'
import { type Answer, knock } from './knock.ts'
import { hs256, secret } from './tokens.ts'

interface Line {
  readonly level: string
  readonly event: string
  readonly storeId?: string
  readonly reason: string
  readonly message: string
  readonly suppressed?: number
}

/** The headers that set the Worker's clock ahead, take the port from a URL, and leave a mark in the log. */
const [aheadHeader, portlessHeader, markHeader] = ['x-test-ahead-ms', 'x-test-portless', 'x-test-mark']

const withTestHeaders = (source: string): string => {
  const exported = /,([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a handler')
  const edited = source.replace(
    exported,
    (_, handler: string) => `,edited as default}
      let aheadMs = 0
      const now = Date.now
      Date.now = () => now() + aheadMs
      const edited = {
        fetch: (request, env) => {
          aheadMs = Number(request.headers.get('${aheadHeader}') ?? aheadMs)
          if (request.headers.has('${markHeader}')) console.warn('the mark')
          const url = new URL(request.url)
          if (request.headers.has('${portlessHeader}')) url.port = ''
          return ${handler}.fetch(new Request(url, request), env)
        },
      }`,
  )
  return edited
}

const serverOf = (vars: NonNullable<ServerOptions['vars']>): (() => Server) =>
  anyServerOf({ vars, edit: withTestHeaders })

/** The lines about refusals for a reason. */
const linesOf = ({ logs }: Server, reason: string): readonly Line[] =>
  logs
    .filter((line) => line.includes('"refused"'))
    .map((line) => JSON.parse(line) as Line)
    .filter((line) => line.reason === reason)

const told = (server: Server, reason: string, count: number): Promise<readonly Line[]> =>
  eventually(`${count} lines about ${reason}`, () => {
    const lines = linesOf(server, reason)
    return lines.length >= count && lines
  })

/** The sentence in an answer: a refused token is told with the error of the client's dialect around it. */
const sentenceIn = ({ body }: Answer): string => /"cause": Error: (.*), "note"/.exec(body)?.[1] ?? body

const minuteMs = 60_000

describe('a refusal at a door', () => {
  const page = { headers: { origin: 'https://app.example.com' } }
  const hush = 'hush-hush-hush'
  interface Case {
    readonly what: string
    readonly vars: NonNullable<ServerOptions['vars']>
    readonly credential: Credential
    readonly status: number
    readonly reason: string
    readonly says: RegExp
  }
  const cases: readonly Case[] = [
    {
      what: 'of a wrong token',
      vars: {},
      credential: inPayload(hush),
      status: 400,
      reason: 'token',
      says: /^Invalid auth token$/,
    },
    {
      what: 'of no token',
      vars: {},
      credential: {},
      status: 400,
      reason: 'token',
      says: /^No auth token: /,
    },
    {
      what: 'of a JWT that has expired',
      vars: { JWT_SECRET: secret },
      credential: inPayload(hs256({ exp: 1, sub: hush })),
      status: 400,
      reason: 'token',
      says: /^Invalid auth token: it has expired$/,
    },
    {
      what: 'of a page of another origin',
      vars: { ALLOWED_ORIGINS: undefined },
      credential: both(inPayload(authToken), page),
      status: 403,
      reason: 'origin',
      says: /^Origin https:\/\/app\.example\.com may not use this backend: see ALLOWED_ORIGINS$/,
    },
    {
      what: 'without a policy',
      vars: { AUTH_TOKEN: undefined },
      credential: inPayload(hush),
      status: 503,
      reason: 'no-policy',
      says: /^Nobody can connect yet: /,
    },
    {
      what: 'while a variable does not parse',
      vars: { PUSH_RATE: 'fast' },
      credential: inPayload(authToken),
      status: 500,
      reason: 'configuration',
      says: /^Configuration: PUSH_RATE is 'fast', but /,
    },
  ]
  for (const { what, vars, credential, status, reason, says } of cases) {
    describe(what, () => {
      const server = serverOf(vars)

      it('is told with the sentence that the client got, once a minute, with how many there were', async () => {
        const [first, second] = [freshStoreId(), freshStoreId()]
        const answers: Answer[] = []
        for (const door of doors) answers.push(await enter(server(), door, first, credential))
        for (const answer of answers) assert.equal(answer.status, status, answer.body)
        const message = sentenceIn(answers[0]!)
        assert.match(message, says)
        const line = { level: 'info', event: 'refused', storeId: first, reason, message }
        assert.deepEqual(await told(server(), reason, 1), [line])

        const ahead = { headers: { [aheadHeader]: String(minuteMs + 1_000) } }
        await enter(server(), doors[0]!, second, both(credential, ahead))
        const [, next, ...more] = await told(server(), reason, 2)
        assert.deepEqual(next, { ...line, storeId: second, suppressed: doors.length - 1 })
        assert.deepEqual(more, [])
        assert.ok(!server().logs.join('\n').includes(hush), 'no line holds a token')
      })
    })
  }

  describe('of an operator without the secret', () => {
    const server = serverOf({ ADMIN_SECRET: adminSecret })

    it('is told as well', async () => {
      const answer = await knock(server(), {
        target: storePath('a'),
        headers: { authorization: `Bearer ${hush}` },
      })
      const message = (JSON.parse(answer.body) as { readonly error: string }).error
      const line = { level: 'info', event: 'refused', reason: 'admin-secret', message }
      assert.deepEqual(await told(server(), 'admin-secret', 1), [line])
    })
  })

  describe('because the keys cannot be had', () => {
    it('is told as well', async () => {
      const keys = await KeyServer.start()
      const server = await startServer({ vars: { JWT_JWKS_URL: keys.url } })
      try {
        const answer = await enter(server, doors[0]!, 'a', inPayload(hs256().replace(/^[^.]+/, 'eyJhbGciOiJFUzI1NiJ9')))
        assert.equal(answer.status, 503)
        const [line] = await told(server, 'no-keys', 1)
        assert.equal(line?.message, answer.body)
      } finally {
        await server.stop()
        await keys.leave()
      }
    })
  })

  describe('of one reason', () => {
    const server = serverOf({ ALLOWED_ORIGINS: undefined })

    it('hides none for another', async () => {
      await enter(server(), doors[0]!, 'a', inPayload(hush))
      await enter(server(), doors[0]!, 'a', both(inPayload(authToken), page))
      await told(server(), 'token', 1)
      await told(server(), 'origin', 1)
    })
  })

  describe('with LOG_LEVEL=warn', () => {
    const server = serverOf({ LOG_LEVEL: 'warn' })

    it('is not told', async () => {
      await enter(server(), doors[0]!, 'a', inPayload(hush))
      // Lines arrive in order: what stands before the mark is complete.
      await knock(server(), { target: '/', headers: { [markHeader]: 'yes' } })
      await eventually('the mark is logged', () => server().logs.includes('the mark'))
      assert.deepEqual(linesOf(server(), 'token'), [])
    })
  })
})

describe('a deployment of which a variable does not parse', () => {
  const origin = 'https://app.example.com'

  for (const [what, list, isReadable] of [
    ['of an origin that is listed', origin, true],
    ['of any origin', '*', true],
    ['of another origin', 'https://other.example.com', false],
    ['of an origin that is listed beside an entry that is none', `app, ${origin}`, true],
    ['of an origin that is not known, because the list has no origin', 'app', false],
  ] as const) {
    it(`${isReadable ? 'lets' : 'does not let'} a page ${what} read which one`, async () => {
      const server = await startServer({ vars: { PUSH_RATE: 'fast', ALLOWED_ORIGINS: list } })
      try {
        const target = targetOf({ storeId: 'a', transport: 'http' })
        const answer = await knock(server, { method: 'POST', target, headers: { origin } })
        assert.equal(answer.status, 500)
        assert.match(answer.body, /^Configuration: PUSH_RATE is /)
        const allowed = answer.headers['access-control-allow-origin']
        assert.equal(allowed === origin || allowed === '*', isReadable, allowed)
        const preflight = await knock(server, { method: 'OPTIONS', target, headers: { origin } })
        assert.equal(
          preflight.status === 204 && preflight.headers['access-control-allow-origin'] !== undefined,
          isReadable,
        )
      } finally {
        await server.stop()
      }
    })
  }
})

describe('a deployment of which variables do not parse that can do no harm', () => {
  const server = serverOf({ ALLOWED_ORIGINS: 'app.example.com, https://app.example.com/', RESTORE_EMPTY: 'yes' })

  it('serves everybody, goes by what is right, and says once which are not', async () => {
    for (const [origin, isListed] of [
      ['https://app.example.com', true],
      ['https://other.example.com', false],
    ] as const) {
      for (const door of doors) {
        const { status, body } = await enter(server(), door, 'a', both(inPayload(authToken), { headers: { origin } }))
        assert.equal(status, isListed ? (door.isSocket ? 101 : 200) : 403, `${origin} ${door.name}: ${body}`)
      }
    }
    // Lines arrive in order: what stands before the mark is complete.
    await knock(server(), { target: '/', headers: { [markHeader]: 'yes' } })
    await eventually('the mark is logged', () => server().logs.includes('the mark'))
    const lines = server().logs.filter((line) => line.includes('variable-ignored'))
    const found = lines.map((line) => JSON.parse(line) as { level: string; variable: string; message: string })
    assert.deepEqual(
      found.map(({ level, variable, message }) => [level, variable, message.split(',')[0]]),
      [
        ['warn', 'ALLOWED_ORIGINS', "ALLOWED_ORIGINS has 'app.example.com'"],
        ['warn', 'RESTORE_EMPTY', "RESTORE_EMPTY is 'yes'"],
      ],
    )
  })
})

describe('a page of the own origin, whose URL has lost its port on the way', () => {
  const server = serverOf({ ALLOWED_ORIGINS: undefined })

  it('is let in by the Host that it asked for, and no other is', async () => {
    const host = 'localhost:5173'
    for (const [origin, isOwn] of [
      [`http://${host}`, true],
      ['http://localhost:5174', false],
      [`https://${host}`, false],
      ['https://app.example.com', false],
    ] as const) {
      for (const door of doors) {
        const headers = { host, origin, [portlessHeader]: 'yes' }
        const { status, body } = await enter(server(), door, freshStoreId(), both(inPayload(authToken), { headers }))
        assert.equal(status, isOwn ? (door.isSocket ? 101 : 200) : 403, `${origin} ${door.name}: ${body}`)
      }
    }
  })
})
