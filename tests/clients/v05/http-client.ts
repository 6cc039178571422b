/** Generation v05: an Effect 4 RPC client over http, speaking the messages of upstream after 0.4.0. */
import { Effect, Layer, Schedule, Scope, Stream } from 'effect'
import { FetchHttpClient, HttpClient, HttpClientRequest } from 'effect/http'
import { RpcClient, RpcSerialization } from 'effect/rpc'
import { targetOf } from '../../harness/raw-client.ts'
import { httpUrlOf, type MakeClient, pollEveryMs } from '../client.ts'
import { SyncHttpRpc } from './messages.ts'
import { syncClient } from './sync-client.ts'

/** Starts one client. */
export const makeClient: MakeClient = async (options) => {
  const { storeId, payload } = options
  const scope = await Effect.runPromise(Scope.make())
  const query = new URL(targetOf({ storeId, payload, transport: 'http' }), 'http://localhost').searchParams
  const protocol = RpcClient.layerProtocolHttp({
    url: httpUrlOf(options.url),
    transformClient: HttpClient.mapRequest((request) =>
      request.pipe(
        HttpClientRequest.setUrlParams(query),
        // Upstream's client names the store here, too, which makes browsers ask for leave first.
        HttpClientRequest.setHeader('x-livestore-store-id', storeId),
      ),
    ),
  }).pipe(Layer.provide(FetchHttpClient.layer), Layer.provide(RpcSerialization.layerJson))
  const rpc = await Layer.build(protocol).pipe(
    Effect.flatMap((services) => RpcClient.make(SyncHttpRpc).pipe(Effect.provide(services))),
    Scope.provide(scope),
    Effect.runPromise,
  )
  return syncClient(
    {
      transport: 'http',
      connect: () => Effect.runPromise(Effect.asVoid(rpc['SyncHttpRpc.Ping']({ storeId, payload }))),
      push: (batch, backendId) => rpc['SyncHttpRpc.Push']({ storeId, payload, batch, backendId }),
      pullOnce: (cursor) => rpc['SyncHttpRpc.Pull']({ storeId, payload, cursor }),
      pullLive: (cursor) =>
        Stream.suspend(() => rpc['SyncHttpRpc.Pull']({ storeId, payload, cursor: cursor() })).pipe(
          Stream.repeat(Schedule.spaced(pollEveryMs)),
        ),
    },
    options,
    scope,
  )
}
