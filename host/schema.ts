/**
 * Decoding a payload by whatever an app calls a schema, without being made of its library.
 *
 * Owns how a schema of Effect 3 is read, by the names of its syntax tree: what JSON can hold, refinements and transformations,
 * whose functions the tree holds. Of other kinds an error says what to write instead.
 */
import { runEffect } from './effect.ts'
import type { PayloadSchema } from './types.ts'

/** What a schema makes of a value, or a promise of it. Throws what says why it makes nothing of it. */
export const decode = (schema: PayloadSchema<unknown>, value: unknown): unknown => {
  if ('~standard' in schema) return bySchema(schema['~standard'].validate(value))
  if ('ast' in schema) return byAst(schema.ast as Ast, value, 'payload')
  return 'decode' in schema ? schema.decode(value) : schema.parse(value)
}

/** What the Standard Schema interface returns. */
type Result =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }

const bySchema = (result: unknown): unknown => {
  if (result instanceof Promise) return result.then(bySchema)
  const { issues, value } = result as Result & { readonly value?: unknown }
  if (issues) throw new Error(issues.map(({ message }) => message).join('; '))
  return value
}

/** A node of a syntax tree of Effect 3; which members it has is said by its tag. */
type Ast = { readonly _tag: string; readonly [member: string]: any }

const shown = (value: unknown): string => (value === undefined ? 'undefined' : (JSON.stringify(value) ?? String(value)))

const mismatch = (where: string, expected: string, value: unknown): Error =>
  new Error(`${where} must be ${expected}, but is ${value === undefined ? 'missing' : shown(value)}`)

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The nodes of values that are what they are, with the test that says so. */
const plain: Readonly<Record<string, readonly [string, (value: unknown) => boolean]>> = {
  StringKeyword: ['a string', (value) => typeof value === 'string'],
  NumberKeyword: ['a number', (value) => typeof value === 'number'],
  BooleanKeyword: ['a boolean', (value) => typeof value === 'boolean'],
  UndefinedKeyword: ['absent', (value) => value === undefined],
  VoidKeyword: ['absent', (value) => value === undefined],
  ObjectKeyword: ['an object', (value) => typeof value === 'object' && value !== null],
  NeverKeyword: ['absent', () => false],
  UnknownKeyword: ['anything', () => true],
  AnyKeyword: ['anything', () => true],
}

const byAst = async (ast: Ast, value: unknown, where: string): Promise<unknown> => {
  const known = plain[ast._tag]
  if (known !== undefined) {
    const [expected, test] = known
    if (!test(value)) throw mismatch(where, expected, value)
    return value
  }
  switch (ast._tag) {
    case 'Literal':
      if (value !== ast['literal']) throw mismatch(where, shown(ast['literal']), value)
      return value
    case 'Enums': {
      const values = (ast['enums'] as [string, unknown][]).map(([, one]) => one)
      if (!values.includes(value)) throw mismatch(where, `one of ${values.map(shown).join(', ')}`, value)
      return value
    }
    case 'Suspend':
      return byAst(ast['f'](), value, where)
    case 'Union':
      return byUnion(ast['types'], value, where)
    case 'TupleType':
      return byTuple(ast, value, where)
    case 'TypeLiteral':
      return byMembers(ast, value, where)
    case 'Refinement': {
      const decoded = await byAst(ast['from'], value, where)
      const issue = ast['filter'](decoded, {}, ast) as { readonly _tag: string }
      if (issue._tag === 'Some') throw mismatch(where, nameOf(ast), value)
      return decoded
    }
    case 'Transformation': {
      const decoded = await byAst(ast['from'], value, where)
      return byAst(ast['to'], await transformed(ast, decoded, value, where), where)
    }
    case 'Declaration':
      return outcome(ast['decodeUnknown'](...ast['typeParameters'])(value, {}, ast), where)
    default:
      throw new Error(
        `the schema of ${where} has a part (${ast._tag}) that cannot be read here: give ` +
          '{ decode: Schema.decodeUnknownSync(schema) } as syncPayloadSchema instead',
      )
  }
}

