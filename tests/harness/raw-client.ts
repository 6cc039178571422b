/**
 * A WebSocket client that knows no dialect: it sends what it is given and keeps what comes back.
 *
 * Frames are read in the order in which they came, each once. Whatever is awaited is awaited with a deadline, and fails
 * at once when the connection closes, so that no test needs to sleep or can hang.
 */
import { type RawData, WebSocket } from 'ws'
import { authToken, type Server } from './server.ts'

/** How a connection ended. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

export interface ConnectOptions {
  readonly storeId: string
  /** Path of the URL; `/` by default. */
  readonly path?: string
  /** Query parameter `transport`: `ws` by default, none when `undefined`. */
  readonly transport?: string | undefined
  /** Query parameter `payload` before it is encoded: the harness's token by default, none when `undefined`. */
  readonly payload?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface OpenOptions {
  /** Path and query, exactly as they go over the wire. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Subprotocols that are offered. */
  readonly protocols?: readonly string[]
}

const deadlineMsDefault = 15_000

/** Path and query of a connection, encoded as clients of every generation do it: the payload twice. */
export const targetOf = (options: ConnectOptions): string => {
  const { storeId, path, transport, payload } = { path: '/', transport: 'ws', payload: { authToken }, ...options }
  const query = new URLSearchParams({ storeId })
  if (payload !== undefined) query.set('payload', encodeURIComponent(JSON.stringify(payload)))
  if (transport !== undefined) query.set('transport', transport)
  return `${path}?${query}`
}

/** A frame as it can be sent: text, bytes, or a value that is sent as JSON. */
export type Outgoing = string | Uint8Array | object

export class RawClient {
  /** Resolves when the connection has ended. */
  readonly closed: Promise<Closed>
  readonly #socket: WebSocket
  readonly #frames: string[] = []
  #read = 0
  #closed: Closed | undefined
  #changed = (): void => {}

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: RawData) => {
      this.#frames.push(String(data))
      this.#changed()
    })
    socket.on('error', () => {}) // a broken socket closes, too
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => {
        this.#closed = { code, reason: String(reason) }
        this.#changed()
        resolve(this.#closed)
      })
    })
  }

  /** Resolves once the server has accepted the connection. */
  static connect(server: Pick<Server, 'wsUrl'>, options: ConnectOptions): Promise<RawClient> {
    return RawClient.open(server, { target: targetOf(options), headers: options.headers })
  }

  /** The same for any path and query, with subprotocols. */
  static async open(
    server: Pick<Server, 'wsUrl'>,
    { target, headers, protocols = [] }: OpenOptions,
  ): Promise<RawClient> {
    const socket = new WebSocket(server.wsUrl + target, [...protocols], {
      perMessageDeflate: false,
      handshakeTimeout: deadlineMsDefault,
      headers: { ...headers },
    })
    // Listens from the start: a frame may come in the same packet as the answer to the upgrade.
    const client = new RawClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return client
  }

  /** The subprotocol that the server has chosen; empty for none. */
  get protocol(): string {
    return this.#socket.protocol
  }

  /** Every frame received so far. */
  get frames(): readonly string[] {
    return this.#frames
  }

  /** How the connection ended, if it has. */
  get ended(): Closed | undefined {
    return this.#closed
  }

  /** Sends frames, one after the other. */
  send(...frames: readonly Outgoing[]): void {
    for (const frame of frames) {
      this.#socket.send(typeof frame === 'string' || frame instanceof Uint8Array ? frame : JSON.stringify(frame))
    }
  }

  /** The next `count` frames. */
  async take(count: number, deadlineMs = deadlineMsDefault): Promise<readonly string[]> {
    const to = this.#read + count
    await this.#until(`${count} more frames come`, () => this.#frames.length >= to, deadlineMs)
    return this.#readTo(to)
  }

  /** The next frame. */
  async next(deadlineMs = deadlineMsDefault): Promise<string> {
    const [frame] = await this.take(1, deadlineMs)
    return frame!
  }

  /** The frames up to the first that `isLast` accepts, that one included. */
  async upTo(
    claim: string,
    isLast: (frame: string) => boolean,
    deadlineMs = deadlineMsDefault,
  ): Promise<readonly string[]> {
    let index = this.#read
    const found = (): boolean => {
      while (index < this.#frames.length) if (isLast(this.#frames[index++]!)) return true
      return false
    }
    await this.#until(claim, found, deadlineMs)
    return this.#readTo(index)
  }

  /** Says goodbye and resolves with the server's answer. */
  close(code = 1000, reason = ''): Promise<Closed> {
    this.#socket.close(code, reason)
    return this.closed
  }

  /**
   * Resolves with the server's goodbye, and hangs up. The local runtime itself hangs up only 10 s after it has closed a
   * socket, unless it closed it while handling one of its frames.
   */
  async dismissed(deadlineMs = deadlineMsDefault): Promise<Closed> {
    const deadline = performance.now() + deadlineMs
    while (this.#socket.readyState === WebSocket.OPEN) {
      if (performance.now() > deadline) throw new Error(`not within ${deadlineMs} ms: the server closes the connection`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    this.terminate()
    return this.closed
  }

  /** Reads nothing for now, a goodbye of the server's neither: it can be sent to all the same. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Ends the connection without a word. */
  terminate(): void {
    this.#socket.terminate()
  }

  #readTo(to: number): readonly string[] {
    const from = this.#read
    this.#read = to
    return this.#frames.slice(from, to)
  }

  async #until(claim: string, condition: () => boolean, deadlineMs: number): Promise<void> {
    const deadline = performance.now() + deadlineMs
    while (!condition()) {
      const seen = this.#frames.slice(this.#read).map((frame) => frame.slice(0, 300))
      if (this.#closed !== undefined) {
        throw new Error(`closed with ${JSON.stringify(this.#closed)} before: ${claim}; unread: ${JSON.stringify(seen)}`)
      }
      const leftMs = deadline - performance.now()
      if (leftMs <= 0) throw new Error(`not within ${deadlineMs} ms: ${claim}; unread: ${JSON.stringify(seen)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#changed = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}
