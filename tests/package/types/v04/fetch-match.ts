// Sync found among the requests of an own handler.
import type { CfTypes, CFWorker, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import { handleSyncRequest, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
}

export default {
  fetch: async (request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext) => {
    const searchParams = matchSyncRequest(request)
    if (searchParams !== undefined)
      return handleSyncRequest({ request, searchParams, env, ctx, syncBackendBinding: 'SYNC_BACKEND_DO' })
    return new Response('not found', { status: 404 }) as unknown as CfTypes.Response
  },
} satisfies CFWorker<Env>
