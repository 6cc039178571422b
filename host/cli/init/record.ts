/**
 * Writing what a plan says, and taking it back.
 *
 * What is needed to take it back lies in a file of its own beside the project: each file's bytes before, and the digest of what was
 * written. It is written before the others, so that whatever interrupts them can be undone.
 */
import { createHash } from 'node:crypto'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Failure } from '../command.ts'
import { packageVersion } from '../package.ts'
import type { Change } from './change.ts'
import { writeAll } from './write.ts'

/** Where that lies, in the project's folder. */
export const recordName = '.livestore-sync-worker.undo.json'

/** A file as it was, and the digest of what it was made. */
interface Kept {
  readonly path: string
  /** Base64 of its bytes. */
  readonly before: string
  /** SHA-256 in hex. */
  readonly after: string
}

interface Record {
  readonly about: string
  readonly version: string
  readonly files: readonly Kept[]
}

const about = 'What `npx livestore-sync-worker init` has changed; `init --undo` takes it back, and removes this file.'

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** The bytes of a file, unless there is none. */
const bytesOf = (path: string): Buffer | undefined =>
  statSync(path, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(path) : undefined

const readRecord = (folder: string): Record | undefined => {
  const bytes = bytesOf(join(folder, recordName))
  if (bytes === undefined) return
  try {
    const record = JSON.parse(String(bytes)) as Record
    if (record.files.every(({ path, before, after }) => [path, before, after].every((one) => typeof one === 'string')))
      return record
  } catch {
    // As below.
  }
  throw new Failure(
    `init: ${recordName} cannot be read, so what it was to keep is lost: go back by your version control`,
  )
}

/** Writes the changes, and what takes them back. */
export const apply = (folder: string, changes: readonly Change[]): void => {
  const known = new Map(readRecord(folder)?.files.map((file) => [file.path, file]))
  for (const { path, before } of changes) {
    const bytes = readFileSync(join(folder, path))
    if (!bytes.equals(Buffer.from(before)))
      throw new Failure(`init: ${path} is no text in UTF-8, or has changed meanwhile; nothing was written`)
  }
  for (const { path, before, after } of changes) {
    const earlier = known.get(path)
    // A second run goes on from the first, unless the file was changed in between: then back to there.
    const isOurs = earlier?.after === digestOf(Buffer.from(before))
    const kept = isOurs && earlier !== undefined ? earlier.before : Buffer.from(before).toString('base64')
    known.set(path, { path, before: kept, after: digestOf(Buffer.from(after)) })
  }
  const record: Record = { about, version: packageVersion, files: [...known.values()] }
  writeAll([
    { path: join(folder, recordName), bytes: Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`) },
    ...changes.map(({ path, after }) => ({ path: join(folder, path), bytes: Buffer.from(after) })),
  ])
}

/** What undoing would change. Throws {@link Failure} where files have changed since, and names them. */
export const undoing = (folder: string): readonly Change[] => {
  const record = readRecord(folder)
  if (record === undefined) throw new Failure(`init: there is no ${recordName} in ${folder}, so nothing to undo`)
  const now = record.files.map((kept) => ({
    ...kept,
    bytes: bytesOf(join(folder, kept.path)),
    was: Buffer.from(kept.before, 'base64'),
  }))
  const isBefore = ({ bytes, was }: (typeof now)[number]): boolean => bytes?.equals(was) === true
  const foreign = now.filter(
    (file) => !isBefore(file) && (file.bytes === undefined || digestOf(file.bytes) !== file.after),
  )
  if (foreign.length > 0)
    throw new Failure(
      `init: nothing was undone: changed since init are ${foreign.map(({ path, bytes }) => (bytes === undefined ? `${path} (gone)` : path)).join(', ')}`,
    )
  return now
    .filter((file) => !isBefore(file))
    .map(({ path, bytes, was }) => ({ path, before: String(bytes), after: String(was) }))
}

/** Undoes it, and forgets it. */
export const undo = (folder: string): void => {
  const record = readRecord(folder)
  const changed = new Set(undoing(folder).map(({ path }) => path))
  const files = (record?.files ?? []).filter(({ path }) => changed.has(path))
  writeAll(files.map(({ path, before }) => ({ path: join(folder, path), bytes: Buffer.from(before, 'base64') })))
  rmSync(join(folder, recordName), { force: true })
}
