// The whole Worker, extended by what else an app does.
import worker, { SyncBackendDO, WebSocketServer } from 'livestore-sync-worker/worker'

export { SyncBackendDO, WebSocketServer }
export class Own extends SyncBackendDO {}

export default {
  fetch: (request: Request, env: object): Response | Promise<Response> =>
    new URL(request.url).pathname === '/health' ? new Response('ok') : worker.fetch(request, env),
}
