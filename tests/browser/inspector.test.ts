/**
 * The inspector as an operator uses it, in Chromium, of the package under `wrangler dev`. One server, and one store of 100,000
 * events with fifty clients, are shared; what changes a store has one of its own.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import { join } from 'node:path'
import { eventually } from '../clients/waiting.ts'
import { root } from '../harness/server.ts'
import { adminSecret, reset, type State, stateOf } from '../workerd/administration.ts'
import {
  backedUp,
  type Dev,
  eventLinesOf,
  Follower,
  Inspector,
  isGone,
  makeStore,
  makeStuck,
  nameOfEvent,
  startDevOf,
} from './inspector-stage.ts'
import {
  faintTexts,
  filePicker,
  type Focused,
  focused,
  pageWidth,
  pickedFile,
  type Seen,
  seenFrames,
  timeToFirstRow,
  watchFrames,
} from './in-page.ts'
import { inBrowser, type Props } from './stage.ts'

const long = 'team-garden'
const longEvents = 100_000
const clients = 50

let dev: Dev
let state: State
const followers: Follower[] = []

before(async () => {
  dev = await startDevOf()
  state = await makeStore(dev, long, longEvents)
  for (let index = 0; index < clients; index++) followers.push(await Follower.of(dev, state))
})

after(async () => {
  for (const follower of followers) follower.close()
  await dev?.project.remove()
})

/** The client that pushes to the long store. */
const writer = (): Follower => followers[0]!

interface Looks {
  readonly colorScheme?: 'light' | 'dark'
  readonly size?: { readonly width: number; readonly height: number }
}

/** A tab for the inspector. */
const tabOf = async ({ profile }: Props, { colorScheme = 'light', size }: Looks = {}): Promise<Inspector> => {
  const { page } = await (await profile()).open('about:blank')
  await page.emulateMedia({ colorScheme })
  await page.setViewportSize(size ?? { width: 1280, height: 800 })
  return new Inspector(page, dev)
}

/** A test with a tab, which has asked no other origin and complained of nothing when it is through. */
const inspecting = (title: string, play: (tab: Inspector, props: Props) => Promise<void>, looks?: Looks): void =>
  inBrowser(`inspector: ${title}`, async (props) => {
    const tab = await tabOf(props, looks)
    await play(tab, props)
    assert.deepEqual(tab.foreign, [], 'it asks nobody else')
    assert.deepEqual(tab.complaints, [], 'its console is quiet')
  })

it('the page is small', () => {
  const [, text = ''] =
    /^export const html = (".*")$/m.exec(readFileSync(join(root, 'dist/inspector.js'), 'utf8')) ?? []
  const bytes = gzipSync(JSON.parse(text) as string, { level: 9 }).length
  console.log(`inspector: ${bytes} bytes gzip`)
  assert.ok(bytes < 60_000)
})

inBrowser(
  'inspector: a wrong secret is answered in the words of the server, and one that is withdrawn as well',
  async (props) => {
    const tab = await tabOf(props)
    await tab.open('', 'a guess')
    await tab.page.getByText('Authorization: Bearer').waitFor()
    assert.equal((await focusOf(tab)).name, 'ADMIN_SECRET', 'it can be typed again')
    await tab.secretField.fill(adminSecret)
    await tab.secretField.press('Enter')
    await tab.page.getByRole('heading', { name: 'Stores' }).waitFor()
    await tab.page.reload()
    await tab.page.getByRole('heading', { name: 'Stores' }).waitFor()
    // The secret changes while the page is open.
    await tab.page.route(
      '**/admin/v1/**',
      async (route) => await route.fulfill({ status: 401, json: { error: 'no longer' } }),
    )
    await tab.page.getByRole('link', { name: 'Configuration' }).click()
    await tab.page.getByText('no longer').waitFor()
    await tab.page.unrouteAll()
    await tab.page.reload()
    await tab.secretField.waitFor()
    assert.ok(!tab.page.url().includes(adminSecret))
  },
)

