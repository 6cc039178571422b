// What examples in documents leave to the app.
import type { CallbackContext, PushRequest, ValidatePayloadContext } from 'livestore-sync-worker/cf-worker'

declare global {
  interface Env {
    SYNC_BACKEND_DO: DurableObjectNamespace
  }
  /** What `Handle` of `@sveltejs/kit` is called with. */
  interface SvelteKitHook {
    readonly event: SvelteKitEvent
    resolve(event: SvelteKitEvent): Promise<Response>
  }
  interface SvelteKitEvent {
    readonly request: Request
    readonly url: URL
    readonly platform: { readonly env: Env; readonly ctx: ExecutionContext } | undefined
  }
  const app: { fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> }
  const adapter: any
  const authOf: (env: Env) => {
    readonly api: {
      getSession(options: { readonly headers: Headers }): Promise<{ readonly user: { readonly id: string } } | null>
    }
  }
  const currentToken: () => Promise<string>
  const findSession: (cookie: string | undefined) => Promise<{ readonly stores: readonly string[] } | undefined>
  var location: { readonly origin: string }
  const onPush: (message: PushRequest, context: CallbackContext) => void
  const schema: any
  const storesOf: (userId: string) => Promise<readonly string[]>
  const validatePayload: (payload: unknown, context: ValidatePayloadContext) => void
}
