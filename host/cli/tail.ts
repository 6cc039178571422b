/**
 * `tail`: the last events of a store, and those that come. It is a client of the store that only reads: it pulls live over a socket of
 * the administration, acknowledges what it has printed, and goes on after a cut from the event that it has printed last.
 */
import { once } from 'node:events'
import { integerOf, storeOf, textOf } from './shared/asked.ts'
import { type Asked, type Command, Failure, Interrupted, UsageError } from './command.ts'
import type { EventLine, LiveFrame } from '../administration.ts'
import { mayPass } from './shared/follow.ts'
import { interruption, pause } from './shared/interrupt.ts'
import { plain } from './shared/show.ts'
import { Server, Unreachable, serverFlags, storePath } from './shared/server.ts'

/** An event, of which clients need not be told when it was stored. */
interface Event extends Omit<EventLine, 'createdAt'> {
  readonly createdAt: string | null
}

/** From where on events are wanted. */
interface Cursor {
  backendId: string
  after: number
}

const usual = 10

/** How often it is asked whether the other end is still there; without an answer until the next time the connection is lost. */
const pingMs = 10_000

const pauseMsMax = 30_000

export const tail: Command = {
  operands: '<store>',
  summary: 'prints the last events of a store, and follows',
  flags: {
    last: { value: '<n>', help: `begins so many events before the end: ${usual}` },
    after: { value: '<n>', help: 'begins behind this event instead' },
    'no-follow': { help: 'ends with the last event' },
    name: { value: '<patterns>', help: 'those of these names alone, * for any text: v1.Todo*,v2.*' },
    client: { value: '<id>', help: 'those of this client alone' },
    args: { value: '<text>', help: 'those alone whose args, as JSON, have this in them' },
    ...serverFlags,
  },
  run: async (asked) => {
    const storeId = storeOf('tail', asked)
    const isWanted = filterOf(asked)
    const last = integerOf('tail', asked, 'last')
    const after = integerOf('tail', asked, 'after')
    if (last !== undefined && after !== undefined) throw new UsageError('tail: either --last or --after')
    const server = Server.of('tail', asked)
    const { head, backendId, status, message } = await server.state(storeId)
    if (backendId === undefined)
      throw new Failure(`tail: the store is not served: its status is '${status}'. ${plain(message ?? '')}`.trimEnd())
    const show = shownBy(asked.flags['json'] === true)
    const cursor = { backendId, after: after ?? Math.max(0, head - (last ?? usual)) }
    const take = async (event: Event): Promise<void> => {
      cursor.after = event.seqNum
      if (isWanted(event)) await write(show(event))
    }
    if (asked.flags['no-follow'] === true) {
      await connected(server, storeId, cursor, false, take)
      return
    }
    await followed(server, storeId, cursor, take)
  },
}

/** Follows a store until that is interrupted. */
const followed = async (
  server: Server,
  storeId: string,
  cursor: Cursor,
  take: (event: Event) => Promise<void>,
): Promise<never> => {
  let waitMs = 0
  let isLost = false
  const served = (): void => {
    if (isLost) note(`connected again, and goes on behind event ${cursor.after}`)
    isLost = false
    waitMs = 0
  }
  for (let isFirst = true; ; isFirst = false) {
    try {
      if (!isFirst) {
        // A connection that is refused does not say why.
        const { backendId } = await server.state(storeId)
        if (backendId !== undefined && backendId !== cursor.backendId) {
          note(`the store has another log, lifetime ${backendId}, which follows from its beginning`)
          Object.assign(cursor, { backendId, after: 0 })
        }
      }
      await connected(server, storeId, cursor, true, take, served)
    } catch (error) {
      if (!mayPass(error)) throw error
      if (!isLost) note(`${(error as Error).message}; it is tried again`)
      isLost = true
    }
    waitMs = Math.min(pauseMsMax, waitMs === 0 ? 200 : waitMs * 2)
    await pause(waitMs, 'tail: ended')
  }
}

/**
 * Takes the events behind a cursor over a connection of its own: up to the end, or those that come as well if it is `live`, until
 * the connection is lost, or the log is another one. Calls `served` when something comes.
 */
