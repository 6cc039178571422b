/** The Durable Object: is it bound under a name that is looked for, to a class that is declared, has SQLite and is exported. */
import { isTable, type Path, tablesIn, textsIn } from '../../project/config-file.ts'
import { type Environment, inWords, type Main, mainOf, neighbour, type Project } from '../../project/project.ts'
import type { Source } from '../../project/sources.ts'
import { type Finding, finding } from '../finding.ts'
import { type Check, type Inspection, placeIn, variablesOf } from '../inspection.ts'

/** The names that the Worker looks for by itself. */
const usualBindings = ['SYNC_BACKEND_DO', 'WEBSOCKET_SERVER']

/** The classes of the package's own Worker. */
const ownClasses = ['SyncBackendDO', 'WebSocketServer']

/** The binding that stores' objects are reached by. */
export interface Binding {
  readonly name: string
  readonly className: string
  /** Its class is of another Worker. */
  readonly isElsewhere: boolean
  readonly path: Path
}

const bindingsOf = ({ value }: Environment): readonly Binding[] => {
  const objects = isTable(value['durable_objects']) ? value['durable_objects']['bindings'] : undefined
  return tablesIn(objects).map(([at, { name, class_name: className, script_name: script }]) => ({
    name: String(name),
    className: String(className),
    isElsewhere: typeof script === 'string' && script !== value['name'],
    path: ['durable_objects', 'bindings', at],
  }))
}

/** The names under which the binding is looked for. */
const namesFor = ({ code }: Pick<Inspection, 'code'>, environment: Environment): readonly string[] => {
  const { SYNC_BINDING: variable } = variablesOf(environment)
  if (code.bindings.length > 0) return [...new Set(code.bindings)]
  return typeof variable === 'string' && variable.trim() !== '' ? [variable.trim()] : usualBindings
}

/** The bindings of stores' objects in an environment: one, but for a Worker that names several. */
export const syncBindings = (inspection: Pick<Inspection, 'code'>, environment: Environment): readonly Binding[] => {
  const names = namesFor(inspection, environment)
  const found = bindingsOf(environment).filter(({ name }) => names.includes(name))
  return names === usualBindings ? found.slice(0, 1) : found
}

/** How a class is declared, and where. */
export interface Declaration {
  /** Its name at the time: it may have been renamed since. */
  readonly name: string
  readonly isSQLite: boolean
  readonly path: Path
}

/** The bindings of stores' objects whose classes are declared here, without SQLite. */
export const bindingsWithoutSQLite = (
  inspection: Pick<Inspection, 'code'>,
  environment: Environment,
): ReadonlyArray<Binding & { readonly declaration: Declaration }> =>
  syncBindings(inspection, environment)
    .filter(({ isElsewhere }) => !isElsewhere)
    .flatMap((binding) => {
      const declaration = declarationOf(environment, binding.className)
      return declaration === undefined || declaration.isSQLite ? [] : [{ ...binding, declaration }]
    })

export const objects: Check = (inspection) => {
  // A Worker that has nothing to do with syncing is not asked for a binding.
  if (inspection.servers.length === 0 && inspection.main?.isOurs !== true) return []
  const [top] = inspection.environments
  return inspection.environments.flatMap((environment) => {
    const bindings = syncBindings(inspection, environment)
    if (bindings.length === 0) return [missing(inspection, environment, top)]
    return bindings
      .filter(({ isElsewhere }) => !isElsewhere)
      .flatMap((binding) => [
        ...declared(environment, binding),
        ...exported(inspection.project, mainOf(inspection.project, environment), environment, binding),
      ])
  })
}

const missing = (inspection: Inspection, environment: Environment, top: Environment | undefined): Finding => {
  const names = namesFor(inspection, environment)
  const inherited = top === undefined ? [] : syncBindings(inspection, top)
  const [{ name, className } = { name: names[0] ?? '', className: 'SyncBackendDO' }] = inherited
  const header = environment.name === undefined ? '' : `env.${environment.name}.`
  const lines = `[[${header}durable_objects.bindings]] name = "${name}" class_name = "${className}"`
  if (environment.name !== undefined && inherited.length > 0)
    return finding(
      'environment-binding-missing',
      `The environment ${environment.name} has no Durable Object binding ${name}.`,
      lines,
      placeIn(environment),
    )
  const others = bindingsOf(environment)
  const also = others.length === 0 ? '' : ` There are: ${others.map((one) => one.name).join(', ')}.`
  return finding(
    'binding-missing',
    `There is no Durable Object binding ${names.join(' or ')}${inWords(environment)}.${also}`,
    others[0] === undefined ? lines : `Below [vars]: SYNC_BINDING = "${others[0].name}", or ${lines}`,
    placeIn(environment, 'durable_objects'),
  )
}

