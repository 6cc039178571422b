/**
 * Logs that `@livestore/sync-cf` keeps in D1, written by the published packages: they are brought into their objects at the
 * first contact, whole, in their lifetime where they have one; what could lose or mix events waits for an operator.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { root, type ReferenceBackend, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import {
  administer,
  adminSecret,
  errorOf,
  exportOf,
  opened,
  reset,
  type State,
  stateOf,
  storePath,
  valueOf,
} from './administration.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertWhole, query } from './mirror.ts'
import { assertEvents, generations, logOf, type Generation, Peer, pushedFrame } from './peer.ts'

const bindings: Record<ReferenceBackend, { name: string; className: string }> = {
  'sync-cf': { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' },
  'sync-cf-d1': { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' },
  'sync-cf-0.3': { name: 'WEBSOCKET_SERVER', className: 'WebSocketServer' },
}

/** The same class, by the binding that our build of sync-cf 0.4 looks for. */
const forSyncCf = (reference: ReferenceBackend) => ({ ...bindings[reference], name: 'SYNC_BACKEND_DO' })

/** A storage folder of an existing deployment, on which one server after the other runs. */
class Deployment {
  readonly path = mkdtempSync(join(tmpdir(), 'adoption-'))
  readonly #copies: Deployment[] = []
  readonly #reference: ReferenceBackend
  readonly #binding: (typeof bindings)[ReferenceBackend] & { useSQLite: boolean }

  constructor(reference: ReferenceBackend, useSQLite = true) {
    this.#reference = reference
    this.#binding = { ...bindings[reference], useSQLite }
  }

