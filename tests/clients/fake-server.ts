/**
 * A hand-written WebSocket server that records what a client sends and misbehaves on command, to learn how the client
 * takes it.
 *
 * Owns: the live pulls of one log in memory. It serves just enough of v04 and v05 to keep a client going: pull, push,
 * ping. Faults are commands (`forgetAfterNextChunk`, `mute`, `pushAnswers`, ...).
 */
import type { AddressInfo } from 'node:net'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import type { Event } from './client.ts'
import { cursorOf, type FakeError, FakeLog, failureFor, isError, type RequestId, successFor } from './fake-log.ts'

export { backendId } from './fake-log.ts'

/** One frame that a client sent, with the number of its connection (from 1) and the time since the server's start. */
export interface Seen {
  readonly connection: number
  readonly atMs: number
  readonly tag: string
  /** The rpc of a Request. */
  readonly rpc: string | undefined
  readonly requestId: RequestId | undefined
  /** The cursor of a pull, 0 when it starts from the first event. */
  readonly cursor: number | undefined
  readonly payload: unknown
  /** The frame itself. */
  readonly frame: Frame
}

interface Frame {
  readonly _tag: string
  readonly id?: RequestId
  readonly requestId?: RequestId
  readonly tag?: string
  readonly payload?: unknown
}

/** How the server answers a frame that names a request it does not know. */
export type UnknownAnswer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'exit'; readonly exit: unknown }
  | { readonly kind: 'defect' }
  | { readonly kind: 'close'; readonly code: number }
  | { readonly kind: 'drop' }

/** How the server answers a push or a pull that it could serve. */
export type Answer =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'error'; readonly error: FakeError }
  | { readonly kind: 'exit'; readonly exit: unknown }
  | { readonly kind: 'serve'; readonly afterMs: number }
  | { readonly kind: 'close'; readonly code: number }
  | { readonly kind: 'drop' }

interface Subscription {
  readonly socket: WebSocket
  readonly requestId: RequestId
}

export class FakeServer {
  readonly seen: Seen[] = []
  readonly store = new FakeLog()
  /** What the next pushes are answered, one each; served without one. */
  readonly pushAnswers: Answer[] = []
  /** What the next pulls are answered, one each; served without one. */
  readonly pullAnswers: Answer[] = []
  answer: UnknownAnswer = { kind: 'nothing' }
  /** While true nothing is answered and nothing is sent: the network swallows it all. */
  mute = false
  /** Lets the server lose all its live pulls right after the next Chunk has left, before any Ack of it. */
  forgetAfterNextChunk = false
  /** Cuts the connection right after the next Chunk has left. */
  dropAfterNextChunk = false
  #subscriptions: Subscription[] = []
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

  /** Number of live pulls that the server knows of. */
  get subscriptions(): number {
    return this.#subscriptions.length
  }

  get connections(): number {
    return this.#connections
  }

