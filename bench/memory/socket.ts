/** Opening a socket to a store, past the runtime's development router: what that keeps would count as the server's. */
import { WebSocket } from 'ws'
import { targetOf } from '../../tests/harness/raw-client.ts'
import type { Generation } from '../../tests/workerd/peer.ts'

const handshakeMs = 10_000

/** The socket, not yet open: a frame may come in the same packet as the answer to the upgrade. */
export const startSocket = (url: string, generation: Generation, storeId: string): WebSocket => {
  const door = generation === 'v03' ? { path: '/websocket', transport: undefined } : {}
  return new WebSocket(url.replace(/^http/, 'ws') + targetOf({ storeId, ...door }), {
    perMessageDeflate: false,
    handshakeTimeout: handshakeMs,
    skipUTF8Validation: true,
  })
}

/** Resolves once the server has accepted `socket`; rejects when it does not. */
export const opened = (socket: WebSocket): Promise<void> =>
  new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
