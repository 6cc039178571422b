/** The ways by which a client can push: a dialect and what carries it, with the answer of each in one line. */
import assert from 'node:assert/strict'
import type { Transport } from '../clients/client.ts'
import { CommandError, type DoRpcGeneration } from '../clients/do-rpc/remote-object.ts'
import type { Server } from '../harness/server.ts'
import { lineOf } from './answers.ts'
import { call } from './over-do-rpc.ts'
import { framesIn, post } from './over-http.ts'
import { type Generation, generations, Peer, pushFrame, rpcGenerations } from './peer.ts'

export interface Way {
  readonly generation: Generation
  readonly transport: Transport
}

/** Those of sockets and of HTTP. */
export const ways: readonly Way[] = [
  ...generations.map((generation) => ({ generation, transport: 'ws' as const })),
  ...rpcGenerations.map((generation) => ({ generation, transport: 'http' as const })),
]

/** Those, and the calls of Durable Objects, for servers that were started with `doRpcClients`. */
export const allWays: readonly Way[] = [
  ...ways,
  ...rpcGenerations.map((generation) => ({ generation, transport: 'do-rpc' as const })),
]

/** A line of `lineOf` without the request that it answers. */
const plain = (generation: Generation, frame: string): string =>
  lineOf(generation, frame).replace(/^(\S+) \S+?(:|$)/, '$1$2')

/** The answer to a push on a connection; how it was closed, where that is the answer. */
export const answerOn = async (peer: Peer, batch: unknown): Promise<string> => {
  try {
    return plain(peer.generation, JSON.stringify((await peer.pushed(batch)).answer))
  } catch (error) {
    const { ended } = peer.client
    if (ended === undefined) throw error
    return `closed ${ended.code}: ${ended.reason}`
  }
}

const only = (frames: readonly string[]): string => {
  const [frame, ...more] = frames
  assert.ok(frame !== undefined)
  assert.deepEqual(more, [])
  return frame
}

/** The answer to a push by a request of its own, in one line. */
export const pushBy = async (
  server: Server,
  { generation, transport }: Way,
  storeId: string,
  batch: unknown,
  payload?: unknown,
): Promise<string> => {
  const frame = pushFrame(generation, 1, storeId, batch)
  if (transport === 'http') {
    const answer = await post(server, storeId, frame, payload)
    if (answer.status === 200) return plain(generation, only(framesIn(answer)))
    assert.match(answer.headers['content-type'] ?? '', /^text\/plain\b/)
    return `${answer.status}, again after ${answer.headers['retry-after']} s: ${answer.body}`
  }
  if (transport === 'do-rpc') {
    try {
      return plain(generation, only(await call(server, generation as DoRpcGeneration, storeId, frame)))
    } catch (error) {
      const isRetryable = error instanceof CommandError && error.isRetryable
      return `rejected${isRetryable ? ', again' : ''}: ${String(error)}`
    }
  }
  const peer = await Peer.connect(server, generation, storeId, payload === undefined ? {} : { payload })
  try {
    return await answerOn(peer, batch)
  } finally {
    peer.client.terminate()
  }
}

export const isStored = (line: string): boolean => /^(Success: \{\}|WSMessage\.PushAck)$/.test(line)

/** Asserts that a line is a refusal that every generation can read, and returns its words. */
export const refusedIn = (line: string): string => {
  const words = /^(?:UnknownError|Error): (.+)$/s.exec(line)?.[1]
  assert.ok(words !== undefined, line)
  return words
}

/** What a push is answered that is refused now and may be done later. */
export interface Later {
  /** To a client that does best with words. */
  readonly words: string
  /** To one that does best with a connection that fails. */
  readonly reason: string
}

/** Asserts that the answer to a push by `way` has its client push again. */
export const assertLater = (way: Way, line: string, { words, reason }: Later): void => {
  const { generation, transport } = way
  if (transport === 'http') assert.equal(line, `503, again after 1 s: ${reason}`)
  else if (transport === 'do-rpc' && generation === 'v05')
    assert.ok(line.startsWith('rejected, again: ') && line.includes(reason), line)
  else if (transport === 'ws' && generation !== 'v03') assert.equal(line, `closed 1013: ${reason}`)
  else assert.equal(refusedIn(line), words)
}
