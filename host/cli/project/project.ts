/**
 * A project's folder, read once: its wrangler configuration, its package.json and its sources.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix, relative, resolve, sep } from 'node:path'
import { parseEnv } from 'node:util'
import { Failure } from '../command.ts'
import { type ConfigFile, isTable, type Path, readConfig, type Table, Unreadable } from './config-file.ts'
import { configNames, importsOf, type Source, sourceOf, sourcesBelow } from './sources.ts'

export interface Project {
  readonly folder: string
  /** The wrangler files that are there; the first of them counts. */
  readonly configNames: readonly string[]
  readonly config: ConfigFile | undefined
  /** Why the one that counts cannot be read. */
  readonly unreadable: Unreadable | undefined
  readonly manifest: ConfigFile | undefined
  readonly sources: readonly Source[]
  /** The text of a file of the project. */
  readonly textOf: (path: string) => string | undefined
}

/** Reads a project. Throws {@link Failure} where there is no such folder. */
export const readProject = (folder: string): Project => {
  const at = resolve(folder)
  if (statSync(at, { throwIfNoEntry: false })?.isDirectory() !== true) throw new Failure(`${at} is no folder`)
  const textOf = (path: string): string | undefined => {
    const full = join(at, path)
    return statSync(full, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(full, 'utf8') : undefined
  }
  const found = configNames.filter((name) => existsSync(join(at, name)))
  const [name] = found
  const text = name === undefined ? undefined : textOf(name)
  let config: ConfigFile | undefined
  let unreadable: Unreadable | undefined
  try {
    if (name !== undefined && text !== undefined) config = readConfig(name, text)
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    unreadable = error
  }
  return {
    folder: at,
    configNames: found,
    config,
    unreadable,
    manifest: manifestOf(textOf),
    sources: sourcesOf(at),
    textOf,
  }
}

const sourcesOf = (folder: string): readonly Source[] => {
  try {
    return sourcesBelow(folder)
  } catch (error) {
    throw new Failure(`${folder} cannot be read: ${(error as Error).message}`)
  }
}

const manifestOf = (textOf: Project['textOf']): ConfigFile | undefined => {
  const text = textOf('package.json')
  if (text === undefined) return
  try {
    return readConfig('package.json', text)
  } catch (error) {
    throw new Failure(`package.json cannot be read: ${(error as Error).message}`)
  }
}

/** The configuration that a deployment goes by: that of the top, or that of an environment. */
export interface Environment {
  readonly name: string | undefined
  readonly config: ConfigFile
  /** What holds in it. */
  readonly value: Table
  /** The path in the file of one of its keys: of its own, or of the one that it inherits. */
  readonly pathOf: (...path: Path) => Path
  /** What wrangler is given to mean it. */
  readonly flag: string
}

/** What wrangler does not take over from the top into an environment, as far as it matters here. */
export const notInherited = ['vars', 'durable_objects', 'd1_databases', 'secrets']

export const environmentsOf = (config: ConfigFile): readonly Environment[] => {
  const { env, ...top } = config.value
  const named = isTable(env) ? Object.entries(env).filter((entry): entry is [string, Table] => isTable(entry[1])) : []
  return [
    { name: undefined, config, value: top, pathOf: (...path) => path, flag: '' },
    ...named.map(([name, own]): Environment => {
      const inherited = Object.fromEntries(Object.entries(top).filter(([key]) => !notInherited.includes(key)))
      const pathOf = (...path: Path): Path =>
        path.length === 0 || String(path[0]) in own || notInherited.includes(String(path[0]))
          ? ['env', name, ...path]
          : path
      return { name, config, value: { ...inherited, ...own }, pathOf, flag: ` --env ${name}` }
    }),
  ]
}

/** A deployment in words: nothing for that of the top, which most have alone. */
export const inWords = ({ name }: Environment): string => (name === undefined ? '' : ` in the environment ${name}`)

/** What `wrangler dev` takes for secrets: a file for an environment goes before that for all, `.dev.vars` before `.env`. */
export const devVariables = (
  project: Project,
  { name }: Environment,
): { readonly file: string; readonly values: Readonly<Record<string, string>> } | undefined => {
  for (const base of ['.dev.vars', '.env']) {
    const files = name === undefined ? [base] : [`${base}.${name}`, base]
    const file = files.find((one) => project.textOf(one) !== undefined)
    if (file !== undefined) return { file, values: parseEnv(project.textOf(file) ?? '') as Record<string, string> }
  }
  return
}

/** The Worker's main module: where it is, and its source unless it is no text. */
export interface Main {
  readonly path: string
  readonly isThere: boolean
  /** It is the package's own Worker. */
  readonly isOurs: boolean
  readonly source: Source | undefined
}

export const mainOf = (project: Project, { value }: Environment): Main | undefined => {
  const { main } = value
  if (typeof main !== 'string') return
  const path = relative(project.folder, resolve(project.folder, main)).split(sep).join('/')
  const text = project.textOf(path)
  const isOwnClone = path === 'dist/worker.js' && project.manifest?.value['name'] === 'livestore-sync-worker'
  const isOurs = /(^|\/)livestore-sync-worker\/dist\/worker\.js$/.test(path) || isOwnClone
  return { path, isThere: text !== undefined, isOurs, source: text === undefined ? undefined : sourceOf(path, text) }
}

/** What is put behind a module's name to find its file. */
const endings = ['', '.ts', '.tsx', '.js', '.mjs', '/index.ts', '/index.js']

/** The source that another imports by a path from its own folder. */
export const neighbour = (project: Project, { path }: Source, from: string): Source | undefined => {
  if (!from.startsWith('.')) return
  const at = posix.join(posix.dirname(path), from)
  const candidates = [...endings.map((ending) => at + ending), at.replace(/\.js$/, '.ts')]
  const found = candidates.find((one) => /\.\w+$/.test(one) && project.textOf(one) !== undefined)
  return found === undefined ? undefined : sourceOf(found, project.textOf(found) ?? '')
}

/** A module and all that it imports by paths, itself first. */
export const reachableFrom = (project: Project, main: Source): readonly Source[] => {
  const found = new Map([[main.path, main]])
  for (const source of found.values())
    for (const { from } of importsOf(source)) {
      const next = neighbour(project, source, from)
      if (next !== undefined && !found.has(next.path)) found.set(next.path, next)
    }
  return [...found.values()]
}

/** What a JSON text says; nothing if it is none, as of an installation that broke off. */
const tableOf = (text: string): Table => {
  try {
    const value: unknown = JSON.parse(text)
    return isTable(value) ? value : {}
  } catch {
    return {}
  }
}

/** The package.json of an installed package, looked for as Node does. */
export const installed = (folder: string, name: string): Table | undefined => {
  for (let at = folder; ; at = dirname(at)) {
    const path = join(at, 'node_modules', name, 'package.json')
    if (existsSync(path)) return tableOf(readFileSync(path, 'utf8'))
    if (dirname(at) === at) return
  }
}

/** The packages that a project names, with what it asks of each and the path of that. */
export const dependenciesOf = ({
  manifest,
}: Project): ReadonlyArray<{ readonly name: string; readonly range: string; readonly path: Path }> =>
  ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'].flatMap((group) => {
    const table = manifest?.value[group]
    if (!isTable(table)) return []
    return Object.entries(table).map(([name, range]) => ({ name, range: String(range), path: [group, name] }))
  })
