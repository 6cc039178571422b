/** A deployment, asked as its clients ask it. */
import { dependenciesOf, installed } from '../../project/project.ts'
import { packageVersion } from '../../package.ts'
import { type Generation, generations, sentenceOf, syncUrl } from '../core.ts'
import { type Finding, finding } from '../finding.ts'
import { probe, type Reply } from '../probe.ts'
import type { Project } from '../../project/project.ts'

export interface Deployment {
  readonly url: URL
  readonly storeId: string | undefined
  readonly origins: readonly string[]
  readonly token: string | undefined
  readonly adminSecret: string | undefined
  /** The project beside it, whose clients are asked for. */
  readonly project: Project | undefined
}

/** No Worker of this package lets such a store in, and it says so before it asks who comes. */
const tooLong = 'x'.repeat(5_000)

const [plain, rpc] = generations

export const deployment = async (asked: Deployment): Promise<readonly Finding[]> => {
  const { url } = asked
  let greeting: Reply
  try {
    greeting = await probe(syncUrl(url, rpc, tooLong, undefined))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = message === '' ? code : message
    return [
      finding(
        'url-unreachable',
        `${url.href} cannot be reached: ${why}.`,
        `Look whether it is deployed and spelt so: npx wrangler deployments list; on this machine: npx wrangler dev`,
      ),
    ]
  }
  if (!isOurs(greeting)) {
    const said = shortened(greeting.text)
    return [
      finding(
        'url-other',
        `What answers at ${url.href} is not this backend: ${greeting.status}${said === '' ? '' : ` ${JSON.stringify(said)}`}.`,
        'Name the address that clients are given, with its path; if the Worker is that of sync-cf: npx livestore-sync-worker init',
      ),
      ...(await administration(asked)),
    ]
  }
  return [...(await syncing(asked)), ...(await pages(asked)), ...(await administration(asked))]
}

const isOurs = ({ status, text }: Reply): boolean =>
  /^storeId has \d+ bytes as JSON/.test(text) || (status === 500 && text.startsWith('Configuration: '))

const shortened = (text: string): string => {
  const line = text
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return line.length > 160 ? `${line.slice(0, 160)}…` : line
}

/** The generations that the project's clients speak: one, or both where that is not known. */
const generationsOf = (project: Project | undefined): readonly Generation[] => {
  const own =
    project === undefined ? undefined : dependenciesOf(project).find(({ name }) => name === '@livestore/sync-cf')
  if (own === undefined || project === undefined) return generations
  const version = String(installed(project.folder, own.name)?.['version'] ?? own.range)
  return [/^\D*0\.3\./.test(version) ? plain : rpc]
}

const isIn = ({ status }: Reply): boolean => status === 101 || status === 426

const syncing = async ({ url, token, storeId, project }: Deployment): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  const asked = generationsOf(project)
  for (const generation of asked) {
    // Without a store the Worker is asked as if for a socket, but for none: it then says who may, and wakes no object.
    const target = syncUrl(url, generation, storeId ?? 'doctor', token)
    const reply = await probe(target, { isSocket: storeId !== undefined })
    if (isIn(reply)) continue
    // An app's own router may serve one generation alone, and nobody said that there are others.
    if (generation === plain && asked.length > 1 && reply.status === 404) continue
    const sentence = shortened(sentenceOf(reply.text))
    if (token === undefined && reply.status === 400 && /^No auth token/.test(sentence)) {
      found.push(
        finding(
          'token-unknown',
          `A client without a token is answered: ${sentence}.`,
          'LIVESTORE_SYNC_TOKEN=… npx livestore-sync-worker doctor --url …, to try one',
        ),
      )
      break
    }
    if (storeId === undefined && /does not open this store/.test(sentence)) break
    found.push(
      finding(
        'sync-refused',
        `A client of ${generation.name} is answered ${reply.status}: ${sentence}.`.replace('..', '.'),
        fixOf(reply.status, sentence),
      ),
    )
  }
  if (storeId === undefined && found.every(({ code }) => code !== 'sync-refused'))
    found.push(
      finding(
        'store-not-asked',
        'No object was asked.',
        'doctor --url … --store <id of a store>; one that is not there yet is begun by that',
      ),
    )
  return found
}