inspecting('lists the stores of the backup, finds one by its name, and opens any by its id', async (tab) => {
  await backedUp(dev, long)
  await tab.open()
  const row = tab.page.getByRole('row', { name: long })
  await row.waitFor()
  assert.match((await row.textContent()) ?? '', /100,000/)
  const search = tab.page.getByRole('searchbox')
  await search.fill('nothing of that name')
  await row.waitFor({ state: 'detached' })
  await search.press('Enter')
  await tab.page.getByText('there is no such store').first().waitFor()
  assert.match(tab.page.url(), /#\/store\/nothing%20of%20that%20name\/events$/)
  await tab.page.goBack()
  await tab.page.getByRole('link', { name: long }).click()
  await tab.isLive()
  tab.complaints.splice(0) // Chromium's own word for the 404
})

inspecting('shows the newest of 100,000 events at once', async (tab) => {
  await tab.open()
  await tab.page.getByRole('link', { name: long }).waitFor()
  const ms = await tab.page.evaluate<number>(timeToFirstRow(`#/store/${long}/events`))
  console.log(`inspector: first rows of ${longEvents} events with ${clients} sockets after ${ms.toFixed(0)} ms`)
  await tab.endsWith(writer().head)
  await tab.isLive()
  assert.match((await tab.page.locator('.facts').textContent()) ?? '', /Head100,000.*Connected50/)
})

inspecting('follows 100 events a second, with no more rows than there are in sight', async (tab) => {
  await tab.openStore(long)
  await tab.page.evaluate(watchFrames)
  const begun = performance.now()
  for (let push = 1; push <= 40; push++) {
    await writer().push(10)
    // Ten pushes a second, as long as the server keeps up.
    await eventually('it is time', () => performance.now() - begun >= push * 100)
  }
  const rate = 400 / ((performance.now() - begun) / 1_000)
  await tab.endsWith(writer().head)
  const { tasks, frames } = await tab.page.evaluate<Seen>(seenFrames)
  const sorted = frames.toSorted((a, b) => a - b)
  const at = (share: number): string => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(0)
  console.log(
    `inspector: at ${rate.toFixed(0)} events a second: frames of ${at(0.5)} ms, 99 of 100 within ${at(0.99)} ms; ` +
      `${tasks.length} tasks over 50 ms, the longest ${Math.max(0, ...tasks).toFixed(0)} ms`,
  )
  assert.ok((await tab.list.locator('.row').count()) < 60, 'rows out of sight do not exist')
  const bar = await tab.page.getByRole('img', { name: /Pushes and events/ }).getAttribute('aria-label')
  assert.match(bar ?? '', /\d+ events in \d+ push/)
})

inspecting('pauses, scrolls back through the log, and returns to the newest', async (tab) => {
  await tab.openStore(long)
  const head = writer().head
  await tab.endsWith(head)
  await tab.button('Pause').click()
  await writer().push(3)
  await tab.page.getByText('paused, 3 new').waitFor()
  assert.equal((await tab.numbers()).at(-1), head)
  await tab.button('Resume').click()
  await tab.endsWith(head + 3)

  await tab.page.getByRole('spinbutton', { name: 'Go to the event of a number' }).fill('4321')
  await tab.button('Go').click()
  await tab.page.locator('#event-4321[aria-selected=true]:not(.absent)').waitFor()
  const around = await tab.numbers()
  assert.ok(around.includes(4_321) && around.every((number) => Math.abs(number - 4_321) < 40), String(around))
  await writer().push(1)
  await tab.button(/new ↓$/).waitFor()
  assert.deepEqual(await tab.numbers(), around, 'what is read stays where it is')
  await tab.list.hover()
  await tab.page.mouse.wheel(0, -900)
  await eventually('older rows are filled', async () => {
    const numbers = await tab.numbers()
    return numbers[0]! < around[0]! && (await tab.list.locator('.row.absent').count()) === 0
  })
  await tab.button(/new ↓$/).click()
  await tab.endsWith(writer().head)
})

inspecting('filters by name and client, and searches older events when it is told to', async (tab) => {
  await tab.openStore(long)
  await tab.page.getByRole('combobox', { name: /name contains/ }).fill('renamed')
  await tab.page.getByText(/^[1-9]\d* of the newest \d+ events match$/).waitFor()
  await tab.page.getByRole('combobox', { name: /id contains/ }).fill('ANNA')
  const found = Number(/^\d+/.exec((await tab.page.locator('.bar-status .status').textContent()) ?? '')?.[0])
  tab.traffic()
  await tab.button('Search older events').click()
  await eventually('more are found', async () => {
    const text = (await tab.page.locator('.bar-status .status').textContent()) ?? ''
    return Number(/^[\d,]+/.exec(text)?.[0].replace(',', '')) >= found + 200
  })
  assert.ok(tab.traffic().requests.length < 6, 'in a few requests')
  await eventually('what is in sight matches', async () => {
    const texts = await tab.rows.allTextContents()
    return texts.length > 0 && texts.every((text) => /TodoRenamedanna/.test(text))
  })
  const numbers = await tab.numbers()
  assert.ok(
    numbers.every((number) => nameOfEvent(number) === 'v1.TodoRenamed'),
    String(numbers),
  )
  // What is pushed shows if it matches.
  const { head } = writer()
  await writer().push(8, 'anna')
  const last = Array.from({ length: 8 }, (_, index) => head + 1 + index).findLast(
    (one) => nameOfEvent(one) === 'v1.TodoRenamed',
  )!
  await tab.endsWith(last)
})

inspecting('shows args only when asked to, printed to be read', async (tab) => {
  await tab.openStore(long)
  const seqNum = writer().head
  const text = `Water the ${seqNum} plants`
  await tab.rows.last().click()
  const detail = tab.page.getByRole('complementary', { name: 'Event' })
  await detail.getByRole('heading', { name: nameOfEvent(seqNum) }).waitFor()
  assert.ok(!(await tab.page.content()).includes(text), 'args are nowhere on the page')
  await detail.getByRole('button', { name: 'Show args' }).click()
  const printed = await detail.getByLabel('Args').textContent()
  const args = { id: `todo-${seqNum}`, text, tags: ['garden', { done: seqNum % 2 === 0 }] }
  assert.equal(printed, JSON.stringify(args, null, 2))
  await tab.button('Args').click()
  assert.ok(!(await tab.page.content()).includes(text), 'and hidden again')
})

inspecting('asks nothing while nothing happens, and nothing at all while it is hidden', async (tab) => {
  await tab.page.clock.install()
  const quiet = await makeStore(dev, 'quiet', 20)
  await tab.openStore(quiet.storeId)
  await tab.page.clock.pauseAt(new Date(Date.now() + 5_000))
  tab.traffic()

  await tab.page.clock.runFor(24_000)
  assert.deepEqual(tab.traffic(), { requests: [], frames: [] })
  // The runtime answers pings; the object sleeps on.
  for (const ms of [6_500, 30_500, 30_500, 30_500]) {
    const received = tab.received.length
    await tab.page.clock.runFor(ms)
    await eventually('it has pinged', () => tab.frames.length > 0)
    const { requests, frames } = tab.traffic()
    assert.deepEqual([requests, frames], [[], ['{"_tag":"Ping"}']])
    await eventually('the ping is answered', () => tab.received.slice(received).includes('{"_tag":"Pong"}'))
  }

  const client = await Follower.of(dev, quiet)
  try {
    // Events wake the object, and while it is awake the state is asked for.
    await client.push(2)
    await eventually('the events have come', () => tab.frames.some((frame) => frame.includes('Ack')))
    await tab.page.clock.runFor(2_100)
    await eventually('the state is asked for', () => tab.requests.length > 0)
    assert.deepEqual(tab.traffic().requests, ['GET /admin/v1/stores/quiet'])

    await tab.hide(true)
    await client.push(2)
    await eventually('the events have come', () => tab.frames.some((frame) => frame.includes('Ack')))
    await tab.page.clock.runFor(25_000)
    assert.deepEqual(tab.traffic().requests, [])
    await tab.page.clock.runFor(10_000)
    await eventually(
      'its socket is closed',
      async () => (await stateOf(dev, quiet.storeId)).connections.byTransport.ws === 1,
    )
    await client.push(2)
    await tab.page.clock.runFor(600_000)
    assert.deepEqual(tab.traffic(), { requests: [], frames: [] })

    await tab.hide(false)
    await tab.page.clock.resume()
    await tab.isLive()
    await tab.endsWith(client.head)
  } finally {
    client.close()
  }
})

inspecting('comes back by itself after its socket was lost', async (tab) => {
  const store = await makeStore(dev, 'lost', 8)
  await tab.openStore(store.storeId)
  const client = await Follower.of(dev, store)
  await tab.tab('Manage')
  await tab.button('Disconnect …').click()
  await tab.button('Disconnect').click()
  await tab.page.getByText('2 sockets were closed').waitFor()
  await tab.isLive()
  client.close()
  const again = await Follower.of(dev, await stateOf(dev, store.storeId))
  await tab.tab('Events')
  await again.push(1)
  await tab.endsWith(9)
  // Somebody else resets the store: the page is told, and shows the log that there is now.
  again.close()
  await reset(dev, store.storeId)
  await tab.page.getByText('No events yet').waitFor()
  const fresh = await Follower.of(dev, await stateOf(dev, store.storeId))
  await fresh.push(2)
  await tab.endsWith(2)
  fresh.close()
})

inspecting('shows how far a restore has come, and follows the log that it brings', async (tab) => {
  const store = await makeStore(dev, 'restoring', 30)
  const restore = { backendId: 'next', events: 200, head: 200, staged: 50, failures: 0 }
  let asked = 0
  await tab.page.route('**/admin/v1/stores/restoring', async (route) => {
    asked += 1
    const staged = Math.min(150, 50 * asked)
    if (staged === 150) await route.continue()
    else await route.fulfill({ json: { ...store, status: 'restoring', restore: { ...restore, staged } } })
  })
  await tab.open('#/store/restoring/backup')
  const bar = tab.page.getByRole('region', { name: 'Under way' })
  await bar.getByText('50 of 200 events').waitFor()
  assert.equal(await bar.getByRole('progressbar').getAttribute('value'), '0.25')
  await bar.getByText('100 of 200 events').waitFor()
  await bar.waitFor({ state: 'hidden' })
  await tab.page.unrouteAll()
  await tab.tab('Events')
  await tab.isLive()
  await tab.endsWith(30)
})

inspecting('says why a restore was given up by a store that goes on, and when', async (tab) => {
  const store = await makeStore(dev, 'unrestored', 3)
  const from = { storeId: 'other', backendId: 'damaged' }
  const lastRestore = { at: store.time, outcome: 'failed', message: 'event 4 continues from 2', from }
  await tab.page.route('**/admin/v1/stores/unrestored', (route) =>
    route.fulfill({ json: { ...store, backup: undefined, lastRestore } }),
  )
  await tab.openStore(store.storeId)
  await tab.page.getByRole('link', { name: /The last log that was to be brought in is not.*Why\?/ }).click()
  const told = tab.page.getByRole('listitem').filter({ hasText: 'What to do' })
  await told.getByText('event 4 continues from 2', { exact: true }).waitFor()
  await tab.page.getByText(/^The last one failed, .*\d: event 4 continues from 2$/).waitFor()
  await tab.page.unrouteAll()
})

inspecting('tells who has never seen the project which client is stuck and why', async (tab) => {
  const store = await makeStore(dev, 'household', 60)
  const peer = await makeStuck(dev, store, 'grandmas-tablet', 48)
  // From the list: the store, its alert, and there it stands. docs/inspector.md has these clicks.
  await tab.open()
  await tab.page.getByRole('searchbox').fill(store.storeId)
  await tab.button('Open').click()
  await tab.page.getByRole('link', { name: /grandmas-tablet is stuck.*Why\?/ }).click()
  const told = tab.page.getByRole('listitem').filter({ hasText: 'What to do' })
  await told.waitFor()
  const text = (await told.textContent()) ?? ''
  assert.match(text, /grandmas-tablet is stuck: 12 pushes refused in a row/)
  assert.match(text, /as if event 48 were the last, but the log is at 60: it has not taken the 12 events in between/)
  assert.match(text, /Disconnect the store/)
  await tab.page.getByRole('row', { name: /grandmas-tablet.*refused 12 times in a row/ }).waitFor()
  await tab.tab('Numbers')
  const refusals = tab.page.getByRole('row', { name: /server-ahead/ })
  await refusals.waitFor()
  assert.match((await refusals.textContent()) ?? '', /12$/)
  peer.client.terminate()
})

inspecting('exports a store to a file and imports that into another, the very same events', async (tab) => {
  const [from, to] = [await makeStore(dev, 'from', 2_000), 'to']
  // The browser's own dialog for files cannot be driven: the page is given a file, or none.
  await tab.page.addInitScript(filePicker)
  await tab.openStore(from.storeId, 'manage')
  await tab.button('Export').click()
  await tab.page.getByText(/^2,000 events, [\d.]+ kB$/).waitFor()
  const written = await tab.page.evaluate<string>(pickedFile('from-2000.ndjson'))
  await tab.page.evaluate(`sessionStorage.setItem('is-download', 'true')`)
  await tab.page.reload()
  await tab.isLive()
  const downloading = tab.page.waitForEvent('download')
  await tab.button('Export').click()
  const download = await downloading
  assert.equal(download.suggestedFilename(), 'from-2000.ndjson')
  const file = readFileSync(await download.path())
  const lines = (text: string): readonly string[] => text.trimEnd().split('\n').slice(1, -1)
  assert.deepEqual(lines(written), lines(String(file)))

  const target = await makeStore(dev, to, 4)
  await tab.page.goto(`${dev.url}/admin#/store/${target.storeId}/manage`)
  await tab.isLive()
  await tab.page.getByLabel('File to import').setInputFiles({ name: 'from.ndjson', mimeType: '', buffer: file })
  await tab.button('Import').click()
  await tab.page.getByText(/holds 4 events/).waitFor()
  tab.complaints.splice(0) // Chromium's own word for the 409
  await tab.page.getByLabel('Replace what the store holds').check()
  await tab.button('Import').click()
  await tab.page.getByText('2,000 events imported, up to 2,000').waitFor()
  assert.deepEqual(await eventLinesOf(dev, to), lines(String(file)))
  await tab.tab('Events')
  await tab.endsWith(2_000)
  await tab.isLive()
  tab.complaints.splice(0) // and for the socket that is turned away meanwhile
})

inspecting('verifies the backup, and restores after it has said what that would keep and lose', async (tab) => {
  const store = await makeStore(dev, 'notes/anna', 40)
  await backedUp(dev, store.storeId)
  await tab.openStore(store.storeId, 'backup')
  await tab.button('Verify').click()
  await tab.page.getByText('The same: 40 events compared, up to 40').waitFor()
  await tab.button('Restore …').click()
  const restore = tab.page.getByRole('dialog').getByRole('button', { name: 'Restore', exact: true })
  assert.equal(await restore.isDisabled(), true, 'not before it has been said what would happen')
  await tab.page.getByLabel('Up to').fill('33')
  await tab.button('See what would happen').click()
  await tab.page.getByText('33 events up to 33').waitFor()
  await tab.page.getByText('7 events of the backup after that').waitFor()
  await tab.page.getByText('40 events that the store holds now').waitFor()
  assert.equal((await stateOf(dev, store.storeId)).head, 40, 'nothing was done')
  await tab.page.getByLabel('Replace what the store holds').check()
  assert.equal(await restore.isDisabled(), true, 'something else is asked for now')
  await tab.button('See what would happen').click()
  await restore.click()
  await tab.page.getByRole('dialog').waitFor({ state: 'detached' })
  await tab.page.locator('.facts .head', { hasText: '33' }).waitFor()
  const { head, backendId } = await stateOf(dev, store.storeId)
  assert.equal(head, 33)
  assert.notEqual(backendId, store.backendId)
  await tab.tab('Events')
  await tab.endsWith(33)
  await tab.isLive()
  tab.complaints.splice(0) // of the socket that is turned away meanwhile
})

inspecting('resets and deletes only who types the name of the store', async (tab) => {
  const store = await makeStore(dev, 'doomed', 12)
  await tab.openStore(store.storeId, 'manage')
  await tab.button('Reset …').click()
  const reset = tab.button('Reset the store')
  const typed = tab.page.getByRole('dialog').getByRole('textbox')
  await typed.fill('doome')
  assert.equal(await reset.isDisabled(), true)
  await typed.press('Enter')
  assert.equal((await stateOf(dev, store.storeId)).head, 12)
  await tab.page.keyboard.press('Escape')
  await tab.button('Reset …').click()
  await typed.fill('doomed')
  await reset.click()
  await tab.page.getByText('The store was reset').waitFor()
  const after = await stateOf(dev, store.storeId)
  assert.deepEqual([after.head, after.backendId !== store.backendId], [0, true])
  await tab.tab('Events')
  await tab.page.getByText('No events yet').waitFor()
  await tab.isLive()
  const client = await Follower.of(dev, after)
  await client.push(1)
  await tab.endsWith(1)
  client.close()

  await tab.tab('Manage')
  await tab.button('Delete …').click()
  await tab.page.getByRole('dialog').getByRole('textbox').fill('doomed')
  await tab.button('Delete the store').click()
  await tab.page.getByText('there is no such store').first().waitFor()
  assert.equal(await isGone(dev, store.storeId), true)
  tab.complaints.splice(0) // Chromium's own words for the 404
})

/** What has the focus. */
const focusOf = (tab: Inspector): Promise<Focused> => tab.page.evaluate<Focused>(focused)

/** Presses Tab until something of this name has the focus; all that has it on the way has a name, and shows that it has it. */
const tabTo = async (tab: Inspector, name: RegExp): Promise<void> => {
  const seen: string[] = []
  for (let presses = 0; presses < 40; presses++) {
    await tab.page.keyboard.press('Tab')
    const now = await focusOf(tab)
    // Between the end of the page and its beginning is the browser's own frame.
    if (now.isNothing) continue
    assert.ok(
      now.isSeen && now.name !== '',
      `the focus can be seen: ${JSON.stringify(now)} after ${JSON.stringify(seen)}`,
    )
    if (name.test(now.name)) return
    seen.push(now.name)
  }
  throw new Error(`Tab does not lead to ${name}: ${JSON.stringify(seen)}`)
}

inspecting('is used with keys alone', async (tab) => {
  const store = await makeStore(dev, 'with-keys', 100)
  const { keyboard } = tab.page
  await tab.page.goto(`${dev.url}/admin`)
  await keyboard.type(adminSecret)
  await keyboard.press('Enter')
  await tab.page.getByRole('heading', { name: 'Stores' }).waitFor()
  await tabTo(tab, /^Search stores/)
  await keyboard.type(store.storeId)
  await keyboard.press('Enter')
  await tab.isLive()
  await tabTo(tab, /^Events, oldest first$/)
  await keyboard.press('End')
  await keyboard.press('ArrowUp')
  await keyboard.press('Enter')
  await tab.page.getByText('Event 99', { exact: true }).waitFor()
  assert.equal(await tab.list.getAttribute('aria-activedescendant'), 'event-99')
  assert.equal(await tab.page.locator('#event-99').getAttribute('aria-selected'), 'true')
  await keyboard.press('Home')
  await tab.page.getByText('Event 1', { exact: true }).waitFor()
  await eventually('the first row is there', async () => (await tab.numbers())[0] === 1)
  await tabTo(tab, /^Show args$/)
  await keyboard.press('Enter')
  await tab.page.getByLabel('Args', { exact: true }).and(tab.page.locator('pre')).waitFor()
  await keyboard.press('Escape')
  assert.match((await focusOf(tab)).name, /^Events, oldest first$/, 'the focus is given back')

  // On to another part, and a dialog, which keeps the focus and gives it back.
  await tab.page.goto(`${dev.url}/admin#/store/${store.storeId}/manage`)
  await tabTo(tab, /^Reset …$/)
  await keyboard.press('Enter')
  await tab.page.getByRole('dialog').waitFor()
  for (let presses = 0; presses < 6; presses++) {
    await keyboard.press('Tab')
    const { isInDialog, isNothing, name } = await focusOf(tab)
    // Behind its last control comes the browser's own frame.
    assert.ok(isInDialog || isNothing, name)
  }
  await keyboard.press('Escape')
  await tab.page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal((await focusOf(tab)).name, 'Reset …')
})

for (const colorScheme of ['light', 'dark'] as const) {
  for (const size of [
    { width: 360, height: 720 },
    { width: 1280, height: 800 },
  ]) {
    const play = async (tab: Inspector): Promise<void> => {
      const store = await stateOf(dev, long)
      const peer = await makeStuck(dev, store, 'phone-of-ben', store.head - 10)
      const check = async (part: string): Promise<void> => {
        const wide = await tab.page.evaluate<number>(pageWidth)
        assert.ok(wide <= size.width, `${part} is ${wide} pixels wide`)
        assert.deepEqual(await tab.page.evaluate(faintTexts), [], part)
      }
      await tab.page.goto(`${dev.url}/admin`)
      await tab.secretField.waitFor()
      await check('the door')
      await tab.open()
      await tab.page.getByRole('link', { name: long }).waitFor()
      await check('the list')
      await tab.page.goto(`${dev.url}/admin#/store/${long}/events`)
      await tab.isLive()
      await tab.rows.last().click()
      await tab.button('Show args').click()
      await check('events')
      await tab.page.keyboard.press('Escape')
      for (const [name, words] of Object.entries({
        Clients: 'Who is stuck',
        Numbers: 'Refusals by reason',
        Backup: 'Compares the backup',
        Manage: 'Leaves nothing of the store',
      })) {
        await tab.tab(name)
        await tab.page.getByText(words).first().waitFor()
        await check(name)
      }
      await tab.button('Delete …').click()
      await check('a dialog')
      peer.client.terminate()
    }
    inspecting(`can be read on ${size.width} pixels, ${colorScheme}`, play, { colorScheme, size })
  }
}
