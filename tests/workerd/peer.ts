/**
 * A bare client in each dialect, for tests that look at single frames: it never acknowledges, pings or reconnects unless
 * a test says so.
 */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { Event, Generation } from '../clients/client.ts'
import { batchOf } from '../clients/events.ts'
import { type ConnectOptions, RawClient } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'

export type { Generation }

export const generations: readonly Generation[] = ['v03', 'v04', 'v05']

/** The generations that speak the RPC envelope. */
export const rpcGenerations: readonly Generation[] = ['v04', 'v05']

/** One page, whatever its dialect. */
export interface Page {
  /** Number of the pull that it belongs to; 0 for a v03 broadcast, which belongs to none. */
  readonly request: number
  readonly events: readonly Event[]
  readonly createdAt: readonly string[]
  readonly remaining: number
  /** Undefined in v03, which has none. */
  readonly backendId?: string
  readonly bytes: number
}

/** Where a pull starts and what it wants. */
export interface PullOptions {
  readonly live?: boolean
  /** The last event that the client has; 0 for none. */
  readonly after?: number
  /** Sent with `after`, except in v03. */
  readonly backendId?: string
}

/** A request's id as its dialect writes it. */
export const idOf = (generation: Generation, request: number): string | number =>
  generation === 'v05' ? request : generation === 'v04' ? String(request) : `request-${request}`

const option = <T>(value: T | undefined): object => (value === undefined ? { _tag: 'None' } : { _tag: 'Some', value })

/** A Pull request. */
export const pullFrame = (
  generation: Generation,
  request: number,
  storeId: string,
  { live = false, after = 0, backendId }: PullOptions = {},
): object => {
  if (generation === 'v03') {
    return {
      _tag: 'WSMessage.PullReq',
      requestId: idOf(generation, request),
      ...(after === 0 ? {} : { cursor: after }),
    }
  }
  const cursor = option(backendId === undefined ? undefined : { backendId, eventSequenceNumber: after })
  const payload = { storeId, live, cursor }
  return { _tag: 'Request', id: idOf(generation, request), tag: 'SyncWsRpc.Pull', payload, headers: [] }
}

/** A Push request. `batch` is whatever a test wants to send as one. */
export const pushFrame = (
  generation: Generation,
  request: number,
  storeId: string,
  batch: unknown,
  backendId?: string,
): object => {
  if (generation === 'v03') return { _tag: 'WSMessage.PushReq', requestId: idOf(generation, request), batch }
  const payload = { storeId, batch, backendId: option(backendId) }
  return { _tag: 'Request', id: idOf(generation, request), tag: 'SyncWsRpc.Push', payload, headers: [] }
}

/** The answer to a push whose events are stored. */
export const pushedFrame = (generation: Generation, request: number): object => {
  const requestId = idOf(generation, request)
  return generation === 'v03'
    ? { _tag: 'WSMessage.PushAck', requestId }
    : { _tag: 'Exit', requestId, exit: { _tag: 'Success', value: {} } }
}

/** A failed Exit: the generations write its cause differently. */
export const failedFrame = (generation: Generation, request: number, cause: object): object => ({
  _tag: 'Exit',
  requestId: idOf(generation, request),
  exit: { _tag: 'Failure', cause: generation === 'v05' ? [cause] : cause },
})

/** The answer to an Interrupt. */
export const interruptedFrame = (generation: Generation, request: number): object =>
  failedFrame(generation, request, { _tag: 'Interrupt', fiberId: generation === 'v05' ? null : { _tag: 'None' } })

/** The end of a pull that is not live. */
export const pullDoneFrame = (generation: Generation, request: number): object => ({
  _tag: 'Exit',
  requestId: idOf(generation, request),
  exit: { _tag: 'Success', value: null },
})

/** The pings that the runtime may answer, byte for byte as clients send them, and their answers. */
export const pings: Record<Generation, { readonly ping: string; readonly pong: string }> = {
  v03: {
    ping: '{"_tag":"WSMessage.Ping","requestId":"ping"}',
    pong: '{"_tag":"WSMessage.Pong","requestId":"ping"}',
  },
  v04: { ping: '{"_tag":"Ping"}', pong: '{"_tag":"Pong"}' },
  v05: { ping: '{"_tag":"Ping"}', pong: '{"_tag":"Pong"}' },
}

