// The reference backend of 0.3.1, whose log is always in D1, under the names that its documentation gives.
// @ts-nocheck: its imports resolve only while it is bundled
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

/** The reference's Durable Object. */
export class WebSocketServer extends makeDurableObject({}) {}

export default makeWorker({
  validatePayload: (payload) => {
    if (payload?.authToken !== 'token-of-the-tests') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
