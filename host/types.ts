/**
 * What an app says to the package and is shown by it. The names that `@livestore/sync-cf/cf-worker` has mean the same here.
 */
import type * as CfTypes from '@cloudflare/workers-types'

/** The bindings, variables and secrets of a Worker. */
// eslint-disable-next-line -- as sync-cf has it: an app's own type is given where it matters.
export type Env = {}

export type StoreId = string
export type DurableObjectId = string

/** What JSON can hold. */
export type JsonValue =
  string | number | boolean | null | { readonly [member: string]: JsonValue } | readonly JsonValue[]

/** As Effect's: something or nothing. */
export type Option<T> = { readonly _tag: 'None' } | { readonly _tag: 'Some'; readonly value: T }

/** Names in lower case, and values. */
export type ForwardedHeaders = ReadonlyMap<string, string>

/** How a client comes: over a WebSocket, HTTP, or a call of another Durable Object. */
export type Transport = 'ws' | 'http' | 'do-rpc'

/** The dialect of a client: that of 0.3, of 0.4, or of the Effect 4 line. */
export type Generation = 'v03' | 'v04' | 'v05'

/** An event of the log. `args` are parsed when they are read for the first time. */
export type EventEncoded = {
  readonly name: string
  // biome-ignore -- the app's own.
  readonly args: any
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly clientId: string
  readonly sessionId: string
}

/** A push before it is decided. */
export type PushRequest = {
  readonly batch: readonly EventEncoded[]
  /** The lifetime of the log that the client knows. */
  readonly backendId: Option<string>
}

/** A push that is stored. */
export type PushAck = {}

/** A push that is refused; `cause` says why. */
export type UnknownError = Error & { readonly _tag: 'UnknownError' }

/** A pull before it is answered. */
export type PullRequest = {
  /** The last event that the client has. */
  readonly cursor: Option<{ readonly backendId: string; readonly eventSequenceNumber: number }>
  /** Whether later events are to follow. */
  readonly live: boolean
}

/** A part of the answer to a pull, or of a batch that goes to live pulls. */
export type PullResponse = {
  readonly batch: readonly {
    readonly eventEncoded: EventEncoded
    readonly metadata: Option<{ readonly createdAt: string }>
  }[]
  readonly pageInfo:
    | { readonly _tag: 'NoMore' }
    | { readonly _tag: 'MoreUnknown' }
    | { readonly _tag: 'MoreKnown'; readonly remaining: number }
  /** The lifetime of the log; empty in the answer to a client of 0.3, which is not told it. */
  readonly backendId: string
}

/** Events that are stored for good: in order, without gaps. */
export type Committed = {
  readonly batch: readonly EventEncoded[]
  readonly backendId: string
}

/** An Effect, which is run as it is returned. Nothing of the package is made of Effect: what is not plain is refused. */
export type EffectLike = { pipe(...functions: never[]): unknown; [Symbol.iterator](): Iterator<unknown> }

/** What a hook returns. What it throws, or its promise rejects with, is a refusal. */
export type HookResult = void | PromiseLike<void> | EffectLike

/** What `onPush` and `onPull` of sync-cf are shown beside the message. */
export type CallbackContext = {
  storeId: StoreId
  /** The sync payload that the client connected with; none in calls of other Durable Objects. */
  payload?: JsonValue
  /** Headers that `forwardHeaders` names. */
  headers?: ForwardedHeaders
}

/** What hooks of an object are shown beside the message. */
export type HookContext<TEnv = any> = CallbackContext & {
  /** What the object was given. */
  readonly env: TEnv
  readonly ctx: CfTypes.DurableObjectState
  /** Keeps the object in memory until this is settled. */
  waitUntil(promise: Promise<unknown>): void
  /** The claims of the JSON Web Token that was verified, if one was. */
  readonly claims?: { readonly [claim: string]: JsonValue } | undefined
  /** None in `onCommitted`, which is about no request. */
  readonly transport?: Transport
  /** None in `onCommitted`. */
  readonly generation?: Generation
}

/**
 * Request headers that hooks are shown: their names in any case, or a function that takes what it wants from the request
 * that reaches the object.
 */
export type ForwardHeadersOption = readonly string[] | ((request: CfTypes.Request) => Record<string, string>)

/** A setting: its value, or a function of the Worker's `env` that returns it. */
export type Setting<T> = T | ((env: any) => T | undefined)

/** Where objects run and keep their data, without an exception. Objects of another jurisdiction, or of none, are others. */
export type Jurisdiction = 'eu' | 'us' | 'fedramp' | 'fedramp-high'

