/**
 * Apps in the shape of LiveStore's own TodoMVC, with the import changed and nothing else but what the migration guide
 * says, in the development servers of their templates.
 *
 * Each is taken through one pass of what its host could break: how a WebSocket gets to the Worker and breaks, what a page
 * loads and keeps, where the log lies. What is up to the sync backend alone is tried on the example apps; to try all of it on
 * four hosts more would take as long again for each.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { eventually } from '../clients/waiting.ts'
import { root, templateToken } from '../harness/server.ts'
import { agree, areInSync, soonMs } from './scenarios.ts'
import { inBrowser, type Props } from './stage.ts'
import { oneWorker, TemplateApp, twoServers } from './template-app.ts'
import type { AppWindow } from './window.ts'

/** How long a page may take to be in sync that is loaded first: what it imports is bundled before. */
const firstMsMax = 120_000

const pageOf = (url: string): string => `${url}/?storeId=list`

/** Two profiles see each other; one goes offline, both write, and both have all of it, after a reload as well. */
const pass = async (app: TemplateApp, { profile }: Props): Promise<void> => {
  const [profileA, profileB] = [await profile(), await profile()]
  const [a, b] = await Promise.all([profileA.open(pageOf(app.url)), profileB.open(pageOf(app.directUrl))])
  for (const window of [a, b]) await window.says('in-sync', /./, firstMsMax)
  await a.add('milk')
  await b.shows(['milk'], soonMs)
  await b.toggle('milk')
  await a.shows(['✓ milk'], soonMs)

  app.network.cut()
  await a.says('offline')
  await a.add('from a')
  await a.says('offline', /1 change to send/)
  await b.add('from b')
  const all = new Set(['✓ milk', 'from a', 'from b'])
  const isLoaded = loadedAgain(a)
  app.network.mend()
  if (app.reloadsPages) await isLoaded
  await agree(all, a, b)
  await areInSync(a, b)
  if (!app.reloadsPages) await a.reload()
  await isLoaded
  await a.shows(all)
  await areInSync(a)

  const { status, text } = await atTheDoor(app, 'another')
  assert.equal(status, 400)
  assert.match(text, /Invalid auth token/)
}

/** What a page is answered that asks why it has no connection. A WebSocket that is refused tells it nothing. */
const atTheDoor = async (app: TemplateApp, authToken: string): Promise<{ status: number; text: string }> => {
  const { url, path } = app.server
  const payload = encodeURIComponent(JSON.stringify({ authToken }))
  const query = new URLSearchParams({ storeId: 'list', transport: 'http', payload })
  const response = await fetch(`${url}${path}?${query}`)
  return { status: response.status, text: await response.text() }
}

const loadedAgain = ({ page }: AppWindow): Promise<unknown> => page.waitForEvent('load', { timeout: firstMsMax })

/** What the guide has changed for a class of key-value storage: where nothing is stored, or else for its log to come along. */
const guided = (): { readonly anew: string; readonly withLog: readonly string[] } => {
  const guide = readFileSync(join(root, 'docs/migrating-from-sync-cf.md'), 'utf8')
  const [, section = ''] = /^## Classes backed by key-value storage\n(.*?)^## /ms.exec(guide) ?? []
  const diffs = [...section.matchAll(/^( *)```diff\n(.*?)^ *```$/gms)]
  const [anew = '', ...withLog] = diffs.map(([, indent, diff = '']) => diff.replaceAll(RegExp(`^${indent}`, 'gm'), ''))
  assert.equal(withLog.length, 2, 'a change of wrangler.toml, and one of the source')
  return { anew, withLog }
}

describe('a template of LiveStore, with the import alone changed', () => {
  for (const template of [oneWorker('vite-plugin'), oneWorker('vite-plugin-1.13')])
    inBrowser(`${template.name} syncs`, async (props) => {
      const app = await TemplateApp.make(template)
      props.cleanups.push(() => app.remove())
      props.outputs.push(() => app.output)
      app.changeImport()
      await app.start()
      await pass(app, props)
    })

  describe(twoServers.name, () => {
    let app: TemplateApp
    before(async () => {
      app = await TemplateApp.make(twoServers)
    })
    after(() => app.remove())

    inBrowser(
      `${twoServers.name}: the log that sync-cf left in D1 comes along by what the guide has changed`,
      async ({ cleanups, outputs, profile }) => {
        outputs.push(() => app.output)
        cleanups.push(() => app.stop())
        await app.start()
        const a = await (await profile()).open(pageOf(app.url))
        await a.says('in-sync', /./, firstMsMax)
        await a.addAll(['milk', 'bread'])
        await a.says('in-sync')
        await eventually('sync-cf has stored both', () => app.eventsInD1('list') === 2)
        await app.stop()
        await a.says('offline')
        await a.add('meanwhile')
        await a.says('offline', /1 change to send/)

        app.changeImport()
        for (const diff of guided().withLog) app.applyDiff(diff)
        const isLoaded = loadedAgain(a)
        await app.start()
        await isLoaded
        const b = await (await profile()).open(pageOf(app.url))
        await b.shows(['milk', 'bread', 'meanwhile'])
        await areInSync(a, b)
        await b.toggle('milk')
        await a.shows(['✓ milk', 'bread', 'meanwhile'], soonMs)
        await a.add('after')
        await b.shows(['✓ milk', 'bread', 'meanwhile', 'after'], soonMs)
      },
    )

    inBrowser(`${twoServers.name} says that its class has no SQLite, and syncs once it has`, async (props) => {
      app.renew()
      app.changeImport()
      props.outputs.push(() => app.output)
      props.cleanups.push(() => app.stop())
      await app.start()
      const { status, text } = await atTheDoor(app, templateToken)
      assert.equal(status, 503)
      assert.match(text, /no SQLite.*`new_sqlite_classes`/)
      app.applyDiff(guided().anew)
      // wrangler takes the new configuration by itself.
      await eventually('the class has SQLite', async () => (await atTheDoor(app, templateToken)).status !== 503)
      await pass(app, props)
    })
  })
})
