/**
 * The other end of `tests/hooks` and of `tests/apps/asking.ts`: is told what each hook was shown, and says what it returns, and when.
 *
 * Owns: the HTTP server that the hooks of a running Worker ask, and what they have asked so far.
 */
import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Event } from '../clients/client.ts'
import { eventually } from '../clients/waiting.ts'
import { bundleApp } from '../harness/app.ts'
import type { ServerOptions } from '../harness/server.ts'

/** What each hook is shown. */
export interface Seen {
  readonly validate_payload: unknown
  readonly on_push: { readonly batch: readonly Event[]; readonly backendId: string | null }
  readonly on_push_res: null
  readonly on_pull: { readonly after: number; readonly backendId: string | null; readonly live: boolean }
  /** A message in the client's dialect; to JavaScript the same in all dialects. */
  readonly on_pull_res: object
  readonly on_committed: { readonly batch: readonly Event[]; readonly backendId: string }
}

export type Hook = keyof Seen

/** One call of a hook. */
export interface Call<Name extends Hook = Hook> {
  readonly hook: Name
  readonly storeId: string
  readonly claims: Readonly<Record<string, unknown>> | null
  readonly headers: ReadonlyArray<readonly [string, string]>
  readonly transport: string | null
  readonly generation: string | null
  readonly seen: Seen[Name]
  /** When it came, in milliseconds of this process. */
  readonly atMs: number
}

/** The error that a hook returns, or the empty text for none. */
type Rule<Name extends Hook> = (call: Call<Name>) => string | Promise<string>

/** A call that waits for its answer. */
export interface Held<Name extends Hook> {
  /** Resolves once the hook waits. */
  readonly waits: Promise<Call<Name>>
  /** Has the hook return, with this error if one is given. */
  release(error?: string): void
}

const hooks: readonly Hook[] = ['validate_payload', 'on_push', 'on_push_res', 'on_pull', 'on_pull_res', 'on_committed']

const textOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}

export class HookListener {
  /** Which hooks ask: those of `tests/hooks`, or those of `tests/apps/asking.ts`. */
  static language: 'rust' | 'javascript' = 'rust'

  /** Every call so far, in the order in which they came. */
  readonly calls: Call[] = []
  readonly #server: HttpServer
  readonly #rules = new Map<string, Rule<Hook>>()

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const call = { ...(JSON.parse(await textOf(request)) as Omit<Call, 'atMs'>), atMs: performance.now() }
      this.calls.push(call)
      const rule = this.#rules.get(`${call.hook} ${call.storeId}`)
      response.end((await rule?.(call)) ?? '')
    })
  }

  static async start(): Promise<HookListener> {
    const listener = new HookListener()
    await new Promise<void>((resolve) => listener.#server.listen(0, '127.0.0.1', resolve))
    return listener
  }

  /** What a server is started with, so that these hooks of it ask here. */
  options(asked: readonly Hook[] = hooks): ServerOptions & { readonly vars: Readonly<Record<string, string>> } {
    const { port } = this.#server.address() as AddressInfo
    const vars = { HOOKS_URL: `http://127.0.0.1:${port}/`, HOOKS_ASKED: asked.join(), LOG_LEVEL: 'debug' }
    return { dist: HookListener.language === 'rust' ? 'tests/hooks/dist' : bundleApp('asking.ts'), vars }
  }

  /** The calls of one hook for a store. */
  of<Name extends Hook>(hook: Name, storeId: string): ReadonlyArray<Call<Name>> {
    return (this.calls as ReadonlyArray<Call<Hook>> as ReadonlyArray<Call<never>>).filter(
      (call) => call.hook === hook && call.storeId === storeId,
    )
  }

  /** Has a hook return what `rule` says from now on. */
  answer<Name extends Hook>(hook: Name, storeId: string, rule: Rule<Name>): void {
    this.#rules.set(`${hook} ${storeId}`, rule as Rule<Hook>)
  }

  /** Has the next call of a hook wait until it is released. The calls behind it return at once. */
  hold<Name extends Hook>(hook: Name, storeId: string): Held<Name> {
    const [waits, answer] = [Promise.withResolvers<Call<Name>>(), Promise.withResolvers<string>()]
    let isFirst = true
    this.answer(hook, storeId, (call) => {
      if (!isFirst) return ''
      isFirst = false
      waits.resolve(call)
      return answer.promise
    })
    return { waits: waits.promise, release: (error = '') => answer.resolve(error) }
  }

  /** The events that `on_committed` was told of with success or not, call by call, once there are `count` of them. */
  told(storeId: string, count: number, deadlineMs?: number): Promise<ReadonlyArray<readonly Event[]>> {
    const batches = (): ReadonlyArray<readonly Event[]> =>
      this.of('on_committed', storeId).map(({ seen }) => seen.batch)
    return eventually(
      `the hook is told of ${count} events`,
      () => batches().flat().length >= count && batches(),
      deadlineMs,
      () => batches().map((batch) => batch.map((event) => event.seqNum)),
    )
  }

  stop(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
