/** One request to a deployment, as a client or a browser makes it: what is answered, or that a socket was opened. */
import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Answer } from './core.ts'

export interface Probe {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Asks for a WebSocket, and closes it as soon as it is open. */
  readonly isSocket?: boolean
}

export interface Reply extends Answer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** Milliseconds that an answer may take. */
const deadlineMs = 15_000

/** Bytes of an answer that are read: what is longer is no sentence for a client. */
const bytesMax = 1_000_000

const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' }

/** A close frame without a code, masked as a client's have to be. */
const closeFrame = Buffer.from([0x88, 0x80, 0, 0, 0, 0])

/** Asks. Rejects where nothing answers. */
export const probe = (url: URL, { method = 'GET', headers = {}, isSocket = false }: Probe = {}): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const key = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64')
    const more = isSocket ? { ...upgrade, 'Sec-WebSocket-Key': key } : {}
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, {
      method,
      headers: { ...headers, ...more },
      signal: AbortSignal.timeout(deadlineMs),
    })
    request.on('error', (error: NodeJS.ErrnoException) =>
      reject(error.name === 'AbortError' ? new Error(`no answer within ${deadlineMs / 1_000} seconds`) : error),
    )
    request.on('upgrade', ({ headers: answered }, socket) => {
      socket.on('error', () => {})
      socket.end(closeFrame)
      socket.resume()
      resolve({ status: 101, text: '', headers: answered })
    })
    request.on('response', (response) => {
      const { statusCode: status = 0, headers: answered } = response
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part: string) => {
        if (text.length < bytesMax) text += part
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status, text, headers: answered }))
    })
    request.end()
  })
