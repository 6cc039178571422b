/**
 * What a deployment tells its operator by itself: log lines and data points. They say what happened, to whom and why,
 * and never what an event holds or who may come in by which token.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { openDoRpcClient } from '../clients/do-rpc/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { type ConnectOptions, targetOf } from '../harness/raw-client.ts'
import { authToken, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import { serverOf as anyServerOf } from '../harness/servers.ts'
import { withBindings } from './bindings.ts'
import { administer, adminSecret, disconnect, exportOf, reset, stateOf, storePath } from './administration.ts'
import { logTableOf } from './database.ts'
import { knock } from './knock.ts'
import { type Line, linesOf } from './log-lines.ts'
import { httpTarget, overHttp, post } from './over-http.ts'
import { eventsIn, generations, Peer, pullFrame, pushedFrame, pushFrame, rpcGenerations } from './peer.ts'
import { metricsOf } from './prometheus.ts'
import { hs256, secondsFromNow } from './tokens.ts'
import { pushBy, ways } from './ways.ts'

const serverOf = (vars: ServerOptions['vars'], options: ServerOptions = {}): (() => Server) =>
  anyServerOf({ vars: { ADMIN_SECRET: adminSecret, ...vars }, ...options })

const withoutMessage = (lines: readonly Line[]): ReadonlyArray<Omit<Line, 'message'>> =>
  lines.map(({ message: _, ...line }) => line)

/** The same request as part of a trace. */
const traced = (frame: object, traceId: unknown): object => ({ ...frame, traceId })

