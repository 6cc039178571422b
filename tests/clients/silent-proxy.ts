/**
 * A network between client and server that can fall silent, so that connections stay open and nothing gets through any
 * more, or be cut.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class SilentProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #accepted = 0
  #isCut = false

  private constructor(server: Server) {
    this.#server = server
  }

  /** Starts a proxy to `port` of this machine. */
  static async start(port: number): Promise<SilentProxy> {
    const server = createServer({ allowHalfOpen: true })
    const proxy = new SilentProxy(server)
    server.on('connection', (client) => proxy.#join(client, connect(port, '127.0.0.1')))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Connections taken so far. */
  get accepted(): number {
    return this.#accepted
  }

  /** Nothing of the present connections gets through from now on; later connections are not affected. */
  fallSilent(): void {
    for (const socket of this.#sockets) socket.removeAllListeners('data').pause()
  }

  /** Ends all connections, and every later one until it is mended. */
  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#isCut = false
  }

  async stop(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(client: Socket, server: Socket): void {
    if (this.#isCut) {
      client.destroy()
      server.destroy()
      return
    }
    this.#accepted += 1
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from)
      from.on('data', (data) => to.write(data))
      from.on('end', () => to.end())
      from.on('error', () => to.destroy())
      from.on('close', () => this.#sockets.delete(from))
    }
  }
}
