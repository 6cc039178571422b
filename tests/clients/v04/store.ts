/**
 * A whole LiveStore 0.4.0 store: adapter-node with its leader thread, the published WebSocket client and a tiny schema.
 *
 * What a test reads of it is what an app would see: the rows of one table. `completedBy` is last-write-wins, so that
 * two stores which applied the same events in a different order differ.
 */
import { makeAdapter } from '@livestore/adapter-node'
import { createStorePromise, Events, makeSchema, Schema, State } from '@livestore/livestore'
import { makeWsSync } from '@livestore/sync-cf/client'
import { LogLevel } from '@livestore/utils/effect'

const todos = State.SQLite.table({
  name: 'todos',
  columns: {
    id: State.SQLite.text({ primaryKey: true }),
    text: State.SQLite.text(),
    completedBy: State.SQLite.text({ nullable: true }),
  },
})

const events = {
  todoCreated: Events.synced({
    name: 'v1.TodoCreated',
    schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  }),
  todoCompleted: Events.synced({
    name: 'v1.TodoCompleted',
    schema: Schema.Struct({ id: Schema.String, by: Schema.String }),
  }),
}

const materializers = State.SQLite.materializers(events, {
  'v1.TodoCreated': ({ id, text }) => todos.insert({ id, text, completedBy: null }),
  'v1.TodoCompleted': ({ id, by }) => todos.update({ completedBy: by }).where({ id }),
})

const schema = makeSchema({ events, state: State.SQLite.makeState({ tables: { todos }, materializers }) })

export interface Todo {
  readonly id: string
  readonly text: string
  readonly completedBy: string | null
}

export interface TodoStore {
  create(id: string): void
  complete(id: string): void
  /** All rows, by id. */
  todos(): readonly Todo[]
  close(): Promise<void>
}

export interface TodoStoreOptions {
  /** `ws://127.0.0.1:PORT` */
  readonly url: string
  readonly storeId: string
  readonly clientId: string
  readonly payload: { readonly authToken: string }
  /** Folder of the store's databases; in memory when absent. */
  readonly folder?: string
  readonly pingEveryMs?: number
}

export const openTodoStore = async (options: TodoStoreOptions): Promise<TodoStore> => {
  const { url, storeId, clientId } = options
  const ping = options.pingEveryMs === undefined ? {} : { ping: { requestInterval: options.pingEveryMs } }
  const store = await createStorePromise({
    schema,
    storeId,
    adapter: makeAdapter({
      storage: options.folder === undefined ? { type: 'in-memory' } : { type: 'fs', baseDirectory: options.folder },
      clientId,
      sync: { backend: makeWsSync({ url, ...ping }) },
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
