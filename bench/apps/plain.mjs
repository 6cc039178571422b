// An app's Worker without hooks, for either package: which one is said when it is bundled.
// @ts-nocheck: its imports resolve only while it is bundled
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class SyncBackendDO extends makeDurableObject({}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload) => {
    if (payload?.authToken !== 'token-of-the-tests') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
