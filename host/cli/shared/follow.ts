/** Waiting for what a store does by itself. */
import { Failure, Interrupted } from '../command.ts'
import { pause } from './interrupt.ts'
import { progressOf } from './progress.ts'
import { count, plain } from './show.ts'
import { Refused, type Server, type State, Unreachable } from './server.ts'

const [soonMs, laterMs] = [100, 1_000]

/** For so long a server may be away, as while it is deployed. */
const patienceMs = 60_000

/** Whether a failure may pass by itself. */
export const mayPass = (error: unknown): boolean =>
  error instanceof Unreachable || (error instanceof Refused && (error.status >= 500 || error.status === 429))

/**
 * Asks for the state of a store until `look` returns something, and resolves with that. `interrupted` says what goes on if the
 * operator does not wait for it.
 */
export const until = async <T>(
  server: Server,
  storeId: string,
  interrupted: string,
  look: (state: State | undefined) => T | undefined,
): Promise<T> => {
  let answeredAt = Date.now()
  for (let waitMs = soonMs; ; waitMs = Math.min(laterMs, waitMs * 1.5)) {
    try {
      const state = await server.stateIfAny(storeId)
      answeredAt = Date.now()
      const found = look(state)
      if (found !== undefined) return found
    } catch (error) {
      if (error instanceof Interrupted) throw new Interrupted(interrupted)
      if (!mayPass(error) || Date.now() - answeredAt > patienceMs) throw error
    }
    await pause(waitMs, interrupted)
  }
}

/** Says a failure of the server's on stderr, once for each wording: it tries again by itself. */
export const complaints = (): ((message: string | undefined) => void) => {
  const said = new Set<string>()
  return (message) => {
    if (message === undefined || said.has(message)) return
    said.add(message)
    console.error(
      `${process.stderr.isTTY ? '\r\x1b[K' : ''}The server says: ${plain(message)}. It tries again by itself.`,
    )
  }
}

/** A server of an earlier release does not tell. */
const whyGivenUp = ({ lastRestore }: State): string => {
  if (lastRestore === undefined)
    return "the server's log line 'restore-failed' says why, unless somebody ended it, or reset the store"
  return lastRestore.message === undefined ? 'an operator ended it' : plain(lastRestore.message)
}

/** Follows a log on its way into a store until it is there; `backendId` is the lifetime that begins with it. */
export const restored = async (name: string, server: Server, storeId: string, backendId: string): Promise<State> => {
  const progress = progressOf('restoring', 'events')
  const complain = complaints()
  const goesOn = `${name}: interrupted: the server goes on by itself. See it with 'status', end it with 'restore --cancel'`
  try {
    return await until(server, storeId, goesOn, (state) => {
      if (state === undefined) throw new Failure(`${name}: the store was deleted meanwhile`)
      if (state.status === 'restore-failed')
        throw new Failure(`${name}: it cannot be done: ${plain(state.restore?.failed ?? '')}. The store serves nobody`)
      if (state.status === 'restoring') {
        progress.at(state.restore?.staged ?? 0, state.restore?.head)
        complain(state.restore?.lastError?.message)
        return undefined
      }
      if (state.backendId === backendId) return state
      throw new Failure(
        `${name}: it was given up, and the store goes on with the log that it has, up to event ${state.head}: ${whyGivenUp(state)}`,
      )
    })
  } finally {
    progress.end()
  }
}

/** `my-store has 3 events, up to event 3` */
export const holds = ({ storeId, events, head }: Pick<State, 'storeId' | 'events' | 'head'>): string =>
  `${plain(storeId)} has ${count(events, 'event')}, up to event ${head}`
