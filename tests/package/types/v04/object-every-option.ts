// Every option of a class, as a literal and as a value of the options' type.
import { makeDurableObject, type MakeDurableObjectClassOptions } from '@livestore/sync-cf/cf-worker'

export class InObject extends makeDurableObject({
  onPush: async (message, context) => console.log(message.batch.length, context.headers?.get('cookie')),
  onPushRes: async (message) => console.log(message),
  onPull: async (message, context) => console.log(message.cursor, context.storeId),
  onPullRes: async (message) => console.log(message),
  forwardHeaders: ['Cookie', 'Authorization'],
  storage: { _tag: 'do-sqlite' },
  enabledTransports: new Set(['http', 'ws', 'do-rpc']),
  http: { responseHeaders: { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'no-store' } },
  otel: {},
}) {}

const options: MakeDurableObjectClassOptions = {
  storage: { _tag: 'd1', binding: 'DB' },
  http: {},
  forwardHeaders: (request) => ({ 'x-user-id': request.headers.get('x-user-id') ?? '' }),
}
export class InDatabase extends makeDurableObject(options) {}
