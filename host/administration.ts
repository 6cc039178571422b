/**
 * What the administration answers, in types alone: docs/operations.md says what the members mean. The inspector and the command line
 * read it by these, and so do the tests. Members that may be absent are those that a server of an earlier release does not tell.
 */

/** Whose something is, as far as is known. */
export interface Whose {
  readonly clientId?: string | null
  /** The claim `sub` of its token. */
  readonly subject?: string | null
}

/** What is kept of a failure that may pass. */
export interface Trouble {
  readonly at: string
  readonly message: string
}

export interface PastError extends Trouble, Whose {
  readonly reason: string
}

export interface Socket extends Whose {
  readonly transport: string
  readonly generation: string
  readonly pulls: number
  readonly lag: number
  readonly unacknowledged: number
  readonly stuck: boolean
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
  readonly reason?: string
  readonly message?: string
  readonly head?: number
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

/** Where a log comes from that is brought in: one lifetime of a store. */
export interface Source {
  readonly storeId: string
  readonly backendId: string
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

/** A log that was to be brought in, and is not. */
export interface LastRestore {
  readonly at: string
  /** `failed`, or `ended` by an operator. */
  readonly outcome: string
  /** Why it failed. */
  readonly message?: string
  readonly from: Source
}

/** The state of a store that is in its object. */
export interface OpenState {
  readonly storeId: string
  /** `open`, `restoring`, `restore-failed`, `deleting` or `delete-failed`. */
  readonly status: string
  readonly backendId: string
  readonly head: number
  readonly events: number
  readonly bytes: number
  readonly format: number
  readonly time: string
  readonly lastPush: { readonly seqNum: number; readonly at: string } | null
  readonly connections: {
    readonly byTransport: Readonly<Record<'ws' | 'http' | 'do-rpc', number>>
    readonly byGeneration: Readonly<Record<'v03' | 'v04' | 'v05' | 'unknown', number>>
  }
  readonly inFlightBytes: number
  readonly sockets: readonly Socket[]
  readonly clientObjects: readonly ClientObject[]
  readonly stuckClients: readonly StuckClient[]
  readonly lastErrors: readonly PastError[]
  /** Where there is a backup. */
  readonly backup?: Backup
  /** While a log is brought in. */
  readonly restore?: {
    readonly from: Source
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
  /** How the last log that was to be brought in ended, if the store has gone on with the one that it had. */
  readonly lastRestore?: LastRestore
  /** While the store is deleted. */
  readonly deletion?: {
    readonly begunAt: string
    readonly events: number
    readonly backup: { readonly lifetimes: number; readonly events: number } | null
    readonly failures: number
    readonly lastError?: Trouble
  }
  /** Where stores end that nobody opens. */
  readonly retention?: { readonly openedAt: string; readonly endsAt: string }
}

/** The state of any store. Of one that is not in its object most is absent: `status` is `backup-found` or `log-elsewhere` as well. */
export interface State extends Partial<OpenState> {
  readonly storeId: string
  readonly status: string
  /** With `backup-found`. */
  readonly lifetimes?: readonly Lifetime[]
  /** With `log-elsewhere`. */
  readonly message?: string
}

/** A store that has a backup: what its latest lifetime is like, and how many there are. */
export interface ListedStore extends Omit<Lifetime, 'beganAt'> {
  readonly storeId: string
  readonly lifetimes: number
}

export interface StoreList {
  readonly stores: readonly ListedStore[]
  readonly next: string | null
}

/** One line of `events` or of an export. */
export interface EventLine {
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly name: string
  readonly args: unknown
  readonly clientId: string
  readonly sessionId: string
  readonly createdAt: string
}

/** A frame of the live route, as clients of LiveStore 0.4 are sent them. */
export interface LiveFrame {
  readonly _tag: string
  readonly requestId?: string
  readonly values?: ReadonlyArray<{
    readonly batch: ReadonlyArray<{
      readonly eventEncoded: Omit<EventLine, 'createdAt'>
      readonly metadata: { readonly value?: { readonly createdAt: string } }
    }>
    readonly backendId: string
  }>
  readonly exit?: { readonly _tag: string; readonly cause?: { readonly error?: { readonly _tag: string } } }
}

export interface Config {
  readonly version: string
  readonly variables: ReadonlyArray<{
    readonly name: string
    readonly value: string | null
    readonly isSet: boolean
    readonly isSecret: boolean
  }>
  readonly bindings: { readonly objects: string | null; readonly database: boolean; readonly metrics: boolean }
  readonly warnings: ReadonlyArray<{ readonly name: string; readonly message: string }>
}

export interface Forecast {
  readonly from: Source
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

/** A difference between the backup and the log. */
export interface Difference {
  readonly difference: string
  readonly from?: number
  readonly to?: number
  readonly columns?: readonly string[]
  readonly repaired?: boolean
}

/** How a verification has ended, or the part of it that one request does. */
export interface Verified {
  readonly result: 'same' | 'different' | 'unfinished'
  readonly events: number
  readonly head: number
  readonly lag: number
  readonly differences: number
  readonly repaired?: number
  readonly next?: number
}

export type VerifyLine = Difference | Verified | { readonly error: string }
