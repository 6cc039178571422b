/** The Worker's sources: the module that they import, and a class beside one without SQLite. */
import { importsOf, ourServer, type Source, sourceOf, theirServer } from '../project/sources.ts'
import { byHand, eolOf, spliced } from './change.ts'

/** A source that imports this backend in the place of sync-cf's. Nothing but the name changes. */
export const switched = (source: Source): string =>
  importsOf(source)
    .filter(({ from }) => from === theirServer)
    .toReversed()
    .reduce((text, { at }) => spliced(text, [at, at + theirServer.length], ourServer), source.text)

/** A source with another class beside one that has no SQLite. */
export const withClass = (path: string, text: string, className: string, replaced: string): string => {
  const { code } = sourceOf(path, text)
  if (new RegExp(`\\bclass\\s+${className}\\b`).test(code)) return text
  if (!new RegExp(`\\b(?:class|const|let|var)\\s+${replaced}\\b`).test(code))
    throw byHand(path, 1, `exporting the class ${className} beside ${replaced}`)
  const eol = eolOf(text)
  const added = [
    `/** Bound in the place of ${replaced}, whose objects have no SQLite. */`,
    `export class ${className} extends ${replaced} {}`,
    '',
  ].join(eol)
  const before = /^export\s+default\b/m.exec(code)?.index
  if (before !== undefined)
    return spliced(text, [documentedAt(code, text, before), documentedAt(code, text, before)], added + eol)
  return `${text}${/\n$/.test(text) || text === '' ? '' : eol}${eol}${added}`
}

/** Where a declaration begins with the comments right above it. */
const documentedAt = (code: string, text: string, at: number): number => {
  let from = at
  for (;;) {
    const line = text.lastIndexOf('\n', from - 2) + 1
    const isComment = from > 0 && text.slice(line, from).trim() !== '' && code.slice(line, from).trim() === ''
    if (!isComment) return from
    from = line
  }
}