const connected = async (
  server: Server,
  storeId: string,
  { backendId, after }: Cursor,
  live: boolean,
  take: (event: Event) => Promise<void>,
  served: () => void = () => {},
): Promise<void> => {
  const path = storePath(storeId, '/live')
  const { ticket } = await server.json<{ ticket: string }>('POST', path)
  const url = server.urlOf(path)
  url.protocol = url.protocol.replace('http', 'ws')
  const socket = new WebSocket(url, ['livestore-admin', ticket])
  const signal = interruption()
  let hangUp = (): void => {}
  let isOver = false
  let pings: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve, reject) => {
      hangUp = () => reject(new Interrupted('tail: ended'))
      signal.addEventListener('abort', hangUp)
      const lost = (why: string): void => reject(new Unreachable(`tail: the connection was lost${why}`))
      const send = (message: object): void => socket.send(JSON.stringify(message))
      let isAnswered = true
      let pingedAt = 0
      socket.addEventListener('open', () => {
        const cursor = { _tag: 'Some', value: { backendId, eventSequenceNumber: after } }
        send({ _tag: 'Request', id: '0', tag: 'SyncWsRpc.Pull', payload: { storeId, live, cursor }, headers: [] })
        pings = setInterval(() => {
          // Whose output was not read for long, or who was suspended, has not looked for the answer.
          const hasLooked = Date.now() - pingedAt < 1.5 * pingMs
          if (!isAnswered && hasLooked) return lost(': the server does not answer')
          isAnswered = false
          pingedAt = Date.now()
          // The very bytes that the runtime answers without waking the object.
          socket.send('{"_tag":"Ping"}')
        }, pingMs)
      })
      // Events are printed in the order in which they came, however slowly that goes.
      let taken = Promise.resolve()
      const inTurn = (act: () => void | Promise<void>): void => {
        taken = taken.then(act)
        taken.catch(reject)
      }
      const receive = async ({ _tag, values = [], exit }: LiveFrame): Promise<void> => {
        if (_tag === 'Defect') return lost(': the server did not understand the request')
        if (_tag === 'Exit') {
          const error = exit?.cause?.error?._tag
          const isOther = live && error === 'BackendIdMismatchError'
          return exit?._tag === 'Success' || isOther
            ? resolve()
            : lost(`: the server says ${plain(error ?? 'no more')}`)
        }
        if (_tag !== 'Chunk') return
        served()
        for (const { batch } of values)
          for (const { eventEncoded, metadata } of batch) {
            // The next connection begins where this one was left.
            if (isOver) return
            await take({ ...eventEncoded, createdAt: metadata.value?.createdAt ?? null })
          }
        if (socket.readyState === WebSocket.OPEN) send({ _tag: 'Ack', requestId: '0' })
      }
      socket.addEventListener('message', ({ data }) => {
        isAnswered = true
        inTurn(() => receive(server.parse<LiveFrame>(String(data))))
      })
      socket.addEventListener('close', ({ code, reason }) =>
        inTurn(() =>
          lost(code === 1005 || code === 1006 ? '' : ` (${code}${reason === '' ? '' : `, ${plain(reason)}`})`),
        ),
      )
      // A close follows, which tells as much.
      socket.addEventListener('error', () => {})
    })
  } finally {
    isOver = true
    clearInterval(pings)
    signal.removeEventListener('abort', hangUp)
    socket.close()
  }
}

/** What is printed of an event. */
const shownBy =
  (isJson: boolean) =>
  ({ seqNum, parentSeqNum, name, args, clientId, sessionId, createdAt }: Event): string => {
    if (isJson) return JSON.stringify({ seqNum, parentSeqNum, name, args, clientId, sessionId, createdAt })
    const line = `${seqNum}  ${createdAt ?? '-'}  ${plain(name)}  ${plain(clientId)}  ${plain(JSON.stringify(args) ?? '')}`
    const width = process.stdout.isTTY ? process.stdout.columns : Infinity
    return line.length > width ? `${line.slice(0, width - 1)}…` : line
  }

const filterOf = (asked: Asked): ((event: Event) => boolean) => {
  const patterns = textOf('tail', asked, 'name')?.split(',').map(patternOf)
  const client = textOf('tail', asked, 'client')
  const text = textOf('tail', asked, 'args')
  return ({ name, clientId, args }) =>
    (patterns === undefined || patterns.some((pattern) => pattern.test(name))) &&
    (client === undefined || clientId === client) &&
    (text === undefined || (JSON.stringify(args) ?? '').includes(text))
}

/** A pattern as `EVENT_NAMES` has them. */
const patternOf = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
      .join('.*')}$`,
    's',
  )

const write = async (line: string): Promise<void> => {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain')
}

/** What is said beside the events. */
const note = (message: string): void => console.error(message.startsWith('tail: ') ? message : `tail: ${message}`)
