/**
 * The v05 do-rpc client of this folder is written here, so this suite holds it to what upstream's own client was
 * recorded with: a client of ours that spoke differently would prove nothing.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import type { Event } from '../client.ts'
import { LivePull, pullOnce } from '../live-pull.ts'
import { DoRpcClient, type DoRpcOptions } from './do-rpc-client.ts'
import { type Answer, unpack } from './do-rpc-protocol.ts'

/** A line of the transcript: a call, its answer or a chunk of it, or a callback. */
interface Line {
  readonly kind: string
  readonly base64: string
  readonly secondArgStoreId?: string
}

interface Request {
  readonly payload: { readonly batch?: readonly Event[]; readonly rpcContext?: Pick<DoRpcOptions, 'callerContext'> }
}

/** How many calls of the transcript are upstream's client at work; those after them are raw bytes. */
const callsMax = 9

const transcript = new URL('../../transcripts/do-rpc/head-effect4/do-rpc-client.ndjson', import.meta.url)

const lines = readFileSync(transcript, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Line)

const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))

const streamOf = (chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start: (controller) => {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })

/** The ways in which the bytes of a stream may arrive: as they were sent, all at once, in small pieces. */
const deliveries: ReadonlyArray<(chunks: readonly Uint8Array[]) => ReadableStream<Uint8Array>> = [
  streamOf,
  (chunks) => streamOf([new Uint8Array(Buffer.concat(chunks))]),
  (chunks) => streamOf([...Buffer.concat(chunks)].map((byte) => Uint8Array.of(byte))),
]

/** The request in these bytes; ids of traces, which are random, are replaced by their lengths. */
const requestIn = (bytes: Uint8Array): Request => {
  const [message] = unpack(bytes) as ReadonlyArray<Request & { readonly traceId: string; readonly spanId: string }>
  return Object.assign(message!, { traceId: message!.traceId.length, spanId: message!.spanId.length })
}

/** What upstream's client asked, in order, each with the bytes that it was answered. */
const recorded = lines
  .flatMap(({ kind, base64 }, index) => {
    if (kind !== 'do-rpc-call') return []
    const end = lines.findIndex((line, at) => at > index && line.kind === 'do-rpc-call')
    const answers = lines.slice(index, end === -1 ? undefined : end)
    const of = (which: string): readonly Uint8Array[] =>
      answers.filter((line) => line.kind === which).map((line) => bytesOf(line.base64))
    return [{ asked: bytesOf(base64 ?? ''), returned: of('do-rpc-return')[0], chunks: of('do-rpc-stream-chunk') }]
  })
  .slice(0, callsMax)

it("asks what upstream's client asked, and understands what that was answered and called back with", async () => {
  const requests = recorded.map(({ asked }) => requestIn(asked))
  const batches = requests.flatMap(({ payload }) => (payload.batch === undefined ? [] : [payload.batch]))
  const [batch, stale, refused, next] = batches
  const [callback] = lines.filter((line) => line.kind.startsWith('do-rpc-callback'))
  const [context] = requests.flatMap(({ payload }) => payload.rpcContext ?? [])
  assert.ok(batch && stale && refused && next && callback && context, 'the transcript is complete')
  const { base64, secondArgStoreId: storeId = '' } = callback

  const asked: Request[] = []
  let streams = 0
  const call = async (bytes: Uint8Array): Promise<Answer> => {
    const { returned, chunks } = recorded[asked.length]!
    asked.push(requestIn(bytes))
    return returned ?? deliveries[streams++ % deliveries.length]!(chunks)
  }
  // The recorded client had no payload, which this dialect writes as null.
  const started = await DoRpcClient.start({ url: '', storeId, payload: null as never, call, ...context })
  const { client } = started

  await client.connect()
  assert.deepEqual(await pullOnce(client), [{ events: [], createdAt: [], remaining: 0 }])
  assert.equal(await client.push(batch), 'ok')
  assert.deepEqual(await client.push(stale), { error: 'ServerAheadError', minimumExpectedNum: 2, providedNum: 1 })
  const refusal = await client.push(refused)
  assert.ok(refusal !== 'ok' && refusal.error === 'UnknownError', 'what went wrong in the server is an UnknownError')
  const at = '2026-11-22T10:35:09.591Z'
  assert.deepEqual(await pullOnce(client), [{ events: batch, createdAt: [at, at], remaining: 0 }])
  assert.deepEqual(await pullOnce(client, 1), [{ events: batch.slice(1), createdAt: [at], remaining: 0 }])
  const live = await LivePull.start(client, 2)
  started.take(bytesOf(base64), storeId)
  assert.deepEqual(await live.until(3), next)
  await live.stop()
  assert.equal(await client.push(next), 'ok')
  await client.close()

  assert.deepEqual(asked, requests)
})
