/** A network that breaks: it leads to a server, and cuts connections where a test says so. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Server } from '../harness/server.ts'

/** A place: on the connection on which `request` is made, once so many bytes more have gone that way. */
export interface Place {
  /** In the request's first line: `POST /admin/v1/stores/a/import`. */
  readonly request: string
  readonly way: 'up' | 'down'
  readonly afterBytes: number
}

export class Proxy {
  readonly #listener = createServer((socket) => this.#lead(socket))
  readonly #target: { readonly host: string; readonly port: number }
  readonly #open = new Set<Socket>()
  readonly #places: Array<Place & { readonly then: 'cut' | 'hold' }> = []
  readonly #held = new Set<Socket>()
  #port = 0
  /** The first line of each request. */
  readonly seen: string[] = []
  /** How many connections were cut as was told. */
  cuts = 0

  private constructor({ url }: Pick<Server, 'url'>) {
    const { hostname, port } = new URL(url)
    this.#target = { host: hostname, port: Number(port) }
  }

  static async to(server: Pick<Server, 'url'>): Promise<Proxy> {
    const proxy = new Proxy(server)
    await proxy.up()
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Cuts a connection there, once. */
  cut(place: Place): void {
    this.#places.push({ ...place, then: 'cut' })
  }

  /** Lets nothing more through there, until {@link goOn}. */
  hold(place: Place): void {
    this.#places.push({ ...place, then: 'hold' })
  }

  /** Lets through what is held. */
  goOn(): void {
    for (const socket of this.#held) socket.resume()
    this.#held.clear()
  }

  /** Cuts all connections that are open. */
  cutAll(): void {
    for (const socket of this.#open) socket.destroy()
  }

  /** Takes connections, on the port that it had. */
  async up(): Promise<void> {
    this.#listener.listen(this.#port, '127.0.0.1')
    await once(this.#listener, 'listening')
    this.#port = (this.#listener.address() as AddressInfo).port
  }

  /** Cuts all, and takes no more. */
  async down(): Promise<void> {
    const closed = once(this.#listener, 'close')
    this.#listener.close()
    this.cutAll()
    await closed
  }

  #lead(socket: Socket): void {
    const target = connect(this.#target)
    const ends = [socket, target]
    for (const end of ends) {
      this.#open.add(end)
      // An end that breaks closes, too.
      end.on('error', () => {})
      end.on('close', () => {
        this.#open.delete(end)
        this.#held.delete(end)
        for (const other of ends) other.destroy()
      })
    }
    let place: (Place & { readonly then: 'cut' | 'hold' }) | undefined
    let left = 0
    /** What becomes of the connection behind these bytes. */
    const passed = (way: Place['way'], piece: Buffer): 'cut' | 'hold' | undefined => {
      const [first] = /^[A-Z]+ \S+ HTTP\/1\.1$/m.exec(way === 'up' ? piece.toString('latin1', 0, 8_192) : '') ?? []
      if (first !== undefined) this.seen.push(first)
      const begins = way === 'up' ? this.#places.findIndex(({ request }) => piece.includes(request)) : -1
      if (begins >= 0) {
        ;[place] = this.#places.splice(begins, 1)
        left = place?.afterBytes ?? 0
      }
      if (place?.way !== way) return undefined
      left -= piece.length
      if (left >= 0) return undefined
      const { then } = place
      place = undefined
      return then
    }
    const lead = (from: Socket, to: Socket, way: Place['way']): void => {
      from.on('data', (piece: Buffer) => {
        const then = passed(way, piece)
        if (then === 'cut') {
          this.cuts += 1
          for (const end of ends) end.destroy()
          return
        }
        const hasRoom = to.write(piece)
        if (then === 'hold') this.#held.add(from.pause())
        else if (!hasRoom) {
          from.pause()
          to.once('drain', () => this.#held.has(from) || from.resume())
        }
      })
      from.on('end', () => to.end())
    }
    lead(socket, target, 'up')
    lead(target, socket, 'down')
  }
}
