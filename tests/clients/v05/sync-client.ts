/** Generation v05: what its clients do alike, whatever their transport: cut pushes, remember the backend id, turn pages. */
import { Effect, Exit, Option, Scope, Stream } from 'effect'
import type { ClientOptions, Page, PushOutcome, SyncClient, Transport } from '../client.ts'
import { pagesOf } from '../pages.ts'
import { refusalOf } from '../refusal.ts'
import type { Event, PullResponse } from './messages.ts'

type Response = typeof PullResponse.Type

/** Where a pull starts. */
export type Cursor = Option.Option<{ readonly backendId: string; readonly eventSequenceNumber: number }>

/** One transport's way to ask. */
export interface Requests {
  readonly transport: Transport
  /** Resolves once requests can be made. */
  readonly connect: () => Promise<void>
  readonly push: (
    batch: ReadonlyArray<typeof Event.Type>,
    backendId: Option.Option<string>,
  ) => Effect.Effect<unknown, unknown>
  readonly pullOnce: (cursor: Cursor) => Stream.Stream<Response, unknown>
  /** `cursor` tells where the pull has come to by then. */
  readonly pullLive: (cursor: () => Cursor) => Stream.Stream<Response, unknown>
}

/** What the client of every generation puts into one push request. */
const pushEventsMax = 100

const toPage = ({ batch, pageInfo }: Response): Page => ({
  events: batch.map((item) => item.eventEncoded),
  createdAt: batch.map((item) => Option.getOrThrow(item.metadata).createdAt),
  remaining: pageInfo._tag === 'MoreKnown' ? pageInfo.remaining : pageInfo._tag === 'NoMore' ? 0 : Infinity,
})

/** The client that makes these requests; it lives as long as `scope`, which it closes. */
export const syncClient = (
  requests: Requests,
  options: Omit<ClientOptions, 'url'>,
  scope: Scope.Closeable,
): SyncClient => {
  let backendId = Option.fromUndefinedOr(options.backendId)
  return {
    generation: 'v05',
    transport: requests.transport,
    connect: requests.connect,
    push: async (batch) => {
      for (let start = 0; start < batch.length; start += pushEventsMax) {
        const part = batch.slice(start, start + pushEventsMax) as ReadonlyArray<typeof Event.Type>
        const outcome = await requests
          .push(part, backendId)
          .pipe(
            Effect.match({ onSuccess: (): PushOutcome => 'ok', onFailure: (cause): PushOutcome => refusalOf(cause) }),
            Effect.runPromise,
          )
        if (outcome !== 'ok') return outcome
      }
      return 'ok'
    },
    pull: (start, mode) => {
      let head = start
      const cursor = (): Cursor =>
        head === 0
          ? Option.none()
          : Option.some({ backendId: Option.getOrElse(backendId, () => ''), eventSequenceNumber: head })
      const note = (response: Response): Effect.Effect<void> =>
        Effect.sync(() => {
          backendId = Option.some(response.backendId)
          head = response.batch.at(-1)?.eventEncoded.seqNum ?? head
        })
      const responses = mode === 'live' ? requests.pullLive(cursor) : requests.pullOnce(cursor())
      return pagesOf(Stream.toAsyncIterable(Stream.tap(responses, note)), toPage)
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
