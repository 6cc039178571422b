/** A store moves between sync-cf and this backend, there and back, by a deploy alone; what is stored shows why. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { serialize } from 'node:v8'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken, type Backend, type Server, startServer } from '../harness/server.ts'
import { adminSecret, administer, reset, storePath, valueOf } from './administration.ts'
import { lineOf } from './answers.ts'
import { logTableOf, rowsOf, tablesIn, tablesOf, withDatabase } from './database.ts'
import { knock } from './knock.ts'
import { linesOf } from './log-lines.ts'
import { assertEvents, eventsIn, generations, logOf, type Page, Peer, pushedFrame } from './peer.ts'

/** A storage folder, on which one server after the other runs. */
class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'migration-'))

  async with(backend: Backend, use: (server: Server) => Promise<void>): Promise<void> {
    const server = await startServer({ backend, storage: this.path, vars: { LOG_LEVEL: 'debug' } })
    try {
      await use(server)
    } finally {
      await server.stop()
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** What a client without a past gets. */
const pull = async (server: Server, storeId: string): Promise<readonly Page[]> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  try {
    return await peer.pages()
  } finally {
    peer.client.terminate()
  }
}

const eventsOf = (pages: readonly Page[]): readonly Event[] => pages.flatMap((page) => page.events)
const timesOf = (pages: readonly Page[]): readonly string[] => pages.flatMap((page) => page.createdAt)

const logDdl = (table: string): string =>
  `CREATE TABLE "${table}" ("seqNum" integer primary key   , "parentSeqNum" integer   not null , ` +
  '"name" text   not null , "args" text    , "createdAt" text   not null , "clientId" text   not null , ' +
  '"sessionId" text   not null ) strict'
const contextDdl =
  'CREATE TABLE "context_7" ("storeId" text primary key   , "currentHead" integer   not null , ' +
  '"backendId" text   not null ) strict'

describe('a store of sync-cf 0.4.0', () => {
  const folder = new Folder()
  const storeId = 'team/notes-é.1'
  const table = 'eventlog_7_team_notes___1'
  const { args: _, ...withoutArgs } = batchOf(251)[0]!
  const theirs: readonly Event[] = [...batchOf(0, 250, 'theirs'), { ...batchOf(250)[0]!, args: null }]
  const bare: Event = { ...withoutArgs, args: null }
  const ours = batchOf(252, 120, 'ours')
  const theirsAgain = batchOf(372, 2, 'theirs-again')
  let stored: readonly Page[]
  let theirTables: Readonly<Record<string, string>>
  after(() => folder.remove())

  before(() =>
    folder.with('sync-cf', async (server) => {
      const peer = await Peer.connect(server, 'v04', storeId)
      for (const batch of [theirs.slice(0, 200), theirs.slice(200), [withoutArgs]]) {
        const { answer } = await peer.pushed(batch)
        assert.deepEqual(answer, pushedFrame('v04', peer.request - 1))
      }
      stored = await pull(server, storeId)
      assertEvents(eventsOf(stored), [...theirs, bare])
    }),
  )

  it('goes on here with its log, its times and its backend id, for clients of every generation', async () => {
    theirTables = withDatabase(folder.path, storeId, tablesOf)
    await folder.with('livestore-sync-worker', async (server) => {
      const pages = await pull(server, storeId)
      assertEvents(eventsOf(pages), eventsOf(stored))
      assert.deepEqual(timesOf(pages), timesOf(stored))
      const { backendId } = stored[0]!
      for (const page of pages) assert.equal(page.backendId, backendId)
      for (const generation of generations) assertEvents(await logOf(server, storeId, generation), eventsOf(stored))

      const live = await Peer.connect(server, 'v05', storeId)
      live.pull({ live: true, after: 252, backendId: backendId! })
      assert.deepEqual(eventsIn(await live.settled()), [])
      for (const [index, generation] of generations.entries()) {
        const pusher = await Peer.connect(server, generation, storeId)
        const batch = ours.slice(40 * index, 40 * (index + 1))
        assert.deepEqual((await pusher.pushed(batch, backendId)).answer, pushedFrame(generation, 1))
        assertEvents(eventsIn(await live.settled()), batch)
      }
      const lines = await linesOf(server, storeId)
      assert.deepEqual(
        lines.filter((line) => line.level === 'warn' || line.level === 'error'),
        [],
      )
      stored = await pull(server, storeId)
    })
    assert.deepEqual(withDatabase(folder.path, storeId, tablesOf), theirTables, 'no table was changed or added')
  })

  it('goes back to sync-cf with everything that was pushed here, and grows there', () =>
    folder.with('sync-cf', async (server) => {
      const pages = await pull(server, storeId)
      assertEvents(eventsOf(pages), [...theirs, bare, ...ours])
      assert.deepEqual(timesOf(pages), timesOf(stored))
      const { backendId } = stored[0]!
      for (const page of pages) assert.equal(page.backendId, backendId)
      const peer = await Peer.connect(server, 'v04', storeId)
      const { answer } = await peer.pushed(batchOf(371), backendId)
      assert.equal(lineOf('v04', JSON.stringify(answer)), 'ServerAheadError "1": minimum 372, provided 371')
      assert.deepEqual((await peer.pushed(theirsAgain, backendId)).answer, pushedFrame('v04', 2))
    }))

  it('comes here once more', () =>
    folder.with('livestore-sync-worker', async (server) => {
      const pages = await pull(server, storeId)
      assertEvents(eventsOf(pages), [...theirs, bare, ...ours, ...theirsAgain])
      for (const page of pages) assert.equal(page.backendId, stored[0]!.backendId)
      const peer = await Peer.connect(server, 'v03', storeId)
      assert.deepEqual((await peer.pushed(batchOf(374))).answer, pushedFrame('v03', 1))
    }))

  it('is stored in the very tables that sync-cf makes', () => {
    assert.deepEqual(theirTables, { [table]: logDdl(table), context_7: contextDdl })
  })
})

describe('a store that began here', () => {
  const folder = new Folder()
  const storeId = freshStoreId()
  const table = logTableOf(storeId)
  const first: readonly Event[] = batchOf(0, 3).map((event, index) => ({
    ...event,
    args: [{ b: 1, a: [null, 'é'] }, 'text', 1.5][index],
    clientId: `client-${index}`,
    sessionId: `session-${index}`,
  }))
  const { args: _, ...bare } = batchOf(3)[0]!
  after(() => folder.remove())
  before(() =>
    folder.with('livestore-sync-worker', async (server) => {
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(first)
      await peer.pushed([bare, { ...batchOf(4)[0], args: null }])
    }),
  )

  it('has the tables of sync-cf and no others', () => {
    assert.deepEqual(withDatabase(folder.path, storeId, tablesOf), { [table]: logDdl(table), context_7: contextDdl })
  })

  it('has a row for each event, with args as they were sent and one time for each push', () => {
    const rows = withDatabase(folder.path, storeId, (database) => rowsOf(database, `SELECT * FROM "${table}"`))
    const { name } = first[0]!
    const at = rows.map((row) => String(row['createdAt']))
    for (const time of at) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual(at, [at[0], at[0], at[0], at[3], at[3]])
    const row = (seqNum: number, args: string | null, client: string, session: string): object => ({
      seqNum,
      parentSeqNum: seqNum - 1,
      name,
      args,
      createdAt: at[seqNum - 1],
      clientId: client,
      sessionId: session,
    })
    assert.deepEqual(rows, [
      row(1, '{"b":1,"a":[null,"é"]}', 'client-0', 'session-0'),
      row(2, '"text"', 'client-1', 'session-1'),
      row(3, '1.5', 'client-2', 'session-2'),
      row(4, null, 'client', 'static'),
      row(5, 'null', 'client', 'static'),
    ])
  })

  it('has one context row, with the head and a backend id of 21 letters', () => {
    const rows = withDatabase(folder.path, storeId, (database) => rowsOf(database, 'SELECT * FROM context_7'))
    const backendId = String(rows[0]?.['backendId'])
    assert.match(backendId, /^[\w-]{21}$/)
    assert.deepEqual(rows, [{ storeId, currentHead: 5, backendId }])
  })

  it('has a backend id that is alike to no other in more places than chance has it', () =>
    folder.with('livestore-sync-worker', async (server) => {
      const idOf = async (): Promise<string> => {
        const peer = await Peer.connect(server, 'v04', freshStoreId())
        return (await peer.pages())[0]!.backendId!
      }
      const [one, other] = [await idOf(), await idOf()]
      const alike = [...one].filter((letter, at) => letter === other[at])
      assert.ok(alike.length < 8, `${one} and ${other}`)
    }))

  it('goes on at sync-cf', () =>
    folder.with('sync-cf', async (server) => {
      const peer = await Peer.connect(server, 'v04', storeId)
      assert.deepEqual((await peer.pushed(batchOf(5))).answer, pushedFrame('v04', 1))
      const expected = [...first, { ...bare, args: null }, { ...batchOf(4)[0]!, args: null }, ...batchOf(5)]
      assertEvents(await logOf(server, storeId), expected)
    }))
})

describe('a store whose rows are not as this backend leaves them', () => {
  const folder = new Folder()
  const events = batchOf(0, 5)
  const backendId = 'abcdefghijklmnopqrstu'
  let server: Server

  /** What is done to a store while it is at rest. */
  const edits = {
    behind: 'UPDATE context_7 SET currentHead = 3',
    ahead: 'UPDATE context_7 SET currentHead = 9',
    'without-context': 'DELETE FROM context_7',
    'with-other-rows': "INSERT INTO context_7 VALUES ('mistyped', 77, 'other')",
    'with-gaps': 'DELETE FROM "<log>" WHERE seqNum IN (2, 3); UPDATE "<log>" SET parentSeqNum = 0 WHERE seqNum = 4',
    'with-absent-args': 'UPDATE "<log>" SET args = NULL WHERE seqNum = 2',
    'with-large-rows': `UPDATE "<log>" SET args = '"' || printf('%.*c', 1000000, 'x') || '"' WHERE seqNum IN (2, 3)`,
  } as const
  type Name = keyof typeof edits
  const contextOf = (name: Name) =>
    withDatabase(folder.path, name, (database) =>
      rowsOf(database, `SELECT currentHead, backendId FROM context_7 WHERE storeId = '${name}'`),
    )

  before(async () => {
    await folder.with('livestore-sync-worker', async (first) => {
      for (const name of Object.keys(edits)) {
        const peer = await Peer.connect(first, 'v04', name)
        assert.deepEqual((await peer.pushed(events)).answer, pushedFrame('v04', 1))
      }
    })
    for (const [name, edit] of Object.entries(edits) as ReadonlyArray<[Name, string]>) {
      withDatabase(folder.path, name, (database) => {
        database.exec(`UPDATE context_7 SET backendId = '${backendId}'`)
        database.exec(edit.replaceAll('<log>', logTableOf(name)))
      })
    }
    server = await startServer({ storage: folder.path, vars: { LOG_LEVEL: 'debug' } })
  })
  after(async () => {
    await server.stop()
    try {
      // The repairs are stored, and every head is in step with its log: what sync-cf would go by.
      assert.deepEqual(contextOf('behind'), [{ currentHead: 6, backendId }])
      assert.deepEqual(contextOf('ahead'), [{ currentHead: 10, backendId }])
      assert.equal(contextOf('without-context')[0]?.['currentHead'], 6)
      assert.notEqual(contextOf('without-context')[0]?.['backendId'], backendId)
      for (const name of ['with-other-rows', 'with-gaps', 'with-absent-args', 'with-large-rows'] as const) {
        assert.deepEqual(contextOf(name), [{ currentHead: 6, backendId }])
      }
    } finally {
      folder.remove()
    }
  })

  /** Asserts that a store serves `log`, has its backend id, and takes the event after `head` and no other. */
  const assertServes = async (name: Name, log: readonly Event[], head = 5, id: string = backendId): Promise<void> => {
    const pages = await pull(server, name)
    assertEvents(eventsOf(pages), log)
    for (const page of pages) assert.equal(page.backendId, id)
    const peer = await Peer.connect(server, 'v05', name)
    const { answer } = await peer.pushed(batchOf(head + 1), id)
    const line = `ServerAheadError 1: minimum ${head}, provided ${head + 1}`
    assert.equal(lineOf('v05', JSON.stringify(answer)), line)
    assert.deepEqual((await peer.pushed(batchOf(head), id)).answer, pushedFrame('v05', 2))
    assertEvents(await logOf(server, name), [...log, ...batchOf(head)])
  }

  /** The events of the lines that an operator should see. */
  const warningsOf = async (name: Name): Promise<readonly string[]> =>
    (await linesOf(server, name))
      .filter((line) => line.level === 'warn' || line.level === 'error')
      .map((line) => `${line.level} ${line.event}`)

  it('goes by the log where the stored head is behind, repairs it and says so', async () => {
    await assertServes('behind', events)
    assert.deepEqual(await warningsOf('behind'), ['warn head-repaired'])
  })

  it('gives no number twice where the stored head is ahead of the log, and reports the loss', async () => {
    await assertServes('ahead', events, 9)
    assert.deepEqual(await warningsOf('ahead'), ['error events-missing'])
  })

  it('goes on with its log under a new backend id where the context row is lost', async () => {
    const [page] = await pull(server, 'without-context')
    assert.match(page!.backendId!, /^[\w-]{21}$/)
    assert.notEqual(page!.backendId, backendId)
    await assertServes('without-context', events, 5, page!.backendId)
  })

  it('goes by the context row of its own name', () => assertServes('with-other-rows', events))

  it('serves a log with gaps as it is', () =>
    assertServes('with-gaps', [events[0]!, { ...events[3]!, parentSeqNum: 0 }, events[4]!]))

  it('serves absent args as null', () =>
    assertServes('with-absent-args', [events[0]!, { ...events[1]!, args: null }, ...events.slice(2)]))

  it('serves events that are larger than a page, each alone', async () => {
    const args = 'x'.repeat(1_000_000)
    const log = [events[0]!, { ...events[1]!, args }, { ...events[2]!, args }, ...events.slice(3)]
    const pages = await pull(server, 'with-large-rows')
    assert.deepEqual(
      pages.map((page) => page.events.length),
      [1, 1, 1, 2],
    )
    await assertServes('with-large-rows', log)
  })
})

describe('a store whose log is not in its object', () => {
  const folder = new Folder()
  let server: Server

  /** What other deployments leave in an object, by the store. */
  const edits = {
    // sync-cf 0.4 with its log in D1: the context alone.
    'context-alone': 'DROP TABLE "<log>"',
    emptied: 'DELETE FROM "<log>"',
    // sync-cf 0.3, with its log in D1: a number beside SQLite.
    'number-alone': `DROP TABLE "<log>"; DROP TABLE context_7;
      CREATE TABLE IF NOT EXISTS _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
      INSERT INTO _cf_KV VALUES ('currentHead', x'${serialize(5).toString('hex')}')`,
  } as const
  const names = Object.keys(edits) as ReadonlyArray<keyof typeof edits>

  before(async () => {
    await folder.with('livestore-sync-worker', async (first) => {
      for (const name of names) {
        const peer = await Peer.connect(first, 'v04', name)
        assert.deepEqual((await peer.pushed(batchOf(0, 5))).answer, pushedFrame('v04', 1))
      }
    })
    for (const name of names) {
      withDatabase(folder.path, name, (database) => database.exec(edits[name].replaceAll('<log>', logTableOf(name))))
    }
    server = await startServer({
      storage: folder.path,
      vars: { LOG_LEVEL: 'debug', ADMIN_SECRET: adminSecret },
      inspect: true,
    })
  })
  after(async () => {
    await server.stop()
    folder.remove()
  })

  for (const name of names) {
    it(`serves nobody, says why, and changes nothing (${name})`, async () => {
      const before = await tablesIn(server, name)
      const why = /^The log of this store is not in its object: 5 events were acknowledged/
      for (const storeWay of [
        { target: targetOf({ storeId: name, payload: { authToken }, transport: 'ws' }), upgrade: 'websocket' },
        {
          target: targetOf({ storeId: name, payload: { authToken }, transport: 'http' }),
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '[]',
        },
      ]) {
        const answer = await knock(server, storeWay)
        assert.equal(answer.status, 503)
        assert.match(answer.body, why)
      }
      const state = valueOf<Record<string, unknown>>(await administer(server, storePath(name)))
      assert.deepEqual([state['status'], state['storedHead']], ['log-elsewhere', 5])
      assert.match(String(state['message']), why)
      const lines = (await linesOf(server, name)).filter(({ level }) => level === 'error')
      assert.deepEqual(new Set(lines.map(({ event }) => event)), new Set(['log-elsewhere']))
      assert.deepEqual(await tablesIn(server, name), before)
    })

    it(`begins another lifetime once an operator resets it (${name})`, async () => {
      const wrong = await administer(server, storePath(name, '/reset'), {
        method: 'POST',
        body: '{"storeId":"another"}',
      })
      assert.equal(wrong.status, 400)
      const backendId = await reset(server, name)
      const [page] = await pull(server, name)
      assert.deepEqual([page!.backendId, eventsOf([page!])], [backendId, []])
      const peer = await Peer.connect(server, 'v05', name)
      assert.deepEqual((await peer.pushed(batchOf(0), backendId)).answer, pushedFrame('v05', 1))
      await server.evict(name)
      assertEvents(await logOf(server, name), batchOf(0))
    })
  }
})
