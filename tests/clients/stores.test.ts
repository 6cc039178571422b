/** Whole LiveStore 0.4.0 stores: what an app sees of the backend. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { control, forEachBackend, ours } from './backends.ts'
import type { Host } from './restart.ts'
import { Stores } from './stores.ts'

// That stores which commit at once always converge is a guarantee of ours beyond those of the reference.
forEachBackend([ours], (backend) => {
  const withStores = (scenario: (stores: Stores, host: Host) => Promise<void>): Promise<void> =>
    Stores.with(backend, scenario)

  it('two stores that commit at once converge, and a third that joins late gets everything', () =>
    withStores(async (stores) => {
      const [ada, bob] = [await stores.open('ada'), await stores.open('bob')]
      for (let index = 0; index < 60; index += 1) {
        ada.create(`ada-${index}`)
        bob.create(`bob-${index}`)
      }
      await stores.converge(120)
      ada.complete('bob-0')
      bob.complete('ada-0')
      ada.complete('ada-1')
      bob.complete('ada-1')
      await stores.converge(120)
      const cyd = await stores.open('cyd')
      await stores.converge(120)
      cyd.create('cyd-0')
      await stores.converge(121)
    }))

  it('two stores that commit while the server is dead converge once it is back, and go on exchanging events', () =>
    withStores(async (stores, host) => {
      const [ada, bob] = [await stores.open('ada'), await stores.open('bob')]
      ada.create('shared')
      await stores.converge(1)
      await host.kill()
      for (let index = 0; index < 30; index += 1) {
        ada.create(`ada-${index}`)
        bob.create(`bob-${index}`)
      }
      ada.complete('shared')
      bob.complete('shared')
      assert.deepEqual([ada.todos().length, bob.todos().length], [31, 31], 'each sees only its own while offline')
      await host.start()
      await stores.converge(61)
      bob.create('after')
      await stores.converge(62)
    }))
})

forEachBackend([ours, control], (backend) => {
  it('a store that was closed with its data kept catches up when it is opened again', () =>
    Stores.with(backend, async (stores) => {
      const folder = mkdtempSync(join(tmpdir(), 'store-'))
      try {
        const [ada, bob] = [await stores.open('ada', { folder }), await stores.open('bob')]
        ada.create('ada-0')
        await stores.converge(1)
        bob.create('bob-0')
        await stores.converge(2)
        await ada.close()
        for (let index = 1; index < 130; index += 1) bob.create(`bob-${index}`)
        await stores.converge(131)
        const again = await stores.open('ada', { folder })
        assert.ok(again.todos().length >= 2, 'it shows what it knew before it hears from the server')
        await stores.converge(131)
        again.create('ada-1')
        await stores.converge(132)
        await again.close()
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }))
})
