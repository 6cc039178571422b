/**
 * Generation v05: Effect 4 RPC messages over the method calls between Durable Objects.
 *
 * The messages are packed by `msgpackr` with records, as Effect's own serialization did it at the time of this dialect.
 */
import { Effect, Layer, Schema } from 'effect'
import { RpcClient, RpcClientError, type RpcMessage, type RpcSerialization } from 'effect/rpc'
import { Packr, Unpackr } from 'msgpackr'

/** What a call returns: all answers at once, or one after the other. */
export type Answer = Uint8Array | ReadableStream<Uint8Array>

type Response = RpcMessage.FromServerEncoded

/** The values of a stream of packed values, however its bytes are cut. */
class Unpacker {
  readonly #unpackr = new Unpackr({ useRecords: true })
  #rest: Uint8Array = new Uint8Array()

  /** The values that are complete with `bytes`. */
  unpack(bytes: Uint8Array): readonly unknown[] {
    const all = new Uint8Array(this.#rest.length + bytes.length)
    all.set(this.#rest)
    all.set(bytes, this.#rest.length)
    this.#rest = new Uint8Array()
    try {
      return this.#unpackr.unpackMultiple(all) as readonly unknown[]
    } catch (error) {
      const { incomplete, lastPosition, values } = error as {
        incomplete?: boolean
        lastPosition?: number
        values?: readonly unknown[]
      }
      if (incomplete !== true) throw error
      this.#rest = all.slice(lastPosition ?? 0)
      return values ?? []
    }
  }

  /** Throws if a value has begun that did not end. */
  end(): void {
    if (this.#rest.length > 0) throw new Error(`${this.#rest.length} bytes of an incomplete value are left`)
  }
}

/** The one value of `bytes`. */
export const unpack = (bytes: Uint8Array): unknown => {
  const unpacker = new Unpacker()
  const [value, ...others] = unpacker.unpack(bytes)
  unpacker.end()
  if (value === undefined || others.length > 0) throw new Error('these bytes are not one packed value')
  return value
}

/** Turns every object that decodes from `unknown` holes of a message into JSON before it is packed. */
const codecFor = Schema.toCodecJson as RpcSerialization.CodecFor

/** The responses in an answer, as they come. */
async function* responsesOf(answer: Answer): AsyncGenerator<Response> {
  const unpacker = new Unpacker()
  const stream = answer instanceof Uint8Array ? [answer] : answer
  for await (const bytes of stream) yield* unpacker.unpack(bytes).flat(2) as Response[]
  unpacker.end()
}

/** Requests go out by `call`, one each. */
export const layerProtocol = (call: (request: Uint8Array) => Promise<Answer>): Layer.Layer<RpcClient.Protocol> =>
  Layer.effect(RpcClient.Protocol)(
    RpcClient.Protocol.make((write) =>
      Effect.sync(() => {
        const packr = new Packr({ useRecords: true })
        return {
          // Only requests leave this object; what would follow them, such as an interrupt, ends here.
          send: (clientId, message) =>
            message._tag !== 'Request'
              ? Effect.void
              : Effect.tryPromise({
                  try: async () => {
                    const answer = await call(Uint8Array.from(packr.pack([message])))
                    for await (const response of responsesOf(answer)) await Effect.runPromise(write(clientId, response))
                  },
                  catch: (cause) =>
                    new RpcClientError.RpcClientError({
                      reason: new RpcClientError.RpcClientDefect({ message: 'the call failed', cause }),
                    }),
                }),
          supportsAck: false,
          supportsTransferables: false,
          codecFor,
        }
      }),
    ),
  )
