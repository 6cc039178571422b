/** Making batches and checking logs. */
import assert from 'node:assert/strict'
import type { Event } from './client.ts'

/** `count` chained events on top of `parent`, the head that their client believes in. */
export const batchOf = (parent: number, count = 1, clientId = 'client'): readonly Event[] =>
  Array.from({ length: count }, (_, index) => ({
    name: 'v1.Noted',
    args: { text: `${clientId} ${parent + 1 + index}` },
    seqNum: parent + 1 + index,
    parentSeqNum: parent + index,
    clientId,
    sessionId: 'static',
  }))

/** Asserts that `log` starts at the first event and chains without a gap. */
export const assertChained = (log: readonly Event[]): void => {
  const numbers = log.map((event) => [event.parentSeqNum, event.seqNum])
  assert.deepEqual(
    numbers,
    log.map((_, index) => [index, index + 1]),
    'the log chains from its first event on',
  )
}

let stores = 0

/** A store id that no other scenario of this process uses. */
export const freshStoreId = (): string => `store-${process.pid}-${(stores += 1)}`
