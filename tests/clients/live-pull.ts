/** A live pull that is followed in the background, with what it delivered and how it ended. */
import assert from 'node:assert/strict'
import { type Event, isOffline, nameOf, type Page, PullError, type Refusal, type SyncClient } from './client.ts'
import { eventually } from './waiting.ts'

export class LivePull {
  readonly pages: Page[] = []
  /** How often the pull was issued again because the connection broke. */
  reissued = 0
  /** Why the pull ended, if it did for a reason that no client pulls again for. */
  ended: Refusal | 'end' | undefined
  readonly #client: SyncClient
  readonly #start: number
  #iterator: AsyncIterator<Page> | undefined
  #stopped = false

  private constructor(client: SyncClient, start: number) {
    this.#client = client
    this.#start = start
  }

  /** Starts pulling after `cursor`; resolves once the server has answered. */
  static async start(client: SyncClient, cursor = 0): Promise<LivePull> {
    const pull = new LivePull(client, cursor)
    void pull.#follow()
    await eventually(
      `the ${nameOf(client)} client's live pull is answered`,
      () => pull.pages.length > 0 || pull.ended !== undefined,
      15_000,
      () => pull.ended,
    )
    return pull
  }

  get events(): readonly Event[] {
    return this.pages.flatMap((page) => page.events)
  }

  /** The times that came with the events. */
  get createdAt(): readonly string[] {
    return this.pages.flatMap((page) => page.createdAt)
  }

  get seqNums(): readonly number[] {
    return this.events.map((event) => event.seqNum)
  }

  /** Number of the last event delivered, or the cursor it started from. */
  get head(): number {
    return this.seqNums.at(-1) ?? this.#start
  }

  /** Resolves with all events so far once `head` is among them; asserts that they came in order, once, without a gap. */
  async until(head: number, deadlineMs?: number): Promise<readonly Event[]> {
    const name = nameOf(this.#client)
    await eventually(
      `the ${name} client's live pull gets event ${head}`,
      () => this.head >= head,
      deadlineMs,
      () => ({ head: this.head, ended: this.ended, reissued: this.reissued }),
    )
    const expected = Array.from({ length: this.head - this.#start }, (_, index) => this.#start + 1 + index)
    assert.deepEqual(this.seqNums, expected, `${name}: each event is delivered once, in order`)
    return this.events
  }

  /** Leaves the pull; the client stays. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#iterator?.return?.()
  }

  async #follow(): Promise<void> {
    while (!this.#stopped && this.ended === undefined) {
      try {
        this.#iterator = this.#client.pull(this.head, 'live')[Symbol.asyncIterator]()
        for (let next = await this.#iterator.next(); next.done !== true; next = await this.#iterator.next()) {
          this.pages.push(next.value)
        }
        this.ended = 'end'
      } catch (error) {
        const refusal = error instanceof PullError ? error.refusal : { error: 'unexpected', message: String(error) }
        if (isOffline(refusal)) this.reissued += 1
        else this.ended = refusal
      }
    }
  }
}

/** Everything that a pull which is not live delivers after `cursor`. */
export const pullOnce = async (client: SyncClient, cursor = 0): Promise<readonly Page[]> => {
  const pages: Page[] = []
  for await (const page of client.pull(cursor, 'once')) pages.push(page)
  return pages
}
