// Which Chromium the browser tests drive, and how one is installed where there is none. Runs on Node 18; finding needs no
// package, the download of Playwright's own Chromium needs `playwright-core`.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { findInPath, output, root } from './toolchain.mjs'

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

/** @returns {string | undefined} */
const playwrightChromium = () => {
  try {
    const path = createRequire(import.meta.url)('playwright-core').chromium.executablePath()
    return existsSync(path) ? path : undefined
  } catch {
    return undefined // The package, or this system's Chromium, is not there.
  }
}

/** The commands that install a Chromium on this machine: Debian's package as root on Debian, else Playwright's download.
 * @returns {{ what: string, commands: string[][] }}
 */
export const chromiumInstallation = () => {
  const isDebian = process.platform === 'linux' && findInPath('apt-get') !== undefined
  if (isDebian && process.getuid?.() === 0 && output('apt-cache', ['--version']) !== undefined) {
    const apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get']
    return {
      what: 'apt-get install chromium',
      commands: [
        [...apt, 'update'],
        [...apt, 'install', '-y', '--no-install-recommends', '--no-remove', 'chromium'],
      ],
    }
  }
  return {
    what: "Playwright's download",
    commands: [
      [join(root, 'node_modules/.bin/node'), join(root, 'node_modules/playwright-core/cli.js'), 'install', 'chromium'],
    ],
  }
}

/** Whether the package that is called chromium is one: Ubuntu's only points to a snap.
 * @param {string} path
 */
export const runsChromium = (path) => {
  const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  return status === 0 && /chrom/i.test(stdout)
}
