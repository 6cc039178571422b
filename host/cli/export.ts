/** `export`: the whole log of a store as a file, which is there only once it is known to be complete. */
import { once } from 'node:events'
import { storeOf } from './shared/asked.ts'
import { type Command, Failure, UsageError } from './command.ts'
import { type Found, LogFile } from './shared/log-file.ts'
import { progressOf } from './shared/progress.ts'
import { bytes, count, plain, print } from './shared/show.ts'
import { Server, serverFlags, storePath } from './shared/server.ts'
import { WholeFile } from './shared/whole-file.ts'

export const exportStore: Command = {
  operands: '<store> [file]',
  summary: "writes a store's log into a file; '-' is stdout",
  flags: { force: { help: 'replaces a file that is there' }, ...serverFlags },
  run: async (asked) => {
    const storeId = storeOf('export', asked, 1)
    const path = asked.operands[1] ?? `${encodeURIComponent(storeId)}.ndjson`
    const [isJson, mayReplace] = [asked.flags['json'] === true, asked.flags['force'] === true]
    if (path === '') throw new UsageError('export: which file?')
    if (path === '-') {
      if (isJson) throw new UsageError('export: the log itself goes to stdout, so there is no place for --json')
      await received(Server.of('export', asked), storeId, toStdout)
      return
    }
    WholeFile.check('export', path, mayReplace)
    const server = Server.of('export', asked)
    let file: WholeFile | undefined
    let found: Found
    try {
      // Not before there is something to write.
      const write = async (piece: Uint8Array): Promise<void> => {
        file ??= await WholeFile.begin('export', path, mayReplace)
        await file.write(piece)
      }
      found = await received(server, storeId, write)
      await file?.end()
    } catch (error) {
      await file?.discard()
      throw error
    }
    const { header, events, head, crc32 } = found
    const value = { file: file?.path, storeId, backendId: header.backendId, head, events, bytes: found.bytes, crc32 }
    print(isJson, value, () => {
      const what = `${count(events, 'event')} up to event ${head}, ${bytes(found.bytes)}`
      return `${plain(path)} has the log of ${plain(storeId)}: ${what}, whole by its checksum ${crc32}.`
    })
  },
}

/** Resolves with what was received, once it is known to be all of the log. */
const received = async (
  server: Server,
  storeId: string,
  write: (piece: Uint8Array) => Promise<void>,
): Promise<Found> => {
  const response = await server.answer('GET', storePath(storeId, '/export'))
  const log = new LogFile()
  const progress = progressOf(`exporting ${plain(storeId)}`, 'events')
  try {
    for await (const piece of server.chunks(response)) {
      log.take(piece)
      await write(piece)
      progress.at(log.events, log.header?.head)
    }
  } finally {
    progress.end()
  }
  const found = log.end()
  if (typeof found === 'string') throw new Failure(`export: what came is not the log: ${found}. Try again`)
  if (found.header.storeId !== storeId)
    throw new Failure(`export: what came is the log of '${plain(found.header.storeId)}', not of '${plain(storeId)}'`)
  return found
}

const toStdout = async (piece: Uint8Array): Promise<void> => {
  if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
}
