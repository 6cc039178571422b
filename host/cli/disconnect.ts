/** `disconnect`: closes the sockets of a store, whose clients then connect again. */
import { storeOf } from './shared/asked.ts'
import type { Command } from './command.ts'
import { count, plain, print } from './shared/show.ts'
import { Server, serverFlags, storePath } from './shared/server.ts'

export const disconnect: Command = {
  operands: '<store>',
  summary: 'closes every socket of a store: its clients connect again',
  flags: serverFlags,
  run: async (asked) => {
    const storeId = storeOf('disconnect', asked)
    const server = Server.of('disconnect', asked)
    const { closed } = await server.json<{ closed: number }>('POST', storePath(storeId, '/disconnect'))
    print(
      asked.flags['json'] === true,
      { storeId, closed },
      () => `${plain(storeId)}: ${count(closed, 'socket')} closed.`,
    )
  },
}
