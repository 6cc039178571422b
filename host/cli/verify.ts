/** `verify`: compares the backup of a store with its log, and makes it right if that is wanted. */
import type { Difference, Verified, VerifyLine } from '../administration.ts'
import { integerOf, storeOf } from './shared/asked.ts'
import { type Asked, type Command, Failure, Interrupted } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { mayPass } from './shared/follow.ts'
import { progressOf } from './shared/progress.ts'
import { count, plain } from './shared/show.ts'
import { Server, serverFlags, storePath } from './shared/server.ts'

/** The exit code for differences that are left. */
const different = 3

export const verify: Command = {
  operands: '<store>',
  summary: 'compares the backup of a store with its log',
  flags: {
    repair: { help: 'has the backup made right from the log' },
    discard: { help: 'has what the log does not have removed from the backup as well' },
    after: { value: '<n>', help: 'begins behind this event' },
    queries: { value: '<n>', help: 'queries of D1 for each request: up to 900 on the Paid plan' },
    confirm: confirmFlag,
    ...serverFlags,
  },
  run: async (asked) => {
    const storeId = storeOf('verify', asked)
    const [repairs, discards] = [asked.flags['repair'] === true, asked.flags['discard'] === true]
    const after = integerOf('verify', asked, 'after') ?? 0
    const queries = integerOf('verify', asked, 'queries', 1)
    const server = Server.of('verify', asked)
    if (discards)
      await confirm('verify', storeId, asked.flags, 'events that the backup alone has are removed from it for good')
    const repair = discards ? 'discard' : repairs ? 'true' : undefined
    const { next: _, ...whole } = await compared(server, storeId, { after, queries, repair }, asked)
    console.log(asked.flags['json'] === true ? JSON.stringify(whole) : described(storeId, whole, after))
    return whole.differences > (whole.repaired ?? 0) ? different : 0
  },
}

/** Compares part by part, prints each difference, and resolves with the sum. */
const compared = async (
  server: Server,
  storeId: string,
  query: { readonly after: number; readonly queries: number | undefined; readonly repair: string | undefined },
  asked: Asked,
): Promise<Verified> => {
  const progress = progressOf(`comparing ${plain(storeId)}`, 'events')
  let [events, differences, repaired, after] = [0, 0, 0, query.after]
  const method = query.repair === undefined ? 'GET' : 'POST'
  try {
    for (;;) {
      let summary: Verified | undefined
      let error: string | undefined
      for await (const line of server.lines<VerifyLine>(method, storePath(storeId, '/verify'), {
        query: { ...query, after },
      })) {
        if ('result' in line) summary = line
        else if ('error' in line) error = line.error
        else {
          progress.end()
          console.log(asked.flags['json'] === true ? JSON.stringify(line) : worded(line))
        }
      }
      if (summary === undefined) throw new Failure('verify: the answer was cut off')
      events += summary.events
      differences += summary.differences
      repaired += summary.repaired ?? 0
      progress.at(events, summary.head)
      if (summary.result !== 'unfinished') {
        const result = differences === 0 ? 'same' : 'different'
        return { ...summary, result, events, differences, ...(query.repair === undefined ? {} : { repaired }) }
      }
      if (error !== undefined || summary.next === undefined) {
        const goOn = summary.next === undefined ? '' : `. To go on: --after ${summary.next}`
        throw new Failure(`verify: not all was compared: ${plain(error ?? 'the store has changed meanwhile')}${goOn}`)
      }
      after = summary.next
    }
  } catch (error) {
    const goOn = `To go on: --after ${after}`
    if (error instanceof Interrupted)
      throw new Interrupted(`verify: interrupted: ${count(events, 'event')} were compared. ${goOn}`)
    if (mayPass(error) && after > query.after) throw new Failure(`${(error as Failure).message}. ${goOn}`)
    throw error
  } finally {
    progress.end()
  }
}

const worded = ({ difference, from, to, columns = [], repaired }: Difference): string => {
  const which = from === to ? `event ${from}` : `events ${from} to ${to}`
  const what = {
    missing: `${which}: missing in the backup`,
    columns: `${which}: ${columns.join(', ')} differ`,
    extra: `${which}: in the backup alone`,
    chain: `${which}: in the log itself, does not continue from the event before`,
    lifetime: `what the backup says of itself: ${columns.join(', ')} differ`,
  }[difference]
  const end = repaired === undefined ? '' : repaired ? ' (repaired)' : ' (left as it is)'
  return `${what ?? plain(difference)}${end}`
}

const described = (storeId: string, whole: Verified, after: number): string => {
  const part = after === 0 ? '' : ` behind event ${after}`
  const lag = whole.lag === 0 ? '' : `; ${count(whole.lag, 'event')} are yet to be copied`
  const what = `${plain(storeId)}: ${count(whole.events, 'event')}${part} compared, up to event ${whole.head}${lag}`
  if (whole.differences === 0) return `${what}. The backup is the same as the log.`
  const repaired = whole.repaired === undefined ? '--repair makes the backup right' : `${whole.repaired} repaired`
  return `${what}. ${count(whole.differences, 'difference')}: ${repaired}.`
}
