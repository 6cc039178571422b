/** The list as LiveStore sees it, in both releases: events, the table they end up in, and how. */
import { Events, makeSchema, queryDb, Schema, State } from '@livestore/livestore'
import { eventNames } from './event-names.ts'

const todos = State.SQLite.table({
  name: 'todos',
  columns: {
    id: State.SQLite.text({ primaryKey: true }),
    text: State.SQLite.text({ default: '' }),
    completed: State.SQLite.boolean({ default: false }),
    deletedAt: State.SQLite.integer({ nullable: true, schema: Schema.DateFromNumber }),
  },
})

export const events = {
  created: Events.synced({
    name: eventNames.created,
    schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  }),
  completed: Events.synced({ name: eventNames.completed, schema: Schema.Struct({ id: Schema.String }) }),
  uncompleted: Events.synced({ name: eventNames.uncompleted, schema: Schema.Struct({ id: Schema.String }) }),
  deleted: Events.synced({
    name: eventNames.deleted,
    schema: Schema.Struct({ id: Schema.String, deletedAt: Schema.Date }),
  }),
  clearedCompleted: Events.synced({
    name: eventNames.clearedCompleted,
    schema: Schema.Struct({ deletedAt: Schema.Date }),
  }),
  renamed: Events.synced({
    name: eventNames.renamed,
    schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  }),
}

const materializers = State.SQLite.materializers(events, {
  // A client that lost track of a push may push it again: what is there already stays as it is.
  [eventNames.created]: ({ id, text }) => todos.insert({ id, text, completed: false }).onConflict('id', 'ignore'),
  [eventNames.completed]: ({ id }) => todos.update({ completed: true }).where({ id }),
  [eventNames.uncompleted]: ({ id }) => todos.update({ completed: false }).where({ id }),
  [eventNames.deleted]: ({ id, deletedAt }) => todos.update({ deletedAt }).where({ id }),
  [eventNames.clearedCompleted]: ({ deletedAt }) => todos.update({ deletedAt }).where({ completed: true }),
  [eventNames.renamed]: ({ id, text }) => todos.update({ text }).where({ id }),
})

export const schema = makeSchema({ events, state: State.SQLite.makeState({ tables: { todos }, materializers }) })

/** All todos, in the order of the log: rows are made in it, on every client. */
export const todos$ = queryDb(todos.select('id', 'text', 'completed').where({ deletedAt: null }), { label: 'todos' })
