/** What numbers and reasons mean, for those who have never seen them: plain sentences, and what can be done. */
import { ago, count, duration, many } from './format.ts'
import type { PastError, Socket, State, StuckClient } from '../host/administration.ts'

/** Something that a person should look at. */
export interface Finding {
  readonly weight: 'bad' | 'warn'
  readonly title: string
  /** What has happened and what follows from it. */
  readonly why: string
  readonly advice: string
  /** The tab that shows more. */
  readonly tab: 'clients' | 'backup' | 'manage'
  /** The client that it is about. */
  readonly clientId?: string
  /** The server's own words. */
  readonly words?: string
}

/** Each reason of a refusal in a few words. */
const reasons: Readonly<Record<string, string>> = {
  'server-ahead': 'another client was faster; the client takes its events first, then pushes again',
  'backend-id-mismatch': 'the client knows the log from before a reset or a restore',
  'other-store': 'the message names another store than its connection',
  'frame-too-large': 'one message was larger than MAX_FRAME_BYTES',
  'no-batch': 'the events do not follow each other, or one of them or their number is too large',
  'event-name': 'EVENT_NAMES does not list the name of an event',
  'store-full': 'the store has grown to MAX_STORE_BYTES',
  'push-rate': 'more pushes than PUSH_RATE allows',
  connections: 'more sockets than MAX_CONNECTIONS allows',
  pulls: 'one connection has more pulls open than it can hold',
  memory: 'the client reads too slowly, or too much waits for hooks',
  'read-only': 'the token allows reading alone',
  'no-store': 'the token allows reading alone, and there is no such store yet',
  expired: 'the token has expired',
  malformed: 'the message was not understood',
  hook: "the app's own rules refused it",
  'admin-secret': 'an administrative message of a 0.3 client without the right secret',
  restoring: 'the store is being restored',
  deleting: 'the store is being deleted',
  storage: "the object's database failed",
}

export const reasonInWords = (reason: string): string => reasons[reason] ?? 'a reason this page does not know'

/** Reasons that pass by themselves, or are part of syncing. */
const isRoutine = (reason: string): boolean => ['server-ahead', 'restoring', 'deleting'].includes(reason)

/** As many refusals of one client for one reason are more than a mishap. */
const refusedOftenFrom = 3

/** What is wrong with a store, the worst first. */
export const findingsOf = (state: State): readonly Finding[] => [
  ...ofStatus(state),
  ...(state.stuckClients ?? []).map((stuck) => ofStuckClient(stuck, state)),
  ...ofStuckPulls(state.sockets ?? []),
  ...ofRepeatedRefusals(state),
  ...ofLastRestore(state),
  ...ofBackup(state),
]

const ofStatus = (state: State): readonly Finding[] => {
  const { status, restore, deletion, message } = state
  const about = { weight: 'bad', tab: 'manage' } as const
  switch (status) {
    case 'restore-failed':
      return [
        {
          ...about,
          tab: 'backup',
          title: 'The log could not be brought in',
          why: 'There is no log to go on with, so nobody is served.',
          advice: 'Restore or import again, or reset the store.',
          ...(restore?.failed ? { words: restore.failed } : {}),
        },
      ]
    case 'delete-failed':
      return [
        {
          ...about,
          title: 'The store could not be deleted yet',
          why: 'D1 failed meanwhile. It is tried again by itself, and nobody is served until then.',
          advice: 'Nothing, if it does not last. Deleting once more tries at once.',
          ...(deletion?.lastError ? { words: deletion.lastError.message } : {}),
        },
      ]
    case 'backup-found':
      return [
        {
          ...about,
          tab: 'backup',
          title: 'Nothing is left of this store but its backup',
          why: 'Its object is empty and D1 has a copy of its log. Nobody is served until you decide, so that no client drops its data.',
          advice: 'Restore the backup, or reset the store to begin anew.',
        },
      ]
    case 'log-elsewhere':
      return [
        {
          ...about,
          title: 'The log of this store is not in its object',
          why: 'Events were acknowledged that the object does not hold. Nobody is served, so that no second history begins.',
          advice:
            'See “Decide about a store” in docs/migrating-from-sync-cf.md, or reset the store to give those events up.',
          ...(message ? { words: message } : {}),
        },
      ]
    default:
      return []
  }
}

const ofStuckClient = (stuck: StuckClient, { head = 0, sockets = [] }: State): Finding => {
  const { clientId, refusals, message } = stuck
  const reason = stuck.reason ?? 'server-ahead'
  const socket = sockets.find((one) => one.clientId === clientId)
  const believed = stuck.head ?? undefined
  const lacks =
    believed === undefined
      ? `It does not know the last event, ${count(head)}: it does not take what it is sent, or loses every race.`
      : believed < head
        ? `It pushes as if event ${count(believed)} were the last, but the log is at ${count(head)}: it has not taken the ${many(head - believed, 'event')} in between.`
        : `It pushes as if event ${count(believed)} were the last, and the log ends at ${count(head)}: it knows events that this log does not have.`
  const connection =
    socket === undefined
      ? ' It has no socket here that is known to be its own.'
      : socket.stuck || socket.lag > 0
        ? ` Its connection lags by ${many(socket.lag, 'event')}, with ${many(socket.unacknowledged, 'page')} not acknowledged.`
        : ' Its connection has been sent everything.'
  return {
    weight: 'bad',
    tab: 'clients',
    clientId,
    title: `Client ${clientId} is stuck: ${many(refusals, 'push', 'pushes')} refused in a row`,
    why:
      reason === 'server-ahead'
        ? `${lacks}${connection} What its user has done since waits on that device.`
        : `Each was refused because ${reasonInWords(reason)}. What its user has done since waits on that device.`,
    advice:
      reason === 'server-ahead'
        ? 'Disconnect the store, which makes clients pull again. If it stays stuck, restart the app on that device; a 0.3 client from before a reset has to clear its storage.'
        : 'It repeats the push until the cause is gone.',
    ...(message ? { words: message } : {}),
  }
}

