import * as Sync from '@livestore/sync-cf/cf-worker'
import { SyncPayload } from '../livestore/schema.ts'

export class SyncBackendDO extends Sync.makeDurableObject({
  onPush: async ({ batch }, { storeId, payload }) => {
    console.log(`${batch.length} events for ${storeId}`, typeof payload)
  },
  onPull: async ({ cursor }, { storeId }) => {
    console.log(`a pull of ${storeId}`, cursor)
  },
}) {}

/** Everything that is no file of the page, and no request to sync, is not there. */
export default {
  async fetch(request: Sync.CfTypes.Request, _env: Sync.Env, ctx: Sync.CfTypes.ExecutionContext) {
    const searchParams = Sync.matchSyncRequest(request)
    if (searchParams === undefined) return new Response('nothing here', { status: 404 })
    return Sync.handleSyncRequest({
      request,
      searchParams,
      ctx,
      syncBackendBinding: 'SYNC_BACKEND_DO',
      syncPayloadSchema: SyncPayload,
      validatePayload: (payload: typeof SyncPayload.Type | undefined) => {
        if (payload?.authToken !== 'insecure-token-change-me') throw new Error('Invalid auth token')
      },
    })
  },
}
