// A subclass with a constructor and a method of its own.
/// <reference types="@cloudflare/workers-types" />
import { type Env as SyncEnv, makeDurableObject } from '@livestore/sync-cf/cf-worker'

interface Env extends SyncEnv {
  EXTRA: string
}

export class WebSocketServer extends makeDurableObject({ onPush: async () => {} }) {
  readonly extra: string
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.extra = env.EXTRA
  }
  async count(): Promise<number> {
    return this.ctx.getWebSockets().length
  }
  override async fetch(request: Request): Promise<Response> {
    return await super.fetch!(request)
  }
}
