/**
 * The module that the Workers runtime loads: the Worker's fetch handler and the Durable Object classes, each a thin
 * door to the WebAssembly core.
 *
 * Owns one thing of its own: what happens when the core traps. A trap leaves the instance's memory in an unknown
 * state, so a new instance replaces it, and every object of the isolate rebuilds itself at its next event from its
 * storage and its sockets' attachments, as it does after an eviction. What waited in the old instance, for a hook or for
 * the body of a request, fails: a socket is closed, so that its client asks again.
 */
import { DurableObject } from 'cloudflare:workers'
import * as core from '../.cache/bindgen/core.js'
// Stands beside the bundle; the bundler leaves this import alone.
import wasm from './index_bg.wasm'

core.initSync({ module: wasm })

/** Counts the instances of the core in this isolate. */
let instance = 0

/** Fail what waits in the instance that is in use now. */
const waiting = new Set<(trap: unknown) => void>()

/** The core's half of the Worker, by the bindings and variables that it was given. */
let workers = new WeakMap<object, core.Worker>()

const workerOf = (env: object): core.Worker => {
  let worker = workers.get(env)
  if (worker === undefined) {
    worker = new core.Worker(env)
    workers.set(env, worker)
  }
  return worker
}

const replaceInstance = (trap: WebAssembly.RuntimeError): void => {
  console.error(JSON.stringify({ level: 'error', event: 'trap', message: String(trap.stack ?? trap) }))
  core.__wbg_reset_state()
  instance += 1
  workers = new WeakMap()
  for (const fail of waiting) fail(trap)
  waiting.clear()
}

// What goes on after a wait is called by the runtime, where nobody could catch its trap.
addEventListener('error', ({ error }) => {
  if (error instanceof WebAssembly.RuntimeError) replaceInstance(error)
})

/** Runs `call` on the core; a trap costs this one call and no other. */
const guard = <R>(call: () => R): R => {
  try {
    return call()
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) replaceInstance(error)
    throw error
  }
}

/** Like `guard`, for what may wait; if the instance is replaced meanwhile, it fails. */
const guardLater = <R>(call: () => R | Promise<R>): R | Promise<R> => {
  const result = guard(call)
  if (!(result instanceof Promise)) return result
  return new Promise((resolve, reject) => {
    waiting.add(reject)
    result.then(resolve, reject).finally(() => waiting.delete(reject))
  })
}

/** The sync backend of one store: owns its event log, its sockets and their subscriptions. */
export class SyncBackendDO extends DurableObject<object> {
  #object: core.SyncObject | undefined
  #instance = -1

  /** The core's half of this object, in the instance that is in use now. */
  get #core(): core.SyncObject {
    if (this.#object === undefined || this.#instance !== instance) {
      this.#object = guard(() => new core.SyncObject(this.ctx, this.env))
      this.#instance = instance
    }
    return this.#object
  }

  /** Accepts a WebSocket for this store, or answers a request over HTTP. */
  override fetch(request: Request): Response | Promise<Response> {
    return guardLater<Response>(() => this.#core.fetch(request))
  }

  /** Answers one request of another Durable Object, both in the encoding of `@livestore/sync-cf`. */
  rpc(payload: Uint8Array): Promise<Uint8Array | ReadableStream> {
    return guardLater(() => this.#core.rpc(payload)) as Promise<Uint8Array | ReadableStream>
  }

  /** Handles one frame of a client. */
  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void> {
    const done = guardLater<void>(() => this.#core.webSocketMessage(socket, message))
    return done?.catch(() => socket.close(1012, 'connect again'))
  }

  /** Forgets a socket that its client closed. */
  override webSocketClose(socket: WebSocket, code: number): void {
    guard(() => this.#core.webSocketClose(socket, code))
  }

  /** Forgets a socket that broke. */
  override webSocketError(socket: WebSocket): void {
    guard(() => this.#core.webSocketError(socket))
  }

  /** Goes on with what did not fit into one turn. */
  override alarm(): void {
    guard(() => this.#core.alarm())
  }
}

/** The same class under the name that 0.3 deployments gave it. */
export class WebSocketServer extends SyncBackendDO {}

export default {
  /** Routes a request: to its store's object, or to an answer that says what is wrong with it. */
  fetch: (request: Request, env: object): Response | Promise<Response> =>
    guard(() => workerOf(env).fetch(request)) as Response | Promise<Response>,
}
