/** How many events of this browser the sync backend has not confirmed: what is said of it by LiveStore's two parts. */
import { useEffect, useState } from 'react'

/** Calls `listen` with a count whenever it changes. Returns how to stop. */
export type Follow = (listen: (count: number) => void) => () => void

/**
 * An event is pending in the tab's session until LiveStore's worker, which all tabs share, has taken it, and in the worker
 * until the sync backend has.
 */
export const usePending = (inSession: Follow, inWorker: Follow): number => {
  const [session, setSession] = useState(0)
  const [worker, setWorker] = useState(0)
  useEffect(() => inSession(setSession), [inSession])
  useEffect(() => inWorker(setWorker), [inWorker])
  return Math.max(session, worker)
}

/** How often a count is read that tells nobody when it changes, and how long an answer is waited for. */
const [readEveryMs, answerMsMax] = [250, 2_000]

/** How many readings without an answer make a worker that is gone. */
const unansweredMax = 3

/**
 * Follows a count by reading it again and again. An answer may never come: the worker that was asked ends with the tab
 * that had started it, and another takes over, or nobody does; `onSilence` is told when several were not answered.
 */
export const followByReading =
  (read: () => Promise<number>, onSilence: (isSilent: boolean) => void): Follow =>
  (listen) => {
    let unanswered = 0
    let isOver = false
    let timer: ReturnType<typeof setTimeout>
    const readAgain = async (): Promise<void> => {
      const late = new Promise<undefined>((resolve) => setTimeout(resolve, answerMsMax))
      const count = await Promise.race([read(), late]).catch(() => undefined)
      if (isOver) return
      unanswered = count === undefined ? unanswered + 1 : 0
      onSilence(unanswered >= unansweredMax)
      if (count !== undefined) listen(count)
      timer = setTimeout(() => void readAgain(), readEveryMs)
    }
    void readAgain()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }
