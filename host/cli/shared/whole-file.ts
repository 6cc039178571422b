/** A file that is written whole or not at all: aside, and moved to its place once all of it is on the disk. */
import { existsSync, type Stats, statSync } from 'node:fs'
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Failure } from '../command.ts'
import { plain } from './show.ts'

export class WholeFile {
  readonly path: string
  readonly #name: string
  readonly #aside: string
  readonly #mayReplace: boolean
  readonly #file: FileHandle

  private constructor(name: string, path: string, aside: string, mayReplace: boolean, file: FileHandle) {
    this.#name = name
    this.path = path
    this.#aside = aside
    this.#mayReplace = mayReplace
    this.#file = file
  }

  /** Throws what stands against writing `path`, before anything is asked of anybody. */
  static check(name: string, path: string, mayReplace: boolean): void {
    const target = resolve(path)
    let there: Stats | undefined
    try {
      there = statSync(target, { throwIfNoEntry: false })
    } catch (error) {
      cannot(name, target, error)
    }
    if (there?.isDirectory() === true) throw new Failure(`${name}: ${plain(target)} is a folder`)
    if (there !== undefined && !mayReplace) throw isThere(name, target)
    if (!existsSync(dirname(target))) throw new Failure(`${name}: there is no folder ${plain(dirname(target))}`)
  }

  /** Begins to write for the command `name`. */
  static async begin(name: string, path: string, mayReplace: boolean): Promise<WholeFile> {
    const target = resolve(path)
    const aside = join(dirname(target), `.${basename(target).slice(0, 200)}.${process.pid}.part`)
    const file = await open(aside, 'wx').catch((error: unknown) => cannot(name, target, error))
    return new WholeFile(name, target, aside, mayReplace, file)
  }

  async write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length;) {
      const written = await this.#file.write(piece, at).catch((error: unknown) => cannot(this.#name, this.path, error))
      at += written.bytesWritten
    }
  }

  /** Puts it in its place. */
  async end(): Promise<void> {
    try {
      await this.#file.sync()
      await this.#file.close()
      await this.#move()
    } catch (error) {
      if (error instanceof Failure) throw error
      cannot(this.#name, this.path, error)
    }
    // So that the name is there after a loss of power, too. Not every system lets a folder be opened.
    const folder = await open(dirname(this.path)).catch(() => undefined)
    await folder?.sync().catch(() => {})
    await folder?.close()
  }

  /** Leaves nothing of it. */
  async discard(): Promise<void> {
    await this.#file.close().catch(() => {})
    await unlink(this.#aside).catch(() => {})
  }

  async #move(): Promise<void> {
    if (this.#mayReplace) return rename(this.#aside, this.path)
    try {
      // Unlike a renaming it fails if somebody else has made the file meanwhile.
      await link(this.#aside, this.path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST' || existsSync(this.path))
        throw isThere(this.#name, this.path)
      return rename(this.#aside, this.path)
    }
    await unlink(this.#aside)
  }
}

const isThere = (name: string, path: string): Failure =>
  new Failure(`${name}: ${plain(path)} is there already: --force replaces it`)

const cannot = (name: string, path: string, error: unknown): never => {
  throw new Failure(`${name}: ${plain(path)} cannot be written: ${(error as Error).message}`)
}
