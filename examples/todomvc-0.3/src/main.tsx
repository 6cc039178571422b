import { makePersistedAdapter } from '@livestore/adapter-web'
import LiveStoreSharedWorker from '@livestore/adapter-web/shared-worker?sharedworker'
import type { Store } from '@livestore/livestore'
import { LiveStoreProvider, useQuery, useStore } from '@livestore/react'
import { Effect, Fiber, Stream } from '@livestore/utils/effect'
import { useMemo, useState } from 'react'
import { unstable_batchedUpdates as batchUpdates } from 'react-dom'
import { createRoot } from 'react-dom/client'
import { actionsOf } from '../../todomvc-shared/actions.ts'
import { syncPayload } from '../../todomvc-shared/auth-token.ts'
import { Failure, Loading } from '../../todomvc-shared/NoList.tsx'
import { followByReading, usePending } from '../../todomvc-shared/pending.ts'
import { schema, todos$ } from '../../todomvc-shared/schema.ts'
import { currentStoreId } from '../../todomvc-shared/store-id.ts'
import '../../todomvc-shared/styles.css'
import { type SyncState, useSyncState } from '../../todomvc-shared/sync-state.ts'
import { TodoApp } from '../../todomvc-shared/TodoApp.tsx'
import LiveStoreWorker from './livestore.worker.ts?worker'

const storeId = currentStoreId()

const adapter = makePersistedAdapter({
  storage: { type: 'opfs' },
  worker: LiveStoreWorker,
  sharedWorker: LiveStoreSharedWorker,
})

const syncAddress = { url: `${import.meta.env.VITE_LIVESTORE_SYNC_URL}/websocket`, storeId, payload: syncPayload }

/** What is pending in the two parts of LiveStore. In this release the worker answers, and tells nothing by itself. */
const pendingOf = ({ clientSession, syncProcessor }: Store, onSilence: (isSilent: boolean) => void) => ({
  inSession: (listen: (count: number) => void) => {
    const following = syncProcessor.syncState.changes.pipe(
      Stream.runForEach(({ pending }) => Effect.sync(() => listen(pending.length))),
      Effect.runFork,
    )
    return () => void Effect.runFork(Fiber.interrupt(following))
  },
  inWorker: followByReading(
    async () => (await Effect.runPromise(clientSession.leaderThread.getSyncState)).pending.length,
    onSilence,
  ),
})

const App = () => {
  const { store } = useStore()
  const todos = useQuery(todos$)
  const actions = useMemo(() => actionsOf((event) => store.commit(event)), [store])
  const [isSilent, setSilent] = useState(false)
  const { inSession, inWorker } = useMemo(() => pendingOf(store, setSilent), [store])
  const state = useSyncState(syncAddress, usePending(inSession, inWorker))
  // With the tab that had started LiveStore's worker closed, another does not always get one of its own in this release.
  const sync: SyncState = isSilent
    ? { is: 'refused', why: 'another tab of this list was closed.', isOver: true }
    : state
  return <TodoApp todos={todos} actions={actions} sync={sync} subtitle="LiveStore 0.3" />
}

createRoot(document.getElementById('root')!).render(
  <LiveStoreProvider
    schema={schema}
    adapter={adapter}
    storeId={storeId}
    syncPayload={syncPayload}
    batchUpdates={batchUpdates}
    renderLoading={() => <Loading />}
    renderError={() => <Failure text="The list could not be opened in this browser. What you have written is kept." />}
    renderShutdown={() => <Failure text="The list was closed." />}
  >
    <App />
  </LiveStoreProvider>,
)
