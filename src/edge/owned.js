// What of an object is the sync backend's own, where an app has sockets and alarms in the same object: the host and the core
// go by it.

/** What sockets are accepted with that sync. */
export const syncTag = 'livestore-sync'

/** Where a socket that syncs has the number of its connection. */
export const connectionKey = Symbol('connection')

/** Where the state of an object has what lists its sockets, if a class that knows nothing of syncing is shown its own alone. */
const socketsKey = Symbol('sockets')

/** Where a storage has the alarm that the sync backend shares with an app, if it shares one. */
export const alarmKey = Symbol('alarm')

/** What sync-cf keeps with a socket: 0.3 the store alone, 0.4 which pulls are live as well. */
const keptBySyncCf = /^\{"storeId":"(?:[^"\\]|\\.)*"(?:\}$|,.*"pullRequestIds":\[)/s

/**
 * Whether a socket is one that syncs: accepted here, or by sync-cf, which gives it no tag.
 *
 * @param {any} state
 * @param {any} socket
 * @returns {boolean}
 */
export const syncs = (state, socket) => {
  if (socket[connectionKey] !== undefined || state.getTags(socket).includes(syncTag)) return true
  const kept = socket.deserializeAttachment()
  return typeof kept === 'string' && keptBySyncCf.test(kept)
}

/** @param {any} state @returns {any[]} the sockets that sync */
export const syncSockets = (state) =>
  (state[socketsKey]?.() ?? state.getWebSockets()).filter((/** @type {any} */ socket) => syncs(state, socket))

/**
 * Has who asks for all sockets of an object be told of those alone that do not sync.
 *
 * @param {any} state
 */
export const hideSyncSockets = (state) => {
  const list = state.getWebSockets.bind(state)
  const own = (/** @type {string | undefined} */ tag) =>
    tag === undefined ? list().filter((/** @type {any} */ socket) => !syncs(state, socket)) : list(tag)
  Object.defineProperty(state, socketsKey, { value: () => list() })
  Object.defineProperty(state, 'getWebSockets', { value: own })
}
