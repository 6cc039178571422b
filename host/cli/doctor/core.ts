/**
 * The Worker of the package, run in this process: what it would answer a client under given variables, in its own words.
 *
 * So no rule of it is written down twice. Knows nothing of projects.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Failure } from '../command.ts'
import { packageFolder } from '../package.ts'

export interface Question {
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** Whether it comes to a development server on this machine. */
  readonly isLocal: boolean
}

export interface Answer {
  readonly status: number
  readonly text: string
}

export type Core = (variables: Readonly<Record<string, unknown>>, question: Question) => Promise<Answer>

interface Module {
  readonly default: { fetch(request: Request, env: object): Response | Promise<Response> }
}

/** What an object is asked for counts as done: nothing but the Worker's own decision is of interest. */
const objects = { idFromName: (name: string) => name, get: () => ({ fetch: () => Promise.resolve(new Response('')) }) }

const moduleOf = (source: string): string => `data:text/javascript;base64,${Buffer.from(source).toString('base64')}`

/** What the bundle imports that Node does not have, by what takes its place. */
const replacements = (dist: string): ReadonlyMap<string, string> =>
  new Map([
    ['cloudflare:workers', 'export class DurableObject {}\nexport const env = {}'],
    [
      './index_bg.wasm',
      `import { readFileSync } from 'node:fs'
export default new WebAssembly.Module(readFileSync(new URL(${JSON.stringify(pathToFileURL(join(dist, 'index_bg.wasm')).href)})))`,
    ],
  ])

/** Loads it. Throws {@link Failure} where it is not built, or this Node is too old for it. */
export const loadCore = async (): Promise<Core> => {
  const [major = 0] = process.versions.node.split('.').map(Number)
  if (major < 22) throw new Failure(`doctor: this is Node ${process.versions.node}, and the check needs 22 or newer`)
  const dist = join(packageFolder, 'dist')
  const bundle = join(dist, 'worker.js')
  if (!existsSync(bundle)) throw new Failure(`doctor: ${bundle} is missing: \`npm run build\` makes it`)
  let source = readFileSync(bundle, 'utf8')
  for (const [name, replacement] of replacements(dist)) {
    const parts = source.split(`from"${name}"`)
    if (parts.length !== 2) throw new Error(`the Worker imports ${name} ${parts.length - 1} times`)
    source = parts.join(`from"${moduleOf(replacement)}"`)
  }
  // Its log lines are for operators of a deployment.
  const quiet = 'const console = new Proxy({}, { get: () => () => {} })\n'
  const { default: worker } = (await import(moduleOf(quiet + source))) as Module
  return async (variables, { url, headers = {}, isLocal }) => {
    const request = new Request(url, { headers })
    if (isLocal) Object.defineProperty(request, 'cf', { value: { colo: 'DFW' } })
    const response = await worker.fetch(request, { ...variables, SYNC_BINDING: undefined, SYNC_BACKEND_DO: objects })
    return { status: response.status, text: await response.text() }
  }
}

/** The sentence in what a client of sync-cf is told. */
export const sentenceOf = (text: string): string =>
  /"cause": Error: ([^]*), "note": undefined, "payload": undefined/.exec(text)?.[1] ?? text.trim()

/** Which releases speak which generation, and how their clients come in. */
export const generations = [
  { name: '0.3', path: '/websocket', transport: undefined },
  { name: '0.4 and the Effect 4 line', path: '', transport: 'ws' },
] as const

export type Generation = (typeof generations)[number]

/** Where a client asks for a store. Its payload is encoded twice, as clients do it. */
export const syncUrl = (
  base: URL,
  { path, transport }: Generation,
  storeId: string,
  token: string | undefined,
): URL => {
  const url = new URL(base)
  url.pathname = url.pathname.replace(/\/$/, '') + path
  url.searchParams.set('storeId', storeId)
  if (transport !== undefined) url.searchParams.set('transport', transport)
  if (token !== undefined) url.searchParams.set('payload', encodeURIComponent(JSON.stringify({ authToken: token })))
  return url
}
