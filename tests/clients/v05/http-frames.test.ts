/**
 * The v05 http client of this folder is written here, so this suite holds it to the requests that upstream's own client
 * was recorded with, as `frames.test.ts` does it for the WebSocket client.
 */
import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { it } from 'node:test'
import type { SyncClient } from '../client.ts'
import { batchOf } from '../events.ts'
import { LivePull, pullOnce } from '../live-pull.ts'
import { eventually } from '../waiting.ts'
import { makeClient } from './http-client.ts'

const backendId = 'fake-backend-id-00000'
const payload = { authToken: 'unused' }

/** One request as the server got it; ids of traces, which are random, are their lengths. */
interface Seen {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: { readonly id: number; readonly tag: string }
}

/** A server without a log: it has one event, and takes none but the second. */
class Recorder {
  readonly seen: Seen[] = []
  readonly #server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', (part: string) => (text += part))
    request.on('end', () => {
      const read = JSON.parse(text) as Seen['body'] & { readonly traceId: string; readonly spanId: string }
      const body = { ...read, traceId: read.traceId.length, spanId: read.spanId.length }
      this.seen.push({ method: request.method, url: request.url, headers: request.headers, body })
      response.setHeader('content-type', 'application/json').end(JSON.stringify(answersTo(read)))
    })
  })

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  bodiesOf(tag: string): readonly Seen['body'][] {
    return this.seen.map(({ body }) => body).filter((body) => body.tag === tag)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

interface Request {
  readonly id: number
  readonly tag: string
  readonly payload?: { readonly cursor?: { readonly _tag: string }; readonly batch?: readonly { seqNum: number }[] }
}

const answersTo = ({ id, tag, payload }: Request): readonly object[] => {
  const success = (value: unknown): object => ({ _tag: 'Exit', requestId: id, exit: { _tag: 'Success', value } })
  if (tag === 'SyncHttpRpc.Ping') return [success({ _tag: 'SyncMessage.Pong' })]
  if (tag === 'SyncHttpRpc.Pull') {
    const metadata = {
      _tag: 'Some',
      value: { _tag: 'SyncMessage.SyncMetadata', createdAt: '2026-01-01T00:00:00.000Z' },
    }
    const events = payload?.cursor?._tag === 'None' ? batchOf(0) : []
    const batch = events.map((eventEncoded) => ({ eventEncoded, metadata }))
    const values = [{ batch, pageInfo: { _tag: 'NoMore' }, backendId }]
    return [{ _tag: 'Chunk', requestId: id, values }, success(null)]
  }
  if (payload?.batch?.[0]?.seqNum === 2) return [success({})]
  const cause = [{ _tag: 'Fail', error: { _tag: 'ServerAheadError', minimumExpectedNum: 1, providedNum: 4 } }]
  return [{ _tag: 'Exit', requestId: id, exit: { _tag: 'Failure', cause } }]
}

const withClient = async (scenario: (client: SyncClient, recorder: Recorder) => Promise<void>): Promise<void> => {
  const recorder = new Recorder()
  const client = await makeClient({ url: await recorder.start(), storeId: 'store', payload })
  try {
    await scenario(client, recorder)
  } finally {
    await client.close()
    await recorder.stop()
  }
}

const tracing = { traceId: 32, spanId: 16, sampled: true }

it('a request names the store and the payload in its URL, is JSON, and has a number for an id', () =>
  withClient(async (client, recorder) => {
    await client.connect()
    const [{ method, url, headers, body }] = recorder.seen as [Seen]
    assert.equal(method, 'POST')
    const encoded = encodeURIComponent(encodeURIComponent(JSON.stringify(payload)))
    assert.equal(url, `/?storeId=store&payload=${encoded}&transport=http`)
    assert.equal(headers['content-type'], 'application/json')
    assert.equal(headers['x-livestore-store-id'], 'store')
    assert.equal(typeof body.id, 'number')
    const request = { storeId: 'store', payload }
    const expected = {
      _tag: 'Request',
      id: body.id,
      tag: 'SyncHttpRpc.Ping',
      payload: request,
      ...tracing,
      headers: [],
    }
    assert.deepEqual(body, expected)
  }))

it('a live pull is one pull after the other, each from the last event of those before', () =>
  withClient(async (client, recorder) => {
    const live = await LivePull.start(client)
    assert.deepEqual(await live.until(1), batchOf(0))
    await eventually('it pulls again', () => recorder.bodiesOf('SyncHttpRpc.Pull').length >= 3)
    await live.stop()
    const at = { storeId: 'store', payload }
    const cursors = [{ _tag: 'None' }, ...Array(2).fill({ _tag: 'Some', value: { backendId, eventSequenceNumber: 1 } })]
    const pulls = recorder.bodiesOf('SyncHttpRpc.Pull').slice(0, 3)
    assert.deepEqual(
      pulls,
      cursors.map((cursor, index) => ({
        _tag: 'Request',
        id: pulls[index]!.id,
        tag: 'SyncHttpRpc.Pull',
        payload: { ...at, cursor },
        ...tracing,
        headers: [],
      })),
    )
  }))

it('a push says which backend id is known, and a refusal reaches the caller with its numbers', () =>
  withClient(async (client, recorder) => {
    const refusal = { error: 'ServerAheadError', minimumExpectedNum: 1, providedNum: 4 }
    assert.deepEqual(await client.push(batchOf(4)), refusal)
    await pullOnce(client)
    assert.equal(await client.push(batchOf(1)), 'ok')
    const at = { storeId: 'store', payload }
    const pushes = recorder.bodiesOf('SyncHttpRpc.Push').map((body) => ({ ...body, id: 0 }))
    const request = { _tag: 'Request', id: 0, tag: 'SyncHttpRpc.Push', ...tracing, headers: [] }
    assert.deepEqual(pushes, [
      { ...request, payload: { ...at, batch: batchOf(4), backendId: { _tag: 'None' } } },
      { ...request, payload: { ...at, batch: batchOf(1), backendId: { _tag: 'Some', value: backendId } } },
    ])
  }))
