/** Generation v05: an Effect 4 RPC client in a Durable Object, speaking the messages of upstream after 0.4.0. */
import { Effect, Layer, Queue, Schema, Scope, Stream } from 'effect'
import { RpcClient } from 'effect/rpc'
import type { ClientOptions, SyncClient } from '../client.ts'
import { type Answer, layerProtocol, unpack } from './do-rpc-protocol.ts'
import { PullResponse, SyncDoRpc } from './messages.ts'
import { type Cursor, syncClient } from './sync-client.ts'

/** What a sync object calls back with, once it is unpacked. */
const Callback = Schema.Struct({
  _tag: Schema.Literal('Chunk'),
  requestId: Schema.String,
  values: Schema.NonEmptyArray(Schema.Unknown),
})

const decodeCallback = Schema.decodeUnknownSync(Callback)
const decodeResponse = Schema.decodeUnknownSync(Schema.toCodecJson(PullResponse))

type Response = typeof PullResponse.Type

export interface DoRpcOptions extends ClientOptions {
  /** Calls the sync object. */
  readonly call: (request: Uint8Array) => Promise<Answer>
  /** Where the sync object calls back. */
  readonly callerContext: { readonly bindingName: string; readonly durableObjectId: string }
}

export class DoRpcClient {
  readonly client: SyncClient
  readonly #storeId: string
  /** By request id: where each live pull waits for more. */
  readonly #waiting: Map<string, Queue.Queue<Response>>

  private constructor(client: SyncClient, storeId: string, waiting: Map<string, Queue.Queue<Response>>) {
    this.client = client
    this.#storeId = storeId
    this.#waiting = waiting
  }

  static async start(options: DoRpcOptions): Promise<DoRpcClient> {
    const { storeId, payload, callerContext } = options
    const scope = await Effect.runPromise(Scope.make())
    const rpc = await Layer.build(layerProtocol(options.call)).pipe(
      Effect.flatMap((services) => RpcClient.make(SyncDoRpc).pipe(Effect.provide(services))),
      Scope.provide(scope),
      Effect.runPromise,
    )
    const waiting = new Map<string, Queue.Queue<Response>>()
    const pull = (cursor: Cursor, rpcContext: { readonly callerContext: typeof callerContext } | undefined) =>
      rpc['SyncDoRpc.Pull']({ cursor, rpcContext, storeId })
    const client = syncClient(
      {
        transport: 'do-rpc',
        connect: () => Effect.runPromise(rpc['SyncDoRpc.Ping']({ storeId, payload })),
        // Upstream's client names its payload in nothing but pings.
        push: (batch, backendId) => rpc['SyncDoRpc.Push']({ batch, backendId, storeId }),
        pullOnce: (cursor) => pull(cursor, undefined),
        pullLive: (cursor) => thenWait(pull(cursor(), { callerContext }), waiting),
      },
      options,
      scope,
    )
    return new DoRpcClient(client, storeId, waiting)
  }

  /** Takes what the sync object calls back with; throws if this is not a callback of this dialect. */
  take(bytes: unknown, storeId: unknown): void {
    if (!(bytes instanceof Uint8Array)) throw new Error('the first argument of a callback is not bytes')
    if (storeId !== this.#storeId) throw new Error(`the second argument of a callback is ${JSON.stringify(storeId)}`)
    const { requestId, values } = decodeCallback(unpack(bytes))
    const response = decodeResponse(values[0])
    // A callback for a pull that is over, or that still pages, is for nobody: upstream's client drops it.
    const queue = this.#waiting.get(requestId)
    if (queue !== undefined) Queue.offerUnsafe(queue, response)
  }
}

/** What `pages` delivers, and from its end on what comes in callbacks. */
const thenWait = <E>(
  pages: Stream.Stream<Response & { readonly rpcRequestId: string }, E>,
  waiting: Map<string, Queue.Queue<Response>>,
): Stream.Stream<Response, E> => {
  let requestId: string | undefined
  const noted = Stream.tap(pages, (response) =>
    Effect.sync(() => {
      requestId = response.rpcRequestId
    }),
  )
  const wait = Effect.gen(function* () {
    if (requestId === undefined) return yield* Effect.die('a pull has one page at least')
    const id = requestId
    const queue = yield* Queue.unbounded<Response>()
    waiting.set(id, queue)
    yield* Effect.addFinalizer(() => Effect.sync(() => waiting.delete(id)).pipe(Effect.andThen(Queue.shutdown(queue))))
    return Stream.fromQueue(queue)
  })
  return Stream.concat(noted, Stream.unwrap(wait))
}
