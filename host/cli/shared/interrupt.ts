/** Ctrl-C and its like: what is waited for ends, so that the command can tidy up. A second one ends the process at once. */
import { Interrupted } from '../command.ts'

const controller = new AbortController()

const listen = (): void => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130)
      controller.abort()
    })
}

let listens = false

/** Aborts once somebody interrupts the command. From the first call on, nothing else happens then. */
export const interruption = (): AbortSignal => {
  if (!listens) listen()
  listens = true
  return controller.signal
}

/** Throws what a command ends with that was interrupted; `told` says what is left of it. */
export const throwIfInterrupted = (told = 'interrupted'): void => {
  if (controller.signal.aborted) throw new Interrupted(told)
}

/** Resolves after so many milliseconds; throws {@link Interrupted} if that comes first. */
export const pause = (ms: number, told?: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const signal = interruption()
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      try {
        throwIfInterrupted(told)
        resolve()
      } catch (error) {
        reject(error)
      }
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
  })