interface PageFrame {
  readonly _tag: string
  readonly requestId: string | number | { readonly context: 'pull' | 'push'; readonly requestId: string }
  readonly batch?: readonly Item[]
  readonly remaining?: number
  readonly values?: ReadonlyArray<{
    readonly batch: readonly Item[]
    readonly pageInfo: { readonly _tag: string; readonly remaining?: number }
    readonly backendId: string
  }>
}

interface Item {
  readonly eventEncoded: Event
  readonly metadata: { readonly _tag: 'Some'; readonly value: { readonly createdAt: string } }
}

const numberIn = (id: unknown): number => Number(/\d+$/.exec(String(id))?.[0] ?? Number.NaN)

/** The page in a frame, `undefined` when it is no page. */
export const pageIn = (frame: string): Page | undefined => {
  const read = JSON.parse(frame) as PageFrame
  const page = (batch: readonly Item[]) => ({
    events: batch.map((item) => item.eventEncoded),
    createdAt: batch.map((item) => item.metadata.value.createdAt),
    bytes: Buffer.byteLength(frame),
  })
  if (read._tag === 'WSMessage.PullRes') {
    const { context, requestId } = read.requestId as { context: 'pull' | 'push'; requestId: string }
    const request = context === 'pull' ? numberIn(requestId) : 0
    return { request, remaining: read.remaining!, ...page(read.batch!) }
  }
  if (read._tag !== 'Chunk') return undefined
  const [value] = read.values!
  const remaining = value!.pageInfo._tag === 'NoMore' ? 0 : value!.pageInfo.remaining!
  return { request: numberIn(read.requestId), remaining, backendId: value!.backendId, ...page(value!.batch) }
}

/** The pages among frames. */
export const pagesIn = (frames: readonly string[]): readonly Page[] =>
  frames.map(pageIn).filter((page) => page !== undefined)

/** The events of all pages among frames. */
export const eventsIn = (frames: readonly string[]): readonly Event[] => pagesIn(frames).flatMap((page) => page.events)

/** Asserts that `events` are `expected`; tells where they part, since a log is too long to be printed. */
export const assertEvents = (events: readonly Event[], expected: readonly Event[]): void => {
  const length = Math.max(events.length, expected.length)
  const index = Array.from({ length }, (_, at) => at).find((at) => !isDeepStrictEqual(events[at], expected[at]))
  if (index === undefined) return
  const around = (list: readonly Event[]): unknown => list.slice(index, index + 2)
  const facts = `${events.length} events instead of ${expected.length}, which part at index ${index}`
  assert.deepEqual(around(events), around(expected), facts)
}

/** A connection to one store in one dialect. */
export class Peer {
  readonly generation: Generation
  readonly storeId: string
  readonly client: RawClient
  /** Number of the next request. */
  request = 1
  #fences = 0

  private constructor(generation: Generation, storeId: string, client: RawClient) {
    this.generation = generation
    this.storeId = storeId
    this.client = client
  }

  static async connect(
    server: Pick<Server, 'wsUrl'>,
    generation: Generation,
    storeId: string,
    options: Partial<ConnectOptions> = {},
  ): Promise<Peer> {
    const door = generation === 'v03' ? { path: '/websocket', transport: undefined } : {}
    return new Peer(generation, storeId, await RawClient.connect(server, { storeId, ...door, ...options }))
  }

  /** Speaks on a connection that was opened in another way. */
  static on(client: RawClient, generation: Generation, storeId: string): Peer {
    return new Peer(generation, storeId, client)
  }

  /** Sends a Pull and returns its number. */
  pull(options: PullOptions = {}): number {
    const request = this.request++
    this.client.send(pullFrame(this.generation, request, this.storeId, options))
    return request
  }

  /** Sends a Push and returns its number. */
  push(batch: unknown, backendId?: string): number {
    const request = this.request++
    this.client.send(pushFrame(this.generation, request, this.storeId, batch, backendId))
    return request
  }