/** How a class was declared last, by migrations in their order. */
const declarationOf = ({ value }: Environment, className: string): Declaration | undefined => {
  const { exports, migrations } = value
  const own = isTable(exports) ? exports[className] : undefined
  if (isTable(own) && own['type'] === 'durable-object' && own['storage'] !== undefined)
    return { name: className, isSQLite: own['storage'] === 'sqlite', path: ['exports', className] }
  let found: Declaration | undefined
  let name = className
  // Backwards: a class that was renamed is what it was under its old name.
  for (const [at, step] of [...tablesIn(migrations)].reverse()) {
    if (found === undefined && textsIn(step['deleted_classes']).includes(name)) return
    for (const [key, isSQLite] of [
      ['new_sqlite_classes', true],
      ['new_classes', false],
    ] as const)
      if (textsIn(step[key]).includes(name)) found ??= { name, isSQLite, path: ['migrations', at, key] }
    for (const [, renamed] of [...tablesIn(step['renamed_classes']), ...tablesIn(step['transferred_classes'])]) {
      if (renamed['to'] !== name) continue
      // What another Worker declared is not known here.
      if (typeof renamed['from_script'] === 'string') return { name, isSQLite: true, path: ['migrations', at] }
      name = String(renamed['from'])
    }
  }
  return found
}

const declared = (environment: Environment, { className, path }: Binding): readonly Finding[] => {
  const declaration = declarationOf(environment, className)
  if (declaration === undefined)
    return [
      finding(
        'class-undeclared',
        `No migration declares the class ${className}${inWords(environment)}.`,
        `[[migrations]] tag = "v1" new_sqlite_classes = ["${className}"]`,
        placeIn(environment, ...path, 'class_name'),
      ),
    ]
  if (declaration.isSQLite) return []
  return [
    finding(
      'class-key-value',
      `The class ${className} is declared without SQLite${inWords(environment)}.`,
      `Where nothing is deployed yet: new_sqlite_classes = ["${className}"]. Otherwise another class takes its place: docs/migrating-from-sync-cf.md#classes-backed-by-key-value-storage`,
      placeIn(environment, ...declaration.path),
    ),
  ]
}

const exported = (
  project: Project,
  main: Main | undefined,
  environment: Environment,
  { className, path }: Binding,
): readonly Finding[] => {
  const says = (message: string, fix: string): readonly Finding[] => [
    finding('class-not-exported', message, fix, placeIn(environment, ...path, 'class_name')),
  ]
  if (main?.isOurs === true) {
    if (ownClasses.includes(className)) return []
    return says(
      `The package's Worker exports ${ownClasses.join(' and ')}, and no ${className}${inWords(environment)}.`,
      `class_name = "SyncBackendDO". Where ${className} is deployed, rename it by a migration: renamed_classes = [{ from = "${className}", to = "SyncBackendDO" }]`,
    )
  }
  if (main?.source === undefined || /\.wasm$/.test(main.path)) return []
  if (exportsName(project, main.source, className)) return []
  return says(
    `${main.path} exports no class ${className}${inWords(environment)}.`,
    `In ${main.path}: export class ${className} extends makeDurableObject() {}`,
  )
}

/** Whether a module exports a name, by itself or from files beside it. What comes from a package whole may have it. */
const exportsName = (project: Project, source: Source, name: string, depth = 0): boolean => {
  const { code } = source
  const word = name.replaceAll('$', '\\$')
  if (
    new RegExp(`\\bexport\\s+(?:declare\\s+)?(?:abstract\\s+)?(?:class|const|let|var|function)\\s+${word}\\b`).test(
      code,
    )
  )
    return true
  for (const [, list = ''] of code.matchAll(/\bexport\s*\{([^}]*)\}/g))
    if (list.split(',').some((one) => /(\S+)\s*$/.exec(one)?.[1] === name)) return true
  return [...code.matchAll(/\bexport\s*\*\s*from\s*["']([^"']+)["']/g)].some(([, from = '']) => {
    const next = depth > 8 ? undefined : neighbour(project, source, from)
    return next === undefined || exportsName(project, next, name, depth + 1)
  })
}
