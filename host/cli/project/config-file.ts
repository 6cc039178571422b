/**
 * A file of settings, TOML or JSON with comments: what it says, and where in the text it says so.
 */
import {
  findNodeAtLocation,
  getNodeValue,
  type ParseError as JsonError,
  parseTree,
  printParseErrorCode,
} from 'jsonc-parser'
import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser'

/** Keys of tables and places in arrays, from the top. */
export type Path = ReadonlyArray<string | number>

/** From a place in the text up to another. */
export type Range = readonly [from: number, to: number]

/** Where something is said. */
export interface Spot {
  /** Its key, where it has one. */
  readonly key?: Range | undefined
  /** Its value; of a table of TOML, its header and all below it. */
  readonly value: Range
}

export type Table = Readonly<Record<string, unknown>>

export interface ConfigFile {
  /** As a user names it: `wrangler.toml`. */
  readonly name: string
  readonly text: string
  readonly format: 'toml' | 'json'
  readonly value: Table
  /** Where the text says what stands at a path. */
  readonly spotOf: (path: Path) => Spot | undefined
  /** The line of that, counted from 1, or of the nearest that it lies in. */
  readonly lineOf: (path: Path) => number
}

/** A file that cannot be read, with a sentence about why. */
export class Unreadable extends Error {
  readonly line: number
  constructor(message: string, line: number) {
    super(message)
    this.line = line
  }
}

export const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)

/** The tables of an array, each with its place. */
export const tablesIn = (value: unknown): ReadonlyArray<readonly [number, Table]> =>
  Array.isArray(value) ? [...value.entries()].filter((entry): entry is [number, Table] => isTable(entry[1])) : []

/** The texts of an array. */
export const textsIn = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []

/** What stands at a path. */
export const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((at, key) => (at as Record<string | number, unknown> | undefined | null)?.[key], value)

/** The line of a place in a text, counted from 1. */
export const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length

/** Reads one. Throws {@link Unreadable}. */
export const readConfig = (name: string, text: string): ConfigFile => {
  const format = name.endsWith('.toml') ? 'toml' : 'json'
  const { value, spotOf, firstBelow } = (format === 'toml' ? readToml : readJson)(text)
  const lineOf = (path: Path): number => {
    const spot = spotOf(path) ?? firstBelow(path)
    if (spot !== undefined) return lineAt(text, (spot.key ?? spot.value)[0])
    return path.length === 0 ? 1 : lineOf(path.slice(0, -1))
  }
  return { name, text, format, value, spotOf, lineOf }
}

interface Read extends Pick<ConfigFile, 'value' | 'spotOf'> {
  /** Where the first thing below a path is said, if the path itself has no place: `[env.preview.vars]` has none of `env`. */
  readonly firstBelow: (path: Path) => Spot | undefined
}

const readJson = (text: string): Read => {
  const errors: JsonError[] = []
  const tree = parseTree(text.replace(/^\uFEFF/, ' '), errors, { allowTrailingComma: true })
  const [error] = errors
  if (error !== undefined) throw new Unreadable(printParseErrorCode(error.error), lineAt(text, error.offset))
  const value: unknown = tree === undefined ? undefined : getNodeValue(tree)
  if (tree === undefined || !isTable(value)) throw new Unreadable('it is no object', 1)
  return {
    value,
    spotOf: (path) => {
      const node = findNodeAtLocation(tree, [...path])
      if (node === undefined) return
      const key = node.parent?.type === 'property' ? node.parent.children?.[0] : undefined
      return {
        key: key === undefined ? undefined : [key.offset, key.offset + key.length],
        value: [node.offset, node.offset + node.length],
      }
    },
    firstBelow: () => undefined,
  }
}

const readToml = (text: string): Read => {
  let program: AST.TOMLProgram
  try {
    program = parseTOML(text.replace(/^\uFEFF/, ' '))
  } catch (error) {
    if (error instanceof ParseError) throw new Unreadable(error.message, error.lineNumber)
    throw error
  }
  const spots = new Map<string, Spot>()
  const add = (path: Path, spot: Spot): void => {
    const name = JSON.stringify(path)
    if (!spots.has(name)) spots.set(name, spot)
  }
  const names = (key: AST.TOMLKey): readonly string[] =>
    key.keys.map((one) => (one.type === 'TOMLBare' ? one.name : one.value))
  const addContent = (path: Path, node: AST.TOMLContentNode): void => {
    if (node.type === 'TOMLArray') node.elements.forEach((one, at) => addValue([...path, at], one))
    if (node.type === 'TOMLInlineTable') node.body.forEach((one) => addPair(path, one))
  }
  const addValue = (path: Path, node: AST.TOMLContentNode): void => {
    add(path, { value: node.range })
    addContent(path, node)
  }
  const addPair = (path: Path, { key, value }: AST.TOMLKeyValue): void => {
    const own = [...path, ...names(key)]
    add(own, { key: key.range, value: value.range })
    addContent(own, value)
  }
  for (const node of program.body[0].body) {
    if (node.type === 'TOMLKeyValue') {
      addPair([], node)
      continue
    }
    add(node.resolvedKey, { key: node.key.range, value: node.range })
    for (const pair of node.body) addPair(node.resolvedKey, pair)
  }
  return {
    value: getStaticTOMLValue(program) as Table,
    spotOf: (path) => spots.get(JSON.stringify(path)),
    firstBelow: (path) => {
      const start = `${JSON.stringify(path).slice(0, -1)},`
      return path.length === 0 ? undefined : [...spots].find(([name]) => name.startsWith(start))?.[1]
    },
  }
}
