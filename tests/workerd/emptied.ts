/** An object of which nothing is left, as after a deletion: its next event finds no tables. */
import type { Server } from '../harness/server.ts'

export const empty = async (server: Server, storeId: string): Promise<void> => {
  const tables = await server.sql(
    storeId,
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
  )
  for (const { name } of tables) await server.sql(storeId, `DROP TABLE "${String(name)}"`)
  await server.evict(storeId)
}
