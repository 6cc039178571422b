/**
 * A hand-written server of the 0.3 dialect that records what a client sends and misbehaves on command, to learn how the
 * client takes it.
 *
 * Owns: one log in memory. It serves just enough to keep a client going: pull, push, ping.
 */
import type { AddressInfo } from 'node:net'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import type { Event } from '../client.ts'
import { FakeLog } from '../fake-log.ts'

/** One frame that a client sent, with the number of its connection (from 1) and the time since the server's start. */
export interface Seen {
  readonly connection: number
  readonly atMs: number
  readonly tag: string
  readonly frame: Frame
}

interface Frame {
  readonly _tag: string
  readonly requestId: string
  readonly cursor?: number
  readonly batch?: readonly Event[]
}

/** How the server answers a push or a pull that it could serve. */
export type Answer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'error'; readonly message: string }
  | { readonly kind: 'serve'; readonly afterMs: number }
  | { readonly kind: 'close'; readonly code: number }
  /** The events up to this number, with the rest announced, and then the connection is closed. */
  | { readonly kind: 'close-after'; readonly seqNum: number; readonly code: number }

export class FakeServer {
  readonly seen: Seen[] = []
  readonly store = new FakeLog()
  /** What the next pushes are answered, one each; served without one. */
  readonly pushAnswers: Answer[] = []
  /** What the next pulls are answered, one each; served without one. */
  readonly pullAnswers: Answer[] = []
  /** While true nothing is answered and nothing is sent. */
  mute = false
  #connections = 0
  readonly #startedAt = performance.now()
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' })

  static async start(): Promise<FakeServer> {
    const server = new FakeServer()
    await new Promise<void>((resolve) => server.#server.once('listening', resolve))
    server.#server.on('connection', (socket) => server.#serve(socket))
    return server
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get connections(): number {
    return this.#connections
  }

  get open(): number {
    return [...this.#server.clients].filter((socket) => socket.readyState === WebSocket.OPEN).length
  }

  get pulls(): readonly Seen[] {
    return this.seen.filter(({ tag }) => tag === 'WSMessage.PullReq')
  }

  get pushes(): readonly Seen[] {
    return this.seen.filter(({ tag }) => tag === 'WSMessage.PushReq')
  }

  /** Time since the start, on the clock of `seen`. */
  get nowMs(): number {
    return performance.now() - this.#startedAt
  }

  /** Appends an event of some other client and publishes it. */
  append(name: string, args: unknown): void {
    this.publish([this.store.append(name, args)])
  }

  /** Sends these events to every connection, as a push does. */
  publish(events: readonly Event[]): void {
    const requestId = { context: 'push', requestId: 'push-of-another' }
    for (const socket of this.#server.clients) this.#page(socket, requestId, events, 0)
  }

  /** Sends every connection an Error that names this request. */
  fail(requestId: string, message: string): void {
    for (const socket of this.#server.clients) this.#send(socket, { _tag: 'WSMessage.Error', requestId, message })
  }

  closeAll(code: number): void {
    for (const socket of this.#server.clients) socket.close(code)
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #serve(socket: WebSocket): void {
    this.#connections += 1
    const connection = this.#connections
    socket.on('message', (data: RawData) => {
      const frame = JSON.parse(String(data)) as Frame
      this.seen.push({ connection, atMs: this.nowMs, tag: frame._tag, frame })
      if (!this.mute) this.#receive(socket, frame)
    })
  }

  #receive(socket: WebSocket, frame: Frame): void {
    const { _tag: tag, requestId } = frame
    if (tag === 'WSMessage.Ping') return this.#send(socket, { _tag: 'WSMessage.Pong', requestId: 'ping' })
    const answers = tag === 'WSMessage.PullReq' ? this.pullAnswers : this.pushAnswers
    const answer = answers.shift() ?? { kind: 'serve', afterMs: 0 }
    const serve = (): void => (tag === 'WSMessage.PullReq' ? this.#pull(socket, frame) : this.#push(socket, frame))
    if (answer.kind === 'error') this.#send(socket, { _tag: 'WSMessage.Error', requestId, message: answer.message })
    if (answer.kind === 'close') socket.close(answer.code)
    if (answer.kind === 'close-after') {
      const { events } = this.store
      const first = events.slice(frame.cursor ?? 0, answer.seqNum)
      this.#page(socket, { context: 'pull', requestId }, first, events.length - answer.seqNum)
      socket.close(answer.code)
    }
    if (answer.kind === 'serve' && answer.afterMs === 0) serve()
    else if (answer.kind === 'serve') setTimeout(serve, answer.afterMs)
  }

  #pull(socket: WebSocket, { requestId, cursor = 0 }: Frame): void {
    this.#page(socket, { context: 'pull', requestId }, this.store.events.slice(cursor), 0)
  }

  #push(socket: WebSocket, { requestId, batch = [] }: Frame): void {
    const error = this.store.push({ batch, backendId: {} })
    if (error?._tag === 'ServerAheadError') {
      const { providedNum, minimumExpectedNum } = error
      const message = `Invalid parent event number. Received e${providedNum} but expected e${minimumExpectedNum}`
      return this.#send(socket, { _tag: 'WSMessage.Error', requestId, message })
    }
    this.#send(socket, { _tag: 'WSMessage.PushAck', requestId })
    for (const one of this.#server.clients) this.#page(one, { context: 'push', requestId }, batch, 0)
  }

  #page(socket: WebSocket, requestId: unknown, events: readonly Event[], remaining: number): void {
    const metadata = { _tag: 'Some', value: { createdAt: '2026-01-01T00:00:00.000Z' } }
    const batch = events.map((eventEncoded) => ({ eventEncoded, metadata }))
    this.#send(socket, { _tag: 'WSMessage.PullRes', batch, requestId, remaining })
  }

  #send(socket: WebSocket, message: unknown): void {
    if (!this.mute) socket.send(JSON.stringify(message))
  }
}
