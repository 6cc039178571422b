// The wasm-bindgen command, in the version of the crate: one that is there, else the program that its authors have built, else
// compiled here. A program is taken from the network only if its SHA-256 is written in wasm-bindgen.json, beside this file:
//
//   node scripts/setup/wasm-bindgen.mjs    downloads those of the version in Cargo.lock and writes their SHA-256 down

import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findWasmBindgen, read, root, toolsFolder, wasmBindgenVersion } from '../toolchain.mjs'
import { ask } from './ask.mjs'
import { installProgram } from './crate.mjs'
import { fail, run, say, step } from './steps.mjs'

/** @import { WasmRust } from '../toolchain.mjs' */

const program = fileURLToPath(import.meta.url)
const knownPath = program.replace(/\.mjs$/, '.json')

/** What is known of the programs that its authors have built.
 * @typedef {object} Known
 * @property {string} releases the URL below which they publish them
 * @property {Record<string, string>} sha256 of each archive, by its name
 */

/** @returns {Known} */
const known = () => JSON.parse(read(knownPath) ?? '{"releases":"","sha256":{}}')

/** The machines that they build it for: Node's name of the platform and the processor, and theirs.
 * @type {Readonly<Record<string, string>>}
 */
const machines = {
  'linux x64': 'x86_64-unknown-linux-musl',
  'linux arm64': 'aarch64-unknown-linux-gnu',
  'darwin x64': 'x86_64-apple-darwin',
  'darwin arm64': 'aarch64-apple-darwin',
}

/** @param {WasmRust} rust */
export const installWasmBindgen = (rust) => {
  const version = wasmBindgenVersion()
  const found = findWasmBindgen()
  if (found !== undefined) return say(`wasm-bindgen ${version}: ok, ${found}`)
  if (download(version)) return
  // Not locked: a registry mirror may lag behind the newest patch releases in that lock file.
  installProgram(rust, 'wasm-bindgen', { crate: 'wasm-bindgen-cli', version, isLocked: false })
}

/** Puts the program of this version and machine into place, if its SHA-256 is known and it can be had.
 * @param {string} version
 * @returns {boolean} whether it is there
 */
const download = (version) => {
  const { releases, sha256 } = known()
  const archive = archiveOf(version, machines[`${process.platform} ${process.arch}`] ?? '')
  const wanted = sha256[archive]
  if (wanted === undefined) return false
  const url = `${releases}/${version}/${archive}`
  return step(`wasm-bindgen ${version}: downloading ${url}`, () =>
    inWorkFolder((work) => {
      const file = join(work, archive)
      const reason = ask(url, file)
      if (reason !== undefined) {
        say(`wasm-bindgen ${version}: it cannot be had there (${reason})`)
        return false
      }
      const sum = sumOf(file)
      if (sum !== wanted) fail(`${url} has the SHA-256 ${sum}, but ${relative(root, knownPath)} says ${wanted}`)
      run('tar', ['-xzf', file, '-C', work], { otherwise: 'install tar, then run the same command again' })
      mkdirSync(join(toolsFolder, 'bin'), { recursive: true })
      cpSync(join(work, archive.replace(/\.tar\.gz$/, ''), 'wasm-bindgen'), join(toolsFolder, 'bin/wasm-bindgen'))
      return findWasmBindgen() !== undefined
    }),
  )
}

/** Writes down the SHA-256 of every archive of the version in Cargo.lock. */
const record = () => {
  const { releases } = known()
  const version = wasmBindgenVersion()
  const sha256 = inWorkFolder((work) =>
    Object.fromEntries(
      Object.values(machines).map((machine) => {
        const archive = archiveOf(version, machine)
        const reason = ask(`${releases}/${version}/${archive}`, join(work, archive))
        if (reason !== undefined) throw new Error(`${releases}/${version}/${archive}: ${reason}`)
        return [archive, sumOf(join(work, archive))]
      }),
    ),
  )
  writeFileSync(knownPath, `${JSON.stringify({ releases, sha256 }, undefined, 2)}\n`)
}

/** @template T
 * @param {(folder: string) => T} work what is done in a folder that is there for as long
 * @returns {T}
 */
const inWorkFolder = (work) => {
  mkdirSync(toolsFolder, { recursive: true })
  const folder = mkdtempSync(join(toolsFolder, 'download-'))
  try {
    return work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param {string} version
 * @param {string} machine
 */
const archiveOf = (version, machine) => `wasm-bindgen-${version}-${machine}.tar.gz`

/** @param {string} file */
const sumOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex')

if (process.argv[1] === program) record()
