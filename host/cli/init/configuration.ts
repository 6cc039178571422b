/**
 * The wrangler configuration: a class that was declared without SQLite.
 *
 * Where nothing is deployed its declaration changes. A deployed class never gets SQLite, so another takes its place, as
 * docs/migrating-from-sync-cf.md has it. Each step changes the text in one place, and is checked by reading it again.
 */
import { isDeepStrictEqual } from 'node:util'
import { bindingsWithoutSQLite } from '../doctor/checks/objects.ts'
import type { Inspection } from '../doctor/inspection.ts'
import {
  type ConfigFile,
  isTable,
  type Path,
  readConfig,
  tablesIn,
  textsIn,
  Unreadable,
  valueAt,
} from '../project/config-file.ts'
import { type Environment, environmentsOf } from '../project/project.ts'
import { byHand, endOfLine, eolOf, spliced } from './change.ts'
import { withElement, withMember } from './json.ts'

/** A table that a step changes as the text is meant to change. */
type Draft = Record<string, unknown>

/** Whether the Worker is deployed already. */
export type Stage = 'new' | 'deployed'

/** A class that has no SQLite, and the one that is bound in its place. */
export interface Replaced {
  readonly className: string
  readonly by: string
}

type Named = Pick<Inspection, 'code'>

/** The classes without SQLite that stores' objects are bound to. */
export const classesWithoutSQLite = (named: Named, config: ConfigFile): readonly string[] => [
  ...new Set(
    environmentsOf(config).flatMap((one) => bindingsWithoutSQLite(named, one).map(({ className }) => className)),
  ),
]

/** Declares them with SQLite: nothing is deployed. */
export const declaredAnew = (named: Named, config: ConfigFile): ConfigFile => {
  let now = config
  for (;;) {
    const next = environmentsOf(now).flatMap((environment) =>
      bindingsWithoutSQLite(named, environment).map(({ declaration }) => ({
        className: declaration.name,
        path: environment.pathOf(...declaration.path),
      })),
    )[0]
    if (next === undefined) return now
    now = declaredWithSQLite(now, next.className, next.path)
  }
}

const declaredWithSQLite = (config: ConfigFile, className: string, path: Path): ConfigFile => {
  const line = config.lineOf(path)
  const what = `declaring ${className} with SQLite`
  const spot = config.spotOf(path)
  // By exports: `storage` of the class.
  if (path.at(-1) !== 'new_classes') {
    const storage = config.spotOf([...path, 'storage'])
    if (storage === undefined) throw byHand(config.name, line, what)
    return checked(
      config,
      spliced(config.text, storage.value, quotedAs(config.text, storage.value, 'sqlite')),
      what,
      line,
      (draft) => {
        ;(valueAt(draft, path) as Draft)['storage'] = 'sqlite'
      },
    )
  }
  const step = path.slice(0, -1)
  const names = textsIn(valueAt(config.value, path))
  const moved = (draft: Draft): void => {
    // As the migration that this class alone is in was meant.
    const target = valueAt(draft, step) as Draft
    const left = names.filter((name) => name !== className)
    if (left.length === 0) delete target['new_classes']
    else target['new_classes'] = left
    target['new_sqlite_classes'] = [className]
  }
  if (spot?.key === undefined || isTable(valueAt(config.value, step)) === false) throw byHand(config.name, line, what)
  if (valueAt(config.value, [...step, 'new_sqlite_classes']) !== undefined) throw byHand(config.name, line, what)
  if (names.length === 1) {
    const key = config.text.slice(...spot.key).replace('new_classes', 'new_sqlite_classes')
    return checked(config, spliced(config.text, spot.key, key), what, line, moved)
  }
  // It is one of several: it leaves the list, and has one of its own before it.
  const element = config.spotOf([...path, names.indexOf(className)])
  if (element === undefined) throw byHand(config.name, line, what)
  const without = spliced(config.text, withComma(config.text, element.value), '')
  const lineStart = config.text.lastIndexOf('\n', spot.key[0] - 1) + 1
  const indent = config.text.slice(lineStart, spot.key[0])
  const pair =
    config.format === 'json' ? `"new_sqlite_classes": ["${className}"],` : `new_sqlite_classes = ["${className}"]`
  if (indent.trim() !== '') throw byHand(config.name, line, what)
  return checked(
    config,
    spliced(without, [spot.key[0], spot.key[0]], `${pair}${eolOf(config.text)}${indent}`),
    what,
    line,
    moved,
  )
}

/** An element of a list with the comma behind it, or, of the last one, before it. */
const withComma = (text: string, [from, to]: readonly [number, number]): readonly [number, number] => {
  const behind = /^\s*,[ \t]*/.exec(text.slice(to))?.[0].length
  if (behind !== undefined) return [from, to + behind]
  const before = /,\s*$/.exec(text.slice(0, from))?.[0].length ?? 0
  return [from - before, to]
}

/** A text in the quotes that stand there. */
const quotedAs = (text: string, [from]: readonly [number, number], value: string): string => {
  const quote = text[from] === "'" ? "'" : '"'
  return `${quote}${value}${quote}`
}

