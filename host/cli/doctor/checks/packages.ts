/** Which backend the Worker imports, and which releases of LiveStore are here. */
import { dependenciesOf, installed, type Project } from '../../project/project.ts'
import { importsOf, ourServer, theirServer } from '../../project/sources.ts'
import { packageName } from '../../package.ts'
import { type Finding, finding, type Place } from '../finding.ts'
import type { Check, Inspection } from '../inspection.ts'

export const packages: Check = (inspection) => [...backends(inspection), ...releases(inspection.project)]

const backends = ({ project, servers, main, server }: Inspection): readonly Finding[] => {
  const imports = servers.flatMap((source) => importsOf(source).map((one) => ({ ...one, file: source.path })))
  const ours = imports.filter(({ from }) => from === ourServer)
  const theirs = imports.filter(({ from }) => from === theirServer)
  const placeOf = ({ file, line }: { readonly file: string; readonly line: number }): Place => ({ file, line })
  const [first] = theirs
  if (first !== undefined) {
    const switching = 'npx livestore-sync-worker init'
    if (ours.length > 0)
      return theirs.map((one) =>
        finding('backends-mixed', `${theirServer} is imported, and this backend as well.`, switching, placeOf(one)),
      )
    return [finding('backend-not-switched', `The Worker imports ${theirServer}.`, switching, placeOf(first))]
  }
  const [own] = ours
  if (own === undefined) {
    if (main?.isOurs === true || (project.config === undefined && server !== undefined)) return []
    return [
      finding(
        'backend-missing',
        `No source imports ${ourServer}, and main is not the package's Worker.`,
        `npm install ${packageName}, and in the wrangler configuration: main = "node_modules/${packageName}/dist/worker.js"`,
        project.config === undefined ? undefined : { file: project.config.name, line: project.config.lineOf(['main']) },
      ),
    ]
  }
  if (installed(project.folder, packageName) !== undefined) return []
  return [
    finding('backend-not-installed', `${packageName} is not installed.`, `npm install ${packageName}`, placeOf(own)),
  ]
}

/** A package of LiveStore: what is asked of it, what is there, and where it is asked. */
interface Release {
  readonly name: string
  readonly range: string
  readonly version: string | undefined
  readonly place: Place
}

/** Packages of this scope that have versions of their own. */
const isOwnPace = (name: string): boolean =>
  /^@livestore\/(wa-sqlite|sqlite-wasm|devtools-.*|effect-.*|filesync.*|peer-deps)$/.test(name)

const releases = (project: Project): readonly Finding[] => {
  const { manifest } = project
  if (manifest === undefined) return []
  const all = dependenciesOf(project)
    .filter(({ name }) => name.startsWith('@livestore/') && !isOwnPace(name))
    .map(({ name, range, path }): Release => ({
      name,
      range,
      version: text(installed(project.folder, name)?.['version']),
      place: { file: manifest.name, line: manifest.lineOf(path) },
    }))
  return [...together(all), ...all.flatMap(here), ...generation(all)]
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** The version that a range means, where it means one: itself, or that of `^` and `~`. */
const exact = (range: string): string | undefined => /^[=v]?(\d+\.\d+\.\d+(?:-[\w.-]+)?)$/.exec(range)?.[1]

const versionOf = ({ version, range }: Release): string | undefined =>
  version ?? /(\d+\.\d+\.\d+(?:-[\w.-]+)?)/.exec(range)?.[1]

const together = (all: readonly Release[]): readonly Finding[] => {
  const versions = [...new Set(all.map(versionOf).filter((version) => version !== undefined))]
  if (versions.length < 2) return []
  // The one that most have is what the others should be.
  const count = (version: string): number => all.filter((one) => versionOf(one) === version).length
  const [most = ''] = versions.sort((a, b) => count(b) - count(a))
  return all
    .filter((one) => versionOf(one) !== undefined && versionOf(one) !== most)
    .map((one) =>
      finding(
        'livestore-versions',
        `${one.name} is ${versionOf(one)}, and others are ${most}.`,
        `npm install --save-exact ${one.name}@${most}`,
        one.place,
      ),
    )
}

const here = ({ name, range, version, place }: Release): readonly Finding[] => {
  const wanted = exact(range)
  if (version === undefined)
    return [finding('livestore-not-installed', `${name} is not installed.`, 'npm install', place)]
  if (wanted === undefined || wanted === version) return []
  return [
    finding(
      'livestore-not-installed',
      `package.json asks for ${name} ${wanted}, and ${version} is installed.`,
      'npm install',
      place,
    ),
  ]
}

/** The first development release of 0.4 that reads errors as 0.4.0 does. */
const firstLikeRelease = 23

const generation = (all: readonly Release[]): readonly Finding[] => {
  const one =
    all.find(({ name }) => name === '@livestore/sync-cf') ??
    all.find(({ name }) => name === '@livestore/livestore') ??
    all[0]
  const version = one === undefined ? undefined : versionOf(one)
  if (one === undefined || version === undefined) return []
  const [, minor = '', development] = /^0\.(\d+)\.\d+(?:-(?:dev|snapshot)\.?(\d+)?.*)?/.exec(version) ?? []
  const says = (which: string, generation: string): Finding =>
    finding(
      'livestore-generation',
      `${one.name} ${version} speaks generation ${generation}: ${which}.`,
      'Nothing has to be done.',
      one.place,
    )
  if (minor === '3') return [says('the messages of 0.3, over WebSocket', 'v03')]
  if (minor === '4') {
    const number = /^0\.4\.0-dev\.(\d+)/.exec(version)?.[1] ?? development
    const isEarly = version.startsWith('0.4.0-dev.') && Number(number) < firstLikeRelease
    const found = says('Effect 3 RPC, over WebSocket, HTTP and Durable Object RPC', 'v04')
    if (!isEarly) return [found]
    return [
      found,
      finding(
        'livestore-development',
        `${one.name} ${version} is a development release before 0.4.0-dev.${firstLikeRelease}.`,
        'npm install --save-exact @livestore/sync-cf@0.4.0, and the other packages of @livestore in the same version',
        one.place,
      ),
    ]
  }
  if (minor === '5') return [says('Effect 4 RPC, over WebSocket, HTTP and Durable Object RPC', 'v05')]
  return [
    finding(
      'livestore-unknown',
      `${one.name} ${version} is none of 0.3, 0.4 and the Effect 4 line.`,
      'npm install --save-exact @livestore/sync-cf@0.4.0, and the other packages of @livestore in the same version',
      one.place,
    ),
  ]
}
