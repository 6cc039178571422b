// The same without a cast.
/// <reference types="@cloudflare/workers-types" />
import { handleSyncRequest, matchSyncRequest, type SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: DurableObjectNamespace<SyncBackendRpcInterface & Rpc.DurableObjectBranded>
}

export default {
  async fetch(request, env, ctx) {
    const searchParams = matchSyncRequest(request)
    if (searchParams === undefined) return new Response('not found', { status: 404 })
    return handleSyncRequest({ request, searchParams, ctx, syncBackendBinding: 'SYNC_BACKEND_DO', headers: {} })
  },
} satisfies ExportedHandler<Env>
