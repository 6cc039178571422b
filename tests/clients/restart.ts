/** A server that can go down and come back: same storage folder, same port, so that clients find it again. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Backend, type Server, startServer } from '../harness/server.ts'

export class Host {
  readonly #backend: Backend
  readonly #storage = mkdtempSync(join(tmpdir(), 'clients-'))
  #server: Server | undefined
  #port = 0

  private constructor(backend: Backend) {
    this.#backend = backend
  }

  /** Runs `scenario` with a server of its own, and removes every trace of it whatever happens. */
  static async with(backend: Backend, scenario: (host: Host) => Promise<void>): Promise<void> {
    const host = new Host(backend)
    try {
      await host.start()
      await scenario(host)
    } finally {
      await host.stop()
      rmSync(host.#storage, { recursive: true, force: true })
    }
  }

  /** `ws://127.0.0.1:PORT`, the same in every life. */
  get wsUrl(): string {
    return `ws://127.0.0.1:${this.#port}`
  }

  /** The server of this life. */
  get server(): Server {
    if (this.#server === undefined) throw new Error('the server is down')
    return this.#server
  }

  async start(): Promise<void> {
    if (this.#server !== undefined) throw new Error('the server runs already')
    this.#server = await startServer({ backend: this.#backend, storage: this.#storage, port: this.#port })
    this.#port = Number(new URL(this.#server.url).port)
  }

  /** Ends the server in order, if it runs. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.stop()
  }

  /** Ends the server with SIGKILL. */
  async kill(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.kill()
  }
}
