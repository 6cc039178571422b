/**
 * A Durable Object that is a sync client: what the objects of every generation do alike.
 *
 * Owns: the commands by which a test drives the object from outside, as requests with JSON bodies, and the count of the
 * callbacks that came from the sync object. Which client runs in here, and what it makes of a callback, is for the
 * generation's own class to say.
 */
import { Buffer } from 'node:buffer'
import { DurableObject } from 'cloudflare:workers'
import { type ClientOptions, type Event, PullError, type PullMode, type Refusal, type SyncClient } from '../client.ts'

/** The runtime's handles of an object, as far as clients need them. */
interface ObjectState {
  readonly id: { toString(): string }
  abort(reason: string): void
}

/** What clients call on a sync object. */
export interface SyncObject {
  rpc(request: Uint8Array): Promise<Uint8Array | ReadableStream<Uint8Array>>
}

/** Finds objects of one class. */
export interface ObjectNamespace {
  idFromName(name: string): unknown
  get(id: unknown): { fetch(request: Request): Promise<Response> }
}

/** What the client Worker is bound to. */
export interface Env {
  readonly SYNC_BACKEND_DO: ObjectNamespace
  readonly CLIENT_V04: ObjectNamespace
  readonly CLIENT_V05: ObjectNamespace
}

/** What the client in an object is made from. */
export interface OpenOptions extends ClientOptions {
  /** Binding under which the sync object is told to call back; the right one by default. */
  readonly bindingName?: string
}

/** What an object does when it is called back: pass it to its client, throw, or not answer until that changes. */
export type CallbackMode = 'take' | 'throw' | 'never'

/** What came from the sync object by itself. */
export interface Callbacks {
  /** How many calls there were, answered or refused. */
  readonly received: number
  /** What went wrong with those that were passed to the client. */
  readonly errors: readonly string[]
}

/** Says of a command that failed whether the error asked for another try. */
const retryableHeader = 'x-retryable'

/** One line of the answer to `pull`; the last one may tell why there are no more. */
export type PullLine =
  | { readonly events: readonly Event[]; readonly createdAt: readonly string[]; readonly remaining: number | null }
  | { readonly refusal: Refusal }

/** Arguments and result of each command but `pull`, whose answer is a stream of lines. */
export interface Commands {
  open: [OpenOptions, null]
  connect: [null, null]
  push: [readonly Event[], 'ok' | Refusal]
  leave: [number, null]
  close: [null, null]
  answerCallbacks: [CallbackMode, null]
  callbacks: [null, Callbacks]
  /** Bytes in base64. */
  call: [{ readonly storeId: string; readonly request: string }, readonly string[]]
  crash: [null, null]
}

export interface PullArguments {
  readonly cursor: number
  readonly mode: PullMode
  /** A number by which the caller can leave this pull. */
  readonly number: number
}

type Handlers = { [Name in keyof Commands]: (argument: Commands[Name][0]) => Promise<Commands[Name][1]> }

export abstract class ClientObject extends DurableObject<Env> {
  #client: SyncClient | undefined
  #received = 0
  readonly #errors: string[] = []
  #mode: CallbackMode = 'take'
  #modeChanged = Promise.withResolvers<void>()
  readonly #pulls = new Map<number, AsyncIterator<unknown>>()

  /** Starts the client of this object. */
  protected abstract start(options: OpenOptions): Promise<SyncClient>

  /** Takes what the sync object calls back with. */
  protected abstract take(...values: readonly unknown[]): Promise<void>

  protected get state(): ObjectState {
    return this.ctx as ObjectState
  }

  /** The sync object of a store. */
  protected syncObject<Stub>(storeId: string): Stub {
    const { SYNC_BACKEND_DO: namespace } = this.env
    return namespace.get(namespace.idFromName(storeId)) as Stub
  }

  /** Called by the sync object. */
  async syncUpdateRpc(...values: readonly unknown[]): Promise<void> {
    this.#received += 1
    const mode = this.#mode
    if (mode === 'never') await this.#modeChanged.promise
    if (mode !== 'take') throw new Error(`this client was told to answer a callback by '${mode}'`)
    try {
      await this.take(...values)
    } catch (error) {
      this.#errors.push(String(error))
      throw error
    }
  }

  override async fetch(request: Request): Promise<Response> {
    const command = new URL(request.url).pathname.split('/').at(-1) ?? ''
    const argument: unknown = await request.json()
    try {
      return command === 'pull'
        ? this.#pull(argument as PullArguments)
        : Response.json(await this.run(command, argument))
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      const { retryable } = Object(error) as { readonly retryable?: boolean }
      return new Response(text, { status: 500, headers: { [retryableHeader]: String(retryable === true) } })
    }
  }

  /** Runs a command other than `pull`. */
  protected async run(command: string, argument: unknown): Promise<unknown> {
    const handler = (this.#handlers as Partial<Record<string, (argument: unknown) => Promise<unknown>>>)[command]
    if (handler === undefined) throw new Error(`no command is called '${command}'`)
    return handler(argument)
  }

  readonly #handlers: Handlers = {
    open: async (options) => {
      this.#client ??= await this.start(options)
      return null
    },
    connect: async () => {
      await this.#opened.connect()
      return null
    },
    push: (batch) => this.#opened.push(batch),
    leave: async (number) => {
      await this.#pulls.get(number)?.return?.()
      return null
    },
    close: async () => {
      await this.#client?.close()
      this.#client = undefined
      return null
    },
    answerCallbacks: async (mode) => {
      this.#mode = mode
      this.#modeChanged.resolve()
      this.#modeChanged = Promise.withResolvers()
      return null
    },
    callbacks: async () => ({ received: this.#received, errors: this.#errors }),
    call: async ({ storeId, request }) => {
      const answer = await this.syncObject<SyncObject>(storeId).rpc(new Uint8Array(Buffer.from(request, 'base64')))
      const chunks: Uint8Array[] = []
      for await (const chunk of answer instanceof Uint8Array ? [answer] : answer) chunks.push(chunk)
      return chunks.map((chunk) => Buffer.from(chunk).toString('base64'))
    },
    crash: async () => {
      this.state.abort('a test asked for it')
      return null
    },
  }

  get #opened(): SyncClient {
    if (this.#client === undefined) throw new Error('the client is not open')
    return this.#client
  }

  /** The pages as lines, as they come: the pull does not wait for whoever reads the answer. */
  #pull({ cursor, mode, number }: PullArguments): Response {
    const pages = this.#opened.pull(cursor, mode)[Symbol.asyncIterator]()
    this.#pulls.set(number, pages)
    const lines = async function* (): AsyncGenerator<PullLine> {
      try {
        for (let next = await pages.next(); next.done !== true; next = await pages.next()) {
          const { remaining } = next.value
          yield { ...next.value, remaining: Number.isFinite(remaining) ? remaining : null }
        }
      } catch (error) {
        yield { refusal: error instanceof PullError ? error.refusal : { error: 'unexpected', message: String(error) } }
      }
    }
    const encoder = new TextEncoder()
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const write = async (): Promise<void> => {
          for await (const line of lines()) controller.enqueue(encoder.encode(`${JSON.stringify(line)}\n`))
          this.#pulls.delete(number)
          controller.close()
        }
        write().catch(() => {}) // nobody reads the answer any more
      },
      cancel: async () => {
        this.#pulls.delete(number)
        await pages.return?.()
      },
    })
    return new Response(body, { headers: { 'Content-Type': 'application/x-ndjson' } })
  }
}
