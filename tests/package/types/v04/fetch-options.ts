// The same with headers for the answer and a payload that is looked at.
import type { CfTypes, CFWorker, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import { handleSyncRequest, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
}

export default {
  fetch: async (request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext) => {
    const searchParams = matchSyncRequest(request)
    if (searchParams !== undefined) {
      return handleSyncRequest({
        request,
        searchParams,
        env,
        ctx,
        syncBackendBinding: 'SYNC_BACKEND_DO',
        headers: { 'X-Served-By': 'sync' },
        validatePayload: (payload, { storeId }) => {
          if (!(typeof payload === 'object' && payload !== null && 'authToken' in payload)) throw new Error('no token')
          console.log(storeId)
        },
      })
    }
    return new Response('not found', { status: 404 }) as unknown as CfTypes.Response
  },
} satisfies CFWorker<Env>
