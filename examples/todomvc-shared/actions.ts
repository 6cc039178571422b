/** What the user does, as events. */
import { events } from './schema.ts'
import type { TodoActions } from './TodoApp.tsx'

type Created<Definition> = Definition extends (...args: never[]) => infer Event ? Event : never

/** One of the events of the schema. */
export type TodoEvent = Created<(typeof events)[keyof typeof events]>

export const actionsOf = (commit: (event: TodoEvent) => void): TodoActions => ({
  create: (text) => commit(events.created({ id: crypto.randomUUID(), text })),
  setCompleted: (id, completed) => commit(completed ? events.completed({ id }) : events.uncompleted({ id })),
  rename: (id, text) => commit(events.renamed({ id, text })),
  remove: (id) => commit(events.deleted({ id, deletedAt: new Date() })),
  clearCompleted: () => commit(events.clearedCompleted({ deletedAt: new Date() })),
})
