// What a build is made of, and whether a folder holds the build of just that. A build leaves the digest of its sources beside
// its result, and the npm package carries it: so that who has the sources alone knows a package that was built from them.
// Runs on Node 18 and needs no package.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { read, root } from './toolchain.mjs'

/** All that the Worker in `dist/` is made of but the page that it serves, below {@link root}. */
export const ownSources = [
  'migrations',
  'src',
  'host',
  'Cargo.toml',
  'Cargo.lock',
  'package-lock.json',
  'scripts/build.mjs',
  'scripts/names.mjs',
].map((path) => join(root, path))

/** Below `host/`, but no part of the Worker: the package's command line. */
export const commandLine = join(root, 'host/cli')

/** How that is bundled. @type {import('esbuild').BuildOptions} */
export const commandLineBundle = {
  absWorkingDir: root,
  entryPoints: [join(commandLine, 'main.ts')],
  outfile: join(root, 'dist/cli.js'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // Modules of jsonc-parser that a bundler can follow are named there.
  mainFields: ['module', 'main'],
  minify: true,
  legalComments: 'none',
  logLevel: 'warning',
}

/** The page of the administration. Bundled by itself, as the command line is: nothing is compiled for a change of it. */
export const inspector = join(root, 'inspector')

/** What a Worker consists of, in its folder: the bundles, the page and the WebAssembly. */
export const ownResults = ['worker.js', 'cf-worker.js', 'inspector.js', 'index_bg.wasm']

/** Beside the result of a build: the digest of its sources. */
export const digestName = 'sources.sha256'

/** The files at and below a path.
 * @param {string} path
 * @returns {string[]}
 */
export const filesBelow = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => filesBelow(join(path, name))) : [path]

/** SHA-256 of files and their paths in this repository, in hex.
 * @param {string[]} paths files and folders
 * @param {string} [profile] what else tells one build of them from another
 */
export const digestOf = (paths, profile = 'release') => {
  const hash = createHash('sha256').update(profile)
  const isOfWorker = (/** @type {string} */ path) => !path.startsWith(commandLine)
  const files = paths
    .flatMap(filesBelow)
    .filter(isOfWorker)
    .map((path) => ({ path, name: relative(root, path).split(sep).join('/') }))
  files.sort((a, b) => (a.name < b.name ? -1 : 1))
  for (const { path, name } of files) {
    const bytes = readFileSync(path)
    hash.update(`\n${name}\n${bytes.length}\n`).update(bytes)
  }
  return hash.digest('hex')
}

/** Whether a folder holds the whole result of a build of these sources.
 * @param {string} folder
 * @param {string} digest
 * @param {string[]} [results]
 */
export const isBuiltFrom = (folder, digest, results = ownResults) =>
  read(join(folder, digestName))?.trim() === digest && results.every((name) => existsSync(join(folder, name)))
