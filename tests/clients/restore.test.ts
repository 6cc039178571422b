/**
 * Whole LiveStore 0.4.0 stores over an object that was emptied and restored from its backup: where they end, in a lifetime
 * that goes on and in a new one.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { type Server, startServer } from '../harness/server.ts'
import { administer, adminSecret, type State, stateOf, storePath } from '../workerd/administration.ts'
import { empty } from '../workerd/emptied.ts'
import { payload } from './backends.ts'
import { freshStoreId } from './events.ts'
import { openTodoStore, type TodoStore } from './v04/store.ts'
import { eventually } from './waiting.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }

const ids = (store: TodoStore): readonly string[] =>
  store
    .todos()
    .map(({ id }) => id)
    .toSorted()

const shows = (who: string, store: TodoStore, expected: readonly string[]): Promise<unknown> =>
  eventually(
    `${who} shows ${expected.join()}`,
    () => JSON.stringify(ids(store)) === JSON.stringify(expected.toSorted()),
    30_000,
    () => ids(store),
  )

/** What a scenario has: a server, and stores on it whose data is kept. */
interface Setting {
  readonly server: Server
  readonly storeId: string
  open(clientId: string): Promise<TodoStore>
}

const play = async (scenario: (setting: Setting) => Promise<void>): Promise<void> => {
  const server = await startServer({ inspect: true, vars })
  const folder = mkdtempSync(join(tmpdir(), 'restored-'))
  const [storeId, opened] = [freshStoreId(), new Set<TodoStore>()]
  const open = async (clientId: string): Promise<TodoStore> => {
    const url = server.url.replace('http', 'ws')
    const store = await openTodoStore({ url, storeId, clientId, payload, folder: join(folder, clientId) })
    opened.add(store)
    return store
  }
  try {
    await scenario({ server, storeId, open })
  } finally {
    await Promise.all([...opened].map((store) => store.close().catch(() => {})))
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A store of two clients with three events, all in the backup, whose object is emptied then; and an event meanwhile. */
const lost = async ({ server, storeId, open }: Setting): Promise<readonly [ada: TodoStore, bob: TodoStore]> => {
  const [ada, bob] = [await open('ada'), await open('bob')]
  for (const id of ['one', 'two', 'three']) ada.create(id)
  await shows('bob', bob, ['one', 'two', 'three'])
  await eventually('all is copied', async () => {
    const { head, backup } = await stateOf(server, storeId)
    return head === 3 && backup?.lagEvents === 0
  })
  await empty(server, storeId)
  ada.create('meanwhile')
  // Nobody erases anything.
  assert.deepEqual(ids(ada), ['meanwhile', 'one', 'three', 'two'])
  return [ada, bob]
}

const restore = async (server: Server, storeId: string, how: object): Promise<State> => {
  const body = JSON.stringify({ storeId, ...how })
  const answer = await administer(server, storePath(storeId, '/restore'), { method: 'POST', body })
  assert.equal(answer.status, 202, answer.body)
  return eventually('it is restored', async () => {
    const state = await stateOf(server, storeId)
    return state.status === 'open' && state
  })
}

it('in a lifetime that goes on, stores keep what they have and push what was not pushed yet', () =>
  play(async (setting) => {
    const { server, storeId } = setting
    const [ada, bob] = await lost(setting)
    await restore(server, storeId, { keepBackendId: true, lastKnownHead: 3 })
    const all = ['one', 'two', 'three', 'meanwhile']
    await shows('bob', bob, all)
    await shows('ada', ada, all)
    bob.create('after')
    await shows('ada', ada, [...all, 'after'])
    await shows('a store that is new', await setting.open('cyd'), [...all, 'after'])
    assert.equal((await stateOf(server, storeId)).head, 5)
  }))

it('in a new lifetime stores start over when they are opened again, with what the backup had', () =>
  play(async (setting) => {
    const { server, storeId } = setting
    const [ada, bob] = await lost(setting)
    await restore(server, storeId, {})
    // By default a store shuts down when it meets another lifetime, and is empty when it is opened again.
    await eventually(
      'both have asked',
      async () => (await stateOf(server, storeId)).connections.byTransport.ws === 0,
      30_000,
    )
    await Promise.all([ada.close(), bob.close()])
    const again = await setting.open('ada')
    await shows('ada', again, ['one', 'two', 'three'])
    again.create('after')
    await shows('bob', await setting.open('bob'), ['one', 'two', 'three', 'after'])
  }))
