/** The events of the memory rows: few and large, or so many that their batch is. */

/** An event as it stands in a push. */
export interface Event {
  readonly name: string
  readonly args: { readonly text: string }
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly clientId: string
  readonly sessionId: string
}

/** What an event's text is made of: letters of one byte, or prose whose quotes make the runtime keep two bytes a letter. */
export type Script = 'ascii' | 'prose'

const sentences: Record<Script, string> = {
  ascii: 'The minutes were read aloud, "final" as they said, and nobody objected to a word. ',
  prose: 'The committee’s minutes – “final”, they said – were read aloud, and nobody objected. ',
}

/** A text of exactly `bytes` bytes of UTF-8. */
const textOf = (bytes: number, script: Script): string => {
  const sentence = sentences[script]
  const whole = Math.floor(bytes / Buffer.byteLength(sentence))
  return sentence.repeat(whole) + '.'.repeat(bytes - whole * Buffer.byteLength(sentence))
}

/** `count` chained events on top of `parent`, each with a text of `textBytes`. */
export const batchOf = (parent: number, count: number, textBytes: number, script: Script = 'prose'): Event[] => {
  const text = textOf(textBytes, script)
  return Array.from({ length: count }, (_, index) => ({
    name: 'v1.Noted',
    args: { text },
    seqNum: parent + 1 + index,
    parentSeqNum: parent + index,
    clientId: 'b3nch1',
    sessionId: 'static',
  }))
}
