/** `status`: what a sync backend is and how many stores it has, or how one store stands. */
import type { Config, Whose } from '../administration.ts'
import { type Asked, type Command, UsageError } from './command.ts'
import { storeOf } from './shared/asked.ts'
import { ago, bytes, count, number, plain, print, table } from './shared/show.ts'
import { Refused, Server, type State, serverFlags } from './shared/server.ts'
import { listed } from './stores.ts'

export const status: Command = {
  operands: '[store]',
  summary: 'says how a store stands, or the whole deployment',
  flags: serverFlags,
  run: async (asked) => {
    const isJson = asked.flags['json'] === true
    if (asked.operands.length === 0) return print(isJson, ...(await deployment(asked)))
    const storeId = storeOf('status', asked)
    const state = await Server.of('status', asked).state(storeId)
    print(isJson, state, () => described(state))
  },
}

/** At the first store beyond this one it is no longer counted. */
const countedMax = 10_000

const deployment = async (asked: Asked): Promise<readonly [unknown, () => string]> => {
  if (asked.flags['url'] === '') throw new UsageError('status: --url is empty')
  const server = Server.of('status', asked)
  const config = await ifKnown(server.json<Config>('GET', 'config'))
  // Without a database there is no list.
  const stores = await ifKnown(counted(server))
  const { version = null, variables = [], bindings = {}, warnings = [] } = config ?? {}
  const value = { url: server.url, version, variables, bindings, warnings, stores: stores ?? null }
  return [
    value,
    () => {
      const more = stores?.isMore === true ? ' and more' : ''
      const set = variables.filter(({ isSet }) => isSet)
      const rows: Array<readonly [string, string]> = [
        ['reachable', 'yes, and the secret is right'],
        ['version', version ?? 'not told by this server'],
        ['stores', stores === undefined ? 'not known: no database is bound as DB' : `${number(stores.count)}${more}`],
        ...set.map((one) => [one.name, one.isSecret ? '(secret)' : plain(one.value ?? '')] as const),
        ...warnings.map((one) => ['warning', `${plain(one.name)}: ${plain(one.message)}`] as const),
      ]
      return `${server.url}\n${indented(rows)}`
    },
  ]
}

/** What is answered, `undefined` where the server does not know the route or has not what it takes. */
const ifKnown = async <T>(answer: Promise<T>): Promise<T | undefined> => {
  try {
    return await answer
  } catch (error) {
    if (error instanceof Refused && error.status === 404 && error.message.includes('the server says')) return undefined
    throw error
  }
}

const counted = async (server: Server): Promise<{ readonly count: number; readonly isMore: boolean }> => {
  let all = 0
  for await (const page of listed(server, undefined, 1_000)) {
    all += page.length
    if (all >= countedMax) return { count: all, isMore: true }
  }
  return { count: all, isMore: false }
}

const indented = (rows: ReadonlyArray<readonly [string, string]>): string =>
  table(rows.map(([name, value]) => ['', name, value]))

/** So many of a kind are listed; `--json` has them all. */
const listedMax = 5

/** Whose it is, as far as is known: `client a of alice, `. */
const whose = ({ clientId, subject }: Whose): string => {
  const names = [...(clientId ? [`client ${clientId}`] : []), ...(subject ? [`of ${subject}`] : [])]
  return names.length === 0 ? '' : `${plain(names.join(' '))}, `
}

/** How a store stands, for people. */
const described = (state: State): string => {
  const rows: Array<readonly [string, string]> = [['status', state.status]]
  if (state.message !== undefined) rows.push(['', plain(state.message)])
  for (const one of state.lifetimes ?? [])
    rows.push([
      'in the backup',
      `${one.backendId}: ${count(one.events, 'event')}, up to event ${one.head}, ${one.lastAt}`,
    ])
  if (state.restore !== undefined) rows.push(...ofRestore(state.restore))
  if (state.lastRestore !== undefined) {
    const { at, outcome, message } = state.lastRestore
    rows.push(['last restore', `${outcome} ${ago(at)}, ${at}${message === undefined ? '' : `: ${plain(message)}`}`])
  }
  if (state.deletion !== undefined) {
    rows.push(['deleted since', state.deletion.begunAt])
    if (state.deletion.lastError !== undefined) rows.push(['', plain(state.deletion.lastError.message)])
  }
  // What follows is of a store whose log is here.
  if (state.connections !== undefined) rows.push(...ofLog(state))
  return `${plain(state.storeId)}\n${indented(rows)}`
}

const ofRestore = (restore: NonNullable<State['restore']>): ReadonlyArray<readonly [string, string]> => {
  const { staged, head, at, failed, lastError } = restore
  return [
    ['restored', at === undefined ? `up to event ${staged} of ${head}` : `${bytes(at)} of a file, event ${staged}`],
    ...(failed === undefined ? [] : [['failed', plain(failed)] as const]),
    ...(lastError === undefined ? [] : [['delayed', plain(lastError.message)] as const]),
  ]
}

const ofLog = (state: State): ReadonlyArray<readonly [string, string]> => {
  const { lastPush, connections, backup } = state
  const open = Object.entries({ ...connections.byTransport }).filter(([, many]) => many > 0)
  const rows: Array<readonly [string, string]> = [
    ['log', `${count(state.events, 'event')}, up to event ${state.head}, ${bytes(state.bytes)}`],
    ['lifetime', plain(state.backendId)],
    ['last push', lastPush === null ? 'none' : `event ${lastPush.seqNum}, ${ago(lastPush.at)}, ${lastPush.at}`],
    ['connections', open.map(([transport, many]) => `${transport} ${many}`).join(', ') || 'none'],
  ]
  if (backup === undefined) rows.push(['backup', 'none'])
  else {
    const lag =
      backup.lagEvents === 0 ? 'all of it' : `lacks ${count(backup.lagEvents, 'event')} since ${backup.lagSeconds} s`
    rows.push(['backup', `up to event ${backup.head}: ${lag}`])
    if (backup.lastError !== null) rows.push(['', `${backup.lastError.at} ${plain(backup.lastError.message)}`])
  }
  const slow = state.sockets.filter(({ lag, stuck, inspector }) => (lag > 0 || stuck) && !inspector)
  for (const one of slow.slice(0, listedMax))
    rows.push([one.stuck ? 'stuck pull' : 'behind', `${whose(one)}${one.generation}, lacks ${count(one.lag, 'event')}`])
  for (const { clientId, refusals, message } of state.stuckClients.slice(0, listedMax))
    rows.push([
      'stuck client',
      `${plain(clientId)}, refused ${refusals} times${message === undefined ? '' : `: ${plain(message)}`}`,
    ])
  for (const one of state.lastErrors.slice(-listedMax))
    rows.push(['refused', `${one.at} ${whose(one)}${one.reason}: ${plain(one.message)}`])
  return rows
}
