/**
 * How the RPC layer of Effect 4 reports what ends a pull or a push, on which sync clients of that line base what they
 * repeat: a lost connection is told apart from an answer, and a late answer is none of its concern.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Packr } from 'msgpackr'
import { isOffline, type MakeClient, type PushOutcome, type SyncClient } from '../client.ts'
import { FakeSyncObject } from '../do-rpc/fake-sync-object.ts'
import { batchOf } from '../events.ts'
import { type Answer as HttpAnswer, FakeHttpServer } from '../fake-http-server.ts'
import { backendId, failureFor, unknownError } from '../fake-log.ts'
import { type Answer as WsAnswer, FakeServer } from '../fake-server.ts'
import { LivePull, pullOnce } from '../live-pull.ts'
import { eventually } from '../waiting.ts'
import { makeClient as makeWsClient } from './client.ts'
import { DoRpcClient } from './do-rpc-client.ts'
import { makeClient as makeHttpClient } from './http-client.ts'

const payload = { authToken: 'unused' }

const withClient = async <Server extends { readonly url: string; stop(): Promise<void> }>(
  server: Server,
  makeClient: MakeClient,
  scenario: (server: Server, client: SyncClient) => Promise<void>,
): Promise<void> => {
  const client = await makeClient({ url: server.url, storeId: 'store', payload })
  try {
    await client.connect()
    await scenario(server, client)
  } finally {
    await client.close()
    await server.stop()
  }
}

/** A WebSocket client with a live pull that has one event. */
const pulling = async (scenario: (server: FakeServer, live: LivePull, client: SyncClient) => Promise<void>) =>
  withClient(await FakeServer.start(), makeWsClient, async (server, client) => {
    server.append('v1.Noted', {})
    const live = await LivePull.start(client)
    await live.until(1)
    await scenario(server, live, client)
  })

describe('over a WebSocket, a live pull of Effect 4', () => {
  it('ends with BackendIdMismatchError, as the server says it', () =>
    pulling(async (server, live) => {
      server.store.reset()
      server.failAll(server.store.mismatch(backendId))
      await eventually('the pull ends', () => live.ended)
      const expected = server.store.backendId
      assert.deepEqual(live.ended, { error: 'BackendIdMismatchError', expected, received: backendId })
    }))

  it('ends as one that is offline when its socket is closed', () =>
    pulling(async (server, live) => {
      server.closeAll(1012)
      await eventually('the pull is made again', () => live.reissued === 1)
      await eventually('it names its cursor', () => server.pulls[1]?.cursor === 1)
    }))

  it('does not acknowledge a page for a request that it does not know, nor for its push', () =>
    pulling(async (server, live, client) => {
      const known = server.pulls[0]!.requestId
      const acks = () => server.seen.filter(({ tag }) => tag === 'Ack').map(({ requestId }) => requestId)
      server.pushAnswers.push({ kind: 'nothing' })
      client.push(batchOf(1)).catch(() => {}) // it ends with its client
      const push = await eventually('it pushes', () => server.pushes[0]?.requestId)
      for (const id of [push, 1_000_000, 2_000_000]) server.probe(id)
      server.append('v1.Noted', {})
      await live.until(2)
      await eventually('the event is acknowledged', () => acks().length === 2)
      assert.deepEqual(acks(), [known, known])
    }))
})

const wsPush = async (answer: WsAnswer): Promise<PushOutcome> => {
  let outcome: PushOutcome | undefined
  await withClient(await FakeServer.start(), makeWsClient, async (server, client) => {
    server.pushAnswers.push(answer)
    outcome = await client.push(batchOf(0))
  })
  return outcome!
}

describe('over a WebSocket, a push of Effect 4', () => {
  for (const answer of [{ kind: 'close', code: 1013 }, { kind: 'drop' }] as const) {
    it(`is reported as offline after a ${answer.kind}`, async () => {
      const outcome = await wsPush(answer)
      assert.ok(outcome !== 'ok' && isOffline(outcome), JSON.stringify(outcome))
    })
  }

  it('is not reported as offline after UnknownError', async () => {
    const outcome = await wsPush({ kind: 'error', error: unknownError('not now') })
    assert.deepEqual(outcome, { error: 'UnknownError', message: 'not now' })
  })

  it('waits for a late answer', async () => {
    assert.equal(await wsPush({ kind: 'serve', afterMs: 500 }), 'ok')
  })
})

const failing: Readonly<Record<string, readonly [HttpAnswer, string]>> = {
  '503 with text': [{ kind: 'status', status: 503, body: 'not now' }, 'RpcClientDefect'],
  '503 with an empty array': [{ kind: 'status', status: 503, body: '[]' }, 'RpcClientDefect'],
  'a dropped connection': [{ kind: 'drop' }, 'HttpError'],
  UnknownError: [{ kind: 'error', error: unknownError('not now') }, 'UnknownError'],
}

describe('over http, Effect 4', () => {
  const withHttp = async (scenario: (server: FakeHttpServer, client: SyncClient) => Promise<void>): Promise<void> =>
    withClient(await FakeHttpServer.start(), makeHttpClient, scenario)

  for (const [name, [answer, error]] of Object.entries(failing)) {
    it(`reports ${error} for a push and a pull after ${name}`, () =>
      withHttp(async (server, client) => {
        server.pushAnswers.push(answer)
        server.pullAnswers.push(answer)
        const outcome = await client.push(batchOf(0))
        assert.equal(outcome === 'ok' ? outcome : outcome.error, error)
        await assert.rejects(pullOnce(client), new RegExp(error))
        assert.equal(await client.push(batchOf(0)), 'ok', 'it is served without such an answer')
        assert.equal((await pullOnce(client)).length, 1)
      }))
  }

  it('takes a pull with an Exit and no page for one that went well', () =>
    withHttp(async (server, client) => {
      const exit = { _tag: 'Success', value: null }
      server.pullAnswers.push({ kind: 'envelopes', envelopes: (requestId) => [{ _tag: 'Exit', requestId, exit }] })
      assert.deepEqual(await pullOnce(client), [])
    }))
})

it('over do-rpc, a client of Effect 4 refuses a call with an Exit, and its live pull goes on', async () => {
  const packr = new Packr({ useRecords: true })
  const pack = (value: unknown): Uint8Array => Uint8Array.from(packr.pack(value))
  const object: FakeSyncObject = new FakeSyncObject({
    pack,
    unpack: (bytes) => packr.unpack(bytes) as unknown,
    callBack: async (envelope) => client.take(pack(envelope), 'store'),
  })
  const callerContext = { bindingName: 'CLIENT', durableObjectId: 'client' }
  const client = await DoRpcClient.start({ url: '', storeId: 'store', payload, call: object.rpc, callerContext })
  try {
    await object.append('v1.Noted', {})
    const live = await LivePull.start(client.client)
    await live.until(1)
    const [requestId] = object.subscriptions
    const exit = failureFor(0, object.store.mismatch('another'))
    await assert.rejects(object.callBack({ _tag: 'Exit', requestId, exit }), /Chunk/)
    await object.append('v1.Noted', {})
    await live.until(2)
    await live.stop()
  } finally {
    await client.client.close()
  }
})
