// The classes of the runtime by the package's own declarations, where global types are a page's.
import { CfDeclare, type CfTypes } from '@livestore/sync-cf/cf-worker'

const { WebSocketPair } = CfDeclare

export const accept = (state: CfTypes.DurableObjectState): CfTypes.Response => {
  const { 0: client, 1: server } = new WebSocketPair()
  state.acceptWebSocket(server, ['presence'])
  return new CfDeclare.Response(null, { status: 101, webSocket: client })
}
