/** Waiting for conditions with a deadline, so that no test sleeps and each failure says what did not happen. */
import { setTimeout as delay } from 'node:timers/promises'

const pollEveryMsUsual = 5

/**
 * Resolves with the first value of `condition` that is neither `undefined` nor `false`. Rejects with `claim`, and with
 * what `seen` tells, once `deadlineMs` have passed. Asks again after `pollEveryMs`.
 */
export const eventually = async <T>(
  claim: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 15_000,
  seen: () => unknown = () => undefined,
  pollEveryMs = pollEveryMsUsual,
): Promise<T> => {
  const startedAt = performance.now()
  for (;;) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    if (performance.now() - startedAt > deadlineMs) {
      const facts = seen()
      const suffix = facts === undefined ? '' : `; seen: ${JSON.stringify(facts)}`
      throw new Error(`not within ${deadlineMs} ms: ${claim}${suffix}`)
    }
    await delay(pollEveryMs)
  }
}

/** The value of `promise`, or a rejection with `claim` once `deadlineMs` have passed. */
export const within = async <T>(claim: string, promise: Promise<T>, deadlineMs = 15_000): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadlineMs} ms: ${claim}`)), deadlineMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
