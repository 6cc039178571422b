/**
 * One log in memory, with what a hand-written server answers from it, whatever carries the answers.
 *
 * Owns: events, the backend id, and the values of v04 and v05. Envelopes and transports are for the servers.
 */
import type { Event } from './client.ts'

/** v04 counts its requests in strings, v05 in numbers. */
export type RequestId = string | number

/** An error that the schemas of a request know, with its facts. */
export type FakeError =
  | { readonly _tag: 'ServerAheadError'; readonly minimumExpectedNum: number; readonly providedNum: number }
  | { readonly _tag: 'BackendIdMismatchError'; readonly expected: string; readonly received: string }
  | { readonly _tag: 'UnknownError'; readonly cause: { readonly name: string; readonly message: string } }

/** One page as it travels. */
export interface FakePage {
  readonly batch: readonly { readonly eventEncoded: Event; readonly metadata: unknown }[]
  readonly pageInfo: { readonly _tag: 'NoMore' } | { readonly _tag: 'MoreKnown'; readonly remaining: number }
  readonly backendId: string
}

/** The backend id of every fake server, until it is reset. */
export const backendId = 'fake-backend-id-00000'

export const unknownError = (message: string): FakeError => ({
  _tag: 'UnknownError',
  cause: { name: 'Error', message },
})

/** An Exit that failed with `error`, in the dialect of the request. */
export const failureFor = (requestId: RequestId, error: FakeError): unknown => {
  const fail = { _tag: 'Fail', error }
  return { _tag: 'Failure', cause: typeof requestId === 'string' ? fail : [fail] }
}

/** An Exit that went well; `null` is the value of those that have none. */
export const successFor = (value: unknown): unknown => ({ _tag: 'Success', value })

interface Option<Value> {
  readonly value?: Value
}

/** What a pull asks for. */
export interface PullPayload {
  readonly cursor: Option<{ readonly backendId: string; readonly eventSequenceNumber: number }>
}

/** What a push carries. */
export interface PushPayload {
  readonly batch: readonly Event[]
  readonly backendId: Option<string>
}

/** The cursor of a pull, 0 when it starts from the first event. */
export const cursorOf = (payload: unknown): number => (payload as PullPayload).cursor.value?.eventSequenceNumber ?? 0

export class FakeLog {
  readonly events: Event[] = []
  backendId = backendId
  #lifetimes = 1

  /** Begins a new lifetime: no events, another backend id. */
  reset(): void {
    this.events.length = 0
    this.backendId = `fake-backend-id-${String(this.#lifetimes).padStart(4, '0')}b`
    this.#lifetimes += 1
  }

  /** Appends an event of some other client. */
  append(name: string, args: unknown): Event {
    const parent = this.events.length
    const event = { name, args, seqNum: parent + 1, parentSeqNum: parent, clientId: 'other', sessionId: 'other' }
    this.events.push(event)
    return event
  }

  page(events: readonly Event[], remaining = 0): FakePage {
    const metadata = {
      _tag: 'Some',
      value: { _tag: 'SyncMessage.SyncMetadata', createdAt: '2026-01-01T00:00:00.000Z' },
    }
    return {
      batch: events.map((eventEncoded) => ({ eventEncoded, metadata })),
      pageInfo: remaining > 0 ? { _tag: 'MoreKnown', remaining } : { _tag: 'NoMore' },
      backendId: this.backendId,
    }
  }

  /** The page that answers a pull, or why there is none. */
  pull(payload: unknown): FakePage | FakeError {
    const { cursor } = payload as PullPayload
    return this.#mismatch(cursor.value?.backendId) ?? this.page(this.events.slice(cursorOf(payload)))
  }

  /** Stores the batch of a push, unless there is a reason not to. */
  push(payload: unknown): FakeError | undefined {
    const { batch, backendId: known } = payload as PushPayload
    const head = this.events.length
    const providedNum = batch[0]!.parentSeqNum
    const mismatch = this.#mismatch(known.value)
    if (mismatch !== undefined) return mismatch
    if (providedNum !== head) return { _tag: 'ServerAheadError', minimumExpectedNum: head, providedNum }
    this.events.push(...batch)
    return undefined
  }

  mismatch(received: string): FakeError {
    return { _tag: 'BackendIdMismatchError', expected: this.backendId, received }
  }

  #mismatch(received: string | undefined): FakeError | undefined {
    return received === undefined || received === this.backendId ? undefined : this.mismatch(received)
  }
}

export const isError = (answer: FakePage | FakeError | undefined): answer is FakeError =>
  answer !== undefined && '_tag' in answer
