/** How the list stands with the sync server: what the page shows, from what it knows. */
import { useEffect, useState } from 'react'
import { onSyncReport, type SyncReport } from './sync-reports.ts'

export type SyncState =
  /** Not connected yet. */
  | { readonly is: 'connecting' }
  | { readonly is: 'offline'; readonly pending: number }
  | { readonly is: 'syncing'; readonly pending: number }
  | { readonly is: 'in-sync' }
  /** `isOver`: until the page is loaded again. */
  | { readonly is: 'refused'; readonly why: string; readonly isOver: boolean }

/** Where the page syncs, and as whom. */
export interface SyncAddress {
  /** With the path that the sync client of this release adds. */
  readonly url: string
  readonly storeId: string
  readonly payload: unknown
}

interface Known {
  /** Undefined until LiveStore's worker has said so. */
  readonly report: SyncReport | undefined
  /** What the server says of this page, asked while there is no connection. */
  readonly door: Door
  readonly pending: number
}

type Door = { readonly is: 'unasked' | 'open' | 'unreachable' } | { readonly is: 'closed'; readonly why: string }

/** What the user is told. */
export const syncState = ({ report, door, pending }: Known): SyncState => {
  const { refusal, isOver = false } = report ?? {}
  if (report?.isConnected === true || isOver) {
    if (refusal !== undefined) return { is: 'refused', why: refusal, isOver }
    return pending === 0 ? { is: 'in-sync' } : { is: 'syncing', pending }
  }
  if (door.is === 'closed') return { is: 'refused', why: door.why, isOver: false }
  return door.is === 'unreachable' ? { is: 'offline', pending } : { is: 'connecting' }
}

/** How long a connection may take before the page asks why, and how long it waits before it asks again. */
const askAfterMs = 1_000

/** Follows the sync client of a store. `pending` is how many events the sync server has not confirmed. */
export const useSyncState = (address: SyncAddress, pending: number): SyncState => {
  const { url, storeId, payload } = address
  const [report, setReport] = useState<SyncReport>()
  const [door, setDoor] = useState<Door>({ is: 'unasked' })
  useEffect(() => onSyncReport(storeId, setReport), [storeId])

  const isConnected = report?.isConnected === true
  useEffect(() => {
    if (isConnected) return setDoor({ is: 'unasked' })
    const stop = new AbortController()
    let timer = setTimeout(ask, askAfterMs)
    async function ask(): Promise<void> {
      const answer = await askDoor({ url, storeId, payload }, stop.signal)
      if (stop.signal.aborted) return
      setDoor(answer)
      timer = setTimeout(ask, 2 * askAfterMs)
    }
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [isConnected, url, storeId, payload])

  return syncState({ report, door, pending })
}

/**
 * Why there is no connection. A browser does not say why a WebSocket was refused, so the page asks as if it came over HTTP:
 * who is not let in is told why.
 */
const askDoor = async (address: SyncAddress, signal: AbortSignal): Promise<Door> => {
  const url = new URL(address.url.replace(/^ws/, 'http'))
  url.searchParams.set('storeId', address.storeId)
  url.searchParams.set('payload', encodeURIComponent(JSON.stringify(address.payload)))
  url.searchParams.set('transport', 'http')
  try {
    const response = await fetch(url, { signal, cache: 'no-store' })
    const { ok, status } = response
    // 426: the Worker has no HTTP transport, and asks for a WebSocket.
    if (ok || status === 426) return { is: 'open' }
    if (status >= 500 && status !== 503) return { is: 'unreachable' }
    return { is: 'closed', why: reasonIn(await response.text()) }
  } catch {
    return { is: 'unreachable' }
  }
}

/** The sentence of an answer: what a `validatePayload` threw stands in it as `Error: …`. */
const reasonIn = (text: string): string => {
  const thrown = /\bError: ([^\n,]+)/.exec(text)?.[1]
  return (thrown ?? text.split('\n')[0] ?? '').trim().slice(0, 200) || 'the sync server does not let this page in'
}
