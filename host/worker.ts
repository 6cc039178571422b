/**
 * The whole Worker, for those who write no code: variables and secrets say everything.
 */
import { outlive, unavailable, workerOf } from './core.ts'
import { makeDurableObject } from './durable-object.ts'
import { inspect } from './inspect.ts'
import type { Variables } from './settings.ts'

/** The sync backend of one store: owns its event log, its sockets and their subscriptions. */
export class SyncBackendDO extends makeDurableObject() {}

/** The same class under the name that 0.3 deployments gave it. */
export class WebSocketServer extends SyncBackendDO {}

/** What is said beside the variables of the deployment: nothing. */
const nothing: Variables = {}

export default {
  /** Routes a request: to its store's object, or to an answer that says what is wrong with it. */
  fetch: (request: Request, env: object): Response | Promise<Response> =>
    inspect(request, env, nothing) ??
    outlive<Response>(() => workerOf(env, nothing)().fetch(request, undefined), unavailable),
}
