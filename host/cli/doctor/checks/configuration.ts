/** The wrangler configuration: which file counts, and what a deployment by it would be like. */
import { join } from 'node:path'
import { statSync } from 'node:fs'
import { isTable, textsIn } from '../../project/config-file.ts'
import { dependenciesOf, type Environment, inWords, mainOf, type Project } from '../../project/project.ts'
import { foundIn } from '../../project/sources.ts'
import { type Finding, finding } from '../finding.ts'
import { type Check, type Inspection, placeIn } from '../inspection.ts'

/** The oldest date that the package is tested with. */
const oldestDate = '2025-05-08'

export const configuration: Check = (inspection) => [
  ...files(inspection),
  ...inspection.environments.flatMap((environment) => [
    ...main(inspection.project, environment),
    ...date(environment),
    ...declarations(environment),
    ...observability(environment),
    ...codeUpdates(environment),
    ...assets(inspection, environment),
  ]),
]

const files = ({ project: { configNames, config, unreadable }, server }: Inspection): readonly Finding[] => {
  const [name, ...others] = configNames
  // The folder of an app whose Worker lies elsewhere, and is asked.
  if (name === undefined && server !== undefined) return []
  if (name === undefined)
    return [
      finding(
        'config-missing',
        'There is no wrangler.toml, wrangler.json or wrangler.jsonc in this folder.',
        'Name the folder that has one, or take over the wrangler.toml of docs/typescript.md: npx livestore-sync-worker doctor <folder>',
      ),
    ]
  return [
    ...others.map((other) =>
      finding(
        'config-shadowed',
        `${other} is not read: there is ${name} as well.`,
        `Move what you need into ${name}, then: rm ${other}`,
        {
          file: other,
        },
      ),
    ),
    ...(config === undefined && unreadable !== undefined
      ? [
          finding(
            'config-unreadable',
            `${name} cannot be read: ${unreadable.message}.`,
            `Correct line ${unreadable.line} of ${name}.`,
            {
              file: name,
              line: unreadable.line,
            },
          ),
        ]
      : []),
  ]
}

/** Vite's plugin takes modules of packages as well, and so does what has yet to be built. */
const mayBeMade = (project: Project, path: string): boolean =>
  dependenciesOf(project).some(({ name }) => name === '@cloudflare/vite-plugin') ||
  /^\.|(^|\/)(dist|build|out)\//.test(path)

const main = (project: Project, environment: Environment): readonly Finding[] => {
  const { main } = environment.value
  const found = mainOf(project, environment)
  if (found === undefined) {
    if (environment.name !== undefined) return []
    const place = placeIn(environment, 'main')
    return [finding('main-missing', 'No main module is named.', 'Name your Worker: main = "src/index.ts"', place)]
  }
  if (found.isThere || mayBeMade(project, found.path)) return []
  return [
    finding(
      'main-missing',
      `main names ${String(main)}, which is not there${inWords(environment)}.`,
      found.isOurs ? 'npm install livestore-sync-worker' : `Name the file that exports your Worker in main.`,
      placeIn(environment, 'main'),
    ),
  ]
}

const date = (environment: Environment): readonly Finding[] => {
  const { compatibility_date: date } = environment.value
  const place = placeIn(environment, 'compatibility_date')
  const fix = 'compatibility_date = "2026-04-07"'
  if (typeof date !== 'string')
    return environment.name === undefined
      ? [finding('compatibility-date-missing', 'There is no compatibility_date.', fix, place)]
      : []
  if (date >= oldestDate) return []
  return [finding('compatibility-date-old', `The compatibility date is ${date}${inWords(environment)}.`, fix, place)]
}

const declarations = (environment: Environment): readonly Finding[] => {
  const { migrations, exports } = environment.value
  const isObject = (one: unknown): boolean => isTable(one) && one['type'] === 'durable-object'
  if (!Array.isArray(migrations) || migrations.length === 0) return []
  if (!isTable(exports) || !Object.values(exports).some(isObject)) return []
  return [
    finding(
      'migrations-and-exports',
      `There are migrations and exports${inWords(environment)}.`,
      'Keep the one that the deployment was made with: migrations, unless it is new.',
      placeIn(environment, 'exports'),
    ),
  ]
}

