// Calls of the platform that are made for every frame, each one crossing from WebAssembly. They belong to the crate's
// `edge::js`, which documents them.

import { alarmKey, connectionKey, syncSockets, syncTag } from './owned.js'

/** @param {any} sql @param {string} statement @param {unknown[]} params */
export const query = (sql, statement, params) =>
  sql
    .exec(statement, ...params)
    .raw()
    .toArray()

/**
 * Takes the parameters of one statement after the other. Numbers of all lie in one array; where there is something else, that has a
 * NaN, and the thing is the next of `others`, in which undefined stands for `bytes`: they lie in the memory of WebAssembly, and are
 * bound from there.
 *
 * @param {Float64Array} numbers
 * @param {unknown[]} others
 * @param {Uint8Array} bytes
 */
const taken = (numbers, others, bytes) => {
  let at = 0
  let other = 0
  return (/** @type {number | undefined} */ count) => {
    const values = new Array(count)
    for (let index = 0; index < values.length; index++) {
      const number = numbers[at++]
      if (number === number) values[index] = number
      else {
        const value = others[other++]
        values[index] = value === undefined ? bytes : value
      }
    }
    return values
  }
}

/**
 * @param {any} storage
 * @param {string[]} statements
 * @param {Uint32Array} counts
 * @param {Float64Array} numbers
 * @param {unknown[]} others
 * @param {Uint8Array} bytes
 */
export const transact = (storage, statements, counts, numbers, others, bytes) => {
  const take = taken(numbers, others, bytes)
  const params = statements.map((_, step) => take(counts[step]))
  const { sql } = storage
  storage.transactionSync(() => {
    for (let step = 0; step < statements.length; step++) sql.exec(statements[step], ...params[step])
  })
}

/**
 * Both are in the transaction that the runtime begins at the first write and commits after this turn. `transactionSync` within it
 * would cost a tenth of a push. The rows come first: should the runtime end all JavaScript between the two, what there is is
 * a log whose head is behind, and that is mended when it is opened. Parameters are bound in the order that `store::sql` gives them:
 * `Rows::params`, `Append::head_params`, `Append::undo_params`.
 *
 * @param {any} sql
 * @param {string} insert
 * @param {string} moveHead
 * @param {string} undo
 * @param {string} storeId
 * @param {string} backendId
 * @param {Uint8Array} bytes in the memory of WebAssembly, from where they are bound
 * @param {string | undefined} offsets
 * @param {number} first
 * @param {number} createdAt how many bytes it has, as those that follow
 * @param {number} clientId
 * @param {number} sessionId
 * @param {number} name
 * @param {number} args
 * @param {number} last
 * @param {number} headBefore
 * @param {number} lastBefore
 */
export const append = (
  sql,
  insert,
  moveHead,
  undo,
  storeId,
  backendId,
  bytes,
  offsets,
  first,
  createdAt,
  clientId,
  sessionId,
  name,
  args,
  last,
  headBefore,
  lastBefore,
) => {
  const inserted =
    offsets === undefined
      ? sql.exec(insert, first, bytes, createdAt, createdAt + 1, clientId, sessionId, name, args)
      : sql.exec(insert, first, bytes, createdAt, createdAt + 1, clientId, sessionId, offsets)
  try {
    if (sql.exec(moveHead, last, storeId, headBefore, backendId, lastBefore).rowsWritten > 0) return true
    throw new Error('the head is not where it was')
  } catch (error) {
    try {
      if (sql.exec(undo, first, last).rowsWritten < inserted.rowsWritten) return false
    } catch {
      return false
    }
    throw error
  }
}

/**
 * `abort` drops at once what this turn has written, and what it has sent. It also ends the JavaScript that runs, with all microtasks that
 * are queued behind it; so it comes behind the end of the instance, in a microtask, before which the runtime commits nothing. What
 * others wait for is not in that queue: from compatibility date 2024-10-14 on, the runtime settles a promise where it was made.
 *
 * @param {any} state
 */
