// Headers that a function takes from the request.
import { type CfTypes, type ForwardHeadersOption, makeDurableObject } from '@livestore/sync-cf/cf-worker'

const userOf = (request: CfTypes.Request): string => request.headers.get('x-user-id') ?? 'nobody'

const forwardHeaders: ForwardHeadersOption = (request) => ({
  'x-user-id': userOf(request),
  'x-session': request.headers.get('cookie')?.split('session=')[1]?.split(';')[0] ?? '',
  'x-path': new URL(request.url).pathname,
})

export class SyncBackendDO extends makeDurableObject({
  forwardHeaders,
  onPush: async (_message, { headers }) => {
    const userId: string | undefined = headers?.get('x-user-id')
    if (userId === 'nobody') throw new Error('who is this?')
  },
}) {}
