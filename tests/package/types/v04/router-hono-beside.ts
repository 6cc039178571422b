// Sync first, everything else to Hono.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Hono } from 'hono'

type Env = SyncBackend.Env & { SECRET: string }

const app = new Hono<{ Bindings: Env }>()

export default {
  async fetch(request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext) {
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams !== undefined)
      return SyncBackend.handleSyncRequest({ request, searchParams, ctx, syncBackendBinding: 'SYNC_BACKEND_DO' })
    return app.fetch(request as unknown as Request, env)
  },
}
