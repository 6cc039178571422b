// Every option of the Worker, with an environment that names its bindings and a payload that a schema types.
import {
  type CfTypes,
  type CFWorker,
  makeWorker,
  type MakeWorkerOptions,
  type SyncBackendRpcInterface,
  type ValidatePayloadContext,
} from '@livestore/sync-cf/cf-worker'
import { Schema } from 'effect'

interface Env {
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
  OTHER: CfTypes.DurableObjectNamespace
  SECRET: string
}

const SyncPayload = Schema.Struct({ authToken: Schema.String, scopes: Schema.Array(Schema.String) })
type SyncPayload = typeof SyncPayload.Type

const validatePayload = async (payload: SyncPayload, { storeId, headers }: ValidatePayloadContext): Promise<void> => {
  if (!payload.scopes.includes(storeId)) throw new Error(`not for ${headers.get('origin')}`)
}

const options: MakeWorkerOptions<Env, SyncPayload> = {
  syncBackendBinding: 'SYNC_BACKEND_DO',
  syncPayloadSchema: SyncPayload,
  validatePayload,
  enableCORS: true,
}

const worker: CFWorker<Env> = makeWorker<Env, undefined, SyncPayload>(options)
export default worker
export const typed = makeWorker<Env>({ syncBackendBinding: 'OTHER' })
