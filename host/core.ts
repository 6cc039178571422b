/**
 * The WebAssembly core, and what happens when its instance ends, by a trap or by an exception that ran through it.
 *
 * A new instance replaces it, and every object of the isolate rebuilds itself at its next event from its storage and its
 * sockets' attachments, as it does after an eviction. What waited in the old instance, for a hook or for the body of a
 * request, fails: a socket is closed, so that its client asks again. The object that it worked for may have stored events
 * that it told nobody of, so all its sockets are closed.
 */
import * as core from '../.cache/bindgen/core.js'
import { syncSockets } from '../src/edge/owned.js'
import { connectAgain, Ended, hasEnded, instanceNumber, whenEnded } from '../src/edge/instance.js'
import { environment, type Variables } from './settings.ts'
// Stands beside the bundle; the bundler leaves this import alone.
import wasm from './index_bg.wasm'

export { core }

core.initSync({ module: wasm })
core.begin()

/** What is asked of an object that a trap was met in. */
interface State {
  readonly id: { readonly name?: string }
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
  for (const socket of state === undefined ? [] : syncSockets(state)) connectAgain(socket)
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
export const perInstance = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T; readonly instance: number } | undefined
  return () => {
    revive()
    if (made?.instance !== instanceNumber()) made = { value: make(), instance: instanceNumber() }
    return made.value
  }
}

/** The core's half of the Worker, by what it was given and the variables that options made. */
const workers = new WeakMap<object, Map<string, () => core.Worker>>()

/** How many sets of variables are kept for one `env`. */
const workersKept = 16

/** The one that was asked for last, which is the only one in most deployments. */
let last: { readonly env: object; readonly variables: Variables; readonly worker: () => core.Worker } | undefined

export const workerOf = (env: object, variables: Variables): (() => core.Worker) => {
  if (last?.env === env && last.variables === variables) return last.worker
  const worker = workerAmong(env, variables)
  last = { env, variables, worker }
  return worker
}

const workerAmong = (env: object, variables: Variables): (() => core.Worker) => {
  let ofEnv = workers.get(env)
  if (ofEnv === undefined) workers.set(env, (ofEnv = new Map()))
  const key = JSON.stringify(variables, (_, value: unknown) => value ?? null)
  let worker = ofEnv.get(key)
  if (worker === undefined) {
    if (ofEnv.size >= workersKept) ofEnv.clear()
    worker = perInstance(() => new core.Worker(environment(env, variables)))
    ofEnv.set(key, worker)
  }
  return worker
}

/** Calls the core; if its instance ends before it has an answer, the answer is `instead()`. */
export const outlive = <R>(call: () => R | Promise<R>, instead: () => R): R | Promise<R> => {
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

/** What a request is answered for which there is no instance. */
export const unavailable = (): Response =>
  new Response(new Ended().message, { status: 503, headers: { 'Content-Type': 'text/plain' } })
