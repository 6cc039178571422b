import { makePersistedAdapter } from '@livestore/adapter-web'
import LiveStoreSharedWorker from '@livestore/adapter-web/shared-worker?sharedworker'
import { type Store, StoreInternalsSymbol, StoreRegistry, storeOptions } from '@livestore/livestore'
import { StoreRegistryProvider, useStore } from '@livestore/react'
import { Effect, Fiber, Stream } from '@livestore/utils/effect'
import { Suspense, useMemo } from 'react'
import { unstable_batchedUpdates as batchUpdates } from 'react-dom'
import { createRoot } from 'react-dom/client'
import { actionsOf } from '../../todomvc-shared/actions.ts'
import { syncPayload } from '../../todomvc-shared/auth-token.ts'
import { FailureBoundary, Loading } from '../../todomvc-shared/NoList.tsx'
import { usePending } from '../../todomvc-shared/pending.ts'
import { schema, todos$ } from '../../todomvc-shared/schema.ts'
import { currentStoreId } from '../../todomvc-shared/store-id.ts'
import '../../todomvc-shared/styles.css'
import { useSyncState } from '../../todomvc-shared/sync-state.ts'
import { TodoApp } from '../../todomvc-shared/TodoApp.tsx'
import LiveStoreWorker from './livestore.worker.ts?worker'

const storeId = currentStoreId()

const options = storeOptions({
  schema,
  storeId,
  syncPayload,
  adapter: makePersistedAdapter({
    storage: { type: 'opfs' },
    worker: LiveStoreWorker,
    sharedWorker: LiveStoreSharedWorker,
    // The short way to open a list fails on one that was emptied on the server.
    experimental: { disableFastPath: true },
  }),
})

const syncAddress = { url: import.meta.env.VITE_LIVESTORE_SYNC_URL, storeId, payload: syncPayload }

/** What is pending in the two parts of LiveStore. */
const pendingOf = (store: Store<typeof schema>) => ({
  inSession: (listen: (count: number) => void) => store.subscribeSyncStatus(({ pendingCount }) => listen(pendingCount)),
  inWorker: (listen: (count: number) => void) => {
    const following = store[StoreInternalsSymbol].clientSession.leaderThread.syncState.changes.pipe(
      Stream.runForEach(({ pending }) => Effect.sync(() => listen(pending.length))),
      Effect.runFork,
    )
    return () => void Effect.runFork(Fiber.interrupt(following))
  },
})

const App = () => {
  const store = useStore(options)
  const todos = store.useQuery(todos$)
  const actions = useMemo(() => actionsOf((event) => store.commit(event)), [store])
  const { inSession, inWorker } = useMemo(() => pendingOf(store), [store])
  const sync = useSyncState(syncAddress, usePending(inSession, inWorker))
  return <TodoApp todos={todos} actions={actions} sync={sync} subtitle="LiveStore 0.4" />
}

const storeRegistry = new StoreRegistry({ defaultOptions: { batchUpdates } })

createRoot(document.getElementById('root')!).render(
  <FailureBoundary>
    <Suspense fallback={<Loading />}>
      <StoreRegistryProvider storeRegistry={storeRegistry}>
        <App />
      </StoreRegistryProvider>
    </Suspense>
  </FailureBoundary>,
)
