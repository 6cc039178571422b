/**
 * A hand-written http server that records what a client asks and misbehaves on command, to learn how the client takes it.
 *
 * Owns: one log in memory. It serves just enough of v04 and v05 to keep a client going: pull, push, ping.
 */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type FakeError, FakeLog, failureFor, isError, type RequestId, successFor } from './fake-log.ts'

/** One request that a client sent. */
export interface Asked {
  readonly atMs: number
  readonly rpc: string
  readonly requestId: RequestId
  readonly payload: unknown
}

/** How the server answers a request that it could serve. */
export type Answer =
  | { readonly kind: 'error'; readonly error: FakeError }
  /** An array of these envelopes. */
  | { readonly kind: 'envelopes'; readonly envelopes: (requestId: RequestId) => readonly unknown[] }
  | { readonly kind: 'serve'; readonly afterMs: number }
  | {
      readonly kind: 'status'
      readonly status: number
      readonly body: string
      readonly headers?: Record<string, string>
    }
  /** The connection breaks before there is an answer. */
  | { readonly kind: 'drop' }
  /** The connection breaks in the middle of the answer. */
  | { readonly kind: 'break' }

interface Request {
  readonly id: RequestId
  readonly tag: string
  readonly payload: unknown
}

const exitOf = (requestId: RequestId, exit: unknown): unknown => ({ _tag: 'Exit', requestId, exit })

export class FakeHttpServer {
  readonly seen: Asked[] = []
  readonly store = new FakeLog()
  /** What the next pushes are answered, one each; served without one. */
  readonly pushAnswers: Answer[] = []
  /** What the next pulls are answered, one each; served without one. */
  readonly pullAnswers: Answer[] = []
  readonly pingAnswers: Answer[] = []
  readonly #startedAt = performance.now()
  readonly #server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => this.#receive(JSON.parse(body) as Request, response))
  })

  static async start(): Promise<FakeHttpServer> {
    const server = new FakeHttpServer()
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    return server
  }

  /** As clients are told of it: with `ws:`, whatever the transport. */
  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get nowMs(): number {
    return performance.now() - this.#startedAt
  }

  get pulls(): readonly Asked[] {
    return this.seen.filter(({ rpc }) => rpc === 'SyncHttpRpc.Pull')
  }

  get pushes(): readonly Asked[] {
    return this.seen.filter(({ rpc }) => rpc === 'SyncHttpRpc.Push')
  }

  /** Appends an event of some other client, for the next pull. */
  append(name: string, args: unknown): void {
    this.store.append(name, args)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #receive(request: Request, response: ServerResponse): void {
    const { id, tag, payload } = request
    this.seen.push({ atMs: this.nowMs, rpc: tag, requestId: id, payload })
    const answers =
      tag === 'SyncHttpRpc.Pull' ? this.pullAnswers : tag === 'SyncHttpRpc.Push' ? this.pushAnswers : this.pingAnswers
    const answer = answers.shift() ?? { kind: 'serve', afterMs: 0 }
    switch (answer.kind) {
      case 'drop':
        return void response.socket?.destroy()
      case 'break':
        response.setHeader('Content-Type', 'application/json').setHeader('Transfer-Encoding', 'chunked')
        return void response.write('[{"_tag":', () => response.socket?.destroy())
      case 'status':
        return void response
          .writeHead(answer.status, { 'Content-Type': 'text/plain', ...answer.headers })
          .end(answer.body)
      case 'error':
        return this.#send(response, [exitOf(id, failureFor(id, answer.error))])
      case 'envelopes':
        return this.#send(response, answer.envelopes(id))
      case 'serve':
        if (answer.afterMs === 0) return this.#send(response, this.#serve(request))
        setTimeout(() => this.#send(response, this.#serve(request)), answer.afterMs)
    }
  }

  #serve({ id, tag, payload }: Request): readonly unknown[] {
    if (tag === 'SyncHttpRpc.Pull') {
      const page = this.store.pull(payload)
      if (isError(page)) return [exitOf(id, failureFor(id, page))]
      return [{ _tag: 'Chunk', requestId: id, values: [page] }, exitOf(id, successFor(null))]
    }
    if (tag === 'SyncHttpRpc.Push') {
      const error = this.store.push(payload)
      return [exitOf(id, error === undefined ? successFor({}) : failureFor(id, error))]
    }
    return [exitOf(id, successFor({ _tag: 'SyncMessage.Pong' }))]
  }

  #send(response: ServerResponse, envelopes: readonly unknown[]): void {
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(envelopes))
  }
}
