/**
 * A client that does its part: it keeps a live pull, acknowledges what it gets, and when its socket is closed it connects
 * again and goes on from where it is. Its pushes are repeated until they are acknowledged.
 *
 * Fails at an event that comes twice or too early, at a live pull that is ended, and at a push that is refused.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { WebSocket } from 'ws'
import { type Generation, idOf, pageIn, pullFrame, pushFrame } from '../../tests/workerd/peer.ts'
import type { Event } from './events.ts'
import { opened, startSocket } from './socket.ts'

/** Where a store is. */
export interface Position {
  readonly backendId: string
  readonly head: number
}

interface Push {
  readonly batch: readonly Event[]
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const reconnectMs = 100
const pingMs = 25_000
const pollMs = 10

export class Healthy {
  /** Codes with which the server has closed its sockets. */
  readonly closes: number[] = []
  readonly #url: string
  readonly #generation: Generation
  readonly #storeId: string
  readonly #backendId: string
  readonly #pushes = new Set<Push>()
  #head: number
  #socket: WebSocket | undefined
  #request = 0
  #pull = 0
  /** Whether a pull of this socket has come to its end: 0.3 sends broadcasts before that. */
  #hasPulled = false
  /** The pushes of this socket by the ids of their requests. */
  #sent = new Map<string, Push>()
  #failure: Error | undefined
  #isOver = false

  private constructor(url: string, generation: Generation, storeId: string, { backendId, head }: Position) {
    this.#url = url
    this.#generation = generation
    this.#storeId = storeId
    this.#backendId = backendId
    this.#head = head
  }

  /** A client of `storeId` that has its log up to `from`, and its live pull under way. */
  static async open(url: string, generation: Generation, storeId: string, from: Position): Promise<Healthy> {
    const client = new Healthy(url, generation, storeId, from)
    await client.#connect()
    return client
  }

  /** The last event it has. */
  get head(): number {
    return this.#head
  }

  /** Pushes a batch and resolves once that is acknowledged. */
  push(batch: readonly Event[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure)
      const push = { batch, resolve, reject }
      this.#pushes.add(push)
      if (this.#socket !== undefined) this.#send(push)
    })
  }

  /** Resolves once it has every event up to `head`. */
  async reached(head: number, deadlineMs: number): Promise<void> {
    const deadline = performance.now() + deadlineMs
    while (this.#head < head) {
      if (this.#failure !== undefined) throw this.#failure
      if (performance.now() > deadline) {
        throw new Error(`a healthy ${this.#generation} client has event ${this.#head}, but not ${head}`)
      }
      await pause(pollMs)
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Reads nothing from now on. */
  stall(): void {
    this.#socket?.pause()
  }

  /** Reads on. */
  goOn(): void {
    this.#socket?.resume()
  }

  close(): void {
    this.#isOver = true
    this.#socket?.terminate()
  }

  async #connect(): Promise<void> {
    while (!this.#isOver) {
      const socket = startSocket(this.#url, this.#generation, this.#storeId)
      socket.on('message', (data: Buffer) => this.#receive(data.toString()))
      try {
        await opened(socket)
      } catch {
        await pause(reconnectMs)
        continue
      }
      socket.on('error', () => {}) // a broken socket closes, too
      socket.on('close', (code) => {
        clearInterval(pings)
        this.closes.push(code)
        this.#socket = undefined
        void pause(reconnectMs).then(() => this.#connect())
      })
      const ping = JSON.stringify({ _tag: 'WSMessage.Ping', requestId: 'ping' })
      // What 0.3 clients have taken shows by their pings alone.
      const pings = setInterval(() => this.#generation === 'v03' && socket.send(ping), pingMs)
      this.#socket = socket
      this.#hasPulled = false
      this.#pull = this.#request += 1
      const from = { live: true, after: this.#head, backendId: this.#backendId }
      socket.send(JSON.stringify(pullFrame(this.#generation, this.#pull, this.#storeId, from)))
      this.#sent = new Map()
      for (const push of this.#pushes) this.#send(push)
      return
    }
  }

  #send(push: Push): void {
    const request = (this.#request += 1)
    this.#sent.set(String(idOf(this.#generation, request)), push)
    const frame = pushFrame(this.#generation, request, this.#storeId, push.batch, this.#backendId)
    this.#socket!.send(JSON.stringify(frame))
  }

  #receive(text: string): void {
    if (text.startsWith('{"_tag":"Chunk"') || text.startsWith('{"_tag":"WSMessage.PullRes"')) {
      const page = pageIn(text)!
      for (const event of page.events) this.#take(event.seqNum)
      if (this.#generation !== 'v03') {
        const ack = { _tag: 'Ack', requestId: idOf(this.#generation, page.request) }
        this.#socket?.send(JSON.stringify(ack))
      } else if (page.request === this.#pull && page.remaining === 0) {
        this.#hasPulled = true
      }
      return
    }
    if (text.startsWith('{"_tag":"WSMessage.Pong"')) return
    const { requestId, exit } = JSON.parse(text) as { requestId: unknown; exit?: { _tag: string } }
    // A 0.3 client that was sent more than it may be before its next ping: it pulls again on its next socket.
    if (text.startsWith('{"_tag":"WSMessage.Error"') && requestId === idOf('v03', this.#pull)) return
    const push = this.#sent.get(String(requestId))
    if (push === undefined) return this.#fail(`unexpected: ${text.slice(0, 300)}`)
    this.#pushes.delete(push)
    if (exit?._tag === 'Success' || text.startsWith('{"_tag":"WSMessage.PushAck"')) push.resolve()
    else push.reject(new Error(`a push was refused: ${text.slice(0, 300)}`))
  }

  #take(seqNum: number): void {
    if (seqNum === this.#head + 1) {
      this.#head = seqNum
      return
    }
    const isUsual = this.#generation === 'v03' && (seqNum <= this.#head || !this.#hasPulled)
    if (!isUsual) this.#fail(`a live ${this.#generation} pull had event ${seqNum} after ${this.#head}`)
  }

  #fail(message: string): void {
    this.#failure ??= new Error(message)
    for (const { reject } of this.#pushes) reject(this.#failure)
    this.#pushes.clear()
  }
}
