// Calls of the platform that are made for every frame, each one crossing from WebAssembly. They belong to the crate's
// `edge::js`, which documents them.

/** @param {any} sql @param {string} statement @param {unknown[]} params */
export const query = (sql, statement, params) =>
  sql
    .exec(statement, ...params)
    .raw()
    .toArray()

/**
 * Numbers of all steps lie in one array; where a step takes something else there is a NaN, and the thing is the next of
 * `others`.
 *
 * @param {any} storage
 * @param {string[]} statements
 * @param {Uint32Array} counts
 * @param {Float64Array} numbers
 * @param {unknown[]} others
 */
export const transact = (storage, statements, counts, numbers, others) => {
  let at = 0
  let other = 0
  const params = statements.map((_, step) => {
    const values = new Array(counts[step])
    for (let index = 0; index < values.length; index++) {
      const number = numbers[at++]
      values[index] = number === number ? number : others[other++]
    }
    return values
  })
  const { sql } = storage
  storage.transactionSync(() => {
    for (let step = 0; step < statements.length; step++) sql.exec(statements[step], ...params[step])
  })
}

/** @param {string} head @param {string} body @param {string} tail */
export const join = (head, body, tail) => head + body + tail

/** @param {any} state @param {string} attachment */
export const accept = (state, attachment) => {
  const { 0: client, 1: server } = new WebSocketPair()
  state.acceptWebSocket(server)
  server.serializeAttachment(attachment)
  return [server, new Response(null, { status: 101, webSocket: client })]
}

/** @param {any} state */
export const openSockets = (state) => {
  const sockets = state.getWebSockets()
  // A number of an earlier life must not be taken for one of this.
  for (const socket of sockets) socket.connection = -1
  return sockets.filter((socket) => socket.readyState === WebSocket.OPEN)
}

/** @param {any} socket */
export const attachmentOf = (socket) => {
  const kept = socket.deserializeAttachment()
  return typeof kept === 'string' ? kept : undefined
}

/** @param {any} socket @param {string} attachment */
export const keep = (socket, attachment) => socket.serializeAttachment(attachment)

/** @param {any} socket @param {string} frame */
export const send = (socket, frame) => {
  try {
    socket.send(frame)
    return true
  } catch {
    return false // the socket is closing; its close event follows
  }
}

/** @param {any} socket @param {number} code @param {string} reason */
export const close = (socket, code, reason) => {
  if (socket.readyState === WebSocket.CLOSED) return // the runtime has answered the close frame itself
  try {
    socket.close(code, reason)
  } catch {
    // a code that may not be sent
  }
}

/** @param {any} socket @param {number} connection */
export const identify = (socket, connection) => {
  socket.connection = connection
}

/** @param {any} socket */
export const identityOf = (socket) => socket.connection ?? -1

/** @param {any} state @param {string} ping @param {string} pong */
export const autoRespond = (state, ping, pong) =>
  state.setWebSocketAutoResponse(new WebSocketRequestResponsePair(ping, pong))

/** @param {any} storage */
export const wakeSoon = (storage) => {
  storage.setAlarm(Date.now())
}

/** @param {any} objects @param {string} name @param {Request} request */
export const forward = (objects, name, request) => objects.get(objects.idFromName(name)).fetch(request)

/** @param {number} status @param {string} body @param {Array<[string, string]>} headers */
export const respond = (status, body, headers) => {
  const type = body === '' ? [] : [['Content-Type', 'text/plain']]
  return new Response(body === '' ? null : body, { status, headers: [...type, ...headers] })
}

/** @param {any} env @param {string} name */
export const objectBinding = (env, name) => (typeof env[name]?.idFromName === 'function' ? env[name] : undefined)

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
