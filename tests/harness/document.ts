/** The repository's documents as a reader meets them: their sections, the code that they show, and where they lead. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './server.ts'

/** A block of code in a document. */
export interface Block {
  /** What stands behind the fence: `ts`, `toml`, `sh`… */
  readonly language: string
  readonly text: string
  /** The heading that it stands below. */
  readonly section: string
}

export interface Document {
  /** From the root: `docs/operations.md` */
  readonly path: string
  readonly blocks: readonly Block[]
  readonly headings: readonly string[]
  /** Its lines outside of blocks. */
  readonly prose: string
}

/** Every document that somebody reads, by its path from the root: those of the projects that `create` writes as well. */
export const documentPaths: readonly string[] = [
  ...globSync(['*.md', 'llms.txt', 'docs/*.md', 'bench/*.md', 'fuzz/*.md', 'examples/*.md', 'examples/*/*.md'], {
    cwd: root,
  }),
].sort()

/** Reads a document by its path from the root. */
export const readDocument = (path: string): Document => {
  const [blocks, headings, prose]: [Block[], string[], string[]] = [[], [], []]
  let open: { readonly language: string; readonly lines: string[] } | undefined
  for (const line of readFileSync(join(root, path), 'utf8').split('\n')) {
    const fence = /^ *```(\w*)$/.exec(line)
    if (open !== undefined && fence !== null) {
      blocks.push({ language: open.language, text: `${open.lines.join('\n')}\n`, section: headings.at(-1) ?? '' })
      open = undefined
    } else if (open !== undefined) open.lines.push(line)
    else if (fence !== null) open = { language: fence[1]!, lines: [] }
    else {
      const [, heading] = /^#+ (.+)$/.exec(line) ?? []
      if (heading !== undefined) headings.push(heading)
      prose.push(line)
    }
  }
  if (open !== undefined) throw new Error(`${path}: a block of ${open.language || 'code'} has no end`)
  return { path, blocks, headings, prose: prose.join('\n') }
}

/** The only block of a language below a heading, the first one if there are several. */
export const shownIn = (path: string, section: string, language: string): string => {
  const blocks = readDocument(path).blocks.filter((block) => block.section === section && block.language === language)
  if (blocks[0] === undefined) throw new Error(`${path} shows no ${language} below '${section}'`)
  return blocks[0].text
}

/** What a document says in a table, row by row, by the title of its first column. */
export const tableIn = ({ path, prose }: Document, title: string): ReadonlyArray<readonly string[]> => {
  const lines = prose.split('\n')
  const start = lines.findIndex((line) => line.startsWith(`| ${title} |`))
  if (start < 0) throw new Error(`${path} has no table of ${title}`)
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'))
  return lines.slice(start + 2, end < 0 ? undefined : end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** The name by which a heading is linked to, as GitHub makes it, less what it appends to one that is there twice. */
const anchorOf = (heading: string): string =>
  heading
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')

/** The names by which its headings are linked to. */
export const anchorsOf = ({ headings }: Document): ReadonlySet<string> => {
  const counts = new Map<string, number>()
  return new Set(
    headings.map((heading) => {
      const anchor = anchorOf(heading)
      const count = counts.get(anchor) ?? 0
      counts.set(anchor, count + 1)
      return count === 0 ? anchor : `${anchor}-${count}`
    }),
  )
}

/** Where a document leads, as it stands there. */
export const linksIn = ({ prose }: Document): readonly string[] =>
  [...prose.replaceAll(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
