/**
 * A pusher written on the bare socket, in v04. Unlike the real client it does not wait for one push to be answered
 * before it sends the next, so that many are in flight when the server dies.
 */
import { once } from 'node:events'
import { type RawData, WebSocket } from 'ws'
import { targetOf } from '../harness/raw-client.ts'
import type { ClientOptions, Event, PushOutcome } from './client.ts'

interface Exit {
  readonly _tag: string
  readonly requestId?: string
  readonly exit?: { readonly _tag: string; readonly cause?: { readonly error?: { readonly _tag: string } } }
}

export class RawPusher {
  readonly #socket: WebSocket
  readonly #options: ClientOptions
  readonly #waiting = new Map<string, (outcome: PushOutcome) => void>()
  #requests = 0

  private constructor(socket: WebSocket, options: ClientOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('message', (data: RawData) => this.#receive(JSON.parse(String(data)) as Exit))
    socket.on('error', () => {}) // a broken socket closes, too
    socket.on('close', () => {
      for (const settle of this.#waiting.values()) settle({ error: 'Disconnected' })
      this.#waiting.clear()
    })
  }

  static async connect(options: ClientOptions): Promise<RawPusher> {
    const socket = new WebSocket(options.url + targetOf(options))
    await once(socket, 'open')
    return new RawPusher(socket, options)
  }

  /** Pushes sent and not answered. */
  get inFlight(): number {
    return this.#waiting.size
  }

  /** Sends `batch` at once and resolves with its answer. */
  push(batch: readonly Event[]): Promise<PushOutcome> {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.resolve({ error: 'Disconnected' })
    const id = String((this.#requests += 1))
    const { storeId, payload } = this.#options
    const request = { storeId, payload, batch, backendId: { _tag: 'None' } }
    this.#socket.send(JSON.stringify({ _tag: 'Request', id, tag: 'SyncWsRpc.Push', payload: request, headers: [] }))
    return new Promise((settle) => this.#waiting.set(id, settle))
  }

  close(): void {
    this.#socket.terminate()
  }

  #receive({ _tag, requestId, exit }: Exit): void {
    const settle = _tag === 'Exit' && requestId !== undefined ? this.#waiting.get(requestId) : undefined
    if (settle === undefined || exit === undefined) return
    this.#waiting.delete(requestId!)
    settle(exit._tag === 'Success' ? 'ok' : { error: exit.cause?.error?._tag ?? exit._tag })
  }
}
