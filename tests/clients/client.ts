/**
 * One neutral interface over the sync clients of every generation.
 *
 * Owns: the words the scenarios speak (event, page, push outcome). Each generation's own module turns the published
 * client of that generation into a `SyncClient`; its imports resolve from its own folder, so generations never mix.
 */

/** A wire dialect, named after the client release that speaks it. */
export type Generation = 'v03' | 'v04' | 'v05'

/** An event as every generation encodes it. */
export interface Event {
  readonly name: string
  readonly args: unknown
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly clientId: string
  readonly sessionId: string
}

/** What one pull reply carries. */
export interface Page {
  readonly events: readonly Event[]
  /** Server time of the push of each event, as long as `events`. */
  readonly createdAt: readonly string[]
  /** Events still to come before this pull is level with the head; 0 on the last page. */
  readonly remaining: number
}

/** Why the backend refused a push or ended a pull: the tag, with the facts that came along. */
export interface Refusal {
  readonly error: string
  readonly minimumExpectedNum?: number
  readonly providedNum?: number
  readonly expected?: string
  readonly received?: string
  readonly message?: string
}

export type PushOutcome = 'ok' | Refusal

/** Thrown by the iteration of a pull that did not end well. */
export class PullError extends Error {
  readonly refusal: Refusal
  constructor(refusal: Refusal) {
    super(`the pull ended with ${JSON.stringify(refusal)}`)
    this.refusal = refusal
  }
}

export interface SyncClient {
  readonly generation: Generation
  /** Resolves once the client is connected. */
  connect(): Promise<void>
  push(batch: readonly Event[]): Promise<PushOutcome>
  /**
   * Pages after `cursor` (0: from the first event on). A live pull goes on until it is left; one that is not live ends
   * by itself. A v03 client can pull once in its life.
   */
  pull(cursor: number, mode: PullMode): AsyncIterable<Page>
  close(): Promise<void>
}

export type PullMode = 'live' | 'once'

export interface ClientOptions {
  /** `ws://127.0.0.1:PORT` */
  readonly url: string
  readonly storeId: string
  readonly payload: { readonly authToken: string }
  /** The backend id that this client remembers from an earlier life; none by default. */
  readonly backendId?: string
}

/** What each generation's module exports. */
export type MakeClient = (options: ClientOptions) => Promise<SyncClient>

/** Whether a pull ended because its socket broke: then, and only then, a client pulls again. */
export const isOffline = (refusal: Refusal): boolean =>
  refusal.error === 'IsOfflineError' || refusal.error.startsWith('Socket')
