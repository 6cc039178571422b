// A hook that wakes another object of the store, which it reaches through a variable that the constructor sets.
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

interface KeepAlive {
  __DURABLE_OBJECT_BRAND: never
  signalKeepAlive(storeId: string): Promise<void>
}

interface Env {
  CLIENT_DO: SyncBackend.CfTypes.DurableObjectNamespace<KeepAlive>
  DB: SyncBackend.CfTypes.D1Database
}

let wake: ((storeId: string) => Promise<void>) | undefined = undefined

export class SyncBackendDO extends SyncBackend.makeDurableObject({
  onPush: async (_message, { storeId }) => {
    await wake?.(storeId)
  },
}) {
  constructor(
    state: SyncBackend.CfTypes.DurableObjectState,
    private readonly own: Env,
  ) {
    super(state, { ...own, DB: undefined })
    wake = this.signal.bind(this)
  }

  async signal(storeId: string) {
    const stub = this.own.CLIENT_DO.get(this.own.CLIENT_DO.idFromName(storeId))
    await stub.signalKeepAlive(storeId)
  }
}
