// Who may sync, with the environment at hand, and payloads decoded by schemas of several libraries.
import { type CfTypes, handleSyncRequest, makeWorker, matchSyncRequest } from 'livestore-sync-worker/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace
  SESSIONS: CfTypes.KVNamespace
}

export default makeWorker<Env>({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: async (_payload, { storeId, env, ctx, request, transport, headers }) => {
    const session = await env.SESSIONS.get(headers.get('cookie') ?? '')
    if (session !== storeId) throw new Error(`no ${transport} for ${new URL(request.url).pathname}`)
    ctx.waitUntil(env.SESSIONS.put(storeId, 'seen'))
  },
})

/** As libraries of the Standard Schema interface have it. */
interface StandardSchema<Output> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => { readonly value: Output } | { readonly issues: readonly unknown[] }
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}
declare const standard: StandardSchema<{ token: string }>

export const byStandard = makeWorker({
  syncPayloadSchema: standard,
  validatePayload: ({ token }) => {
    if (token.length === 0) throw new Error('no token')
  },
})

export const byParser = makeWorker({
  syncPayloadSchema: { parse: (value: unknown): { user: string } => value as { user: string } },
  validatePayload: ({ user }, { storeId }) => {
    if (user.toLowerCase() !== storeId) throw new Error('no')
  },
})

export const fetch = (request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext) => {
  const searchParams = matchSyncRequest(request)
  if (searchParams === undefined) return undefined
  return handleSyncRequest({
    request,
    searchParams: { ...searchParams, storeId: `tenant-${searchParams.storeId}` },
    env,
    ctx,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    syncPayloadSchema: { decode: (value: unknown) => ({ known: value !== undefined }) },
    validatePayload: ({ known }) => {
      if (!known) throw new Error('no')
    },
  })
}
