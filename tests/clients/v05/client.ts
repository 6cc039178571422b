/**
 * Generation v05: an Effect 4 RPC client over a WebSocket, speaking the messages of upstream after 0.4.0.
 *
 * That release of the sync client is not published, so the messages are declared here; the RPC layer under them, which
 * makes the dialect what it is, is `effect` 4 as published.
 */
import { Effect, Exit, Layer, Option, Schema, Scope, Stream } from 'effect'
import { Rpc, RpcClient, RpcGroup, RpcSerialization } from 'effect/rpc'
import { Socket } from 'effect/socket'
import { targetOf } from '../../harness/raw-client.ts'
import type { ClientOptions, Page, PushOutcome, SyncClient } from '../client.ts'
import { pagesOf } from '../pages.ts'
import { refusalOf } from '../refusal.ts'

const Event = Schema.Struct({
  name: Schema.String,
  args: Schema.Json,
  seqNum: Schema.Int,
  parentSeqNum: Schema.Int,
  clientId: Schema.String,
  sessionId: Schema.String,
})

const Metadata = Schema.TaggedStruct('SyncMessage.SyncMetadata', { createdAt: Schema.String })

const PageInfo = Schema.Union([
  Schema.TaggedStruct('MoreUnknown', {}),
  Schema.TaggedStruct('MoreKnown', { remaining: Schema.Number }),
  Schema.TaggedStruct('NoMore', {}),
])

const PullResponse = Schema.Struct({
  batch: Schema.Array(Schema.Struct({ eventEncoded: Event, metadata: Schema.Option(Metadata) })),
  pageInfo: PageInfo,
  backendId: Schema.String,
})

const UnknownError = Schema.TaggedStruct('UnknownError', {
  cause: Schema.Defect(),
  note: Schema.optional(Schema.String),
  payload: Schema.optional(Schema.Any),
})
const ServerAheadError = Schema.TaggedStruct('ServerAheadError', {
  minimumExpectedNum: Schema.Int,
  providedNum: Schema.Int,
})
const BackendIdMismatchError = Schema.TaggedStruct('BackendIdMismatchError', {
  expected: Schema.String,
  received: Schema.String,
})

const SyncWsRpc = RpcGroup.make(
  Rpc.make('SyncWsRpc.Pull', {
    payload: {
      storeId: Schema.String,
      payload: Schema.optional(Schema.Json),
      live: Schema.Boolean,
      cursor: Schema.Option(Schema.Struct({ backendId: Schema.String, eventSequenceNumber: Schema.Int })),
    },
    success: PullResponse,
    error: Schema.Union([UnknownError, BackendIdMismatchError]),
    stream: true,
  }),
  Rpc.make('SyncWsRpc.Push', {
    payload: {
      storeId: Schema.String,
      payload: Schema.optional(Schema.Json),
      batch: Schema.Array(Event),
      backendId: Schema.Option(Schema.String),
    },
    success: Schema.Struct({}),
    error: Schema.Union([UnknownError, ServerAheadError, BackendIdMismatchError]),
  }),
)

/** What the client of every generation puts into one push request. */
const pushEventsMax = 100

/** Whether there is a connection, and the wait for the next one. */
class Connection {
  #isUp = false
  #waiting: Array<() => void> = []

  up(): void {
    this.#isUp = true
    for (const resume of this.#waiting.splice(0)) resume()
  }

  down(): void {
    this.#isUp = false
  }

  async whenUp(): Promise<void> {
    if (!this.#isUp) await new Promise<void>((resume) => this.#waiting.push(resume))
  }
}

/** Starts one client; it connects by itself and goes on reconnecting until it is closed. */
export const makeClient = async (options: ClientOptions): Promise<SyncClient> => {
  const { storeId, payload } = options
  const scope = await Effect.runPromise(Scope.make())
  const connection = new Connection()
  const protocol = RpcClient.layerProtocolSocket({ retryTransientErrors: true, pingInterval: '10 seconds' }).pipe(
    Layer.provide(Socket.layerWebSocket(options.url + targetOf(options))),
    Layer.provide(Socket.layerWebSocketConstructorGlobal),
    Layer.provide(RpcSerialization.layerJson),
    Layer.provide(
      Layer.succeed(RpcClient.ConnectionHooks)({
        onConnect: Effect.sync(() => connection.up()),
        onDisconnect: Effect.sync(() => connection.down()),
      }),
    ),
  )
  const rpc = await Layer.build(protocol).pipe(
    Effect.flatMap((services) => RpcClient.make(SyncWsRpc).pipe(Effect.provide(services))),
    Scope.provide(scope),
    Effect.runPromise,
  )
  let backendId = Option.fromUndefinedOr(options.backendId)

  const toPage = (response: typeof PullResponse.Type): Page => {
    backendId = Option.some(response.backendId)
    return {
      events: response.batch.map((item) => item.eventEncoded),
      createdAt: response.batch.map((item) => Option.getOrThrow(item.metadata).createdAt),
      remaining:
        response.pageInfo._tag === 'MoreKnown'
          ? response.pageInfo.remaining
          : response.pageInfo._tag === 'NoMore'
            ? 0
            : Infinity,
    }
  }

  return {
    generation: 'v05',
    connect: () => connection.whenUp(),
    push: async (batch) => {
      for (let start = 0; start < batch.length; start += pushEventsMax) {
        const part = batch.slice(start, start + pushEventsMax) as ReadonlyArray<typeof Event.Type>
        const outcome = await rpc['SyncWsRpc.Push']({ storeId, payload, batch: part, backendId }).pipe(
          Effect.match({ onSuccess: (): PushOutcome => 'ok', onFailure: (cause): PushOutcome => refusalOf(cause) }),
          Effect.runPromise,
        )
        if (outcome !== 'ok') return outcome
      }
      return 'ok'
    },
    pull: (cursor, mode) => {
      const after = { backendId: Option.getOrElse(backendId, () => ''), eventSequenceNumber: cursor }
      const request = {
        storeId,
        payload,
        live: mode === 'live',
        cursor: cursor === 0 ? Option.none() : Option.some(after),
      }
      // While it is disconnected this RPC client fails every call at once, so a pull waits for the connection.
      const pages = Effect.promise(() => connection.whenUp()).pipe(Effect.map(() => rpc['SyncWsRpc.Pull'](request)))
      return pagesOf(Stream.toAsyncIterable(Stream.unwrap(pages)), toPage)
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
