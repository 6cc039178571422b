/**
 * A raw WebSocket client of generation v04 that costs as little as it can while a section is measured.
 *
 * Sends frames that were encoded before, answers every Chunk with an Ack as real clients do, and keeps the Chunks
 * unread for a check afterwards. Every failure of the connection fails what waits on it.
 */
import { WebSocket } from 'ws'
import { targetOf } from '../tests/harness/raw-client.ts'
import { authToken } from '../tests/harness/server.ts'
import type { Event } from './events.ts'
import { pullFrame, pushFrame } from './frames.ts'
import type { Sender } from './frames.ts'

const chunkStart = '{"_tag":"Chunk","requestId":"'
const handshakeMs = 30_000

interface Envelope {
  readonly _tag: string
  readonly requestId: string
  readonly exit: { readonly _tag: string }
}

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Connection {
  readonly storeId: string
  /** Called for each Chunk after its Ack was sent. */
  onChunk: (chunk: string) => void = () => {}
  private readonly socket: WebSocket
  private readonly sender: Sender
  private readonly waiting = new Map<string, Waiting>()
  private failure: Error | undefined

  private constructor(socket: WebSocket, storeId: string, token: string) {
    this.socket = socket
    this.storeId = storeId
    this.sender = { rpc: 'SyncWsRpc', storeId, token }
    socket.on('message', (data: Buffer) => this.receive(data.toString()))
    socket.on('error', (error) => this.fail(error))
    socket.on('close', (code) => this.fail(new Error(`the server closed the connection with ${code}`)))
  }

  /** Opens a connection to `storeId` and resolves once the server has accepted it. */
  static async open(wsUrl: string, storeId: string, token = authToken): Promise<Connection> {
    const target = targetOf({ storeId, payload: { authToken: token } })
    const socket = new WebSocket(wsUrl + target, { perMessageDeflate: false, handshakeTimeout: handshakeMs })
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return new Connection(socket, storeId, token)
  }

  /** The text of a Push request of this client. */
  pushFrame(id: number, batch: readonly Event[], backendId: string): string {
    return pushFrame(id, this.sender, batch, backendId)
  }

  /** Sends a frame of `pushFrame` and resolves once the server has acknowledged it. */
  push(id: number, frame: string): Promise<void> {
    return this.request(String(id), frame)
  }

  /** Pulls the whole log and resolves with its Chunk frames after the Exit. */
  async pull(id: number): Promise<string[]> {
    const chunks: string[] = []
    this.onChunk = (chunk) => chunks.push(chunk)
    await this.request(String(id), pullFrame(id, this.sender, false))
    return chunks
  }

  /** Opens a live pull and resolves with its first Chunk; later ones go to `onChunk`. */
  pullLive(id: number): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure)
      this.waiting.set(String(id), { resolve: () => reject(new Error('a live pull ended')), reject })
      this.onChunk = resolve
      this.socket.send(pullFrame(id, this.sender, true))
    })
  }

  /** Reads nothing from now on, so that nothing is acknowledged either. */
  stall(): void {
    this.socket.pause()
  }

  /** Reads on. */
  goOn(): void {
    this.socket.resume()
  }

  /** Ends the connection at once; what the server still sends is dropped. */
  close(): void {
    this.waiting.clear()
    this.socket.removeAllListeners('message')
    this.socket.terminate()
  }

  private request(id: string, frame: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) return reject(this.failure)
      this.waiting.set(id, { resolve, reject })
      this.socket.send(frame)
    })
  }

  private receive(text: string): void {
    // Chunks are most of the traffic, and every server here starts them alike: read no more of one than its id.
    if (text.startsWith(chunkStart)) {
      return this.receiveChunk(text, text.slice(chunkStart.length, text.indexOf('"', chunkStart.length)))
    }
    const envelope = JSON.parse(text) as Envelope
    if (envelope._tag === 'Chunk') return this.receiveChunk(text, envelope.requestId)
    const waiting = envelope._tag === 'Exit' ? this.waiting.get(envelope.requestId) : undefined
    if (waiting === undefined) return this.fail(new Error(`unexpected frame: ${text.slice(0, 500)}`))
    this.waiting.delete(envelope.requestId)
    if (envelope.exit._tag === 'Success') waiting.resolve()
    else waiting.reject(new Error(`refused: ${text.slice(0, 500)}`))
  }

  private receiveChunk(text: string, requestId: string): void {
    this.socket.send(`{"_tag":"Ack","requestId":"${requestId}"}`)
    this.onChunk(text)
  }

  private fail(error: Error): void {
    this.failure ??= error
    for (const waiting of this.waiting.values()) waiting.reject(error)
    this.waiting.clear()
  }
}
