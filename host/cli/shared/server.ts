/**
 * The sync backend that a command asks: where it is, who may ask, and what it means when it does not answer as expected.
 *
 * Owns every request to the administration, which docs/operations.md describes. Errors are for the operator: they name the flag or
 * the variable that is to be changed, or are the server's own words.
 */
import type { OpenState, State as AnyState } from '../../administration.ts'
import { type Asked, Failure, type Flag, UsageError } from '../command.ts'
import { interruption, throwIfInterrupted } from './interrupt.ts'
import { adminSecret } from './secrets.ts'
import { plain } from './show.ts'

/** The flags of every command that asks a server. */
export const serverFlags: Readonly<Record<string, Flag>> = {
  url: { value: '<url>', help: 'where the sync backend is, instead of LIVESTORE_SYNC_URL' },
  json: { help: 'prints JSON' },
}

/** The server could not be asked, or has not answered: the same may go well another time. */
export class Unreachable extends Failure {}

/** The server has said no. */
export class Refused extends Failure {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** The state of a store: `status` says which of the rest there is. */
export type State = OpenState & Pick<AnyState, 'lifetimes' | 'message'>

export interface Ask {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  /** Sent as JSON. */
  readonly body?: unknown
}

/** The path of a store, and what follows. */
export const storePath = (storeId: string, rest = ''): string => `stores/${encodeURIComponent(storeId)}${rest}`

export class Server {
  /** The command that asks. */
  readonly #name: string
  /** With a slash at its end. */
  readonly #base: URL
  readonly #secret: string

  private constructor(name: string, base: URL, secret: string) {
    this.#name = name
    this.#base = base
    this.#secret = secret
  }

  /** The server that a command is to ask, by its flags and the environment. */
  static of(name: string, asked: Asked): Server {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
    if (major < 22 || (major === 22 && minor < 2))
      throw new Failure(`${name}: this is Node ${process.versions.node}, and this command needs 22.2 or a later one`)
    const server = new Server(name, baseOf(name, asked.flags['url']), adminSecret(name))
    interruption()
    return server
  }

  /** As it is shown. */
  get url(): string {
    return this.#base.href.replace(/\/$/, '')
  }

  /** The URL of a route below `/admin/v1/`. */
  urlOf(path: string, query: Ask['query'] = {}): URL {
    const url = new URL(`admin/v1/${path}`, this.#base)
    for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value))
    return url
  }

  /** What each request has to carry. */
  get headers(): Readonly<Record<string, string>> {
    return { authorization: `Bearer ${this.#secret}` }
  }

