// The reference backend, as its documentation sets it up: the peer of the benchmark and the control of the client suite.
// @ts-nocheck: its imports resolve only while it is bundled
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

/** The reference's Durable Object with do-sqlite storage. */
export class SyncBackendDO extends makeDurableObject({}) {}

/** The same under the name of 0.3's class, to which a deployment of that may come. */
export class WebSocketServer extends makeDurableObject({}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload) => {
    if (payload?.authToken !== 'token-of-the-tests') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
