/** What users do with either example app. */
import assert from 'node:assert/strict'
import type { App } from './apps.ts'
import { onStage, type Stage } from './stage.ts'
import type { AppWindow } from './window.ts'

/** How soon what one browser writes is to be seen in another; a machine that is shared with others is given more. */
export const soonMs = process.env['CI'] === undefined ? 2_000 : 10_000

/** Two profiles in sync, each with one window. */
const two = async (stage: Stage) => {
  const [profileA, profileB] = [await stage.profile(), await stage.profile()]
  const [a, b] = await Promise.all([profileA.open(), profileB.open()])
  await areInSync(a, b)
  return { profileA, profileB, a, b }
}

/** Resolves once all windows say so. */
export const areInSync = async (...windows: readonly AppWindow[]): Promise<void> => {
  for (const window of windows) await window.says('in-sync')
}

/** Resolves once all windows show `expected`, in one order. */
export const agree = async (expected: ReadonlySet<string>, ...windows: readonly AppWindow[]): Promise<void> => {
  for (const window of windows) await window.shows(expected)
  const [first, ...others] = await Promise.all(windows.map((window) => window.todos()))
  for (const other of others) assert.deepEqual(other, first)
}

export const seeEachOther = (app: App): void =>
  onStage(
    app,
    'two profiles at another origin than the Worker see what the other does within two seconds',
    async (stage) => {
      const { a, b } = await two(stage)
      assert.notEqual(new URL(a.page.url()).origin, new URL(stage.server.url).origin)
      await a.add('milk')
      await b.shows(['milk'], soonMs)
      await b.add('bread')
      await a.shows(['milk', 'bread'], soonMs)
      await b.toggle('milk')
      await a.shows(['✓ milk', 'bread'], soonMs)
      await a.rename('bread', 'rye bread')
      await b.shows(['✓ milk', 'rye bread'], soonMs)
      await a.remove('milk')
      await b.shows(['rye bread'], soonMs)
      await areInSync(a, b)
    },
  )

export const withKeysAlone = (app: App): void =>
  onStage(app, 'the list is worked with the keyboard alone', async (stage) => {
    const window = await (await stage.profile()).open()
    await window.says('in-sync')
    const { keyboard } = window.page
    // The field for a new todo has the focus; from it Tab leads past the disabled button to the first todo.
    for (const text of ['milk', 'bread']) {
      await keyboard.type(text)
      await keyboard.press('Enter')
    }
    await window.shows(['milk', 'bread'])
    await keyboard.press('Tab')
    await keyboard.press('Space')
    await window.shows(['✓ milk', 'bread'])
    await keyboard.press('Tab')
    await keyboard.press('Enter')
    await keyboard.type('oat milk')
    await keyboard.press('Escape')
    await window.shows(['✓ milk', 'bread'])
    await keyboard.press('Enter')
    await keyboard.type('oat milk')
    await keyboard.press('Enter')
    await window.shows(['✓ oat milk', 'bread'])
    await keyboard.press('Tab')
    await keyboard.press('Enter')
    await window.shows(['bread'])
  })

export const offlineAndBack = (app: App): void =>
  onStage(app, 'a profile goes offline, both edit, it comes back, and both converge', async (stage) => {
    const { profileA, a, b } = await two(stage)
    await a.add('both')
    await b.shows(['both'])
    profileA.network.cut()
    await a.says('offline')
    await a.addAll(['a1', 'a2'])
    await a.says('offline', /2 changes to send/)
    await b.addAll(['b1', 'b2'])
    await b.toggle('both')
    await b.says('in-sync')
    profileA.network.mend()
    await agree(new Set(['✓ both', 'a1', 'a2', 'b1', 'b2']), a, b)
    await areInSync(a, b)
  })

export const reloadKeeps = (app: App): void =>
  onStage(app, 'a reload keeps what was written, with the sync server out of reach as well', async (stage) => {
    const profile = await stage.profile()
    const window = await profile.open()
    await window.says('in-sync')
    await window.addAll(['one', 'two'])
    const other = await (await stage.profile()).open()
    await other.shows(['one', 'two'])
    await window.says('in-sync')
    await window.reload()
    await window.shows(['one', 'two'])
    await window.says('in-sync')
    profile.network.cut()
    await window.says('offline')
    await window.add('three')
    await window.says('offline', /1 change to send/)
    await window.reload()
    await window.shows(['one', 'two', 'three'])
    profile.network.mend()
    await window.says('in-sync')
    await other.shows(['one', 'two', 'three'])
  })

