/** Session cookies of a page of another origin, over HTTP: what a browser sends, and lets the page read. */
import assert from 'node:assert/strict'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type Browser, chromium, type Frame } from 'playwright-core'
import { findChromium } from '../../scripts/browser.mjs'
import { freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken } from '../harness/server.ts'
import { withServer } from '../harness/servers.ts'
import { httpPull } from '../workerd/doors.ts'

/** What became of a request: its status, or that the browser did not let the page read the answer. */
type Outcome = number | 'unreadable'

describe('a page of another origin', () => {
  let browser: Browser
  let pages: HttpServer
  let origin: string
  before(async () => {
    const executablePath = findChromium()
    if (executablePath === undefined) throw new Error('no Chromium found: run `node scripts/setup.mjs --tests`')
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-background-networking'] })
    // The page, and a frame in it that has no origin of its own.
    const html = '<!doctype html><iframe sandbox="allow-scripts" srcdoc="<p>frame</p>"></iframe>'
    pages = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html))
    await new Promise<void>((resolve) => pages.listen(0, 'localhost', resolve))
    origin = `http://localhost:${(pages.address() as AddressInfo).port}`
  })
  after(async () => {
    await browser.close()
    pages.closeAllConnections()
    await new Promise((resolve) => pages.close(resolve))
  })

  /** What a page and its frame are answered that pull with their user's cookie, or with a token of their own. */
  const asked = async (list: string): Promise<Readonly<Record<string, Outcome>>> => {
    const outcomes: Record<string, Outcome> = {}
    await withServer({ vars: { ALLOWED_ORIGINS: list, COOKIE_NAME: 'my-app.session' } }, async (server) => {
      const url = server.url.replace('127.0.0.1', 'localhost')
      const context = await browser.newContext()
      await context.addCookies([{ name: 'my-app.session', value: authToken, url }])
      const page = await context.newPage()
      await page.goto(origin)
      const frame = page.frames().find((one) => one !== page.mainFrame()) ?? assert.fail('no frame')
      const ask = (from: Frame, payload: unknown, credentials: string): Promise<Outcome> => {
        const storeId = freshStoreId()
        const target = url + targetOf({ storeId, transport: 'http', payload })
        const body = JSON.stringify(httpPull('v04', storeId))
        const options = JSON.stringify({
          method: 'POST',
          credentials,
          headers: { 'Content-Type': 'application/json' },
          body,
        })
        const request = `fetch(${JSON.stringify(target)}, ${options})`
        return from.evaluate<Outcome>(`${request}.then(({ status }) => status, () => 'unreadable')`)
      }
      for (const [who, from] of [
        ['page', page.mainFrame()],
        ['frame', frame],
      ] as const) {
        outcomes[`${who}, cookie`] = await ask(from, undefined, 'include')
        outcomes[`${who}, no cookie`] = await ask(from, undefined, 'omit')
        outcomes[`${who}, token`] = await ask(from, { authToken }, 'omit')
      }
      await context.close()
    })
    return outcomes
  }

  it('that is listed syncs with the cookie of its user', async () => {
    const { 'page, cookie': cookie, 'page, no cookie': none, 'page, token': token } = await asked(origin)
    assert.deepEqual([cookie, none, token], [200, 400, 200])
  })

  it('that may be any page does not, and syncs with a token', async () => {
    assert.deepEqual(await asked('*'), {
      'page, cookie': 'unreadable',
      'page, no cookie': 400,
      'page, token': 200,
      'frame, cookie': 'unreadable',
      'frame, no cookie': 400,
      'frame, token': 200,
    })
    assert.deepEqual(await asked(`null, ${origin}/`), {
      'page, cookie': 200,
      'page, no cookie': 400,
      'page, token': 200,
      'frame, cookie': 'unreadable',
      'frame, no cookie': 400,
      'frame, token': 200,
    })
  })
})
