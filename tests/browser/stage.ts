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

/** A browser of one user: its storage is its own. */
export interface Browsing {
  readonly context: BrowserContext
  open(address: string): Promise<AppWindow>
}

/** One user's browser on a stage, with a network that can be cut. */
export interface Profile {
  readonly network: Network
  /** Opens the app in a tab, at the stage's store. */
  open(): Promise<AppWindow>
}

export interface ProfileOptions {
  /** The token of its pages; that of the template by default. */
  readonly token?: string
  /** The app that it opens; that of the stage by default. */
  readonly app?: App
}

export interface Stage {
  readonly server: Server
  profile(options?: ProfileOptions): Promise<Profile>
  /** Ends the sync backend at once. It starts again, on its storage and port, when the function that is returned is called. */
  crash(): Promise<() => Promise<void>>
}

/** What a test in a browser is given. */
export interface Props {
  /** What is to be done after the test, last first. */
  readonly cleanups: Array<() => Promise<void> | void>
  /** What servers have printed, to be kept when the test fails. */
  readonly outputs: Array<() => string>
  profile(): Promise<Browsing>
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

/** A test with profiles of a browser. */
export const inBrowser = (title: string, play: (props: Props) => Promise<void>): void => {
  test(title, async () => {
    const [cleanups, outputs]: [Props['cleanups'], Props['outputs']] = [[], []]
    const windows: AppWindow[] = []
    const said: string[] = []
    const profile = async (): Promise<Browsing> => {
      const context = await (await launched()).newContext()
      cleanups.push(() => context.close())
      context.on('console', (message) => said.push(`${message.type()}: ${message.text()}`))
      context.on('weberror', (error) => said.push(`uncaught: ${error.error().stack}`))
      return {
        context,
        open: async (address) => {
          const page = await context.newPage()
          const window = new AppWindow(page)
          windows.push(window)
          await page.goto(address)
          return window
        },
      }
    }
    try {
      await play({ cleanups, outputs, profile })
    } catch (error) {
      await keepPictures(title, windows, [...said, ...outputs.map((output) => output())])
      throw error
    } finally {
      for (const cleanup of cleanups.reverse()) await cleanup()
    }
  })
}

/** A test on a stage of its own: a sync backend, with these variables, and profiles whose network leads to it. */
export const onStage = (
  app: App,
  name: string,
  play: (stage: Stage) => Promise<void>,
  vars: Readonly<Record<string, string>> = {},
): void => inBrowser(`${app.name}: ${name}`, async (props) => await play(await makeStage(app, vars, props)))

const makeStage = async (
  app: App,
  vars: Readonly<Record<string, string>>,
  { cleanups, profile }: Props,
): Promise<Stage> => {
  const storage = mkdtempSync(join(tmpdir(), 'browser-'))
  cleanups.push(() => rmSync(storage, { recursive: true, force: true }))
  const start = (port?: number): Promise<Server> =>
    startServer({
      dist: builtWorker(app),
      binding: app.binding,
      storage,
      // The example's Worker has no variables: its code says who may sync.
      vars: { AUTH_TOKEN: undefined, ALLOWED_ORIGINS: undefined, BACKUP: undefined, ADOPT_D1: undefined, ...vars },
      ...(port === undefined ? {} : { port }),
    })
  let server = await start()
  cleanups.push(() => server.stop())
  const port = Number(new URL(server.url).port)

  return {
    get server() {
      return server
    },
    profile: async (options = {}) => {
      const network = await Network.to(port)
      cleanups.push(() => network.stop())
      const { app: opened = app, ...page } = options
      const pages = await servePage({ folder: builtPage(opened), syncUrl: network.url, ...page })
      cleanups.push(() => pages.stop())
      const browsing = await profile()
      return { network, open: () => browsing.open(`${pages.origin}/?storeId=list`) }
    },
    crash: async () => {
      await server.kill()
      return async () => {
        server = await start(port)
      }
    },
  }
}

/** Keeps what the windows showed, and what their consoles said. */
const keepPictures = async (title: string, windows: readonly AppWindow[], said: readonly string[]): Promise<void> => {
  const folder = join(root, '.cache/browser/failures', title.replaceAll(/[^\w.]+/g, '-'))
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [index, { page }] of windows.entries())
    await page.screenshot({ path: join(folder, `window-${index + 1}.png`), timeout: 5_000 }).catch(() => {})
  writeFileSync(join(folder, 'console.txt'), said.join('\n'))
  console.error(`pictures of the windows: ${folder}`)
}
