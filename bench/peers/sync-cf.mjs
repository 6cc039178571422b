// The reference backend, as its documentation sets it up: the peer of the benchmark and the control of the client suite.
// @ts-nocheck: its imports resolve only while it is bundled
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

/** The reference's Durable Object with do-sqlite storage. */
export class SyncBackendDO extends makeDurableObject({}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload) => {
    if (payload?.authToken !== 'token-of-the-tests') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
