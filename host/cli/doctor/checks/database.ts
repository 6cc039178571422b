/** The D1 database of the backup, and its migrations. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Table, tablesIn } from '../../project/config-file.ts'
import { type Environment, inWords, type Project } from '../../project/project.ts'
import { foundIn } from '../../project/sources.ts'
import { packageFolder } from '../../package.ts'
import { type Finding, finding } from '../finding.ts'
import { type Check, placeIn, variablesOf } from '../inspection.ts'

export const hasDatabase = ({ value }: Environment): boolean =>
  tablesIn(value['d1_databases']).some(([, { binding }]) => binding === 'DB')

export const database: Check = ({ project, environments, servers, main }) => {
  if (servers.length === 0 && main?.isOurs !== true) return []
  const isNamed = foundIn(servers, /\b(adoptD1|storage)\s*:/g).length > 0
  return [
    ...environments.flatMap((environment) => (isNamed ? [] : elsewhere(environment))),
    ...environments.flatMap((environment) => backup(project, environment, environments[0])),
  ]
}

/** A database under another name, in which sync-cf may have kept logs. */
const elsewhere = (environment: Environment): readonly Finding[] => {
  const databases = tablesIn(environment.value['d1_databases'])
  const { ADOPT_D1: named } = variablesOf(environment)
  if (named !== undefined || databases.some(([, { binding }]) => binding === 'DB')) return []
  return databases
    .slice(0, 1)
    .map(([at, { binding }]) =>
      finding(
        'database-elsewhere',
        `There is a D1 database ${String(binding)}${inWords(environment)}.`,
        `If sync-cf kept its log there (storage: d1), below [vars]: ADOPT_D1 = ${JSON.stringify(binding)}; otherwise ADOPT_D1 = "off"`,
        placeIn(environment, 'd1_databases', at, 'binding'),
      ),
    )
}

const backup = (project: Project, environment: Environment, top: Environment | undefined): readonly Finding[] => {
  const found = tablesIn(environment.value['d1_databases']).find(([, { binding }]) => binding === 'DB')
  if (found === undefined) return missing(environment, top)
  const [at, table] = found
  return [...id(environment, at, table), ...migrations(project, environment, at, table)]
}

const missing = (environment: Environment, top: Environment | undefined): readonly Finding[] => {
  if (variablesOf(environment)['BACKUP'] === 'off') return []
  if (environment.name !== undefined)
    return top !== undefined && hasDatabase(top)
      ? [
          finding(
            'environment-not-inherited',
            `The environment ${environment.name} has no D1 database DB, and so no backup.`,
            `[[env.${environment.name}.d1_databases]] binding = "DB" database_name = "…" database_id = "…"`,
            placeIn(environment),
          ),
        ]
      : []
  return [
    finding(
      'database-missing',
      'No D1 database is bound as DB, so there is no backup.',
      'npx wrangler d1 create livestore-sync, and what it prints with binding = "DB". To go without: BACKUP = "off" below [vars]',
      placeIn(environment),
    ),
  ]
}

const id = (environment: Environment, at: number, table: Table): readonly Finding[] => {
  const { database_id: id, database_name: name } = table
  // wrangler makes a database where none is named.
  if (id === undefined || (typeof id === 'string' && !/^[0-]*$/.test(id) && !/[<>…]|your|xxx/i.test(id))) return []
  return [
    finding(
      'database-placeholder',
      `database_id is ${JSON.stringify(id)}${inWords(environment)}.`,
      `npx wrangler d1 create ${typeof name === 'string' ? name : 'livestore-sync'} prints the id to put there before you deploy.`,
      placeIn(environment, 'd1_databases', at, 'database_id'),
    ),
  ]
}

/** The migrations that the package has by now. */
const ownMigrations = (): readonly string[] =>
  readdirSync(join(packageFolder, 'migrations'))
    .filter((name) => name.endsWith('.sql'))
    .sort()

const migrations = (project: Project, environment: Environment, at: number, table: Table): readonly Finding[] => {
  const { migrations_dir: folder } = table
  if (typeof folder !== 'string') return []
  const place = placeIn(environment, 'd1_databases', at, 'migrations_dir')
  let names: readonly string[]
  try {
    names = readdirSync(join(project.folder, folder))
  } catch {
    return [
      finding(
        'migrations-folder-missing',
        `migrations_dir is ${folder}, and there is no such folder${inWords(environment)}.`,
        'migrations_dir = "node_modules/livestore-sync-worker/migrations", or none',
        place,
      ),
    ]
  }
  const own = ownMigrations()
  const lacking = own.filter((name) => !names.includes(name))
  if (lacking.length === 0 || lacking.length === own.length) return []
  return [
    finding(
      'migrations-outdated',
      `${folder} lacks ${lacking.join(', ')}${inWords(environment)}.`,
      `cp node_modules/livestore-sync-worker/migrations/*.sql ${folder}/`,
      place,
    ),
  ]
}
