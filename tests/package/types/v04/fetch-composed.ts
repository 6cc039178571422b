// Handlers that are composed: the first that has an answer gives it.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Schema } from 'effect'

interface Env extends SyncBackend.Env {
  FILES: CfTypes.R2Bucket
  TOKEN: string
}

type Handler<TRequest, TEnv, TContext> = (
  request: TRequest,
  env: TEnv,
  ctx: TContext,
) => Promise<CfTypes.Response | Response | undefined>
type SearchParams = Exclude<ReturnType<typeof SyncBackend.matchSyncRequest>, undefined>

declare const compose: <R, E, C>(...handlers: readonly Handler<R, E, C>[]) => Handler<R, E, C>
declare const matched: <R, E, C, M>(options: {
  match: (request: R) => M | undefined
  handle: (request: R, match: M, env: E, ctx: C) => Promise<CfTypes.Response | Response>
}) => Handler<R, E, C>

const SyncPayload = Schema.Struct({ authToken: Schema.String })

const files: Handler<CfTypes.Request, Env, CfTypes.ExecutionContext> = async (request, env) => {
  const object = await env.FILES.get(new URL(request.url).pathname)
  return object === null ? undefined : new Response(await object.text())
}

const sync = matched<CfTypes.Request, Env, CfTypes.ExecutionContext, SearchParams>({
  match: (request) => SyncBackend.matchSyncRequest(request),
  handle: (request, searchParams, env, ctx) =>
    SyncBackend.handleSyncRequest({
      request,
      searchParams,
      ctx,
      syncBackendBinding: 'SYNC_BACKEND_DO',
      syncPayloadSchema: SyncPayload,
      validatePayload: (payload, context) => {
        if (payload?.authToken !== env.TOKEN) throw new Error(`not for ${context.storeId}`)
      },
    }),
})

export default { fetch: compose<CfTypes.Request, Env, CfTypes.ExecutionContext>(files, sync) }
