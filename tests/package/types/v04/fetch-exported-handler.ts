// A handler whose arguments are typed by what it has to be, beside another object's route.
import type { CfTypes, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  CLIENT_DO: CfTypes.DurableObjectNamespace
}

export default {
  fetch: async (request, env, ctx) => {
    const url = new URL(request.url)
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams !== undefined)
      return SyncBackend.handleSyncRequest({
        request,
        searchParams,
        env,
        ctx,
        syncBackendBinding: 'SYNC_BACKEND_DO',
        headers: {},
      })
    if (url.pathname.endsWith('/client-do'))
      return env.CLIENT_DO.get(env.CLIENT_DO.idFromName(url.searchParams.get('storeId') ?? '')).fetch(request)
    return new Response('not found', { status: 404 }) as unknown as CfTypes.Response
  },
} satisfies CfTypes.ExportedHandler<Env>
