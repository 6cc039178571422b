/** Reading answers into one line each, so that a table of inputs can say what it expects. */
import assert from 'node:assert/strict'
import { failedFrame, type Generation, interruptedFrame } from './peer.ts'

interface AnswerFrame {
  readonly _tag: string
  readonly requestId: string | number
  readonly message: string
  readonly batch: readonly unknown[]
  readonly values: ReadonlyArray<{ readonly batch: readonly unknown[] }>
  readonly defect: string | { readonly name: string; readonly message: string }
  readonly exit: { readonly _tag: string; readonly value: unknown; readonly cause: Cause | readonly Cause[] }
}

interface Cause {
  readonly _tag: string
  readonly defect: string
  readonly error: {
    readonly _tag: string
    readonly cause: { readonly name: string; readonly message: string }
    readonly minimumExpectedNum: number
    readonly providedNum: number
    readonly expected: string
    readonly received: string
  }
}

/** The words of a tagged error, after a check that it has its fields and no others. */
const wordsOf = ({ error }: Cause): string => {
  const { _tag } = error
  if (_tag === 'UnknownError') {
    const { message } = error.cause
    assert.deepEqual(error, { _tag, cause: { name: 'Error', message } })
    return message
  }
  if (_tag === 'ServerAheadError') {
    const { minimumExpectedNum, providedNum } = error
    assert.deepEqual(error, { _tag, minimumExpectedNum, providedNum })
    return `minimum ${minimumExpectedNum}, provided ${providedNum}`
  }
  const { expected, received } = error
  assert.deepEqual(error, { _tag: 'BackendIdMismatchError', expected, received })
  return `received ${received}`
}

/**
 * One line for an answer: its kind, the request that it answers, its words. Asserts that the frame is written as its
 * generation writes it, with nothing beside.
 */
export const lineOf = (generation: Generation, text: string): string => {
  const frame = JSON.parse(text) as AnswerFrame
  const id = JSON.stringify(frame.requestId)
  switch (frame._tag) {
    case 'Defect': {
      if (typeof frame.defect === 'string') return `Defect: ${frame.defect}`
      assert.deepEqual(frame, { _tag: 'Defect', defect: { name: 'SyntaxError', message: frame.defect.message } })
      return `Defect SyntaxError: ${frame.defect.message}`
    }
    case 'Chunk':
      return `Chunk ${id}: ${frame.values.map((value) => value.batch.length).join()} events`
    case 'Exit': {
      if (frame.exit._tag === 'Success') return `Success ${id}: ${JSON.stringify(frame.exit.value)}`
      const { requestId } = frame
      const [cause] = [frame.exit.cause].flat() as readonly Cause[]
      const expected = { ...failedFrame(generation, 0, cause!), requestId }
      assert.deepEqual(frame, expected, 'the cause is written as this generation writes it')
      if (cause!._tag === 'Die') return `Die ${id}: ${cause!.defect}`
      if (cause!._tag === 'Fail') return `${cause!.error._tag} ${id}: ${wordsOf(cause!)}`
      assert.deepEqual(frame, { ...interruptedFrame(generation, 0), requestId })
      return `Interrupted ${id}`
    }
    case 'WSMessage.Error':
      return `Error ${id}: ${frame.message}`
    case 'WSMessage.PullRes':
      return `PullRes: ${frame.batch.length} events`
    default:
      return frame.requestId === undefined ? frame._tag : `${frame._tag} ${id}`
  }
}
