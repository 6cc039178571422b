/** One line about the sync server, read out when it changes. */
import type { SyncState } from './sync-state.ts'

export const SyncStatus = ({ state }: { readonly state: SyncState }) => (
  <p className="sync" role="status" data-sync={state.is}>
    <span className="dot" aria-hidden="true" />
    <span>
      {wordsFor(state)}
      {state.is === 'refused' && state.isOver && (
        <>
          {' '}
          <button type="button" className="link" onClick={() => location.reload()}>
            Reload
          </button>
        </>
      )}
    </span>
  </p>
)

const wordsFor = (state: SyncState): string => {
  switch (state.is) {
    case 'connecting':
      return 'Connecting …'
    case 'offline':
      return state.pending === 0 ? 'Offline' : `Offline, ${changes(state.pending)} to send`
    case 'syncing':
      return `Syncing ${changes(state.pending)} …`
    case 'in-sync':
      return 'In sync'
    case 'refused':
      return state.isOver ? `Sync has stopped: ${state.why}` : `Sync refused: ${state.why}`
  }
}

const changes = (count: number): string => (count === 1 ? '1 change' : `${count} changes`)
