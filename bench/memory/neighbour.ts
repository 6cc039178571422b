/**
 * The client of another store in the same isolate: five times a second it pushes an event and pulls it back. What it
 * meets while a row runs is what the row costs others.
 *
 * Runs in a thread of its own, so that its times are the server's and not those of the clients of the row.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { batchOf } from './events.ts'
import { Healthy } from './healthy.ts'
import { inTime } from './in-time.ts'

/** What the neighbour met. */
export interface Met {
  readonly roundTrips: number
  readonly worstMs: number
  /** What went wrong: a round trip that took too long, a socket that was closed, an answer that was none. */
  readonly failures: readonly string[]
}

interface Options {
  readonly url: string
  readonly storeId: string
  readonly backendId: string
}

const everyMs = 200
const roundTripMsMax = 20_000

export class Neighbour {
  readonly #worker: Worker
  readonly #met: Promise<Met>

  /** Starts on a store that is empty so far. */
  constructor(options: Options) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: options })
    this.#met = new Promise((resolve, reject) => {
      this.#worker.once('message', resolve)
      this.#worker.once('error', reject)
    })
    this.#met.catch(() => {}) // `stop` tells
  }

  /** Resolves with what it met; rejects when it does not come to an end, as when there is no server any more. */
  async stop(): Promise<Met> {
    this.#worker.postMessage('stop')
    try {
      return await inTime('the client of the other store stops', roundTripMsMax + everyMs, this.#met)
    } finally {
      await this.#worker.terminate()
    }
  }
}

/** Goes on until the main thread says to stop. */
const live = async ({ url, storeId, backendId }: Options): Promise<void> => {
  let isOver = false
  parentPort!.once('message', () => (isOver = true))
  const failures: string[] = []
  let [roundTrips, worstMs] = [0, 0]
  const client = await Healthy.open(url, 'v04', storeId, { backendId, head: 0 })
  while (!isOver) {
    const start = performance.now()
    const head = client.head
    try {
      await inTime('a push is acknowledged', roundTripMsMax, client.push(batchOf(head, 1, 100)))
      await client.reached(head + 1, roundTripMsMax)
    } catch (error) {
      failures.push(String(error))
      break
    }
    const tookMs = performance.now() - start
    roundTrips += 1
    worstMs = Math.max(worstMs, tookMs)
    await pause(Math.max(0, everyMs - tookMs))
  }
  failures.push(...client.closes.map((code) => `its socket was closed with ${code}`))
  client.close()
  parentPort!.postMessage({ roundTrips, worstMs, failures } satisfies Met)
}

if (!isMainThread) await live(workerData as Options)