describe('log lines', () => {
  const server = serverOf({ LOG_LEVEL: 'debug', MAX_BATCH_EVENTS: '5' })

  it('are JSON objects with a level, an event and a store, and nothing that is not described', async () => {
    const storeId = 'a "store" of ä\n'
    const peers = await Promise.all(generations.map((generation) => Peer.connect(server(), generation, storeId)))
    for (const [head, peer] of peers.entries()) {
      await peer.pushed(batchOf(head))
      await peer.pushed(batchOf(0, 6))
      await peer.pushed(batchOf(0, 1, 'stale'))
      peer.pull()
    }
    await post(server(), storeId, pullFrame('v04', 1, storeId))
    await reset(server(), storeId)
    const lines = await linesOf(server(), storeId)
    assert.ok(lines.length > 15)
    const members = ['level', 'event', 'storeId', 'generation', 'transport', 'traceId', 'reason', 'message']
    for (const text of server().logs) {
      const line = JSON.parse(text) as Record<string, unknown>
      assert.deepEqual(
        Object.keys(line),
        members.filter((member) => member in line),
        text,
      )
      assert.ok(['error', 'warn', 'info', 'debug'].includes(String(line['level'])), text)
      assert.match(String(line['event']), /^[a-z]+(-[a-z]+)*$/)
      for (const value of Object.values(line)) assert.equal(typeof value, 'string', text)
    }
  })

  it('say at debug when an object opened with which head and sockets, and who connected and left', async () => {
    const storeId = freshStoreId()
    const [first, second] = [
      await Peer.connect(server(), 'v04', storeId),
      await Peer.connect(server(), 'v03', storeId),
    ] as const
    await first.pushed(batchOf(0, 3))
    await server().evict(storeId)
    await first.pushed([])
    await second.client.close()
    await first.pushed([])
    const seen = (await linesOf(server(), storeId)).filter(({ event }) => event !== 'stored')
    assert.deepEqual(
      seen.map(({ level, event, message }) => [level, event, message]),
      [
        ['debug', 'opened', 'head 0, 0 sockets'],
        ['debug', 'connected', undefined],
        ['debug', 'connected', undefined],
        ['debug', 'opened', 'head 3, 2 sockets'],
        ['debug', 'disconnected', undefined],
      ],
    )
  })

  for (const generation of generations) {
    it(`name the dialect and the transport of a ${generation} request, and the reason of its refusal`, async () => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server(), generation, storeId)
      await peer.pushed(batchOf(0, 2))
      await peer.pages()
      await peer.pushed(batchOf(0, 6))
      await peer.pushed(batchOf(0, 1, 'stale'))
      const about = { storeId, generation, transport: 'ws' }
      const lines = (await linesOf(server(), storeId)).filter(({ generation: known }) => known !== undefined)
      assert.deepEqual(withoutMessage(lines), [
        { level: 'debug', event: 'stored', ...about },
        { level: 'debug', event: 'pulled', ...about },
        { level: 'info', event: 'refused', ...about, reason: 'no-batch' },
        { level: 'debug', event: 'lost-race', ...about, reason: 'server-ahead' },
      ])
    })
  }

  for (const generation of rpcGenerations) {
    it(`name the trace of a ${generation} request, over sockets and over HTTP`, async () => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server(), generation, storeId)
      const requests = [
        pushFrame(generation, 1, storeId, batchOf(0)),
        pullFrame(generation, 2, storeId),
        pushFrame(generation, 3, storeId, batchOf(1, 6)),
        pushFrame(generation, 4, storeId, batchOf(0, 1, 'stale')),
      ]
      const traceId = '0af7651916cd43dd8448eb211c80319c'
      for (const request of requests) peer.client.send(traced(request, traceId))
      peer.request = 5
      await peer.pushed([])
      await post(server(), storeId, traced(pushFrame(generation, 1, storeId, batchOf(1)), 'by-http'))
      const lines = (await linesOf(server(), storeId)).filter(({ generation: known }) => known !== undefined)
      assert.deepEqual(
        lines.map(({ event, transport, traceId: trace }) => [event, transport, trace]),
        [
          ['stored', 'ws', traceId],
          ['pulled', 'ws', traceId],
          ['refused', 'ws', traceId],
          ['lost-race', 'ws', traceId],
          ['stored', 'http', 'by-http'],
        ],
      )
    })
  }

  it('repeat no trace that is not a word', async () => {
    const storeId = freshStoreId()
    const odd: readonly unknown[] = [7, null, { a: 1 }, 'two words', 'ä', '"', 'x'.repeat(65), '<b>']
    const peer = await Peer.connect(server(), 'v04', storeId)
    for (const [head, traceId] of odd.entries()) {
      peer.client.send(traced(pushFrame('v04', head + 1, storeId, batchOf(head)), traceId))
      assert.deepEqual(JSON.parse(await peer.client.next()), pushedFrame('v04', head + 1))
    }
    const stored = (await linesOf(server(), storeId)).filter(({ event }) => event === 'stored')
    assert.deepEqual(
      stored.map(({ traceId }) => traceId),
      odd.map(() => undefined),
    )
  })
})

describe('the level of the log', () => {
  /** What a deployment at this level has logged after routine traffic, a refusal, and something to look at. */
  const loggedAt = async (level: string | undefined): Promise<ReadonlyArray<readonly [string, string]>> => {
    const server = await startServer({ vars: { ADMIN_SECRET: adminSecret, LOG_LEVEL: level } })
    try {
      const storeId = freshStoreId()
      const peers = await Promise.all(generations.map((generation) => Peer.connect(server, generation, storeId)))
      for (const peer of peers) {
        peer.pull({ live: true })
        await peer.client.next()
      }
      for (const [head, peer] of peers.entries()) await peer.pushed(batchOf(head))
      await peers[1]!.pushed(batchOf(0))
      await peers[1]!.pushed(batchOf(0, 1, 'stale'))
      await post(server, storeId, pushFrame('v05', 1, storeId, batchOf(3)))
      await post(server, storeId, pullFrame('v04', 1, storeId))
      await server.evict(storeId)
      await stateOf(server, storeId)
      await metricsOf(server, storeId)
      await exportOf(server, storeId)
      await disconnect(server, storeId)
      for (const peer of peers) await peer.client.dismissed()
      const late = await Peer.connect(server, 'v04', storeId)
      await late.pages()
      await knock(server, { target: targetOf({ storeId, payload: { authToken: 'wrong' } }), upgrade: 'websocket' })
      await knock(server, { target: storePath(storeId), headers: { authorization: 'Bearer wrong' } })
      await late.pushed([{ ...batchOf(4)[0]!, seqNum: 7 }])
      await reset(server, storeId)
      if (level === 'error') return []
      // Lines come in order, and this is the last one.
      const lines = await eventually('the reset is logged', () => {
        const seen = server.logs.map((line) => JSON.parse(line) as Line)
        return seen.at(-1)?.event === 'reset' && seen
      })
      return lines.map((line) => [line.level, line.event] as const)
    } finally {
      await server.stop()
    }
  }

  /** For the wrong token, for the wrong secret, and for the push. */
  const refused = Array.from({ length: 3 }, () => ['info', 'refused'] as const)
  const emptied = ['warn', 'reset'] as const

  it('is info where nothing else is said: a line for each refusal, and none for routine traffic', async () => {
    assert.deepEqual(await loggedAt(undefined), [...refused, emptied])
  })

  it('info is the same', async () => {
    assert.deepEqual(await loggedAt('info'), [...refused, emptied])
  })

  it('warn leaves out refusals', async () => {
    assert.deepEqual(await loggedAt('warn'), [emptied])
  })

  it('debug has a line for everything', async () => {
    const events = new Set((await loggedAt('debug')).map(([, event]) => event))
    for (const event of ['opened', 'connected', 'stored', 'pulled', 'lost-race', 'refused', 'reset']) {
      assert.ok(events.has(event), event)
    }
  })
})

describe('data points', () => {
  const mark = 'data point '

  /** Gives the object a binding that prints what is written to it. */
  const withDataset = withBindings(
    `METRICS:{writeDataPoint:(point)=>console.log(${JSON.stringify(mark)}+JSON.stringify(point))}`,
  )

  interface Point {
    readonly indexes: readonly string[]
    readonly blobs: readonly [event: string, generation: string, transport: string, reason: string, storeId: string]
    readonly doubles: readonly [events: number]
  }

  const server = serverOf({ LOG_LEVEL: 'error', MAX_BATCH_EVENTS: '5' }, { edit: withDataset })

  /** The first `count` points of a store. */
  const pointsOf = (storeId: string, count: number): Promise<readonly Point[]> =>
    eventually(`${count} points were written`, () => {
      const lines = server().logs.filter((line) => line.startsWith(mark))
      const points = lines.map((line) => JSON.parse(line.slice(mark.length)) as Point)
      const own = points.filter(({ blobs }) => blobs[4] === storeId)
      return own.length >= count && own
    })

  it('are written at any level of the log: event, generation, transport, reason and events, and nothing else', async () => {
    const storeId = freshStoreId()
    const expected: Array<readonly [string, string, string, string, number]> = []
    let head = 0
    for (const generation of generations) {
      const peer = await Peer.connect(server(), generation, storeId)
      await peer.pushed(batchOf(head, 4))
      head += 4
      await peer.pages()
      await peer.pushed(batchOf(0, 6))
      await peer.pushed(batchOf(0, 1, 'stale'))
      expected.push(
        ['stored', generation, 'ws', '', 4],
        ['pulled', generation, 'ws', '', 0],
        ['refused', generation, 'ws', 'no-batch', 0],
        ['lost-race', generation, 'ws', 'server-ahead', 0],
      )
    }
    await post(server(), storeId, pushFrame('v05', 1, storeId, batchOf(head, 2)))
    await reset(server(), storeId)
    expected.push(['stored', 'v05', 'http', '', 2], ['reset', '', '', '', 0])
    const points = await pointsOf(storeId, expected.length)
    assert.deepEqual(
      points,
      expected.map(([event, generation, transport, reason, events]) => ({
        indexes: [storeId],
        blobs: [event, generation, transport, reason, storeId],
        doubles: [events],
      })),
    )
  })

  it('have an index of 96 bytes at most, whatever the store is called', async () => {
    for (const storeId of ['🎉'.repeat(40), 'ä'.repeat(100), 'a'.repeat(500), '']) {
      await (await Peer.connect(server(), 'v04', storeId)).pushed(batchOf(0))
      const [point] = await pointsOf(storeId, 1)
      assert.equal(point!.indexes.length, 1)
      assert.ok(Buffer.byteLength(point!.indexes[0]!) <= 96)
      assert.ok(storeId.startsWith(point!.indexes[0]!))
    }
  })

  it('are missed by nobody where the binding throws', async () => {
    const edit = (source: string): string =>
      withDataset(source).replace(
        'writeDataPoint:(point)=>',
        'writeDataPoint:(point)=>{throw new Error("full")},w:(point)=>',
      )
    const other = await startServer({ edit })
    try {
      const peer = await Peer.connect(other, 'v04', freshStoreId())
      assert.deepEqual((await peer.pushed(batchOf(0))).answer, pushedFrame('v04', 1))
      assert.deepEqual((await peer.pushed(batchOf(1))).answer, pushedFrame('v04', 2))
    } finally {
      await other.stop()
    }
  })
})

