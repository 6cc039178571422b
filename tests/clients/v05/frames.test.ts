/**
 * The v05 client of this folder is written here, so this suite holds it to the frames that upstream's own client was
 * recorded with: a client of ours that spoke differently would prove nothing.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { SyncClient } from '../client.ts'
import { batchOf } from '../events.ts'
import { backendId, FakeServer } from '../fake-server.ts'
import { LivePull, pullOnce } from '../live-pull.ts'
import { eventually } from '../waiting.ts'
import { makeClient } from './client.ts'

const payload = { authToken: 'unused' }

const withClient = async (scenario: (client: SyncClient, server: FakeServer) => Promise<void>): Promise<void> => {
  const server = await FakeServer.start()
  const client = await makeClient({ url: server.url, storeId: 'store', payload })
  try {
    await client.connect()
    await scenario(client, server)
  } finally {
    await client.close()
    await server.stop()
  }
}

/** The frames that a client sent, pings aside; ids of traces, which are random, become their lengths. */
const framesOf = (server: FakeServer): readonly unknown[] =>
  server.seen
    .filter(({ tag }) => tag !== 'Ping')
    .map(({ frame }) =>
      Object.fromEntries(
        Object.entries(frame).map(([key, value]) => [
          key,
          key === 'traceId' || key === 'spanId' ? String(value).length : value,
        ]),
      ),
    )

const tracing = { traceId: 32, spanId: 16, sampled: true }

it('a push is a Request with a number for an id, and says that no backend id is known', () =>
  withClient(async (client, server) => {
    assert.equal(await client.push(batchOf(0, 2)), 'ok')
    const [frame] = server.seen.filter(({ tag }) => tag === 'Request')
    const id = frame?.requestId
    assert.equal(typeof id, 'number')
    const request = { storeId: 'store', payload, batch: batchOf(0, 2), backendId: { _tag: 'None' } }
    assert.deepEqual(framesOf(server), [
      { _tag: 'Request', id, tag: 'SyncWsRpc.Push', payload: request, ...tracing, headers: [] },
    ])
  }))

it('a pull is a Request, each Chunk is acknowledged, and the cursor names the backend id of the Chunk', () =>
  withClient(async (client, server) => {
    server.append('v1.Noted', {})
    const live = await LivePull.start(client)
    await eventually('the Ack arrives', () => server.seen.some(({ tag }) => tag === 'Ack'))
    await live.stop()
    await eventually('the Interrupt arrives', () => server.seen.some(({ tag }) => tag === 'Interrupt'))
    await pullOnce(client, 1)
    const [first, second] = server.pulls.map((pull) => pull.requestId)
    const at = { storeId: 'store', payload }
    const cursor = { _tag: 'Some', value: { backendId, eventSequenceNumber: 1 } }
    assert.deepEqual(framesOf(server).slice(0, 4), [
      {
        _tag: 'Request',
        id: first,
        tag: 'SyncWsRpc.Pull',
        payload: { ...at, live: true, cursor: { _tag: 'None' } },
        ...tracing,
        headers: [],
      },
      { _tag: 'Ack', requestId: first },
      { _tag: 'Interrupt', requestId: first },
      {
        _tag: 'Request',
        id: second,
        tag: 'SyncWsRpc.Pull',
        payload: { ...at, live: false, cursor },
        ...tracing,
        headers: [],
      },
    ])
  }))

it('a refusal in the dialect of this generation reaches the caller with its numbers', () =>
  withClient(async (client) => {
    const refusal = { error: 'ServerAheadError', minimumExpectedNum: 0, providedNum: 4 }
    assert.deepEqual(await client.push(batchOf(4)), refusal)
  }))
