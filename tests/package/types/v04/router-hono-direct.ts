// Routes of Hono, without a cast of the request.
/// <reference types="@cloudflare/workers-types" />
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Hono } from 'hono'

type Bindings = { SYNC_BACKEND_DO: DurableObjectNamespace; ASSETS: Fetcher }

export const app = new Hono<{ Bindings: Bindings }>().all('/sync', async (c) => {
  const searchParams = SyncBackend.matchSyncRequest(c.req.raw)
  if (searchParams === undefined) return c.env.ASSETS.fetch(c.req.raw)
  return SyncBackend.handleSyncRequest({
    request: c.req.raw,
    searchParams,
    ctx: c.executionCtx as SyncBackend.CfTypes.ExecutionContext,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    headers: {},
  })
})
