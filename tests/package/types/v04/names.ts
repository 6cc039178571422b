// Names of types that apps import, in a place of each.
import type {
  CfTypes,
  CFWorker,
  DoObject,
  DoState,
  DurableObjectId,
  Env,
  ForwardedHeaders,
  StoreId,
  SyncBackendRpcInterface,
} from '@livestore/sync-cf/cf-worker'
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'

export const worker = (_inner: CFWorker): CFWorker => _inner
export const idOf = (state: DoState): DurableObjectId => state.id.toString()
export const storeOf = (state: DoState): StoreId | undefined => state.id.name
export const empty: Env = {}
export const headers: ForwardedHeaders = new Map([['cookie', 'a=b']])
export const made: new (ctx: DoState, env: Env) => DoObject<SyncBackendRpcInterface> = makeDurableObject()

export interface Bindings {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  DB: CfTypes.D1Database
  FILES: CfTypes.R2Bucket
  ASSETS: CfTypes.Fetcher
}

export const stubOf = (env: Bindings, storeId: string): CfTypes.DurableObjectStub<SyncBackendRpcInterface> =>
  env.SYNC_BACKEND_DO.get(env.SYNC_BACKEND_DO.idFromName(storeId))
