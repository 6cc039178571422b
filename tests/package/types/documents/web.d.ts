// What is used of LiveStore's web adapter, which is not installed here.
declare module '@livestore/adapter-web/worker' {
  import type { SyncBackend } from '@livestore/common'
  export const makeWorker: (options: {
    readonly schema: unknown
    readonly sync: { readonly backend: SyncBackend.SyncBackendConstructor<any, any> }
  }) => void
}