/** Where an object had better be made that is not there yet, for the platform to decide. */
export type LocationHint =
  'wnam' | 'enam' | 'sam' | 'weur' | 'eeur' | 'apac' | 'apac-ne' | 'apac-se' | 'oc' | 'afr' | 'me'

/**
 * The variables of the Worker as options: `MAX_EVENT_BYTES` is `maxEventBytes`. An option goes before the variable of its name.
 * Lists may be arrays. The README says what each means.
 */
export interface Settings {
  authToken?: Setting<string | readonly string[]>
  jwtSecret?: Setting<string>
  jwtPublicKey?: Setting<string>
  jwtJwksUrl?: Setting<string>
  jwtIssuer?: Setting<string>
  jwtAudience?: Setting<string | readonly string[]>
  jwtStoreClaim?: Setting<string>
  jwtAccessClaim?: Setting<string>
  jwtGraceSeconds?: Setting<number>
  allowAnonymous?: Setting<boolean>
  cookieName?: Setting<string>
  adminSecret?: Setting<string>
  allowedOrigins?: Setting<string | readonly string[]>
  devHosts?: Setting<string | readonly string[]>
  jurisdiction?: Setting<Jurisdiction>
  locationHint?: Setting<LocationHint>
  maxEventBytes?: Setting<number>
  maxBatchEvents?: Setting<number>
  maxFrameBytes?: Setting<number>
  maxStoreBytes?: Setting<number>
  maxConnections?: Setting<number>
  pushRate?: Setting<number>
  backup?: Setting<'d1' | 'off'>
  backupDelaySeconds?: Setting<number>
  compactAfterDays?: Setting<number | 'off'>
  restoreEmpty?: Setting<'hold' | 'auto' | 'new'>
  adoptD1?: Setting<string>
  ttlDays?: Setting<number>
  eventNames?: Setting<string | readonly string[]>
  logLevel?: Setting<'error' | 'warn' | 'info' | 'debug'>
}

/** Options of `makeDurableObject`. Hooks are methods, so that one may be declared with the types of another package. */
export interface MakeDurableObjectClassOptions<TEnv = any> extends Settings {
  /** A push is about to be decided. A refusal reaches its client as `UnknownError`, and nothing is stored. */
  onPush?(message: PushRequest, context: HookContext<TEnv>): HookResult
  /** A push that `onPush` let pass is stored and about to be acknowledged, or is refused. */
  onPushRes?(message: PushAck | UnknownError, context: HookContext<TEnv>): HookResult
  /** A pull is about to be answered. */
  onPull?(message: PullRequest, context: HookContext<TEnv>): HookResult
  /** A page of a pull is sent, or a part of a batch to live pulls. */
  onPullRes?(message: PullResponse | UnknownError, context: HookContext<TEnv>): HookResult
  /**
   * Events are stored: called after the commit, in order, at least once for each event, with 1 to 100 at a time, and again if
   * it fails. A store that has events when it first meets this hook begins at its head.
   */
  onCommitted?(message: Committed, context: HookContext<TEnv>): HookResult
  forwardHeaders?: ForwardHeadersOption
  /**
   * Where sync-cf kept the log. It is in the object's SQLite here in either case: with `d1` a log that lies in the database of
   * that binding is brought in at the first contact.
   */
  storage?: { _tag: 'do-sqlite' } | { _tag: 'd1'; binding: string }
  /** The transports that are served. @default all */
  enabledTransports?: Set<Transport>
  http?: {
    /** Headers that every answer to a client over HTTP is to have. */
    responseHeaders?: Record<string, string>
  }
  /** Accepted for the sake of sync-cf's options; traces are the platform's here. */
  otel?: { baseUrl?: string; serviceName?: string }
}

/** What `validatePayload` is shown beside the payload. */
export type ValidatePayloadContext = {
  storeId: string
  /** All headers of the request. */
  headers: ForwardedHeaders
}

/** The same with what is added here. */
export type ValidateContext<TEnv = any> = ValidatePayloadContext & {
  readonly env: TEnv
  readonly ctx: CfTypes.ExecutionContext
  readonly request: CfTypes.Request
  waitUntil(promise: Promise<unknown>): void
  /** The claims of the JSON Web Token that was verified, if one was. */
  readonly claims?: { readonly [claim: string]: JsonValue } | undefined
  readonly transport: Transport
}

/**
 * What decodes a payload: a schema of Effect, one of the Standard Schema interface (Zod, Valibot, ArkType), or an object with a
 * function `decode` or `parse` that returns what it makes of a value, or throws.
 */
