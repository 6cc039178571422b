/**
 * One store that is looked at: its state, its metrics, its events, and when each of them is asked for.
 *
 * A request wakes the object of the store for some ten seconds. So state and metrics are asked once in the beginning, after that
 * only when events have come, which means that the object is awake anyway, or when somebody wants it. While the page is hidden
 * nothing is asked, and after a while its socket is closed.
 */
import { type Api, Failure, storePath } from './api.ts'
import { Cell } from './cell.ts'
import { EventLog, eventOf, type LoggedEvent, type Span } from './event-log.ts'
import { wordsOf } from './format.ts'
import { LiveLink, type LinkStatus } from './live.ts'
import { type Metrics, parseMetrics } from './metrics.ts'
import type { EventLine, State } from '../host/administration.ts'

/** State and metrics are asked at most this often. */
const askEveryMs = 2_000
/** How often the progress of a restore or a deletion is looked at, which keep the object awake themselves. */
const progressEveryMs = 1_000
/** A page that is hidden for longer has its socket closed. */
const restAfterMs = 30_000
/** Events are asked for in pieces of this size, which begin at its multiples. */
const pieceSize = 250

export interface Known {
  readonly state: State
  /** When it was answered, by this computer's clock. */
  readonly at: number
}

export class Session {
  readonly storeId: string
  readonly known = new Cell<Known | undefined>(undefined)
  readonly metrics = new Cell<Metrics | undefined>(undefined)
  readonly link = new Cell<LinkStatus>({ is: 'connecting' })
  /** Why the store could not be asked, in the server's words. */
  readonly failure = new Cell<string | undefined>(undefined)
  /** Changes whenever `log` does; the events are those that were pushed just now. */
  readonly arrived = new Cell<readonly LoggedEvent[]>([])
  /** Changes when all that is in `log` is forgotten. */
  readonly begun = new Cell(0)
  readonly log = new EventLog()
  readonly api: Api
  /** Whether somebody looks at metrics. */
  wantsMetrics = false
  readonly #link: LiveLink
  readonly #asked = new Set<number>()
  #isAsking = false
  /** Whether something came while it was asked that the answer may not know. */
  #isOwed = false
  /** Whether the socket was lost, and is not back. */
  #wasLost = false
  #askedAt = 0
  #timer: number | undefined
  #resting: number | undefined
  #isDisposed = false

  constructor(api: Api, storeId: string) {
    this.api = api
    this.storeId = storeId
    const cursor = () => {
      const backendId = this.known.value?.state.backendId
      return backendId === undefined ? undefined : { backendId, seqNum: this.log.head }
    }
    this.#link = new LiveLink(api, storeId, cursor, {
      status: (status) => {
        const before = this.link.value
        if (status.is === before.is && status.is !== 'waiting') return
        this.link.value = status
        // A store that sends its clients away is being restored, or deleted; one that takes them again was.
        if (before.is === 'live' && status.is === 'waiting') this.#askLater(askEveryMs)
        if (this.#wasLost && status.is === 'live') this.#askLater(0)
        this.#wasLost = status.is !== 'live' && (this.#wasLost || status.is === 'waiting')
      },
      events: (events) => this.#push(events),
      anotherLifetime: () => void this.open(),
    })
    document.addEventListener('visibilitychange', this.#onVisibility)
  }

  /** The head that state and events know of. */
  get head(): number {
    return Math.max(this.log.head, this.known.value?.state.head ?? 0)
  }

