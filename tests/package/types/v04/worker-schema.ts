// A payload that a schema of Effect types, without naming its type.
import { makeWorker } from '@livestore/sync-cf/cf-worker'
import { Schema } from '@livestore/utils/effect'

const SyncPayload = Schema.Struct({ authToken: Schema.String, user: Schema.Struct({ id: Schema.String }) })

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  syncPayloadSchema: SyncPayload,
  validatePayload: (payload, { storeId }) => {
    const token: string = payload.authToken
    if (token === '' || payload.user.id !== storeId) throw new Error('no')
  },
})
