// An endpoint and a hook of SvelteKit: what they are called with, without SvelteKit itself.
import type { CfTypes, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import { handleSyncRequest, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

interface Platform {
  env: { SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface> }
  ctx: CfTypes.ExecutionContext
}
interface RequestEvent {
  request: Request
  platform: Readonly<Platform> | undefined
  locals: { user?: { id: string } }
}
type RequestHandler = (event: RequestEvent) => Promise<Response> | Response
type Handle = (input: { event: RequestEvent; resolve: (event: RequestEvent) => Promise<Response> }) => Promise<Response>

const sync = async ({ request: raw, platform, locals }: RequestEvent): Promise<Response | undefined> => {
  const request = raw as unknown as CfTypes.Request
  const searchParams = matchSyncRequest(request)
  if (searchParams === undefined || platform === undefined) return undefined
  const response = await handleSyncRequest({
    request,
    searchParams,
    env: platform.env,
    ctx: platform.ctx,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    validatePayload: (_payload, { storeId }) => {
      if (locals.user?.id !== storeId) throw new Error('no')
    },
  })
  return response as unknown as Response
}

export const GET: RequestHandler = async (event) => (await sync(event)) ?? new Response('not sync', { status: 400 })
export const POST: RequestHandler = GET
export const handle: Handle = async ({ event, resolve }) => (await sync(event)) ?? resolve(event)
