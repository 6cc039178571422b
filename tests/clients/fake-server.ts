/**
 * A hand-written server that records what a client sends and misbehaves on command, to learn how the client takes it.
 *
 * Owns: one log in memory and its live pulls. It serves just enough of v04 and v05 to keep a client going: pull, push,
 * ping. Faults are commands (`forgetAfterNextChunk`, `mute`, ...).
 */
import type { AddressInfo } from 'node:net'
import { type RawData, WebSocket, WebSocketServer } from 'ws'
import type { Event } from './client.ts'

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
  /** The frame itself. */
  readonly frame: Frame
}

/** v04 counts its requests in strings, v05 in numbers. */
type RequestId = string | number

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

interface Subscription {
  readonly socket: WebSocket
  readonly requestId: RequestId
}

const cursorOf = (payload: unknown): number =>
  (payload as { cursor: { value?: { eventSequenceNumber: number } } }).cursor.value?.eventSequenceNumber ?? 0

/** The backend id of every fake server. */
export const backendId = 'fake-backend-id-00000'

export class FakeServer {
  readonly seen: Seen[] = []
  readonly log: Event[] = []
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

  /** Pull requests seen so far. */
  get pulls(): readonly Seen[] {
    return this.seen.filter((frame) => frame.rpc === 'SyncWsRpc.Pull')
  }

  /** Time since the start, on the clock of `seen`. */
  get nowMs(): number {
    return performance.now() - this.#startedAt
  }

  /** Appends an event of some other client and publishes it. */
  append(name: string, args: unknown): void {
    const parent = this.log.length
    const event = { name, args, seqNum: parent + 1, parentSeqNum: parent, clientId: 'other', sessionId: 'other' }
    this.log.push(event)
    this.#publish([event])
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
    this.seen.push({ connection, atMs: this.nowMs, tag: frame._tag, rpc: frame.tag, requestId, cursor, frame })
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
    const { live } = payload as { live: boolean }
    if (live) this.#subscriptions.push({ socket, requestId })
    this.#chunk(socket, requestId, this.log.slice(cursorOf(payload)))
    if (!live) this.#send(socket, { _tag: 'Exit', requestId, exit: { _tag: 'Success', value: null } })
  }

  #push(socket: WebSocket, requestId: RequestId, payload: unknown): void {
    const { batch } = payload as { batch: Event[] }
    const head = this.log.length
    const providedNum = batch[0]!.parentSeqNum
    if (providedNum !== head) {
      const error = { _tag: 'ServerAheadError', minimumExpectedNum: head, providedNum }
      const fail = { _tag: 'Fail', error }
      const exit = { _tag: 'Failure', cause: typeof requestId === 'string' ? fail : [fail] }
      return this.#send(socket, { _tag: 'Exit', requestId, exit })
    }
    this.log.push(...batch)
    this.#publish(batch)
    this.#send(socket, { _tag: 'Exit', requestId, exit: { _tag: 'Success', value: {} } })
  }

  #publish(events: readonly Event[]): void {
    for (const { socket, requestId } of this.#subscriptions) this.#chunk(socket, requestId, events)
  }

  #chunk(socket: WebSocket, requestId: RequestId, events: readonly Event[]): void {
    const metadata = {
      _tag: 'Some',
      value: { _tag: 'SyncMessage.SyncMetadata', createdAt: '2026-01-01T00:00:00.000Z' },
    }
    const batch = events.map((eventEncoded) => ({ eventEncoded, metadata }))
    const chunk = { _tag: 'Chunk', requestId, values: [{ batch, pageInfo: { _tag: 'NoMore' }, backendId }] }
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
