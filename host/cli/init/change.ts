/** What init changes: a file's text by another, and how it cannot. */
import { Failure } from '../command.ts'

export interface Change {
  /** From the project's folder, with `/`. */
  readonly path: string
  readonly before: string
  readonly after: string
}

/** A change that is left to the user, because a text as it stands does not allow for it without doing more. */
export const byHand = (path: string, line: number, what: string): Failure =>
  new Failure(
    `init: ${path}:${line}: ${what} has to be done by hand, since the line is written in a way that init does not change; nothing was written. See docs/migrating-from-sync-cf.md`,
  )

/** A text with one place in it replaced. */
export const spliced = (text: string, [from, to]: readonly [number, number], by: string): string =>
  text.slice(0, from) + by + text.slice(to)

/** How lines of a text end: as most of them do. */
export const eolOf = (text: string): string => {
  const all = text.split('\n').length - 1
  const windows = text.split('\r\n').length - 1
  return windows > all / 2 ? '\r\n' : '\n'
}

/** The end of the line of a place, before what ends it. */
export const endOfLine = (text: string, at: number): number => {
  const end = text.indexOf('\n', at)
  if (end < 0) return text.length
  return text[end - 1] === '\r' ? end - 1 : end
}
