// The Worker of the template: no environment given on, a payload that is typed where it is checked.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Schema } from '@livestore/utils/effect'

const SyncPayload = Schema.Struct({ authToken: Schema.String })

export class SyncBackendDO extends SyncBackend.makeDurableObject({
  onPush: async (message, context) => {
    console.log(message.batch.length, context.storeId, context.payload)
  },
  onPull: async (message, context) => {
    console.log(message, context.storeId)
  },
}) {}

const validatePayload = (payload: typeof SyncPayload.Type | undefined, context: { storeId: string }) => {
  if (payload?.authToken !== 'insecure-token-change-me') throw new Error(`not for ${context.storeId}`)
}

export default {
  async fetch(request: CfTypes.Request, _env: SyncBackend.Env, ctx: CfTypes.ExecutionContext) {
    const searchParams = SyncBackend.matchSyncRequest(request)
    if (searchParams !== undefined) {
      return SyncBackend.handleSyncRequest({
        request,
        searchParams,
        ctx,
        syncBackendBinding: 'SYNC_BACKEND_DO',
        syncPayloadSchema: SyncPayload,
        validatePayload,
      })
    }
    return new Response('Not Found', { status: 404 })
  },
}
