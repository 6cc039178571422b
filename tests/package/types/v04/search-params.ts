// What a request says, taken apart.
import { type CfTypes, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

declare const request: CfTypes.Request

const searchParams = matchSyncRequest(request)
if (searchParams !== undefined) {
  const { storeId, payload, transport } = searchParams
  const isSocket: boolean = transport === 'ws'
  const isHttp: boolean = transport === 'http'
  console.log(storeId.toUpperCase(), JSON.stringify(payload), isSocket, isHttp)
}
