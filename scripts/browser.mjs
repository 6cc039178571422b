// Which Chromium the browser tests drive. Looks, installs nothing: scripts/setup.mjs installs what this module misses. Runs on
// Node 18 and needs no package, but finds Playwright's own Chromium by `playwright-core` alone.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { findInPath, root } from './toolchain.mjs'

/** The names that Chromium goes by in PATH: Debian's first. */
const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** The program of a Chromium: what CHROMIUM_PATH names, else one in PATH, else Playwright's own.
 * @returns {string | undefined}
 */
export const findChromium = () => {
  const named = process.env['CHROMIUM_PATH']
  if (named) {
    if (!existsSync(named)) throw new Error(`CHROMIUM_PATH is ${named}, where nothing is`)
    return named
  }
  return names.map(findInPath).find((path) => path !== undefined) ?? playwrightChromium()
}

/** Where setup has Playwright put its browsers, unless they have a place already. */
export const playwrightFolder = process.env['PLAYWRIGHT_BROWSERS_PATH'] ?? join(root, '.cache/playwright')

/** @returns {string | undefined} */
const playwrightChromium = () => {
  try {
    process.env['PLAYWRIGHT_BROWSERS_PATH'] = playwrightFolder
    const path = createRequire(import.meta.url)('playwright-core').chromium.executablePath()
    return existsSync(path) ? path : undefined
  } catch {
    return undefined // The package, or this system's Chromium, is not there.
  }
}

/** Whether the package that is called chromium is one: Ubuntu's only points to a snap.
 * @param {string} path
 */
export const runsChromium = (path) => {
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  return status === 0 && /chrom/i.test(stdout)
}
