// A subclass with methods of its own, which read the log's table, close sockets and delete what is stored.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

interface Env {
  PROCESSOR: CfTypes.DurableObjectNamespace
}

let latest: { head: () => number | null; storeId: string | undefined } | null = null

export class SyncBackendDO extends SyncBackend.makeDurableObject({
  onPush: async (message, context) => {
    const first = message.batch[0]?.parentSeqNum
    const head = latest?.storeId === context.storeId ? latest.head() : null
    if (first !== undefined && head !== null && head - first > 100) console.warn('a client is far behind')
    if (message.batch.some((event) => event.name === 'v1.LinkCreated')) console.log('wake')
  },
}) {
  private _env: Env
  private _state: CfTypes.DurableObjectState
  readonly storeId: string | undefined

  constructor(state: CfTypes.DurableObjectState, env: Env) {
    super(state, env)
    this._env = env
    this._state = state
    this.storeId = state.id.name
    latest = this
  }

  head(): number | null {
    const tables = this._state.storage.sql
      .exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'eventlog_*'")
      .toArray() as Array<{ name: string }>
    if (tables[0] === undefined) return null
    const row = this._state.storage.sql.exec(`SELECT MAX(seqNum) AS head FROM "${tables[0].name}"`).one() as
      { head: number | null } | undefined
    return row?.head ?? null
  }

  async purgeAll(): Promise<void> {
    for (const socket of this._state.getWebSockets()) socket.close(1001, 'purged')
    await this._state.storage.deleteAll()
  }

  async wake(storeId: string): Promise<number> {
    const processor = this._env.PROCESSOR.get(this._env.PROCESSOR.idFromName(storeId))
    const response = await processor.fetch(`https://processor/?storeId=${storeId}`)
    return response.status
  }
}