export type PayloadSchema<T> =
  | { readonly Type: T; readonly ast: unknown }
  | { readonly '~standard': { validate(value: unknown): unknown; readonly types?: { readonly output: T } | undefined } }
  | { decode(value: unknown): T }
  | { parse(value: unknown): T }

/** The names of the Durable Object bindings of an `Env`; any name where it has none. */
export type DurableObjectKeys<TEnv> = NamespaceKeys<TEnv> extends never ? string : NamespaceKeys<TEnv> & string

type NamespaceKeys<T> = {
  [K in keyof T]-?: T[K] extends { idFromName(name: string): unknown; newUniqueId(...args: never): unknown } ? K : never
}[keyof T]

/** What says who may sync, of `makeWorker`, `handleSyncRequest` and `handleWebSocket`. */
export interface ValidateOptions<TSyncPayload = JsonValue, TEnv = any> {
  /** Decodes the payload before `validatePayload` is shown it; one that does not decode is refused. */
  syncPayloadSchema?: PayloadSchema<TSyncPayload>
  /**
   * Says who may sync: whoever it throws for, or rejects, is answered 400. Where it is given, and no option such as
   * `authToken`, it alone decides, and no variable is asked.
   */
  validatePayload?(payload: TSyncPayload, context: ValidateContext<TEnv>): HookResult
}

/** Options of `makeWorker`. */
export interface MakeWorkerOptions<TEnv = Env, TSyncPayload = JsonValue>
  extends ValidateOptions<TSyncPayload, TEnv>, Settings {
  /** The Durable Object binding. @default `SYNC_BACKEND_DO`, else `WEBSOCKET_SERVER`, whichever exists */
  syncBackendBinding?: DurableObjectKeys<TEnv>
  /** The same, as sync-cf 0.3 has it. */
  durableObject?: { name?: string }
  /** Whether pages of every origin may read answers, and connect. @default false */
  enableCORS?: boolean
}

/** A request, by whichever types an app has: a browser's, or those of any release of the platform's. */
export interface AnyRequest {
  readonly method: string
  readonly url: string
  readonly headers: { get(name: string): string | null; has(name: string): boolean }
}

/** The state of an object, in the same way. */
export interface AnyState {
  readonly id: { toString(): string; readonly name?: string | undefined }
  readonly storage: { readonly sql: object; setAlarm(time: number): Promise<void> }
}

/** What is used of a Worker's `ctx`. */
export interface Context {
  waitUntil(promise: Promise<any>): void
  passThroughOnException(): void
}

/** A handler of `fetch`. */
export type CFWorker<TEnv = Env, _T = unknown> = {
  fetch: <CFHostMetada = unknown>(
    request: CfTypes.Request<CFHostMetada>,
    env: TEnv,
    ctx: CfTypes.ExecutionContext,
  ) => Promise<CfTypes.Response>
}

/** What a client says in the query of its URL. */
export type SearchParams = {
  readonly storeId: string
  readonly payload: JsonValue | undefined
  readonly transport: 'http' | 'ws'
}

/** An object that answers the calls of other Durable Objects. */
export interface SyncBackendRpcInterface {
  __DURABLE_OBJECT_BRAND: never
  rpc(payload: Uint8Array): Promise<Uint8Array | CfTypes.ReadableStream>
}

export type DoState = CfTypes.DurableObjectState

/** What is added to an object that syncs. */
export interface SyncHandlers extends SyncBackendRpcInterface {
  fetch(request: CfTypes.Request): Promise<CfTypes.Response>
  alarm(info?: CfTypes.AlarmInvocationInfo): void | Promise<void>
  webSocketMessage(socket: CfTypes.WebSocket, message: string | ArrayBuffer): void | Promise<void>
  webSocketClose(socket: CfTypes.WebSocket, code: number, reason: string, wasClean: boolean): void | Promise<void>
  webSocketError(socket: CfTypes.WebSocket, error: unknown): void | Promise<void>
}

/** An object that syncs. */
export interface SyncBackendObject<TEnv = any> extends SyncHandlers {
  readonly ctx: CfTypes.DurableObjectState
  readonly env: TEnv
}

export type DoObject<T> = CfTypes.DurableObject & T

/** A class whose objects sync. What a subclass hands to it as `env` may be more than its own. */
export type SyncBackendClass<TEnv = any> = { new (ctx: AnyState, env: any): SyncBackendObject<TEnv> }

export type MakeDurableObjectClass = <TEnv = any>(
  options?: MakeDurableObjectClassOptions<TEnv>,
) => SyncBackendClass<TEnv>
