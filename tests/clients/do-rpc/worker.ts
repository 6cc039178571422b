/** The Worker whose Durable Objects are sync clients: `POST /<generation>/<name of an object>/<command>`. */
import type { Env } from './client-object.ts'

export { StoreClient } from '../v04/do-rpc-object.ts'
export { RpcClientV05 } from '../v05/do-rpc-object.ts'

export default {
  fetch: async (request: Request, env: Env): Promise<Response> => {
    const [, generation, name = ''] = new URL(request.url).pathname.split('/')
    const namespace = generation === 'v04' ? env.CLIENT_V04 : env.CLIENT_V05
    return namespace.get(namespace.idFromName(name)).fetch(request)
  },
}
