/** What docs/authentication.md says of a token that expires while a whole LiveStore 0.4.0 store is open with it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { withServer } from '../harness/servers.ts'
import { logOf } from '../workerd/peer.ts'
import { hs256, secondsFromNow, secret } from '../workerd/tokens.ts'
import { freshStoreId } from './events.ts'
import { openTodoStore, type TodoStore } from './v04/store.ts'
import { eventually } from './waiting.ts'

it('a store whose token has expired keeps what was not pushed, and pushes it once it is created with another', () =>
  withServer({ vars: { AUTH_TOKEN: undefined, JWT_SECRET: secret, JWT_STORE_CLAIM: 'stores' } }, async (server) => {
    const storeId = freshStoreId()
    const tokenFor = (seconds: number): string => hs256({ stores: storeId, exp: secondsFromNow(seconds) })
    const witness = { payload: { authToken: tokenFor(3_600) } }
    const holds = (count: number): Promise<unknown> =>
      eventually(
        `the log holds ${count} events`,
        async () => (await logOf(server, storeId, 'v04', witness)).length === count,
        60_000,
      )
    const expired = (): boolean => server.logs.some((line) => line.includes('Invalid auth token: it has expired'))

    const folder = mkdtempSync(join(tmpdir(), 'store-'))
    let isOpen: TodoStore | undefined
    const open = async (authToken: string): Promise<TodoStore> =>
      (isOpen = await openTodoStore({ url: server.wsUrl, storeId, clientId: 'ada', payload: { authToken }, folder }))
    const close = async (): Promise<void> => {
      const store = isOpen
      isOpen = undefined
      await store?.close()
    }
    try {
      const lifeMs = 8_000
      const ends = Date.now() + lifeMs
      const ada = await open(tokenFor(lifeMs / 1_000))
      ada.create('before')
      await holds(1)
      await eventually('the token has expired', () => Date.now() > ends + 1_000, lifeMs + 5_000)
      // The push closes the socket, and the client comes again with the same token.
      ada.create('after')
      await eventually('the client comes again', expired, 60_000)
      assert.equal((await logOf(server, storeId, 'v04', witness)).length, 1)
      assert.equal(ada.todos().length, 2, 'the app goes on')
      await close()

      const again = await open(tokenFor(3_600))
      await holds(2)
      assert.equal(again.todos().length, 2)
    } finally {
      await close()
      rmSync(folder, { recursive: true, force: true })
    }
  }))