export const backendRestarts = (app: App): void =>
  onStage(app, 'the sync backend is killed and started again, and both profiles go on', async (stage) => {
    const { a, b } = await two(stage)
    await a.add('before')
    await b.shows(['before'])
    await areInSync(a, b)
    const startAgain = await stage.crash()
    await a.says('offline')
    await b.says('offline')
    await a.add('meanwhile, a')
    await b.add('meanwhile, b')
    await startAgain()
    await agree(new Set(['before', 'meanwhile, a', 'meanwhile, b']), a, b)
    await areInSync(a, b)
    await b.add('after')
    await a.shows(new Set(['before', 'meanwhile, a', 'meanwhile, b', 'after']), soonMs)
  })

export const wrongToken = (app: App): void =>
  onStage(app, 'a page with a wrong token is told so, and keeps what is written in it', async (stage) => {
    const stranger = await (await stage.profile({ token: 'not-the-token' })).open()
    await stranger.says('refused', /Invalid auth token/)
    await stranger.add('mine')
    await stranger.shows(['mine'])
    await stranger.reload()
    await stranger.shows(['mine'])
    await stranger.says('refused')
    const guest = await (await stage.profile()).open()
    await guest.says('in-sync')
    await guest.shows([])
  })

export const refusedChange = (app: App): void =>
  onStage(
    app,
    'a change that the sync backend refuses is said to be refused, and why, and the page goes on',
    async (stage) => {
      const { a, b } = await two(stage)
      await a.add('milk')
      await b.shows(['milk'])
      await a.rename('milk', 'oat milk')
      await a.says('refused', /v1\.TodoRenamed/)
      await b.add('bread')
      await a.shows(['oat milk', 'bread'])
      await b.shows(['milk', 'bread'])
    },
    { EVENT_NAMES: 'v1.TodoCreated' },
  )

const adminSecret = 'secret-of-the-administration'

export const emptiedOnServer = (app: App): void =>
  onStage(
    app,
    'a list that is emptied on the server is said to be, and goes on empty once the page is loaded again',
    async (stage) => {
      const { a } = await two(stage)
      await a.add('milk')
      await a.says('in-sync')
      const reset = await fetch(`${stage.server.url}/admin/v1/stores/list/reset`, {
        method: 'POST',
        headers: { authorization: `Bearer ${adminSecret}` },
        body: JSON.stringify({ storeId: 'list' }),
      })
      assert.equal(reset.status, 200)
      await a.says('refused', /emptied on the server/)
      await a.reopen()
      await a.says('in-sync')
      await a.shows([])
      await a.add('bread')
      const b = await (await stage.profile()).open()
      await b.shows(['bread'])
    },
    { ADMIN_SECRET: adminSecret },
  )

export const bothReleases = (app: App, other: App): void =>
  onStage(app, `its Worker serves a page on ${other.name} on the same list`, async (stage) => {
    const a = await (await stage.profile()).open()
    const b = await (await stage.profile({ app: other })).open()
    await areInSync(a, b)
    await a.add('milk')
    await b.shows(['milk'], soonMs)
    await b.toggle('milk')
    await b.add('bread')
    await a.shows(['✓ milk', 'bread'], soonMs)
    await areInSync(a, b)
  })

/** `goesOn`: whether the tab that is left takes over by itself, or has to be loaded again. */
export const twoTabs = (app: App, goesOn: 'by itself' | 'once it is loaded again'): void =>
  onStage(app, `two tabs of a profile show one list, and the one that is left goes on ${goesOn}`, async (stage) => {
    const profile = await stage.profile()
    const first = await profile.open()
    await first.says('in-sync')
    const second = await profile.open()
    await second.says('in-sync')
    await first.add('in the first')
    await second.shows(['in the first'], soonMs)
    await second.add('in the second')
    await first.shows(['in the first', 'in the second'], soonMs)
    const other = await (await stage.profile()).open()
    await other.shows(['in the first', 'in the second'])
    await first.page.close()
    if (goesOn === 'once it is loaded again') await second.reload()
    await second.add('alone')
    await other.shows(['in the first', 'in the second', 'alone'])
    await other.add('from outside')
    await second.shows(['in the first', 'in the second', 'alone', 'from outside'])
    await areInSync(second, other)
    profile.network.cut()
    await second.says('offline')
    await second.add('late')
    await second.says('offline', /1 change to send/)
    profile.network.mend()
    await other.shows(['in the first', 'in the second', 'alone', 'from outside', 'late'])
    await areInSync(second, other)
  })
