/** The documents: no link in them is dead, and each page can be reached from the README and from `llms.txt`. */
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, it } from 'node:test'
import { anchorsOf, documentPaths, linksIn, readDocument } from '../harness/document.ts'
import { root } from '../harness/server.ts'

/** What is wrong with a link that stands in `from`; nothing if it leads somewhere. */
const wrongWith = (from: string, link: string): string | undefined => {
  if (/^[a-z]+:/i.test(link)) return undefined
  const [file = '', anchor] = link.split('#')
  const path = file === '' ? from : normalize(join(from, '..', file))
  if (path.startsWith('..')) return `${from}: ${link} leads out of the repository`
  if (!existsSync(join(root, path))) return `${from}: ${link}: there is no such file`
  if (anchor === undefined) return undefined
  if (!path.endsWith('.md')) return `${from}: ${link}: only documents have headings`
  return anchorsOf(readDocument(path)).has(anchor) ? undefined : `${from}: ${link}: there is no such heading`
}

/** What is wrong in the documents, and how much was looked at. */
const check = (links: ReadonlyArray<readonly [from: string, link: string]>): void => {
  assert.notEqual(links.length, 0)
  assert.deepEqual(
    links.map(([from, link]) => wrongWith(from, link)).filter((wrong) => wrong !== undefined),
    [],
  )
}

/** Where a document leads, as paths from the root. */
const reachedFrom = (path: string): ReadonlySet<string> =>
  new Set(linksIn(readDocument(path)).map((link) => normalize(join(path, '..', link.split('#')[0]!))))

const pages = globSync('docs/*.md', { cwd: root })

describe('documents', () => {
  it('control: a dead link is known', () => {
    for (const link of ['nowhere.md', '#nowhere', 'docs/operations.md#nowhere', '../README.md', 'package.json#name'])
      assert.match(wrongWith('README.md', link) ?? '', /^README\.md: /, link)
    for (const link of ['docs/operations.md#restore', 'https://livestore.dev', '#more', 'docs'])
      assert.equal(wrongWith('README.md', link), undefined, link)
  })

  it('lead to files and headings that are there', () =>
    check(documentPaths.flatMap((path) => linksIn(readDocument(path)).map((link) => [path, link] as const))))

  it('are there where the code and its configuration name them', () => {
    const named = /(?<![\w/])(?:docs\/[\w-]+|ARCHITECTURE|CONTRIBUTING|SECURITY|README)\.md(?:#[\w-]+)?/g
    const sources = ['*.toml', 'src/**/*.{rs,js}', 'host/**/*.ts', 'scripts/**/*.mjs', 'examples/*/*.toml']
    const files = globSync(sources, { cwd: root, exclude: ['**/node_modules'] })
    check(
      files.flatMap((file) =>
        [...readFileSync(join(root, file), 'utf8').matchAll(named)]
          // They are named as from the root, wherever the file is.
          .map(([name]) => ['README.md', name] as const),
      ),
    )
  })

  for (const index of ['README.md', 'llms.txt']) {
    it(`are all reached from ${index}`, () => {
      assert.notEqual(pages.length, 0)
      const reached = reachedFrom(index)
      assert.deepEqual(
        pages.filter((page) => !reached.has(page)),
        [],
      )
    })
  }
})
