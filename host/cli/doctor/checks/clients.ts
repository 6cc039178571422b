/** What clients bring: a token, the origin of their page, the id of their store. The Worker itself is asked about them. */
import { devVariables, type Environment, inWords } from '../../project/project.ts'
import { foundIn } from '../../project/sources.ts'
import { sentenceOf, syncUrl, generations } from '../core.ts'
import { type Finding, finding, type Place } from '../finding.ts'
import { type Check, type Inspection, placeIn, variablesOf } from '../inspection.ts'
import { effective } from './variables.ts'

const [, current] = generations

/** A store that is asked for where none is named: the Worker decides before any object is. */
const someStore = 'doctor'

/** The answer to a client that the Worker lets in. */
const isIn = (status: number): boolean => status < 400 || status === 426

const isPolicyOf = (name: string): boolean =>
  /^(AUTH_TOKEN|JWT_SECRET|JWT_PUBLIC_KEY|JWT_JWKS_URL|ALLOW_ANONYMOUS)$/.test(name)

/** Whether variables say who may sync, and so whether a token can be judged by them. */
const saysWho = (variables: Readonly<Record<string, unknown>>): boolean => Object.keys(variables).some(isPolicyOf)

export const tokens: Check = async (inspection) => {
  const { token, code, environments, core, project, storeId = someStore } = inspection
  if (token === undefined || environments.length === 0) return []
  const unknown = (why: string): readonly Finding[] => [
    finding(
      'token-unknown',
      `LIVESTORE_SYNC_TOKEN cannot be judged here: ${why}.`,
      'npx livestore-sync-worker doctor --url https://<your Worker>',
    ),
  ]
  if (code.decidesWho) return unknown("the Worker's own code decides")
  const found: Finding[] = []
  let isJudged = false
  for (const environment of environments) {
    for (const isLocal of [false, true]) {
      const variables = effective(inspection, environment, isLocal)
      const file = isLocal ? devVariables(project, environment)?.file : undefined
      // What the configuration alone says is judged without the secrets of this machine, and those with it.
      if (isLocal ? file === undefined || environment.name !== undefined : !saysWho(variables)) continue
      if (isLocal && !saysWho(devVariables(project, environment)?.values ?? {})) continue
      const url = syncUrl(new URL('http://localhost:8787'), current, storeId, token)
      const { status, text } = await core(variables, { url, isLocal })
      const sentence = sentenceOf(text)
      // A store was made up: a token for others is none the worse.
      const isOfOthers = inspection.storeId === undefined && /does not open this store/.test(sentence)
      // Keys that cannot be had from here may be from there.
      if (status === 503 && /^The keys of JWT_JWKS_URL/.test(sentence)) return unknown(sentence)
      isJudged = true
      if (isIn(status) || status === 500 || isOfOthers) continue
      const place: Place = file === undefined ? placeIn(environment, 'vars') : { file }
      const where = isLocal ? 'by `wrangler dev`' : `by a deployment${inWords(environment)}`
      found.push(
        finding(
          'token-refused',
          `LIVESTORE_SYNC_TOKEN would be refused ${where}: ${sentence}.`.replace('..', '.'),
          `Give clients a token that ${file ?? 'the variables'} accept${file === undefined ? '' : 's'}: docs/configuration.md#tokens`,
          place,
        ),
      )
    }
  }
  return isJudged ? found : unknown('its secrets are not in this folder')
}

/** The ports of Vite where its configuration names none. */
const vitePorts = { server: 5173, preview: 4173 }

interface Origin {
  readonly origin: string
  readonly place?: Place
}

/** Where Vite serves the page: the port of `server`, and that of `preview`. */
const viteOrigins = ({ project }: Inspection): readonly Origin[] => {
  const config = project.sources.find(({ path }) => /^vite\.config\.[cm]?[jt]s$/.test(path))
  if (config === undefined) return []
  return (['server', 'preview'] as const).map((part) => {
    const [found] = foundIn([config], new RegExp(`\\b${part}\\s*:\\s*\\{[^}]*?\\bport\\s*:\\s*([\\d_]+)`, 'g'))
    const port = found === undefined ? vitePorts[part] : Number(found.text.replaceAll('_', ''))
    return { origin: `http://localhost:${port}`, place: { file: config.path, line: found?.line ?? 1 } }
  })
}