export const giveUp = (state) => {
  const message = 'a batch could be stored in part only'
  log('error', JSON.stringify({ level: 'error', event: 'given-up', storeId: state.id.name, message }))
  queueMicrotask(() => state.abort(message))
  throw new Error(message)
}

/** @param {any} storage @param {() => boolean} work */
export const together = (storage, work) =>
  storage.transactionSync(() => {
    if (!work()) throw new Error('taken back')
  })

/** @param {any} sql */
export const sizeOf = (sql) => {
  try {
    return sql.databaseSize
  } catch {
    return 0
  }
}

/** @param {any} storage @returns {number | undefined} */
export const keyValueHead = (storage) => {
  const head = storage.kv.get('currentHead')
  return typeof head === 'number' ? head : undefined
}

/** @param {any} storage */
export const forgetKeyValueHead = (storage) => {
  storage.kv.delete('currentHead')
}

/**
 * Both take effect at once and together. What is sent from here on is held back until they are durable; should that fail, the
 * runtime throws the object away.
 *
 * @param {any} storage
 */
export const erase = (storage) => {
  const deleted = storage[alarmKey]?.deleteSync() ?? storage.deleteAlarm()
  for (const done of [deleted, storage.deleteAll()]) done.catch(() => {})
}

/**
 * A text: a string, UTF-8, or several of either one after the other.
 *
 * @typedef {string | Uint8Array} Piece
 * @typedef {Piece | Piece[]} Text
 */

/** @param {string} head @param {Piece} body @param {string} tail @returns {Text} */
export const join = (head, body, tail) => (typeof body === 'string' ? head + body + tail : [head, body, tail])

const encoder = new TextEncoder()

/** @param {Text} text */
export const utf8Of = (text) => {
  const pieces = [text].flat().map((piece) => (typeof piece === 'string' ? encoder.encode(piece) : piece))
  const bytes = new Uint8Array(pieces.reduce((size, { length }) => size + length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}

/**
 * Lets the memory of bytes go at once: the runtime waits for tens of megabytes of them before it collects garbage.
 *
 * @param {Text} text
 */
export const release = (text) => {
  for (const piece of [text].flat()) if (typeof piece !== 'string') /** @type {any} */ (piece.buffer).transfer(0)
}

/**
 * The platform bounds the bytes of an attachment, and writes two for each letter of a text in which one is beyond Latin-1;
 * the core counts those of UTF-8.
 *
 * @param {string} attachment
 */
const packed = (attachment) => (/[^\0-\x7f]/.test(attachment) ? new TextEncoder().encode(attachment) : attachment)

/** @param {any} state @param {string} attachment @param {string} protocol */
export const accept = (state, attachment, protocol) => {
  const { 0: client, 1: server } = new WebSocketPair()
  state.acceptWebSocket(server, [syncTag])
  server.serializeAttachment(packed(attachment))
  /** @type {any} */
  const init = { status: 101, webSocket: client }
  if (protocol !== '') init.headers = { 'Sec-WebSocket-Protocol': protocol }
  return [server, new Response(null, init)]
}

/** @param {any} state */
export const openSockets = (state) => {
  const sockets = syncSockets(state)
  // A number of an earlier life must not be taken for one of this.
  for (const socket of sockets) socket[connectionKey] = -1
  return sockets.filter((socket) => socket.readyState === WebSocket.OPEN)
}

/** @param {any} socket */
export const attachmentOf = (socket) => {
  const kept = socket.deserializeAttachment()
  if (kept instanceof Uint8Array) return new TextDecoder().decode(kept)
  return typeof kept === 'string' ? kept : undefined
}

/** @param {any} socket @param {string} attachment */
export const keep = (socket, attachment) => socket.serializeAttachment(packed(attachment))

/** @param {any} socket @param {number} code @param {string} reason */
export const close = (socket, code, reason) => {
  if (socket.readyState === WebSocket.CLOSED) return // the runtime has answered the close frame itself
  try {
    socket.close(code, reason)
  } catch {
    // a code that may not be sent
  }
}

/** @param {any} socket @param {string} frame */
export const send = (socket, frame) => {
  try {
    socket.send(frame)
    return true
  } catch {
    close(socket, 1012, 'connect again') // it has missed a frame, if it is not closing anyway
    return false
  }
}

/** @param {any} socket @param {number} connection */
export const identify = (socket, connection) => {
  socket[connectionKey] = connection
}

/** @param {any} socket */
export const identityOf = (socket) => socket[connectionKey] ?? -1

/**
 * An object has one automatic answer: an app's own stays.
 *
 * @param {any} state
 * @param {string} ping
 * @param {string} pong
 */
export const autoRespond = (state, ping, pong) => {
  const now = state.getWebSocketAutoResponse()
  if (now !== null && !syncPing.test(now.request)) return
  state.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))
}

