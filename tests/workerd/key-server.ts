/**
 * Serves a key set over HTTP, as an issuer of tokens does, and keeps what it was asked.
 *
 * Owns its port: it may go and come back, and answers whatever a test tells it to.
 */
import { createServer, type IncomingHttpHeaders, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { Jwk } from './tokens.ts'

/**
 * What it answers: a body with a status, another address for each path that it is asked for, the same text over and over, or
 * nothing at all.
 */
export type KeyAnswer =
  | { readonly status?: number; readonly body: string }
  | { readonly redirect: (path: string) => string | undefined; readonly body: string }
  | { readonly endless: string }
  | 'silence'

function* repeated(text: string): Generator<string> {
  for (;;) yield text
}

export class KeyServer {
  /** The headers of each request so far. */
  readonly requests: IncomingHttpHeaders[] = []
  answer: KeyAnswer
  #port = 0
  #server: HttpServer | undefined

  private constructor(answer: KeyAnswer) {
    this.answer = answer
  }

  /** Starts to serve, an empty set unless told. */
  static async start(keys: readonly Jwk[] = []): Promise<KeyServer> {
    const server = new KeyServer(KeyServer.setOf(keys))
    await server.comeBack()
    return server
  }

  /** The answer that is a set of these keys. */
  static setOf(keys: readonly Jwk[]): KeyAnswer {
    return { body: JSON.stringify({ keys }) }
  }

  /** Where the set is. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}/.well-known/jwks.json`
  }

  /** How often it was asked. */
  get count(): number {
    return this.requests.length
  }

  /** Serves again, at the same address. */
  async comeBack(): Promise<void> {
    const server = createServer((request, response) => {
      this.requests.push(request.headers)
      const { answer } = this
      if (answer === 'silence') return
      if ('endless' in answer) {
        Readable.from(repeated(answer.endless))
          .on('error', () => {})
          .pipe(response)
        return
      }
      const location = 'redirect' in answer ? answer.redirect(request.url ?? '') : undefined
      const status = location !== undefined ? 302 : 'status' in answer ? (answer.status ?? 200) : 200
      const headers = { 'content-type': 'application/json', connection: 'close' }
      response.writeHead(status, location === undefined ? headers : { ...headers, location })
      response.end(location === undefined ? answer.body : 'elsewhere')
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Stops at once: who asks finds nobody. */
  async leave(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }
}
