// Names the functions in the stack of a trap: the WebAssembly that is shipped has numbers alone, the file that the build
// leaves beside it has names. Both must come from the same build.
//
//   node scripts/names.mjs < trap.log                    with the names of dist/
//   node scripts/names.mjs examples/rust-hooks/dist      with those of another build

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'

/** The file with names, beside `index_bg.wasm`. Nothing that deploys a folder's modules takes it for one. */
export const namedName = 'index_bg.wasm.named'

/** A section of a WebAssembly module.
 * @typedef {object} Section
 * @property {number} id 0 for one that engines do not need
 * @property {Uint8Array} whole with its id and length
 * @property {Reader} content
 */

/** Reads numbers and texts as they are written in WebAssembly. */
class Reader {
  at = 0

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes
  }

  get isAtEnd() {
    return this.at >= this.bytes.length
  }

  number() {
    let [value, scale, byte] = [0, 1, 0]
    do {
      byte = this.bytes[this.at++] ?? 0
      value += (byte & 127) * scale
      scale *= 128
    } while (byte >= 128)
    return value
  }

  /** The next bytes, whose number comes before them. */
  chunk() {
    const length = this.number()
    return this.bytes.subarray(this.at, (this.at += length))
  }

  text() {
    return new TextDecoder().decode(this.chunk())
  }
}

const magicBytes = 8

/** @param {Uint8Array} module @returns {Section[]} */
const sectionsOf = (module) => {
  const reader = new Reader(module)
  const sections = []
  for (reader.at = magicBytes; !reader.isAtEnd;) {
    const start = reader.at
    const id = module[reader.at++] ?? 0
    const content = new Reader(reader.chunk())
    sections.push({ id, whole: module.subarray(start, reader.at), content })
  }
  return sections
}

/** A module without names and whatever else engines do not need; all the rest is the same to the byte.
 * @param {Uint8Array} module
 */
export const stripped = (module) => {
  const kept = sectionsOf(module).filter(({ id }) => id !== 0)
  return Buffer.concat([module.subarray(0, magicBytes), ...kept.map(({ whole }) => whole)])
}

/** Functions' names by their numbers.
 * @param {Uint8Array} module
 * @returns {Map<number, string>}
 */
export const namesOf = (module) => {
  const names = new Map()
  for (const { id, content } of sectionsOf(module)) {
    if (id !== 0 || content.text() !== 'name') continue
    while (!content.isAtEnd) {
      const isOfFunctions = content.number() === 1
      const entries = new Reader(content.chunk())
      if (!isOfFunctions) continue
      for (let left = entries.number(); left > 0; left--) names.set(entries.number(), entries.text())
    }
  }
  return names
}

/** What the compiler adds to a name. */
const hash = /::h[0-9a-f]{16}\b|(?<=\w)\[[0-9a-f]{8,16}\]/g

/** A text in which `wasm-function[12]` has become the name of the 12th function.
 * @param {string} stack
 * @param {Map<number, string>} names
 */
export const withNames = (stack, names) =>
  stack.replaceAll(
    /wasm-function\[(\d+)\]/g,
    (unnamed, number) => names.get(Number(number))?.replaceAll(hash, '') ?? unnamed,
  )

if (import.meta.main) {
  const folder = resolve(process.argv[2] ?? 'dist')
  if (!existsSync(join(folder, namedName))) {
    console.error(`names: failed: ${folder} has no ${namedName}: only a build that was made here leaves it`)
    process.exit(1)
  }
  const named = readFileSync(join(folder, namedName))
  if (!stripped(named).equals(readFileSync(join(folder, 'index_bg.wasm')))) {
    console.error(`names: failed: ${folder} holds files of two builds`)
    process.exit(1)
  }
  // Line breaks of a log line are written out, so that each call has a line.
  process.stdout.write(withNames((await text(process.stdin)).replaceAll('\\n', '\n'), namesOf(named)))
}
