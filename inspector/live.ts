/**
 * The live socket of a store: a read-only connection as a client of LiveStore 0.4 has it. It asks for a ticket, pulls live from
 * the last event that is known, and acknowledges each page. A lost one is opened again, later each time; while nobody looks it
 * stays closed. The object sleeps meanwhile: the runtime itself answers pings.
 */
import { type Api, Failure, socketUrl, storePath } from './api.ts'
import { wordsOf } from './format.ts'
import type { LiveFrame } from '../host/administration.ts'
import type { LoggedEvent } from './event-log.ts'

export type LinkStatus =
  | { readonly is: 'connecting' }
  | { readonly is: 'live' }
  /** It is tried again at a time, in milliseconds. */
  | { readonly is: 'waiting'; readonly why: string; readonly until: number }
  /** The page is hidden. */
  | { readonly is: 'resting' }
  /** It is not tried again. */
  | { readonly is: 'ended'; readonly why: string }

export interface Cursor {
  readonly backendId: string
  readonly seqNum: number
}

export interface LinkHandlers {
  readonly status: (status: LinkStatus) => void
  /** What was pulled or pushed: all events from the one after the cursor on, in order. */
  readonly events: (events: readonly LoggedEvent[]) => void
  /** The store has another lifetime. */
  readonly anotherLifetime: () => void
}

const [retryMsMin, retryMsMax] = [1_000, 30_000]
const [pingEveryMs, pongWithinMs] = [30_000, 10_000]
const ping = '{"_tag":"Ping"}'

/** What a close code of this Worker means. */
const closeReasons: Readonly<Record<number, string>> = {
  1006: 'The connection was lost',
  1012: 'The store closed its connections',
  1013: 'The store serves nobody at the moment',
}

export class LiveLink {
  readonly #api: Api
  readonly #storeId: string
  readonly #cursor: () => Cursor | undefined
  readonly #handlers: LinkHandlers
  #socket: WebSocket | undefined
  #retryMs = retryMsMin
  #timer: number | undefined
  #pinging: number | undefined
  /** Grows with each attempt: what an earlier one brings late is not listened to. */
  #attempt = 0

  constructor(api: Api, storeId: string, cursor: () => Cursor | undefined, handlers: LinkHandlers) {
    this.#api = api
    this.#storeId = storeId
    this.#cursor = cursor
    this.#handlers = handlers
  }

  /** Connects, at once, unless nobody looks. */
  open(): void {
    if (document.hidden) return this.rest()
    this.#drop()
    this.#handlers.status({ is: 'connecting' })
    void this.#connect(this.#attempt)
  }

  /** Closes it until it is opened again. */
  rest(): void {
    this.#drop()
    this.#handlers.status({ is: 'resting' })
  }

  close(): void {
    this.#drop()
  }

  #drop(): void {
    this.#attempt += 1
    clearTimeout(this.#timer)
    clearTimeout(this.#pinging)
    this.#socket?.close(1000)
    this.#socket = undefined
  }

  async #connect(attempt: number): Promise<void> {
    try {
      const { ticket } = await this.#api.post<{ readonly ticket: string }>(storePath(this.#storeId, '/live'))
      if (attempt === this.#attempt) this.#listen(ticket, attempt)
    } catch (error) {
      if (attempt !== this.#attempt) return
      const isFinal = error instanceof Failure && error.status >= 400 && error.status < 500 && error.status !== 429
      if (isFinal) this.#handlers.status({ is: 'ended', why: wordsOf(error) })
      else this.#later(wordsOf(error))
    }
  }

  #listen(ticket: string, attempt: number): void {
    const socket = new WebSocket(socketUrl(storePath(this.#storeId, '/live')), ['livestore-admin', ticket])
    this.#socket = socket
    const isCurrent = (): boolean => attempt === this.#attempt
    socket.addEventListener('open', () => {
      if (!isCurrent()) return
      const cursor = this.#cursor()
      const value = cursor && { backendId: cursor.backendId, eventSequenceNumber: cursor.seqNum }
      const payload = { storeId: this.#storeId, live: true, cursor: value ? { _tag: 'Some', value } : { _tag: 'None' } }
      socket.send(JSON.stringify({ _tag: 'Request', id: '0', tag: 'SyncWsRpc.Pull', payload, headers: [] }))
      this.#keepAlive(socket)
    })
    socket.addEventListener('message', ({ data }) => {
      if (isCurrent()) this.#take(socket, JSON.parse(String(data)) as LiveFrame)
    })
    socket.addEventListener('close', ({ code, reason }) => {
      if (isCurrent()) this.#later(reason || closeReasons[code] || `The socket was closed with ${code}`)
    })
  }

  #take(socket: WebSocket, frame: LiveFrame): void {
    this.#keepAlive(socket)
    if (frame._tag === 'Chunk') {
      this.#retryMs = retryMsMin
      this.#handlers.status({ is: 'live' })
      const items = (frame.values ?? []).flatMap(({ batch }) => batch)
      const now = Date.now()
      this.#handlers.events(
        items.map(({ eventEncoded, metadata }) => ({
          ...eventEncoded,
          createdAt: metadata.value === undefined ? now : Date.parse(metadata.value.createdAt),
        })),
      )
      socket.send(JSON.stringify({ _tag: 'Ack', requestId: frame.requestId }))
    } else if (frame._tag === 'Exit' || frame._tag === 'Defect') {
      if (frame.exit?.cause?.error?._tag === 'BackendIdMismatchError') {
        this.#drop()
        this.#handlers.anotherLifetime()
      } else this.#later('The store ended the pull')
    }
  }

  /** A socket of which nothing comes, not even the answer to a ping, is given up. */
  #keepAlive(socket: WebSocket): void {
    clearTimeout(this.#pinging)
    this.#pinging = window.setTimeout(() => {
      socket.send(ping)
      this.#pinging = window.setTimeout(() => this.#later('The connection was lost'), pongWithinMs)
    }, pingEveryMs)
  }

  #later(why: string): void {
    this.#drop()
    const waitMs = this.#retryMs * (0.8 + 0.4 * Math.random())
    this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2)
    this.#handlers.status({ is: 'waiting', why, until: Date.now() + waitMs })
    this.#timer = window.setTimeout(() => this.open(), waitMs)
  }
}
