/** One Durable Object of the client Worker, driven from outside. */
import type { Server } from '../../harness/server.ts'
import type { StoreCommands } from '../v04/do-rpc-object.ts'
import { eventually } from '../waiting.ts'
import type { CallbackMode, Callbacks, Commands, PullArguments } from './client-object.ts'

/** The generations that have a do-rpc client. */
export type DoRpcGeneration = 'v04' | 'v05'

type AllCommands = Commands & StoreCommands

let objects = 0

/** A name that no other object of this process has. */
const freshName = (): string => `client-${process.pid}-${(objects += 1)}`

/** An object's answer that it could not do as it was told. */
export class CommandError extends Error {
  /** Whether the platform is told that another try may succeed. */
  readonly isRetryable: boolean

  constructor(message: string, isRetryable: boolean) {
    super(message)
    this.isRetryable = isRetryable
  }
}

export class RemoteObject {
  readonly generation: DoRpcGeneration
  readonly name: string
  readonly #url: string

  constructor(server: Server, generation: DoRpcGeneration, name = freshName()) {
    if (server.doRpcUrl === undefined) throw new Error('the server was started without `doRpcClients`')
    this.#url = `${server.doRpcUrl}/${generation}/${name}`
    this.generation = generation
    this.name = name
  }

  /** Runs a command; rejects if the object fails at it. */
  async run<Name extends keyof AllCommands>(
    command: Name,
    argument: AllCommands[Name][0],
  ): Promise<AllCommands[Name][1]> {
    const response = await this.#post(command, argument)
    return (await response.json()) as AllCommands[Name][1]
  }

  /** The answer to `pull`: lines of JSON. */
  async pull(options: PullArguments, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const { body } = await this.#post('pull', options, signal)
    if (body === null) throw new Error('a pull is answered by a stream')
    return body
  }

  /** What the sync object has called back with so far. */
  callbacks(): Promise<Callbacks> {
    return this.run('callbacks', null)
  }

  /** Says what the object does from now on when the sync object calls it back. */
  async answerCallbacks(mode: CallbackMode): Promise<void> {
    await this.run('answerCallbacks', mode)
  }

  /** Calls the sync object of a store with these bytes, and resolves with what it returns: its chunks, if it streams. */
  async call(storeId: string, request: Uint8Array): Promise<readonly Uint8Array[]> {
    const chunks = await this.run('call', { storeId, request: Buffer.from(request).toString('base64') })
    return chunks.map((chunk) => new Uint8Array(Buffer.from(chunk, 'base64')))
  }

  /** Ends the object as a crash would: whatever it had in memory is gone, and the next command starts it anew. */
  async crash(): Promise<void> {
    await this.run('crash', null).catch(() => {})
    await eventually(`${this.name} is there again`, () => this.callbacks().then(({ received }) => received === 0))
  }

  async #post(command: string, argument: unknown, signal?: AbortSignal): Promise<Response> {
    const response = await fetch(`${this.#url}/${command}`, {
      method: 'POST',
      body: JSON.stringify(argument),
      ...(signal === undefined ? {} : { signal }),
    })
    if (response.ok) return response
    const message = `${command} of ${this.generation}/${this.name}: ${await response.text()}`
    throw new CommandError(message, response.headers.get('x-retryable') === 'true')
  }
}
