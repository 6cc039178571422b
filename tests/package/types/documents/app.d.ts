// What examples in documents leave to the app.
import type { CallbackContext, PushRequest, ValidatePayloadContext } from 'livestore-sync-worker/cf-worker'

declare global {
  interface Env {
    SYNC_BACKEND_DO: DurableObjectNamespace
  }
  const app: { fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> }
  const findSession: (cookie: string | undefined) => Promise<{ readonly stores: readonly string[] } | undefined>
  const onPush: (message: PushRequest, context: CallbackContext) => void
  const validatePayload: (payload: unknown, context: ValidatePayloadContext) => void
}
