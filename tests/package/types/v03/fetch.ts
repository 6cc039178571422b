// An own handler, by the path of 0.3.
/// <reference types="@cloudflare/workers-types" />
import { handleWebSocket, makeDurableObject } from '@livestore/sync-cf/cf-worker'

interface Env {
  SECRET: string
  ADMIN_SECRET: string
  WEBSOCKET_SERVER: DurableObjectNamespace
  DB: D1Database
}

export class WebSocketServer extends makeDurableObject({}) {}

const corsHeaders = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Methods': 'GET, POST, OPTIONS' }

export default {
  async fetch(request: Request, env: Env, ctx: ExecutionContext) {
    const url = new URL(request.url)
    if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: corsHeaders })
    if (url.pathname.endsWith('/websocket')) {
      return handleWebSocket(request, env, ctx, {
        headers: corsHeaders,
        validatePayload: async (payload) => {
          const { authToken } = payload as { authToken?: string }
          if (authToken !== env.SECRET) throw new Error(`not for ${url.searchParams.get('storeId')}`)
        },
      })
    }
    if (url.pathname.endsWith('/named/websocket'))
      return handleWebSocket(request, env, ctx, { durableObject: { name: 'WEBSOCKET_SERVER' } })
    return new Response('Invalid path', { status: 400, headers: corsHeaders })
  },
}
