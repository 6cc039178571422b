/**
 * The Worker's half: which requests are to sync, who may, and handing them to the object of their store.
 */
import { env as importedEnv } from 'cloudflare:workers'
import type * as CfTypes from '@cloudflare/workers-types'
import { core, outlive, unavailable, workerOf } from './core.ts'
import { settled } from './effect.ts'
import { type Host, once } from './hooks.ts'
import { inspect } from './inspect.ts'
import { decode } from './schema.ts'
import { checkNames, hasPolicy, isPolicySet, type Variables, variablesOf, withoutPolicy } from './settings.ts'
import type {
  AnyRequest,
  CFWorker,
  Context,
  DurableObjectKeys,
  Env,
  JsonValue,
  MakeWorkerOptions,
  SearchParams,
  Settings,
  ValidateContext,
  ValidateOptions,
} from './types.ts'

/** The options that are no settings. */
const optionNames: readonly string[] = [
  'syncBackendBinding',
  'syncPayloadSchema',
  'validatePayload',
  'enableCORS',
  'durableObject',
]

/** A request, and who asks to handle it. */
interface Call {
  readonly request: Request
  readonly env: object
  readonly ctx: CfTypes.ExecutionContext
}

/** What the core knows of a request that `validatePayload` is asked about. */
interface About {
  readonly storeId: string
  readonly payload: JsonValue | null
  readonly claims: ValidateContext['claims'] | null
  readonly transport: ValidateContext['transport']
}

/** What the core calls for one request. */
const hostOf = ({ request, env, ctx }: Call, options: ValidateOptions<any>): Host => {
  const { validatePayload, syncPayloadSchema } = options
  const validate = async (payload: unknown, context: ValidateContext): Promise<void> => {
    const decoded = syncPayloadSchema === undefined ? payload : await decode(syncPayloadSchema, payload)
    await settled(validatePayload?.(decoded, context))
  }
  return {
    uses: validatePayload === undefined && syncPayloadSchema === undefined ? [] : ['validatePayload'],
    keepsPayload: true,
    responseHeaders: [],
    validatePayload: (about) => {
      const { storeId, payload, claims, transport } = JSON.parse(about) as About
      const headers = once(() => new Map(request.headers))
      return validate(payload ?? undefined, {
        storeId,
        get headers() {
          return headers()
        },
        env,
        ctx,
        request: request as unknown as CfTypes.Request,
        waitUntil: (promise) => ctx.waitUntil(promise),
        ...(claims === null ? {} : { claims }),
        transport,
      })
    },
  }
}

/** Whether the environment lists the pages that may connect. */
const hasOrigins = (env: { readonly ALLOWED_ORIGINS?: unknown }): boolean => Boolean(env.ALLOWED_ORIGINS)

/** What options say to the core. `isFrontDoor` tells whether nobody else has looked at the request. */
const variables = (
  options: Settings & ValidateOptions<any>,
  more: Variables,
  env: object,
  isFrontDoor: boolean,
): Variables => {
  const own = variablesOf(options, env)
  const isDecided = hasPolicy(options)
  const isOpen = !isDecided && (options.validatePayload !== undefined || (!isFrontDoor && !isPolicySet(env as never)))
  const policy = isDecided ? withoutPolicy() : isOpen ? { ...withoutPolicy(), ALLOW_ANONYMOUS: 'true' } : {}
  // As sync-cf has it, who may sync is said by the app, and not by where its pages are.
  const isAnywhere = isOpen && !hasOrigins(env)
  return { ...policy, ...(isAnywhere ? { ALLOWED_ORIGINS: '*' } : {}), ...more, ...own }
}

const handle = (call: Call, options: ValidateOptions<any>, variables: Variables): Response | Promise<Response> => {
  const worker = workerOf(call.env, variables)
  return outlive<Response>(() => worker().fetch(call.request, hostOf(call, options)), unavailable)
}

/** The same answer with these headers, if somebody can read it. */
const withHeaders = async (
  answer: Response | Promise<Response>,
  headers: HeadersInit | undefined,
): Promise<Response> => {
  const response = await answer
  const added = [...new Headers(headers)]
  if (added.length === 0 || response.status === 101) return response
  const changed = new Response(response.body, response)
  for (const [name, value] of added) changed.headers.set(name, value)
  return changed
}

/**
 * What a request says about the store that it wants to sync; undefined if it is no such request, and so the app's own.
 */
export const matchSyncRequest = (request: { readonly url: string }): SearchParams | undefined => {
  const params = core.syncParams(new URL(request.url).search.slice(1))
  return params === undefined ? undefined : ({ payload: undefined, ...JSON.parse(params) } as SearchParams)
}

/** The same request for what `params` say, which an app may have changed. */
const requestFor = (request: Request, { storeId, payload, transport }: SearchParams): Request => {
  const asked = matchSyncRequest(request)
  const isSame = asked?.storeId === storeId && asked.transport === transport
  if (isSame && JSON.stringify(asked.payload) === JSON.stringify(payload)) return request
  const url = new URL(request.url)
  url.searchParams.set('storeId', storeId)
  url.searchParams.set('transport', transport)
  url.searchParams.delete('payload')
  if (payload !== undefined) url.searchParams.set('payload', encodeURIComponent(JSON.stringify(payload)))
  return new Request(url, request)
}

