// The same as classes of the module, as LiveStore's own tests have them.
import { CfDeclare, type CfTypes, matchSyncRequest } from '@livestore/sync-cf/cf-worker'

declare class Response extends CfDeclare.Response {}

export default {
  fetch: async (request: CfTypes.Request): Promise<CfTypes.Response> =>
    matchSyncRequest(request) === undefined ? new Response('not found', { status: 404 }) : new Response(null),
}
