/** Whole LiveStore 0.4.0 stores: what an app sees of the backend. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { type BackendUnderTest, Clients, control, forEachBackend, ours, payload } from './backends.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { Host } from './restart.ts'
import { openTodoStore, type TodoStore } from './v04/store.ts'
import { eventually } from './waiting.ts'

/** Stores of one store id on one server, the commits that they made, and a bare client that witnesses the log. */
class Stores {
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
      const clients = new Clients(host.wsUrl)
      const stores = new Stores(host.wsUrl, clients, await LivePull.start(await clients.connect('v04')))
      try {
        await scenario(stores, host)
      } finally {
        await Promise.all([...stores.#open].map((store) => store.close()))
        await clients.close()
      }
    })
  }

  async open(clientId: string, folder?: string): Promise<TodoStore> {
    const store = await openTodoStore({
      url: this.#url,
      storeId: this.#clients.storeId,
      clientId,
      payload,
      ...(folder === undefined ? {} : { folder }),
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

// That stores which commit at once always converge is a guarantee of ours beyond those of the reference.
forEachBackend([ours], (backend) => {
  const withStores = (scenario: (stores: Stores, host: Host) => Promise<void>): Promise<void> =>
    Stores.with(backend, scenario)

  it('two stores that commit at once converge, and a third that joins late gets everything', () =>
    withStores(async (stores) => {
      const [ada, bob] = [await stores.open('ada'), await stores.open('bob')]
      for (let index = 0; index < 60; index += 1) {
        ada.create(`ada-${index}`)
        bob.create(`bob-${index}`)
      }
      await stores.converge(120)
      ada.complete('bob-0')
      bob.complete('ada-0')
      ada.complete('ada-1')
      bob.complete('ada-1')
      await stores.converge(120)
      const cyd = await stores.open('cyd')
      await stores.converge(120)
      cyd.create('cyd-0')
      await stores.converge(121)
    }))

  it('two stores that commit while the server is dead converge once it is back, and go on exchanging events', () =>
    withStores(async (stores, host) => {
      const [ada, bob] = [await stores.open('ada'), await stores.open('bob')]
      ada.create('shared')
      await stores.converge(1)
      await host.kill()
      for (let index = 0; index < 30; index += 1) {
        ada.create(`ada-${index}`)
        bob.create(`bob-${index}`)
      }
      ada.complete('shared')
      bob.complete('shared')
      assert.deepEqual([ada.todos().length, bob.todos().length], [31, 31], 'each sees only its own while offline')
      await host.start()
      await stores.converge(61)
      bob.create('after')
      await stores.converge(62)
    }))
})

forEachBackend([ours, control], (backend) => {
  it('a store that was closed with its data kept catches up when it is opened again', () =>
    Stores.with(backend, async (stores) => {
      const folder = mkdtempSync(join(tmpdir(), 'store-'))
      try {
        const [ada, bob] = [await stores.open('ada', folder), await stores.open('bob')]
        ada.create('ada-0')
        await stores.converge(1)
        bob.create('bob-0')
        await stores.converge(2)
        await ada.close()
        for (let index = 1; index < 130; index += 1) bob.create(`bob-${index}`)
        await stores.converge(131)
        const again = await stores.open('ada', folder)
        assert.ok(again.todos().length >= 2, 'it shows what it knew before it hears from the server')
        await stores.converge(131)
        again.create('ada-1')
        await stores.converge(132)
        await again.close()
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }))
})
