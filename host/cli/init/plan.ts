/** What switching a project from sync-cf would change in it: as texts, before anything is written. */
import { inspect, type Inspection } from '../doctor/inspection.ts'
import { Failure, UsageError } from '../command.ts'
import { mainOf, type Project, reachableFrom } from '../project/project.ts'
import { type Source, sourceOf, theirServer } from '../project/sources.ts'
import type { Change } from './change.ts'
import { classesWithoutSQLite, declaredAnew, replacedBy, type Replaced, type Stage } from './configuration.ts'
import { switchedManifest } from './manifest.ts'
import { switched, withClass } from './sources.ts'

export interface Plan {
  readonly changes: readonly Change[]
  /** What its user should know of it. */
  readonly notes: readonly string[]
}

/** Makes one. `stageOf` is asked only where it matters whether the Worker is deployed. */
export const planOf = async (project: Project, stageOf: (className: string) => Promise<Stage>): Promise<Plan> => {
  const { config, unreadable } = project
  if (unreadable !== undefined)
    throw new Failure(`init: ${project.configNames[0]}:${unreadable.line}: ${unreadable.message}`)
  const texts = new Map<string, string>()
  for (const source of project.sources) {
    const text = switched(source)
    if (text !== source.text) texts.set(source.path, text)
  }
  // A project that neither has sync-cf's server nor this backend is none of ours.
  const inspection = inspect(project, { storeId: undefined, origins: [], token: undefined, server: undefined })
  const isOurs = inspection.servers.length > 0 || inspection.main?.isOurs === true
  if (texts.size === 0 && !isOurs)
    throw new Failure(`init: nothing in ${project.folder} imports ${theirServer}. Name the folder of the Worker.`)
  const notes: string[] = []
  if (texts.size > 0) {
    const manifest = switchedManifest(project, usesTheirs(project.sources, texts))
    if (manifest !== undefined) texts.set('package.json', manifest)
    else notes.push('There is no package.json here: install livestore-sync-worker where the Worker is built.')
  }
  if (config !== undefined) {
    const without = classesWithoutSQLite(inspection, config)
    const [className] = without
    if (className !== undefined) {
      const stage = await stageOf(className)
      if (stage === 'new') texts.set(config.name, declaredAnew(inspection, config).text)
      else {
        const replacements = without.map((one): Replaced => ({ className: one, by: freeName(inspection, one) }))
        texts.set(config.name, replacedBy(inspection, config, replacements).text)
        for (const replacement of replacements) exportBeside(inspection, texts, replacement)
        notes.push(
          'Deploy at a quiet time, a minute after the last push; take RESTORE_EMPTY out again once your stores have moved.',
        )
      }
    }
  }
  const changes = [...texts]
    .map(([path, after]): Change => ({ path, before: project.textOf(path) ?? '', after }))
    .filter(({ before, after }) => before !== after)
  return { changes, notes }
}

/** Whether anything but the server of sync-cf is named in sources as they will be. */
const usesTheirs = (sources: readonly Source[], texts: ReadonlyMap<string, string>): boolean =>
  sources.some((source) =>
    sourceOf(source.path, texts.get(source.path) ?? source.text).code.includes('@livestore/sync-cf'),
  )

/** The name of a class that takes the place of another. */
const freeName = ({ main, project }: Inspection, className: string): string => {
  if (main?.isOurs === true) return className === 'SyncBackendDO' ? 'WebSocketServer' : 'SyncBackendDO'
  const taken = new Set(
    project.sources.flatMap(({ code }) => [...code.matchAll(/\bclass\s+(\w+)/g)].map(([, name]) => name)),
  )
  taken.add(className)
  return ['SyncBackendDO', 'SyncStoreDO', 'LiveStoreSyncDO'].find((name) => !taken.has(name)) ?? `${className}Sqlite`
}

/** Has the main module of the Worker export a class beside the one that it takes the place of. */
const exportBeside = (
  { project, environments }: Inspection,
  texts: Map<string, string>,
  { className, by }: Replaced,
): void => {
  const mains = new Map(
    environments.flatMap((environment) => {
      const main = mainOf(project, environment)
      return main?.isOurs === false && main.source !== undefined ? [[main.path, main.source] as const] : []
    }),
  )
  for (const [path, source] of mains) {
    const reached = reachableFrom(project, source)
    if (!reached.some(({ code }) => new RegExp(`\\b${className}\\b`).test(code))) continue
    texts.set(path, withClass(path, texts.get(path) ?? source.text, by, className))
  }
}

/** That the stage has to be said where nobody can be asked. */
export const stageMissing = (className: string): UsageError =>
  new UsageError(
    `init: the class ${className} is declared without SQLite. Say --not-deployed if nothing is deployed yet, or --deployed if it is`,
  )
