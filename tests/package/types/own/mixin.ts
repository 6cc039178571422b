// Syncing added to a class that has sockets, a route and an alarm of its own.
/// <reference types="@cloudflare/workers-types" />
import { withSync } from 'livestore-sync-worker/cf-worker'
import { DurableObject } from 'cloudflare:workers'

interface Env {
  SECRET: string
}

class PresenceRoom extends DurableObject<Env> {
  protected readonly joined = new Set<string>()

  override async fetch(_request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server, ['presence'])
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    for (const other of this.ctx.getWebSockets('presence')) if (other !== socket) other.send(message)
  }

  members(): readonly string[] {
    return [...this.joined]
  }
}

export class Room extends withSync(PresenceRoom, {
  onPush: (message, { storeId }) => {
    if (message.batch.length > 100) throw new Error(`too many for ${storeId}`)
  },
}) {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    if (env.SECRET === '') throw new Error('no secret')
  }

  count(): number {
    return this.members().length + this.ctx.getWebSockets('presence').length
  }

  override async alarm(): Promise<void> {
    await super.alarm()
    this.joined.clear()
  }
}
