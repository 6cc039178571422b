/** `backup`: waits until the backup of a store holds what the store held when it was asked. */
import { secondsOf, storeOf } from './shared/asked.ts'
import { type Command, Failure } from './command.ts'
import { complaints, until } from './shared/follow.ts'
import { progressOf } from './shared/progress.ts'
import { count, plain, print } from './shared/show.ts'
import { Server, serverFlags } from './shared/server.ts'

export const backup: Command = {
  operands: '<store>',
  summary: 'waits until the backup in D1 holds what the store holds now',
  flags: { timeout: { value: '<time>', help: 'waits so long at most, as 90s or 15m' }, ...serverFlags },
  run: async (asked) => {
    const storeId = storeOf('backup', asked)
    const seconds = secondsOf('backup', asked, 'timeout')
    const server = Server.of('backup', asked)
    const { head, backendId, status, backup } = await server.state(storeId)
    if (status !== 'open') throw new Failure(`backup: the store is not served: its status is '${status}'`)
    if (backup === undefined)
      throw new Failure('backup: this store has none: no D1 database is bound as DB, or BACKUP is off')
    const deadline = seconds === undefined ? Infinity : Date.now() + seconds * 1_000
    const progress = progressOf(`copying ${plain(storeId)}`, 'events')
    const complain = complaints()
    const isThere = await until(
      server,
      storeId,
      `backup: interrupted: the server goes on copying by itself`,
      (state) => {
        if (state?.backendId !== backendId)
          throw new Failure('backup: the store was reset, restored or deleted meanwhile')
        const copied = state.backup?.head ?? 0
        if (copied >= head) return state.backup
        if (Date.now() > deadline)
          throw new Failure(
            `backup: not within ${seconds} s: it holds event ${copied}, and event ${head} is to be there`,
          )
        progress.at(copied, head)
        complain(state.backup?.lastError?.message)
        return undefined
      },
    ).finally(progress.end)
    print(asked.flags['json'] === true, { storeId, backendId, head, backup: isThere }, () =>
      head === 0
        ? `${plain(storeId)} has no event, so there is nothing to copy.`
        : `The backup of ${plain(storeId)} holds all that was there, up to event ${head}${
            isThere.lagEvents === 0 ? '' : `; it lacks ${count(isThere.lagEvents, 'event')} that came since`
          }.`,
    )
  },
}
