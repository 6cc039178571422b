// Classes without options, with none set, and with the smallest hooks.
import * as SyncBackend from '@livestore/sync-cf/cf-worker'

export class Plain extends SyncBackend.makeDurableObject() {}
export class Empty extends SyncBackend.makeDurableObject({}) {}
export class Logging extends SyncBackend.makeDurableObject({
  onPush: async (message, context) => {
    console.log('onPush', message.batch, 'storeId:', context.storeId, 'payload:', context.payload)
  },
  onPull: async function (message, context) {
    console.log('onPull', message, 'storeId:', context.storeId, 'payload:', context.payload)
  },
}) {}
export class Counting extends SyncBackend.makeDurableObject({
  onPush: async (message) => {
    const count = message.batch?.length ?? 0
    if (count > 0) console.log(`${count} events, the first is number ${message.batch[0]?.seqNum.toFixed()}`)
  },
  onPull: async (_message) => {},
}) {}
