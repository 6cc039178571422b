// Debian's packages, installed where that is this user's own business: as root, in a container or in CI. Nobody is made root.

import { findInPath, isAtLeast, output } from '../toolchain.mjs'
import { attempt, step } from './steps.mjs'

/** Whether packages can be installed here. */
export const isRootOnDebian = () =>
  ['apt-get', 'apt-cache', 'dpkg-query'].every((name) => findInPath(name) !== undefined) && output('id', ['-u']) === '0'

/** Installs what is missing of these packages. Returns why that cannot be, undefined once all are there.
 * @param {string[]} packages the first of which has to be of a version
 * @param {string} [versionMin]
 * @returns {string | undefined}
 */
export const installPackages = (packages, versionMin = '0') => {
  const missing = packages.filter(
    (name) => output('dpkg-query', ['-W', '-f', '${Status}', name]) !== 'install ok installed',
  )
  if (missing.length === 0) return undefined
  return step(`Debian's packages ${missing.join(', ')}: apt-get install`, () => {
    const wrong = apt('update')
    if (wrong !== undefined) return wrong
    const [first = ''] = packages
    const candidate = /Candidate: (\S+)/.exec(output('apt-cache', ['policy', first]) ?? '')?.[1] ?? '(none)'
    if (!isAtLeast(candidate, versionMin))
      return `Debian's package ${first} is of version ${candidate}, needed is ${versionMin} or newer`
    // Never at the price of a package the user has chosen, such as Debian's older rustc.
    return apt('install', '-y', '--no-install-recommends', '--no-remove', ...missing)
  })
}

/** @param {string[]} args */
const apt = (...args) =>
  attempt('apt-get', ['-o', 'Acquire::http::Timeout=20', '-o', 'DPkg::Lock::Timeout=60', '-q', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
