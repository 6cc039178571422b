// How a step of the set-up says what it does and how long that took, runs commands, and fails.

import { spawnSync } from 'node:child_process'
import { root } from '../toolchain.mjs'

/** @param {string} text */
export const say = (text) => console.log(`setup: ${text}`)

/** Says what is done and, once it is, how long that took. One that fails says so itself.
 * @template T
 * @param {string} what
 * @param {() => T} work
 * @returns {T}
 */
export const step = (what, work) => {
  say(what)
  const startMs = Date.now()
  const result = work()
  say(`${what}: took ${seconds(startMs)}`)
  return result
}

/** The time since then.
 * @param {number} startMs
 */
export const seconds = (startMs) => `${((Date.now() - startMs) / 1000).toFixed(1)} s`

/** Runs a command with its output shown. Returns what went wrong, undefined if nothing did.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {string | undefined}
 */
export const attempt = (program, args, { cwd = root, env = process.env } = {}) => {
  const { status, signal, error } = spawnSync(program, args, { cwd, env, stdio: 'inherit' })
  if (status === 0) return undefined
  const how = error?.message ?? (signal ? `was ended by ${signal}` : `ended with code ${status}`)
  return `\`${[program, ...args].join(' ')}\` ${how}`
}

/** The same; ends the set-up if it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, otherwise: string }} options `otherwise`: what to do when it fails
 */
export const run = (program, args, { otherwise, ...options }) => {
  const wrong = attempt(program, args, options)
  if (wrong !== undefined) fail(`${wrong}: ${otherwise}`)
}

/** @param {string} text what is wrong, and what to do
 * @returns {never}
 */
export function fail(text) {
  throw new Failure(text)
}

/** A step that could not be done; the message says what to do. */
export class Failure extends Error {}
