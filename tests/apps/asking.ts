/**
 * Hooks that do what a test says, as those of `tests/hooks` do in Rust: each tells the test what it was shown, and returns what
 * the test answers, when it answers.
 */
import { env } from 'cloudflare:workers'
import { type HookContext, makeDurableObject, makeWorker } from 'livestore-sync-worker/cf-worker'

interface AskingEnv {
  readonly HOOKS_URL: string
  readonly HOOKS_ASKED: string
  readonly HOOKS_COMMITTED?: string
}

const forwarded = ['X-App-Version', 'X-Device']

const ask = async (
  env: AskingEnv,
  hook: string,
  seen: unknown,
  about: Pick<HookContext, 'storeId' | 'claims' | 'headers' | 'transport' | 'generation'>,
): Promise<void> => {
  const { storeId, claims = null, headers = new Map(), transport = null, generation } = about
  const body = JSON.stringify({
    hook,
    storeId,
    claims,
    headers: [...headers],
    transport,
    generation: generation?.toUpperCase() ?? null,
    seen,
  })
  let answer
  try {
    answer = await (await fetch(env.HOOKS_URL, { method: 'POST', body })).text()
  } catch (error) {
    throw new Error(`the test cannot be asked: ${String(error)}`)
  }
  if (answer !== '') throw new Error(answer)
}

/** The class with the hooks that the test asks for. */
const classOf = (asked: readonly string[], isToldAtOnce: boolean) => {
  const has = <T>(hook: string, then: T): T | undefined => (asked.includes(hook) ? then : undefined)
  type Options = NonNullable<Parameters<typeof makeDurableObject<AskingEnv>>[0]>
  const options: { -readonly [name in keyof Options]: Options[name] | undefined } = {
    forwardHeaders: forwarded,
    onPush: has('on_push', (message, context) => {
      // What needs no answer is refused, or let in, without waiting.
      if (message.batch.some(({ name }) => name === 'v1.Refused')) throw new Error('refused at once')
      if (message.batch.every(({ name }) => name === 'v1.LetIn')) return undefined
      const { batch, backendId } = message
      const seen = { batch, backendId: backendId._tag === 'Some' ? backendId.value : null }
      return ask(context.env, 'on_push', seen, context)
    }),
    onPushRes: has('on_push_res', (message, context) =>
      '_tag' in message ? undefined : ask(context.env, 'on_push_res', null, context),
    ),
    onPull: has('on_pull', ({ cursor, live }, context) => {
      const { backendId = '', eventSequenceNumber = 0 } = cursor._tag === 'Some' ? cursor.value : {}
      return ask(context.env, 'on_pull', { after: eventSequenceNumber, backendId: backendId || null, live }, context)
    }),
    onPullRes: has('on_pull_res', (message, context) => {
      const { batch, pageInfo, backendId } = message as Exclude<typeof message, Error>
      return ask(context.env, 'on_pull_res', { batch, pageInfo, backendId }, context)
    }),
    onCommitted: asked.includes('on_committed')
      ? (message, context) => ask(context.env, 'on_committed', message, context)
      : isToldAtOnce
        ? () => undefined
        : undefined,
  }
  return makeDurableObject<AskingEnv>(options as Options)
}

const { HOOKS_ASKED: asked = '', HOOKS_COMMITTED: committed = '' } = env as AskingEnv

export class SyncBackendDO extends classOf(asked.split(','), committed === 'at-once') {}

export default {
  fetch: (request: Request, own: AskingEnv, ctx: never) => {
    const isAsked = asked.split(',').includes('validate_payload')
    const worker = makeWorker<AskingEnv>({
      authToken: (of) => of.AUTH_TOKEN,
      jwtSecret: (of) => of.JWT_SECRET,
      ...(isAsked
        ? {
            validatePayload: (payload, context) => {
              const headers = new Map(
                forwarded
                  .map((name) => name.toLowerCase())
                  .flatMap((name) => [...context.headers].filter(([known]) => known === name)),
              )
              return ask(own, 'validate_payload', payload ?? null, { ...context, headers })
            },
          }
        : {}),
    })
    return worker.fetch(request as never, own, ctx)
  },
}
