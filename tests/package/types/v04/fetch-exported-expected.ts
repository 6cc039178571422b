// The same, with the cast that one directive of published examples says cannot be made.
import type { CfTypes, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
}

export default {
  fetch: async (request, env, ctx) => {
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams !== undefined)
      return SyncBackend.handleSyncRequest({ request, searchParams, env, ctx, syncBackendBinding: 'SYNC_BACKEND_DO' })
    // @ts-expect-error the platform's types have two classes of this name
    return new Response('not found', { status: 404 }) as CfTypes.Response
  },
} satisfies CfTypes.ExportedHandler<Env>