/** The pings of clients that sync. */
const syncPing = /^\{"_tag":"(WSMessage\.)?Ping"/

/** @param {any} state @param {any} socket */
export const pingedAt = (state, socket) => {
  try {
    return state.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? NaN
  } catch {
    return NaN // the socket is closed
  }
}

/** @param {any} storage @param {number} at */
export const wakeAt = (storage, at) => {
  if (storage[alarmKey] === undefined) storage.setAlarm(at)
  else storage[alarmKey].setSync(at)
}

/** @param {any} state */
export const storageOf = (state) => state.storage

/** @param {any} storage */
export const sqlOf = (storage) => storage.sql

/** @param {Request | Response} message @param {number} max */
export const readBody = async (message, max) => {
  const { body } = message
  if (body === null) return new Uint8Array()
  const length = message.headers.get('Content-Length')
  if (length !== null) return Number(length) > max ? undefined : new Uint8Array(await message.arrayBuffer())
  const pieces = []
  let size = 0
  for await (const piece of /** @type {AsyncIterable<Uint8Array>} */ (/** @type {unknown} */ (body))) {
    size += piece.length
    if (size > max) return undefined
    pieces.push(piece)
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

/**
 * A body that is read into the same piece of memory over and over.
 *
 * @typedef {{ length: number | undefined, reader: any, buffer: ArrayBuffer }} Body
 */

/** @param {Request} request @returns {Body} */
export const openBody = ({ body, headers }) => {
  const length = headers.get('Content-Length')
  return {
    length: length === null ? undefined : Number(length),
    reader: /** @type {any} */ (body ?? new Blob().stream()).getReader({ mode: 'byob' }),
    buffer: new ArrayBuffer(65_536),
  }
}

/** @param {Body} body */
export const lengthOf = ({ length }) => length

/** @param {Body} body */
export const leaveBody = ({ reader }) => {
  reader.cancel().catch(() => {})
}

/** What a promise becomes, null if that takes longer. @template T @param {Promise<T>} promise @param {number} ms */
export const within = async (promise, ms) => {
  /** @type {any} */
  let timer
  /** @type {Promise<null>} */
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, null)))
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves once the runtime has done what else there was to do. @returns {Promise<void>} */
export const pause = () => new Promise((resolve) => setTimeout(resolve))

/** @param {Body} body @param {number} ms */
export const readPiece = async (body, ms) => {
  const read = await within(body.reader.read(new Uint8Array(body.buffer)), ms)
  if (read === null) {
    leaveBody(body)
    return null
  }
  if (read.done) return undefined
  body.buffer = read.value.buffer
  return read.value
}

/** @param {Uint8Array} bytes @param {CompressionStream | DecompressionStream} through */
const passed = (bytes, through) => {
  const body = /** @type {ReadableStream} */ (new Response(/** @type {any} */ (bytes)).body)
  return new Response(body.pipeThrough(through))
}

// D1 makes a number of each byte of a BLOB, in JSON: digits are shorter.
const digits = encoder.encode('0123456789ABCDEF')

/** @param {Text} text */
export const pack = async (text) => {
  const bytes = utf8Of(text)
  const packed = new Uint8Array(await passed(bytes, new CompressionStream('gzip')).arrayBuffer())
  const hex = new Uint8Array(2 * packed.length)
  packed.forEach((byte, at) => {
    hex[2 * at] = digits[byte >> 4] ?? 0
    hex[2 * at + 1] = digits[byte & 15] ?? 0
  })
  const packedText = new TextDecoder().decode(hex)
  for (const done of [bytes, packed, hex]) release(done)
  return packedText
}

/** @param {string} packed */
export const unpack = async (packed) => {
  const bytes = new Uint8Array(packed.length / 2)
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = parseInt(packed.slice(2 * at, 2 * at + 2), 16)
  try {
    return await passed(bytes, new DecompressionStream('gzip')).text()
  } catch {
    return undefined // it is damaged
  } finally {
    release(bytes)
  }
}

/** @param {any} row @param {string} column */
export const column = (row, column) => row[column]

/** Headers as the core writes them, a line for each. @param {string} lines @returns {Array<[string, string]>} */
const headersOf = (lines) =>
  lines.split('\n').flatMap((line) => {
    const colon = line.indexOf(':')
    return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1)]]
  })

