// The Worker of the package, with a token that everybody has.
import { makeWorker } from '@livestore/sync-cf/cf-worker'

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload, { storeId }) => {
    const hasToken = typeof payload === 'object' && payload !== null && 'authToken' in payload
    if (!hasToken) throw new Error('no token')
    if ((payload as any).authToken !== 'insecure-token-change-me') throw new Error(`not for ${storeId}`)
  },
  enableCORS: true,
})
