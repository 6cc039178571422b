/** Generation v03: the client of `@livestore/sync-cf` 0.3.1 as published. */
import { makeCfSync } from '@livestore/sync-cf'
import {
  Effect,
  Exit,
  FetchHttpClient,
  Logger,
  LogLevel,
  Option,
  Scope,
  Stream,
  SubscriptionRef,
} from '@livestore/utils/effect'
import type { ClientOptions, Event, Page, PushOutcome, SyncClient } from '../client.ts'
import { pagesOf } from '../pages.ts'
import { refusalOf } from '../refusal.ts'

/** This generation refuses in prose; the numbers stand in it as `e1`. */
const refusalIn = (message: string): PushOutcome => {
  const ahead = /Received e(-?\d+) but expected e(-?\d+)/.exec(message)
  return ahead === null
    ? { error: 'InvalidPushError', message }
    : { error: 'ServerAheadError', minimumExpectedNum: Number(ahead[2]), providedNum: Number(ahead[1]) }
}

/** Starts one client; it connects by itself and goes on reconnecting until it is closed. It has no use for a backend id. */
export const makeClient = async (options: ClientOptions): Promise<SyncClient> => {
  const scope = await Effect.runPromise(Scope.make())
  const { storeId, payload } = options
  const quietly = Logger.withMinimumLogLevel(LogLevel.None)
  const backend = await makeCfSync({ url: options.url })({ storeId, clientId: 'client', payload }).pipe(
    Effect.provide(FetchHttpClient.layer),
    Scope.extend(scope),
    quietly,
    Effect.runPromise,
  )

  type Item = Stream.Stream.Success<ReturnType<typeof backend.pull>>
  const toPage = ({ batch, remaining }: Item): Page => ({
    events: batch.map((item): Event => item.eventEncoded),
    createdAt: batch.map((item) => Option.getOrThrow(item.metadata).createdAt),
    remaining,
  })
  const cursorOf = (seqNum: number): Parameters<typeof backend.pull>[0] =>
    // Only `global` reaches the wire, as a plain integer.
    seqNum === 0
      ? Option.none()
      : Option.some({ cursor: { global: seqNum, client: 0 } as never, metadata: Option.none() })

  return {
    generation: 'v03',
    transport: 'ws',
    connect: () =>
      backend.isConnected.changes.pipe(Stream.filter(Boolean), Stream.take(1), Stream.runDrain, Effect.runPromise),
    push: (batch) =>
      backend.push(batch as Parameters<typeof backend.push>[0]).pipe(
        Effect.match({
          onSuccess: (): PushOutcome => 'ok',
          onFailure: (cause): PushOutcome =>
            cause._tag === 'InvalidPushError' && cause.reason._tag === 'Unexpected'
              ? refusalIn(cause.reason.message)
              : refusalOf(cause),
        }),
        Effect.provide(FetchHttpClient.layer),
        quietly,
        Effect.runPromise,
      ),
    pull: (cursor, mode) => {
      const live = backend.pull(cursorOf(cursor)).pipe(Stream.provideLayer(FetchHttpClient.layer))
      const pages = mode === 'live' ? live : Stream.takeUntil(live, (item) => item.remaining === 0)
      return pagesOf(Stream.toAsyncIterable(pages), toPage)
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
