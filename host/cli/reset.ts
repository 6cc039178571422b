/** `reset`: empties a store, and begins another lifetime of it. */
import { storeOf } from './shared/asked.ts'
import type { Command } from './command.ts'
import { confirm, confirmFlag } from './shared/confirm.ts'
import { plain, print } from './shared/show.ts'
import { Server, serverFlags, storePath } from './shared/server.ts'

export const reset: Command = {
  operands: '<store>',
  summary: 'empties a store for good: its clients start over',
  flags: { confirm: confirmFlag, ...serverFlags },
  run: async (asked) => {
    const storeId = storeOf('reset', asked)
    const server = Server.of('reset', asked)
    await confirm('reset', storeId, asked.flags, 'its log is emptied for good, and its clients start over')
    const { backendId } = await server.json<{ backendId: string }>('POST', storePath(storeId, '/reset'), {
      body: { storeId },
    })
    print(
      asked.flags['json'] === true,
      { storeId, backendId },
      () => `${plain(storeId)} is empty: lifetime ${backendId}.`,
    )
  },
}
