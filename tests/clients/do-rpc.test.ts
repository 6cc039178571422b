/**
 * Clients that are Durable Objects themselves: bare ones of both generations, and whole stores of adapter-cloudflare.
 *
 * What they may count on as all clients do is for `sync.test.ts` and `mixed.test.ts` to say. What a live pull gets after
 * its first pages comes to them in callbacks: here it is about who is called back, and what becomes of those who cannot
 * be.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Server, startServer } from '../harness/server.ts'
import { type BackendUnderTest, Clients, control, forEachBackend, ours, payload, sharedServer } from './backends.ts'
import type { Event, Page, SyncClient } from './client.ts'
import { type DoRpcClient, type DoRpcOptions, openDoRpcClient } from './do-rpc/client.ts'
import { type DoRpcGeneration, RemoteObject } from './do-rpc/remote-object.ts'
import { DoRpcStore } from './do-rpc/store.ts'
import { batchOf, freshStoreId } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import type { Todo } from './v04/todo-schema.ts'
import { openTodoStore } from './v04/store.ts'
import { eventually, within } from './waiting.ts'

/** More pushes than a subscriber may fail at before it is given up. */

/** In a row, without a callback: then a subscriber counts as given up. */
const silentPushesMin = 20

/** The generations that have a do-rpc client which `backend` serves. */
const generationsOf = (backend: BackendUnderTest): readonly DoRpcGeneration[] =>
  backend === ours ? ['v04', 'v05'] : ['v04']

/** Clients of one store. */
class Scene {
  readonly server: Server
  readonly storeId = freshStoreId()
  readonly #clients: Clients
  readonly #objects: DoRpcClient[] = []
  readonly #lives: LivePull[] = []

  private constructor(server: Server) {
    this.server = server
    this.#clients = new Clients(() => server, this.storeId)
  }

