/**
 * A sync backend in plain JavaScript, as small as one can be that serves generation v04 correctly to well-behaved clients.
 *
 * The peer of the benchmark that shows what the platform itself costs: no hooks, no limits, no validation.
 */
// @ts-nocheck: plain JavaScript on purpose, and the platform types are not installed
import { DurableObject } from 'cloudflare:workers'

const pageEventsMax = 100
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

const newBackendId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(21)), (byte) => alphabet[byte & 63]).join('')

/** One page as the JSON of a pull response. */
const pageJson = (batch, remaining, backendId) =>
  JSON.stringify({
    batch,
    pageInfo: remaining > 0 ? { _tag: 'MoreKnown', remaining } : { _tag: 'NoMore' },
    backendId,
  })

const chunk = (requestId, page) => `{"_tag":"Chunk","requestId":"${requestId}","values":[${page}]}`

const success = (requestId, value) => JSON.stringify({ _tag: 'Exit', requestId, exit: { _tag: 'Success', value } })

const failure = (requestId, cause) => JSON.stringify({ _tag: 'Exit', requestId, exit: { _tag: 'Failure', cause } })

const metadata = (createdAt) => ({ _tag: 'Some', value: { _tag: 'SyncMessage.SyncMetadata', createdAt } })

/** One store: its log in SQLite, its head in memory, the live pulls of each socket in memory and in attachments. */
export class SyncBackendDO extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env)
    const storeId = ctx.id.name
    const sql = ctx.storage.sql
    this.sql = sql
    this.storeId = storeId
    const table = `"eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}"`
    sql.exec(
      `CREATE TABLE IF NOT EXISTS ${table} ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null,
       "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict;
       CREATE TABLE IF NOT EXISTS "context_7" ("storeId" text primary key, "currentHead" integer not null,
       "backendId" text not null) strict`,
    )
    this.insertSql = `INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?)`
    this.headSql = 'UPDATE context_7 SET currentHead = ? WHERE storeId = ?'
    this.pageSql = `SELECT name, args, seqNum, parentSeqNum, createdAt, clientId, sessionId FROM ${table}
      WHERE seqNum > ? ORDER BY seqNum LIMIT ${pageEventsMax}`
    this.countSql = `SELECT count(*) AS count FROM ${table} WHERE seqNum > ?`
    const [context] = sql.exec('SELECT currentHead, backendId FROM context_7 WHERE storeId = ?', storeId)
    this.head = context?.currentHead ?? 0
    this.backendId = context?.backendId ?? newBackendId()
    if (!context) sql.exec('INSERT INTO context_7 VALUES (?, 0, ?)', storeId, this.backendId)
    this.livePulls = new Map(ctx.getWebSockets().map((ws) => [ws, new Set(ws.deserializeAttachment())]))
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('{"_tag":"Ping"}', '{"_tag":"Pong"}'))
  }

  fetch(request) {
    if (request.headers.get('Upgrade') !== 'websocket') return this.answer(request)
    const [client, server] = Object.values(new WebSocketPair())
    server.serializeAttachment([])
    this.ctx.acceptWebSocket(server)
    this.livePulls.set(server, new Set())
    return new Response(null, { status: 101, webSocket: client })
  }

  /** The http transport: one request, and all that a socket would have been sent in one array. */
  async answer(request) {
    const { id, tag, payload } = await request.json()
    const frames = []
    const asker = { send: (frame) => frames.push(frame) }
    if (tag === 'SyncHttpRpc.Push') this.push(asker, id, payload)
    if (tag === 'SyncHttpRpc.Pull') this.pull(asker, id, payload)
    if (tag === 'SyncHttpRpc.Ping') asker.send(success(id, { _tag: 'SyncMessage.Pong' }))
    return new Response(`[${frames.join()}]`, { headers: { 'Content-Type': 'application/json' } })
  }

  webSocketMessage(ws, text) {
    const message = JSON.parse(text)
    if (message._tag === 'Interrupt') return this.unsubscribe(ws, message.requestId)
    if (message._tag !== 'Request') return
    if (message.tag === 'SyncWsRpc.Push') return this.push(ws, message.id, message.payload)
    if (message.tag === 'SyncWsRpc.Pull') return this.pull(ws, message.id, message.payload)
  }

  webSocketClose(ws) {
    this.livePulls.delete(ws)
  }

  webSocketError(ws) {
    this.livePulls.delete(ws)
  }

  pull(ws, id, { live, cursor }) {
    if (cursor._tag === 'Some' && cursor.value.backendId !== this.backendId) {
      return ws.send(this.backendIdMismatch(id, cursor.value.backendId))
    }
    let after = cursor._tag === 'Some' ? cursor.value.eventSequenceNumber : 0
    let remaining = this.sql.exec(this.countSql, after).one().count
    do {
      const batch = []
      // Rows as arrays cost less to read than rows as objects.
      for (const [name, args, seqNum, parentSeqNum, createdAt, clientId, sessionId] of this.rowsAfter(after)) {
        const eventEncoded = { name, args: JSON.parse(args), seqNum, parentSeqNum, clientId, sessionId }
        batch.push({ eventEncoded, metadata: metadata(createdAt) })
        after = seqNum
      }
      remaining -= batch.length
      ws.send(chunk(id, pageJson(batch, remaining, this.backendId)))
    } while (remaining > 0)
    if (!live) return ws.send(success(id, null))
    this.livePulls.get(ws).add(id)
    ws.serializeAttachment([...this.livePulls.get(ws)])
  }

  rowsAfter(seqNum) {
    return this.sql.exec(this.pageSql, seqNum).raw()
  }

  push(ws, id, { batch, backendId }) {
    if (batch.length === 0) return ws.send(success(id, {}))
    if (backendId._tag === 'Some' && backendId.value !== this.backendId) {
      return ws.send(this.backendIdMismatch(id, backendId.value))
    }
    const providedNum = batch[0].parentSeqNum
    if (providedNum !== this.head) {
      const error = { minimumExpectedNum: this.head, providedNum, _tag: 'ServerAheadError' }
      return ws.send(failure(id, { _tag: 'Fail', error }))
    }
    const createdAt = new Date().toISOString()
    const head = batch.at(-1).seqNum
    this.ctx.storage.transactionSync(() => {
      for (const { seqNum, parentSeqNum, name, args = null, clientId, sessionId } of batch) {
        const argsJson = JSON.stringify(args)
        this.sql.exec(this.insertSql, seqNum, parentSeqNum, name, argsJson, createdAt, clientId, sessionId)
      }
      this.sql.exec(this.headSql, head, this.storeId)
    })
    this.head = head
    this.broadcast(batch, createdAt)
    ws.send(success(id, {}))
  }

  broadcast(events, createdAt) {
    const subscribers = [...this.livePulls].filter(([, ids]) => ids.size > 0)
    if (subscribers.length === 0) return
    for (let start = 0; start < events.length; start += pageEventsMax) {
      const batch = events
        .slice(start, start + pageEventsMax)
        .map((event) => ({ eventEncoded: { ...event, args: event.args ?? null }, metadata: metadata(createdAt) }))
      const page = pageJson(batch, 0, this.backendId)
      for (const [ws, ids] of subscribers) for (const id of ids) ws.send(chunk(id, page))
    }
  }

  unsubscribe(ws, id) {
    if (!this.livePulls.get(ws).delete(id)) return
    ws.serializeAttachment([...this.livePulls.get(ws)])
    ws.send(failure(id, { _tag: 'Interrupt', fiberId: { _tag: 'None' } }))
  }

  backendIdMismatch(id, received) {
    const error = { expected: this.backendId, received, _tag: 'BackendIdMismatchError' }
    return failure(id, { _tag: 'Fail', error })
  }
}

/** The payload of the URL: JSON, encoded once by the client and once by the query string. */
const payloadOf = (searchParams) => {
  try {
    return JSON.parse(decodeURIComponent(searchParams.get('payload')))
  } catch {
    return undefined
  }
}

export default {
  async fetch(request, env) {
    const { searchParams } = new URL(request.url)
    const [storeId, transport] = [searchParams.get('storeId'), searchParams.get('transport')]
    if (storeId === null || !['ws', 'http'].includes(transport)) return new Response('Invalid path', { status: 400 })
    if (payloadOf(searchParams)?.authToken !== env.AUTH_TOKEN) return new Response('Unauthorized', { status: 400 })
    const isUpgrade = request.headers.get('Upgrade') === 'websocket'
    if (isUpgrade !== (transport === 'ws')) return new Response('Expected another transport', { status: 426 })
    return env.SYNC_BACKEND_DO.get(env.SYNC_BACKEND_DO.idFromName(storeId)).fetch(request)
  },
}
