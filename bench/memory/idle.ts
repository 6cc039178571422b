/** Clients that do not do their part: they read nothing, or acknowledge nothing, or stop in the middle of a request. */
import { type ClientRequest, type IncomingMessage, request as post } from 'node:http'
import type { WebSocket } from 'ws'
import { targetOf } from '../../tests/harness/raw-client.ts'
import type { Generation } from '../../tests/workerd/peer.ts'
import { opened, startSocket } from './socket.ts'

/** A socket that answers nothing that comes, and counts it. */
export class IdleSocket {
  frames = 0
  bytes = 0
  /** Code with which the server has closed it, as far as it reads. */
  closed: number | undefined
  readonly #socket: WebSocket

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      this.frames += 1
      this.bytes += data.length
    })
    socket.on('close', (code) => (this.closed = code))
  }

  static async open(url: string, generation: Generation, storeId: string): Promise<IdleSocket> {
    const socket = startSocket(url, generation, storeId)
    const idle = new IdleSocket(socket)
    await opened(socket)
    socket.on('error', () => {}) // a broken socket closes, too
    return idle
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame))
  }

  stopReading(): void {
    this.#socket.pause()
  }

  /** Ends the connection without a word. */
  leave(): void {
    this.#socket.terminate()
  }
}

/** A request over HTTP, and what came of it. */
export class HttpCall {
  bytes = 0
  /** The first bytes of an answer that is read. */
  start = ''
  status: number | undefined
  /** Resolves with the status once the head of the answer has come, and rejects when none comes. */
  readonly answered: Promise<number>
  /** Resolves once an answer that is read has come whole. */
  readonly read: Promise<void>
  readonly #request: ClientRequest
  #answer: IncomingMessage | undefined

  constructor(url: string, storeId: string, answer: 'read' | 'unread', contentLength?: number) {
    const [answered, read] = [Promise.withResolvers<number>(), Promise.withResolvers<void>()]
    for (const { promise } of [answered, read]) promise.catch(() => {}) // whoever waits for it is told
    this.answered = answered.promise
    this.read = read.promise
    const length = contentLength === undefined ? {} : { 'content-length': contentLength }
    const headers = { 'content-type': 'application/json', ...length }
    const target = url + targetOf({ storeId, transport: 'http' })
    this.#request = post(target, { method: 'POST', agent: false, headers }, (response) => {
      this.#answer = response
      this.status = response.statusCode!
      response.on('error', read.reject)
      if (answer === 'read') {
        response.on('data', (part: Buffer) => {
          this.bytes += part.length
          if (this.start.length < 300) this.start += part.toString('latin1', 0, 300)
        })
        response.on('end', read.resolve)
      }
      answered.resolve(response.statusCode!)
    })
    this.#request.on('error', (error) => {
      answered.reject(error)
      read.reject(error)
    })
  }

  /** Sends the whole body, or what is left of it. */
  send(body: string | Buffer): this {
    this.#request.end(body)
    return this
  }

  /** Sends a part of the body, and resolves once it has left; the rest may never come. */
  sendPart(body: Buffer): Promise<void> {
    return new Promise((resolve) => this.#request.write(body, () => resolve()))
  }

  /** Ends the connection. */
  leave(): void {
    this.#answer?.destroy()
    this.#request.destroy()
  }
}
