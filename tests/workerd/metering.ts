/**
 * What Cloudflare bills, counted in the local runtime: requests to the Worker and to objects, messages of sockets, alarms, and
 * the rows that SQLite and D1 say they have read and written.
 *
 * The bundle is edited: its class and handler are wrapped, and each line that they log is a count. Rows are those of the
 * platform's own counters (`rowsRead`, `rowsWritten`, `meta`), which include entries of indexes.
 */
import assert from 'node:assert/strict'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import type { Peer } from './peer.ts'

/** What is billed by the piece. */
export interface Usage {
  /** Requests to the Worker. */
  readonly worker: number
  /** Requests and alarms of objects. */
  readonly object: number
  /** Messages of sockets, of which 20 are a request to an object. */
  readonly messages: number
  readonly rowsRead: number
  /** An alarm that is set is a row. */
  readonly rowsWritten: number
  readonly d1Read: number
  readonly d1Written: number
}

export const kinds = [
  'worker',
  'object',
  'messages',
  'rowsRead',
  'rowsWritten',
  'd1Read',
  'd1Written',
] as const satisfies ReadonlyArray<keyof Usage>

/** The header of a request that is not counted, and has its value logged. */
const markHeader = 'x-test-mark'

/** The line by which it is told that an alarm has returned. */
export const alarmReturned = 'metered: an alarm has returned'

/** An edit of the bundle for `ServerOptions.edit`. */
export const metered = (source: string): string => {
  const exported = /export\s*\{([\w$]+) as SyncBackendDO,(.*?),([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a class and a handler')
  return source.replace(
    exported,
    (_, object: string, others: string, handler: string) => `
      const count = (kind, number) => number > 0 && console.log('metered ' + kind + ' ' + number)
      let isWrapped = false
      /** What a cursor has read is known once its rows were taken, which is before the turn ends. */
      const wrap = (storage) => {
        if (isWrapped) return
        isWrapped = true
        const sql = Object.getPrototypeOf(storage.sql)
        const { exec } = sql
        sql.exec = function (...args) {
          const cursor = exec.apply(this, args)
          queueMicrotask(() => {
            count('rowsRead', cursor.rowsRead)
            count('rowsWritten', cursor.rowsWritten)
          })
          return cursor
        }
        const durable = Object.getPrototypeOf(storage)
        const { setAlarm } = durable
        durable.setAlarm = function (...args) {
          count('rowsWritten', 1)
          return setAlarm.apply(this, args)
        }
      }
      const databaseOf = (env) => env.DB && {
        prepare: (sql) => env.DB.prepare(sql),
        batch: async (statements) => {
          const results = await env.DB.batch(statements)
          const of = (name) => results.reduce((sum, { meta }) => sum + meta[name], 0)
          count('d1Read', of('rows_read'))
          count('d1Written', of('rows_written'))
          return results
        },
      }
      class Metered extends ${object} {
        constructor(state, env) {
          wrap(state.storage)
          super(state, { ...env, DB: databaseOf(env) })
          const alarm = this.alarm.bind(this)
          const goOff = async (info) => {
            count('object', 1)
            await alarm(info)
            console.log('${alarmReturned}')
          }
          Object.defineProperty(this, 'alarm', { value: goOff })
        }
        fetch(request) {
          count('object', 1)
          return super.fetch(request)
        }
        webSocketMessage(socket, message) {
          count('messages', 1)
          return super.webSocketMessage(socket, message)
        }
      }
      const host = {
        fetch: (request, env, ctx) => {
          const mark = request.headers.get('${markHeader}')
          if (mark !== null) return console.log(mark), new Response()
          count('worker', 1)
          return ${handler}.fetch(request, { ...env, DB: databaseOf(env) }, ctx)
        },
      }
      export { Metered as SyncBackendDO, ${others}, host as default }`,
  )
}

/** What has been counted since line `from` of the log. */
const usageSince = ({ logs }: Pick<Server, 'logs'>, from: number): Usage => {
  const usage = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<keyof Usage, number>
  for (const line of logs.slice(from)) {
    const [, kind, number] = /^metered (\w+) (\d+)$/.exec(line) ?? []
    if (kind !== undefined) usage[kind as keyof Usage] += Number(number)
  }
  return usage
}

let marks = 0

/** What `work` uses, and all that it has to do with the peers that it returns. */
export const usageOf = async (server: Server, work: () => Promise<readonly Peer[]>): Promise<Usage> => {
  const from = server.logs.length
  const peers = await work()
  // Each is answered once its messages are done with, for a message more.
  for (const peer of peers) await peer.settled()
  const mark = `mark ${(marks += 1)}`
  await fetch(server.url, { headers: { [markHeader]: mark } })
  await eventually('what was logged is here', () => server.logs.slice(from).includes(mark))
  const usage = usageSince(server, from)
  return { ...usage, messages: usage.messages - peers.length }
}

/** Usages that come together, each so many times. */
export const sum = (...parts: ReadonlyArray<readonly [times: number, usage: Usage]>): Usage =>
  Object.fromEntries(
    kinds.map((kind) => [kind, parts.reduce((total, [times, usage]) => total + times * usage[kind], 0)]),
  ) as unknown as Usage