/** What `handleSyncRequest` is given. */
export interface HandleSyncRequestOptions<TEnv, TSyncPayload, CFHostMetada = unknown>
  extends ValidateOptions<TSyncPayload, TEnv>, Settings {
  request: AnyRequest | CfTypes.Request<CFHostMetada>
  searchParams: SearchParams
  /** @default that of `cloudflare:workers` */
  env?: TEnv | undefined
  ctx: Context
  /** The Durable Object binding. */
  syncBackendBinding: DurableObjectKeys<TEnv>
  /** Headers that answers are to have. */
  headers?: CfTypes.HeadersInit | undefined
}

/**
 * Handles a request to sync, in a Worker with other things to do as well. Without `validatePayload`, and where neither options
 * nor variables say who may sync, everybody is let in: the app has looked at the request.
 */
export const handleSyncRequest = <
  TEnv extends Env = Env,
  TDurableObjectRpc = undefined,
  CFHostMetada = unknown,
  TSyncPayload = JsonValue,
>(
  options: HandleSyncRequestOptions<TEnv, TSyncPayload, CFHostMetada>,
): Promise<CfTypes.Response> => {
  checkNames('handleSyncRequest', options, [...optionNames, 'request', 'searchParams', 'env', 'ctx', 'headers'])
  const { request, searchParams, env = importedEnv as TEnv, ctx, syncBackendBinding, headers } = options
  const more = { SYNC_BINDING: syncBackendBinding as string }
  const call = {
    request: requestFor(request as unknown as Request, searchParams),
    env,
    ctx: ctx as CfTypes.ExecutionContext,
  }
  const answer = handle(call, options, variables(options, more, env, false))
  return withHeaders(answer, headers as HeadersInit) as Promise<unknown> as Promise<CfTypes.Response>
}

/** What `handleWebSocket` is given beside the request. */
export interface HandleWebSocketOptions<TSyncPayload, TEnv = any>
  extends ValidateOptions<TSyncPayload, TEnv>, Settings {
  headers?: CfTypes.HeadersInit | undefined
  durableObject?: { name?: string } | undefined
}

/** `handleWebSocket`, with the types of `@cloudflare/workers-types` as a module and as global ones. */
export type HandleWebSocket = {
  <TEnv extends object = any, TSyncPayload = any>(
    request: CfTypes.Request,
    env: TEnv,
    ctx: CfTypes.ExecutionContext,
    options?: HandleWebSocketOptions<TSyncPayload, TEnv>,
  ): Promise<CfTypes.Response>
  <TEnv extends object = any, TSyncPayload = any>(
    request: Request,
    env: TEnv,
    ctx: Context,
    options?: HandleWebSocketOptions<TSyncPayload, TEnv>,
  ): Promise<Response>
}

/** Handles a request of a client of 0.3, as its handler of this name does. */
export const handleWebSocket = ((
  request: Request,
  env: object,
  ctx: CfTypes.ExecutionContext,
  options: HandleWebSocketOptions<any> = {},
): Promise<Response> => {
  checkNames('handleWebSocket', options, [...optionNames, 'headers'])
  const name = options.durableObject?.name
  const more: Variables = name === undefined ? {} : { SYNC_BINDING: name }
  const url = new URL(request.url)
  const isKnown = url.pathname.endsWith('/websocket') || url.searchParams.has('transport')
  if (!isKnown) url.pathname = '/websocket'
  const call = { request: isKnown ? request : new Request(url, request), env, ctx }
  const answer = handle(call, options, variables(options, more, env, false))
  return withHeaders(answer, options.headers as HeadersInit)
}) as HandleWebSocket

/**
 * Makes the handler of a Worker that syncs and does nothing else. Who may sync is said by `validatePayload`, by options such as
 * `jwtSecret`, or by the variables of their names; where nothing says so, nobody.
 */
export const makeWorker = <TEnv extends Env = Env, TDurableObjectRpc = undefined, TSyncPayload = JsonValue>(
  options: MakeWorkerOptions<TEnv, TSyncPayload> = {},
): CFWorker<TEnv, TDurableObjectRpc> & {
  fetch: (request: Request, env: TEnv, ctx: Context) => Promise<Response>
} => {
  checkNames('makeWorker', options, optionNames)
  const binding = options.syncBackendBinding ?? options.durableObject?.name
  const bindings: Variables = binding === undefined ? {} : { SYNC_BINDING: binding as string }
  const fetch = async (request: Request, env: TEnv & object, ctx: CfTypes.ExecutionContext): Promise<Response> => {
    const isAnywhere = options.enableCORS === true && !hasOrigins(env)
    const more = isAnywhere ? { ...bindings, ALLOWED_ORIGINS: '*' } : bindings
    const all = variables(options, more, env, true)
    return inspect(request, env, all) ?? handle({ request, env, ctx }, options, all)
  }
  return { fetch } as never
}
