// Who may sync is an Effect, run by hand.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'
import { Effect } from 'effect'

interface Env {
  DB: CfTypes.D1Database
}

declare const check: (
  payload: unknown,
  storeId: string,
  headers: ReadonlyMap<string, string>,
) => Effect.Effect<void, Error>

type SyncSearchParams = NonNullable<ReturnType<typeof SyncBackend.matchSyncRequest>>

export const sync = (
  request: CfTypes.Request,
  searchParams: SyncSearchParams,
  ctx: CfTypes.ExecutionContext,
  _env: Env,
) =>
  SyncBackend.handleSyncRequest({
    ctx,
    request,
    searchParams,
    syncBackendBinding: 'SYNC_BACKEND_DO',
    validatePayload: (payload, context) => Effect.runPromise(check(payload, context.storeId, context.headers)),
  })

export { SyncBackend }
