// What must not type-check.
import {
  type CfTypes,
  handleSyncRequest,
  makeDurableObject,
  type MakeDurableObjectClassOptions,
  makeWorker,
  matchSyncRequest,
  type SyncBackendRpcInterface,
} from '@livestore/sync-cf/cf-worker'
import { Schema } from 'effect'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  SECRET: string
}

export const misspelt: MakeDurableObjectClassOptions = {
  // @ts-expect-error an option that there is not
  onPusch: () => {},
}
makeDurableObject({
  // @ts-expect-error an option that there is not
  forwardHeader: ['cookie'],
})
makeDurableObject({
  onPush: (message) => {
    // @ts-expect-error a member that a push has not
    console.log(message.events)
    // @ts-expect-error a member that an event has not
    console.log(message.batch[0]?.sequence)
    // @ts-expect-error a number
    const text: string = message.batch[0]?.seqNum ?? ''
    console.log(text)
  },
  onPull: (message, context) => {
    // @ts-expect-error a member that a pull has not
    console.log(message.batch)
    // @ts-expect-error there may be no headers
    console.log(context.headers.get('cookie'))
    // @ts-expect-error a member that a context has not
    console.log(context.store)
    // @ts-expect-error a payload may be anything
    console.log(context.payload.authToken)
  },
  onPullRes: (message) => {
    // @ts-expect-error it may be an error
    console.log(message.batch)
  },
})
makeDurableObject({
  // @ts-expect-error a storage that there is not
  storage: { _tag: 'kv' },
})
makeDurableObject({
  // @ts-expect-error a database needs a binding
  storage: { _tag: 'd1' },
})
makeDurableObject({
  // @ts-expect-error a transport that there is not
  enabledTransports: new Set(['tcp']),
})
makeDurableObject({
  // @ts-expect-error the headers of a request are no record of strings
  forwardHeaders: (request) => request.headers,
})
makeDurableObject({
  // @ts-expect-error a number is no result of a hook
  onPush: () => 1,
})

makeWorker<Env>({
  // @ts-expect-error a binding that the environment has not
  syncBackendBinding: 'SYNC_BACKEND',
})
makeWorker<Env>({
  // @ts-expect-error a variable is no binding of objects
  syncBackendBinding: 'SECRET',
})
makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  // @ts-expect-error a boolean
  enableCORS: 'yes',
})
makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload, context) => {
    // @ts-expect-error a payload may be anything
    console.log(payload.authToken)
    // @ts-expect-error a member that a context has not
    console.log(context.header)
  },
})
makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  syncPayloadSchema: Schema.Struct({ authToken: Schema.String }),
  validatePayload: (payload) => {
    // @ts-expect-error a member that the schema has not
    console.log(payload.token)
  },
})

export const fetch = (request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext) => {
  const searchParams = matchSyncRequest(request)
  // @ts-expect-error it may be no sync request
  const { storeId } = searchParams
  console.log(storeId)
  // @ts-expect-error it may be no sync request
  void handleSyncRequest({ request, searchParams, env, ctx, syncBackendBinding: 'SYNC_BACKEND_DO' })
  if (searchParams === undefined) throw new Error()
  // @ts-expect-error there are two
  console.log(searchParams.transport === 'tcp')
  // @ts-expect-error a binding that the environment has not
  void handleSyncRequest<Env>({ request, searchParams, env, ctx, syncBackendBinding: 'SYNC' })
  // @ts-expect-error which objects?
  return handleSyncRequest({ request, searchParams, env, ctx })
}

export class Wrong extends makeDurableObject() {
  constructor(ctx: CfTypes.DurableObjectState, env: Env) {
    // @ts-expect-error an object has a state
    super(env)
    // @ts-expect-error a state is no string
    const state: string = ctx
    console.log(state)
  }
  // @ts-expect-error an object answers with a response
  override fetch(): number {
    return 1
  }
}
