/** Events of LiveStore's own TodoMVC, so that both apps, and that one, can share a list. */
export const eventNames = {
  created: 'v1.TodoCreated',
  completed: 'v1.TodoCompleted',
  uncompleted: 'v1.TodoUncompleted',
  deleted: 'v1.TodoDeleted',
  clearedCompleted: 'v1.TodoClearedCompleted',
  renamed: 'v1.TodoRenamed',
} as const
