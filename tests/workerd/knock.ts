/** One request to the Worker's door, as plain HTTP: any method, any header, an upgrade if asked for. */
import { request as send } from 'node:http'
import type { Server } from '../harness/server.ts'

export interface Knock {
  readonly method?: string
  /** Path and query, exactly as they go over the wire. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  /** Asks for a WebSocket, in these letters. */
  readonly upgrade?: string
  readonly body?: string | Uint8Array
}

export interface Answer {
  readonly status: number
  readonly body: string
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>
}

const deadlineMs = 15_000

/** Sends one request and resolves with the answer. A WebSocket that it opens is dropped. */
const knockOnce = (server: Pick<Server, 'url'>, { method = 'GET', target, headers, upgrade, body }: Knock) =>
  new Promise<Answer>((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const handshake =
      upgrade === undefined
        ? {}
        : {
            connection: 'Upgrade',
            upgrade,
            'sec-websocket-version': '13',
            'sec-websocket-key': Buffer.from('sixteen bytes ok').toString('base64'),
          }
    // Without it Node sends no length of a body that it does not expect of the method.
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const isChunked = headers?.['transfer-encoding'] !== undefined
    const request = send({
      host: hostname,
      port,
      method,
      path: target,
      agent: false,
      headers: { ...handshake, ...(isChunked ? {} : length), ...headers },
    })
    request.setTimeout(deadlineMs, () => request.destroy(new Error(`no answer to ${method} ${target}`)))
    request.on('error', reject)
    request.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: response.statusCode!, body: '', headers: response.headers as Record<string, string> })
    })
    request.on('response', (response) => {
      const parts: Buffer[] = []
      response.on('error', reject)
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          body: Buffer.concat(parts).toString(),
          headers: response.headers as Record<string, string>,
        }),
      )
    })
    request.end(body)
  })

/** A server may answer a large body and close before it has come; what writes into that closed connection loses the answer. */
const lostAnswersMax = 3

/** Asks, and again where the answer was lost. */
export const knock = async (server: Pick<Server, 'url'>, asked: Knock): Promise<Answer> => {
  for (let lost = 0; ; lost++) {
    try {
      return await knockOnce(server, asked)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE' || lost === lostAnswersMax) throw error
    }
  }
}
