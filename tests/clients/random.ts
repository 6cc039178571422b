/** Randomness that can be had again: one seed, printed, overridable by the environment variable `SEED`. */

/** The seed of this run. */
export const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

if (!Number.isSafeInteger(seed)) throw new Error(`SEED is not an integer: ${process.env['SEED']}`)

/** A stream of numbers in [0, 1) that `from` and `stream` decide (a 32-bit mix of a counter). */
export const randomStream = (from: number, stream: string): (() => number) => {
  let state = [...stream].reduce((hash, letter) => Math.imul(hash ^ letter.codePointAt(0)!, 0x01000193), from | 0)
  return () => {
    state = (state + 0x9e3779b9) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d)
    mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

/** An integer from `from` to `to`, both included. */
export const integerBetween = (random: () => number, from: number, to: number): number =>
  from + Math.floor(random() * (to - from + 1))