  /** Acknowledges a page of a pull. */
  ack(request: number): void {
    this.client.send({ _tag: 'Ack', requestId: idOf(this.generation, request) })
  }

  interrupt(request: number): void {
    this.client.send({ _tag: 'Interrupt', requestId: idOf(this.generation, request) })
  }

  /** All frames that came unread until now: what the object has sent in answer to everything before. */
  async settled(deadlineMs?: number): Promise<readonly string[]> {
    // A push of no event means nothing, and is answered after everything that the object has sent before.
    const id = `fence-${(this.#fences += 1)}`
    const fence = pushFrame(this.generation, 0, this.storeId, [])
    this.client.send(this.generation === 'v03' ? { ...fence, requestId: id } : { ...fence, id })
    const isAnswer = (frame: string): boolean => frame.length < 200 && frame.includes(`"requestId":"${id}"`)
    const frames = await this.client.upTo('the object answers a push of no event', isAnswer, deadlineMs)
    return frames.slice(0, -1)
  }

  /** Like `settled`, but acknowledges every page, as a client does, until no more come. */
  async drained(): Promise<readonly string[]> {
    const all: string[] = []
    for (;;) {
      const frames = await this.settled()
      all.push(...frames)
      const pages = pagesIn(frames)
      if (pages.length === 0) return all
      if (this.generation !== 'v03') for (const page of pages) this.ack(page.request)
    }
  }

  /** Pushes `batch` and resolves with every frame up to its answer, that one included and parsed. */
  async pushed(
    batch: unknown,
    backendId?: string,
  ): Promise<{ readonly frames: readonly string[]; readonly answer: unknown }> {
    const request = this.push(batch, backendId)
    const id = JSON.stringify(idOf(this.generation, request))
    const isAnswer = (frame: string): boolean =>
      /^\{"_tag":"(Exit|WSMessage\.PushAck|WSMessage\.Error)"/.test(frame) && frame.includes(`"requestId":${id}`)
    const frames = await this.client.upTo(`push ${request} is answered`, isAnswer)
    return { frames: frames.slice(0, -1), answer: JSON.parse(frames.at(-1)!) as unknown }
  }

  /** Pulls as a client does that acknowledges each page, and resolves with the pages; other frames are dropped. */
  async pages(options: PullOptions = {}): Promise<readonly Page[]> {
    const request = this.pull(options)
    const pages: Page[] = []
    while (pages.at(-1)?.remaining !== 0) {
      const page = pageIn(await this.client.next())
      if (page?.request !== request) continue
      pages.push(page)
      if (this.generation !== 'v03') this.ack(request)
    }
    if (this.generation !== 'v03' && options.live !== true) {
      const id = JSON.stringify(idOf(this.generation, request))
      const exit = `{"_tag":"Exit","requestId":${id},"exit":{"_tag":"Success"`
      await this.client.upTo('the pull ends', (frame) => frame.startsWith(exit))
    }
    return pages
  }
}

/** The log of a store, as a client sees it that connects now. */
export const logOf = async (
  server: Pick<Server, 'wsUrl'>,
  storeId: string,
  generation: Generation = 'v04',
  options: Partial<ConnectOptions> = {},
): Promise<readonly Event[]> => {
  const peer = await Peer.connect(server, generation, storeId, options)
  try {
    return (await peer.pages()).flatMap((page) => page.events)
  } finally {
    peer.client.terminate()
  }
}

/** Fills a new store with `count` events whose texts have `textBytes`, and resolves with them. */
export const fill = async (
  server: Pick<Server, 'wsUrl'>,
  storeId: string,
  count: number,
  textBytes = 0,
): Promise<readonly Event[]> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  const text = 'x'.repeat(textBytes)
  const events = batchOf(0, count).map((event) => (textBytes === 0 ? event : { ...event, args: { text } }))
  const perPush = Math.max(1, Math.min(1_000, Math.floor(800_000 / (textBytes + 150))))
  for (let from = 0; from < count; from += perPush) {
    const { answer } = await peer.pushed(events.slice(from, from + perPush))
    assert.deepEqual(answer, pushedFrame('v04', peer.request - 1))
  }
  peer.client.terminate()
  return events
}
