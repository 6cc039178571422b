/** The network between one profile and the sync backend, which can be cut: what is open breaks, and nothing new gets through. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class Network {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false

  private constructor(server: Server) {
    this.#server = server
  }

  /** Leads to `port` of this machine. */
  static async to(port: number): Promise<Network> {
    const server = createServer()
    const network = new Network(server)
    server.on('connection', (client) => network.#join(client, port))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return network
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(): void {
    this.#isCut = true
    this.#breakAll()
  }

  mend(): void {
    this.#isCut = false
  }

  async stop(): Promise<void> {
    this.#breakAll()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #breakAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(client: Socket, port: number): void {
    if (this.#isCut) return void client.destroy()
    const server = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }
}
