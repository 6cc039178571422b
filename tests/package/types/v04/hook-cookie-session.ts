// A session of an authentication library, looked up by the cookie of each push and pull, and at the door.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

interface Session {
  readonly userId: string
}

declare const sessionOf: (headers: Headers) => Promise<Session | null>

const parseCookie = (header: string, name: string): string | undefined =>
  header
    .split(';')
    .map((pair) => pair.trim().split('='))
    .find(([key]) => key === name)?.[1]

export class SyncBackendDO extends makeDurableObject({
  forwardHeaders: ['Cookie', 'Authorization'],
  onPush: async (message, context) => {
    const { storeId, headers } = context
    const cookie = headers?.get('cookie')
    const bearer = headers?.get('authorization')
    if (cookie != null && parseCookie(cookie, 'session') === undefined) throw new Error('no session')
    console.log(storeId, bearer, message.batch)
  },
  onPull: async (_message, { storeId, headers }) => {
    const session = await sessionOf(new Headers([...(headers ?? [])]))
    if (session === null) throw new Error(`no session for ${storeId}`)
  },
}) {}

export default makeWorker({
  syncBackendBinding: 'SYNC_BACKEND_DO',
  validatePayload: async (_payload, context) => {
    const { headers } = context
    const session = await sessionOf(new Headers({ cookie: headers.get('cookie') ?? '' }))
    if (session?.userId !== context.storeId) throw new Error('not yours')
  },
  enableCORS: true,
})
