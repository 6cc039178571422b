/** Whole LiveStore 0.4.0 stores on one backend, and whether they agree. */
import assert from 'node:assert/strict'
import { type BackendUnderTest, Clients, payload } from './backends.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { Host } from './restart.ts'
import { openTodoStore, type TodoStore, type TodoStoreOptions } from './v04/store.ts'
import { eventually } from './waiting.ts'

/** Stores of one store id on one server, the commits that they made, and a bare client that witnesses the log. */
export class Stores {
  readonly #clients: Clients
  readonly #witness: LivePull
  readonly #url: string
  readonly #open: TodoStore[] = []
  /** Each commit as `event client todo`. */
  readonly commits: string[] = []

  private constructor(url: string, clients: Clients, witness: LivePull) {
    this.#url = url
    this.#clients = clients
    this.#witness = witness
  }

  /** Runs `scenario` on a server of its own, and closes all stores whatever happens. */
  static with(backend: BackendUnderTest, scenario: (stores: Stores, host: Host) => Promise<void>): Promise<void> {
    return Host.with(backend.name, async (host) => {
      const clients = new Clients(() => host.server)
      const stores = new Stores(host.wsUrl, clients, await LivePull.start(await clients.connect('v04')))
      try {
        await scenario(stores, host)
      } finally {
        await Promise.all([...stores.#open].map((store) => store.close()))
        await clients.close()
      }
    })
  }

  async open(clientId: string, options: Partial<TodoStoreOptions> = {}): Promise<TodoStore> {
    const store = await openTodoStore({
      url: this.#url,
      storeId: this.#clients.storeId,
      clientId,
      payload,
      ...options,
    })
    const recorded: TodoStore = {
      ...store,
      create: (id) => {
        this.commits.push(`v1.TodoCreated ${clientId} ${id}`)
        store.create(id)
      },
      complete: (id) => {
        this.commits.push(`v1.TodoCompleted ${clientId} ${id}`)
        store.complete(id)
      },
      close: async () => {
        this.#open.splice(this.#open.indexOf(recorded), 1)
        await store.close()
      },
    }
    this.#open.push(recorded)
    return recorded
  }

  /** Resolves once the log holds every commit and all open stores show the same rows, `count` of them. */
  async converge(count: number): Promise<void> {
    const log = await this.#witness.until(this.commits.length, 60_000)
    const logged = log.map(({ name, clientId, args }) => `${name} ${clientId} ${(args as { id: string }).id}`)
    assert.deepEqual(logged.toSorted(), this.commits.toSorted(), 'the log holds every commit once')
    const rows = (): readonly string[] => this.#open.map((store) => JSON.stringify(store.todos()))
    await eventually(
      `all stores show the same ${count} todos`,
      () => new Set(rows()).size === 1 && this.#open[0]!.todos().length === count,
      60_000,
      () => this.#open.map((store) => store.todos().length),
    )
    const pages = await pullOnce(await this.#clients.connect('v04'))
    assert.deepEqual(
      pages.flatMap((page) => page.events),
      log,
      'a later pull gets the same log',
    )
  }
}
