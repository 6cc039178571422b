/**
 * The Durable Object class that an app extends: each event of the platform goes to the core, if it is about syncing.
 */
import { DurableObject } from 'cloudflare:workers'
import type * as CfTypes from '@cloudflare/workers-types'
import { hideSyncSockets, syncs } from '../src/edge/owned.js'
import { connectAgain } from '../src/edge/instance.js'
import { SharedAlarm } from './alarm.ts'
import { core, outlive, perInstance, unavailable } from './core.ts'
import { hostOf } from './hooks.ts'
import { checkNames, environment, variablesOf } from './settings.ts'
import type {
  ForwardHeadersOption,
  MakeDurableObjectClass,
  MakeDurableObjectClassOptions,
  SyncHandlers,
} from './types.ts'

/** The options that are no settings. */
const optionNames: readonly string[] = [
  'onPush',
  'onPushRes',
  'onPull',
  'onPullRes',
  'onCommitted',
  'forwardHeaders',
  'storage',
  'enabledTransports',
  'http',
  'otel',
]

/** The header by which the Worker tells the object of a request that it has let in. */
const visitHeader = 'x-livestore-sync-visit'

/** What the Worker writes into that header of a request over HTTP, and of no other: `route::Visit` in the core. */
const overHttp = '"errand":{"sync":{"door":"http"'

/** Bytes of a body that is read at once, however many there are; most pushes have less. The others are counted: `edge::body`. */
const smallBodyMax = 65_536

/**
 * The body of a request, if it says that it is small. Read before the core is asked, it lets that answer at once, without promises of
 * its own.
 */
const smallBodyOf = (request: Request): Promise<Uint8Array> | undefined => {
  const { body, headers } = request
  if (body === null) return Promise.resolve(new Uint8Array())
  const length = headers.get('Content-Length')
  if (length === null || Number(length) > smallBodyMax) return undefined
  return request.arrayBuffer().then((buffer) => new Uint8Array(buffer))
}

/** Whether a request that the Worker has not announced is for the sync backend of an object that has other things to do as well. */
const isForSync = ({ url }: Request): boolean => {
  const { pathname, search } = new URL(url)
  return (
    core.syncParams(search.slice(1)) !== undefined || (pathname.endsWith('/websocket') && search.includes('storeId='))
  )
}

/** Headers that hooks are shown, as JSON. */
const forwardedOf = (request: Request, option: ForwardHeadersOption | undefined): string | undefined => {
  if (option === undefined) return undefined
  if (typeof option === 'function') {
    const named = Object.entries(option(request as unknown as CfTypes.Request))
    return JSON.stringify(Object.fromEntries(named.map(([name, value]) => [name.toLowerCase(), value])))
  }
  const found = option.flatMap((name) => {
    const value = request.headers.get(name)
    return value === null ? [] : [[name.toLowerCase(), value] as const]
  })
  return JSON.stringify(Object.fromEntries(found))
}

/** What the options of an object say to the core. */
const environmentOf = (options: MakeDurableObjectClassOptions, env: object): object => {
  const { storage, enabledTransports } = options
  return environment(env, {
    ...(storage?._tag === 'd1' ? { ADOPT_D1: storage.binding } : {}),
    ...(enabledTransports === undefined ? {} : { ENABLED_TRANSPORTS: [...enabledTransports].join() }),
    ...variablesOf(options, env),
  })
}

type Base = new (ctx: any, env: any) => object

/** A class with syncing added: what is made of it must take any arguments to be a mixin for TypeScript. */
export type Synced<TBase> = TBase & (new (...args: any[]) => SyncHandlers)

