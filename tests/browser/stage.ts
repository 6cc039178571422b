/**
 * What a browser test plays on: a sync backend under the local Workers runtime, and profiles of one Chromium, each with a
 * network of its own. When a test fails, pictures of its windows are kept below `.cache/browser/failures`.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Browser, type BrowserContext, chromium } from 'playwright-core'
import { findChromium } from '../../scripts/browser.mjs'
import { root, type Server, startServer } from '../harness/server.ts'
import { type App, builtPage, builtWorker } from './apps.ts'
import { Network } from './network.ts'
import { servePage } from './page-server.ts'
import { AppWindow } from './window.ts'

/** One user's browser: storage of its own, and a network that can be cut. */
export interface Profile {
  readonly network: Network
  readonly context: BrowserContext
  /** Opens the app in a tab, at the stage's store or another one. */
  open(storeId?: string): Promise<AppWindow>
}

export interface Stage {
  readonly storeId: string
  readonly server: Server
  profile(options?: { readonly token?: string }): Promise<Profile>
  /** Ends the sync backend at once, and starts it again on its storage and port, when the function that is returned is called. */
  crash(): Promise<() => Promise<void>>
}

const flags = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync']

let browser: Promise<Browser> | undefined

const launched = (): Promise<Browser> => {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Error('no Chromium found: run `node scripts/setup.mjs --tests`')
  browser ??= chromium.launch({ executablePath, args: flags })
  return browser
}

after(async () => await (await browser)?.close())

/** A test on a stage of its own. */
export const onStage = (app: App, name: string, play: (stage: Stage) => Promise<void>): void => {
  const title = `${app.name}: ${name}`
  test(title, async () => {
    const cleanups: Array<() => Promise<void> | void> = []
    const windows: AppWindow[] = []
    const said: string[] = []
    try {
      await play(await makeStage(app, { cleanups, windows, said }))
    } catch (error) {
      await keepPictures(title, windows, said)
      throw error
    } finally {
      for (const cleanup of cleanups.reverse()) await cleanup()
    }
  })
}

interface Props {
  readonly cleanups: Array<() => Promise<void> | void>
  readonly windows: AppWindow[]
  /** What the consoles of the windows said. */
  readonly said: string[]
}

const makeStage = async (app: App, { cleanups, windows, said }: Props): Promise<Stage> => {
  const storage = mkdtempSync(join(tmpdir(), 'browser-'))
  cleanups.push(() => rmSync(storage, { recursive: true, force: true }))
  const start = (port?: number): Promise<Server> =>
    startServer({
      dist: builtWorker(app),
      binding: app.binding,
      storage,
      // The example's Worker has no variables: its code says who may sync.
      vars: { AUTH_TOKEN: undefined, ALLOWED_ORIGINS: undefined, BACKUP: undefined, ADOPT_D1: undefined },
      ...(port === undefined ? {} : { port }),
    })
  let server = await start()
  cleanups.push(() => server.stop())
  const port = Number(new URL(server.url).port)
  const storeId = `list-${Math.random().toString(36).slice(2)}`

  return {
    storeId,
    get server() {
      return server
    },
    profile: async ({ token } = {}) => {
      const network = await Network.to(port)
      cleanups.push(() => network.stop())
      const pages = await servePage({
        folder: builtPage(app),
        syncUrl: network.url,
        ...(token === undefined ? {} : { token }),
      })
      cleanups.push(() => pages.stop())
      const context = await (await launched()).newContext()
      cleanups.push(() => context.close())
      context.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
      context.on('weberror', (error) => said.push(`uncaught: ${error.error().stack}`))
      return {
        network,
        context,
        open: async (at = storeId) => {
          const page = await context.newPage()
          const window = new AppWindow(page)
          windows.push(window)
          await page.goto(`${pages.origin}/?storeId=${at}`)
          return window
        },
      }
    },
    crash: async () => {
      await server.kill()
      return async () => {
        server = await start(port)
      }
    },
  }
}

const keepPictures = async (title: string, windows: readonly AppWindow[], said: readonly string[]): Promise<void> => {
  const folder = join(root, '.cache/browser/failures', title.replaceAll(/[^\w.]+/g, '-'))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [index, { page }] of windows.entries())
    await page.screenshot({ path: join(folder, `window-${index + 1}.png`), timeout: 5_000 }).catch(() => {})
  writeFileSync(join(folder, 'console.txt'), said.join('\n'))
  console.error(`pictures of the windows: ${folder}`)
}
