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

/** What the two threads tell each other. */
type Said = 'begin' | 'stop'
type Told = 'ready' | Met

export class Neighbour {
  readonly #worker: Worker
  readonly #met: Promise<Met>

  private constructor(worker: Worker) {
    this.#worker = worker
    this.#met = new Promise((resolve, reject) => {
      worker.on('message', (told: Told) => {
        if (told !== 'ready') resolve(told)
      })
      worker.once('error', reject)
    })
    this.#met.catch(() => {}) // `stop` tells
  }

  /** Starts on a store that is empty so far, and resolves once it has been served. */
  static async start(options: Options): Promise<Neighbour> {
    const worker = new Worker(new URL(import.meta.url), { workerData: options })
    const neighbour = new Neighbour(worker)
    const ready = new Promise((resolve) => worker.once('message', resolve))
    await inTime('the client of the other store starts', roundTripMsMax, Promise.race([ready, neighbour.#met]))
    return neighbour
  }

  /** What it meets counts from now on. */
  begin(): void {
    this.#worker.postMessage('begin' satisfies Said)
  }

  /** Resolves with what it met; rejects when it does not come to an end, as when there is no server any more. */
  async stop(): Promise<Met> {
    this.#worker.postMessage('stop' satisfies Said)
    try {
      return await inTime('the client of the other store stops', roundTripMsMax + everyMs, this.#met)
    } finally {
      await this.#worker.terminate()
    }
  }
}

/** Goes on until the main thread says to stop. */
const live = async ({ url, storeId, backendId }: Options): Promise<void> => {
  const failures: string[] = []
  let [isOver, isReady, roundTrips, worstMs] = [false, false, 0, 0]
  parentPort!.on('message', (said: Said) => {
    if (said === 'stop') isOver = true
    else [roundTrips, worstMs] = [0, 0]
  })
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
    if (!isReady) parentPort!.postMessage('ready' satisfies Told)
    isReady = true
    await pause(Math.max(0, everyMs - tookMs))
  }
  failures.push(...client.closes.map((code) => `its socket was closed with ${code}`))
  client.close()
  parentPort!.postMessage({ roundTrips, worstMs, failures } satisfies Told)
  parentPort!.removeAllListeners('message')
}

if (!isMainThread) await live(workerData as Options)
