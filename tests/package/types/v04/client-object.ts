// An object that is a client of the backend, whose stub it gets from a namespace of the backend's type.
import type { CfTypes, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import { makeDoRpcSync } from '@livestore/sync-cf/client'

declare const state: CfTypes.DurableObjectState
declare const namespace: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>

export const syncBackend = makeDoRpcSync({
  syncBackendStub: namespace.get(namespace.idFromName('a store')),
  durableObjectContext: { bindingName: 'CLIENT_DO', durableObjectId: state.id.toString() },
})
