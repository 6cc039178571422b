/** A client that keeps pushing as a store does: onto the head its live pull has told it, again after each lost race. */
import assert from 'node:assert/strict'
import type { Event, SyncClient } from './client.ts'
import { batchOf } from './events.ts'
import type { LivePull } from './live-pull.ts'

/** Pushes `batches` batches of `size` events as `clientId` and resolves with them, numbered as they were admitted. */
export const writeAll = async (
  client: SyncClient,
  live: LivePull,
  clientId: string,
  batches: number,
  size = 1,
): Promise<readonly Event[]> => {
  const written: Event[] = []
  while (written.length < batches * size) {
    const batch = batchOf(live.head, size, clientId)
    const outcome = await client.push(batch)
    if (outcome === 'ok') {
      written.push(...batch)
      await live.until(batch.at(-1)!.seqNum)
    } else {
      assert.equal(
        outcome.error,
        'ServerAheadError',
        `${clientId} is refused only for losing a race: ${JSON.stringify(outcome)}`,
      )
      await live.until(outcome.minimumExpectedNum!)
    }
  }
  return written
}
