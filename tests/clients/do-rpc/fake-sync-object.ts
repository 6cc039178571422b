/**
 * A hand-written sync object that records what a client calls it with and misbehaves on command, to learn how the client
 * takes it.
 *
 * Owns: one log in memory, and the live pulls that are called back. It needs no runtime: a method of another object is a
 * function that returns a promise, and bytes are what the packing of the client's generation makes of a value.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Event } from '../client.ts'
import { type FakeError, FakeLog, failureFor, isError, type RequestId, successFor } from '../fake-log.ts'
import { eventually } from '../waiting.ts'

/** One request that a client sent. */
export interface Asked {
  readonly atMs: number
  readonly rpc: string
  readonly requestId: RequestId
  readonly payload: unknown
}

/** How the object answers a request that it could serve. */
export type Answer =
  | { readonly kind: 'serve'; readonly afterMs: number }
  | { readonly kind: 'error'; readonly error: FakeError }
  /** These envelopes, the last of which need not be an Exit. */
  | { readonly kind: 'envelopes'; readonly envelopes: (requestId: RequestId) => readonly unknown[] }
  /** What it serves, but the stream fails before the Exit. */
  | { readonly kind: 'break' }
  | { readonly kind: 'reject' }

/** How values become bytes, and how the object that called is called back. */
export interface Client {
  readonly pack: (value: unknown) => Uint8Array
  readonly unpack: (bytes: Uint8Array) => unknown
  readonly callBack: (envelope: unknown) => Promise<unknown>
}

interface Request {
  readonly id: RequestId
  readonly tag: string
  readonly payload: unknown
}

/** A client takes note of a live pull some moments after it has read the whole answer, and drops calls before that. */
const callableAfterMs = 250

export class FakeSyncObject {
  readonly seen: Asked[] = []
  readonly store = new FakeLog()
  /** What the next pushes are answered, one each; served without one. */
  readonly pushAnswers: Answer[] = []
  /** What the next pulls are answered, one each; served without one. */
  readonly pullAnswers: Answer[] = []
  #subscriptions: string[] = []
  #callableAtMs = 0
  readonly #client: Client
  readonly #startedAt = performance.now()

  constructor(client: Client) {
    this.#client = client
  }

  /** Time since the start, on the clock of `seen`. */
  get nowMs(): number {
    return performance.now() - this.#startedAt
  }

  /** Request ids of the live pulls that were served. */
  get subscriptions(): readonly string[] {
    return this.#subscriptions
  }

  get pulls(): readonly Asked[] {
    return this.seen.filter(({ rpc }) => rpc === 'SyncDoRpc.Pull')
  }

  get pushes(): readonly Asked[] {
    return this.seen.filter(({ rpc }) => rpc === 'SyncDoRpc.Push')
  }

  /** Appends an event of some other client and publishes it. */
  async append(name: string, args: unknown): Promise<void> {
    await this.publish([this.store.append(name, args)])
  }

  /** Calls back with a Chunk of these events for each live pull, whether the log has them or not. */
  async publish(events: readonly Event[]): Promise<void> {
    for (const requestId of this.#subscriptions) {
      await this.callBack({ _tag: 'Chunk', requestId, values: [this.store.page(events)] })
    }
  }

  /** Calls back, once the client has read all answers; rejects if the client does. */
  async callBack(envelope: unknown): Promise<void> {
    await eventually('the client has read its pulls', () => this.nowMs >= this.#callableAtMs)
    await this.#client.callBack(envelope)
  }

  /** Loses every live pull. */
  forget(): void {
    this.#subscriptions = []
  }

  /** The method that clients call. */
  readonly rpc = async (bytes: Uint8Array): Promise<Uint8Array | ReadableStream<Uint8Array>> => {
    const [request] = [this.#client.unpack(bytes)].flat(2) as [Request]
    const { id: requestId, tag: rpc, payload } = request
    this.seen.push({ atMs: this.nowMs, rpc, requestId, payload })
    const answers = rpc === 'SyncDoRpc.Pull' ? this.pullAnswers : rpc === 'SyncDoRpc.Push' ? this.pushAnswers : []
    const answer = answers.shift() ?? { kind: 'serve', afterMs: 0 }
    if (answer.kind === 'reject') throw new Error('the sync object is out of reach')
    if (answer.kind === 'serve') await delay(answer.afterMs)
    const envelopes = this.#envelopes(answer, request)
    // A stream for pulls, one array of bytes for all else.
    if (rpc !== 'SyncDoRpc.Pull') return this.#pack(envelopes)
    return this.#stream(answer.kind === 'break' ? envelopes.slice(0, -1) : envelopes, answer.kind === 'break')
  }

  #envelopes(answer: Answer, request: Request): readonly unknown[] {
    const { id: requestId } = request
    if (answer.kind === 'envelopes') return answer.envelopes(requestId)
    if (answer.kind === 'error') return [exitOf(requestId, failureFor(requestId, answer.error))]
    return this.#serve(request)
  }

  #serve({ id: requestId, tag, payload }: Request): readonly unknown[] {
    if (tag === 'SyncDoRpc.Pull') return this.#pull(requestId, payload)
    if (tag === 'SyncDoRpc.Push') return this.#push(requestId, payload)
    const pong = typeof requestId === 'string' ? { _tag: 'SyncMessage.Pong' } : null
    return [exitOf(requestId, successFor(pong))]
  }

  #pull(requestId: RequestId, payload: unknown): readonly unknown[] {
    const page = this.store.pull(payload)
    if (isError(page)) return [exitOf(requestId, failureFor(requestId, page))]
    const { rpcContext } = payload as { readonly rpcContext?: unknown }
    if (rpcContext !== undefined && rpcContext !== null) this.#subscriptions.push(String(requestId))
    return [pageOf(requestId, page), exitOf(requestId, successFor(null))]
  }

  #push(requestId: RequestId, payload: unknown): readonly unknown[] {
    const error = this.store.push(payload)
    if (error !== undefined) return [exitOf(requestId, failureFor(requestId, error))]
    const { batch } = payload as { readonly batch: readonly Event[] }
    void this.publish(batch)
    return [exitOf(requestId, successFor({}))]
  }

  #pack(envelopes: readonly unknown[]): Uint8Array {
    return Uint8Array.from(this.#client.pack(envelopes))
  }

  /** Bytes for each envelope as the client asks for them. */
  #stream(envelopes: readonly unknown[], breaks: boolean): ReadableStream<Uint8Array> {
    const rest = [...envelopes]
    this.#callableAtMs = Infinity
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      const envelope = rest.shift()
      if (envelope !== undefined) return controller.enqueue(this.#pack([envelope]))
      this.#callableAtMs = this.nowMs + callableAfterMs
      if (breaks) controller.error(new Error('the stream broke'))
      else controller.close()
    }
    return new ReadableStream<Uint8Array>({ pull }, { highWaterMark: 0 })
  }
}

/** A page as the answer to a pull carries it. */
export const pageOf = (requestId: RequestId, page: object): unknown => ({
  _tag: 'Chunk',
  requestId,
  values: [{ ...page, rpcRequestId: String(requestId) }],
})

export const exitOf = (requestId: RequestId, exit: unknown): unknown => ({ _tag: 'Exit', requestId, exit })
