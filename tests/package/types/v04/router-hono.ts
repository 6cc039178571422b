// Routes of Hono.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Hono } from 'hono'
import { cors } from 'hono/cors'

type Bindings = { SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackend.SyncBackendRpcInterface>; SECRET: string }

const app = new Hono<{ Bindings: Bindings }>()

app.use('*', cors({ origin: (origin) => origin, credentials: true }))
app.get('/', (c) => c.json({ status: 'ok' }))

app.all('/sync', async (c) => {
  const request = c.req.raw as unknown as CfTypes.Request
  const searchParams = SyncBackend.matchSyncRequest(request)
  if (searchParams === undefined) return c.json({ error: 'not sync' }, 400)
  const response = await SyncBackend.handleSyncRequest({
    request,
    searchParams,
    env: c.env,
    ctx: c.executionCtx as unknown as SyncBackend.CfTypes.ExecutionContext,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    async validatePayload(payload, { storeId }) {
      if (payload !== c.env.SECRET) throw new Error(`not for ${storeId}`)
    },
  })
  return response as unknown as Response
})

export default app
