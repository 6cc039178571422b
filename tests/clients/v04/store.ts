/**
 * A whole LiveStore 0.4.0 store: adapter-node with its leader thread, a published sync client and a tiny schema.
 *
 * What a test reads of it is what an app would see: the rows of one table.
 */
import { makeAdapter } from '@livestore/adapter-node'
import { createStorePromise } from '@livestore/livestore'
import { makeHttpSync, makeWsSync } from '@livestore/sync-cf/client'
import { LogLevel } from '@livestore/utils/effect'
import { httpUrlOf, pollEveryMs } from '../client.ts'
import type { Construct } from './sync-client.ts'
import { events, schema, type Todo, todos } from './todo-schema.ts'

export interface TodoStore {
  create(id: string): void
  complete(id: string): void
  /** All rows, by id. */
  todos(): readonly Todo[]
  close(): Promise<void>
}

export interface TodoStoreOptions {
  /** `ws://127.0.0.1:PORT`, whatever the transport. */
  readonly url: string
  /** `ws` by default. */
  readonly transport?: 'ws' | 'http'
  /** The sync client; by default that of `transport` for `url`. */
  readonly construct?: Construct
  /** Whether it pulls for as long as it is open; true by default, as for an app. */
  readonly livePull?: boolean
  readonly storeId: string
  readonly clientId: string
  readonly payload: { readonly authToken: string }
  /** Folder of the store's databases; in memory when absent. */
  readonly folder?: string
  readonly pingEveryMs?: number
}

export const openTodoStore = async (options: TodoStoreOptions): Promise<TodoStore> => {
  const { url, storeId, clientId } = options
  const { transport = 'ws' } = options
  const ping = options.pingEveryMs === undefined ? {} : { ping: { requestInterval: options.pingEveryMs } }
  const published =
    transport === 'ws'
      ? makeWsSync({ url, ...ping })
      : makeHttpSync({ url: httpUrlOf(url), livePull: { pollInterval: pollEveryMs }, ...ping })
  const backend = options.construct ?? published
  const store = await createStorePromise({
    schema,
    storeId,
    adapter: makeAdapter({
      storage: options.folder === undefined ? { type: 'in-memory' } : { type: 'fs', baseDirectory: options.folder },
      clientId,
      sync: { backend, livePull: options.livePull ?? true },
    }),
    syncPayload: options.payload,
    disableDevtools: true,
    logLevel: LogLevel.None,
  })
  return {
    create: (id) => void store.commit(events.todoCreated({ id, text: `${id} of ${clientId}` })),
    complete: (id) => void store.commit(events.todoCompleted({ id, by: clientId })),
    todos: () => store.query(todos.orderBy('id', 'asc')) as readonly Todo[],
    close: () => store.shutdownPromise(),
  }
}