/** What an app calls a schema; in the tree of Effect 3 that is an annotation. */
const nameOf = ({ annotations }: Ast): string => {
  const of = (name: string): unknown => annotations?.[Symbol.for(`effect/annotation/${name}`)]
  return String(of('Identifier') ?? of('Title') ?? of('Description') ?? 'what its schema says')
}

const byUnion = async (types: readonly Ast[], value: unknown, where: string): Promise<unknown> => {
  const errors: string[] = []
  for (const type of types) {
    try {
      return await byAst(type, value, where)
    } catch (error) {
      errors.push((error as Error).message)
    }
  }
  throw new Error(errors.join(', or '))
}

const byTuple = async (ast: Ast, value: unknown, where: string): Promise<unknown> => {
  if (!Array.isArray(value)) throw mismatch(where, 'a list', value)
  const elements = ast['elements'] as readonly { readonly type: Ast; readonly isOptional: boolean }[]
  const [rest, ...last] = ast['rest'] as readonly { readonly type: Ast }[]
  const required = elements.filter(({ isOptional }) => !isOptional).length
  const isFitting = value.length >= required + last.length && (rest !== undefined || value.length <= elements.length)
  if (!isFitting) throw mismatch(where, `a list of ${elements.length} or as its schema says`, value)
  const typeOf = (index: number): Ast =>
    (elements[index] ?? last[index - (value.length - last.length)] ?? rest)?.type ?? { _tag: 'NeverKeyword' }
  return Promise.all(value.map((one, index) => byAst(typeOf(index), one, `${where}[${index}]`)))
}

const byMembers = async (ast: Ast, value: unknown, where: string): Promise<unknown> => {
  const members = ast['propertySignatures'] as readonly {
    readonly name: string
    readonly type: Ast
    readonly isOptional: boolean
  }[]
  const indices = ast['indexSignatures'] as readonly { readonly parameter: Ast; readonly type: Ast }[]
  if (members.length === 0 && indices.length === 0) {
    if (value === null || value === undefined) throw mismatch(where, 'anything but null', value)
    return value
  }
  if (!isObject(value)) throw mismatch(where, 'an object', value)
  const decoded: Record<string, unknown> = {}
  for (const { name, type, isOptional } of members) {
    if (isOptional && !Object.hasOwn(value, name)) continue
    decoded[name] = await byAst(type, Object.hasOwn(value, name) ? value[name] : undefined, `${where}.${name}`)
  }
  for (const { parameter, type } of indices) {
    for (const [name, one] of Object.entries(value)) {
      if (Object.hasOwn(decoded, name)) continue
      await byAst(parameter, name, `the name ${shown(name)} in ${where}`)
      decoded[name] = await byAst(type, one, `${where}.${name}`)
    }
  }
  return decoded
}

/** What a transformation makes of a value. */
const transformed = async (ast: Ast, decoded: unknown, value: unknown, where: string): Promise<unknown> => {
  const transformation = ast['transformation'] as Ast
  switch (transformation._tag) {
    case 'ComposeTransformation':
      return decoded
    case 'FinalTransformation':
      return outcome(transformation['decode'](decoded, {}, ast, value), where)
    default: {
      const members = { ...(decoded as Record<string, unknown>) }
      for (const { from, to, decode } of transformation['propertySignatureTransformations'] as readonly {
        readonly from: string
        readonly to: string
        readonly decode: (option: object) => { readonly _tag: string; readonly value?: unknown }
      }[]) {
        const option = Object.hasOwn(members, from) ? { _tag: 'Some', value: members[from] } : { _tag: 'None' }
        delete members[from]
        const made = decode(option)
        if (made._tag === 'Some') members[to] = made.value
      }
      return members
    }
  }
}

/** What a function of a schema returns: an Either, or an Effect. */
const outcome = async (
  result: { readonly _tag?: string; readonly right?: unknown },
  where: string,
): Promise<unknown> => {
  if (result._tag === 'Right') return result.right
  if (result._tag === 'Left') throw new Error(`${where} is not what its schema says`)
  return runEffect(result)
}
