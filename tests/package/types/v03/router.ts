// A Worker of the package behind routes of another.
/// <reference types="@cloudflare/workers-types" />
import { makeWorker } from '@livestore/sync-cf/cf-worker'

interface Env {
  WEBSOCKET_SERVER: DurableObjectNamespace
  DB: D1Database
  ADMIN_SECRET: string
}

const worker = makeWorker({
  validatePayload: (payload: any) => {
    if (payload?.authToken !== 'insecure-token-change-me') throw new Error('Invalid auth token')
  },
})

export default {
  fetch: (request: Request, env: Env, ctx: ExecutionContext): Promise<Response> => {
    const url = new URL(request.url)
    if (url.pathname === '/health') return Promise.resolve(new Response('ok'))
    return worker.fetch(request, env, ctx)
  },
}