const jsonType = 'Content-Type:application/json\n'

/** @param {Text[]} frames @param {string} headers */
export const respondJson = (frames, headers) => {
  const isText = frames.every((frame) => typeof frame === 'string')
  const body = isText
    ? `[${frames.join(',')}]`
    : utf8Of([...frames.flatMap((frame, at) => [at ? ',' : '[', frame].flat()), ']'])
  return new Response(body, { headers: headersOf(jsonType + headers) })
}

/**
 * By it a stream is broken off whose reader takes nothing: what it holds is let go.
 *
 * @typedef {{ breakOff?: (message: string) => void }} Lifeline
 */

/** @param {Lifeline} lifeline @param {string} message */
export const breakOff = (lifeline, message) => lifeline.breakOff?.(message)

/**
 * A stream whose reader sets the pace. A null behind the last piece ends it, once what went before has been taken.
 *
 * @param {any[]} first
 * @param {(goOn: boolean) => any[] | Promise<any[]>} step
 * @param {(writer: WritableStreamDefaultWriter, pieces: any[], isLast: boolean) => Promise<void>} write
 * @param {Lifeline} [lifeline]
 */
const stream = (first, step, write, lifeline = {}) => {
  // What is written to it is taken before the next is, whereas of other streams the runtime reads ahead.
  const { readable, writable } = new IdentityTransformStream()
  const writer = writable.getWriter()
  const leave = () => {
    try {
      step(false)
    } catch {
      // Its instance has ended, and what it kept for this stream with it.
    }
  }
  /** @param {unknown} error */
  const fail = (error) => {
    writer.abort(error).catch(() => {})
  }
  lifeline.breakOff = (message) => fail(retryable(message))
  let isOver = false
  /** @param {any[]} pieces */
  const writeAll = (pieces) => {
    isOver = pieces.at(-1) === null
    if (isOver) pieces.pop()
    return write(writer, pieces, isOver)
  }
  const run = async () => {
    if (first.length > 0) await writeAll(first.splice(0))
    while (!isOver) await writeAll(await step(true))
    await writer.close()
  }
  // Its reader may leave while nothing is written.
  writer.closed.then(leave, leave)
  run().catch(fail)
  return readable
}

/** Bytes, or letters of a string, that are written at a time: the runtime copies them, and keeps the copy until they are taken. */
const writtenMax = 65_536

/**
 * Writes a string, which is encoded as it is taken; no piece of it ends within a letter.
 *
 * @param {WritableStreamDefaultWriter} writer
 * @param {string} text
 */
const writeString = async (writer, text) => {
  while (text !== '') {
    const isSplit = (text.charCodeAt(writtenMax - 1) & 0xfc00) === 0xd800
    const end = isSplit ? writtenMax - 1 : writtenMax
    const piece = encoder.encode(text.slice(0, end))
    text = text.slice(end)
    await writer.write(piece)
    release(piece)
  }
}

/** @param {WritableStreamDefaultWriter} writer @param {Uint8Array} bytes */
const writeBytes = async (writer, bytes) => {
  for (let at = 0; at < bytes.length; at += writtenMax) await writer.write(bytes.subarray(at, at + writtenMax))
  release(bytes)
}

