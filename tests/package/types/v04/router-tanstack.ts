// The server entry and a server route of TanStack Start: what they are called with, without TanStack itself.
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import type { CfTypes } from '@livestore/sync-cf/common'

declare const start: (request: Request) => Promise<Response>

export class SyncBackendDO extends SyncBackend.makeDurableObject({
  onPush: async (message, context) => console.log(message.batch.length, context.storeId),
}) {}

type WorkerEnv = SyncBackend.Env & { ASSETS: { fetch: (request: Request) => Promise<Response> } }

const corsHeaders = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' }

const validatePayload = (payload: any, context: { storeId: string }) => {
  if (payload?.authToken !== 'insecure-token-change-me') throw new Error(`not for ${context.storeId}`)
}

export default {
  async fetch(request: CfTypes.Request, env: WorkerEnv, ctx: CfTypes.ExecutionContext) {
    if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: corsHeaders })
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams !== undefined) {
      return SyncBackend.handleSyncRequest({
        request,
        searchParams,
        env,
        ctx,
        syncBackendBinding: 'SYNC_BACKEND_DO',
        headers: corsHeaders,
        validatePayload,
      })
    }
    const asset = await env.ASSETS.fetch(request as any)
    return asset.status === 404 ? start(request as any) : asset
  },
}

export const handlers = {
  POST: async ({ request }: { request: Request }) => {
    const raw = request as unknown as CfTypes.Request
    const searchParams = SyncBackend.matchSyncRequest(raw)
    if (searchParams === undefined) return new Response('not found', { status: 404 })
    const ctx: CfTypes.ExecutionContext = {} as CfTypes.ExecutionContext
    return SyncBackend.handleSyncRequest({
      request: raw,
      searchParams,
      ctx,
      syncBackendBinding: 'SYNC_BACKEND_DO',
      validatePayload,
    })
  },
}
