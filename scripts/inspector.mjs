// Bundles the page of the administration: `inspector/` becomes one document with its script and its style inside, and that
// a module from which the Worker serves it.

import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspector } from './sources.mjs'

/** What stands in `index.html` for the script, and for the style. */
const scriptTag = /<script type="module" src="main\.ts"><\/script>/
const styleTag = /<link rel="stylesheet" href="style\.css" \/>/

/** @param {string} text */
const sha256 = (text) => createHash('sha256').update(text).digest('base64')

/** What the page may do: run its own script, look as it does, and ask the Worker that it came from.
 * @param {string} script
 * @param {string} style
 */
const policyOf = (script, style) =>
  [
    `default-src 'none'`,
    `script-src 'sha256-${sha256(script)}'`,
    `style-src 'sha256-${sha256(style)}'`,
    `img-src data:`,
    `connect-src 'self'`,
    `base-uri 'none'`,
    `form-action 'none'`,
    `frame-ancestors 'none'`,
  ].join('; ')

/** Writes the module: it exports the document, its Content-Security-Policy, and an entity tag by which browsers know it again.
 * @param {string} outfile
 */
export const bundleInspector = async (outfile) => {
  const { build } = await import('esbuild')
  /** @param {string} name */
  const bundled = async (name) => {
    const { outputFiles } = await build({
      entryPoints: [join(inspector, name)],
      bundle: true,
      format: 'esm',
      target: ['es2022', 'chrome110', 'firefox110', 'safari16'],
      minify: true,
      legalComments: 'none',
      write: false,
      logLevel: 'warning',
    })
    return outputFiles
      .map(({ text }) => text)
      .join('')
      .trimEnd()
  }
  const [script, style] = await Promise.all([bundled('main.ts'), bundled('style.css')])
  let html = readFileSync(join(inspector, 'index.html'), 'utf8')
  for (const [tag, inline] of /** @type {const} */ ([
    [scriptTag, `<script type="module">${script}</script>`],
    [styleTag, `<style>${style}</style>`],
  ])) {
    if (!tag.test(html)) throw new Error(`inspector/index.html has no ${tag.source}`)
    html = html.replace(tag, () => inline)
  }
  const policy = policyOf(script, style)
  const etag = `"${sha256(html).slice(0, 22)}"`
  const exported = Object.entries({ html, policy, etag })
  writeFileSync(outfile, exported.map(([name, text]) => `export const ${name} = ${JSON.stringify(text)}\n`).join(''))
}
