// A hook whose message is annotated with the type of another entry of the package, and whose payload is checked again.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'
import type { SyncMessage } from '@livestore/sync-cf/common'

type SyncPayload = { authToken?: string; userId?: string }

declare const verify: (token: string) => { sub?: string }

const authorized = (payload: unknown): { userId: string } => {
  if (payload === undefined || payload === null || typeof payload !== 'object') throw new Error('no payload')
  const { authToken, userId } = payload as SyncPayload
  if (authToken == null) throw new Error('no token')
  const { sub } = verify(authToken)
  if (sub == null || (userId !== undefined && userId !== sub)) throw new Error('another user')
  return { userId: sub }
}

const mayWrite = async (_userId: string, _batch: SyncMessage.PushRequest['batch']): Promise<void> => {}

export class SyncBackendDO extends makeDurableObject({
  onPush: async (message: SyncMessage.PushRequest, { payload }) => {
    const { userId } = authorized(payload)
    await mayWrite(userId, message.batch)
  },
}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: (payload) => {
    authorized(payload)
  },
})
