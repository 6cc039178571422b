/** A sync backend's client whose state the page can show: LiveStore itself tells it neither connection nor refusals. */
import type { InvalidPullError, InvalidPushError, IsOfflineError, SyncBackendConstructor } from '@livestore/common'
import { Effect, Stream } from '@livestore/utils/effect'
import { sendSyncReports, wordsOf } from '../../todomvc-shared/sync-reports.ts'

/** The same client, which also reports to {@link onSyncReport} of every tab. */
export const reported =
  <Metadata>(makeBackend: SyncBackendConstructor<Metadata>): SyncBackendConstructor<Metadata> =>
  (args) =>
    Effect.gen(function* () {
      const backend = yield* makeBackend(args)
      const report = sendSyncReports(args.storeId)
      const refused = (error: InvalidPushError | InvalidPullError | IsOfflineError): void => {
        const cause = error._tag === 'InvalidPushError' ? error.reason : error
        const refusal = wordsOf(cause)
        // A lost race is none: the client takes what it lacks, and pushes again.
        if (cause._tag === 'ServerAhead' || refusal.startsWith('Invalid parent event number')) return
        report({ refusal })
      }
      yield* backend.isConnected.changes.pipe(
        Stream.runForEach((isConnected) => Effect.sync(() => report({ isConnected }))),
        Effect.forkScoped,
      )
      return {
        ...backend,
        push: (batch) =>
          backend.push(batch).pipe(
            Effect.tapError((error) => Effect.sync(() => refused(error))),
            Effect.tap(() => Effect.sync(() => report({ refusal: undefined }))),
          ),
        pull: (from) => backend.pull(from).pipe(Stream.tapError((error) => Effect.sync(() => refused(error)))),
      }
    })