/**
 * Writes pieces, which are let go as they are written; small ones together.
 *
 * @param {WritableStreamDefaultWriter} writer
 * @param {Piece[]} pieces
 */
const writePieces = async (writer, pieces) => {
  while (pieces.length > 0) {
    const large = pieces.findIndex(({ length }) => length > writtenMax)
    const small = pieces.splice(0, large < 0 ? pieces.length : large)
    const piece = small.length > 0 ? utf8Of(small) : pieces.shift()
    release(small)
    if (typeof piece === 'string') await writeString(writer, piece)
    else if (piece !== undefined) await writeBytes(writer, piece)
  }
}

/**
 * @param {Text[]} first
 * @param {(goOn: boolean) => any[] | Promise<any[]>} step
 * @param {Lifeline} lifeline
 * @param {string} headers
 */
export const streamJson = (first, step, lifeline, headers) => {
  let before = '['
  /** @param {WritableStreamDefaultWriter} writer @param {Text[]} frames @param {boolean} isLast */
  const write = (writer, frames, isLast) => {
    const pieces = frames.splice(0).flatMap((frame) => {
      const piece = [before, frame].flat()
      before = ','
      return piece
    })
    if (isLast) pieces.push(']')
    return writePieces(writer, pieces)
  }
  const body = stream(first, step, write, lifeline)
  return new Response(body, { headers: headersOf(jsonType + headers) })
}

/** @param {(goOn: boolean) => any[] | Promise<any[]>} step */
export const streamLines = (step) => {
  const body = stream([], step, writePieces)
  return new Response(body, { headers: { 'Content-Type': 'application/x-ndjson' } })
}

/**
 * @param {Uint8Array[]} first
 * @param {(goOn: boolean) => any[] | Promise<any[]>} step
 * @param {Lifeline} lifeline
 */
export const streamBytes = (first, step, lifeline) => {
  return stream(first, step, writePieces, lifeline)
}

/** @param {number} number */
export const printNumber = (number) => String(number)

/** @param {string} text */
export const parseNumber = (text) => Number(text)

/** @param {string} text */
export const parseJson = (text) => JSON.parse(text)

/** @param {any} env @param {string} binding @param {string} objectId @param {unknown} message @param {string} storeId */
export const callBack = (env, binding, objectId, message, storeId) => {
  const objects = env[binding]
  if (typeof objects?.idFromString !== 'function') throw new Error(`no Durable Object binding '${binding}'`)
  return (async () => objects.get(objects.idFromString(objectId)).syncUpdateRpc(message, storeId))()
}

/** @param {Request} request */
export const factsOf = (request) => {
  const { origin, hostname, pathname, search } = new URL(request.url)
  const { method, headers } = request
  /** @param {string} name */
  const header = (name) => headers.get(name) ?? ''
  let facts = `${method}\n${origin}\n${hostname}\n${pathname}\n${search.slice(1)}\n${header('Host')}\n${header('Origin')}`
  facts += `\n${header('Authorization')}\n${header('Cookie')}\n${header('CF-Ray')}\n${header('Upgrade')}`
  return method === 'OPTIONS' ? `${facts}\n${header('Access-Control-Request-Headers')}` : facts
}

/** @param {any} request */
export const hasPlace = (request) => typeof request.cf?.colo === 'string'

/** @param {unknown} id */
export const textOf = (id) => String(id)

/** @param {any} objects @param {string} jurisdiction */
export const inJurisdiction = (objects, jurisdiction) => objects.jurisdiction(jurisdiction)

/** @param {any} objects @param {string} name */
export const idOfName = (objects, name) => objects.idFromName(name)

/**
 * @param {any} objects
 * @param {unknown} id
 * @param {Request} request
 * @param {string} header
 * @param {string} value
 * @param {string | undefined} locationHint
 */
export const forward = (objects, id, request, header, value, locationHint) => {
  const [url = ''] = request.url.split('?', 1)
  const forwarded = new Request(url, request)
  forwarded.headers.set(header, value)
  const stub = locationHint === undefined ? objects.get(id) : objects.get(id, { locationHint })
  return stub.fetch(forwarded)
}

