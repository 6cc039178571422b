// Payloads that are taken as they come.
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

export const anyPayload = SyncBackend.makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload: any, context: { storeId: string }) => {
    if (payload?.authToken !== 'insecure-token-change-me') throw new Error(`not for ${context.storeId}`)
  },
})

export const unknownPayload = SyncBackend.makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (_payload: unknown) => {},
})

export const noPayload = SyncBackend.makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload: () => {} })

export const cookieOrPayload = SyncBackend.makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: async (
    payload: unknown,
    { storeId, headers }: { storeId: string; headers: ReadonlyMap<string, string> },
  ) => {
    const own =
      payload && typeof payload === 'object' && 'cookie' in payload
        ? (payload as { cookie?: string }).cookie
        : undefined
    if ((headers.get('cookie') ?? own) === undefined) throw new Error(`no cookie for ${storeId}`)
  },
})
