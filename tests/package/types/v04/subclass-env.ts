// A subclass that hands another environment on: a database that is none of D1, or the shard of its object.
import type { CfTypes } from '@livestore/sync-cf/cf-worker'
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

interface Env {
  SHARDS: readonly CfTypes.D1Database[]
  SYNC_BACKEND_DO: CfTypes.DurableObjectNamespace
}

class SqlDatabase {
  constructor(private readonly sql: CfTypes.SqlStorage) {}
  prepare(statement: string) {
    return { all: () => this.sql.exec(statement).toArray() }
  }
}

export class InObject extends SyncBackend.makeDurableObject() {
  constructor(state: CfTypes.DurableObjectState, env: Env) {
    super(state, { ...env, DB: new SqlDatabase(state.storage.sql) })
  }
}

export class Sharded extends SyncBackend.makeDurableObject() {
  constructor(controller: CfTypes.DurableObjectState, env: Env) {
    const number = BigInt(`0x${controller.id.toString()}`)
    super(controller, { ...env, DB: env.SHARDS[Number(number % BigInt(env.SHARDS.length))] })
  }
}
