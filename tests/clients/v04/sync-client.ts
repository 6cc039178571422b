/** Generation v04: what the published clients of `@livestore/sync-cf` 0.4.0 have in common, whatever their transport. */
import type { makeWsSync } from '@livestore/sync-cf/client'
import {
  Effect,
  Exit,
  FetchHttpClient,
  KeyValueStore,
  Logger,
  LogLevel,
  Option,
  Scope,
  Stream,
} from '@livestore/utils/effect'
import type { ClientOptions, Event, Page, PushOutcome, SyncClient, Transport } from '../client.ts'
import { pagesOf } from '../pages.ts'
import { refusalOf } from '../refusal.ts'

/** Makes a sync backend, as an adapter does it: each transport has a constructor of this type. */
export type Construct = ReturnType<typeof makeWsSync>

/** Starts one client; it goes on by itself until it is closed. */
export const startClient = async (
  transport: Transport,
  construct: Construct,
  options: Omit<ClientOptions, 'url'>,
): Promise<SyncClient> => {
  const scope = await Effect.runPromise(Scope.make())
  const backend = await Effect.gen(function* () {
    const memory = yield* KeyValueStore.KeyValueStore
    if (options.backendId !== undefined) yield* memory.set('backendId', options.backendId)
    return yield* construct({ storeId: options.storeId, clientId: 'client', payload: options.payload })
  }).pipe(
    Effect.provide(KeyValueStore.layerMemory),
    Effect.provide(FetchHttpClient.layer),
    Scope.extend(scope),
    Logger.withMinimumLogLevel(LogLevel.None),
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
    transport,
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
