/**
 * `import`: makes a file the log of a store. The server keeps what has come when a connection breaks, and names the byte from which
 * on it wants the rest; so does a second run of the same command.
 */
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'
import { Readable } from 'node:stream'
import type { Imported } from '../administration.ts'
import { integerOf, storeOf } from './shared/asked.ts'
import { type Asked, type Command, Failure, Interrupted, UsageError } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { mayPass } from './shared/follow.ts'
import { interruption, pause, throwIfInterrupted } from './shared/interrupt.ts'
import { beginning, type Found, LogFile } from './shared/log-file.ts'
import { type Progress, progressOf } from './shared/progress.ts'
import { bytes, count, plain, print } from './shared/show.ts'
import { Refused, Server, type State, serverFlags, storePath } from './shared/server.ts'

/** What the server says of a part behind which others follow: from which byte on it wants the next. */
interface Kept {
  readonly at: number
}

/** What is sent. */
interface Source {
  readonly path: string
  readonly size: number
  /** So many bytes of it are sent at once, at most. */
  readonly partBytes: number
  /** What is in it; `undefined` where only the server can tell. */
  readonly found: Found | undefined
}

/** Megabytes that are sent at once: Cloudflare takes 100 in one request, on some plans more. */
const partUsual = 64

/** So often it is tried again in a row without a byte more having come. */
const attempts = 6

const firstPauseMs = 100

export const importStore: Command = {
  operands: '<store> <file>',
  summary: 'makes a file the log of a store: an export, or what `livestore sync export` writes',
  flags: {
    replace: { help: 'replaces the events that the store holds, once all of the file is there' },
    'keep-backend-id': { help: 'goes on in the lifetime that the file names, so that clients keep what they have' },
    'last-known-head': { value: '<n>', help: 'for that: the last event that was acknowledged' },
    lines: { help: 'takes lines of events without anything around them, of which nobody knows whether they are all' },
    part: { value: '<MB>', help: `sends so much in one request: ${partUsual}` },
    confirm: confirmFlag,
    ...serverFlags,
  },
  run: async (asked) => {
    const storeId = storeOf('import', asked, 1)
    const path = asked.operands[1]
    if (path === undefined || path === '') throw new UsageError('import: which file?')
    const how = {
      replace: asked.flags['replace'],
      keepBackendId: asked.flags['keep-backend-id'],
      lastKnownHead: integerOf('import', asked, 'last-known-head'),
      lines: asked.flags['lines'],
    }
    const partBytes = (integerOf('import', asked, 'part', 1) ?? partUsual) * 1_000_000
    const server = Server.of('import', asked)
    const source = { ...(await looked(path)), partBytes }
    const before = await server.stateIfAny(storeId)
    mustBeSame(storeId, before, source)
    if (how.replace === true && (before?.events ?? 0) > 0)
      await confirm(
        'import',
        storeId,
        asked.flags,
        `the ${count(before?.events ?? 0, 'event')} that it holds are replaced`,
      )
    const imported = await sent(server, storeId, source, how, before)
    print(asked.flags['json'] === true, { storeId, ...imported }, () => {
      const undated =
        imported.undated === 0 ? '' : ` ${count(imported.undated, 'event')} had no time and got that of the import.`
      const what = `${count(imported.events, 'event')}, up to event ${imported.head}, lifetime ${imported.backendId}`
      return `${plain(storeId)} has the log of ${plain(path)}: ${what}.${undated}`
    })
  },
}

/** Looks at a file before anybody is sent away for its sake. */
const looked = async (path: string): Promise<Omit<Source, 'partBytes'>> => {
  const cannot = (error: unknown): never => {
    throw new Failure(`import: ${plain(path)} cannot be read: ${(error as Error).message}`)
  }
  const there = await stat(path).catch(cannot)
  if (!there.isFile()) throw new Failure(`import: ${plain(path)} is no file, which could be gone on with after a cut`)
  const file = await open(path).catch(cannot)
  const start = Buffer.alloc(beginning.length)
  await file.read(start, 0, start.length, 0).catch(cannot)
  await file.close()
  if (start[0] === 0x1f && start[1] === 0x8b)
    throw new Failure(`import: ${plain(path)} is compressed: unpack it first, as by gunzip`)
  if (String(start) !== beginning) return { path, size: there.size, found: undefined }
  const log = new LogFile()
  const progress = progressOf('looking at the file', 'bytes')
  try {
    for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
      throwIfInterrupted('import: interrupted before anything was sent')
      log.take(piece as Buffer)
      progress.at(log.bytes, there.size)
    }
  } catch (error) {
    if (error instanceof Interrupted) throw error
    cannot(error)
  } finally {
    progress.end()
  }
  const found = log.end()
  if (typeof found === 'string') throw new Failure(`import: nothing was sent of ${plain(path)}: ${found}`)
  return { path, size: there.size, found }
}

