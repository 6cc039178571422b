/**
 * A sync client of LiveStore 0.3 that comes back from offline with nothing missing.
 *
 * The client of that release pulls once, and goes on listening on its next connection: it never gets what others wrote
 * while it was away, with whatever sync backend, and what is pushed when the connection breaks waits for ever. So each
 * connection here gets a client of its own, which pulls from where the last one was. Releases from 0.4 on do so themselves.
 */
import type { SyncBackend, SyncBackendConstructor } from '@livestore/common'
import { EventSequenceNumber } from '@livestore/livestore'
import { Deferred, Effect, Option, Schedule, Stream, SubscriptionRef } from '@livestore/utils/effect'

interface Connection<Metadata> {
  readonly client: SyncBackend<Metadata>
  readonly isLost: Deferred.Deferred<void>
}

export const resuming =
  <Metadata>(makeClient: SyncBackendConstructor<Metadata>): SyncBackendConstructor<Metadata> =>
  (args) =>
    Effect.gen(function* () {
      const isConnected = yield* SubscriptionRef.make(false)
      const current = yield* SubscriptionRef.make<Connection<Metadata> | undefined>(undefined)

      /** A new client, until the end of the scope. */
      const connect = Effect.gen(function* () {
        const client = yield* Effect.orDie(makeClient(args))
        const isLost = yield* Deferred.make<void>()
        yield* client.isConnected.changes.pipe(
          Stream.dropWhile((isOpen) => !isOpen),
          Stream.runForEach((isOpen) =>
            Effect.gen(function* () {
              if (!isOpen) yield* Deferred.succeed(isLost, undefined)
              yield* SubscriptionRef.set(isConnected, isOpen)
            }),
          ),
          Effect.forkScoped,
        )
        yield* SubscriptionRef.set(current, { client, isLost })
        return { client, isLost }
      })

      const pull: SyncBackend<Metadata>['pull'] = (from) => {
        let position = from
        return Stream.suspend(() =>
          Stream.unwrapScoped(
            Effect.map(connect, ({ client, isLost }) =>
              client.pull(position).pipe(
                Stream.tap(({ batch }) =>
                  Effect.sync(() => {
                    const last = batch.at(-1)
                    if (last === undefined) return
                    const cursor = EventSequenceNumber.make({ global: last.eventEncoded.seqNum, client: 0 })
                    position = Option.some({ cursor, metadata: last.metadata })
                  }),
                ),
                Stream.interruptWhenDeferred(isLost),
              ),
            ),
          ),
        ).pipe(Stream.repeat(Schedule.forever))
      }

      const push: SyncBackend<Metadata>['push'] = (batch) =>
        Effect.gen(function* () {
          const connection = yield* SubscriptionRef.waitUntil(current, (now) => now !== undefined)
          const { client, isLost } = connection!
          const isPushed = Effect.as(client.push(batch), true)
          return yield* Effect.raceFirst(isPushed, Effect.as(Deferred.await(isLost), false))
        }).pipe(Effect.repeat({ until: (isPushed) => isPushed }), Effect.asVoid)

      return {
        connect: Effect.void,
        isConnected,
        pull,
        push,
        metadata: { name: 'resuming', description: 'A client of its own for each connection' },
      }
    })