const observability = (environment: Environment): readonly Finding[] => {
  const { observability } = environment.value
  if (!isTable(observability) || observability['redact_query_string'] === true) return []
  const parts = [observability, observability['logs'], observability['traces']]
  if (!parts.some((part) => isTable(part) && part['enabled'] === true)) return []
  return [
    finding(
      'observability-query',
      `Logs are kept with the queries of URLs${inWords(environment)}.`,
      'Below [observability]: redact_query_string = true',
      placeIn(environment, 'observability'),
    ),
  ]
}

const codeUpdates = (environment: Environment): readonly Finding[] => {
  const { durable_objects: objects } = environment.value
  const strategy = isTable(objects) ? objects['code_update_strategy'] : undefined
  const mode = isTable(strategy) ? strategy['mode'] : strategy
  if (mode !== 'immediate') return []
  return [
    finding(
      'code-update-immediate',
      `Objects take new code at once${inWords(environment)}.`,
      'Below [durable_objects]: code_update_strategy = { mode = "deferred" }',
      placeIn(environment, 'durable_objects', 'code_update_strategy'),
    ),
  ]
}

/** The addresses that clients in the sources are given. */
const clientUrls = /\bmake(?:Ws|Http|Cf)Sync\s*\(\s*\{[^}]*?\burl\s*:\s*([^,\n]*)/g

/** The path of such an address, where the text shows it: `/` for that of the page, or of an origin alone. */
const pathIn = (expression: string): string | undefined => {
  const [, , literal] = /^(["'`])(.*?)\1/.exec(expression) ?? []
  if (literal === undefined)
    return /^(?:globalThis\.|window\.|self\.)?location\.origin\s*[}\n]/.test(`${expression}\n`) ? '/' : undefined
  const [, path] = /^(?:\$\{[^}]*location\.origin\}|\w+:\/\/[^/?#$]+)([^?#$]*)$/.exec(literal) ?? []
  return path === '' ? '/' : path
}

/** Whether a rule of `run_worker_first` is about a path. */
const isAbout = (rule: string, path: string): boolean => {
  const pattern = rule
    .replace(/^!/, '')
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
  return new RegExp(`^${pattern}$`).test(path)
}

/** Whether a file is asked for at a path before the Worker is. `hasPage` tells whether there is one at `/`. */
const isOfAssets = (first: unknown, path: string, hasPage: boolean): boolean => {
  const rules = textsIn(first)
  // What a rule excludes never reaches the Worker, whether there is a file or not.
  if (rules.some((rule) => rule.startsWith('!') && isAbout(rule, path))) return true
  return path === '/' && hasPage && !rules.some((rule) => !rule.startsWith('!') && isAbout(rule, path))
}

const assets = ({ project, code, main }: Inspection, environment: Environment): readonly Finding[] => {
  const { assets } = environment.value
  if (!isTable(assets) || assets['run_worker_first'] === true) return []
  if (main === undefined || (!main.isOurs && code.bindings.length === 0 && !code.decidesWho)) return []
  const { directory } = assets
  const folder = typeof directory === 'string' ? join(project.folder, directory) : undefined
  const isBuilt = folder !== undefined && statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true
  // What has yet to be built is taken for a page.
  const hasPage = !isBuilt || statSync(join(folder, 'index.html'), { throwIfNoEntry: false }) !== undefined
  return foundIn(project.sources, clientUrls).flatMap(({ source, text, line }) => {
    const path = pathIn(text)
    if (path === undefined || !isOfAssets(assets['run_worker_first'], path, hasPage)) return []
    return [
      finding(
        'assets-first',
        `Clients sync at the path ${path}, where static assets answer${inWords(environment)}.`,
        'Give sync a path of its own (url: `${location.origin}/sync`), or below [assets]: run_worker_first = true',
        { file: source.path, line },
      ),
    ]
  })
}
