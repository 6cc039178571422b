/**
 * The events that the benchmark pushes, and the check that a server gave back exactly those.
 *
 * Event n is a function of n alone, so nothing has to be kept to compare with. Knows nothing of sockets.
 */

/** An event as it stands in a push and, under `eventEncoded`, in a pull response. */
export interface Event {
  readonly name: string
  readonly args: { readonly id: string; readonly text: string }
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly clientId: string
  readonly sessionId: string
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

const texts = [
  'Buy milk and eggs',
  'Call the dentist about Tuesday',
  'Renew the car insurance before it runs out',
  'Send "quarterly numbers" to Ana',
  'Water the plants, feed the cat',
  'Book a table for six at eight',
]

/** 21 characters that depend on `seed` alone (a linear congruential generator, so no two nearby seeds look alike). */
const idOf = (seed: number): string => {
  let state = (seed * 2654435761) >>> 0
  let id = ''
  for (let position = 0; position < 21; position++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    id += alphabet[state >>> 26]
  }
  return id
}

const textOf = (line: string, bytes: number | undefined): string =>
  bytes === undefined ? line : `${line}. `.repeat(Math.ceil(bytes / line.length)).slice(0, bytes)

/** The event with sequence number `seqNum` of every store of the benchmark whose events have a text of `bytes`, or a line. */
export const event = (seqNum: number, bytes?: number): Event => ({
  name: 'v1.TodoCreated',
  args: { id: idOf(seqNum), text: textOf(texts[seqNum % texts.length]!, bytes) },
  seqNum,
  parentSeqNum: seqNum - 1,
  clientId: 'b3nch1',
  sessionId: 'static',
})

/** Events `from` (exclusive) to `to` (inclusive), cut into batches of at most `size`. */
export const batches = (from: number, to: number, size: number, bytes?: number): Event[][] => {
  const result: Event[][] = []
  for (let start = from; start < to; start += size) {
    result.push(Array.from({ length: Math.min(size, to - start) }, (_, index) => event(start + index + 1, bytes)))
  }
  return result
}

interface PullResponse {
  readonly batch: ReadonlyArray<{
    readonly eventEncoded: Event
    readonly metadata: { readonly _tag: string; readonly value: { readonly _tag: string; readonly createdAt: string } }
  }>
  readonly pageInfo: { readonly _tag: string; readonly remaining?: number }
}

interface Chunk {
  readonly values: readonly PullResponse[]
}

/** A frame of the answer to a pull over http. */
interface Frame extends Chunk {
  readonly _tag: string
  readonly exit: { readonly _tag: string }
}

const sameEvent = (actual: Event, expected: Event): boolean =>
  actual.name === expected.name &&
  JSON.stringify(actual.args) === JSON.stringify(expected.args) &&
  actual.seqNum === expected.seqNum &&
  actual.parentSeqNum === expected.parentSeqNum &&
  actual.clientId === expected.clientId &&
  actual.sessionId === expected.sessionId

/**
 * Throws unless `chunks` hold exactly the events `from` (exclusive) to `to` (inclusive), ascending, each with its
 * metadata, and every page says truly how many are to come (`remaining` counts the pages of one pull; broadcasts are
 * pulls of one page each).
 */
const checkPages = (
  chunks: Iterable<Chunk>,
  from: number,
  to: number,
  kind: 'pull' | 'broadcasts',
  bytes?: number,
): void => {
  let last = from
  for (const { values } of chunks) {
    for (const { batch, pageInfo } of values) {
      for (const { eventEncoded, metadata } of batch) {
        last += 1
        if (!sameEvent(eventEncoded, event(last, bytes))) {
          const told = (one: Event): string => JSON.stringify(one).slice(0, 1_000)
          throw new Error(`expected ${told(event(last, bytes))}, got ${told(eventEncoded)}`)
        }
        if (metadata._tag !== 'Some' || Number.isNaN(Date.parse(metadata.value.createdAt))) {
          throw new Error(`event ${last} has the metadata ${JSON.stringify(metadata)}`)
        }
      }
      const remaining = kind === 'pull' ? to - last : 0
      const told = pageInfo._tag === 'NoMore' ? 0 : pageInfo.remaining
      if (told !== remaining) throw new Error(`after event ${last} of ${to}: ${JSON.stringify(pageInfo)}`)
    }
  }
  if (last !== to) throw new Error(`expected events up to ${to}, got them up to ${last}`)
}

/** Throws unless the Chunk frames `chunks` hold exactly the events `from` (exclusive) to `to` (inclusive). */
export const checkChunks = (
  chunks: readonly string[],
  from: number,
  to: number,
  kind: 'pull' | 'broadcasts',
  bytes?: number,
): void =>
  checkPages(
    chunks.values().map((chunk) => JSON.parse(chunk) as Chunk),
    from,
    to,
    kind,
    bytes,
  )

/** Throws unless `answer`, that of a pull over http, holds exactly the events 1 to `to`, and then the pull's Exit. */
export const checkAnswer = (answer: Buffer, to: number): void => {
  const frames = JSON.parse(answer.toString()) as readonly Frame[]
  const [exit, chunks] = [frames.at(-1), frames.slice(0, -1)]
  if (exit?._tag !== 'Exit' || exit.exit._tag !== 'Success' || chunks.some(({ _tag }) => _tag !== 'Chunk')) {
    throw new Error(`a pull was answered with ${frames.length} frames, the last of them ${JSON.stringify(exit)}`)
  }
  checkPages(chunks, 0, to, 'pull')
}