const fixOf = (status: number, sentence: string): string => {
  if (/token/i.test(sentence) && status === 400)
    return 'Give clients a token that the deployment accepts: docs/configuration.md#tokens'
  if (/^Nobody can connect yet/.test(sentence)) return 'npx wrangler secret put AUTH_TOKEN'
  if (/^Configuration: /.test(sentence)) return 'Correct the variable and deploy: docs/configuration.md'
  if (/SQLite/.test(sentence))
    return 'Bind a class that has SQLite: docs/migrating-from-sync-cf.md#classes-backed-by-key-value-storage'
  if (status === 424)
    return 'Bind the Durable Object class as SYNC_BACKEND_DO and deploy: docs/configuration.md#bindings'
  return 'npx wrangler tail shows what the Worker logs; docs/operations.md#log-lines says what its lines mean'
}

const pages = async ({ url, origins, token, storeId = 'doctor' }: Deployment): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  for (const origin of origins) {
    if (origin === url.origin) continue
    const target = syncUrl(url, rpc, storeId, token)
    const reply = await probe(target, { headers: { Origin: origin } })
    if (reply.status === 403) {
      found.push(
        finding(
          'origin-refused',
          `Pages of ${origin} may not sync with ${url.origin}: ${shortened(reply.text)}.`,
          `npx wrangler deploy --var ALLOWED_ORIGINS:${origin}, or ALLOWED_ORIGINS below [vars]`,
        ),
      )
      continue
    }
    target.searchParams.set('transport', 'http')
    const preflight = await probe(target, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type',
      },
    })
    const { 'access-control-allow-origin': allowed } = preflight.headers
    if (preflight.status < 300 && (allowed === '*' || allowed === origin)) continue
    const allows = allowed === undefined ? 'without Access-Control-Allow-Origin' : `for ${String(allowed)}`
    found.push(
      finding(
        'preflight-refused',
        `A preflight of ${origin} is answered ${preflight.status} ${allows}.`,
        'Let your router hand OPTIONS requests on to sync, and list the origin in ALLOWED_ORIGINS',
      ),
    )
  }
  return found
}

interface Deployed {
  readonly version?: unknown
  readonly warnings?: ReadonlyArray<{ readonly name?: unknown; readonly message?: unknown }>
}

const administration = async ({ url, adminSecret }: Deployment): Promise<readonly Finding[]> => {
  if (adminSecret === undefined) return []
  const { status, text } = await probe(new URL('/admin/v1/config', url), {
    headers: { Authorization: `Bearer ${adminSecret}` },
  })
  if (status === 401)
    return [
      finding(
        'admin-refused',
        'The deployment has another ADMIN_SECRET than LIVESTORE_ADMIN_SECRET.',
        'npx wrangler secret put ADMIN_SECRET',
      ),
    ]
  let answer: (Deployed & { readonly error?: unknown }) | undefined
  try {
    answer = JSON.parse(text) as Deployed
  } catch {
    answer = undefined
  }
  if (typeof answer !== 'object' || answer === null)
    return [
      finding('admin-off', `There is no administration at ${url.origin}.`, 'npx wrangler secret put ADMIN_SECRET'),
    ]
  // An older release has the administration, but not this route.
  if (status !== 200) return []
  const { version, warnings } = answer
  return [
    ...(Array.isArray(warnings) ? (warnings as NonNullable<Deployed['warnings']>) : []).map(({ name, message }) =>
      finding(
        'deployed-warning',
        `${String(name)}: ${String(message)}`,
        `Correct ${String(name)} and deploy: docs/configuration.md`,
      ),
    ),
    ...(typeof version === 'string' && version !== packageVersion
      ? [
          finding(
            'deployed-version',
            `${version} is deployed, and this is ${packageVersion}.`,
            `npx wrangler deploy, or: npx livestore-sync-worker@${version} doctor`,
          ),
        ]
      : []),
  ]
}
