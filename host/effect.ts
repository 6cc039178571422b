/**
 * What a hook returned, as the core waits for it: nothing, or a promise.
 *
 * Owns how an Effect is run without Effect: its instructions are read by the names that Effect 3 gives them. That goes as far as
 * values, functions, promises, generators, failures and log lines; one that asks for more of a fiber, as services and time do, is
 * refused with what to write instead.
 */

/** An instruction of Effect 3. */
interface Instruction {
  readonly _op: string
  readonly effect_instruction_i0?: any
  readonly effect_instruction_i1?: any
  readonly effect_instruction_i2?: any
  readonly commit?: () => Instruction
}

/** How an instruction ended. */
type Exit = { readonly value: unknown } | { readonly cause: unknown }

/** What is done with how the instruction before it ended. */
type Next = (exit: Exit) => Instruction | Exit

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function'

const isEffect = (value: unknown): value is Instruction =>
  typeof value === 'object' && value !== null && (Symbol.for('effect/Effect') in value || '~effect/Effect' in value)

const failed = (cause: unknown): cause is { readonly error?: unknown; readonly defect?: unknown } =>
  typeof cause === 'object' && cause !== null

/** What a cause is about: the first error in it. */
const errorIn = (cause: unknown): unknown => {
  if (!failed(cause)) return cause
  const { _tag, left, right } = cause as { _tag?: string; left?: unknown; right?: unknown }
  if (_tag === 'Fail') return cause.error
  if (_tag === 'Die') return cause.defect
  if (_tag === 'Sequential' || _tag === 'Parallel') return errorIn(left) ?? errorIn(right)
  return new Error(_tag === 'Interrupt' ? 'the Effect was interrupted' : 'the Effect failed')
}

const die = (defect: unknown): Exit => ({ cause: { _tag: 'Die', defect } })

const needsRuntime = (what: string): Exit =>
  die(
    new Error(
      `an Effect that asks for more of its fiber (${what}) than there is cannot be run here: return Effect.runPromise(effect) from the hook instead`,
    ),
  )

/** Runs instructions until they end, or one waits. */
export const runEffect = async (effect: object): Promise<unknown> => {
  const stack: Next[] = []
  let current: Instruction | Exit = effect as Instruction
  for (;;) {
    try {
      const step: Instruction | Exit | Promise<Instruction | Exit> = '_op' in current ? begin(current, stack) : current
      const done: Instruction | Exit = isThenable(step) ? await step : step
      if ('_op' in done) {
        current = done
        continue
      }
      const next = stack.pop()
      if (next === undefined) {
        if ('cause' in done) throw errorIn(done.cause)
        return done.value
      }
      current = next(done)
    } catch (error) {
      if (stack.length === 0) throw error
      current = die(error)
    }
  }
}

/** What a generator of `Effect.gen` yields is wrapped. */
const unwrapped = (yielded: any): Instruction => yielded[Symbol.for('effect/Utils/YieldWrap')]?.() ?? yielded

/** Begins an instruction: what it ends with, or what is to be run first, with what comes after on the stack. */
const begin = (effect: Instruction, stack: Next[]): Instruction | Exit | Promise<Instruction | Exit> => {
  const { _op, effect_instruction_i0: first, effect_instruction_i1: second, effect_instruction_i2: third } = effect
  const onSuccess = (then: (value: unknown) => Instruction | Exit): void => {
    stack.push((exit) => ('value' in exit ? then(exit.value) : exit))
  }
  switch (_op) {
    case 'Success':
      return { value: first }
    case 'Failure':
      return { cause: first }
    case 'Sync':
      return { value: first() }
    case 'Commit':
      return effect.commit?.() ?? needsRuntime(_op)
    case 'Async':
      return new Promise((resume) => first(resume))
    case 'OnSuccess':
      onSuccess(second)
      return first
    case 'OnFailure':
      stack.push((exit) => ('cause' in exit ? second(exit.cause) : exit))
      return first
    case 'OnSuccessAndFailure':
      stack.push((exit) => ('cause' in exit ? second(exit.cause) : third(exit.value)))
      return first
    case 'UpdateRuntimeFlags':
      return second?.(isInterruptible) ?? { value: undefined }
    case 'Yield':
      return { value: undefined }
    case 'While': {
      const turn = (): Instruction | Exit => {
        if (!first()) return { value: undefined }
        onSuccess((value) => {
          third(value)
          return turn()
        })
        return second()
      }
      return turn()
    }
    case 'Iterator': {
      const turn = (value: unknown): Instruction | Exit => {
        const state = first.next(value)
        if (state.done) return { value: state.value }
        onSuccess(turn)
        return unwrapped(state.value)
      }
      return turn(undefined)
    }
    case 'WithRuntime':
      try {
        return first(fiber, { runtimeFlags: isInterruptible })
      } catch {
        return needsRuntime(_op)
      }
    default:
      return needsRuntime(_op)
  }
}

/** The flags of a fiber that may be interrupted. */
const isInterruptible = 1

/** What failing and logging ask of a fiber: it is within no span, and each of its variables has its first value. */
const fiber = {
  currentSpan: undefined,
  getFiberRef: (ref: { readonly initial: unknown }) => ref.initial,
  log: (message: unknown) => console.log(...[message].flat()),
}

/** What the core waits for: undefined if there is nothing to wait for. */
export const settled = (result: unknown): Promise<unknown> | undefined => {
  if (result === undefined || result === null) return undefined
  if (isThenable(result)) return Promise.resolve(result)
  return isEffect(result) ? runEffect(result) : undefined
}
