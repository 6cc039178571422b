/** The projects of users: the files of each, as templates and documents have them. */
import { templateToken } from '../harness/server.ts'

/** The oldest and the newest date that users have: LiveStore's templates were made by the one, new projects by the other. */
export const dates = { template: '2025-05-08', newest: '2026-04-07' } as const

export interface Configuration {
  readonly main: string
  readonly date: string
  /** The Durable Object binding and class. */
  readonly binding?: { readonly name: string; readonly className: string }
  /** Lines for what else is needed. */
  readonly more?: string
}

/** wrangler.toml */
export const configuration = ({ main, date, binding = ofTemplate, more = '' }: Configuration): string => `
name = "my-app"
main = "${main}"
compatibility_date = "${date}"
compatibility_flags = ["enable_request_signal", "nodejs_compat"]
send_metrics = false

[[durable_objects.bindings]]
name = "${binding.name}"
class_name = "${binding.className}"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["${binding.className}"]
${more}`

const ofTemplate = { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' }
export const of03 = { name: 'WEBSOCKET_SERVER', className: 'WebSocketServer' }

/** What the 0.3 template has beside it: a database, and a variable that nothing here reads. */
export const database = `
[[d1_databases]]
binding = "DB"
database_name = "my-app"
database_id = "00000000-0000-0000-0000-000000000000"

[vars]
ADMIN_SECRET = "change-me-before-deploying"
`

/** What opens the administration of the projects that have it. */
export const adminSecret = 'secret-of-the-administration'

/** The Worker of the 0.4 template, whose hooks count: one app at one path, the page and the administration beside it. */
export const worker = `
import type { CfTypes } from 'livestore-sync-worker/cf-worker'
import * as SyncBackend from 'livestore-sync-worker/cf-worker'

export const seen = { pushes: 0, pulls: 0 }

export class SyncBackendDO extends SyncBackend.makeDurableObject({
  onPush: async (message, context) => {
    seen.pushes += message.batch.length
    if (context.payload === undefined) throw new Error('no payload')
  },
  onPull: async () => {
    seen.pulls += 1
  },
}) {}

const administration = SyncBackend.makeWorker({ adminSecret: '${adminSecret}' })

export default {
  async fetch(request: CfTypes.Request, env: SyncBackend.Env, ctx: CfTypes.ExecutionContext) {
    if (/^\\/admin(\\/|$)/.test(new URL(request.url).pathname)) return administration.fetch(request, env, ctx)
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams === undefined) return new Response(JSON.stringify(seen))
    return SyncBackend.handleSyncRequest({
      request,
      searchParams,
      env,
      ctx,
      syncBackendBinding: 'SYNC_BACKEND_DO',
      validatePayload: (payload: any) => {
        if (payload?.authToken !== '${templateToken}') throw new Error('Invalid auth token')
      },
    })
  },
}
`

/** The Worker of the 0.3 template. */
export const worker03 = `
import { makeDurableObject, makeWorker } from 'livestore-sync-worker/cf-worker'

export class WebSocketServer extends makeDurableObject({
  onPush: async (message) => {
    if (message.batch.length === 0) throw new Error('an empty push')
  },
  onPull: async (_message) => {},
}) {}

export default makeWorker({
  validatePayload: (payload: any) => {
    if (payload?.authToken !== '${templateToken}') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
`

/** Routes of Hono, as apps of sync-cf have them. */
export const workerHono = `
import * as SyncBackend from 'livestore-sync-worker/cf-worker'
import { Hono } from 'hono'

export class SyncBackendDO extends SyncBackend.makeDurableObject() {}

const app = new Hono()
app.get('/', (c) => c.text('the page'))
app.all('/sync', async (c) => {
  const searchParams = SyncBackend.matchSyncRequest(c.req.raw)
  if (searchParams === undefined) return c.json({ error: 'not a sync request' }, 400)
  return SyncBackend.handleSyncRequest({
    request: c.req.raw,
    searchParams,
    env: c.env,
    ctx: c.executionCtx,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    validatePayload: (payload) => {
      if (payload?.authToken !== '${templateToken}') throw new Error('Invalid auth token')
    },
  })
})
export default app
`

export const viteConfig = `
import { cloudflare } from '@cloudflare/vite-plugin'
import { defineConfig } from 'vite'

export default defineConfig({ plugins: [cloudflare({ inspectorPort: false })] })
`

export const page = '<!doctype html><title>My app</title>\n'
