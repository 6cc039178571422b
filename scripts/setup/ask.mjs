// Asks a server for a file. Waits for no server longer than seconds, and asks by the Node of node_modules: that one goes by
// the machine's proxy and certificates, as rustup and cargo do. So this is a program, too:
//
//   node scripts/setup/ask.mjs URL [FILE]    ends with 0 once URL has answered, and is in FILE; else prints the reason

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../toolchain.mjs'

const program = fileURLToPath(import.meta.url)

/** How long a server may take to begin its answer: when it is asked whether it is there, and for what is wanted from it. */
const [askMsMax, beginMsMax] = [5_000, 20_000]

/** How long it may take to end it. */
const endMsMax = 120_000

/** Why a URL cannot be had; undefined if it can.
 * @param {string} url
 * @param {string} [file] where to put what it holds
 * @returns {string | undefined}
 */
export const ask = (url, file) => {
  const { status, stdout } = spawnSync(
    join(root, 'node_modules/.bin/node'),
    [program, url, ...(file === undefined ? [] : [file])],
    { encoding: 'utf8', env: { ...process.env, NODE_USE_ENV_PROXY: '1', NODE_USE_SYSTEM_CA: '1' } },
  )
  return status === 0 ? undefined : stdout?.trim() || 'it could not be asked'
}

/** @param {string} url
 * @param {string | undefined} file
 */
const answer = async (url, file) => {
  const msMax = file === undefined ? askMsMax : beginMsMax
  const controller = new AbortController()
  const begin = setTimeout(() => controller.abort(), msMax)
  try {
    const response = await fetch(url, { signal: AbortSignal.any([controller.signal, AbortSignal.timeout(endMsMax)]) })
    clearTimeout(begin)
    if (!response.ok) return `it answers ${response.status}`
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (file !== undefined) writeFileSync(file, bytes)
    return undefined
  } catch (error) {
    if (controller.signal.aborted) return `no answer within ${msMax / 1000} s`
    const { message, cause } = /** @type {Error & { cause?: { code?: string, message?: string } }} */ (error)
    return cause?.code ?? cause?.message ?? message
  } finally {
    clearTimeout(begin)
  }
}

if (process.argv[1] === program) {
  const [url = '', file] = process.argv.slice(2)
  const reason = await answer(url, file)
  if (reason !== undefined) console.log(reason)
  process.exit(reason === undefined ? 0 : 1)
}
