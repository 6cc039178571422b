/**
 * An HTTP client of generation v04 that costs as little as it can while a section is measured.
 *
 * One connection, which is kept alive, and one request at a time. Sends frames that were encoded before; the answers to
 * pulls are kept unread for a check afterwards.
 */
import { Agent, request as post } from 'node:http'
import type { RequestOptions } from 'node:http'
import { targetOf } from '../tests/harness/raw-client.ts'
import { authToken } from '../tests/harness/server.ts'
import type { Event } from './events.ts'
import { pullFrame, pushFrame } from './frames.ts'
import type { Sender } from './frames.ts'

interface Envelope {
  readonly _tag: string
  readonly requestId: string
  readonly exit: { readonly _tag: string }
}

/** A server may close a connection that is idle for seconds, as between two parts of a section, but no other. */
const connectionsMax = 4

export class HttpClient {
  readonly storeId: string
  private readonly sender: Sender
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 1 })
  private readonly options: RequestOptions
  private connections = 0

  constructor(url: string, storeId: string, token = authToken) {
    const { hostname, port } = new URL(url)
    this.storeId = storeId
    this.sender = { rpc: 'SyncHttpRpc', storeId, token }
    this.options = {
      agent: this.agent,
      method: 'POST',
      hostname,
      port,
      path: targetOf({ storeId, payload: { authToken: token }, transport: 'http' }),
      // Those of the real client.
      headers: {
        'content-type': 'application/json',
        'x-livestore-store-id': storeId,
        b3: 'd0fbd1026fcce26a6d45aef589fd7b5a-47962bf9cadfb593-1-c2f8315c0b8ec962',
        traceparent: '00-d0fbd1026fcce26a6d45aef589fd7b5a-47962bf9cadfb593-01',
        accept: '*/*',
        'user-agent': 'node',
      },
    }
  }

  /** The text of a Push request of this client. */
  pushFrame(id: number, batch: readonly Event[], backendId: string): string {
    return pushFrame(id, this.sender, batch, backendId)
  }

  /** Sends a frame of `pushFrame` and resolves once the server has acknowledged it. */
  async push(id: number, frame: string): Promise<void> {
    const answer = (await this.ask(frame)).toString()
    const [exit, ...more] = JSON.parse(answer) as readonly Envelope[]
    const isExit = exit?._tag === 'Exit' && exit.requestId === String(id) && more.length === 0
    if (!isExit || exit.exit._tag !== 'Success') throw new Error(`refused: ${answer.slice(0, 500)}`)
  }

  /** Pulls the whole log and resolves with the answer as it came. */
  pull(id: number): Promise<Buffer> {
    return this.ask(pullFrame(id, this.sender, false))
  }

  /** Ends the connection; throws if the server did not keep it alive while it was in use. */
  close(): void {
    this.agent.destroy()
    if (this.connections > connectionsMax) throw new Error(`${this.connections} connections instead of one`)
  }

  private ask(frame: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const request = post(this.options, (response) => {
        const parts: Buffer[] = []
        if (!request.reusedSocket) this.connections += 1
        response.on('error', reject)
        response.on('data', (part: Buffer) => parts.push(part))
        response.on('end', () => {
          const body = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
          if (response.statusCode === 200) resolve(body)
          else reject(new Error(`answered with ${response.statusCode}: ${body.toString().slice(0, 500)}`))
        })
      })
      request.on('error', reject)
      request.end(frame)
    })
  }
}
