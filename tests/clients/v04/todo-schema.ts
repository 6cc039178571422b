/**
 * A tiny LiveStore 0.4.0 schema: todos that are created and completed.
 *
 * `completedBy` is last-write-wins, so that two stores which applied the same events in a different order differ.
 */
import { Events, makeSchema, Schema, State } from '@livestore/livestore'

export const todos = State.SQLite.table({
  name: 'todos',
  columns: {
    id: State.SQLite.text({ primaryKey: true }),
    text: State.SQLite.text(),
    completedBy: State.SQLite.text({ nullable: true }),
  },
})

export const events = {
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

export const schema = makeSchema({ events, state: State.SQLite.makeState({ tables: { todos }, materializers }) })

/** A row. */
export interface Todo {
  readonly id: string
  readonly text: string
  readonly completedBy: string | null
}