/** Binds other classes in their place: they are deployed. */
export const replacedBy = (named: Named, config: ConfigFile, replacements: readonly Replaced[]): ConfigFile => {
  let now = config
  const count = environmentsOf(config).length
  for (let at = 0; at < count; at += 1) {
    const environment = (): Environment => environmentsOf(now)[at] as Environment
    for (const binding of bindingsWithoutSQLite(named, environment())) {
      const by = replacements.find(({ className }) => className === binding.className)?.by ?? ''
      const declaration = environment().pathOf(...binding.declaration.path)
      now = bound(now, environment().pathOf(...binding.path, 'class_name'), by)
      if (!isDeclared(environment(), by)) now = migrated(now, declaration, by)
      now = restoring(now, environment())
    }
  }
  return now
}

const isDeclared = ({ value }: Environment, className: string): boolean =>
  tablesIn(value['migrations']).some(([, step]) => textsIn(step['new_sqlite_classes']).includes(className))

const bound = (config: ConfigFile, path: Path, className: string): ConfigFile => {
  const what = `binding the class ${className}`
  const spot = config.spotOf(path)
  if (spot === undefined) throw byHand(config.name, config.lineOf(path), what)
  const text = spliced(config.text, spot.value, quotedAs(config.text, spot.value, className))
  return checked(config, text, what, config.lineOf(path), (draft) => {
    ;(valueAt(draft, path.slice(0, -1)) as Draft)['class_name'] = className
  })
}

/** Adds a migration behind the last one. `declaration` is where one of them declares the class that is replaced. */
const migrated = (config: ConfigFile, declaration: Path, className: string): ConfigFile => {
  const line = config.lineOf(declaration)
  const what = `a migration that declares the class ${className}`
  // That of exports is a member for each class, and says more of them.
  if (declaration.at(-1) !== 'new_classes') throw byHand(config.name, line, what)
  const list = declaration.slice(0, -2)
  const steps = tablesIn(valueAt(config.value, list))
  const tag = nextTag(steps.map(([, step]) => String(step['tag'])))
  const step = { tag, new_sqlite_classes: [className] }
  const moved = (draft: Draft): void => {
    ;(valueAt(draft, list) as unknown[]).push(step)
  }
  if (config.format === 'json') {
    const value = `{ "tag": ${JSON.stringify(tag)}, "new_sqlite_classes": [${JSON.stringify(className)}] }`
    return checked(config, withElement(config, list, value), what, line, moved)
  }
  const last = config.spotOf([...list, steps.length - 1])
  const header = last?.key === undefined ? undefined : config.text.slice(...last.key)
  if (last === undefined || header === undefined) throw byHand(config.name, line, what)
  const eol = eolOf(config.text)
  const end = endOfLine(config.text, last.value[1])
  const added = ['', '', `[[${header}]]`, `tag = "${tag}"`, `new_sqlite_classes = ["${className}"]`].join(eol)
  return checked(config, spliced(config.text, [end, end], added), what, line, moved)
}

/** A tag that none has: that after `v1` is `v2`. */
const nextTag = (tags: readonly string[]): string => {
  const numbers = tags.map((tag) => /^v(\d+)$/.exec(tag)?.[1]).filter((number) => number !== undefined)
  const next = numbers.length === 0 ? `${tags.at(-1) ?? 'v1'}-sqlite` : `v${Math.max(...numbers.map(Number)) + 1}`
  return tags.includes(next) ? nextTag([next]) : next
}

/** Has logs brought into the new objects: `RESTORE_EMPTY` is `auto`, unless it says something already. */
const restoring = (config: ConfigFile, environment: Environment): ConfigFile => {
  const { vars } = environment.value
  const path = environment.pathOf('vars')
  const line = config.lineOf(path)
  const what = 'RESTORE_EMPTY = "auto" in vars'
  if (isTable(vars) && vars['RESTORE_EMPTY'] !== undefined) return config
  const moved = (draft: Draft): void => {
    const parent = valueAt(draft, path.slice(0, -1)) as Draft
    parent['vars'] = { ...(isTable(vars) ? vars : {}), RESTORE_EMPTY: 'auto' }
  }
  if (config.format === 'json') {
    const member = isTable(vars)
      ? withMember(config, path, 'RESTORE_EMPTY', '"auto"')
      : withMember(config, path.slice(0, -1), 'vars', '{ "RESTORE_EMPTY": "auto" }')
    return checked(config, member, what, line, moved)
  }
  const eol = eolOf(config.text)
  const { text } = config
  const spot = config.spotOf(path)
  if (spot === undefined && vars === undefined) {
    const added = ['', `[${path.join('.')}]`, 'RESTORE_EMPTY = "auto"', ''].join(eol)
    return checked(config, `${text}${/\n$/.test(text) ? '' : eol}${added}`, what, line, moved)
  }
  if (spot === undefined || text[spot.value[0]] !== '[') throw byHand(config.name, line, what)
  const end = endOfLine(text, spot.value[0])
  return checked(config, spliced(text, [end, end], `${eol}RESTORE_EMPTY = "auto"`), what, line, moved)
}

/** The configuration of a changed text, which says what it was meant to say and nothing else. */
const checked = (
  config: ConfigFile,
  text: string,
  what: string,
  line: number,
  change: (draft: Draft) => void,
): ConfigFile => {
  const meant = structuredClone(config.value) as Draft
  change(meant)
  try {
    const read = readConfig(config.name, text)
    if (isDeepStrictEqual(plain(read.value), plain(meant))) return read
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
  }
  throw byHand(config.name, line, what)
}

/** The same without the prototypes that a parser gives. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
