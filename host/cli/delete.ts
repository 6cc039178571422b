/** `delete`: leaves nothing of a store, and follows that until it is done. */
import { storeOf } from './shared/asked.ts'
import type { Command } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { complaints, until } from './shared/follow.ts'
import { count, plain, print } from './shared/show.ts'
import { Server, type State, serverFlags, storePath } from './shared/server.ts'

interface Deleted {
  readonly events: number
  readonly backup: { readonly lifetimes: number; readonly events: number } | null
}

export const deleteStore: Command = {
  operands: '<store>',
  summary: 'deletes a store for good, in its object and in the backup',
  flags: { confirm: confirmFlag, ...serverFlags },
  run: async (asked) => {
    const storeId = storeOf('delete', asked)
    const server = Server.of('delete', asked)
    await confirm('delete', storeId, asked.flags, 'it is deleted for good, with its backup')
    const answer = await server.json<Deleted & { deletion?: State['deletion'] }>('DELETE', storePath(storeId), {
      query: { confirm: storeId },
    })
    // What takes longer is answered with the state.
    const { events, backup } = answer.deletion ?? answer
    if (answer.deletion !== undefined) await gone(server, storeId)
    print(asked.flags['json'] === true, { storeId, events, backup }, () => {
      const copies = backup === null ? '' : `, and ${count(backup.events, 'event')} of the backup`
      return `${plain(storeId)} is deleted: ${count(events, 'event')}${copies}.`
    })
  },
}

const gone = (server: Server, storeId: string): Promise<true> => {
  const complain = complaints()
  const goesOn = 'delete: interrupted: the server goes on by itself, and there is no way to end it'
  return until(server, storeId, goesOn, (state) => {
    complain(state?.deletion?.lastError?.message)
    // Somebody may have begun a new store of that id.
    return state?.deletion === undefined || undefined
  })
}
