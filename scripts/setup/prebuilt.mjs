// A Worker that somebody else has built from these very sources: the npm package of this version, if its digest says so.
// It is for machines that cannot compile the core; what is compiled here is never replaced by it.

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { digestName, digestOf, isBuiltFrom, ownSources } from '../sources.mjs'
import { read, root } from '../toolchain.mjs'
import { say, seconds } from './steps.mjs'

/** How long npm may take to bring it, or to find that there is none. */
const npmMsMax = 60_000

/** Whether `dist/` is the Worker of these sources, wherever it was built. */
export const isWorkerBuilt = () => isBuiltFrom(join(root, 'dist'), digestOf(ownSources))

/** Puts the package's Worker into `dist/`, if it is of these sources. Returns whether it is there.
 * @returns {boolean}
 */
export const takePrebuilt = () => {
  const manifest = JSON.parse(read(join(root, 'package.json')) ?? '{}')
  const wanted = `${manifest.name}@${manifest.version}`
  // What anybody may publish under a name that is not taken is nobody's release.
  if (manifest.private) return none('no release of this version is on npm: package.json says that it is private')
  say(`prebuilt Worker: asking npm for ${wanted}`)
  const startMs = Date.now()
  const folder = join(root, '.cache/prebuilt')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const options = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const limits = ['--fetch-retries=0', '--fetch-timeout=10000']
  const { status, stderr, error } = spawnSync('npm', ['install', '--prefix', folder, ...options, ...limits, wanted], {
    cwd: folder,
    encoding: 'utf8',
    timeout: npmMsMax,
  })
  if (status !== 0) {
    const code = /^npm (?:error|ERR!) code (\S+)/m.exec(stderr ?? '')?.[1]
    return none(
      code === 'E404' || code === 'ETARGET'
        ? 'npm has none of this version'
        : `npm could not be asked for it (${code ?? error?.message ?? `code ${status}`})`,
    )
  }
  const dist = join(folder, 'node_modules', manifest.name, 'dist')
  if (!isBuiltFrom(dist, digestOf(ownSources))) return none(`${wanted} was built from other sources than these`)
  // The digest comes last: without it nothing is taken for whole.
  const to = join(root, 'dist')
  rmSync(to, { recursive: true, force: true })
  cpSync(dist, to, { recursive: true, filter: (path) => !path.endsWith(digestName) })
  cpSync(join(dist, digestName), join(to, digestName))
  rmSync(folder, { recursive: true, force: true })
  say(`prebuilt Worker: ${wanted} of npm was built from these sources; it is in dist/, nothing is compiled`)
  say(`prebuilt Worker: took ${seconds(startMs)}`)
  return true
}

/** @param {string} why */
const none = (why) => {
  say(`prebuilt Worker: ${why}`)
  return false
}
