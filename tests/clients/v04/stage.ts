/**
 * Whole 0.4.0 stores on a hand-written server, over each transport.
 *
 * Owns: the server, the folder of the store's databases, and the closing of both. To close a store and open it again is
 * what an app does when it restarts.
 */
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { handleSyncUpdateRpc, makeDoRpcSync } from '@livestore/sync-cf/client'
import { Packr } from 'msgpackr'
import type { Transport } from '../client.ts'
import { FakeSyncObject } from '../do-rpc/fake-sync-object.ts'
import { freshStoreId } from '../events.ts'
import { FakeHttpServer } from '../fake-http-server.ts'
import type { FakeLog } from '../fake-log.ts'
import { FakeServer } from '../fake-server.ts'
import { eventually } from '../waiting.ts'
import type { Construct } from './sync-client.ts'
import { openTodoStore, type TodoStore, type TodoStoreOptions } from './store.ts'

/** What the hand-written servers have in common. */
export interface Fake {
  readonly store: FakeLog
  readonly nowMs: number
  readonly pulls: readonly { readonly atMs: number; readonly payload: unknown }[]
  readonly pushes: readonly { readonly atMs: number; readonly payload: unknown }[]
  /** Appends an event of some other client and publishes it. */
  append(name: string, args: unknown): unknown
}

/** A store that is open, and what one reads of it. */
export interface Open extends TodoStore {
  /** The ids of all rows, sorted. */
  ids(): readonly string[]
}

export class Stage<Server extends Fake> {
  readonly server: Server
  readonly #options: Pick<TodoStoreOptions, 'url' | 'transport' | 'construct'>
  readonly #storeId = freshStoreId()
  readonly #folder = mkdtempSync(join(tmpdir(), 'stage-'))
  #store: TodoStore | undefined

  private constructor(server: Server, options: Pick<TodoStoreOptions, 'url' | 'transport' | 'construct'>) {
    this.server = server
    this.#options = options
  }

  static async ws(scenario: (stage: Stage<FakeServer>) => Promise<void>): Promise<void> {
    const server = await FakeServer.start()
    await new Stage(server, { url: server.url, transport: 'ws' }).#play(scenario, () => server.stop())
  }

  static async http(scenario: (stage: Stage<FakeHttpServer>) => Promise<void>): Promise<void> {
    const server = await FakeHttpServer.start()
    await new Stage(server, { url: server.url, transport: 'http' }).#play(scenario, () => server.stop())
  }

  static async doRpc(scenario: (stage: Stage<FakeSyncObject>) => Promise<void>): Promise<void> {
    const object = fakeSyncObject()
    await new Stage(object, { url: '', construct: constructFor(object) }).#play(scenario, async () => {})
  }

  /** Opens the store, after closing it if it is open; resolves once it has pulled what there is. */
  async open(options: Partial<TodoStoreOptions> = {}): Promise<Open> {
    await this.close()
    const { server } = this
    const pulls = server.pulls.length
    const store = await openTodoStore({
      ...this.#options,
      storeId: this.#storeId,
      clientId: 'client',
      payload: { authToken: 'unused' },
      folder: this.#folder,
      ...options,
    })
    this.#store = store
    await eventually('the store pulls', () => server.pulls.length > pulls)
    return { ...store, ids: () => store.todos().map(({ id }) => id) }
  }

  /** What the databases of the store hold: the number of events, and the backend id that they are of. */
  stored(): { readonly events: number; readonly backendId: string | undefined } {
    const [path] = globSync(join(this.#folder, '**/eventlog*.db'))
    const database = new DatabaseSync(path!, { readOnly: true })
    try {
      const { events } = database.prepare('SELECT count(*) AS events FROM eventlog').get() as { events: number }
      const status = database.prepare('SELECT backendId FROM __livestore_sync_status').get()
      return { events, backendId: (status as { backendId: string } | undefined)?.backendId }
    } finally {
      database.close()
    }
  }

  async close(): Promise<void> {
    const store = this.#store
    this.#store = undefined
    await store?.close()
  }

  /** Appends a todo of some other client and publishes it. */
  async append(id: string): Promise<void> {
    await this.server.append('v1.TodoCreated', { id, text: `${id} of another` })
  }

  async #play(scenario: (stage: this) => Promise<void>, stop: () => Promise<void>): Promise<void> {
    try {
      await scenario(this)
    } finally {
      await this.close()
      await stop()
      rmSync(this.#folder, { recursive: true })
    }
  }
}

/** Runs `scenario` over each transport in turn, as something that needs no more than what the servers have in common. */
export const stages: Readonly<Record<Transport, (scenario: (stage: Stage<Fake>) => Promise<void>) => Promise<void>>> = {
  ws: (scenario) => Stage.ws(scenario),
  http: (scenario) => Stage.http(scenario),
  'do-rpc': (scenario) => Stage.doRpc(scenario),
}

/** A sync object that calls back as one does to a 0.4.0 client. */
export const fakeSyncObject = (): FakeSyncObject => {
  const packr = new Packr({ useRecords: true })
  return new FakeSyncObject({
    pack: (value) => packr.pack(value),
    unpack: (bytes) => packr.unpack(bytes) as unknown,
    callBack: handleSyncUpdateRpc,
  })
}

const constructFor = (object: FakeSyncObject): Construct =>
  makeDoRpcSync({
    syncBackendStub: { rpc: object.rpc } as unknown as Parameters<typeof makeDoRpcSync>[0]['syncBackendStub'],
    durableObjectContext: { bindingName: 'CLIENT', durableObjectId: 'client' },
  })
