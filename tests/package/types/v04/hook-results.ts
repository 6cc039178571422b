// Hooks may return nothing, a promise, or an Effect.
import { makeDurableObject } from '@livestore/sync-cf/cf-worker'
import { Effect } from 'effect'

declare const notify: (storeId: string) => Promise<void>

export class Nothing extends makeDurableObject({
  onPush: () => {},
  onPushRes: () => {},
  onPull: () => {},
  onPullRes: () => {},
}) {}

export class Promised extends makeDurableObject({
  onPush: (_message, { storeId }) => notify(storeId),
  onPushRes: async () => {},
  onPull: (_message, { storeId }) => notify(storeId),
  onPullRes: () => Promise.resolve(),
}) {}

export class Effectful extends makeDurableObject({
  onPush: (message, { storeId }) => Effect.log('push', storeId, message.batch.length),
  onPushRes: () => Effect.void,
  onPull: (_message, { storeId }) =>
    Effect.gen(function* () {
      yield* Effect.logDebug('pull')
      yield* Effect.promise(() => notify(storeId))
    }),
  onPullRes: () => Effect.sync(() => console.log('page')),
}) {}

export class Either extends makeDurableObject({
  onPush: (message, { storeId }) => {
    if (message.batch.length > 10) return notify(storeId)
  },
}) {}
