import type { Server } from '../harness/server.ts'

/** Leaves nothing of an object, as a deletion does; it stays in memory, or its next event finds no tables. */
export const empty = async (server: Server, storeId: string, memory: 'stays' | 'goes' = 'goes'): Promise<void> => {
  const tables = await server.sql(
    storeId,
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
  )
  for (const { name } of tables) await server.sql(storeId, `DROP TABLE "${String(name)}"`)
  if (memory === 'goes') await server.evict(storeId)
}
