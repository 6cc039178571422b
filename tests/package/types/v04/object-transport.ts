// A hook that guesses the transport from a context whose type does not tell it.
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'

type Transport = 'http' | 'ws' | 'do-rpc'

const transportOf = (context: unknown): Transport => {
  if (typeof context !== 'object' || context === null || !('transport' in (context as any))) return 'http'
  const { transport } = context as any
  return transport === 'ws' || transport === 'do-rpc' ? transport : 'http'
}

export class SyncBackendDO extends makeDurableObject({
  enabledTransports: new Set<Transport>(['http', 'ws', 'do-rpc']),
  onPush: async (message, context) => {
    console.log(transportOf(context), message.batch.length)
  },
}) {}
