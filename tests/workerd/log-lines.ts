/** What the Worker has logged about one store. Servers that are asked this run with `LOG_LEVEL=debug`. */
import { freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { Peer } from './peer.ts'

export interface Line {
  readonly level: string
  readonly event: string
  readonly storeId: string
  readonly message?: string
  readonly generation?: string
  readonly transport?: string
  readonly traceId?: string
  readonly reason?: string
}

const parse = (text: string): Line | undefined => {
  try {
    return JSON.parse(text) as Line
  } catch {
    return undefined // a line of the runtime's own
  }
}

/** Every line about `storeId` that was logged before this call. */
export const linesOf = async (server: Server, storeId: string): Promise<readonly Line[]> => {
  // Lines arrive in order, but later than frames: what stands before the line of a new store is complete.
  const marker = freshStoreId()
  const peer = await Peer.connect(server, 'v04', marker)
  const lines = await eventually('a new store is logged', () => {
    const seen = server.logs.map(parse).filter((line) => line !== undefined)
    return seen.some((line) => line.storeId === marker && line.event === 'opened') && seen
  })
  peer.client.terminate()
  return lines.filter((line) => line.storeId === storeId)
}

/**
 * The number of sockets that the object of `storeId` found each time it was built: first when the store was addressed,
 * and again after each eviction.
 */
export const startsOf = async (server: Server, storeId: string): Promise<readonly number[]> =>
  (await linesOf(server, storeId))
    .filter((line) => line.event === 'opened')
    .map((line) => Number(/(\d+) sockets/.exec(line.message!)?.[1] ?? Number.NaN))
