/** What the administration answers: docs/operations.md says what the members mean. */

export interface PastError {
  readonly at: string
  readonly reason: string
  readonly message: string
  readonly clientId?: string | null
  readonly subject?: string | null
}

export interface Socket {
  readonly transport: string
  readonly generation: string
  readonly pulls: number
  readonly lag: number
  readonly unacknowledged: number
  readonly stuck: boolean
  readonly subject?: string | null
  readonly clientId?: string | null
  readonly inspector?: boolean
}

export interface ClientObject {
  readonly binding: string
  readonly id: string
  readonly generation: string
  readonly lag: number
}

export interface StuckClient {
  readonly clientId: string
  readonly refusals: number
  readonly reason?: string | null
  readonly message?: string | null
  readonly head?: number | null
}

interface Trouble {
  readonly at: string
  readonly message: string
}

export interface Backup {
  readonly head: number
  readonly lagEvents: number
  readonly lagSeconds: number
  readonly failures: number
  readonly lastError: PastError | null
  readonly compaction?: {
    readonly foldedTo: number
    readonly isUnderWay: boolean
    readonly lastError: Trouble | null
  }
}

/** A log in the backup. */
export interface Lifetime {
  readonly backendId: string
  readonly head: number
  readonly events: number
  readonly bytes: number
  readonly firstAt: string
  readonly lastAt: string
  readonly beganAt: string
  readonly copiedAt: string
}

/** Of a store that is not in its object, most of it is absent. */
export interface State {
  readonly storeId: string
  /** `open`, `restoring`, `restore-failed`, `deleting`, `delete-failed`, `backup-found` or `log-elsewhere`. */
  readonly status: string
  readonly backendId?: string
  readonly head?: number
  readonly events?: number
  readonly bytes?: number
  readonly format?: number
  readonly time?: string
  readonly lastPush?: { readonly seqNum: number; readonly at: string } | null
  readonly connections?: {
    readonly byTransport: Readonly<Record<string, number>>
    readonly byGeneration: Readonly<Record<string, number>>
  }
  readonly inFlightBytes?: number
  readonly sockets?: readonly Socket[]
  readonly clientObjects?: readonly ClientObject[]
  readonly stuckClients?: readonly StuckClient[]
  readonly lastErrors?: readonly PastError[]
  readonly backup?: Backup
  /** While a log is brought in. */
  readonly restore?: {
    readonly backendId: string
    readonly events: number
    readonly head: number
    readonly staged: number
    /** From which byte on the rest of a file is wanted. */
    readonly at?: number
    readonly failures: number
    readonly lastError?: Trouble
    readonly failed?: string
  }
  readonly deletion?: {
    readonly begunAt: string
    readonly events: number
    readonly backup: { readonly lifetimes: number; readonly events: number } | null
    readonly failures: number
    readonly lastError?: Trouble
  }
  readonly retention?: { readonly openedAt: string; readonly endsAt: string }
  /** With `backup-found`. */
  readonly lifetimes?: readonly Lifetime[]
  /** With `log-elsewhere`. */
  readonly message?: string
}

export interface ListedStore {
  readonly storeId: string
  readonly head: number
  readonly events: number
  readonly bytes: number
  readonly lastAt: string
  readonly copiedAt: string
  readonly lifetimes: number
}

export interface StoreList {
  readonly stores: readonly ListedStore[]
  readonly next: string | null
}

/** One line of `events`. */
export interface EventLine {
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly name: string
  readonly args?: unknown
  readonly clientId: string
  readonly sessionId: string
  readonly createdAt: string
}

export interface Config {
  readonly version: string
  readonly variables: ReadonlyArray<{
    readonly name: string
    readonly value: string | null
    readonly isSet: boolean
    readonly isSecret: boolean
  }>
  readonly bindings: Readonly<Record<string, string | boolean | null>>
  readonly warnings: ReadonlyArray<{ readonly name: string; readonly message: string }>
}

export interface Forecast {
  readonly from: { readonly storeId: string; readonly backendId: string }
  readonly keepsBackendId: boolean
  readonly kept: { readonly events: number; readonly head: number; readonly bytes: number; readonly lastAt: string }
  readonly lost: { readonly afterUpTo: number; readonly ofStore: number }
}

export interface Imported {
  readonly backendId: string
  readonly events: number
  readonly head: number
  readonly undated: number
}

/** A line of a verification: a difference, an error, or its result. */
export interface VerifyLine {
  readonly difference?: string
  readonly from?: number
  readonly to?: number
  readonly columns?: readonly string[]
  readonly error?: string
  readonly result?: string
  readonly events?: number
  readonly head?: number
  readonly lag?: number
  readonly differences?: number
  readonly next?: number
}
