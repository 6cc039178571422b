/**
 * Whole LiveStore 0.4.0 stores whose backend deletes the store under them: where they end, and what becomes of what they had not
 * pushed.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { startServer } from '../harness/server.ts'
import { administer, adminSecret, exportOf, stateOf, storePath, valueOf } from '../workerd/administration.ts'
import { metricsOf } from '../workerd/prometheus.ts'
import { payload } from './backends.ts'
import { freshStoreId } from './events.ts'
import { openTodoStore, type TodoStore } from './v04/store.ts'
import { eventually } from './waiting.ts'

const ids = (store: TodoStore): readonly string[] =>
  store
    .todos()
    .map(({ id }) => id)
    .toSorted()

it(
  'a store that is open drops what it has, and pushes nothing of it into the store that begins then',
  { timeout: 120_000 },
  async () => {
    const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }
    const server = await startServer({ vars })
    const folder = mkdtempSync(join(tmpdir(), 'deleted-'))
    const [storeId, opened] = [freshStoreId(), new Set<TodoStore>()]
    const open = async (clientId: string): Promise<TodoStore> => {
      const url = server.url.replace('http', 'ws')
      const store = await openTodoStore({ url, storeId, clientId, payload, folder: join(folder, clientId) })
      opened.add(store)
      return store
    }
    try {
      const ada = await open('ada')
      for (const id of ['one', 'two', 'three']) ada.create(id)
      await eventually('all is copied', async () => {
        const { head, backup } = await stateOf(server, storeId)
        return head === 3 && backup?.lagEvents === 0
      })
      const { backendId } = await stateOf(server, storeId)
      const target = storePath(storeId, `?confirm=${storeId}`)
      const { events } = valueOf<{ readonly events: number }>(await administer(server, target, { method: 'DELETE' }))
      assert.equal(events, 3)
      // Its socket is closed, so it cannot push this at once.
      ada.create('meanwhile')
      // It comes back by itself, which begins a new store, and is told of another lifetime.
      await eventually('it is back', async () => (await administer(server, storePath(storeId))).status === 200, 30_000)
      await eventually(
        'it is told',
        async () => (await metricsOf(server, storeId)).value('refusals_total', { reason: 'backend-id-mismatch' }) > 0,
        30_000,
      )
      assert.notEqual((await stateOf(server, storeId)).backendId, backendId)
      opened.delete(ada)
      await ada.close()
      const again = await eventually(
        'ada starts over',
        async () => {
          const store = await open('ada')
          const isEmpty = await eventually('it shows nothing', () => ids(store).length === 0, 5_000).then(
            () => true,
            () => false,
          )
          if (!isEmpty) {
            opened.delete(store)
            await store.close()
          }
          return isEmpty && store
        },
        60_000,
      )
      again.create('after')
      await eventually('it is pushed', async () => (await stateOf(server, storeId)).head === 1)
      const log = await exportOf(server, storeId)
      assert.deepEqual(
        log.map(({ args }) => (args as { readonly id: string }).id),
        ['after'],
      )
    } finally {
      await Promise.all([...opened].map((store) => store.close()))
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
