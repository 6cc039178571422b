/** Generation v04: the WebSocket client of `@livestore/sync-cf` 0.4.0 as published. */
import { makeWsSync } from '@livestore/sync-cf/client'
import { Effect, Exit, FetchHttpClient, KeyValueStore, Option, Scope, Stream } from '@livestore/utils/effect'
import type { ClientOptions, Event, Page, PushOutcome, SyncClient } from '../client.ts'
import { pagesOf } from '../pages.ts'
import { refusalOf } from '../refusal.ts'

/** Starts one client; it connects by itself and goes on reconnecting until it is closed. */
export const makeClient = async (options: ClientOptions): Promise<SyncClient> => {
  const scope = await Effect.runPromise(Scope.make())
  const construct = makeWsSync({ url: options.url })
  const backend = await Effect.gen(function* () {
    const memory = yield* KeyValueStore.KeyValueStore
    if (options.backendId !== undefined) yield* memory.set('backendId', options.backendId)
    return yield* construct({ storeId: options.storeId, clientId: 'client', payload: options.payload })
  }).pipe(
    Effect.provide(KeyValueStore.layerMemory),
    Effect.provide(FetchHttpClient.layer),
    Scope.extend(scope),
    Effect.runPromise,
  )

  type Item = Stream.Stream.Success<ReturnType<typeof backend.pull>>
  const toPage = ({ batch, pageInfo }: Item): Page => ({
    events: batch.map((item): Event => item.eventEncoded),
    createdAt: batch.map((item) => Option.getOrThrow(item.metadata).createdAt),
    remaining: pageInfo._tag === 'MoreKnown' ? pageInfo.remaining : pageInfo._tag === 'NoMore' ? 0 : Infinity,
  })
  const cursorOf = (seqNum: number): Parameters<typeof backend.pull>[0] =>
    // The client brands its sequence numbers; on the wire they are plain integers.
    seqNum === 0 ? Option.none() : Option.some({ eventSequenceNumber: seqNum as never, metadata: Option.none() })

  return {
    generation: 'v04',
    connect: () => backend.connect.pipe(Scope.extend(scope), Effect.runPromise),
    push: (batch) =>
      backend
        .push(batch as Parameters<typeof backend.push>[0])
        .pipe(
          Effect.match({ onSuccess: (): PushOutcome => 'ok', onFailure: (cause): PushOutcome => refusalOf(cause) }),
          Effect.runPromise,
        ),
    pull: (cursor, mode) =>
      pagesOf(Stream.toAsyncIterable(backend.pull(cursorOf(cursor), { live: mode === 'live' })), toPage),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