  /** Begins anew: asks for state and last events, then follows. */
  async open(): Promise<void> {
    this.#link.close()
    this.link.value = { is: 'connecting' }
    const begun = this.#forget()
    const state = await this.refresh()
    if (!this.#isAt(begun) || state === undefined) return
    if (state.backendId === undefined) {
      this.link.value = { is: 'ended', why: 'There is no log to follow' }
      return
    }
    const head = state.head ?? 0
    // Without an event there is nothing to load, and the socket brings whatever comes.
    const isLoaded = head === 0 || (await this.load({ from: Math.max(1, head - pieceSize + 50), to: head }))
    if (!this.#isAt(begun) || !isLoaded) return
    this.arrived.value = []
    this.#link.open()
  }

  /** Asks for the state, and for metrics if they are looked at. */
  async refresh(): Promise<State | undefined> {
    if (this.#isDisposed) return undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isAsking = true
    try {
      const state = await this.api.json<State>(storePath(this.storeId))
      if (this.#isDisposed) return undefined
      const before = this.known.value?.state
      this.failure.value = undefined
      this.known.value = { state, at: Date.now() }
      if (before !== undefined && isAnother(before, state)) void this.open()
      if (this.wantsMetrics) this.metrics.value = parseMetrics(await this.api.text(storePath(this.storeId, '/metrics')))
      if (this.#isBusy(state)) this.#askLater(progressEveryMs)
      return state
    } catch (error) {
      if (!this.#isDisposed) this.#fail(error)
      return undefined
    } finally {
      this.#isAsking = false
      this.#askedAt = Date.now()
      if (this.#isOwed) this.#askLater(askEveryMs)
      this.#isOwed = false
    }
  }

  /** Begins to look at metrics. */
  async wantMetrics(): Promise<void> {
    this.wantsMetrics = true
    if (this.metrics.value !== undefined || this.known.value === undefined) return
    await this.api
      .text(storePath(this.storeId, '/metrics'))
      .then((text) => (this.metrics.value = parseMetrics(text)))
      .catch((error: unknown) => this.#fail(error))
  }

  /** Loads the events of a span and some around it; resolves with whether that worked. */
  async load({ from, to }: Span): Promise<boolean> {
    const first = Math.floor((from - 1) / pieceSize)
    const last = Math.floor((to - 1) / pieceSize)
    const wanted: number[] = []
    for (let piece = first; piece <= last; piece++) {
      const span = { from: piece * pieceSize + 1, to: Math.min((piece + 1) * pieceSize, this.head) }
      if (!this.#asked.has(piece) && !this.log.coversAll(span)) wanted.push(piece)
    }
    const [begin, end] = [wanted[0], wanted.at(-1)]
    if (begin === undefined || end === undefined) return true
    for (const piece of wanted) this.#asked.add(piece)
    const after = begin * pieceSize
    const limit = (end + 1 - begin) * pieceSize
    // What is pushed meanwhile comes by the socket.
    const upTo = Math.min(after + limit, this.head)
    const begun = this.begun.value
    try {
      const events: LoggedEvent[] = []
      const path = storePath(this.storeId, `/events?after=${after}&limit=${limit}`)
      await this.api.lines<EventLine>(path, (lines) => {
        for (const line of lines) if (line.seqNum <= upTo) events.push(eventOf(line))
      })
      if (!this.#isAt(begun)) return false
      this.log.add({ from: after + 1, to: upTo }, events)
      this.arrived.value = []
      return true
    } catch (error) {
      if (this.#isAt(begun)) this.#fail(error)
      return false
    } finally {
      for (const piece of wanted) this.#asked.delete(piece)
    }
  }

  /** Tries the socket at once, where it waits. */
  reconnect(): void {
    this.#link.open()
  }

  dispose(): void {
    this.#isDisposed = true
    clearTimeout(this.#timer)
    clearTimeout(this.#resting)
    document.removeEventListener('visibilitychange', this.#onVisibility)
    this.#link.close()
  }

  /** Forgets the events; what was asked before is not of this log. Returns by what that is known. */
  #forget(): number {
    this.log.clear()
    this.#asked.clear()
    return (this.begun.value += 1)
  }

  #isAt(begun: number): boolean {
    return !this.#isDisposed && begun === this.begun.value
  }

  #push(events: readonly LoggedEvent[]): void {
    const [first, last] = [events[0], events.at(-1)]
    if (first === undefined || last === undefined) return
    this.log.add({ from: Math.min(first.seqNum, this.log.head + 1), to: last.seqNum }, events)
    this.arrived.value = events
    // The object is awake now. A hidden page leaves the state as old as it is.
    this.#askLater(Math.max(0, this.#askedAt + askEveryMs - Date.now()))
  }

  #askLater(waitMs: number): void {
    if (this.#isAsking) this.#isOwed = true
    if (this.#timer !== undefined || this.#isAsking || this.#isDisposed || document.hidden) return
    this.#timer = window.setTimeout(() => {
      this.#timer = undefined
      if (!document.hidden) void this.refresh()
    }, waitMs)
  }

  /** Whether the object is at work on something whose progress is shown. */
  #isBusy(state: State | undefined): boolean {
    if (state?.status === 'deleting') return true
    return state?.status === 'restoring' && state.restore?.at === undefined
  }

  #fail(error: unknown): void {
    if (error instanceof Failure && error.status === 401) return
    this.failure.value = wordsOf(error)
    if (!(error instanceof Failure) || error.status !== 404) return
    this.#link.close()
    this.#forget()
    this.link.value = { is: 'ended', why: wordsOf(error) }
    this.known.value = undefined
  }

  readonly #onVisibility = (): void => {
    clearTimeout(this.#resting)
    if (document.hidden) {
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.#resting = window.setTimeout(() => this.#link.rest(), restAfterMs)
    } else if (this.link.value.is === 'resting') void this.open()
    else if (this.#isBusy(this.known.value?.state)) this.#askLater(0)
  }
}

/** Whether the log is another one than before, or was taken away meanwhile. */
const isAnother = (before: State, state: State): boolean =>
  before.backendId !== state.backendId || (before.status !== 'open' && state.status === 'open')
