// Neither has to have an option.
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

export class WebSocketServer extends SyncBackend.makeDurableObject() {}
export default SyncBackend.makeWorker()
export const other = SyncBackend.makeWorker({ durableObject: {} })
