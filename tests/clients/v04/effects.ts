/** Hooks and a schema as an app writes them that uses Effect, with the release that LiveStore 0.4 comes with. */
import { Data, Effect, Schema } from 'effect'

interface Message {
  readonly batch: readonly { readonly name: string }[]
}

class NotAllowed extends Data.TaggedError('NotAllowed')<{ readonly message: string }> {}

/** Passes, fails, throws, logs or sleeps by the name of the first event. */
export const onPush = ({ batch }: Message) =>
  Effect.gen(function* () {
    const name = batch[0]?.name
    yield* Effect.promise(async () => {})
    if (name === 'v1.Refused') yield* new NotAllowed({ message: 'the Effect refuses' })
    if (name === 'v1.Failed') yield* Effect.fail('in a word').pipe(Effect.mapError((word) => new Error(word)))
    if (name === 'v1.Died') yield* Effect.sync(() => JSON.parse('{'))
    if (name === 'v1.Logged') yield* Effect.log('an Effect says', name)
    if (name === 'v1.Slept') yield* Effect.sleep(1)
    if (name === 'v1.Rescued') yield* Effect.fail('no').pipe(Effect.catchAll(() => Effect.succeed('yes')))
    let turns = 0
    yield* Effect.whileLoop({ while: () => turns < 3, body: () => Effect.sync(() => turns++), step: () => {} })
    if (turns !== 3) yield* Effect.fail(new Error(`${turns} turns`))
  })

/** Waits for a promise that is rejected, and passes. */
export const onPull = () =>
  Effect.tryPromise(() => Promise.reject(new Error('gone'))).pipe(Effect.catchAll(() => Effect.void))

/** A payload of several kinds of nodes. */
export const payloadSchema = Schema.Struct({
  authToken: Schema.String.pipe(Schema.minLength(3)),
  device: Schema.optional(Schema.Union(Schema.Literal('phone'), Schema.NumberFromString)),
  roles: Schema.optionalWith(Schema.Array(Schema.String), { default: () => ['reader'] }),
  more: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.NullOr(Schema.Number) })),
})

/** The same for those that know the Standard Schema interface, or a function. */
export const standardSchema = Schema.standardSchemaV1(payloadSchema)
export const decodeSchema = { decode: Schema.decodeUnknownSync(payloadSchema) }
