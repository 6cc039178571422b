/** What every check is given: the project, what was asked, and what is derived from both but once. */
import { type Environment, environmentsOf, type Main, mainOf, type Project, reachableFrom } from '../project/project.ts'
import { isTable, type Path } from '../project/config-file.ts'
import { foundIn, importsOf, ourServer, type Source, theirServer } from '../project/sources.ts'
import type { Core } from './core.ts'
import type { Finding, Place } from './finding.ts'

export interface Inspection {
  readonly project: Project
  readonly environments: readonly Environment[]
  /** The Worker of the deployment that has no name. */
  readonly main: Main | undefined
  /** Sources of the Worker that import this backend, or that of sync-cf; none where main is the package's own. */
  readonly servers: readonly Source[]
  /** What the app's own code says, as far as a text shows it. */
  readonly code: Code
  /** `--store`, `--origin` and LIVESTORE_SYNC_TOKEN. */
  readonly storeId: string | undefined
  readonly origins: readonly string[]
  readonly token: string | undefined
  /** `--url`: pages of its own origin may sync anyway. */
  readonly server: URL | undefined
}

/** The same for checks that ask the Worker itself. */
export interface Asking extends Inspection {
  readonly core: Core
}

/** What an app's own Worker decides in the place of variables. */
export interface Code {
  /** Who may sync. */
  readonly decidesWho: boolean
  /** Which pages may. */
  readonly decidesOrigins: boolean
  /** The Durable Object bindings that it names. */
  readonly bindings: readonly string[]
}

export type Check = (inspection: Asking) => readonly Finding[] | Promise<readonly Finding[]>

const policy = /\b(validatePayload|authToken|jwtSecret|jwtPublicKey|jwtJwksUrl|allowAnonymous)\b\s*[:,(}]/g
const routers = /\b(handleSyncRequest|handleWebSocket)\s*\(/g
const pages = /\b(allowedOrigins|enableCORS)\b\s*[:,}]/g
const named = /\b(?:syncBackendBinding|durableObject)\s*:\s*(?:\{\s*name\s*:\s*)?["']([^"'\n]+)["']/g

export const inspect = (
  project: Project,
  asked: Pick<Inspection, 'storeId' | 'origins' | 'token' | 'server'>,
): Inspection => {
  const environments = project.config === undefined ? [] : environmentsOf(project.config)
  const main = environments[0] === undefined ? undefined : mainOf(project, environments[0])
  const isServer = (source: Source): boolean =>
    importsOf(source).some(({ from }) => from === ourServer || from === theirServer)
  // What main reaches; all there are where that is not known, as through an alias or a framework.
  const reached = main?.source === undefined ? [] : reachableFrom(project, main.source).filter(isServer)
  const servers = main?.isOurs === true ? [] : reached.length > 0 ? reached : project.sources.filter(isServer)
  const says = (pattern: RegExp): boolean => foundIn(servers, pattern).length > 0
  return {
    project,
    environments,
    main,
    servers,
    code: {
      decidesWho: says(policy) || says(routers),
      decidesOrigins: says(pages) || says(policy) || says(routers),
      bindings: foundIn(servers, named).map(({ text }) => text),
    },
    ...asked,
  }
}

/** The place in the configuration of what stands at a path. */
export const placeIn = ({ config, pathOf }: Environment, ...path: Path): Place => ({
  file: config.name,
  line: config.lineOf(pathOf(...path)),
})

/** The variables that are texts, numbers or flags, as a Worker is given them. */
export const variablesOf = ({ value }: Environment): Readonly<Record<string, unknown>> =>
  isTable(value['vars']) ? value['vars'] : {}
