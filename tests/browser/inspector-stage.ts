/**
 * What the tests of the inspector play on: the package in a project of wrangler, run by `wrangler dev` with D1 beside it, stores
 * with logs, their clients, and the page in a browser that writes down every request it makes.
 */
import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import type { Locator, Page } from 'playwright-core'
import { eventually } from '../clients/waiting.ts'
import type { Event } from '../clients/client.ts'
import { configuration, dates } from '../package/app.ts'
import { makeProject, type Project } from '../package/project.ts'
import { administer, adminSecret, type State, stateOf, storePath } from '../workerd/administration.ts'
import { Peer, pushedFrame } from '../workerd/peer.ts'
import { numbersInSight, takesItselfForHidden } from './in-page.ts'
import { templateToken } from '../harness/server.ts'

/** The server, as other helpers want it. */
export interface Dev {
  readonly project: Project
  readonly url: string
  readonly wsUrl: string
}

const variables = `
[[d1_databases]]
binding = "DB"
database_name = "my-app"
database_id = "00000000-0000-0000-0000-000000000000"

[vars]
ADMIN_SECRET = "${adminSecret}"
AUTH_TOKEN = "${templateToken}"
BACKUP_DELAY_SECONDS = "1"
`

/** The whole Worker, as the package has it, under `wrangler dev`. */
export const startDevOf = async (): Promise<Dev> => {
  const main = 'node_modules/livestore-sync-worker/dist/worker.js'
  const toml = configuration({ main, date: dates.newest, more: variables })
  const project = makeProject('wrangler', { 'wrangler.toml': toml })
  try {
    const options = ['--port', '0', '--inspector-port', '0']
    const { url } = await project.serve('wrangler/bin/wrangler.js', ['dev', ...options], /Ready on (http:\/\/\S+)/)
    return { project, url, wsUrl: url.replace('http', 'ws') }
  } catch (error) {
    await project.remove()
    throw error
  }
}

const names = ['v1.TodoCreated', 'v1.TodoRenamed', 'v1.TodoCompleted', 'v1.TodoDeleted']

/** The name of an event by its number. */
export const nameOfEvent = (seqNum: number): string => names[seqNum % names.length]!

/** Events of a store by their numbers, four of them to a push. */
export const eventsOf = (from: number, to: number, clientId: string): readonly Event[] =>
  Array.from({ length: to - from + 1 }, (_, index) => {
    const seqNum = from + index
    const args = {
      id: `todo-${seqNum}`,
      text: `Water the ${seqNum} plants`,
      tags: ['garden', { done: seqNum % 2 === 0 }],
    }
    return { seqNum, parentSeqNum: seqNum - 1, name: nameOfEvent(seqNum), args, clientId, sessionId: 'static' }
  })

/** An export with `count` events of two clients, four of them to a push and a push each second until now. */
const fileOf = (storeId: string, count: number): string => {
  const end = Date.now() - 60_000
  const lines = eventsOf(1, count, '').map((event) => {
    const push = Math.ceil(event.seqNum / 4)
    const createdAt = new Date(end - (count / 4 - push) * 1_000).toISOString()
    return JSON.stringify({ ...event, clientId: push % 2 === 0 ? 'anna' : 'ben', createdAt })
  })
  const first = {
    format: 'livestore-sync-export',
    version: 1,
    storeId,
    backendId: 'ihUFLvUyRotjKEYCp4son',
    head: count,
  }
  const body = `${JSON.stringify({ ...first, exportedAt: new Date().toISOString() })}\n${lines.join('\n')}\n`
  const checksum = crc32(body).toString(16).padStart(8, '0')
  return `${body}${JSON.stringify({ end: { events: count, head: count, crc32: checksum } })}\n`
}

/** Makes a store of `count` events. */
export const makeStore = async (dev: Dev, storeId: string, count: number): Promise<State> => {
  const answer = await fetch(`${dev.url}${storePath(storeId, '/import')}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminSecret}` },
    body: fileOf(storeId, count),
  })
  assert.equal(answer.status, 200, await answer.text())
  return await stateOf(dev, storeId)
}

/** Resolves once all of a store's log is in the backup. */
export const backedUp = (dev: Dev, storeId: string): Promise<State> =>
  eventually(
    `${storeId} is in the backup`,
    async () => {
      const state = await stateOf(dev, storeId)
      return state.backup?.lagEvents === 0 && state.backup.head === state.head && state
    },
    30_000,
    undefined,
    200,
  )

/** A client that follows a store and acknowledges all it is sent. */
export class Follower {
  readonly peer: Peer
  readonly backendId: string
  #head: number

  private constructor(peer: Peer, { backendId, head }: State) {
    this.peer = peer
    this.backendId = backendId
    this.#head = head
  }

  static async of(dev: Dev, state: State): Promise<Follower> {
    const peer = await Peer.connect(dev, 'v04', state.storeId, { payload: { authToken: templateToken } })
    const follower = new Follower(peer, state)
    const request = peer.pull({ live: true, after: state.head, backendId: state.backendId })
    void follower.#acknowledge(request)
    return follower
  }

  /** The last event that it knows or has pushed. */
  get head(): number {
    return this.#head
  }

