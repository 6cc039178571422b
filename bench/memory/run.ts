/**
 * Runs a row on a fresh server, beside a neighbour on another store, and measures what it comes to.
 *
 * Growth is the highest that workerd's resident memory came to, less what it was before the row's clients did anything.
 * The kernel keeps the peak, so nothing falls between two samples.
 */
import { existsSync, rmSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { clientWorkerName } from '../../tests/harness/client-worker.ts'
import { type Server, startServer } from '../../tests/harness/server.ts'
import { overHttp } from '../../tests/workerd/over-http.ts'
import { pullFrame, pushFrame } from '../../tests/workerd/peer.ts'
import { forgetPeak, peakMib, residentMib } from '../measure.ts'
import { batchOf } from './events.ts'
import { Healthy } from './healthy.ts'
import { HttpCall } from './idle.ts'
import { collectGarbage } from './isolate.ts'
import { copyOf, type Filled, type Kind } from './logs.ts'
import { type Met, Neighbour } from './neighbour.ts'
import { inTime } from './in-time.ts'
import { type Row, Scene } from './scene.ts'

/** Memory in MiB. */
interface Memory {
  readonly before: number
  readonly growth: number
  /**
   * What is left of the growth once garbage has been collected, while the clients still hold what they hold. The
   * allocator keeps some of what it got back, so this is what is held at most.
   */
  readonly held: number
  /** What V8 has of that, for the sync Worker and its objects. */
  readonly heldByV8: number
  /** What is left when the clients are gone, with what the allocator keeps. */
  readonly after: number
}

/** What a row came to. */
export interface Result {
  readonly name: string
  readonly title: string
  /** MiB by which memory may grow. */
  readonly limit: number
  /** MiB of that which may be held. */
  readonly heldLimit: number
  /** Why these are more than for other rows. */
  readonly because?: string
  /** Absent when the runtime did not live to be measured. */
  readonly memory?: Memory
  readonly neighbour?: Met
  /** How often the sockets of clients that do their part were closed. */
  readonly closed: number
  readonly note: string
  /** Why the row failed, apart from its growth. */
  readonly failures: readonly string[]
}

/** When garbage is collected: when the runtime likes, or over and over while a row is played. */
export type Collecting = 'as usual' | 'always'

const growthBytesMax = 96_000_000
const mib = 2 ** 20

/** The Worker whose objects are clients in rows with `objects`. */
const clientWorker = {
  bundle: { folder: 'bench/memory', main: 'objects.mjs' },
  classes: { MEMORY_CLIENT: 'Client' },
} as const

/** A second of nothing but the neighbour. */
const idleMs = 1_000
const rowMsMax = 60_000
const warmMsMax = 20_000
const collectEveryMs = 50

/** Has the server do once what rows do, in small, on a store that no row uses. */
const warm = async ({ url }: Server, { positions }: Filled): Promise<void> => {
  const clients = await Promise.all(
    (['v03', 'v04', 'v05'] as const).map((generation) => Healthy.open(url, generation, 'warm', positions.warm)),
  )
  await clients[1]!.push(batchOf(0, 1, 850_000))
  await clients[2]!.push(batchOf(1, 1_000, 100))
  for (const client of clients) await client.reached(1_001, warmMsMax)
  for (const client of clients) client.close()
  for (const frame of [pushFrame('v04', 1, 'warm', batchOf(1_001, 1, 850_000)), pullFrame('v05', 2, 'warm')]) {
    await new HttpCall(url, 'warm', 'read').send(JSON.stringify(overHttp(frame))).read
  }
}

/** Collects the garbage of `workers` over and over, until the function that it returns is called. */
const keepCollecting = (server: Server, workers: readonly string[]): (() => Promise<void>) => {
  let isOver = workers.length === 0
  const collect = async (): Promise<void> => {
    while (!isOver) {
      // A runtime that has died fails the row elsewhere.
      for (const worker of workers) await collectGarbage(server, worker).catch(() => {})
      await pause(collectEveryMs)
    }
  }
  const collected = collect()
  return () => {
    isOver = true
    return collected
  }
}

/** Runs a row on a server of its own. */
export const run = async (row: Row, collecting: Collecting): Promise<Result> => {
  const hasObjects = row.objects === true
  // Beside other Workers the runtime files a Worker's storage elsewhere, so the log is made by a server of the same kind.
  const kind: Kind = { direct: true, ...(hasObjects ? { doRpcClients: clientWorker } : {}) }
  const filled = await copyOf(row.log, kind)
  const server = await startServer({ ...kind, storage: filled.folder, inspector: true })
  const { pid } = server
  const syncWorker = hasObjects ? 'sync' : ''
  const collect = async (): Promise<number> => {
    if (hasObjects) await collectGarbage(server, clientWorkerName)
    return collectGarbage(server, syncWorker)
  }

  const failures: string[] = []
  const attempt = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error))
      return undefined
    }
  }
  let note = ''
  let scene: Scene | undefined
  let neighbour: Neighbour | undefined

  const play = async (): Promise<Memory> => {
    await warm(server, filled)
    const { backendId } = filled.positions.neighbour
    neighbour = await Neighbour.start({ url: server.url, storeId: 'neighbour', backendId })
    scene = await Scene.open(server, row, filled)
    await pause(idleMs)
    await scene.rest()
    await collect()
    const before = residentMib(pid)
    forgetPeak(pid)
    neighbour.begin()
    // What client objects hold is not the sync object's: theirs is never left lying.
    const workers = [...(hasObjects ? [clientWorkerName] : []), ...(collecting === 'always' ? [syncWorker] : [])]
    const stopCollecting = keepCollecting(server, workers)
    try {
      note = (await attempt(inTime('the clients have done what they do', rowMsMax, row.play(scene)))) ?? ''
      await scene.rest()
    } finally {
      await stopCollecting()
    }
    const peak = peakMib(pid)
    const heldByV8 = await collect()
    const held = residentMib(pid) - before
    scene.leave()
    await attempt(scene.converge())
    await scene.rest()
    const growth = Math.max(peak, peakMib(pid)) - before
    await collect()
    return { before, growth, held, heldByV8, after: residentMib(pid) - before }
  }

  try {
    const memory = await attempt(play())
    if (!existsSync(`/proc/${pid}`)) failures.push('the runtime has died')
    const met = neighbour === undefined ? undefined : await attempt(neighbour.stop())
    failures.push(...(met?.failures ?? []).map((failure) => `the other store: ${failure}`))
    return {
      name: row.name,
      title: row.title,
      limit: (row.bytesMax ?? growthBytesMax) / mib,
      heldLimit: (row.heldBytesMax ?? Math.min(row.bytesMax ?? growthBytesMax, growthBytesMax)) / mib,
      ...(row.because === undefined ? {} : { because: row.because }),
      ...(memory === undefined ? {} : { memory }),
      ...(met === undefined ? {} : { neighbour: met }),
      closed: scene?.closes ?? 0,
      note,
      failures,
    }
  } finally {
    scene?.close()
    await server.stop().catch(() => {}) // it may have died
    rmSync(filled.folder, { recursive: true, force: true })
  }
}
