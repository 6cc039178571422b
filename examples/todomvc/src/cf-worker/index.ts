import { makeDurableObject, makeWorker } from 'livestore-sync-worker/cf-worker'

const counts = { pushes: 0, pulls: 0 }

/** One object per list. The hooks count, and never log what a list holds. */
export class SyncBackendDO extends makeDurableObject({
  onPush: (message, { storeId }) => {
    counts.pushes += 1
    console.log('push', counts.pushes, 'events:', message.batch.length, 'store:', storeId)
  },
  onPull: (_message, { storeId }) => {
    counts.pulls += 1
    console.log('pull', counts.pulls, 'store:', storeId)
  },
}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  // Ask your own users for your own tokens: whoever knows this one, which is in the page's source, may sync.
  validatePayload: (payload) => {
    if (!isObject(payload) || payload['authToken'] !== 'insecure-token-change-me') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null