  /** Pushes `count` events, and resolves once they are stored. */
  async push(count: number, clientId = 'ben'): Promise<void> {
    const head = this.#head
    const request = this.peer.push(eventsOf(head + 1, head + count, clientId), this.backendId)
    this.#head += count
    await eventually('the push is answered', () => this.#answers.get(String(request)))
    assert.deepEqual(this.#answers.get(String(request)), pushedFrame('v04', request))
  }

  close(): void {
    this.peer.client.terminate()
  }

  readonly #answers = new Map<string, unknown>()

  async #acknowledge(request: number): Promise<void> {
    for (;;) {
      const frame = await this.peer.client.next(3_600_000).catch(() => undefined)
      if (frame === undefined) return
      if (frame.startsWith('{"_tag":"Chunk"')) this.peer.ack(request)
      else {
        const answer = JSON.parse(frame) as { readonly requestId: string }
        this.#answers.set(answer.requestId, answer)
      }
    }
  }
}

/** Makes a client of a store stuck: it pushes again and again as if `believed` were the last event, and takes nothing. */
export const makeStuck = async (dev: Dev, state: State, clientId: string, believed: number): Promise<Peer> => {
  const peer = await Peer.connect(dev, 'v04', state.storeId, { payload: { authToken: templateToken } })
  peer.pull({ live: true, after: state.head, backendId: state.backendId })
  for (let times = 0; times < 12; times++) {
    const { answer } = await peer.pushed(eventsOf(believed + 1, believed + 1, clientId), state.backendId)
    assert.match(JSON.stringify(answer), /ServerAheadError/)
  }
  return peer
}

/** What a page has asked for since it was looked at last. */
export interface Traffic {
  /** `GET /admin/v1/…` */
  readonly requests: readonly string[]
  /** Frames that it sent on its sockets. */
  readonly frames: readonly string[]
}

/** The inspector in a tab. */
export class Inspector {
  readonly page: Page
  readonly dev: Dev
  #requests: string[] = []
  #frames: string[] = []
  /** Frames that its sockets were sent. */
  readonly received: string[] = []
  /** Addresses of another origin that it asked; none, if all is well. */
  readonly foreign: string[] = []
  /** What its console said that is no good, and what was thrown. */
  readonly complaints: string[] = []

  constructor(page: Page, dev: Dev) {
    this.page = page
    this.dev = dev
    const { host } = new URL(dev.url)
    const note = (address: string): void => {
      const url = new URL(address)
      if (url.protocol !== 'data:' && url.protocol !== 'blob:' && url.host !== host) this.foreign.push(address)
    }
    page.on('request', (request) => {
      note(request.url())
      this.#requests.push(`${request.method()} ${new URL(request.url()).pathname}`)
    })
    page.on('websocket', (socket) => {
      note(socket.url())
      socket.on('framesent', ({ payload }) => this.#frames.push(String(payload)))
      socket.on('framereceived', ({ payload }) => this.received.push(String(payload)))
    })
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text())
    })
    page.on('pageerror', (error) => this.complaints.push(String(error.stack)))
  }

  /** Loads the page at a place of it, and types the secret in if it is asked for. */
  async open(hash = '', secret = adminSecret): Promise<void> {
    await this.page.goto(`${this.dev.url}/admin${hash}`)
    await this.secretField.fill(secret)
    await this.secretField.press('Enter')
  }

  /** Opens a store, once its events are shown and it follows. */
  async openStore(storeId: string, tab = 'events'): Promise<void> {
    await this.open(`#/store/${encodeURIComponent(storeId)}/${tab}`)
    await this.isLive()
  }

  async isLive(): Promise<void> {
    await this.page.locator('.link.is-live').waitFor()
  }

  get secretField(): Locator {
    return this.page.getByLabel('ADMIN_SECRET')
  }

  get list(): Locator {
    return this.page.getByRole('listbox', { name: 'Events, oldest first' })
  }

  /** The rows whose events are here. */
  get rows(): Locator {
    return this.list.locator('.row:not(.absent)')
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole('button', { name, exact: true })
  }

  async tab(name: string): Promise<void> {
    await this.page.getByRole('navigation', { name: 'Parts of the store' }).getByRole('link', { name }).click()
  }

  /** The numbers that the rows in sight have, in order. */
  async numbers(): Promise<readonly number[]> {
    return await this.page.evaluate<readonly number[]>(numbersInSight)
  }

  /** Resolves once the last row in sight is that of an event. */
  async endsWith(seqNum: number): Promise<void> {
    await eventually(
      `the last row is ${seqNum}`,
      async () => (await this.numbers()).at(-1) === seqNum,
      15_000,
      undefined,
      30,
    )
  }

  get requests(): readonly string[] {
    return this.#requests
  }

  get frames(): readonly string[] {
    return this.#frames
  }

  /** What it asked for since this was called last. */
  traffic(): Traffic {
    const traffic = { requests: this.#requests, frames: this.#frames }
    ;[this.#requests, this.#frames] = [[], []]
    return traffic
  }

  /** Makes the page take itself for hidden, or not. */
  async hide(isHidden: boolean): Promise<void> {
    await this.page.evaluate(takesItselfForHidden(isHidden))
  }
}

/** Whether a store is not there any more. */
export const isGone = async (dev: Dev, storeId: string): Promise<boolean> =>
  (await administer(dev, storePath(storeId))).status === 404

/** The export of a store: its lines but the first, which says when it was made, and the last, which has the checksum of it. */
export const eventLinesOf = async (dev: Dev, storeId: string): Promise<readonly string[]> => {
  const { status, body } = await administer(dev, storePath(storeId, '/export'))
  assert.equal(status, 200)
  return body.trimEnd().split('\n').slice(1, -1)
}
