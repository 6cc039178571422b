/** What an operator asks of a store, and the answers in types. */
import assert from 'node:assert/strict'
import type {
  EventLine as Exported,
  OpenState as State,
  PastError,
  StoreList as Stores,
} from '../../host/administration.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { type Answer, type Knock, knock } from './knock.ts'

export type { Exported, PastError, State, Stores }

/** `ADMIN_SECRET` of the servers that tests start for this. */
export const adminSecret = 'secret-of-the-administration'

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
