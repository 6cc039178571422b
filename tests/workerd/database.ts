/** The database of a store's object: its file, to be read and changed while no server runs on its folder, and its tables. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Server } from '../harness/server.ts'

/** The table that holds the log of a store. */
export const logTableOf = (storeId: string): string => `eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`

/**
 * Has each push to a store that runs with `inspect` be stored in part: its head is not moved, and its rows are kept from being deleted,
 * by an error or in silence. Resolves with what ends that.
 */
export const storeInPart = async (
  server: Pick<Server, 'sql'>,
  storeId: string,
  how: "ABORT, 'no-more'" | 'IGNORE',
): Promise<() => Promise<void>> => {
  await server.sql(storeId, "CREATE TRIGGER fault BEFORE UPDATE ON context_7 BEGIN SELECT RAISE(ABORT, 'no-more'); END")
  await server.sql(
    storeId,
    `CREATE TRIGGER kept BEFORE DELETE ON "${logTableOf(storeId)}" BEGIN SELECT RAISE(${how}); END`,
  )
  return async () => {
    for (const trigger of ['fault', 'kept']) await server.sql(storeId, `DROP TRIGGER ${trigger}`)
  }
}

/** Runs `use` on the database of `storeId` in a storage folder. */
export const withDatabase = <T>(storage: string, storeId: string, use: (database: DatabaseSync) => T): T => {
  const files = readdirSync(storage, { recursive: true, encoding: 'utf8' })
    .filter((name) => /[0-9a-f]{64}\.sqlite$/.test(name))
    .map((name) => join(storage, name))
  for (const file of files) {
    const database = new DatabaseSync(file)
    try {
      // Files are named by a hash: the one that has this log table belongs to the store.
      const find = database.prepare("SELECT count(*) AS found FROM sqlite_master WHERE type = 'table' AND name = ?")
      if (find.get(logTableOf(storeId))?.['found'] === 1) return use(database)
    } finally {
      database.close()
    }
  }
  return assert.fail(`none of ${files.length} files belongs to ${storeId}`)
}

/** Every row of a query. */
export const rowsOf = (database: DatabaseSync, query: string): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  database
    .prepare(query)
    .all()
    .map((row) => ({ ...row }))

/** What the runtime's own tables are called. */
const ofRuntime = /^(_cf_|__miniflare_|sqlite_)/

/** The tables of a running object that are not the runtime's own. */
export const tablesIn = async (server: Pick<Server, 'sql'>, storeId: string): Promise<readonly string[]> =>
  (await server.sql(storeId, "SELECT name FROM sqlite_master WHERE type = 'table'"))
    .map(({ name }) => String(name))
    .filter((name) => !ofRuntime.test(name))

/** The tables that are not the runtime's own, by name. */
export const tablesOf = (database: DatabaseSync): Readonly<Record<string, string>> =>
  Object.fromEntries(
    rowsOf(database, "SELECT name, sql FROM sqlite_master WHERE type = 'table'")
      .filter(({ name }) => !ofRuntime.test(String(name)))
      .map(({ name, sql }) => [name, sql]),
  )