  /** What the deployment ran before. */
  async before(use: (server: Server) => Promise<void>): Promise<void> {
    await this.with({ backend: this.#reference }, use)
  }

  /** What replaces it. */
  start(options: ServerOptions = {}): Promise<Server> {
    return startServer({
      storage: this.path,
      binding: this.#binding,
      inspect: this.#binding.useSQLite,
      ...options,
      vars: { LOG_LEVEL: 'debug', ADMIN_SECRET: adminSecret, ADOPT_D1: 'DB', ...options.vars },
    })
  }

  async with(options: ServerOptions, use: (server: Server) => Promise<void>): Promise<void> {
    const server = await this.start(options)
    try {
      await use(server)
    } finally {
      await server.stop()
    }
  }

  /** The same on a copy of the storage, which is removed with it. */
  copied(): Deployment {
    const copy = new Deployment(this.#reference)
    cpSync(this.path, copy.path, { recursive: true })
    this.#copies.push(copy)
    return copy
  }

  remove(): void {
    for (const copy of this.#copies) copy.remove()
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Comes to a store as a client does; the status that it is answered with. */
const visit = async (server: Server, storeId: string): Promise<{ status: number; body: string }> =>
  knock(server, { target: targetOf({ storeId, transport: 'ws' }), upgrade: 'websocket' })

/** Pushes as the clients of a generation do, and waits until D1 has it all. */
const fill = async (
  server: Server,
  generation: Generation,
  storeId: string,
  events: readonly Event[],
  total = events.length,
) => {
  const peer = await Peer.connect(server, generation, storeId)
  for (let at = 0; at < events.length; at += 100) {
    const { answer } = await peer.pushed(events.slice(at, at + 100))
    assert.deepEqual(answer, pushedFrame(generation, peer.request - 1))
  }
  const table = `eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`
  await eventually('D1 has it', async () => {
    const [row] = await query(server, `SELECT count(*) AS events FROM "${table}"`)
    return row!['events'] === total
  })
  peer.client.terminate()
}

for (const [reference, generation] of [
  ['sync-cf-d1', 'v04'],
  ['sync-cf-0.3', 'v03'],
] as const) {
  describe(`a store of ${reference}`, () => {
    const deployment = new Deployment(reference)
    const storeId = 'team/notes-é.1'
    const events = batchOf(0, 250, 'theirs')
    let rows: readonly object[]
    let backendId: string | undefined
    before(() =>
      deployment.before(async (server) => {
        await fill(server, generation, storeId, events)
        rows = await query(server, 'SELECT * FROM "eventlog_7_team_notes___1" ORDER BY seqNum')
        if (generation === 'v04') {
          const peer = await Peer.connect(server, generation, storeId)
          backendId = (await peer.pages())[0]!.backendId
          peer.client.terminate()
        }
      }),
    )
    after(() => deployment.remove())

    it('is brought into its object at the first contact, and goes on for clients of every generation', async () => {
      await deployment.with({}, async (server) => {
        const { status } = await visit(server, storeId)
        assert.ok(status === 101 || status === 503, String(status))
        const state = await opened(server, storeId)
        assert.equal(state.head, 250)
        if (backendId !== undefined) assert.equal(state.backendId, backendId)
        backendId = state.backendId
        for (const one of generations) assertEvents(await logOf(server, storeId, one), events)
        assert.deepEqual(
          (await exportOf(server, storeId)).map(({ createdAt }) => createdAt),
          rows.map((row) => (row as { createdAt: string }).createdAt),
        )
        const peer = await Peer.connect(server, generation, storeId)
        const more = batchOf(250, 20, 'more')
        assert.deepEqual((await peer.pushed(more, backendId)).answer, pushedFrame(generation, 1))
        const lines = (await linesOf(server, storeId)).filter(({ level }) => level === 'warn' || level === 'error')
        assert.deepEqual(
          lines.map(({ event }) => event),
          ['adoption-begun', 'adopted'],
        )
        const left = await query(server, 'SELECT * FROM "eventlog_7_team_notes___1" ORDER BY seqNum')
        assert.deepEqual(left, rows, 'what lies in D1 stays as it was')
      })
    })

    it('is not adopted again, and is what it was after another start', () =>
      deployment.with({}, async (server) => {
        assert.equal((await visit(server, storeId)).status, 101)
        const state = await stateOf(server, storeId)
        assert.deepEqual([state.status, state.head, state.backendId], ['open', 270, backendId])
        assertEvents(await logOf(server, storeId), [...events, ...batchOf(250, 20, 'more')])
      }))

    it('is deleted with what lies in D1, and the next store of that name is a new one', () =>
      deployment.copied().with({}, async (server) => {
        assert.equal((await visit(server, storeId)).status, 101)
        const path = `${storePath(storeId)}?confirm=${encodeURIComponent(storeId)}`
        const answer = await administer(server, path, { method: 'DELETE' })
        assert.ok([200, 202].includes(answer.status), answer.body)
        await eventually('it is a new store', async () => {
          if ((await visit(server, storeId)).status !== 101) return false
          const state = await stateOf(server, storeId)
          return state.head === 0 && state.backendId !== backendId
        })
        assert.deepEqual(await query(server, 'SELECT * FROM "eventlog_7_team_notes___1"'), [])
        assert.deepEqual(await query(server, 'SELECT * FROM livestore_sync_adopted'), [])
      }))

    it('goes back to sync-cf 0.4 with its log in the object, and grows there', () =>
      deployment.with({ backend: 'sync-cf', binding: forSyncCf(reference) }, async (server) => {
        const peer = await Peer.connect(server, 'v04', storeId)
        const pages = await peer.pages()
        assertEvents(
          pages.flatMap((page) => page.events),
          [...events, ...batchOf(250, 20, 'more')],
        )
        assert.equal(pages[0]!.backendId, backendId)
        const { answer } = await peer.pushed(batchOf(270), backendId)
        assert.deepEqual(answer, pushedFrame('v04', peer.request - 1))
        peer.client.terminate()
      }))
  })
}

it('a log is looked for in the database that ADOPT_D1 names, beside that of backups', async () => {
  const deployment = new Deployment('sync-cf-d1')
  const events = batchOf(0, 40)
  try {
    await deployment.before((server) => fill(server, 'v04', 'store', events))
    const vars = { ADOPT_D1: 'LOGS', BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }
    await deployment.with({ database: { DB: 'backups', LOGS: 'DB' }, vars }, async (server) => {
      await visit(server, 'store')
      assert.equal((await opened(server, 'store')).head, 40)
      assertEvents(await logOf(server, 'store'), events)
      await assertWhole(server, 'store')
    })
  } finally {
    deployment.remove()
  }
})

interface Elsewhere {
  readonly status: string
  readonly message: string
  readonly storedHead: number
  readonly inD1?: Readonly<Record<string, unknown>>
}

const elsewhere = async (server: Server, storeId: string): Promise<Elsewhere> =>
  valueOf<Elsewhere>(await administer(server, storePath(storeId)))

const adopt = (server: Server, storeId: string, how: object = {}) =>
  administer(server, storePath(storeId, '/adopt'), { method: 'POST', body: JSON.stringify({ storeId, ...how }) })

describe('a store of sync-cf 0.3.1 whose log lacks events that were acknowledged', () => {
  const deployment = new Deployment('sync-cf-0.3')
  const events = batchOf(0, 30)
  let server: Server
  before(async () => {
    await deployment.before(async (old) => {
      for (const storeId of ['by-log', 'by-head']) {
        await fill(old, 'v03', storeId, events)
        await query(old, `DELETE FROM "eventlog_7_${storeId.replace('-', '_')}" WHERE seqNum > 25`)
      }
    })
    server = await deployment.start()
  })
  after(async () => {
    await server.stop()
    deployment.remove()
  })

  for (const [storeId, head, goesOnFrom] of [
    ['by-log', 'log', 25],
    ['by-head', 'stored', 30],
  ] as const) {
    it(`waits for an operator, and goes on from the ${head === 'log' ? 'end of the log' : 'stored head'} (${storeId})`, async () => {
      const { status, body } = await visit(server, storeId)
      assert.equal(status, 503)
      assert.match(body, /events up to 30 were acknowledged, and it ends at 25\. Nobody is served until/)
      const state = await elsewhere(server, storeId)
      assert.deepEqual([state.status, state.message, state.storedHead], ['log-elsewhere', body, 30])
      assert.deepEqual([state.inD1!['events'], state.inD1!['head']], [25, 25])
      const lines = (await linesOf(server, storeId)).filter(({ event }) => event === 'log-elsewhere')
      assert.deepEqual(
        lines.map(({ message }) => message),
        [body],
      )
      errorOf(await adopt(server, storeId), 409)
      errorOf(await adopt(server, storeId, { head: 'other' }), 400)
      errorOf(await adopt(server, 'another', { storeId }), 400)
      const dry = valueOf<Record<string, unknown>>(await adopt(server, storeId, { head, dryRun: true }))
      assert.deepEqual([dry['dryRun'], dry['events'], dry['goesOnFrom']], [true, 25, goesOnFrom])
      assert.equal((await visit(server, storeId)).status, 503)
      valueOf<State>(await adopt(server, storeId, { head }), 202)
      const { head: after } = await opened(server, storeId)
      assert.equal(after, goesOnFrom)
      assertEvents(await logOf(server, storeId), events.slice(0, 25))
      const peer = await Peer.connect(server, 'v03', storeId)
      assert.deepEqual((await peer.pushed(batchOf(goesOnFrom, 2))).answer, pushedFrame('v03', 1))
      errorOf(await adopt(server, storeId, { head }), 409)
    })
  }
})

describe('two stores of sync-cf 0.3.1 whose names share one table in D1', () => {
  const deployment = new Deployment('sync-cf-0.3')
  const events = batchOf(0, 12)
  let server: Server
  before(async () => {
    await deployment.before(async (old) => {
      for (let at = 0; at < 12; at += 4) await fill(old, 'v03', 'a-b', events.slice(at, at + 4), at + 4)
      // Acknowledged, and lost: there are rows of these numbers.
      const peer = await Peer.connect(old, 'v03', 'a_b')
      assert.deepEqual((await peer.pushed(batchOf(0, 2, 'second'))).answer, pushedFrame('v03', 1))
      const kept = "SELECT name FROM sqlite_master WHERE name = '_cf_KV'"
      await eventually('its head is kept', async () => (await old.sql('a_b', kept)).length === 1)
      peer.client.terminate()
    })
    server = await deployment.start()
  })
  after(async () => {
    await server.stop()
    deployment.remove()
  })

  it('are not mixed: what is not proven to be its own no store gets by itself', async () => {
    const before = await visit(server, 'a_b')
    assert.equal(before.status, 503)
    assert.match(before.body, /goes on behind its head, which is 2, with events of 3 pushes: another store/)
    await visit(server, 'a-b')
    assert.equal((await opened(server, 'a-b')).head, 12)
    assertEvents(await logOf(server, 'a-b', 'v03'), events)
    const state = await elsewhere(server, 'a_b')
    assert.match(state.message, /in a table that another store of a similar name has adopted/)
    assert.doesNotMatch(state.message, /a-b/, 'clients are told this')
    assert.equal(state.inD1!['adoptedBy'], 'a-b')
    errorOf(await adopt(server, 'a_b'), 409)
    const backendId = await reset(server, 'a_b')
    const peer = await Peer.connect(server, 'v04', 'a_b')
    assert.deepEqual((await peer.pushed(batchOf(0, 2), backendId)).answer, pushedFrame('v04', 1))
    assert.deepEqual([(await stateOf(server, 'a-b')).head, (await stateOf(server, 'a_b')).head], [12, 2])
  })

  it('leave new stores of such names alone', async () => {
    assert.equal((await visit(server, 'a.b')).status, 101)
    assert.deepEqual([(await stateOf(server, 'a.b')).status, (await stateOf(server, 'a.b')).head], ['open', 0])
  })
})

describe('a log in D1 of sync-cf 0.3.1 on a class of key-value storage, moved to a new class', () => {
  const deployment = new Deployment('sync-cf-0.3', false)
  const events = batchOf(0, 12)
  const storeIds = ['held', 'auto', 'new', 'reset'] as const
  const moved = { binding: { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' } }
  before(() =>
    deployment.before(async (old) => {
      for (const storeId of storeIds) await fill(old, 'v03', storeId, events)
    }),
  )
  after(() => deployment.remove())

  const withServer = (RESTORE_EMPTY: string, use: (server: Server) => Promise<void>): Promise<void> =>
    deployment.with({ ...moved, vars: { RESTORE_EMPTY } }, use)

  it('is out of reach as long as the class has no SQLite, and clients and the log are told so', () =>
    deployment.with({}, async (server) => {
      const { status, body } = await visit(server, 'held')
      assert.equal(status, 503)
      assert.match(body, /has no SQLite.*`new_sqlite_classes`/)
      const isMeant = (line: string): boolean => line.includes('open-failed') && line.includes('new_sqlite_classes')
      await eventually('it is logged', () => server.logs.some(isMeant))
    }))

  it('waits for an operator, who has it adopted or begins anew', () =>
    withServer('hold', async (server) => {
      for (const storeId of ['held', 'reset']) {
        const { status, body } = await visit(server, storeId)
        assert.equal(status, 503)
        assert.match(body, /a log of its name in D1 that sync-cf wrote/)
        assert.equal((await elsewhere(server, storeId)).status, 'log-elsewhere')
      }
      valueOf<State>(await adopt(server, 'held'), 202)
      assert.equal((await opened(server, 'held')).head, 12)
      assertEvents(await logOf(server, 'held', 'v03'), events)
      const backendId = await reset(server, 'reset')
      const { backendId: begun, head } = await stateOf(server, 'reset')
      assert.deepEqual([begun, head], [backendId, 0])
      errorOf(await adopt(server, freshStoreId()), 404)
    }))

  it('is adopted by itself where RESTORE_EMPTY is auto', () =>
    withServer('auto', async (server) => {
      await visit(server, 'auto')
      assert.equal((await opened(server, 'auto')).head, 12)
      assertEvents(await logOf(server, 'auto', 'v04'), events)
    }))

  it('is left where it is where RESTORE_EMPTY is new', () =>
    withServer('new', async (server) => {
      assert.equal((await visit(server, 'new')).status, 101)
      assert.equal((await stateOf(server, 'new')).head, 0)
    }))
})

describe('the guide to migrating from sync-cf', () => {
  const guide = readFileSync(join(root, 'docs/migrating-from-sync-cf.md'), 'utf8')

  it('has a command that runs as it stands, and answers as it says', async () => {
    const commands = [...guide.matchAll(/^```sh\n(curl [^`]+?)\n```$/gm)].map(([, text]) => text!)
    assert.equal(commands.length, 1)
    const documented = JSON.parse(/^```json\n([^`]+?)\n```$/m.exec(guide)![1]!) as object
    const deployment = new Deployment('sync-cf-0.3')
    try {
      await deployment.before(async (old) => {
        await fill(old, 'v03', 'my-store', batchOf(0, 30))
        await query(old, 'DELETE FROM "eventlog_7_my_store" WHERE seqNum > 25')
      })
      await deployment.with({}, async ({ url }) => {
        const [STORE_ID, STORE] = ['my-store', 'my-store']
        const env = { PATH: process.env['PATH'], SYNC_URL: url, ADMIN_SECRET: adminSecret, STORE_ID, STORE }
        const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands[0]!], { env })
        assert.deepEqual(JSON.parse(stdout), documented)
      })
    } finally {
      deployment.remove()
    }
  })

  it('quotes the sentences that a store is refused with', async () => {
    const decisions = readFileSync(join(root, 'src/backend/adoption.rs'), 'utf8').replaceAll(/\\\n\s+/g, '')
    const quoted = [...guide.matchAll(/^\| `([^`]+)` \|/gm)]
      .map(([, text]) => text!)
      .filter((text) => text.includes('…'))
    assert.equal(quoted.length, 5)
    for (const sentence of quoted) {
      const parts = sentence.split('…').map((part) => part.trim())
      const pattern = parts
        .filter((part) => part !== '')
        .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/\b\d+\b/g, '(?:\\{\\w*\\}|\\d+)'))
      for (const part of pattern) assert.match(decisions, new RegExp(part), sentence)
    }
  })
})
