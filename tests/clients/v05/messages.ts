/**
 * Generation v05: the messages of upstream after 0.4.0.
 *
 * That release of the sync client is not published, so its messages are declared here; the RPC layer under them, which
 * makes the dialect what it is, is `effect` 4 as published.
 */
import { Schema } from 'effect'
import { Rpc, RpcGroup } from 'effect/rpc'

/** An event as it is sent and stored. */
export const Event = Schema.Struct({
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

/** One page. */
export const PullResponse = Schema.Struct({
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

const Cursor = Schema.Struct({ backendId: Schema.String, eventSequenceNumber: Schema.Int })

/** What every request says of the one who asks. */
const requester = { storeId: Schema.String, payload: Schema.optional(Schema.Json) }

const pull = {
  success: PullResponse,
  error: Schema.Union([UnknownError, BackendIdMismatchError]),
  stream: true,
} as const

const push = {
  payload: { ...requester, batch: Schema.Array(Event), backendId: Schema.Option(Schema.String) },
  success: Schema.Struct({}),
  error: Schema.Union([UnknownError, ServerAheadError, BackendIdMismatchError]),
}

/** What is asked over a WebSocket. */
export const SyncWsRpc = RpcGroup.make(
  Rpc.make('SyncWsRpc.Pull', {
    payload: { ...requester, live: Schema.Boolean, cursor: Schema.Option(Cursor) },
    ...pull,
  }),
  Rpc.make('SyncWsRpc.Push', push),
)

/** What is asked over http. */
export const SyncHttpRpc = RpcGroup.make(
  Rpc.make('SyncHttpRpc.Pull', { payload: { ...requester, cursor: Schema.Option(Cursor) }, ...pull }),
  Rpc.make('SyncHttpRpc.Push', push),
  Rpc.make('SyncHttpRpc.Ping', {
    payload: requester,
    success: Schema.TaggedStruct('SyncMessage.Pong', {}),
    error: UnknownError,
  }),
)

/** Where the server is to call back when there is more. */
const CallerContext = Schema.Struct({ bindingName: Schema.String, durableObjectId: Schema.String })

/** What one Durable Object asks of another. */
export const SyncDoRpc = RpcGroup.make(
  Rpc.make('SyncDoRpc.Pull', {
    payload: {
      cursor: Schema.Option(Cursor),
      rpcContext: Schema.optional(Schema.Struct({ callerContext: CallerContext })),
      ...requester,
    },
    ...pull,
    success: Schema.Struct({ rpcRequestId: Schema.String, ...PullResponse.fields }),
  }),
  Rpc.make('SyncDoRpc.Push', push),
  Rpc.make('SyncDoRpc.Ping', { payload: requester, success: Schema.Void }),
)