/** Vite's plugin serves page and Worker at one address, where every page is of the own origin. */
const isOneServer = ({ project }: Inspection): boolean =>
  foundIn(project.sources, /["'](@cloudflare\/vite-plugin)["']/g).some(({ source }) =>
    source.path.startsWith('vite.config.'),
  )

export const origins: Check = async (inspection) => {
  const { code, environments, core, project, token } = inspection
  const [top] = environments
  if (top === undefined || (inspection.servers.length === 0 && inspection.main?.isOurs !== true)) return []
  const found: Finding[] = []
  const ask = async (environment: Environment, { origin, place }: Origin, isLocal: boolean): Promise<void> => {
    const variables = effective(inspection, environment, isLocal)
    if (code.decidesOrigins && variables['ALLOWED_ORIGINS'] === undefined) return
    const server = isLocal ? new URL('http://localhost:8787') : (inspection.server ?? new URL('https://sync.invalid'))
    const url = syncUrl(server, current, someStore, token)
    const { status, text } = await core(variables, { url, headers: { Origin: origin }, isLocal })
    if (status !== 403) return
    const file = isLocal ? (devVariables(project, environment)?.file ?? '.dev.vars') : environment.config.name
    const listed = variables['ALLOWED_ORIGINS']
    const list = typeof listed === 'string' && listed.trim() !== '' ? `${listed},${origin}` : origin
    const line = isLocal ? `In ${file}: ALLOWED_ORIGINS=${list}` : `Below [vars]: ALLOWED_ORIGINS = "${list}"`
    const where = isLocal ? 'with `wrangler dev`' : `with a deployment${inWords(environment)}`
    found.push(
      finding(
        'origin-refused',
        `Pages of ${origin} may not sync ${where}: ${sentenceOf(text)}.`,
        line,
        place ?? placeIn(environment, 'vars', 'ALLOWED_ORIGINS'),
      ),
    )
  }
  if (!isOneServer(inspection)) for (const origin of viteOrigins(inspection)) await ask(top, origin, true)
  for (const origin of inspection.origins)
    for (const environment of environments)
      if (Object.keys(variablesOf(environment)).includes('ALLOWED_ORIGINS') || !code.decidesOrigins)
        await ask(environment, { origin }, false)
  return found
}

/** Bytes of a name that Cloudflare tells its object. */
const nameBytesMax = 1_024

/** Texts that are given as the id of a store. */
const storeIds = /\bstoreId\s*(?:=|:|\?\?|\|\|)\s*(?:"((?:\\.|[^"\\\n])*)"|'((?:\\.|[^'\\\n])*)'|`([^`$]*)`)/g

export const stores: Check = async ({ project, storeId, core }) => {
  const literals = project.sources.flatMap((source) =>
    [...source.code.matchAll(storeIds)].map((match) => ({
      id: match[1] ?? match[2] ?? match[3] ?? '',
      place: { file: source.path, line: source.code.slice(0, match.index).split('\n').length },
    })),
  )
  const all: ReadonlyArray<{ readonly id: string; readonly place?: Place }> = [
    ...literals,
    ...(storeId === undefined ? [] : [{ id: storeId }]),
  ]
  const found: Finding[] = []
  const fix = 'Give the store a shorter id, a hash of this one if need be.'
  for (const { id, place } of all) {
    const url = syncUrl(new URL('http://localhost:8787'), current, id, undefined)
    const { status, text } = await core({ ALLOW_ANONYMOUS: 'true' }, { url, isLocal: true })
    if (status === 400) found.push(finding('store-id-refused', `${sentenceOf(text)}.`, fix, place))
    else if (Buffer.byteLength(id) > nameBytesMax)
      found.push(finding('store-id-long', `The id of a store has ${Buffer.byteLength(id)} bytes.`, fix, place))
  }
  return found
}
