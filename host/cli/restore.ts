/** `restore`: brings a log back from the backup, and follows that until it is there. */
import type { Forecast } from '../administration.ts'
import { integerOf, storeOf, textOf } from './shared/asked.ts'
import { type Asked, type Command, UsageError } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { holds, restored } from './shared/follow.ts'
import { count, plain, print } from './shared/show.ts'
import { Server, type State, serverFlags, storePath } from './shared/server.ts'

export const restore: Command = {
  operands: '<store>',
  summary: 'brings a log back from the backup',
  flags: {
    from: { value: '<store>', help: "another store's backup" },
    'backend-id': { value: '<id>', help: 'another lifetime than the one that began last' },
    'up-to': { value: '<event>', help: 'the number of the last event to keep, or a time: 2026-11-22T18:15:00Z' },
    'dry-run': { help: 'says what would be kept and lost, and does nothing' },
    replace: { help: 'replaces what the store holds' },
    'keep-backend-id': { help: 'the lifetime goes on, so that clients keep what they have' },
    'last-known-head': { value: '<n>', help: 'for that: the last event that was acknowledged' },
    'allow-gaps': { help: 'takes events that do not continue from the one before, as sync-cf may have stored' },
    cancel: { help: 'ends a restore or an import that is under way' },
    'no-wait': { help: 'does not wait until it is done' },
    confirm: confirmFlag,
    ...serverFlags,
  },
  run: async (asked) => {
    const storeId = storeOf('restore', asked)
    const isJson = asked.flags['json'] === true
    const body = bodyOf(storeId, asked)
    const server = Server.of('restore', asked)
    if (asked.flags['cancel'] === true) {
      const state = await server.json<State>('DELETE', storePath(storeId, '/restore'))
      return print(isJson, state, () => `It is ended: ${holds(state)}.`)
    }
    if (body.dryRun === true) {
      const forecast = await server.json<Forecast>('POST', storePath(storeId, '/restore'), { body })
      return print(isJson, forecast, () => described(storeId, forecast))
    }
    if (body.replace === true) {
      const held = (await server.stateIfAny(storeId))?.events ?? 0
      if (held > 0)
        await confirm('restore', storeId, asked.flags, `the ${count(held, 'event')} that it holds are replaced`)
    }
    const begun = await server.json<State>('POST', storePath(storeId, '/restore'), { body })
    if (asked.flags['no-wait'] === true)
      return print(isJson, begun, () => `It has begun, and 'status ${plain(storeId)}' says how far it is.`)
    const state = await restored('restore', server, storeId, begun.restore?.backendId ?? begun.backendId)
    print(isJson, state, () => `It is done: ${holds(state)}, lifetime ${state.backendId}.`)
  },
}

const bodyOf = (storeId: string, asked: Asked) => {
  const [from, backendId] = [textOf('restore', asked, 'from'), textOf('restore', asked, 'backend-id')]
  const upTo = textOf('restore', asked, 'up-to')
  if (upTo !== undefined && !/^(\d+|\d{4}-\d\d-\d\d.*)$/.test(upTo))
    throw new UsageError(
      `restore: --up-to is the number of an event, or a time such as 2026-11-22T18:15:00Z, not '${plain(upTo)}'`,
    )
  return {
    storeId,
    from: { storeId: from, backendId },
    upTo: upTo !== undefined && /^\d+$/.test(upTo) ? Number(upTo) : upTo,
    dryRun: asked.flags['dry-run'],
    replace: asked.flags['replace'],
    allowGaps: asked.flags['allow-gaps'],
    keepBackendId: asked.flags['keep-backend-id'],
    lastKnownHead: integerOf('restore', asked, 'last-known-head'),
  }
}

const described = (storeId: string, { from, keepsBackendId, kept, lost }: Forecast): string => {
  const lines = [
    `Nothing was done. ${plain(storeId)} would get ${count(kept.events, 'event')}, up to event ${kept.head} of ${kept.lastAt},`,
    `  from the backup of ${plain(from.storeId)}, lifetime ${from.backendId}, ${keepsBackendId ? 'which goes on' : 'as a new lifetime'}.`,
  ]
  if (lost.afterUpTo > 0) lines.push(`  ${count(lost.afterUpTo, 'event')} of the backup would be left out.`)
  if (lost.ofStore > 0) lines.push(`  ${count(lost.ofStore, 'event')} that the store holds would be replaced.`)
  return lines.join('\n')
}
