// A subclass that keeps the state and the environment under the names that the platform's own class has.
import { type CfTypes, makeDurableObject } from '@livestore/sync-cf/cf-worker'

interface Env {
  SECRET: string
}

export class SyncBackendDO extends makeDurableObject() {
  readonly ctx: CfTypes.DurableObjectState
  readonly env: Env

  constructor(ctx: CfTypes.DurableObjectState, env: Env) {
    super(ctx, env)
    this.ctx = ctx
    this.env = env
  }

  sockets(): number {
    return this.env.SECRET === '' ? 0 : this.ctx.getWebSockets().length
  }
}
