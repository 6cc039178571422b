/**
 * An app's functions as the core calls them (`JsHooks` in `src/edge/js_hooks.rs`): texts go in, and are parsed when a hook reads
 * them; out comes undefined, or a promise that is waited for.
 */
import { settled } from './effect.ts'
import type {
  Committed,
  EventEncoded,
  HookContext,
  MakeDurableObjectClassOptions,
  Option,
  PullRequest,
  PullResponse,
  PushRequest,
  UnknownError,
} from './types.ts'

/** What the core calls. */
export interface Host {
  /** The names of the hooks that there are. */
  readonly uses: readonly string[]
  /** Whether the payload of a connection is kept for them. */
  readonly keepsPayload: boolean
  /** Headers of every answer over HTTP: names and values one after the other. */
  readonly responseHeaders: readonly string[]
  validatePayload?(about: string): Promise<unknown> | undefined
  onPush?(about: string, events: string, args: string, backendId?: string): Promise<unknown> | undefined
  onPushRes?(about: string, refusal?: string): Promise<unknown> | undefined
  onPull?(about: string, after: number, backendId: string | undefined, live: boolean): Promise<unknown> | undefined
  onPullRes?(about: string, message: string): Promise<unknown> | undefined
  onCommitted?(about: string, events: string, args: string, backendId: string): Promise<unknown> | undefined
}

/** What the core knows of a request. */
interface About {
  readonly storeId: string
  readonly transport: HookContext['transport'] | null
  readonly generation: HookContext['generation'] | null
  readonly payload: HookContext['payload'] | null
  readonly claims: HookContext['claims'] | null
  readonly headers: readonly (readonly [string, string])[]
}

/** What an object gives to the contexts of its hooks. */
export interface Surroundings {
  readonly env: unknown
  readonly ctx: HookContext['ctx']
}

/** What `make` makes when it is asked for the first time. */
export const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}

const optionOf = <T>(value: T | undefined): Option<T> =>
  value === undefined ? { _tag: 'None' } : { _tag: 'Some', value }

const separator = '\0'

const batchOf = (events: string, args: string): readonly EventEncoded[] => {
  const texts = once(() => args.split(separator))
  return (JSON.parse(events) as EventEncoded[]).map(({ name, seqNum, parentSeqNum, clientId, sessionId }, index) => {
    const parsed = once(() => {
      const text = texts()[index]
      return text ? (JSON.parse(text) as unknown) : undefined
    })
    return {
      name,
      get args() {
        return parsed()
      },
      seqNum,
      parentSeqNum,
      clientId,
      sessionId,
    }
  })
}

const pushRequest = (events: string, args: string, backendId: string | undefined): PushRequest => {
  const batch = once(() => batchOf(events, args))
  return {
    get batch() {
      return batch()
    },
    backendId: optionOf(backendId),
  }
}

const committed = (events: string, args: string, backendId: string): Committed => {
  const batch = once(() => batchOf(events, args))
  return {
    get batch() {
      return batch()
    },
    backendId,
  }
}

const pullRequest = (after: number, backendId: string | undefined, live: boolean): PullRequest => ({
  cursor: after > 0 || backendId !== undefined ? { _tag: 'Some', value: cursor(after, backendId) } : { _tag: 'None' },
  live,
})

const cursor = (after: number, backendId = '') => ({ backendId, eventSequenceNumber: after })

/** A message as a dialect has it: the value of a chunk, or the message of a client of 0.3. */
type Message =
  { readonly values: readonly PullResponse[] } | { readonly batch: PullResponse['batch']; readonly remaining: number }

const pullResponse = (text: string): PullResponse => {
  const read = once((): PullResponse => {
    const message = JSON.parse(text) as Message
    if ('values' in message) return message.values[0]!
    const { batch, remaining } = message
    const pageInfo = remaining > 0 ? ({ _tag: 'MoreKnown', remaining } as const) : ({ _tag: 'NoMore' } as const)
    return { batch, pageInfo, backendId: '' }
  })
  return {
    get batch() {
      return read().batch
    },
    get pageInfo() {
      return read().pageInfo
    },
    get backendId() {
      return read().backendId
    },
  }
}

const unknownError = (message: string): UnknownError =>
  Object.assign(new Error(message), { _tag: 'UnknownError', name: 'UnknownError' } as const)

/** The names of the hooks of an object. */
const hookNames = ['onPush', 'onPushRes', 'onPull', 'onPullRes', 'onCommitted'] as const

/** What the core calls for an object with these options; undefined if that is nothing. */
export const hostOf = (options: MakeDurableObjectClassOptions, { env, ctx }: Surroundings): Host | undefined => {
  const uses = hookNames.filter((name) => options[name] !== undefined)
  const responseHeaders = Object.entries(options.http?.responseHeaders ?? {}).flat()
  if (uses.length === 0 && responseHeaders.length === 0) return undefined
  const { onPush, onPushRes, onPull, onPullRes, onCommitted, forwardHeaders } = options
  const waitUntil = (promise: Promise<unknown>): void => ctx.waitUntil(promise)

  const contextOf = (text: string): HookContext => {
    const about = once(() => JSON.parse(text) as About)
    const headers = once(() => {
      const pairs = about().headers
      return pairs.length > 0 || typeof forwardHeaders === 'function' ? new Map(pairs) : undefined
    })
    return {
      get storeId() {
        return about().storeId
      },
      get payload() {
        return about().payload ?? undefined
      },
      get headers() {
        return headers()
      },
      get claims() {
        return about().claims ?? undefined
      },
      get transport() {
        return about().transport ?? undefined
      },
      get generation() {
        return about().generation ?? undefined
      },
      env,
      ctx,
      waitUntil,
    } as HookContext
  }

  return {
    uses,
    keepsPayload: uses.some((name) => name !== 'onCommitted'),
    responseHeaders,
    onPush: (about, events, args, backendId) =>
      settled(onPush?.(pushRequest(events, args, backendId), contextOf(about))),
    onPushRes: (about, refusal) =>
      settled(onPushRes?.(refusal === undefined ? {} : unknownError(refusal), contextOf(about))),
    onPull: (about, after, backendId, live) => settled(onPull?.(pullRequest(after, backendId, live), contextOf(about))),
    onPullRes: (about, message) => settled(onPullRes?.(pullResponse(message), contextOf(about))),
    onCommitted: (about, events, args, backendId) =>
      settled(onCommitted?.(committed(events, args, backendId), contextOf(about))),
  }
}
