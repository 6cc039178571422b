/** Generation v05: an Effect 4 RPC client over a WebSocket, speaking the messages of upstream after 0.4.0. */
import { Effect, Layer, Scope, Stream } from 'effect'
import { RpcClient, RpcSerialization } from 'effect/rpc'
import { Socket } from 'effect/socket'
import { targetOf } from '../../harness/raw-client.ts'
import type { MakeClient } from '../client.ts'
import { SyncWsRpc } from './messages.ts'
import { type Cursor, syncClient } from './sync-client.ts'

/** Whether there is a connection, and the wait for the next one. */
class Connection {
  #isUp = false
  #waiting: Array<() => void> = []

  up(): void {
    this.#isUp = true
    for (const resume of this.#waiting.splice(0)) resume()
  }

  down(): void {
    this.#isUp = false
  }

  async whenUp(): Promise<void> {
    if (!this.#isUp) await new Promise<void>((resume) => this.#waiting.push(resume))
  }
}

/** Starts one client; it connects by itself and goes on reconnecting until it is closed. */
export const makeClient: MakeClient = async (options) => {
  const { storeId, payload } = options
  const scope = await Effect.runPromise(Scope.make())
  const connection = new Connection()
  const protocol = RpcClient.layerProtocolSocket({ retryTransientErrors: true, pingInterval: '10 seconds' }).pipe(
    Layer.provide(Socket.layerWebSocket(options.url + targetOf(options))),
    Layer.provide(Socket.layerWebSocketConstructorGlobal),
    Layer.provide(RpcSerialization.layerJson),
    Layer.provide(
      Layer.succeed(RpcClient.ConnectionHooks)({
        onConnect: Effect.sync(() => connection.up()),
        onDisconnect: Effect.sync(() => connection.down()),
      }),
    ),
  )
  const rpc = await Layer.build(protocol).pipe(
    Effect.flatMap((services) => RpcClient.make(SyncWsRpc).pipe(Effect.provide(services))),
    Scope.provide(scope),
    Effect.runPromise,
  )
  // While it is disconnected this RPC client fails every call at once, so a pull waits for the connection.
  const pull = (live: boolean, cursor: Cursor) =>
    Stream.unwrap(
      Effect.promise(() => connection.whenUp()).pipe(
        Effect.map(() => rpc['SyncWsRpc.Pull']({ storeId, payload, live, cursor })),
      ),
    )
  return syncClient(
    {
      transport: 'ws',
      connect: () => connection.whenUp(),
      push: (batch, backendId) => rpc['SyncWsRpc.Push']({ storeId, payload, batch, backendId }),
      pullOnce: (cursor) => pull(false, cursor),
      pullLive: (cursor) => pull(true, cursor()),
    },
    options,
    scope,
  )
}
