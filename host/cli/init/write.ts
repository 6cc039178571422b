/** Writing files whole or not at all. */
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { Failure } from '../command.ts'

/** Writes all files or none: each beside its place first, then all are moved there. Throws {@link Failure}. */
export const writeAll = (files: ReadonlyArray<{ readonly path: string; readonly bytes: Uint8Array }>): void => {
  const asides: string[] = []
  const moved: Array<{ readonly path: string; readonly was: Buffer | undefined }> = []
  try {
    const places = files.map(({ path, bytes }) => {
      // A link stays one: what it leads to is replaced.
      const real = existsSync(path) ? realpathSync(path) : path
      const aside = `${real}.${process.pid}.tmp`
      asides.push(aside)
      writeFileSync(aside, bytes, existsSync(real) ? { mode: statSync(real).mode } : {})
      return {
        real,
        aside,
        was: statSync(real, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(real) : undefined,
      }
    })
    for (const { real, aside, was } of places) {
      renameSync(aside, real)
      moved.push({ path: real, was })
    }
  } catch (error) {
    for (const { path, was } of moved.toReversed())
      if (was === undefined) rmSync(path, { force: true })
      else writeFileSync(path, was)
    throw new Failure(`init: nothing was changed: ${(error as Error).message}`)
  } finally {
    for (const aside of asides) rmSync(aside, { force: true })
  }
}