describe('neither log lines nor metrics nor the state of a store', () => {
  const canary = 'CANARY'
  const token = `${canary}-token`
  const jwtSecret = `${canary}-jwt-secret-of-32-bytes-or-more`
  const canarySecret = `${canary}-admin`
  const vars = {
    AUTH_TOKEN: `${token},${authToken}`,
    JWT_SECRET: jwtSecret,
    JWT_STORE_CLAIM: 'stores',
    JWT_ACCESS_CLAIM: 'access',
    ADMIN_SECRET: adminSecret,
    MAX_EVENT_BYTES: '1000',
    MAX_BATCH_EVENTS: '5',
    MAX_FRAME_BYTES: '5000',
    EVENT_NAMES: 'v1.*',
    MAX_CONNECTIONS: '12',
    LOG_LEVEL: 'debug',
  }
  const server = serverOf(vars, { inspect: true })
  const withObjects = serverOf(vars, { doRpcClients: true })

  /** Events whose args hold the canary, also among the names in them. */
  const sung = (head: number, count = 1, clientId = 'client') =>
    batchOf(head, count, clientId).map((event) => ({ ...event, args: { [canary]: [canary, { text: canary }] } }))

  /** Whom the tokens name, which operators read in the state of a store, and nobody in a log line or a metric. */
  const subject = 'SUBJECT'

  /** Every text that must not appear. */
  const secrets = [canary]
  const jwt = (claims: object, secret = jwtSecret): string => {
    const made = hs256(
      { sub: subject, email: `${canary}@example.com`, [canary]: 1, access: 'write', ...claims },
      secret,
    )
    secrets.push(...made.split('.').slice(1))
    return made
  }

  /** All that can be read of these stores. */
  const told = async (
    from: Server,
    storeIds: readonly string[],
  ): Promise<{ readonly states: string; readonly others: string }> => {
    const [states, metrics]: [string[], string[]] = [[], []]
    for (const storeId of storeIds) {
      await linesOf(from, storeId) // they are complete up to here
      states.push(JSON.stringify(await stateOf(from, storeId)))
      metrics.push(JSON.stringify((await metricsOf(from, storeId)).samples))
    }
    return { states: states.join('\n'), others: [...from.logs, ...metrics].join('\n') }
  }

  const assertSilent = async (from: Server, storeIds: readonly string[]): Promise<void> => {
    const { states, others } = await told(from, storeIds)
    const assertWithout = (text: string, secret: string): void => {
      const at = text.indexOf(secret)
      assert.equal(at, -1, `${secret} is told: ${text.slice(Math.max(0, at - 200), at + 100)}`)
    }
    for (const secret of secrets) assertWithout(`${states}\n${others}`, secret)
    assertWithout(others, subject)
  }

  it('holds args, tokens, claims or secrets, whatever sockets send and are refused', async () => {
    const storeIds: string[] = []
    for (const generation of generations) {
      const storeId = freshStoreId()
      storeIds.push(storeId)
      const good = jwt({ stores: storeId, exp: secondsFromNow(600) })
      const payloads = [{ authToken: token }, { authToken: good, note: canary }]
      for (const [round, payload] of payloads.entries()) {
        const options: Partial<ConnectOptions> = { payload, headers: { cookie: `session=${canary}`, 'x-note': canary } }
        const peer = await Peer.connect(server(), generation, storeId, options)
        const reader = await Peer.connect(server(), generation, storeId, options)
        reader.pull({ live: true })
        await reader.client.next()
        const head = round * 3
        assert.deepEqual((await peer.pushed(sung(head, 3))).answer, pushedFrame(generation, 1))
        await peer.pushed(sung(head, 3))
        for (let times = 0; times < 11; times += 1) await peer.pushed(sung(0, 1, 'stale'))
        await peer.pushed(sung(head + 3), canary)
        await peer.pushed([{ ...sung(head + 3)[0]!, seqNum: 99 }])
        await peer.pushed([{ ...sung(head + 3)[0]!, name: 'v2.Other' }])
        await peer.pushed([{ ...sung(head + 3)[0]!, args: canary.repeat(200) }])
        await peer.pushed(sung(head + 3, 6))
        peer.client.send(pushFrame(generation, 500, storeId, sung(head + 3, 4).concat(sung(0, 40))))
        peer.client.send(pushFrame(generation, 501, canary, sung(head + 3)))
        const text = JSON.stringify(pushFrame(generation, 502, storeId, sung(head + 3)))
        for (const broken of [
          `{"_tag":"${canary}"}`,
          `{"_tag":"${canary}","requestId":"${canary}","adminSecret":"${canary}"}`,
          `{"_tag":"Request","id":"${canary}","tag":"${canary}","payload":{"${canary}":1}}`,
          `{"_tag":"Request","id":9,"tag":"${canary} tag: ${canary}","payload":{}}`,
          `{"_tag":"Request","id":{"a":"${canary}"},"tag":"SyncWsRpc.Pull"}`,
          `{"_tag":"Request","id":"${canary}","tag":"SyncWsRpc.Pull","payload":{"storeId":"${storeId}","live":"${canary}"}}`,
          `{"_tag":"Request","id":"1","tag":"SyncWsRpc.Push","payload":"${canary}"}`,
          `{"_tag":"Ack","requestId":"${canary}"}`,
          `{"_tag":"Interrupt","requestId":"${canary}"}`,
          `[{"_tag":"${canary}"},"${canary}"]`,
          `${canary} is no JSON`,
          `{"${canary}"`,
          `"${canary}"`,
          `{"_tag":"WSMessage.PushReq","requestId":"a","batch":"${canary}"}`,
          text.replace('"parentSeqNum":', `"${canary}":`),
          text.replace(/"seqNum":\d+/, `"seqNum":"${canary}"`),
          text.slice(0, -20),
          text.replace('"None"', `"${canary}"`),
          Buffer.concat([Buffer.from(canary), Buffer.of(0xff, 0xfe)]),
        ]) {
          peer.client.send(broken)
        }
        peer.client.send({ _tag: 'WSMessage.AdminInfoReq', requestId: 'a', adminSecret: canarySecret })
        peer.client.send({ _tag: 'WSMessage.AdminResetRoomReq', requestId: 'b', adminSecret: canarySecret })
        peer.request = 600
        await peer.pushed([])
        assert.equal(eventsIn(reader.client.frames).length >= 3, true)
        reader.client.terminate()
      }
    }
    await assertSilent(server(), storeIds)
    const exported = JSON.stringify(await exportOf(server(), storeIds[0]!))
    assert.ok(exported.split(canary).length > 18, 'control: the events are there')
    const lines = server().logs.join('\n')
    for (const event of ['refused', 'stored', 'lost-race', 'stuck', 'connected']) {
      assert.ok(lines.includes(`"event":"${event}"`), `control: there are lines of ${event}`)
    }
    const { lastErrors } = await stateOf(server(), storeIds[1]!)
    assert.ok(
      lastErrors.some(({ message }) => /column \d+/.test(message)),
      'what was malformed is told by its place',
    )
  })

  it('holds them when tokens are wrong, read-only, for another store, or expire', async () => {
    const storeId = freshStoreId()
    const connect = (authToken: string): Promise<Peer> =>
      Peer.connect(server(), 'v04', storeId, { payload: { authToken } })
    const writer = await connect(token)
    await writer.pushed(sung(0, 2))
    const reader = await connect(jwt({ stores: ['*'], access: 'read' }))
    await reader.pushed(sung(2))
    const brief = await connect(jwt({ stores: storeId, exp: secondsFromNow(2) }))
    const wrong = [
      `${canary}-wrong`,
      jwt({ stores: canary }),
      jwt({ stores: storeId, access: canary }),
      jwt({ stores: storeId, exp: 1 }),
      jwt({ stores: storeId }, `another-${canary}-secret-of-32-bytes-or-more`),
      jwt({ stores: storeId }).slice(0, -5),
      `${canary}.${canary}.${canary}`,
    ]
    for (const authToken of wrong) {
      for (const door of [{}, { path: '/websocket', transport: undefined }, { path: `/${canary}` }]) {
        const target = targetOf({ storeId, payload: { authToken, [canary]: canary }, ...door })
        const answer = await knock(server(), { target, upgrade: 'websocket' })
        assert.equal(answer.status, 400, answer.body)
      }
      const frame = JSON.stringify(overHttp(pushFrame('v04', 1, storeId, sung(2))))
      const bearer = { authorization: `Bearer ${authToken}`, cookie: `authToken=${authToken}` }
      const refused = [
        { method: 'POST', target: httpTarget(storeId, { authToken }), body: frame },
        {
          method: 'POST',
          target: `/?${new URLSearchParams({ storeId, transport: 'http' })}`,
          headers: bearer,
          body: frame,
        },
      ]
      for (const request of refused) assert.equal((await knock(server(), request)).status, 400)
    }
    let head = 2
    await eventually('the token has expired', async () => {
      await writer.pushed(sung(head, 1))
      head += 1
      return (await metricsOf(server(), storeId)).refusals['expired'] === 1
    })
    assert.equal((await brief.client.dismissed()).code, 4401)
    await assertSilent(server(), [storeId])
    assert.deepEqual((await metricsOf(server(), storeId)).refusals, { 'read-only': 1, expired: 1 })
    const lines = await linesOf(server(), storeId)
    assert.deepEqual(
      lines.filter(({ level }) => level === 'info').map(({ event, reason }) => [event, reason]),
      [
        ['refused', 'read-only'],
        ['refused', 'token'],
        ['expired', undefined],
      ],
    )
  })

  it('holds them when requests over HTTP are refused, and administrators have a wrong secret', async () => {
    const storeId = freshStoreId()
    const payload = { authToken: jwt({ stores: storeId, exp: secondsFromNow(600) }) }
    for (const generation of rpcGenerations) {
      const ask = (frame: object) => post(server(), storeId, frame, payload)
      const head = generation === 'v04' ? 0 : 2
      await ask(pushFrame(generation, 1, storeId, sung(head, 2)))
      await ask(pullFrame(generation, 2, storeId))
      await ask(pushFrame(generation, 3, storeId, sung(0, 1, 'stale')))
      await ask(pushFrame(generation, 4, canary, sung(head + 2)))
      await ask({ ...pushFrame(generation, 5, storeId, sung(head + 2)), tag: canary })
    }
    for (const body of [canary, `{"${canary}":1}`, Buffer.concat([Buffer.from(canary), Buffer.of(0xff)])]) {
      await knock(server(), { method: 'POST', target: httpTarget(storeId, payload), body })
    }
    for (const secret of [canarySecret, canary, payload.authToken]) {
      for (const rest of ['', '/events', '/metrics', `/${canary}`]) {
        const headers = { authorization: `Bearer ${secret}` }
        assert.equal((await knock(server(), { target: storePath(storeId, rest), headers })).status, 401)
      }
    }
    for (const target of [`/events?after=${canary}`, `/${canary}`])
      await administer(server(), storePath(storeId, target))
    const body = JSON.stringify({ storeId: canary, [canary]: canary })
    assert.equal((await administer(server(), storePath(storeId, '/reset'), { method: 'POST', body })).status, 400)
    await assertSilent(server(), [storeId])
    assert.equal((await stateOf(server(), storeId)).head, 4)
  })

  it('holds them when the storage fails', async () => {
    const storeId = freshStoreId()
    const payload = { authToken: token }
    await pushBy(server(), ways[0]!, storeId, sung(0, 2), payload)
    const faults = [
      [
        `CREATE TRIGGER fault BEFORE INSERT ON "${logTableOf(storeId)}" BEGIN SELECT RAISE(ABORT, 'no'); END`,
        'DROP TRIGGER fault',
      ],
      [
        `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN args TO hidden`,
        `ALTER TABLE "${logTableOf(storeId)}" RENAME COLUMN hidden TO args`,
      ],
      [`CREATE UNIQUE INDEX fault ON "${logTableOf(storeId)}" (args)`, 'DROP INDEX fault'],
    ] as const
    for (const [make, mend] of faults) {
      if (make.includes('UNIQUE')) {
        await server().sql(storeId, `UPDATE "${logTableOf(storeId)}" SET args = '1' WHERE seqNum = 1`)
      }
      await server().sql(storeId, make)
      for (const way of ways) {
        const batch = [2, 3].map((head) => ({ ...sung(head)[0]!, args: canary }))
        const answer = await pushBy(server(), way, storeId, batch, payload)
        assert.match(answer, /could not store|storage failed/)
        assert.ok(!answer.includes(canary))
      }
      await server().sql(storeId, mend)
    }
    await assertSilent(server(), [storeId])
    const failed = (await linesOf(server(), storeId)).filter(({ event }) => event === 'storage-failed')
    assert.equal(failed.length, faults.length * ways.length)
    assert.deepEqual((await metricsOf(server(), storeId)).refusals, { storage: failed.length })
  })

  it('holds them when client objects push, are called, and cannot be called', async () => {
    const storeId = freshStoreId()
    const options = { url: withObjects().wsUrl, storeId, payload: { authToken: token } }
    for (const [index, bindingName] of [undefined, 'NO_SUCH_BINDING'].entries()) {
      for (const [turn, generation] of (['v04', 'v05'] as const).entries()) {
        const stray = bindingName === undefined ? {} : { bindingName }
        const client = await openDoRpcClient(generation, withObjects(), { ...options, ...stray })
        const head = 4 * index + 2 * turn
        assert.equal(await client.push(sung(head, 2)), 'ok')
        assert.notEqual(await client.push(sung(0, 1, 'stale')), 'ok')
        assert.notEqual(await client.push([{ ...sung(head + 2)[0]!, name: 'v2.Other' }]), 'ok')
        const pull = client.pull(0, 'live')[Symbol.asyncIterator]()
        await pull.next()
        await pull.return?.()
        await client.close()
      }
    }
    await assertSilent(withObjects(), [storeId])
    assert.ok((await linesOf(withObjects(), storeId)).some(({ transport }) => transport === 'do-rpc'))
  })
})
