// A subclass that has a word in what the platform asks of it, and leaves the rest to the class it extends.
import { type CfTypes, makeDurableObject } from '@livestore/sync-cf/cf-worker'

const Base = makeDurableObject({ onPull: () => {} })

export class SyncBackendDO extends Base {
  override async fetch(request: CfTypes.Request): Promise<CfTypes.Response> {
    if (new URL(request.url).pathname === '/presence') return super.fetch(request)
    return await super.fetch(request)
  }

  override async alarm(info?: CfTypes.AlarmInvocationInfo): Promise<void> {
    if (info?.isRetry === true) console.log('again')
    await super.alarm?.(info)
  }

  override async webSocketMessage(socket: CfTypes.WebSocket, message: string | ArrayBuffer): Promise<void> {
    await super.webSocketMessage?.(socket, message)
  }

  override async webSocketClose(
    socket: CfTypes.WebSocket,
    code: number,
    reason: string,
    wasClean: boolean,
  ): Promise<void> {
    await super.webSocketClose?.(socket, code, reason, wasClean)
  }

  override async rpc(payload: Uint8Array): Promise<Uint8Array | CfTypes.ReadableStream> {
    return super.rpc(payload)
  }
}
