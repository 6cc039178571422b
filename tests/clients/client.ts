/**
 * One neutral interface over the sync clients of every generation.
 *
 * Owns: the words the scenarios speak (event, page, push outcome). Each generation's own module turns the published
 * client of that generation into a `SyncClient`; its imports resolve from its own folder, so generations never mix.
 */

/** A wire dialect, named after the client release that speaks it. */
export type Generation = 'v03' | 'v04' | 'v05'

/** What carries the dialect. */
export type Transport = 'ws' | 'http' | 'do-rpc'

/** `v04 http` */
export const nameOf = ({ generation, transport }: { generation: Generation; transport: Transport }): string =>
  `${generation} ${transport}`

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
  readonly transport: Transport
  /** Resolves once the client is connected; over http, once the server has answered a ping. */
  connect(): Promise<void>
  push(batch: readonly Event[]): Promise<PushOutcome>
  /**
   * Pages after `cursor` (0: from the first event on). A live pull goes on until it is left; one that is not live ends
   * by itself. Over http a live pull asks again and again, so that pages without events are among its pages. A v03
   * client can pull once in its life.
   */
  pull(cursor: number, mode: PullMode): AsyncIterable<Page>
  close(): Promise<void>
}

export type PullMode = 'live' | 'once'

export interface ClientOptions {
  /** `ws://127.0.0.1:PORT`, whatever the transport. */
  readonly url: string
  readonly storeId: string
  readonly payload: { readonly authToken: string }
  /** The backend id that this client remembers from an earlier life; none by default. */
  readonly backendId?: string
}

/** What the module of each kind of client exports. */
export type MakeClient = (options: ClientOptions) => Promise<SyncClient>

/** Where a backend at `url` (`ws://…`) answers plain requests. */
export const httpUrlOf = (url: string): string => url.replace(/^ws/, 'http')

/** How often a live pull over http asks for new events. Published clients do so every 5 s. */
export const pollEveryMs = 50

/** Whether a pull ended because its socket broke: then, and only then, a client pulls again. */
export const isOffline = (refusal: Refusal): boolean =>
  refusal.error === 'IsOfflineError' || refusal.error.startsWith('Socket')
