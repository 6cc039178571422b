// The instance of the core that is in use, until it ends.
//
// WebAssembly without unwinding cannot be left by an exception and entered again: locks stay taken, the stack stays
// where it was, and what was half done stays so. That holds for a trap and for whatever an import throws. So all that an
// instance exports is wrapped here, closures and promise callbacks included: what is thrown out of it ends it. It is not
// entered again, and what it owed fails. `worker.ts` then replaces it, and closes the sockets of the object that it
// worked for.

/** What calls and promises of an instance that has ended fail with; it says nothing of what was thrown. */
export class Ended extends Error {
  constructor() {
    super('The store is not available: try again')
  }
}

/**
 * What an instance that has ended leaves behind.
 *
 * @typedef {object} End
 * @property {unknown} error what was thrown
 * @property {unknown} owner the state of the object that it worked for, undefined if it was none
 */

/** Counts the instances. */
let count = 0

/** Whether the last one has ended. */
let isOver = false

/** What it has promised. @type {Map<Promise<unknown>, PromiseWithResolvers<unknown>>} */
const owed = new Map()

/** @type {(end: End) => void} */
let onEnd = () => {}

/** @param {(end: End) => void} listener */
export const whenEnded = (listener) => {
  onEnd = listener
}

/** Whether the instance in use has ended, so that another has to replace it. */
export const hasEnded = () => isOver

/** Tells an instance from those before it. */
export const instanceNumber = () => count

/** @param {End} end */
const over = (end) => {
  isOver = true
  for (const { reject } of owed.values()) reject(new Ended())
  owed.clear()
  onEnd(end)
}

/**
 * The exports of a new instance, each of which runs until something is thrown out of one of them.
 *
 * @param {Record<string, any>} exports
 */
export const guarded = (exports) => {
  /** How many of its calls are on the stack: an import may call an export. */
  let depth = 0
  /** @type {End | undefined} */
  let end
  const ownerNow = () => {
    try {
      return exports['__wbindgen_externrefs'].get(exports['owner']())
    } catch {
      return undefined // it has no room left even for this
    }
  }
  const guard =
    (/** @type {Function} */ call) =>
    (/** @type {unknown[]} */ ...args) => {
      if (end !== undefined) throw new Ended()
      depth += 1
      try {
        return call(...args)
      } catch (error) {
        end ??= { error, owner: ownerNow() }
        throw error
      } finally {
        depth -= 1
        if (depth === 0 && end !== undefined) {
          over(end)
          throw new Ended()
        }
      }
    }
  count += 1
  isOver = false
  const entries = Object.entries(exports)
  return Object.fromEntries(entries.map(([name, it]) => [name, typeof it === 'function' ? guard(it) : it]))
}

/** A promise of the core, which fails if its instance ends before it is settled. */
export const owe = () => {
  const promise = Promise.withResolvers()
  owed.set(promise.promise, promise)
  return promise.promise
}

/** Has a client connect again, and ask again for what it waits for. @param {WebSocket} socket */
export const connectAgain = (socket) => {
  try {
    socket.close(1012, 'connect again')
  } catch {
    // It is closed.
  }
}

/** The same to a client: its socket is closed if that fails. @param {WebSocket} socket */
export const oweTo = (socket) => {
  const promise = owe()
  promise.catch(() => connectAgain(socket))
  return promise
}

/** @param {Promise<unknown>} promise */
const take = (promise) => {
  const taken = owed.get(promise)
  owed.delete(promise)
  return taken
}

/** @param {Promise<unknown>} promise @param {unknown} value */
export const settle = (promise, value) => take(promise)?.resolve(value)

/** @param {Promise<unknown>} promise @param {unknown} error */
export const refuse = (promise, error) => take(promise)?.reject(error)

/** How many bytes a text has in UTF-8. @param {string} text */
export const utf8Length = (text) => {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit > 0x7f) bytes += unit > 0x7ff ? 2 : 1
    // Both halves of a pair together have four; half of one alone becomes a replacement character of three.
    if ((unit & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      at++
    }
  }
  return bytes
}