/** The handlers that a base class may have. */
interface Handlers {
  fetch?(request: Request): Response | Promise<Response>
  alarm?(info?: unknown): void | Promise<void>
  webSocketMessage?(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void>
  webSocketClose?(socket: WebSocket, code: number, reason: string, wasClean: boolean): void | Promise<void>
  webSocketError?(socket: WebSocket, error: unknown): void | Promise<void>
}

/**
 * Adds syncing to a Durable Object class: requests to sync, the sockets they open and the alarm they need go to the sync
 * backend, everything else to `Base`, whose sockets, tags and alarm are left alone; when it asks for all sockets, it is told of
 * its own. A class with an `alarm` of its own, below or above, is called when the time has come that it set, and need not call
 * `super.alarm()`.
 *
 * @example
 * ```ts
 * export class Room extends withSync(PresenceRoom, { onPush: checkMembers }) {}
 * ```
 */
export const withSync = <TBase extends Base, TEnv = any>(
  Base: TBase,
  options: MakeDurableObjectClassOptions<TEnv> = {},
): Synced<TBase> => {
  checkNames('makeDurableObject', options, optionNames)
  const { forwardHeaders } = options
  const base = Base.prototype as Handlers
  const hasFetch = typeof base.fetch === 'function'
  /** Whether the class below was made without a thought of syncing. */
  const isUnaware = (Base as unknown) !== DurableObject

  class SyncBackend extends (Base as new (ctx: any, env: any) => Handlers) {
    readonly __DURABLE_OBJECT_BRAND = undefined as never
    readonly #ctx: any
    /** The core's half of this object. */
    readonly #core: () => core.SyncObject
    /** Where a class has an alarm of its own. */
    readonly #alarm: SharedAlarm | undefined

    constructor(ctx: any, env: any) {
      // Before the class below, which may set its alarm at once.
      const ofClass = (new.target.prototype as Handlers).alarm
      const app = ofClass === SyncBackend.prototype.alarm ? base.alarm : ofClass
      const shared = app === undefined ? undefined : new SharedAlarm(ctx.storage)
      if (isUnaware) hideSyncSockets(ctx)
      super(ctx, env)
      this.#ctx = ctx
      this.#core = perInstance(
        () => new core.SyncObject(ctx, environmentOf(options, env), hostOf(options, { ctx, env })),
      )
      this.#alarm = shared
      if (shared === undefined) return
      const goOff = (info?: unknown): Promise<void> =>
        shared.goOff(
          () => this.#core().alarm(),
          () => app?.call(this, info),
        )
      Object.defineProperty(this, 'alarm', { value: goOff })
    }

    /** Accepts a WebSocket for this store, or answers a request over HTTP. */
    override fetch(request: Request): Response | Promise<Response> {
      const visit = request.headers.get(visitHeader)
      if (hasFetch && visit === null && !isForSync(request)) return super.fetch!(request)
      const forwarded = forwardedOf(request, forwardHeaders)
      const serve = (body?: Uint8Array): Response | Promise<Response> =>
        outlive<Response>(() => this.#core().fetch(request, visit, forwarded, body), unavailable)
      const body = visit?.includes(overHttp) === true ? smallBodyOf(request) : undefined
      return body === undefined ? serve() : body.then(serve)
    }

    /** Answers one request of another Durable Object, both in the encoding of `@livestore/sync-cf`. */
    rpc(payload: Uint8Array): Promise<Uint8Array | ReadableStream> {
      return this.#core().rpc(payload)
    }

    /** Handles one frame of a client. */
    override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void> {
      if (!syncs(this.#ctx, socket)) return super.webSocketMessage?.(socket, message)
      return outlive<void>(
        () => this.#core().webSocketMessage(socket, message),
        () => connectAgain(socket),
      )
    }

    /** Forgets a socket that its client closed. */
    override webSocketClose(socket: WebSocket, code: number, reason: string, wasClean: boolean): void | Promise<void> {
      if (!syncs(this.#ctx, socket)) return super.webSocketClose?.(socket, code, reason, wasClean)
      this.#core().webSocketClose(socket, code)
    }

    /** Forgets a socket that broke. */
    override webSocketError(socket: WebSocket, error: unknown): void | Promise<void> {
      if (!syncs(this.#ctx, socket)) return super.webSocketError?.(socket, error)
      this.#core().webSocketError(socket)
    }

    /** Goes on with what did not fit into one turn. Where it fails, the runtime calls it again. */
    override alarm(info?: unknown): void | Promise<void> {
      if (this.#alarm === undefined) return this.#core().alarm()
      // It is called beside the app's.
      return super.alarm === undefined ? undefined : super.alarm(info)
    }
  }
  return SyncBackend as never
}

/**
 * Makes a Durable Object class whose objects each own the event log of one store.
 *
 * @example
 * ```ts
 * export class SyncBackendDO extends makeDurableObject({
 *   onPush: (message, { storeId }) => console.log(storeId, message.batch.length),
 * }) {}
 * ```
 */
export const makeDurableObject: MakeDurableObjectClass = (options) => withSync(DurableObject as never, options)
