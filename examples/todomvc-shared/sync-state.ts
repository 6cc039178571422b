/** How the list stands with the sync server: what the page shows, from what it knows. */
import { useEffect, useState } from 'react'
import { onSyncReport, type SyncReport } from './sync-reports.ts'

export type SyncState =
  /** Not connected yet. */
  | { readonly is: 'connecting' }
  | { readonly is: 'offline'; readonly pending: number }
  | { readonly is: 'syncing'; readonly pending: number }
  | { readonly is: 'in-sync' }
  | { readonly is: 'refused'; readonly pending: number; readonly why: string }

/** Where the page syncs, and as whom. */
export interface SyncAddress {
  readonly url: string
  readonly storeId: string
  /** The query that the sync client of this release adds, beside store id and payload. */
  readonly query: string
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
  if (report?.isConnected === true) {
    if (report.refusal !== undefined) return { is: 'refused', pending, why: report.refusal }
    return pending === 0 ? { is: 'in-sync' } : { is: 'syncing', pending }
  }
  if (door.is === 'closed') return { is: 'refused', pending, why: door.why }
  return door.is === 'unreachable' ? { is: 'offline', pending } : { is: 'connecting' }
}

/** How long a connection may take before the page asks why, and how long it waits before it asks again. */
const askAfterMs = 1_000

/** Follows the sync client of a store. `pending` is how many events the sync server has not confirmed. */
export const useSyncState = (address: SyncAddress, pending: number): SyncState => {
  const { url, storeId, query, payload } = address
  const [report, setReport] = useState<SyncReport>()
  const [door, setDoor] = useState<Door>({ is: 'unasked' })
  useEffect(() => onSyncReport(storeId, setReport), [storeId])

  const isConnected = report?.isConnected === true
  useEffect(() => {
    if (isConnected) return setDoor({ is: 'unasked' })
    const stop = new AbortController()
    let timer = setTimeout(ask, askAfterMs)
    async function ask(): Promise<void> {
      const answer = await askDoor({ url, storeId, query, payload }, stop.signal)
      if (stop.signal.aborted) return
      setDoor(answer)
      timer = setTimeout(ask, 2 * askAfterMs)
    }
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [isConnected, url, storeId, query, payload])

  return syncState({ report, door, pending })
}

/**
 * Why there is no connection. A browser does not say why a WebSocket was refused, so the page asks for the same address
 * without an upgrade: whom the server would let in is told that an upgrade is missing (426), others why not.
 */
const askDoor = async (address: SyncAddress, signal: AbortSignal): Promise<Door> => {
  const url = new URL(address.url.replace(/^ws/, 'http') + address.query)
  url.searchParams.set('storeId', address.storeId)
  url.searchParams.set('payload', encodeURIComponent(JSON.stringify(address.payload)))
  try {
    const { ok, status, ...answer } = await readAnswer(await fetch(url, { signal, cache: 'no-store' }))
    if (ok || status === 426) return { is: 'open' }
    return status >= 500 && status !== 503 ? { is: 'unreachable' } : { is: 'closed', why: reasonIn(answer.text) }
  } catch {
    return { is: 'unreachable' }
  }
}

const readAnswer = async (response: Response) => ({
  ok: response.ok,
  status: response.status,
  text: await response.text(),
})

/** The sentence of an answer: what a `validatePayload` threw stands in it as `Error: …`. */
const reasonIn = (text: string): string => {
  const thrown = /\bError: ([^\n,]+)/.exec(text)?.[1]
  return (thrown ?? text.split('\n')[0] ?? '').trim().slice(0, 200) || 'the sync server does not let this page in'
}
