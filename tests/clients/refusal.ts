/** Reading a client's error value, whatever the generation, into the facts the scenarios compare. */
import type { Refusal } from './client.ts'

const numberIn = (record: Record<string, unknown>, key: string): number | undefined =>
  typeof record[key] === 'number' ? record[key] : undefined

const stringIn = (record: Record<string, unknown>, key: string): string | undefined =>
  typeof record[key] === 'string' && record[key] !== '' ? record[key] : undefined

/** Effect 4 wraps what broke the connection into the reason of an `RpcClientError`. */
const reasonOf = (record: Record<string, unknown>): Record<string, unknown> => {
  const { _tag, reason } = record
  const wrapped = _tag === 'RpcClientError' && typeof reason === 'object' && reason !== null
  return wrapped ? (reason as Record<string, unknown>) : record
}

/** The message of an `UnknownError` is in its cause; the generations print it differently. */
const messageOf = (record: Record<string, unknown>): string => {
  const { _tag, cause } = record
  return _tag === 'UnknownError' && cause instanceof Error ? cause.message : (stringIn(record, 'message') ?? '')
}

/** The tag and facts of a tagged error; the message of an error that has no facts. */
export const refusalOf = (cause: unknown): Refusal => {
  const record = (typeof cause === 'object' && cause !== null ? cause : { message: String(cause) }) as Record<
    string,
    unknown
  >
  const error = stringIn(reasonOf(record), '_tag') ?? 'untagged'
  const facts = {
    minimumExpectedNum: numberIn(record, 'minimumExpectedNum'),
    providedNum: numberIn(record, 'providedNum'),
    expected: stringIn(record, 'expected'),
    received: stringIn(record, 'received'),
  }
  const known = Object.entries(facts).filter(([, value]) => value !== undefined)
  return known.length > 0 ? { error, ...Object.fromEntries(known) } : { error, message: messageOf(record) }
}
