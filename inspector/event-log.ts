/**
 * The events of a store that are here: which they are, which numbers have been asked for, and which pushes they came in.
 * Holds a bounded number; older ones are asked for again when somebody wants to see them.
 */
import type { EventLine } from '../host/administration.ts'

export interface LoggedEvent extends Omit<EventLine, 'createdAt'> {
  /** In milliseconds; equal for all events of one push. */
  readonly createdAt: number
}

/** Numbers from `from` to `to`, both included. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** So many events are held; once there are more, the newest of them stay. */
const heldMax = 150_000
const keptOfThem = 100_000

export const eventOf = (line: EventLine): LoggedEvent => ({
  seqNum: line.seqNum,
  parentSeqNum: line.parentSeqNum,
  name: line.name,
  args: line.args,
  clientId: line.clientId,
  sessionId: line.sessionId,
  createdAt: Date.parse(line.createdAt),
})

export class EventLog {
  /** Number of the last event there is. */
  head = 0
  readonly #events = new Map<number, LoggedEvent>()
  /** Ascending, apart from each other. */
  #spans: readonly Span[] = []
  /** How many events of a push are here, by when it was stored. */
  readonly #pushes = new Map<number, number>()
  /** How often each name and client has been seen, for suggestions. */
  readonly names = new Map<string, number>()
  readonly clients = new Map<string, number>()

  get size(): number {
    return this.#events.size
  }

  get(seqNum: number): LoggedEvent | undefined {
    return this.#events.get(seqNum)
  }

  /** Whether it is known what event has this number, or that none has. */
  covers(seqNum: number): boolean {
    return this.#spans.some(({ from, to }) => from <= seqNum && seqNum <= to)
  }

  /** Whether all numbers from `from` to `to` are known. */
  coversAll({ from, to }: Span): boolean {
    return this.#spans.some((span) => span.from <= from && to <= span.to)
  }

  /** The first number that is here without a gap up to the head. */
  get contiguousFrom(): number {
    const last = this.#spans.at(-1)
    return last !== undefined && last.to >= this.head ? last.from : this.head + 1
  }

  /** The pushes that events here came in, by when they were stored, in no order. */
  get pushes(): ReadonlyMap<number, number> {
    return this.#pushes
  }

  /** Takes in the events of a span, which are all that there are in it. */
  add(span: Span, events: readonly LoggedEvent[]): void {
    for (const event of events) {
      if (this.#events.has(event.seqNum)) continue
      this.#events.set(event.seqNum, event)
      this.#pushes.set(event.createdAt, (this.#pushes.get(event.createdAt) ?? 0) + 1)
      this.names.set(event.name, (this.names.get(event.name) ?? 0) + 1)
      this.clients.set(event.clientId, (this.clients.get(event.clientId) ?? 0) + 1)
    }
    if (span.to >= span.from) this.#cover(span)
    this.head = Math.max(this.head, span.to)
    if (this.#events.size > heldMax) this.#trim(span)
  }

  /** Forgets everything: another lifetime of the log has begun. */
  clear(): void {
    this.head = 0
    this.#spans = []
    for (const map of [this.#events, this.#pushes, this.names, this.clients]) map.clear()
  }

  #cover(added: Span): void {
    const apart = this.#spans.filter(({ from, to }) => to < added.from - 1 || from > added.to + 1)
    const joined = this.#spans.filter((span) => !apart.includes(span))
    const from = Math.min(added.from, ...joined.map((span) => span.from))
    const to = Math.max(added.to, ...joined.map((span) => span.to))
    this.#spans = [...apart, { from, to }].toSorted((a, b) => a.from - b.from)
  }

  /** Drops what is furthest from what was added last. */
  #trim(near: Span): void {
    const distances = [...this.#events.keys()].map((seqNum) => Math.abs(seqNum - near.to)).sort((a, b) => a - b)
    const limit = distances[keptOfThem] ?? Infinity
    const kept = { from: near.to - limit + 1, to: near.to + limit - 1 }
    for (const [seqNum, event] of this.#events) {
      if (kept.from <= seqNum && seqNum <= kept.to) continue
      this.#events.delete(seqNum)
      const rest = (this.#pushes.get(event.createdAt) ?? 1) - 1
      if (rest > 0) this.#pushes.set(event.createdAt, rest)
      else this.#pushes.delete(event.createdAt)
    }
    this.#spans = this.#spans
      .map(({ from, to }) => ({ from: Math.max(from, kept.from), to: Math.min(to, kept.to) }))
      .filter(({ from, to }) => from <= to)
  }
}
