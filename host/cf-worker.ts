/** What an app imports as `livestore-sync-worker/cf-worker`, in the place of `@livestore/sync-cf/cf-worker`. */
export { makeDurableObject, type Synced, withSync } from './durable-object.ts'
export {
  handleSyncRequest,
  type HandleSyncRequestOptions,
  handleWebSocket,
  type HandleWebSocket,
  type HandleWebSocketOptions,
  makeWorker,
  matchSyncRequest,
} from './handler.ts'
export * as CfDeclare from './cf-declare.ts'
export type * from './types.ts'
export type * as CfTypes from '@cloudflare/workers-types'
