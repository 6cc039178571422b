import assert from 'node:assert/strict'
import { todomvc, todomvc03 } from './apps.ts'
import { startDev } from './dev-server.ts'
import { inBrowser } from './stage.ts'

for (const app of [todomvc, todomvc03])
  inBrowser(
    `${app.name}: npm run dev is all it takes for two browsers to share a list`,
    async ({ cleanups, profile }) => {
      const dev = await startDev(app)
      cleanups.push(() => dev.stop())
      const address = `${dev.pageUrl}/?storeId=list`
      const [a, b] = await Promise.all([(await profile()).open(address), (await profile()).open(address)])
      // Whoever loads the page first waits for its modules.
      await a.says('in-sync', /./, 120_000)
      await b.says('in-sync', /./, 120_000)
      await a.add('milk')
      await b.shows(['milk'])
      await b.toggle('milk')
      await a.shows(['✓ milk'])
      await dev.stop()
      for (const url of [dev.pageUrl, dev.syncUrl]) await assert.rejects(fetch(url), `${url} still answers`)
    },
  )
