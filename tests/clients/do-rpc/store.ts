/** A whole LiveStore 0.4.0 store in a Durable Object: `@livestore/adapter-cloudflare` with live pulls. */
import type { Server } from '../../harness/server.ts'
import type { StoreView } from '../v04/do-rpc-object.ts'
import type { Todo } from '../v04/todo-schema.ts'
import { eventually } from '../waiting.ts'
import { RemoteObject } from './remote-object.ts'

export interface DoRpcStoreOptions {
  readonly storeId: string
  readonly clientId: string
}

export class DoRpcStore {
  readonly object: RemoteObject
  readonly #options: DoRpcStoreOptions

  private constructor(object: RemoteObject, options: DoRpcStoreOptions) {
    this.object = object
    this.#options = options
  }

  /** Opens the store that lives in `object`, by default in one of its own. */
  static async open(
    server: Server,
    options: DoRpcStoreOptions,
    object = new RemoteObject(server, 'v04'),
  ): Promise<DoRpcStore> {
    await object.run('openStore', options)
    return new DoRpcStore(object, options)
  }

  /** Commits one todo after the other, with nothing in between. */
  async create(...ids: readonly string[]): Promise<void> {
    await this.object.run(
      'create',
      ids.map((id) => ({ id, text: `${id} of ${this.#options.clientId}` })),
    )
  }

  async complete(id: string): Promise<void> {
    await this.object.run('complete', { id, by: this.#options.clientId })
  }

  look(): Promise<StoreView> {
    return this.object.run('look', null)
  }

  /** All rows, by id. */
  async todos(): Promise<readonly Todo[]> {
    return (await this.look()).todos
  }

  /** Resolves once every commit is on the server. */
  async untilSynced(deadlineMs?: number): Promise<void> {
    await eventually(
      `the store of ${this.#options.clientId} is synced`,
      async () => (await this.look()).isSynced,
      deadlineMs,
    )
  }

  async close(): Promise<void> {
    await this.object.run('closeStore', null)
  }
}
