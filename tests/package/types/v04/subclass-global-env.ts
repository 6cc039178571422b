// The environment put where hooks of the module find it, and a mirror of the events in D1.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

export type Env = SyncBackend.Env & { DB: CfTypes.D1Database }

const Base = SyncBackend.makeDurableObject({
  onPush: async (message, context) => {
    const env = (globalThis as { syncEnv?: Env }).syncEnv
    if (!env?.DB) return
    const statement = env.DB.prepare('INSERT INTO events (store_id, name, args) VALUES (?1, ?2, ?3)')
    const rows: CfTypes.D1PreparedStatement[] = []
    for (const event of message.batch)
      rows.push(statement.bind(context.storeId, String(event.name ?? ''), JSON.stringify(event.args ?? {})))
    if (rows.length > 0) await env.DB.batch(rows)
  },
  onPull: async (_message, _context) => {},
})

export class SyncBackendDO extends Base {
  constructor(state: CfTypes.DurableObjectState, env: Env) {
    super(state, env)
    ;(globalThis as { syncEnv?: Env }).syncEnv = env
  }
}
