// What hooks have here besides: the object's environment and state, the claims of a token, and a hook after the commit.
import { type CfTypes, type HookContext, makeDurableObject } from 'livestore-sync-worker/cf-worker'

interface Env {
  DB: CfTypes.D1Database
  PROCESSOR: CfTypes.DurableObjectNamespace
}

const logged = ({ storeId, transport, generation }: HookContext<Env>): string => `${storeId} ${transport} ${generation}`

export class SyncBackendDO extends makeDurableObject<Env>({
  onPush: async (message, { env, claims, waitUntil, ...context }) => {
    const subject: unknown = claims?.['sub']
    if (subject === undefined) throw new Error(`who is this in ${context.storeId}?`)
    waitUntil(env.DB.prepare('SELECT ?').bind(message.batch.length).run())
  },
  onPull: (message, context) => {
    const isLive: boolean = message.live
    if (isLive && context.transport === 'http') console.log(logged(context))
  },
  onCommitted: async (message, { storeId, env, ctx }) => {
    const first: number | undefined = message.batch[0]?.seqNum
    await ctx.storage.put('seen', first ?? 0)
    await env.PROCESSOR.get(env.PROCESSOR.idFromName(storeId)).fetch('https://processor/')
  },
}) {}