const ofStuckPulls = (sockets: readonly Socket[]): readonly Finding[] =>
  sockets
    .filter(({ stuck, inspector }) => stuck && inspector !== true)
    .map((socket) => ({
      weight: 'warn',
      tab: 'clients',
      ...(socket.clientId ? { clientId: socket.clientId } : {}),
      title: `${nameOf(socket)} takes nothing of what it is sent`,
      why: `It lacks ${many(socket.lag, 'event')} and has not acknowledged ${many(socket.unacknowledged, 'page')} for 30 seconds or more.`,
      advice: 'Usually a tab that its browser has suspended, which needs nothing. If it is many, disconnect the store.',
    }))

/** Who a connection is, as far as that is known. */
export const nameOf = ({
  clientId,
  subject,
  generation,
}: Pick<Socket, 'clientId' | 'subject' | 'generation'>): string =>
  clientId ? `Client ${clientId}` : subject ? `A client of ${subject}` : `A client of generation ${generation}`

/** Clients whose pushes are refused again and again for what does not pass by itself. */
const ofRepeatedRefusals = ({ lastErrors = [], stuckClients = [], time }: State): readonly Finding[] => {
  const groups = new Map<string, PastError[]>()
  for (const error of lastErrors) {
    const who = error.clientId ?? error.subject
    if (!who || isRoutine(error.reason) || stuckClients.some(({ clientId }) => clientId === error.clientId)) continue
    const key = JSON.stringify([who, error.reason])
    groups.set(key, [...(groups.get(key) ?? []), error])
  }
  return [...groups.values()]
    .filter((errors) => errors.length >= refusedOftenFrom)
    .map((errors) => {
      const last = errors.at(-1)!
      const who = last.clientId ? `Client ${last.clientId}` : `A client of ${last.subject}`
      const since = time === undefined ? '' : `, last ${ago(Date.parse(time) - Date.parse(last.at))}`
      return {
        weight: 'bad',
        tab: 'clients',
        ...(last.clientId ? { clientId: last.clientId } : {}),
        title: `${who} is refused again and again: ${last.reason}`,
        why: `${count(errors.length)} of the last ${many(lastErrors.length, 'refusal')} are this client's${since}, because ${reasonInWords(last.reason)}. It repeats the push, and its later events wait behind it.`,
        advice: 'Remove the cause; the client goes on by itself.',
        words: last.message,
      }
    })
}

/** A copy that is this far behind is worth a word. */
const lagSecondsMax = 300

/** For so long a restore that failed is what a person should look at. *Units*: milliseconds. */
const restoreToldMs = 24 * 3_600_000

const ofLastRestore = ({ lastRestore, time = '' }: State): readonly Finding[] => {
  if (lastRestore?.outcome !== 'failed' || Date.parse(time) - Date.parse(lastRestore.at) > restoreToldMs) return []
  return [
    {
      weight: 'warn',
      tab: 'backup',
      title: 'The last log that was to be brought in is not',
      why: `That failed ${ago(Date.parse(time) - Date.parse(lastRestore.at))}. The store goes on with the log it had, and clients notice nothing more.`,
      advice: 'Restore or import again once the reason is gone. Verify the backup if it is damaged.',
      ...(lastRestore.message ? { words: lastRestore.message } : {}),
    },
  ]
}

const ofBackup = ({ backup }: State): readonly Finding[] => {
  if (backup === undefined) return []
  const findings: Finding[] = []
  const about = { weight: 'warn', tab: 'backup' } as const
  if (backup.failures > 0 || backup.lagSeconds > lagSecondsMax)
    findings.push({
      ...about,
      title: `The backup lacks ${many(backup.lagEvents, 'event')}`,
      why:
        backup.failures > 0
          ? `The last ${many(backup.failures, 'copy', 'copies')} to D1 failed. Clients notice nothing, and it is tried again by itself.`
          : `The first of them was stored ${duration(backup.lagSeconds * 1_000)} ago.`,
      advice: 'See “When it fails” in docs/operations.md for the reason.',
      ...(backup.lastError ? { words: `${backup.lastError.reason}: ${backup.lastError.message}` } : {}),
    })
  if (backup.compaction?.lastError)
    findings.push({
      ...about,
      title: 'Old events of the backup could not be folded',
      why: 'They keep rows of their own in D1. Clients notice nothing.',
      advice: 'It is tried again by itself. If it says that events differ, verify the backup.',
      words: backup.compaction.lastError.message,
    })
  return findings
}

/** How a connection is, in a few words. */
export const healthOf = (socket: Socket): { readonly words: string; readonly weight: 'bad' | 'calm' | 'good' } => {
  if (socket.inspector) return { words: 'this page, or another one like it', weight: 'calm' }
  if (socket.stuck) return { words: 'takes nothing', weight: 'bad' }
  if (socket.pulls === 0) return { words: 'does not pull', weight: 'calm' }
  if (socket.lag > 0) return { words: `${many(socket.lag, 'event')} behind`, weight: 'calm' }
  return { words: 'has everything', weight: 'good' }
}
