// What hooks of 0.3 are shown.
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'

export class WebSocketServer extends makeDurableObject({
  onPush: async (message) => {
    for (const { name, args, seqNum, parentSeqNum, clientId, sessionId } of message.batch) {
      const distance: number = seqNum - parentSeqNum
      console.log(name.length, args, distance, clientId.length, sessionId.length)
    }
  },
}) {}
