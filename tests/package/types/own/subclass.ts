// A subclass that uses the state and the environment which the class keeps.
import { type CfTypes, makeDurableObject } from 'livestore-sync-worker/cf-worker'

interface Env {
  PREFIX: string
}

export class SyncBackendDO extends makeDurableObject<Env>() {
  async head(): Promise<string> {
    const row = this.ctx.storage.sql.exec<{ head: number | null }>('SELECT MAX(seqNum) AS head FROM eventlog').one()
    return `${this.env.PREFIX}${row.head?.toFixed()}`
  }

  override async alarm(info?: CfTypes.AlarmInvocationInfo): Promise<void> {
    await this.ctx.storage.put('alarmed', info?.retryCount ?? 0)
    await super.alarm(info)
  }

  override async fetch(request: CfTypes.Request): Promise<CfTypes.Response> {
    return super.fetch(request)
  }
}