/** Throws if the server has the beginning of another file, or restores the store otherwise. */
const mustBeSame = (storeId: string, state: State | undefined, { size, found }: Source): void => {
  const restore = state?.status === 'restoring' ? state.restore : undefined
  if (restore === undefined) return
  const { at, from } = restore
  const header = found?.header
  const isOther = header !== undefined && (header.storeId !== from.storeId || header.backendId !== from.backendId)
  if (at !== undefined && at <= size && !isOther) return
  const what = at === undefined ? 'the store is being restored' : `a file of '${plain(from.storeId)}' is on its way`
  throw new Failure(`import: ${what}, which this one cannot go on with: 'restore ${plain(storeId)} --cancel' ends that`)
}

/** Sends a file until all of it is there. */
const sent = async (
  server: Server,
  storeId: string,
  source: Source,
  how: Record<string, string | number | boolean | undefined>,
  before: State | undefined,
): Promise<Imported> => {
  const progress = progressOf(`importing ${plain(storeId)}`, 'bytes')
  let at = wanted(before)
  let left = attempts
  let hasFailed = false
  if (at !== undefined) console.error(`The server has ${bytes(at)} of such a file: the rest is sent.`)
  try {
    for (;;) {
      let failure: Failure
      try {
        const answer = await send(server, storeId, source, { ...how, at }, progress)
        if (!('at' in answer)) return answer
        if (answer.at <= (at ?? 0)) throw new Failure('import: an event is larger than --part')
        left = attempts
        at = answer.at
        continue
      } catch (error) {
        const isSecond = hasFailed && error instanceof Refused && error.status === 409
        if (!mayPass(error) && !isSecond) throw error
        failure = error as Failure
      }
      hasFailed = true
      left -= 1
      if (left > 0) await pause(firstPauseMs * 2 ** (attempts - left), goesOn)
      const givenUp = new Failure(`${failure.message}. ${kept}`)
      let state: State | undefined
      try {
        state = await server.stateIfAny(storeId)
      } catch (error) {
        if (!mayPass(error)) throw error
        if (left === 0) throw givenUp
        continue
      }
      // What went wrong may have been the answer alone.
      const done = arrived(state, before, source)
      if (done !== undefined) return done
      mustBeSame(storeId, state, source)
      const isOver = failure instanceof Refused && failure.status === 409 && state?.restore === undefined
      if (isOver) throw failure
      const next = wanted(state)
      if ((next ?? 0) > (at ?? 0)) left = attempts
      if (left === 0) throw givenUp
      at = next
    }
  } catch (error) {
    if (error instanceof Interrupted) throw new Interrupted(goesOn)
    throw error
  } finally {
    progress.end()
  }
}

const kept = "What has come is kept: the same command goes on there, and 'restore --cancel' gives it up"

const goesOn = `import: interrupted. ${kept}`

/** From which byte on the server wants the rest of a file, if it has the beginning of one. */
const wanted = (state: State | undefined): number | undefined =>
  state?.status === 'restoring' ? state.restore?.at : undefined

/** What became of a file whose import was not answered, if it is the log by now. */
const arrived = (state: State | undefined, before: State | undefined, { found }: Source): Imported | undefined => {
  if (state?.status !== 'open' || found === undefined) return undefined
  const isNew = state.backendId !== before?.backendId || before.status !== 'open'
  const isIt = state.head === found.head && state.events === found.events
  if (!isIt || !(isNew || state.backendId === found.header.backendId)) return undefined
  return { backendId: state.backendId, events: state.events, head: state.head, undated: 0 }
}

/** Sends a file from a byte on, or the part of it that begins there. */
const send = (
  server: Server,
  storeId: string,
  { path, size, partBytes }: Source,
  how: Record<string, string | number | boolean | undefined>,
  progress: Progress,
): Promise<Imported | Kept> =>
  new Promise((resolve, reject) => {
    const start = Number(how['at'] ?? 0)
    const end = Math.min(size, start + partBytes)
    const url = server.urlOf(storePath(storeId, '/import'), { ...how, more: end < size || undefined })
    const headers = { ...server.headers, 'content-type': 'application/x-ndjson', 'content-length': end - start }
    const signal = interruption()
    const request = (url.protocol === 'https:' ? overHttps : overHttp)(url, { method: 'POST', headers, signal })
    // Where all of it has come but the word that it is the log, nothing is left to be sent.
    const body: Readable = end > start ? createReadStream(path, { start, end: end - 1 }) : Readable.from([])
    const giveUp = (error: unknown): void => {
      body.destroy()
      request.destroy()
      reject(error)
    }
    const fail = (error: unknown): void => {
      try {
        server.fail(error)
      } catch (failure) {
        giveUp(failure)
      }
    }
    let came = start
    body.on('data', (piece: Buffer) => progress.at((came += piece.length), size))
    body.on('error', (error) => giveUp(new Failure(`import: ${plain(path)} cannot be read: ${error.message}`)))
    request.on('error', fail)
    request.on('response', (response) => {
      // The server answers before it has read all of what it refuses.
      body.unpipe(request)
      body.destroy()
      const { statusCode = 0 } = response
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      response.on('error', fail)
      response.on('end', () => {
        request.destroy()
        if (statusCode !== 200 && statusCode !== 202)
          return giveUp(server.refusal(statusCode, text, response.headers.location))
        try {
          resolve(server.parse<Imported | Kept>(text))
        } catch (error) {
          giveUp(error)
        }
      })
    })
    body.pipe(request)
  })