  /** The answer to a request, which is one of success. Its body has yet to be read. */
  async answer(method: string, path: string, { query, body }: Ask = {}): Promise<Response> {
    const url = this.urlOf(path, query)
    const response = await fetch(url, {
      method,
      headers: this.headers,
      redirect: 'manual',
      signal: interruption(),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch((error: unknown) => this.fail(error))
    if (response.ok) return response
    const text = await response.text().catch(() => '')
    throw this.refusal(response.status, text, response.headers.get('location'))
  }

  /** The JSON of an answer. */
  async json<T>(method: string, path: string, ask?: Ask): Promise<T> {
    const response = await this.answer(method, path, ask)
    const text = await response.text().catch((error: unknown) => this.fail(error))
    return this.parse<T>(text)
  }

  /** The value of an answer in JSON. */
  parse<T>(text: string): T {
    try {
      return JSON.parse(text) as T
    } catch {
      throw new Failure(
        `${this.#name}: what answers at ${this.url} is no sync backend of this package: is --url right?`,
      )
    }
  }

  /** The lines of an answer, as they come: each a value in JSON. */
  async *lines<T>(method: string, path: string, ask?: Ask): AsyncGenerator<T> {
    const response = await this.answer(method, path, ask)
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of this.chunks(response)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield this.parse<T>(line)
    }
    if (rest !== '') throw new Unreachable(`${this.#name}: the answer was cut off`)
  }

  /** The bytes of an answer, as they come. Throws {@link Unreachable} if the connection breaks. */
  async *chunks(response: Response): AsyncGenerator<Uint8Array> {
    if (response.body === null) return
    const reader = response.body.getReader()
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error: unknown) => this.fail(error))
        if (done) return
        yield value
      }
    } finally {
      // Whoever reads no further has the server stop.
      reader.cancel().catch(() => {})
    }
  }

  /** The state of a store; `undefined` if there is none. */
  async stateIfAny(storeId: string): Promise<State | undefined> {
    try {
      return await this.json<State>('GET', storePath(storeId))
    } catch (error) {
      // Of a server without an administration, 404 is not about the store.
      if (error instanceof Refused && error.status === 404 && error.message.includes(noStore)) return undefined
      throw error
    }
  }

  /** The state of a store that has to be there. */
  async state(storeId: string): Promise<State> {
    const state = await this.stateIfAny(storeId)
    if (state === undefined) throw this.noStore(storeId)
    return state
  }

  noStore(storeId: string): Failure {
    return new Failure(`${this.#name}: there is no store '${plain(storeId)}' at ${this.url}`)
  }

  /** Throws what it means that a request could not be made, or its answer not read. */
  fail(error: unknown): never {
    throwIfInterrupted(`${this.#name}: interrupted`)
    throw new Unreachable(`${this.#name}: ${this.#unreachable(error)}`)
  }

  #unreachable(error: unknown): string {
    const { message, cause } = error as Error & { readonly cause?: Error & { code?: string; errors?: Error[] } }
    const reason = cause?.errors?.[0] ?? cause
    const code = cause?.code ?? (reason as { code?: string } | undefined)?.code ?? (error as { code?: string }).code
    const { hostname } = this.#base
    switch (code) {
      case 'ECONNREFUSED':
        return `nothing listens at ${this.url}: is the server running, and is --url right?`
      case 'ENOTFOUND':
      case 'EAI_AGAIN':
        return `there is no host ${hostname}: is --url right?`
      case 'UND_ERR_CONNECT_TIMEOUT':
      case 'ETIMEDOUT':
      case 'EHOSTUNREACH':
      case 'ENETUNREACH':
        return `${hostname} does not answer: is --url right, and is there a network?`
      case 'ECONNRESET':
      case 'EPIPE':
      case 'UND_ERR_SOCKET':
        return `the connection to ${this.url} was cut`
      case 'ERR_SSL_WRONG_VERSION_NUMBER':
      case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
        return `${this.url} does not speak https: is --url http://${this.#base.host}?`
      default:
        return message === 'terminated'
          ? `the connection to ${this.url} was cut`
          : `${this.url} cannot be asked: ${reason?.message ?? message}`
    }
  }

  /** What it means that a request was answered with this status and text. */
  refusal(status: number, text: string, location: string | null = null): Refused {
    const words = wordsIn(text)
    return new Refused(status, `${this.#name}: ${this.#refused(status, words, location)}`)
  }

  #refused(status: number, words: string | undefined, location: string | null): string {
    if (status === 401 && words !== undefined)
      return `LIVESTORE_ADMIN_SECRET is not the ADMIN_SECRET of ${this.url} (401)`
    if (status >= 300 && status < 400)
      return `${this.url} leads elsewhere (${status}), to ${plain(location ?? 'nowhere')}: give that as --url`
    if (words !== undefined) return `the server says: ${plain(words)} (${status})`
    if (status === 413)
      return `what is sent is more than ${this.#base.hostname} takes in one request (413): --part makes it less`
    // Without ADMIN_SECRET the Worker takes these routes for those of clients.
    if (status >= 400 && status < 500)
      return `there is no administration at ${this.url} (${status}): is --url right, and is ADMIN_SECRET set there?`
    return `${this.url} answers ${status}, which no route of the administration does: is --url right?`
  }
}

/** What the server says of a store that is not there. */
const noStore = 'there is no such store'

/** The words of an error of the administration. */
const wordsIn = (text: string): string | undefined => {
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown }
    return typeof error === 'string' ? error : undefined
  } catch {
    return undefined
  }
}

/** Where the server is, by a flag or the environment. */
const baseOf = (name: string, flag: string | boolean | undefined): URL => {
  const [text, from] =
    typeof flag === 'string' ? [flag, '--url'] : [process.env['LIVESTORE_SYNC_URL'] ?? '', 'LIVESTORE_SYNC_URL']
  if (text === '') throw new UsageError(`${name}: where is the sync backend? Give --url, or set LIVESTORE_SYNC_URL`)
  const url = URL.canParse(text) ? new URL(text) : undefined
  // Apps have the address of the same server as that of a socket.
  if (url?.protocol === 'wss:') url.protocol = 'https:'
  if (url?.protocol === 'ws:') url.protocol = 'http:'
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw new UsageError(`${name}: ${from} is an address such as https://sync.example.com, not '${plain(text)}'`)
  if (url.username !== '' || url.password !== '')
    throw new UsageError(`${name}: ${from} has a user or a password in it, which the sync backend asks nobody for`)
  if (url.protocol === 'http:' && !isLocal(url.hostname))
    console.error(`Warning: the secret goes to ${url.hostname} unencrypted. Where it answers https, say so in ${from}.`)
  url.search = ''
  url.hash = ''
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

const isLocal = (hostname: string): boolean => /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
