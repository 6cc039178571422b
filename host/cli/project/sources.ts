/**
 * The sources of a project as text, and what they import. Nothing is parsed further than to tell code from comments.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { lineAt } from './config-file.ts'

/** The server of sync-cf, and what takes its place. */
export const theirServer = '@livestore/sync-cf/cf-worker'
export const ourServer = 'livestore-sync-worker/cf-worker'

export interface Source {
  /** From the project's folder, with `/`. */
  readonly path: string
  readonly text: string
  /** The same with comments as spaces, every letter where it was. */
  readonly code: string
}

/** Where a module is imported. */
export interface Import {
  readonly from: string
  /** Where the name stands in the text, without its quotes. */
  readonly at: number
  readonly line: number
}

const extensions = /\.([cm]?[jt]sx?|svelte|vue|astro)$/

/** Folders of what is installed or made. */
const made = /^(\..*|node_modules|dist|build|out|coverage|target)$/

/** A file of more bytes is nobody's handwriting. */
const bytesMax = 1_000_000

/** A folder with a configuration of its own is another Worker's. */
const isAnothers = (folder: string): boolean =>
  configNames.some((name) => statSync(join(folder, name), { throwIfNoEntry: false }) !== undefined)

/** The files that wrangler looks for, in its order. */
export const configNames = ['wrangler.json', 'wrangler.jsonc', 'wrangler.toml']

/** The sources of the project in a folder, by path. */
export const sourcesBelow = (folder: string): readonly Source[] => {
  const found: Source[] = []
  const visit = (below: string): void => {
    for (const entry of readdirSync(below, { withFileTypes: true })) {
      const path = join(below, entry.name)
      if (entry.isDirectory() && !made.test(entry.name) && !isAnothers(path)) visit(path)
      else if (entry.isFile() && extensions.test(entry.name) && statSync(path).size <= bytesMax)
        found.push(sourceOf(relative(folder, path).split(sep).join('/'), readFileSync(path, 'utf8')))
    }
  }
  visit(folder)
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
}

export const sourceOf = (path: string, text: string): Source => ({ path, text, code: withoutComments(text) })

/** Comments, and what may look like one and is none: texts, templates, regular expressions behind what no value ends with. */
const lexemes =
  /(\/\/[^\n]*|\/\*[^]*?\*\/)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`|(?<=(?:^|[(,=:[!&|?{};+\n]|=>|return|typeof)[ \t]*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g

/** A text in which comments are spaces, and lines are where they were. */
const withoutComments = (text: string): string =>
  text.replace(lexemes, (lexeme, comment?: string) =>
    comment === undefined ? lexeme : lexeme.replace(/[^\n\r]/g, ' '),
  )

/** What a source imports: by `import`, `export … from`, `import()`, `require()` and the mocks of test runners. */
export const importsOf = ({ code }: Source): readonly Import[] =>
  [...code.matchAll(/(?<=\bfrom\s*|\bimport\s*|\b(?:import|require|mock|doMock)\s*\(\s*)(["'])([^"'\n]+)\1/g)].map(
    ({ 2: from = '', index }) => ({ from, at: index + 1, line: lineAt(code, index) }),
  )

/** Where a pattern with one group is found in the code: what the group says, and the line. */
export const foundIn = (
  sources: readonly Source[],
  pattern: RegExp,
): ReadonlyArray<{ readonly source: Source; readonly text: string; readonly line: number }> =>
  sources.flatMap((source) =>
    [...source.code.matchAll(pattern)].map((match) => ({
      source,
      text: match[1] ?? match[0],
      line: lineAt(source.code, match.index),
    })),
  )
