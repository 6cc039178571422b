/** `adopt`: takes over a log that sync-cf kept in D1, where somebody has to decide about it. */
import { oneOf, storeOf } from './shared/asked.ts'
import type { Command } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { holds, restored } from './shared/follow.ts'
import { count, plain, print } from './shared/show.ts'
import { Server, type State, serverFlags, storePath } from './shared/server.ts'

interface Forecast {
  readonly events: number
  readonly head: number
  readonly goesOnFrom: number
  readonly keepsBackendId: boolean
}

export const adopt: Command = {
  operands: '<store>',
  summary: 'takes over a log of sync-cf in D1; see docs/migrating-from-sync-cf.md',
  flags: {
    head: { value: '<which>', help: 'from where it goes on if its stored head is above its log: stored or log' },
    shared: { help: "takes the table though it may hold another store's events" },
    'dry-run': { help: 'says what there is, and does nothing' },
    confirm: confirmFlag,
    ...serverFlags,
  },
  run: async (asked) => {
    const storeId = storeOf('adopt', asked)
    const isJson = asked.flags['json'] === true
    const body = {
      storeId,
      head: oneOf('adopt', asked, 'head', ['stored', 'log']),
      shared: asked.flags['shared'],
      dryRun: asked.flags['dry-run'],
    }
    const server = Server.of('adopt', asked)
    if (body.dryRun === true) {
      const forecast = await server.json<Forecast>('POST', storePath(storeId, '/adopt'), { body })
      return print(isJson, forecast, () => {
        const { events, head, goesOnFrom, keepsBackendId } = forecast
        const lifetime = keepsBackendId ? 'in the lifetime that it has' : 'as a new lifetime'
        return `Nothing was done. ${plain(storeId)} would get ${count(events, 'event')}, up to event ${head}, and go on from ${goesOnFrom} ${lifetime}.`
      })
    }
    await confirm('adopt', storeId, asked.flags, 'it gets the log that lies in D1')
    const begun = await server.json<State>('POST', storePath(storeId, '/adopt'), { body })
    const state = await restored('adopt', server, storeId, begun.restore?.backendId ?? begun.backendId)
    print(isJson, state, () => `It is done: ${holds(state)}, lifetime ${state.backendId}.`)
  },
}