  /** Runs `scenario`, asserts that no client has complained of a callback, and closes all whatever happens. */
  static async with(server: Server, scenario: (scene: Scene) => Promise<void>): Promise<void> {
    const scene = new Scene(server)
    try {
      await scenario(scene)
      for (const { object } of scene.#objects) assert.deepEqual((await object.callbacks()).errors, [])
    } finally {
      await Promise.all(scene.#lives.map((live) => live.stop()))
      await Promise.all([...scene.#objects.map((client) => client.close()), scene.#clients.close()])
    }
  }

  /** A connected client in an object. */
  async open(
    generation: DoRpcGeneration,
    options: Partial<DoRpcOptions> = {},
    object?: RemoteObject,
  ): Promise<DoRpcClient> {
    const { server, storeId } = this
    const all = { url: server.wsUrl, storeId, payload, ...options }
    const client = await openDoRpcClient(generation, server, all, object)
    this.#objects.push(client)
    await client.connect()
    return client
  }

  /** A connected client on a socket. */
  connect(generation: DoRpcGeneration): Promise<SyncClient> {
    return this.#clients.connect(generation)
  }

  /** A live pull that has its first page. */
  async live(client: SyncClient, cursor = 0): Promise<LivePull> {
    const live = await LivePull.start(client, cursor)
    this.#lives.push(live)
    return live
  }
}

/** Asserts that each push is acknowledged: single events on top of `head`. */
const pushEach = async (client: SyncClient, head: number, count: number): Promise<void> => {
  for (let parent = head; parent < head + count; parent += 1) {
    assert.equal(await within('the push is acknowledged', client.push(batchOf(parent))), 'ok')
  }
}

const eventsOf = (pages: readonly Page[]): readonly Event[] => pages.flatMap((page) => page.events)

/** Anything that shows the todos of a store. */
interface Shows {
  todos(): readonly Todo[] | Promise<readonly Todo[]>
}

/** Resolves once all of them show the same todos, `count` of them. */
const agree = async (count: number, stores: readonly Shows[]): Promise<void> => {
  let shown: ReadonlyArray<readonly Todo[]> = []
  await eventually(
    `all stores show the same ${count} todos`,
    async () => {
      shown = await Promise.all(stores.map((store) => store.todos()))
      const [first, ...others] = shown.map((todos) => JSON.stringify(todos))
      return shown[0]?.length === count && others.every((other) => other === first)
    },
    60_000,
    () => shown.map((todos) => todos.length),
  )
}

/** Runs `scenario` with a whole adapter-node store on a socket. */
const withNodeStore = async (
  { wsUrl: url }: Server,
  storeId: string,
  scenario: (store: Awaited<ReturnType<typeof openTodoStore>>) => Promise<void>,
): Promise<void> => {
  const store = await openTodoStore({ url, storeId, clientId: 'node', payload })
  try {
    await scenario(store)
  } finally {
    await store.close()
  }
}

forEachBackend([ours, control], (backend) => {
  const server = sharedServer(backend, { doRpcClients: true })

  for (const generation of generationsOf(backend)) {
    describe(`a ${generation} do-rpc client`, () => {
      it('gets on its live pull what a client on a socket pushes, and the other way round', () =>
        Scene.with(server(), async (scene) => {
          const [client, other] = [await scene.open(generation), await scene.connect('v04')]
          const [live, otherLive] = [await scene.live(client), await scene.live(other)]
          assert.equal(await other.push(batchOf(0, 3)), 'ok')
          assert.deepEqual(await live.until(3), batchOf(0, 3))
          assert.equal(await client.push(batchOf(3, 3)), 'ok')
          assert.deepEqual(await otherLive.until(6), batchOf(0, 6))
          assert.deepEqual(await live.until(6), batchOf(0, 6))
          const stamps = [live, otherLive].map(({ pages }) => pages.flatMap((page) => page.createdAt))
          assert.deepEqual(stamps[0], stamps[1], 'both get the same times')
        }))

      it('gets each event once when it leaves a live pull, misses some, and pulls again', () =>
        Scene.with(server(), async (scene) => {
          const [client, writer] = [await scene.open(generation), await scene.connect('v04')]
          const first = await scene.live(client)
          await pushEach(writer, 0, 3)
          await first.until(3)
          await first.stop()
          await pushEach(writer, 3, 3)
          const second = await scene.live(client, first.head)
          await pushEach(writer, 6, 3)
          assert.deepEqual(await second.until(9), batchOf(first.head, 9 - first.head))
        }))

      it('gets each event once when its object crashes and it pulls anew', () =>
        Scene.with(server(), async (scene) => {
          const [client, writer] = [await scene.open(generation), await scene.connect('v04')]
          const live = await scene.live(client)
          await pushEach(writer, 0, 3)
          await live.until(3)
          await client.object.crash()
          await eventually('its live pull ends', () => live.ended !== undefined)
          await pushEach(writer, 3, 3)
          const again = await scene.live(await scene.open(generation, {}, client.object))
          await pushEach(writer, 6, 3)
          assert.deepEqual(await again.until(9), batchOf(0, 9))
        }))
    })
  }

  it('bytes that are no request are answered by an empty array', async () => {
    const object = new RemoteObject(server(), 'v04')
    for (const bytes of [[0xc1, 0x00], [0x90], []]) {
      const answer = await object.call(freshStoreId(), Uint8Array.from(bytes))
      assert.deepEqual(answer, [Uint8Array.of(0x90)], `${bytes}`)
    }
  })

  it('a store in an object and a store on a socket show the same todos, whoever commits', async () => {
    const storeId = freshStoreId()
    const cloud = await DoRpcStore.open(server(), { storeId, clientId: 'cloud' })
    await withNodeStore(server(), storeId, async (node) => {
      let count = 0
      for (let round = 0; round < 5; round += 1) {
        await cloud.create(`cloud-${round}`)
        await agree((count += 1), [cloud, node])
        node.create(`node-${round}`)
        await agree((count += 1), [cloud, node])
      }
      await cloud.complete('node-0')
      await eventually('the completion arrives', () => node.todos().some(({ completedBy }) => completedBy === 'cloud'))
      await cloud.untilSynced()
      await agree(10, [cloud, node])
    })
    assert.deepEqual((await cloud.object.callbacks()).errors, [])
    await cloud.close()
  })

  it('a store in an object that crashes has its todos when it is opened again, gets what it missed, and goes on', async () => {
    const storeId = freshStoreId()
    const options = { storeId, clientId: 'cloud' }
    const first = await DoRpcStore.open(server(), options)
    await withNodeStore(server(), storeId, async (node) => {
      await first.create('before')
      await first.untilSynced()
      await agree(1, [first, node])
      await first.object.crash()
      node.create('meanwhile')
      const second = await DoRpcStore.open(server(), options, first.object)
      await agree(2, [second, node])
      node.create('afterwards')
      await agree(3, [second, node])
      await second.create('and back')
      await agree(4, [second, node])
      await second.close()
    })
  })

  // Guarantees of ours beyond those of the reference: several live pulls of a store at once, which outlast its object.
  if (backend !== ours) return
  const generations = generationsOf(backend)

  /** Two clients of each generation in objects, and one on a socket, each with a live pull. */
  const openAll = async (scene: Scene): Promise<ReadonlyArray<{ client: SyncClient; live: LivePull }>> => {
    const kinds = generations.flatMap((generation) => [
      () => scene.open(generation),
      () => scene.open(generation),
      () => scene.connect(generation),
    ])
    const clients = await Promise.all(kinds.map((open) => open()))
    return Promise.all(clients.map(async (client) => ({ client, live: await scene.live(client) })))
  }

  it('every client of a store gets every event on its live pull, whichever generation and transport pushes', () =>
    Scene.with(server(), async (scene) => {
      const all = await openAll(scene)
      let head = 0
      for (const { client } of all) {
        assert.equal(await client.push(batchOf(head, 120)), 'ok')
        assert.equal(await client.push(batchOf(head + 120)), 'ok')
        head += 121
      }
      for (const { live } of all) assert.deepEqual(await live.until(head), batchOf(0, head))
    }))

  for (const generation of generations) {
    it(`a ${generation} do-rpc client stays subscribed when the sync object leaves memory, again and again`, () =>
      Scene.with(server(), async (scene) => {
        const [client, writer] = [await scene.open(generation), await scene.connect('v04')]
        const live = await scene.live(client)
        let head = 0
        for (let round = 0; round < 3; round += 1) {
          await server().evict(scene.storeId)
          await pushEach(writer, head, 2)
          head += 2
          assert.deepEqual(await live.until(head), batchOf(0, head))
        }
      }))

    it(`a ${generation} do-rpc client that throws at every callback holds up nobody, and is told all when it recovers`, () =>
      Scene.with(server(), async (scene) => {
        const [before, broken, after] = [
          await scene.open(generation),
          await scene.open(generation),
          await scene.open(generation),
        ]
        const writer = await scene.connect('v04')
        const [one, hurt, other] = [await scene.live(before), await scene.live(broken), await scene.live(after)]
        await broken.object.answerCallbacks('throw')
        const pushes = 8
        for (let head = 1; head <= pushes; head++) {
          await pushEach(writer, head - 1, 1)
          await Promise.all([one.until(head), other.until(head)])
        }
        await eventually('it is called', async () => (await broken.object.callbacks()).received > 0)
        const { received } = await broken.object.callbacks()
        assert.ok(received < pushes, `it is called less often than is pushed: ${received} times`)
        await broken.object.answerCallbacks('take')
        // By the alarm: nobody pushes any more.
        assert.deepEqual(await hurt.until(pushes), batchOf(0, pushes))
      }))

    it(`a ${generation} do-rpc client that throws at one callback never gets an event beyond one that it lacks`, () =>
      Scene.with(server(), async (scene) => {
        const [client, witness] = [await scene.open(generation), await scene.open(generation)]
        const writer = await scene.connect('v04')
        const [live, reference] = [await scene.live(client), await scene.live(witness)]
        await pushEach(writer, 0, 3)
        await Promise.all([live.until(3), reference.until(3)])
        const { received } = await client.object.callbacks()
        await client.object.answerCallbacks('throw')
        await pushEach(writer, 3, 1)
        await eventually('it throws', async () => (await client.object.callbacks()).received > received)
        await client.object.answerCallbacks('take')
        await pushEach(writer, 4, silentPushesMin)
        await reference.until(4 + silentPushesMin)
        assert.deepEqual(live.events, batchOf(0, live.head), 'what it has is the beginning of the log')
      }))

    it(`a ${generation} do-rpc client that never answers a callback holds up nobody else`, () =>
      Scene.with(server(), async (scene) => {
        const [before, silent, after] = [
          await scene.open(generation),
          await scene.open(generation),
          await scene.open(generation),
        ]
        const writer = await scene.connect('v04')
        const [one, live, other] = [await scene.live(before), await scene.live(silent), await scene.live(after)]
        await silent.object.answerCallbacks('never')
        await pushEach(writer, 0, 20)
        assert.deepEqual(await one.until(20), batchOf(0, 20))
        assert.deepEqual(await other.until(20), batchOf(0, 20))
        await silent.object.answerCallbacks('take')
        await pushEach(writer, 20, 20)
        await Promise.all([one.until(40), other.until(40)])
        assert.deepEqual(live.events, batchOf(0, live.head), 'what the silent one has is the beginning of the log')
      }))

    it(`a live pull of a ${generation} do-rpc client that names no binding of the sync object disturbs nobody`, () =>
      Scene.with(server(), async (scene) => {
        const [client, writer] = [await scene.open(generation), await scene.connect('v04')]
        const stray = await scene.open(generation, { bindingName: 'NO_SUCH_BINDING' })
        const live = await scene.live(client)
        await scene.live(stray)
        await pushEach(writer, 0, 5)
        assert.deepEqual(await live.until(5), batchOf(0, 5))
        assert.deepEqual(eventsOf(await pullOnce(stray)), batchOf(0, 5))
      }))
  }

  it('stores in objects and on a socket that commit at once converge, also after the sync object has left memory', async () => {
    const storeId = freshStoreId()
    const [ada, bob] = [
      await DoRpcStore.open(server(), { storeId, clientId: 'ada' }),
      await DoRpcStore.open(server(), { storeId, clientId: 'bob' }),
    ]
    const idsOf = (name: string): readonly string[] => Array.from({ length: 30 }, (_, index) => `${name}-${index}`)
    await withNodeStore(server(), storeId, async (node) => {
      const commits = Promise.all([ada.create(...idsOf('ada')), bob.create(...idsOf('bob'))])
      for (const id of idsOf('node')) node.create(id)
      await commits
      await agree(90, [ada, bob, node])
      await Promise.all([ada.untilSynced(), bob.untilSynced()])
      await server().evict(storeId)
      const completions = Promise.all([ada.complete('node-0'), bob.complete('node-0')])
      node.complete('node-0')
      await completions
      node.create('node-last')
      await agree(91, [ada, bob, node])
      await Promise.all([ada.untilSynced(), bob.untilSynced()])
      await agree(91, [ada, bob, node])
    })
    for (const { object } of [ada, bob]) assert.deepEqual((await object.callbacks()).errors, [])
    await Promise.all([ada.close(), bob.close()])
  })

  it('a store in an object that opens on a long log while others push misses nothing', () =>
    Scene.with(server(), async (scene) => {
      const writer = await scene.connect('v04')
      const log = batchOf(0, 600).map((event) => ({
        ...event,
        name: 'v1.TodoCreated',
        args: { id: `todo-${String(event.seqNum).padStart(4, '0')}`, text: 'a todo' },
      }))
      assert.equal(await writer.push(log.slice(0, 400)), 'ok')
      const pushing = (async () => {
        for (const event of log.slice(400)) assert.equal(await writer.push([event]), 'ok')
      })()
      const store = await DoRpcStore.open(server(), { storeId: scene.storeId, clientId: 'cloud' })
      await pushing
      await agree(600, [store])
      await store.close()
    }))

  it('everyone goes on where they were when the platform is killed and comes back', async () => {
    const storage = mkdtempSync(join(tmpdir(), 'do-rpc-'))
    const storeId = freshStoreId()
    const options = { storeId, clientId: 'cloud' }
    try {
      const first = await startServer({ backend: backend.name, storage, doRpcClients: true })
      const store = await DoRpcStore.open(first, options)
      await store.create('before')
      await store.untilSynced()
      await first.kill()
      const second = await startServer({ backend: backend.name, storage, doRpcClients: true })
      try {
        await withNodeStore(second, storeId, async (node) => {
          await agree(1, [node])
          node.create('meanwhile')
          const again = await DoRpcStore.open(second, options, new RemoteObject(second, 'v04', store.object.name))
          await agree(2, [again, node])
          node.create('afterwards')
          await agree(3, [again, node])
          await again.close()
        })
      } finally {
        await second.stop()
      }
    } finally {
      rmSync(storage, { recursive: true, force: true })
    }
  })
})
