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
import { administer, adminSecret, opened, type State, stateOf, storePath } from '../workerd/administration.ts'
import { empty } from '../workerd/emptied.ts'
import { metricsOf } from '../workerd/prometheus.ts'
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

const shows = (who: string, store: TodoStore, expected: readonly string[], deadlineMs = 30_000): Promise<unknown> =>
  eventually(
    `${who} shows ${expected.join()}`,
    () => JSON.stringify(ids(store)) === JSON.stringify(expected.toSorted()),
    deadlineMs,
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
    const closing: TodoStore = { ...store, close: () => (opened.delete(closing), store.close()) }
    opened.add(closing)
    return closing
  }
  try {
    await scenario({ server, storeId, open })
  } finally {
    await Promise.all([...opened].map((store) => store.close()))
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
  return opened(server, storeId)
}

it(
  'in a lifetime that goes on, stores keep what they have and push what was not pushed yet',
  { timeout: 120_000 },
  () =>
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
    }),
)

it(
  'in a new lifetime a store starts over when it is opened again, with what the backup had',
  { timeout: 120_000 },
  () =>
    play(async (setting) => {
      const { server, storeId } = setting
      const [ada, bob] = await lost(setting)
      // A store that meets another lifetime drops its data and shuts down, and the others of its process with it.
      await bob.close()
      await restore(server, storeId, {})
      await eventually(
        'it is told of another lifetime',
        async () => (await metricsOf(server, storeId)).value('refusals_total', { reason: 'backend-id-mismatch' }) > 0,
        30_000,
      )
      await ada.close()
      // Closed before it has dropped everything, it does so when it is opened, and is to be opened once more.
      const again = await eventually(
        'ada starts over',
        async () => {
          const store = await setting.open('ada')
          const isNew = await shows('ada', store, ['one', 'two', 'three'], 5_000).then(
            () => true,
            () => false,
          )
          if (!isNew) await store.close()
          return isNew && store
        },
        60_000,
      )
      again.create('after')
      await shows('a store that is new', await setting.open('cyd'), ['one', 'two', 'three', 'after'])
      assert.equal((await stateOf(server, storeId)).head, 4)
    }),
)
