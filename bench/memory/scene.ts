/**
 * Where a row takes place: a server, a store on it, and clients of that store that do their part whatever others do.
 *
 * Owns what has been pushed to the store, and who leaves when the row is over. Knows nothing of memory.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Server } from '../../tests/harness/server.ts'
import type { Generation } from '../../tests/workerd/peer.ts'
import { busyUsOf } from '../measure.ts'
import { batchOf, type Script } from './events.ts'
import { Healthy, type Position } from './healthy.ts'
import { inTime } from './in-time.ts'
import type { Filled, Log } from './logs.ts'

/** What clients do in a row. */
export interface Row {
  readonly name: string
  /** What they do, for the table. */
  readonly title: string
  /** Bytes by which memory may grow, where that is not what it is for most rows. */
  readonly bytesMax?: number
  /** Bytes of that which may be held, where that is not what it is for most rows. */
  readonly heldBytesMax?: number
  /** Why this row may take more than others. */
  readonly because?: string
  /** The log of the store at the start. */
  readonly log: Log
  /** Generations of the clients beside the pusher that do their part; one of v03 and one of v04 by default. */
  readonly followers?: readonly Generation[]
  /** Whether there are Durable Objects that are clients. */
  readonly objects?: boolean
  /** Does it, and resolves with what the clients met, in a few words, while they still hold what they hold. */
  play(scene: Scene): Promise<string>
}

/** How long a client that does its part may have to wait. */
const patienceMs = 30_000
const restPollMs = 50
const restLoadMax = 0.15
const restPolls = 5
const restMsMax = 30_000

export class Scene {
  readonly server: Server
  readonly storeId: string
  /** Where the store was at the start. */
  readonly start: Position
  /** The client whose pushes the row needs. */
  readonly pusher: Healthy
  /** Clients that do their part as well. */
  readonly followers: Healthy[]
  /** The last event of the store. */
  #head: number
  #leaving: Array<() => void> = []

  private constructor(server: Server, storeId: string, start: Position, pusher: Healthy, followers: Healthy[]) {
    this.server = server
    this.storeId = storeId
    this.start = start
    this.pusher = pusher
    this.followers = followers
    this.#head = start.head
  }

  static async open(server: Server, { log, followers = ['v03', 'v04'] }: Row, filled: Filled): Promise<Scene> {
    const start = filled.positions.log
    const [pusher, ...others] = await Promise.all(
      (['v04', ...followers] as const).map((generation) => Healthy.open(server.url, generation, log, start)),
    )
    return new Scene(server, log, start, pusher!, others)
  }

  get head(): number {
    return this.#head
  }

  /** Pushes `count` events in one batch, as the client that does its part. */
  async push(count: number, textBytes: number, script?: Script): Promise<void> {
    const batch = batchOf(this.#head, count, textBytes, script)
    this.#head += count
    await inTime('a push is acknowledged', patienceMs, this.pusher.push(batch))
  }

  /** Somebody else has pushed that many events. */
  pushed(events: number): void {
    this.#head += events
  }

  /** What `leave` does beside what it did before. */
  onLeave(leaving: () => void): void {
    this.#leaving.push(leaving)
  }

  /** The clients of the row go, or do their part from now on. */
  leave(): void {
    for (const leaving of this.#leaving.splice(0)) leaving()
  }

  /** Resolves once the server does next to nothing: everything that can go out has gone out. */
  async rest(): Promise<void> {
    const { pid } = this.server
    const deadline = performance.now() + restMsMax
    let [quiet, busyUs] = [0, busyUsOf(pid)]
    while (quiet < restPolls && performance.now() < deadline) {
      const start = performance.now()
      await pause(restPollMs)
      const now = busyUsOf(pid)
      quiet = (now - busyUs) / 1000 / (performance.now() - start) < restLoadMax ? quiet + 1 : 0
      busyUs = now
    }
  }

  /** Resolves once all who do their part have everything, and what is pushed now as well. */
  async converge(): Promise<void> {
    await this.push(1, 100)
    for (const client of [this.pusher, ...this.followers]) await client.reached(this.#head, patienceMs)
  }

  /** How often the sockets of those who do their part were closed. */
  get closes(): number {
    return [this.pusher, ...this.followers].reduce((sum, { closes }) => sum + closes.length, 0)
  }

  close(): void {
    this.leave()
    for (const client of [this.pusher, ...this.followers]) client.close()
  }
}
