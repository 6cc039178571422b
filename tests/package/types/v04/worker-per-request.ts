// A Worker that is made anew for each request, around its environment.
import { type CfTypes, makeWorker } from '@livestore/sync-cf/cf-worker'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace
  SECRET?: string
}

const workerFor = (env: Env) =>
  makeWorker({
    syncBackendBinding: 'SYNC_BACKEND_DO',
    validatePayload: async (payload: any) => {
      if (payload?.authToken !== env.SECRET) throw new Error('no')
    },
    enableCORS: true,
  })

export default {
  fetch: async (request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext): Promise<Response> => {
    if (request.method === 'OPTIONS')
      return new Response(null, { status: 204, headers: { 'Access-Control-Allow-Origin': '*' } })
    if (request.headers.get('upgrade') === 'websocket')
      return (await workerFor(env).fetch(request, env, ctx)) as unknown as Response
    return new Response('not found', { status: 404 })
  },
}
