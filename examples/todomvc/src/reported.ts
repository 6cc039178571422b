/** A sync backend's client whose state the page can show: LiveStore itself tells it neither connection nor refusals. */
import type { SyncBackend } from '@livestore/common'
import { Effect, Stream } from '@livestore/utils/effect'
import { sendSyncReports, wordsOf } from '../../todomvc-shared/sync-reports.ts'

/** The same client, which also reports to {@link onSyncReport} of every tab. */
export const reported =
  <Metadata>(makeBackend: SyncBackend.SyncBackendConstructor<Metadata>): SyncBackend.SyncBackendConstructor<Metadata> =>
  (args) =>
    Effect.gen(function* () {
      const backend = yield* makeBackend(args)
      const report = sendSyncReports(args.storeId)
      const refused = (error: { readonly _tag: string }) =>
        Effect.sync(() => {
          // These two are answered by the client itself: it waits for the network, or takes what it lacks and pushes again.
          if (error._tag === 'IsOfflineError' || error._tag === 'ServerAheadError') return
          if (error._tag === 'BackendIdMismatchError') {
            // LiveStore empties the list here as well, and closes it.
            report({ refusal: 'this list was emptied on the server.', isOver: true })
          } else {
            report({ refusal: wordsOf(error) })
          }
        })
      yield* backend.isConnected.changes.pipe(
        Stream.runForEach((isConnected) => Effect.sync(() => report({ isConnected }))),
        Effect.forkScoped,
      )
      return {
        ...backend,
        push: (batch) =>
          backend.push(batch).pipe(
            Effect.tapError(refused),
            Effect.tap(() => Effect.sync(() => report({ refusal: undefined }))),
          ),
        pull: (cursor, options) => backend.pull(cursor, options).pipe(Stream.tapError(refused)),
      }
    })
