// The reference backend with its log in D1: what an existing deployment of that kind holds is written by this.
// @ts-nocheck: its imports resolve only while it is bundled
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

/** The reference's Durable Object with the storage that 0.4.0 calls `d1`. */
export class SyncBackendDO extends makeDurableObject({ storage: { _tag: 'd1', binding: 'DB' } }) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload) => {
    if (payload?.authToken !== 'token-of-the-tests') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
