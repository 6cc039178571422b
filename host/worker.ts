/**
 * The module that the Workers runtime loads: the Worker's fetch handler and the Durable Object classes, each a thin
 * door to the WebAssembly core.
 *
 * Owns one thing of its own: what happens when the instance of the core ends, by a trap or by an exception that ran
 * through it. A new instance replaces it, and every object of the isolate rebuilds itself at its next event from its
 * storage and its sockets' attachments, as it does after an eviction. What waited in the old instance, for a hook or for
 * the body of a request, fails: a socket is closed, so that its client asks again. The object that it worked for may
 * have stored events that it told nobody of, so all its sockets are closed.
 */
import { DurableObject } from 'cloudflare:workers'
import * as core from '../.cache/bindgen/core.js'
import { connectAgain, Ended, hasEnded, instanceNumber, whenEnded } from '../src/edge/instance.js'
// Stands beside the bundle; the bundler leaves this import alone.
import wasm from './index_bg.wasm'

core.initSync({ module: wasm })
core.begin()

/** What is asked of an object that a trap was met in. */
interface State {
  readonly id: { readonly name?: string }
  getWebSockets(): readonly WebSocket[]
}

/** What an error is and where it happened. What it says may hold what a user wrote, unless it is the engine's own. */
const traceOf = (error: unknown): string => {
  if (error instanceof WebAssembly.RuntimeError) return String(error.stack ?? error)
  if (!(error instanceof Error)) return `a thrown ${typeof error}`
  const frames = String(error.stack).replace(String(error), '').split('\n')
  return [error.constructor.name, ...frames.filter((frame) => /^ +at /.test(frame))].join('\n')
}

const logTrap = (error: unknown, storeId?: string): void =>
  console.error(JSON.stringify({ level: 'error', event: 'trap', storeId, message: traceOf(error) }))

whenEnded(({ error, owner }) => {
  const state = owner as State | undefined
  logTrap(error, state?.id.name)
  for (const socket of state?.getWebSockets() ?? []) connectAgain(socket)
})

/** Replaces the instance of the core if it has ended. */
const revive = (): void => {
  if (!hasEnded()) return
  try {
    core.__wbg_reset_state()
    core.begin()
  } catch (error) {
    logTrap(error)
    throw new Ended() // the next call tries again
  }
}

/** What `make` makes, anew in each instance of the core. */
const perInstance = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T; readonly instance: number } | undefined
  return () => {
    revive()
    if (made?.instance !== instanceNumber()) made = { value: make(), instance: instanceNumber() }
    return made.value
  }
}

/** The core's half of the Worker, by the bindings and variables that it was given. */
const workers = new WeakMap<object, () => core.Worker>()

const workerOf = (env: object): (() => core.Worker) => {
  let worker = workers.get(env)
  if (worker === undefined) {
    worker = perInstance(() => new core.Worker(env))
    workers.set(env, worker)
  }
  return worker
}

/** Calls the core; if its instance ends before it has an answer, the answer is `instead()`. */
const outlive = <R>(call: () => R | Promise<R>, instead: () => R): R | Promise<R> => {
  const replace = (error: unknown): R => {
    if (error instanceof Ended) return instead()
    throw error
  }
  try {
    const result = call()
    return result instanceof Promise ? result.catch(replace) : result
  } catch (error) {
    return replace(error)
  }
}

const unavailable = (): Response =>
  new Response(new Ended().message, { status: 503, headers: { 'Content-Type': 'text/plain' } })

/** The sync backend of one store: owns its event log, its sockets and their subscriptions. */
export class SyncBackendDO extends DurableObject<object> {
  /** The core's half of this object. */
  readonly #core = perInstance(() => new core.SyncObject(this.ctx, this.env))

  /** Accepts a WebSocket for this store, or answers a request over HTTP. */
  override fetch(request: Request): Response | Promise<Response> {
    return outlive<Response>(() => this.#core().fetch(request), unavailable)
  }

  /** Answers one request of another Durable Object, both in the encoding of `@livestore/sync-cf`. */
  rpc(payload: Uint8Array): Promise<Uint8Array | ReadableStream> {
    return this.#core().rpc(payload)
  }

  /** Handles one frame of a client. */
  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void> {
    return outlive<void>(
      () => this.#core().webSocketMessage(socket, message),
      () => connectAgain(socket),
    )
  }

  /** Forgets a socket that its client closed. */
  override webSocketClose(socket: WebSocket, code: number): void {
    this.#core().webSocketClose(socket, code)
  }

  /** Forgets a socket that broke. */
  override webSocketError(socket: WebSocket): void {
    this.#core().webSocketError(socket)
  }

  /** Goes on with what did not fit into one turn. Where it fails, the runtime calls it again. */
  override alarm(): void | Promise<void> {
    return this.#core().alarm()
  }
}

/** The same class under the name that 0.3 deployments gave it. */
export class WebSocketServer extends SyncBackendDO {}

export default {
  /** Routes a request: to its store's object, or to an answer that says what is wrong with it. */
  fetch: (request: Request, env: object): Response | Promise<Response> =>
    outlive<Response>(() => workerOf(env)().fetch(request), unavailable),
}
