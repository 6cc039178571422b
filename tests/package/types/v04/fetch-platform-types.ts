// A handler in the global types of the platform, cast where the package has its own.
/// <reference types="@cloudflare/workers-types" />
import { type CfTypes, handleSyncRequest, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

interface Env {
  USER_SYNC_DO: DurableObjectNamespace
  SECRET: string
}

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const searchParams = matchSyncRequest(request as unknown as CfTypes.Request)
    if (searchParams === undefined) return new Response('not found', { status: 404 })
    return (await handleSyncRequest({
      request: request as unknown as CfTypes.Request,
      searchParams,
      env: env as never,
      ctx: ctx as unknown as CfTypes.ExecutionContext,
      syncBackendBinding: 'USER_SYNC_DO',
      validatePayload: async (payload, { storeId }) => {
        const token =
          typeof payload === 'object' && payload !== null && 'authToken' in payload
            ? (payload as { authToken: unknown }).authToken
            : undefined
        if (token !== env.SECRET) throw new Error(`not for ${storeId}`)
      },
    })) as unknown as Response
  },
}
