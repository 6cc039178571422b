/** What an operator asks of a store, and the answers in types. */
import assert from 'node:assert/strict'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { type Answer, type Knock, knock } from './knock.ts'

/** `ADMIN_SECRET` of the servers that tests start for this. */
export const adminSecret = 'secret-of-the-administration'

/** The answer to `GET stores/<id>`. */
export interface State {
  readonly storeId: string
  readonly backendId: string
  readonly head: number
  readonly events: number
  readonly bytes: number
  readonly format: number
  /** Whether it is served: `open`, `restoring`, `restore-failed`, `deleting` or `delete-failed`. */
  readonly status: string
  readonly time: string
  readonly lastPush: { readonly seqNum: number; readonly at: string } | null
  readonly connections: {
    readonly byTransport: Readonly<Record<'ws' | 'http' | 'do-rpc', number>>
    readonly byGeneration: Readonly<Record<'v03' | 'v04' | 'v05' | 'unknown', number>>
  }
  readonly inFlightBytes: number
  readonly sockets: ReadonlyArray<{
    readonly transport: string
    readonly generation: string
    readonly pulls: number
    readonly lag: number
    readonly unacknowledged: number
    readonly stuck: boolean
    readonly subject: string | null
    readonly clientId: string | null
    readonly inspector: boolean
  }>
  readonly clientObjects: ReadonlyArray<{
    readonly binding: string
    readonly id: string
    readonly generation: string
    readonly lag: number
  }>
  readonly stuckClients: ReadonlyArray<{
    readonly clientId: string
    readonly refusals: number
    readonly reason: string
    readonly message: string
    readonly head: number
  }>
  readonly lastErrors: ReadonlyArray<PastError & { readonly clientId: string | null; readonly subject: string | null }>
  /** Where there is a backup. */
  readonly backup?: {
    readonly head: number
    readonly lagEvents: number
    readonly lagSeconds: number
    readonly failures: number
    readonly lastError: PastError | null
    /** Where old events are folded. */
    readonly compaction?: {
      readonly foldedTo: number
      readonly isUnderWay: boolean
      readonly lastError: { readonly at: string; readonly message: string } | null
    }
  }
  /** While a log is brought back. */
  readonly restore?: {
    readonly events: number
    readonly staged: number
    readonly at?: number
    readonly failures: number
    readonly failed?: string
    readonly lastError?: { readonly at: string; readonly message: string }
  }
  /** While the store is deleted. */
  readonly deletion?: {
    readonly begunAt: string
    readonly events: number
    readonly backup: { readonly lifetimes: number; readonly events: number } | null
    readonly failures: number
    readonly lastError?: { readonly at: string; readonly message: string }
  }
  /** Where stores end that nobody opens. */
  readonly retention?: { readonly openedAt: string; readonly endsAt: string }
}

export interface PastError {
  readonly at: string
  readonly reason: string
  readonly message: string
}

/** The answer to `GET stores`. */
export interface Stores {
  readonly stores: ReadonlyArray<{
    readonly storeId: string
    readonly backendId: string
    readonly head: number
    readonly events: number
    readonly bytes: number
    readonly firstAt: string
    readonly lastAt: string
    readonly copiedAt: string
    readonly lifetimes: number
  }>
  readonly next: string | null
}

/** One line of an export. */
export interface Exported {
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly name: string
  readonly args: unknown
  readonly clientId: string
  readonly sessionId: string
  readonly createdAt: string
}

/** `/admin/v1/stores/<id>` and what follows. */
export const storePath = (storeId: string, rest = ''): string =>
  `/admin/v1/stores/${encodeURIComponent(storeId)}${rest}`

/** Asks with the secret. */
export const administer = (
  server: Pick<Server, 'url'>,
  target: string,
  { headers, ...over }: Partial<Knock> = {},
): Promise<Answer> =>
  knock(server, { target, ...over, headers: { authorization: `Bearer ${adminSecret}`, ...headers } })

/** The value of an answer in JSON, after a check that it is a whole one. */
export const valueOf = <T>(answer: Answer, status = 200): T => {
  assert.equal(answer.status, status, answer.body)
  assert.equal(answer.headers['content-type'], 'application/json')
  assert.ok(answer.body.endsWith('\n'), 'it ends with a line break')
  return JSON.parse(answer.body) as T
}

/** Asserts that an answer is an error in words, and returns them. */
export const errorOf = (answer: Answer, status: number): string => {
  const { error, ...rest } = valueOf<{ readonly error: string }>(answer, status)
  assert.deepEqual(rest, {})
  assert.ok(error.length > 0)
  return error
}

export const stateOf = async (server: Pick<Server, 'url'>, storeId: string): Promise<State> =>
  valueOf<State>(await administer(server, storePath(storeId)))

/** Resolves with the state of a store once its log is here, and it is served. */
export const opened = (server: Pick<Server, 'url'>, storeId: string, deadlineMs?: number): Promise<State> =>
  eventually(
    'its log is here',
    async () => {
      const state = await stateOf(server, storeId)
      return state.status === 'open' && state
    },
    deadlineMs,
  )

/** Empties a store; resolves with its new backend id. */
export const reset = async (server: Pick<Server, 'url'>, storeId: string): Promise<string> => {
  const body = JSON.stringify({ storeId })
  const answer = await administer(server, storePath(storeId, '/reset'), { method: 'POST', body })
  const { backendId, ...rest } = valueOf<{ readonly backendId: string }>(answer)
  assert.deepEqual(rest, {})
  assert.match(backendId, /^[\w-]{21}$/)
  return backendId
}

/** A ticket for the live route of a store. */
export const ticketOf = async (
  server: Pick<Server, 'url'>,
  storeId: string,
): Promise<{ readonly ticket: string; readonly expiresAt: string }> =>
  valueOf(await administer(server, storePath(storeId, '/live'), { method: 'POST' }))

/** Closes the sockets of a store; resolves with how many there were. */
export const disconnect = async (server: Pick<Server, 'url'>, storeId: string): Promise<number> => {
  const answer = await administer(server, storePath(storeId, '/disconnect'), { method: 'POST' })
  const { closed, ...rest } = valueOf<{ readonly closed: number }>(answer)
  assert.deepEqual(rest, {})
  return closed
}

/** The lines of an export. */
export const linesIn = (answer: Answer): readonly string[] => {
  assert.equal(answer.status, 200, answer.body)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
  const lines = answer.body.split('\n')
  assert.equal(lines.pop(), '', 'every line ends with a line break')
  return lines
}

export const exportOf = async (
  server: Pick<Server, 'url'>,
  storeId: string,
  query = '',
): Promise<readonly Exported[]> =>
  linesIn(await administer(server, storePath(storeId, `/events${query}`))).map((line) => JSON.parse(line) as Exported)
