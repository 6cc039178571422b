/** Generation v05: a Durable Object with a do-rpc client. */
import type { SyncClient } from '../client.ts'
import { ClientObject, type OpenOptions, type SyncObject } from '../do-rpc/client-object.ts'
import { DoRpcClient } from './do-rpc-client.ts'

/** The binding by which a sync object reaches this class. */
const ownBinding = 'CLIENT_V05'

export class RpcClientV05 extends ClientObject {
  #started: DoRpcClient | undefined

  protected override async start(options: OpenOptions): Promise<SyncClient> {
    const syncObject = this.syncObject<SyncObject>(options.storeId)
    const { bindingName = ownBinding } = options
    this.#started = await DoRpcClient.start({
      ...options,
      call: (request) => syncObject.rpc(request),
      callerContext: { bindingName, durableObjectId: this.state.id.toString() },
    })
    return this.#started.client
  }

  protected override async take(...values: readonly unknown[]): Promise<void> {
    this.#started?.take(values[0], values[1])
  }
}
