import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class WebSocketServer extends makeDurableObject({
  onPush: async ({ batch }) => {
    console.log(`${batch.length} events`)
  },
  onPull: async ({ cursor }) => {
    console.log('a pull from', cursor)
  },
}) {}

export default makeWorker({
  validatePayload: (payload: any) => {
    if (payload?.authToken !== 'insecure-token-change-me') throw new Error('Invalid auth token')
  },
  enableCORS: true,
})
