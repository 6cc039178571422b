// Two classes with different options in one Worker, and who stands behind each.
import { type CfTypes, handleSyncRequest, makeDurableObject, matchSyncRequest } from '@livestore/sync-cf/cf-worker'
import type { SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'

interface Env {
  USERS: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  TEAMS: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  SECRET: string
}

export class UserStore extends makeDurableObject({ enabledTransports: new Set(['ws']) }) {}
export class TeamStore extends makeDurableObject({ onPush: async () => {} }) {}

export default {
  async fetch(request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext): Promise<CfTypes.Response> {
    const searchParams = matchSyncRequest(request)
    if (searchParams === undefined) return new Response('not found', { status: 404 }) as unknown as CfTypes.Response
    const syncBackendBinding = searchParams.storeId.startsWith('team-') ? 'TEAMS' : 'USERS'
    return handleSyncRequest({
      request,
      searchParams,
      env,
      ctx,
      syncBackendBinding,
      validatePayload: (payload) => {
        if (payload !== env.SECRET) throw new Error('no')
      },
    })
  },
}
