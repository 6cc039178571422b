// Makes ready what building and running need: npm packages, a Rust with a standard library for wasm32 and the wasm-bindgen
// command; or, where Rust cannot be had, a Worker that was built from these sources. Each step skips itself when its result is
// there, so that every npm script can start here, and says what it does and how long that took. It writes to this folder
// alone, and through npm, rustup, cargo and, as root on Debian, apt-get.
//
//   node scripts/setup.mjs [--rust] [--examples] [--tests]
//
//   --rust       what compiling needs, even if dist/ is up to date
//   --examples   also the packages of the example apps
//   --tests      all of these, the LiveStore clients that tests and benchmarks drive, the tools of the projects in which tests
//                use the package, cargo-deny, and a Chromium for the apps
//
// Runs on Node 18 and needs no package, because it comes before `npm ci`.

import { createHash } from 'node:crypto'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { findChromium, playwrightFolder, runsChromium } from './browser.mjs'
import * as debian from './setup/debian.mjs'
import { installCargoDeny } from './setup/cargo-deny.mjs'
import { isWorkerBuilt, takePrebuilt } from './setup/prebuilt.mjs'
import { installRust } from './setup/rust.mjs'
import { Failure, attempt, fail, run, say, seconds, step } from './setup/steps.mjs'
import { installWasmBindgen } from './setup/wasm-bindgen.mjs'
import { isAtLeast, list, output, read, root } from './toolchain.mjs'

/** The oldest Node that wrangler and miniflare run on. */
const nodeVersionMin = '22.12.0'

/** In a node_modules folder: the lock file and machine it was installed for. */
const stampName = '.livestore-sync-worker-lock'

/** Folders of folders with packages that only tests need, and what each of those is.
 * @type {ReadonlyArray<readonly [folder: string, what: string]>}
 */
const testPackages = [
  ['tests/clients', 'client'],
  ['tests/package/projects', 'project'],
]

const main = () => {
  const startMs = Date.now()
  const options = process.argv.slice(2)
  const known = ['--rust', '--examples', '--tests']
  const unknown = options.find((option) => !known.includes(option))
  if (unknown) fail(`unknown option ${unknown}; there are ${known.join(', ')}`)
  const forTests = options.includes('--tests')

  installPackages('.', 'npm packages')
  checkNode()
  if (forTests) for (const [folder, what] of testPackages) installPackagesBelow(folder, what)
  if (forTests || options.includes('--examples')) installPackagesBelow('examples', 'example')
  if (forTests) installChromium()
  if (forTests || options.includes('--rust')) {
    const rust = installBuild(false)
    if (rust && forTests) installCargoDeny(rust)
  } else if (isWorkerBuilt()) say('Worker: dist/ is of these sources, nothing is to be compiled')
  else installBuild(true)
  say(`ready after ${seconds(startMs)}`)
}

/** What compiles the Worker, unless it may come from elsewhere and does.
 * @param {boolean} mayBePrebuilt
 */
const installBuild = (mayBePrebuilt) => {
  const rust = installRust(() => mayBePrebuilt && takePrebuilt())
  if (rust) installWasmBindgen(rust)
  return rust
}

// ----- npm -----

/** `npm ci` in a folder, unless its node_modules come from this very lock file.
 * @param {string} folder relative to the top
 * @param {string} what
 */
const installPackages = (folder, what) => {
  const lock = read(join(root, folder, 'package-lock.json'))
  if (lock === undefined) fail(`${join(folder, 'package-lock.json')} is missing; it belongs to the repository`)
  const stamp = `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`
  const stampPath = join(root, folder, 'node_modules', stampName)
  if (read(stampPath) === stamp) return say(`${what}: up to date`)
  step(`${what}: npm ci`, () =>
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: join(root, folder),
      env: { ...process.env, PATH: pathWithoutLocalNode() },
      otherwise: 'check the connection to the npm registry, then run the same command again',
    }),
  )
  writeFileSync(stampPath, stamp)
}

/** The same in each folder below one that has a lock file.
 * @param {string} folder relative to the top
 * @param {string} what each of them is
 */
const installPackagesBelow = (folder, what) => {
  for (const name of list(join(root, folder)).sort()) {
    if (existsSync(join(root, folder, name, 'package-lock.json')))
      installPackages(join(folder, name), `${what} ${name}`)
  }
}

/** PATH without any node_modules/.bin: `npm ci` deletes the node in there, and must not run on it. */
const pathWithoutLocalNode = () =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !/node_modules[\\/]\.bin[\\/]?$/.test(folder))
    .join(delimiter)

/** The npm package `node` brings the Node that all npm scripts run on, whatever the machine's own is. */
const checkNode = () => {
  const version = output(join(root, 'node_modules/.bin/node'), ['--version'])
  if (version !== undefined && isAtLeast(version, nodeVersionMin)) return say(`Node ${version} in node_modules: ok`)
  rmSync(join(root, 'node_modules', stampName), { force: true })
  fail(
    `node_modules/.bin/node is ${version ?? 'missing or does not run'}, needed is ${nodeVersionMin} or newer. ` +
      'The install script of the npm package `node` puts it there: check that npm may run install scripts ' +
      '(`npm config get ignore-scripts` says false), then run the same command again',
  )
}

// ----- Chromium -----

/** A Chromium for the browser tests, unless there is one: Debian's as root on Debian, else Playwright's, in .cache. */
const installChromium = () => {
  const found = findChromium()
  if (found !== undefined) return say(`Chromium: ok, ${found}`)
  const wrong = debian.isRootOnDebian()
    ? debian.installPackages(['chromium'])
    : step("Chromium: Playwright's download", () =>
        attempt(join(root, 'node_modules/.bin/node'), ['node_modules/playwright-core/cli.js', 'install', 'chromium'], {
          env: { ...process.env, PLAYWRIGHT_BROWSERS_PATH: playwrightFolder },
        }),
      )
  const path = findChromium()
  if (path !== undefined && runsChromium(path)) return
  fail(
    `no Chromium could be installed for the browser tests (${wrong ?? 'what was installed does not run'}): install Chromium ` +
      'or Chrome, on Debian as root by `apt-get install chromium`, or set CHROMIUM_PATH to the program of one, and then ' +
      'run the same command again',
  )
}

try {
  main()
} catch (error) {
  if (!(error instanceof Failure)) throw error
  console.error(`setup: FAILED: ${error.message}`)
  process.exitCode = 1
}
