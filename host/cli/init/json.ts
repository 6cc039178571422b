/** Additions to a JSON text and removals from it that leave the rest of it as it stands: lines, indentation, commas, comments. */
import { type ConfigFile, isTable, type Path, type Range, valueAt } from '../project/config-file.ts'
import { endOfLine, eolOf, spliced } from './change.ts'

/** Adds a member to the object at a path, before that of an index or, without one, behind all others. */
export const withMember = (config: ConfigFile, path: Path, key: string, value: string, index?: number): string => {
  const object = valueAt(config.value, path)
  const keys = isTable(object) ? Object.keys(object) : []
  const members = keys.map((name) => memberAt(config, [...path, name]))
  return added(config, path, members, index ?? members.length, `${JSON.stringify(key)}: ${value}`)
}

/** A member from its key to the end of its value. */
const memberAt = ({ spotOf }: ConfigFile, path: Path): Range => {
  const { key, value } = spotOf(path) ?? { value: [0, 0] as const }
  return [(key ?? value)[0], value[1]]
}

/** Takes the member at a path away, with its line if nothing else is on it. */
export const withoutMember = (config: ConfigFile, path: Path): string => {
  const { text } = config
  const parent = path.slice(0, -1)
  const keys = Object.keys(valueAt(config.value, parent) as object)
  const at = keys.indexOf(String(path.at(-1)))
  const [from, to] = memberAt(config, path)
  if (keys.length === 1) {
    const [start, end] = config.spotOf(parent)?.value ?? [0, 0]
    return spliced(text, [start + 1, end - 1], '')
  }
  const comma = /^\s*,/.exec(text.slice(to))?.[0].length ?? 0
  const lineEnd = endOfLine(text, to + comma)
  const before = lineBefore(text, from)
  const hasLineOfItsOwn = before.trim() === '' && text.slice(to + comma, lineEnd).trim() === ''
  const end = hasLineOfItsOwn ? lineEnd : to + comma + (/^[ \t]*/.exec(text.slice(to + comma))?.[0].length ?? 0)
  const start = hasLineOfItsOwn
    ? text.lastIndexOf('\n', from - 1) - (text[text.lastIndexOf('\n', from - 1) - 1] === '\r' ? 1 : 0)
    : from
  const without = spliced(text, [start, end], '')
  // The one before it is the last now, and has no comma unless it had one for no other.
  if (comma > 0 || at === 0) return without
  const [, last] = memberAt(config, [...parent, keys[at - 1] ?? ''])
  return spliced(without, [last, last + (/^\s*,/.exec(text.slice(last))?.[0].length ?? 0)], '')
}

/** Adds an element behind all others of the array at a path. */
export const withElement = (config: ConfigFile, path: Path, value: string): string => {
  const array = valueAt(config.value, path)
  const count = Array.isArray(array) ? array.length : 0
  const elements = Array.from({ length: count }, (_, at): Range => config.spotOf([...path, at])?.value ?? [0, 0])
  return added(config, path, elements, count, value)
}

/** The unit by which a JSON text is indented. */
export const indentOf = (text: string): string => /^[ \t]+(?=["}\]/])/m.exec(text)?.[0] ?? '  '

/** What stands before a place on its line. */
const lineBefore = (text: string, at: number): string => text.slice(text.lastIndexOf('\n', at - 1) + 1, at)

const added = (
  { text, spotOf }: ConfigFile,
  path: Path,
  siblings: readonly Range[],
  index: number,
  piece: string,
): string => {
  const eol = eolOf(text)
  const [from, to] = spotOf(path)?.value ?? [0, text.length]
  const previous = siblings[index - 1]
  const [first] = siblings
  if (first === undefined) {
    const indent = /^[ \t]*/.exec(lineBefore(text, from))?.[0] ?? ''
    const inner = text.slice(from + 1, to - 1).trimEnd()
    return spliced(text, [from + 1, to - 1], `${inner}${eol}${indent}${indentOf(text)}${piece}${eol}${indent}`)
  }
  if (previous === undefined) {
    const indent = lineBefore(text, first[0])
    return spliced(text, [first[0], first[0]], `${piece},${indent.trim() === '' ? eol + indent : ' '}`)
  }
  const [start, end] = previous
  const indent = lineBefore(text, start)
  const comma = /^[ \t]*,/.exec(text.slice(end))?.[0].length ?? 0
  const lineEnd = endOfLine(text, end)
  const rest = text.slice(end + comma, lineEnd).trim()
  const hasLineOfItsOwn = indent.trim() === '' && (rest === '' || rest.startsWith('//') || /^\/\*.*\*\/$/.test(rest))
  if (!hasLineOfItsOwn) return spliced(text, [end, end], `, ${piece}`)
  const withLine = spliced(text, [lineEnd, lineEnd], `${eol}${indent}${piece}${comma > 0 ? ',' : ''}`)
  return comma > 0 ? withLine : spliced(withLine, [end, end], ',')
}
