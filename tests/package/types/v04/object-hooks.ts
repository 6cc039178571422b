// A class with hooks that look at the payload, some transports, and traces.
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'

const isOfUser = (payload: unknown): payload is { userId: string } =>
  typeof payload === 'object' && payload !== null && 'userId' in payload

export class SyncBackendDO extends makeDurableObject({
  onPush: async (message, { storeId, payload }) => {
    const names: string[] = message.batch.map((event) => event.name)
    if (isOfUser(payload)) console.log(storeId, payload.userId.length, names)
  },
  onPull: async (_message, { storeId }) => {
    console.log(storeId.length)
  },
  enabledTransports: new Set(['ws', 'http']),
  otel: { baseUrl: 'https://traces.example.com', serviceName: 'sync' },
}) {}
