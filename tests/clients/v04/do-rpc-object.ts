/**
 * Generation v04: a Durable Object with the published do-rpc client of `@livestore/sync-cf` 0.4.0, and with a whole
 * store of `@livestore/adapter-cloudflare` 0.4.0 on top of that client.
 */
import { createStoreDoPromise } from '@livestore/adapter-cloudflare'
import type { Store } from '@livestore/livestore'
import { type DoRpcSyncOptions, handleSyncUpdateRpc, makeDoRpcSync } from '@livestore/sync-cf/client'
import { LogLevel } from '@livestore/utils/effect'
import type { SyncClient } from '../client.ts'
import { ClientObject, type OpenOptions } from '../do-rpc/client-object.ts'
import { startClient } from './sync-client.ts'
import { events, schema, type Todo, todos } from './todo-schema.ts'

/** The binding by which a sync object reaches this class. */
const ownBinding = 'CLIENT_V04'

export interface StoreOptions {
  readonly storeId: string
  readonly clientId: string
}

/** What an app would see of the store. */
export interface StoreView {
  /** All rows, by id. */
  readonly todos: readonly Todo[]
  /** Whether every commit is on the server, as the store knows it. */
  readonly isSynced: boolean
}

/** Arguments and result of each command about the store. */
export interface StoreCommands {
  openStore: [StoreOptions, null]
  /** One commit for each todo, with nothing in between. */
  create: [ReadonlyArray<Pick<Todo, 'id' | 'text'>>, null]
  complete: [{ readonly id: string; readonly by: string }, null]
  look: [null, StoreView]
  closeStore: [null, null]
}

type StoreHandlers = {
  [Name in keyof StoreCommands]: (argument: StoreCommands[Name][0]) => Promise<StoreCommands[Name][1]>
}

export class StoreClient extends ClientObject {
  #store: Store<typeof schema> | undefined

  protected override start(options: OpenOptions): Promise<SyncClient> {
    const construct = makeDoRpcSync({
      syncBackendStub: this.syncObject<DoRpcSyncOptions['syncBackendStub']>(options.storeId),
      durableObjectContext: {
        bindingName: options.bindingName ?? ownBinding,
        durableObjectId: this.state.id.toString(),
      },
    })
    return startClient('do-rpc', construct, options)
  }

  protected override take(...values: readonly unknown[]): Promise<void> {
    return handleSyncUpdateRpc(values[0])
  }

  protected override run(command: string, argument: unknown): Promise<unknown> {
    const handler = (this.#storeHandlers as Partial<Record<string, (argument: unknown) => Promise<unknown>>>)[command]
    return handler === undefined ? super.run(command, argument) : handler(argument)
  }

  readonly #storeHandlers: StoreHandlers = {
    openStore: async ({ storeId, clientId }) => {
      this.#store ??= await createStoreDoPromise({
        schema,
        storeId,
        clientId,
        sessionId: 'static',
        durableObject: { ctx: this.ctx as never, env: this.env, bindingName: ownBinding as never },
        syncBackendStub: this.syncObject(storeId),
        livePull: true,
        logLevel: LogLevel.None,
      })
      return null
    },
    create: async (created) => {
      for (const { id, text } of created) this.#opened.commit(events.todoCreated({ id, text }))
      return null
    },
    complete: async ({ id, by }) => {
      this.#opened.commit(events.todoCompleted({ id, by }))
      return null
    },
    look: async () => ({
      todos: this.#opened.query(todos.orderBy('id', 'asc')) as readonly Todo[],
      isSynced: this.#opened.syncStatus().isSynced,
    }),
    closeStore: async () => {
      await this.#store?.shutdownPromise()
      this.#store = undefined
      return null
    },
  }

  get #opened(): Store<typeof schema> {
    if (this.#store === undefined) throw new Error('the store is not open')
    return this.#store
  }
}
