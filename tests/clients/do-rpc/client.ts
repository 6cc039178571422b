/**
 * Sync clients that are Durable Objects, one object each, beside the backend that they sync with.
 *
 * The client of a generation runs in the object; what a test holds here passes its calls on. Made for servers that were
 * started with `doRpcClients`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Server } from '../../harness/server.ts'
import { type ClientOptions, type MakeClient, type Page, PullError, type SyncClient } from '../client.ts'
import type { OpenOptions, PullArguments, PullLine } from './client-object.ts'
import { CommandError, type DoRpcGeneration, RemoteObject } from './remote-object.ts'

/** A sync client, with its object. */
export interface DoRpcClient extends SyncClient {
  readonly object: RemoteObject
}

export interface DoRpcOptions extends ClientOptions, Pick<OpenOptions, 'bindingName'> {}

/** How long a pull that found its object out of reach waits before it says so: then it is made again. */
const reconnectAfterMs = 100

/** The lines of a body, as they come. */
async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<PullLine> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield JSON.parse(line) as PullLine
  }
}

/** One pull of an object. */
class RemotePull implements AsyncIterator<Page> {
  readonly #object: RemoteObject
  readonly #options: PullArguments
  readonly #abort = new AbortController()
  readonly #onEnd: () => void
  #lines: AsyncIterator<PullLine> | undefined

  constructor(object: RemoteObject, options: PullArguments, onEnd: () => void) {
    this.#object = object
    this.#options = options
    this.#onEnd = onEnd
  }

  async next(): Promise<IteratorResult<Page>> {
    const line = await this.#line().catch(async (error: unknown): Promise<PullLine | undefined> => {
      const { signal } = this.#abort
      if (signal.aborted) return undefined
      const message = String(error)
      // The object refuses to pull when it has lost its client.
      if (error instanceof CommandError) return { refusal: { error: 'CommandError', message } }
      await delay(reconnectAfterMs, undefined, { signal }).catch(() => {})
      return { refusal: { error: 'IsOfflineError', message } }
    })
    if (line !== undefined && !('refusal' in line)) {
      return { done: false, value: { ...line, remaining: line.remaining ?? Infinity } }
    }
    this.#onEnd()
    if (line !== undefined) throw new PullError(line.refusal)
    return { done: true, value: undefined }
  }

  async return(): Promise<IteratorResult<Page>> {
    this.#abort.abort()
    this.#onEnd()
    // The object may be gone.
    await this.#object.run('leave', this.#options.number).catch(() => {})
    return { done: true, value: undefined }
  }

  async #line(): Promise<PullLine | undefined> {
    this.#lines ??= linesOf(await this.#object.pull(this.#options, this.#abort.signal))
    const { done, value } = await this.#lines.next()
    return done === true ? undefined : value
  }
}

/** Starts one client in an object of its own. */
export const openDoRpcClient = async (
  generation: DoRpcGeneration,
  server: Server,
  options: DoRpcOptions,
  object = new RemoteObject(server, generation),
): Promise<DoRpcClient> => {
  await object.run('open', options)
  const pulls = new Map<number, RemotePull>()
  let started = 0
  let closed = false
  return {
    generation,
    transport: 'do-rpc',
    object,
    connect: async () => {
      await object.run('connect', null)
    },
    push: (batch) => object.run('push', batch),
    pull: (cursor, mode) => ({
      [Symbol.asyncIterator]: () => {
        const number = (started += 1)
        const pull = new RemotePull(object, { cursor, mode, number }, () => pulls.delete(number))
        pulls.set(number, pull)
        if (closed) void pull.return()
        return pull
      },
    }),
    close: async () => {
      closed = true
      await Promise.all([...pulls.values()].map((pull) => pull.return()))
      // The object and its runtime may be gone.
      await object.run('close', null).catch(() => {})
    },
  }
}

/** What starts do-rpc clients of a generation beside `server`. */
export const makeDoRpcClient =
  (generation: DoRpcGeneration, server: Server): MakeClient =>
  (options) =>
    openDoRpcClient(generation, server, options)
