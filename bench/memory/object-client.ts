/** A Durable Object that is a client in a row (`objects.mjs`), driven from outside. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Server } from '../../tests/harness/server.ts'

interface Pull {
  readonly generation: 'v04' | 'v05'
  readonly storeId: string
  readonly backendId: string
  readonly after: number
  /** Whether it asks to be called with what is pushed. */
  readonly live: boolean
  /** Whether it ever returns from such a call. */
  readonly returns: boolean
  /** Whether it reads the answer. */
  readonly reads: boolean
}

interface Seen {
  readonly calls: number
  /** The last event it was told of. */
  readonly told: number
}

const pollMs = 50
const deadlineMs = 20_000

export class ObjectClient {
  readonly #url: string

  constructor(server: Server, name: string) {
    this.#url = `${server.doRpcUrl}/${name}`
  }

  pull(options: Pull): Promise<Seen> {
    return this.#run({ command: 'pull', ...options })
  }

  look(): Promise<Seen> {
    return this.#run({ command: 'look' })
  }

  /** Resolves once it has been called with everything up to `head`. */
  async told(head: number): Promise<void> {
    const deadline = performance.now() + deadlineMs
    for (;;) {
      const { told } = await this.look()
      if (told >= head) return
      if (performance.now() > deadline) throw new Error(`a healthy client object was told of ${told}, but not ${head}`)
      await pause(pollMs)
    }
  }

  async #run(command: object): Promise<Seen> {
    const response = await fetch(this.#url, { method: 'POST', body: JSON.stringify(command) })
    if (!response.ok) throw new Error(`a client object answered ${response.status}: ${await response.text()}`)
    return (await response.json()) as Seen
  }
}
