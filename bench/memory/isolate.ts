/**
 * What V8 holds for one Worker and its Durable Objects, through the runtime's inspector.
 *
 * Needs a server with `inspector`, started while `isolateFlags` are among the flags of V8.
 */
import { WebSocket } from 'ws'
import type { Server } from '../../tests/harness/server.ts'

/**
 * Makes `gc` callable from the inspector, which by itself changes nothing about when garbage is collected. V8 has for its
 * heap what an isolate on Cloudflare can have: 128 MB less what WebAssembly and buffers take. Else it would let garbage lie as the memory of
 * the machine allows.
 */
export const isolateFlags = '--expose-gc --max-heap-size=96'

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly context?: { readonly id: number } }
  readonly result?: {
    readonly usedSize: number
    readonly backingStorageSize: number
    readonly exceptionDetails?: unknown
  }
  readonly error?: { readonly message: string }
}

/** A conversation with the inspector of one isolate. */
class Inspector {
  contextId: number | undefined
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, (message: Message) => void>()
  #calls = 0

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data) => {
      const message = JSON.parse(String(data)) as Message
      if (message.method === 'Runtime.executionContextCreated') this.contextId = message.params?.context?.id
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message)
    })
  }

  async call(method: string, params: object = {}): Promise<NonNullable<Message['result']>> {
    const id = (this.#calls += 1)
    const { error, result } = await new Promise<Message>((resolve) => {
      this.#waiting.set(id, resolve)
      this.#socket.send(JSON.stringify({ id, method, params }))
    })
    if (result === undefined || result.exceptionDetails !== undefined) {
      throw new Error(`${method}: ${error?.message ?? JSON.stringify(result)}`)
    }
    return result
  }
}

/** Collects the garbage of the Worker called `worker`, and resolves with the MiB that V8 holds for it after that. */
export const collectGarbage = async (server: Server, worker: string): Promise<number> => {
  const { host } = await server.miniflare.getInspectorURL()
  const socket = new WebSocket(`ws://${host}/core:user:${worker}`)
  await new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  try {
    const inspector = new Inspector(socket)
    await inspector.call('Runtime.enable')
    // What one pass finalises, the next one frees.
    await inspector.call('Runtime.evaluate', { expression: 'gc(), gc()', contextId: inspector.contextId })
    const { usedSize, backingStorageSize } = await inspector.call('Runtime.getHeapUsage')
    return (usedSize + backingStorageSize) / 2 ** 20
  } finally {
    socket.terminate()
  }
}