  /** Number of connections that are open. */
  get open(): number {
    return [...this.#server.clients].filter((socket) => socket.readyState === WebSocket.OPEN).length
  }

  get log(): readonly Event[] {
    return this.store.events
  }

  /** Pull requests seen so far. */
  get pulls(): readonly Seen[] {
    return this.seen.filter((frame) => frame.rpc === 'SyncWsRpc.Pull')
  }

  /** Push requests seen so far. */
  get pushes(): readonly Seen[] {
    return this.seen.filter((frame) => frame.rpc === 'SyncWsRpc.Push')
  }

  /** Time since the start, on the clock of `seen`. */
  get nowMs(): number {
    return performance.now() - this.#startedAt
  }

  /** Appends an event of some other client and publishes it. */
  append(name: string, args: unknown): void {
    this.#publish([this.store.append(name, args)])
  }

  /** Ends every live pull with an Exit that failed with `error`. */
  failAll(error: FakeError): void {
    for (const { socket, requestId } of this.#subscriptions) this.#fail(socket, requestId, error)
    this.forget()
  }

  /** Sends every live pull a Chunk of these events, whether the log has them or not. */
  publish(events: readonly Event[]): void {
    this.#publish(events)
  }

  /** Sends every connection an empty page for a request of this id, whether there is one or not. */
  probe(requestId: RequestId): void {
    for (const socket of this.#server.clients) this.#chunk(socket, requestId, [])
  }

  /** Loses every live pull; the sockets stay open. */
  forget(): void {
    this.#subscriptions = []
  }

  /** Closes every connection that is open, in order. */
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
    socket.on('message', (data: RawData) => this.#receive(socket, connection, String(data)))
    socket.on('close', () => {
      this.#subscriptions = this.#subscriptions.filter((subscription) => subscription.socket !== socket)
    })
  }

  #receive(socket: WebSocket, connection: number, text: string): void {
    const frame = JSON.parse(text) as Frame
    const requestId = frame.id ?? frame.requestId
    const cursor = frame.tag === 'SyncWsRpc.Pull' ? cursorOf(frame.payload) : undefined
    this.seen.push({
      connection,
      atMs: this.nowMs,
      tag: frame._tag,
      rpc: frame.tag,
      requestId,
      cursor,
      payload: frame.payload,
      frame,
    })
    if (this.mute) return
    if (frame._tag === 'Ping') return this.#send(socket, { _tag: 'Pong' })
    if (frame._tag === 'Request' && frame.tag === 'SyncWsRpc.Pull') return this.#pull(socket, requestId!, frame.payload)
    if (frame._tag === 'Request' && frame.tag === 'SyncWsRpc.Push') return this.#push(socket, requestId!, frame.payload)
    const known = this.#subscriptions.some((one) => one.socket === socket && one.requestId === requestId)
    if (!known) return this.#answerUnknown(socket, requestId!)
    if (frame._tag === 'Interrupt') {
      this.#subscriptions = this.#subscriptions.filter((one) => one.requestId !== requestId || one.socket !== socket)
    }
  }

  #answerUnknown(socket: WebSocket, requestId: RequestId): void {
    const { answer } = this
    if (answer.kind === 'exit') this.#send(socket, { _tag: 'Exit', requestId, exit: answer.exit })
    if (answer.kind === 'defect')
      this.#send(socket, { _tag: 'Defect', defect: { name: 'Error', message: 'unknown request' } })
    if (answer.kind === 'close') socket.close(answer.code, 'unknown request')
    if (answer.kind === 'drop') socket.terminate()
  }

  #pull(socket: WebSocket, requestId: RequestId, payload: unknown): void {
    const answer = this.pullAnswers.shift()
    if (answer !== undefined)
      return this.#answer(answer, socket, requestId, () => this.#servePull(socket, requestId, payload))
    this.#servePull(socket, requestId, payload)
  }

  #servePull(socket: WebSocket, requestId: RequestId, payload: unknown): void {
    const { live } = payload as { live: boolean }
    const page = this.store.pull(payload)
    if (isError(page)) return this.#fail(socket, requestId, page)
    if (live) this.#subscriptions.push({ socket, requestId })
    this.#chunk(socket, requestId, this.log.slice(cursorOf(payload)))
    if (!live) this.#send(socket, { _tag: 'Exit', requestId, exit: successFor(null) })
  }

  #push(socket: WebSocket, requestId: RequestId, payload: unknown): void {
    const answer = this.pushAnswers.shift()
    if (answer !== undefined)
      return this.#answer(answer, socket, requestId, () => this.#servePush(socket, requestId, payload))
    this.#servePush(socket, requestId, payload)
  }

  #servePush(socket: WebSocket, requestId: RequestId, payload: unknown): void {
    const error = this.store.push(payload)
    if (error !== undefined) return this.#fail(socket, requestId, error)
    this.#publish((payload as { batch: readonly Event[] }).batch)
    this.#send(socket, { _tag: 'Exit', requestId, exit: successFor({}) })
  }

  #answer(answer: Answer, socket: WebSocket, requestId: RequestId, serve: () => void): void {
    if (answer.kind === 'error') this.#fail(socket, requestId, answer.error)
    if (answer.kind === 'exit') this.#send(socket, { _tag: 'Exit', requestId, exit: answer.exit })
    if (answer.kind === 'serve') setTimeout(serve, answer.afterMs)
    if (answer.kind === 'close') socket.close(answer.code)
    if (answer.kind === 'drop') socket.terminate()
  }

  #fail(socket: WebSocket, requestId: RequestId, error: FakeError): void {
    this.#send(socket, { _tag: 'Exit', requestId, exit: failureFor(requestId, error) })
  }

  #publish(events: readonly Event[]): void {
    for (const { socket, requestId } of this.#subscriptions) this.#chunk(socket, requestId, events)
  }

  #chunk(socket: WebSocket, requestId: RequestId, events: readonly Event[]): void {
    const chunk = { _tag: 'Chunk', requestId, values: [this.store.page(events)] }
    // The Chunk has to leave before the connection breaks.
    this.#send(socket, chunk, this.dropAfterNextChunk ? () => socket.terminate() : undefined)
    this.dropAfterNextChunk = false
    if (this.forgetAfterNextChunk) {
      this.forgetAfterNextChunk = false
      this.forget()
    }
  }

  #send(socket: WebSocket, message: unknown, sent?: () => void): void {
    if (!this.mute) socket.send(JSON.stringify(message), sent)
  }
}
