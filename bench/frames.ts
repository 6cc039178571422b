/**
 * The texts of requests of generation v04, as its clients write them over either transport.
 *
 * Knows nothing of connections.
 */
import type { Event } from './events.ts'

/** The group of requests of a transport. */
export type Rpc = 'SyncWsRpc' | 'SyncHttpRpc'

/** Who asks, and where. */
export interface Sender {
  readonly rpc: Rpc
  readonly storeId: string
  readonly token: string
}

/** Trace fields in the shape of those that real clients send without a tracer. */
const trace = {
  traceId: 'livestore-noop-trace-id0123456789abcdefghijklmno',
  spanId: 'livestore-noop-span-id0123456789abcdefghijklmno',
  sampled: false,
  headers: [],
}

/** The text of a request; `fields` are what its payload has beside the store and the token. */
const frame = (id: number, { rpc, storeId, token }: Sender, request: 'Push' | 'Pull', fields: object): string =>
  JSON.stringify({
    _tag: 'Request',
    id: String(id),
    tag: `${rpc}.${request}`,
    payload: { storeId, payload: { authToken: token }, ...fields },
    ...trace,
  })

/** The text of a Push request. */
export const pushFrame = (id: number, sender: Sender, batch: readonly Event[], backendId: string): string =>
  frame(id, sender, 'Push', { batch, backendId: { _tag: 'Some', value: backendId } })

/** The text of a Pull request for the whole log. Over http no pull is live, and none says so. */
export const pullFrame = (id: number, sender: Sender, live: boolean): string =>
  frame(id, sender, 'Pull', { ...(sender.rpc === 'SyncWsRpc' ? { live } : {}), cursor: { _tag: 'None' } })
