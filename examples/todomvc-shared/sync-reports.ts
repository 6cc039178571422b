/**
 * What the sync client knows travels from LiveStore's worker to every tab of the browser: whether it is connected, and
 * what the sync backend has refused.
 */

/** What is known of the sync client. */
export interface SyncReport {
  readonly isConnected: boolean
  /** Why the sync backend took the last request not, in words for the user. */
  readonly refusal: string | undefined
  /** Whether nothing more comes of it until the page is loaded again. */
  readonly isOver: boolean
}

type Message = { readonly report: SyncReport } | 'who is there?'

const channelOf = (storeId: string): BroadcastChannel => new BroadcastChannel(`todomvc-sync:${storeId}`)

/** In the worker: tells all tabs what changed, and a tab that asks how things are. */
export const sendSyncReports = (storeId: string): ((change: Partial<SyncReport>) => void) => {
  const channel = channelOf(storeId)
  let report: SyncReport = { isConnected: false, refusal: undefined, isOver: false }
  const send = (): void => channel.postMessage({ report } satisfies Message)
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (data === 'who is there?') send()
  }
  send()
  return (change) => {
    report = { ...report, ...change }
    send()
  }
}

/** In a tab: hears the reports of the worker, whichever tab has started it. Returns how to stop. */
export const onSyncReport = (storeId: string, listen: (report: SyncReport) => void): (() => void) => {
  const channel = channelOf(storeId)
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (typeof data === 'object') listen(data.report)
  }
  channel.postMessage('who is there?' satisfies Message)
  return () => channel.close()
}

/** An error of the sync client in words for the user. */
export const wordsOf = (error: unknown): string => {
  for (let cause = error; typeof cause === 'object' && cause !== null;) {
    const { cause: inner, message } = cause as { readonly cause?: unknown; readonly message?: unknown }
    if (inner === undefined) return typeof message === 'string' && message !== '' ? message : unexplained
    if (typeof inner === 'string') return inner
    cause = inner
  }
  return unexplained
}

const unexplained = 'the sync server gave no reason'
