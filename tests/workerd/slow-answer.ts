/** An answer over HTTP that is read when a test wants, not when it comes. */
import { type IncomingMessage, request as send } from 'node:http'
import { within } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import type { Knock } from './knock.ts'
import { httpTarget, overHttp } from './over-http.ts'

/** One that waits for room begins once others have been given up, after ten seconds and more. */
const beginsWithinMs = 30_000

/** The rest of an answer. */
export interface Rest {
  readonly text: string
  /** Whether it was broken off before its end. */
  readonly isCut: boolean
}

export class SlowAnswer {
  readonly #answer: IncomingMessage

  private constructor(answer: IncomingMessage) {
    this.#answer = answer
  }

  /** Resolves once the first bytes of a body are there, which are not read. */
  static async begun(
    server: Pick<Server, 'url'>,
    { method = 'GET', target, headers, body = '' }: Knock,
  ): Promise<SlowAnswer> {
    const { hostname, port } = new URL(server.url)
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      const request = send({ host: hostname, port, method, path: target, agent: false, headers: { ...headers } })
      request.on('error', reject)
      request.on('response', (response) => response.once('readable', () => resolve(response)))
      request.end(body)
    })
    return new SlowAnswer(await within('the answer begins', answer, beginsWithinMs))
  }

  /** The same for a frame of a socket as a request. */
  static toRequest(
    server: Pick<Server, 'url'>,
    storeId: string,
    frame: object,
    payload?: unknown,
  ): Promise<SlowAnswer> {
    const body = JSON.stringify(overHttp(frame))
    return SlowAnswer.begun(server, { method: 'POST', target: httpTarget(storeId, payload), body })
  }

  /** Reads on to the end. */
  async rest(): Promise<Rest> {
    const parts: Buffer[] = []
    const read = async (): Promise<boolean> => {
      for await (const part of this.#answer) parts.push(part as Buffer)
      return !this.#answer.complete
    }
    const isCut = await within(
      'the answer ends',
      read().catch(() => true),
    )
    return { text: String(Buffer.concat(parts)), isCut }
  }

  /** Reads on to the end of what is a list of frames. */
  async frames(): Promise<readonly string[]> {
    const { text, isCut } = await this.rest()
    if (isCut) throw new Error(`the answer was broken off after ${text.length} bytes`)
    return (JSON.parse(text) as readonly object[]).map((frame) => JSON.stringify(frame))
  }

  /** Hangs up. */
  leave(): void {
    this.#answer.destroy()
  }
}
