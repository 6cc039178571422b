// A store in an object, beside the backend that it syncs with.
/// <reference types="@cloudflare/workers-types" />
import { type ClientDoWithRpcCallback, createStoreDoPromise } from '@livestore/adapter-cloudflare'
import { Events, makeSchema, Schema, State } from '@livestore/livestore'
import type { CfTypes, SyncBackendRpcInterface } from '@livestore/sync-cf/cf-worker'
import { handleSyncUpdateRpc } from '@livestore/sync-cf/client'
import { DurableObject } from 'cloudflare:workers'

interface Env {
  CLIENT_DO: CfTypes.DurableObjectNamespace<ClientDoWithRpcCallback>
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace<SyncBackendRpcInterface>
}

const events = { noted: Events.synced({ name: 'v1.Noted', schema: Schema.Struct({ text: Schema.String }) }) }
const notes = State.SQLite.table({ name: 'notes', columns: { text: State.SQLite.text({ primaryKey: true }) } })
const state = State.SQLite.makeState({
  tables: { notes },
  materializers: State.SQLite.materializers(events, { 'v1.Noted': ({ text }) => notes.insert({ text }) }),
})
const schema = makeSchema({ events, state })

export class ClientObject extends DurableObject<Env> implements ClientDoWithRpcCallback {
  override __DURABLE_OBJECT_BRAND = 'client' as never

  async open(storeId: string) {
    return createStoreDoPromise({
      schema,
      storeId,
      clientId: 'client',
      sessionId: 'session',
      durableObject: {
        ctx: this.ctx as unknown as CfTypes.DurableObjectState,
        env: this.env,
        bindingName: 'CLIENT_DO',
      },
      syncBackendStub: this.env.SYNC_BACKEND_DO.get(this.env.SYNC_BACKEND_DO.idFromName(storeId)),
      livePull: true,
    })
  }

  async syncUpdateRpc(payload: unknown) {
    await handleSyncUpdateRpc(payload)
  }
}
