// What hooks are shown, member by member.
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'

export class SyncBackendDO extends makeDurableObject({
  onPush: (message) => {
    for (const { name, args, seqNum, parentSeqNum, clientId, sessionId } of message.batch) {
      const text: string = `${name} ${clientId} ${sessionId}`
      const distance: number = seqNum - parentSeqNum
      console.log(text, distance, JSON.stringify(args), args.title)
    }
    if (message.backendId._tag === 'Some') console.log(message.backendId.value.length)
  },
  onPull: (message) => {
    const { cursor } = message
    const after: number = cursor._tag === 'Some' ? cursor.value.eventSequenceNumber : 0
    const backendId: string | undefined = cursor._tag === 'None' ? undefined : cursor.value.backendId
    console.log(after, backendId)
  },
  onPushRes: (message) => {
    if ('_tag' in message && message._tag === 'UnknownError') console.log('refused', message.cause)
  },
  onPullRes: (message) => {
    if ('_tag' in message) return console.log('refused', message.cause)
    const backendId: string = message.backendId
    for (const { eventEncoded, metadata } of message.batch) {
      const createdAt: string | undefined = metadata._tag === 'Some' ? metadata.value.createdAt : undefined
      console.log(backendId, eventEncoded.name, createdAt)
    }
    if (message.pageInfo._tag === 'MoreKnown') console.log(message.pageInfo.remaining + 1)
  },
}) {}