/** @param {Promise<Response>} answer @param {string} headers */
export const orUnavailable = (answer, headers) =>
  answer.then(
    // An object of which the core ended in the middle of it knows no headers.
    (response) => (response.status === 503 ? withHeaders(new Response(response.body, response), headers) : response),
    () => respond(503, 'The store is not available: try again', headers),
  )

/**
 * What a host answers is taken from that host alone: it redirects within its own origin.
 *
 * @param {string} url
 * @param {number} max
 * @param {number} redirects
 */
export const fetchText = async (url, max, redirects) => {
  const { origin } = new URL(url)
  const signal = AbortSignal.timeout(5000)
  for (;;) {
    const response = await fetch(url, { headers: { Accept: 'application/json' }, redirect: 'manual', signal })
    const location = response.headers.get('Location')
    if (response.status < 300 || response.status > 399 || location === null) {
      if (!response.ok) throw new Error(`it answers ${response.status}`)
      const body = await readBody(response, max)
      if (body === undefined) throw new Error(`it has more than ${max} bytes`)
      return new TextDecoder().decode(body)
    }
    await response.body?.cancel()
    const next = new URL(location, url)
    if (next.origin !== origin) throw new Error('it redirects to another host')
    if (redirects === 0) throw new Error('it redirects too often')
    redirects -= 1
    url = next.href
  }
}

/** @param {number} status @param {BodyInit | null} body @param {string} headers */
export const respond = (status, body, headers) => {
  const all = new Headers(headersOf(headers))
  if (body !== '' && !all.has('Content-Type')) all.set('Content-Type', 'text/plain')
  return new Response(body === '' ? null : body, { status, headers: all })
}

/** @param {Response} answer @param {string} headers */
export const withHeaders = (answer, headers) => {
  for (const [name, value] of headersOf(headers)) answer.headers.set(name, value)
  return answer
}

/** @param {string} message */
export const retryable = (message) => Object.assign(new Error(message), { retryable: true })

/** @param {number} status @param {string} type @param {string} body */
export const respondAs = (status, type, body) => new Response(body, { status, headers: { 'Content-Type': type } })

/** @param {'error' | 'warn' | 'info' | 'debug'} level @param {string} line */
export const log = (level, line) => {
  console[level](line)
}

/** @param {any} env @param {string} name */
export const dataset = (env, name) => (typeof env[name]?.writeDataPoint === 'function' ? env[name] : undefined)

/**
 * @param {any} dataset
 * @param {string} index
 * @param {string} event
 * @param {string} generation
 * @param {string} transport
 * @param {string} reason
 * @param {number} events
 */
export const writePoint = (dataset, index, event, generation, transport, reason, events) => {
  // An index has at most 96 bytes.
  try {
    dataset.writeDataPoint({
      indexes: [index.slice(0, 32)],
      blobs: [event, generation, transport, reason, index],
      doubles: [events],
    })
  } catch {
    // more points than one event of the platform may write
  }
}

/** @param {any} error */
export const messageOf = (error) => {
  try {
    return String(error?.message ?? error)
  } catch {
    return 'an error that says nothing'
  }
}

/** @param {unknown} value */
export const bytesOf = (value) => {
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  return ArrayBuffer.isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : undefined
}

/** @param {any} state */
export const idOf = (state) => String(state.id)

/** @param {any} env @param {string} name */
export const objectBinding = (env, name) => (typeof env[name]?.idFromName === 'function' ? env[name] : undefined)

/** @param {any} env @param {string} name */
export const database = (env, name) => (typeof env[name]?.batch === 'function' ? env[name] : undefined)

/** @param {any} env @param {string} name */
export const variable = (env, name) => {
  const value = env[name]
  return typeof value === 'string' ? value : value === undefined || value === null ? undefined : String(value)
}

/** @param {any} state */
export const nameOf = (state) => state.id.name ?? undefined

/** @param {Uint8Array} bytes */
export const randomize = (bytes) => {
  crypto.getRandomValues(bytes)
}
