/**
 * Rows that somebody else changes while the object is in memory: here an app's own class around ours, by its own SQL.
 *
 * It is noticed at the next push or pull at the latest; no number that a client knows is given to another event, and
 * clients end where the log says.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Event } from '../clients/client.ts'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import type { Server } from '../harness/server.ts'
import { administer, adminSecret, errorOf, exportOf, reset, stateOf, storePath, valueOf } from './administration.ts'
import { lineOf } from './answers.ts'
import { logTableOf } from './database.ts'
import { knock } from './knock.ts'
import { type Line, linesOf } from './log-lines.ts'
import { framesIn, post } from './over-http.ts'
import { assertEvents, eventsIn, fill, generations, logOf, pagesIn, Peer, pullFrame, pushedFrame } from './peer.ts'
import { SlowAnswer } from './slow-answer.ts'
import { assertLater, pushBy, type Way, ways } from './ways.ts'

/** Changes a Worker's source, so that its class is one around ours, which runs statements of its own. */
const withOwnRows = (source: string): string => {
  const exported = /export\s*\{([\w$]+) as SyncBackendDO,(.*?),([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a class and a handler')
  return source.replace(
    exported,
    (_, object: string, others: string, handler: string) => `
      class Owning extends ${object} {
        async fetch(request) {
          if (new URL(request.url).host !== 'own') return super.fetch(request)
          const statement = await request.text()
          if (statement === 'deleteAll') await this.ctx.storage.deleteAll()
          else this.ctx.storage.sql.exec(statement)
          return new Response()
        }
      }
      const door = {
        fetch(request, env) {
          const store = new URL(request.url).searchParams.get('own')
          if (store === null) return ${handler}.fetch(request, env)
          const objects = env.SYNC_BACKEND_DO
          return objects.get(objects.idFromName(store)).fetch(new Request('http://own/', request))
        },
      }
      export { Owning as SyncBackendDO, ${others}, door as default }`,
  )
}

/** The app does what it does to its store: a statement, or \`deleteAll\`. */
const own = async (server: Server, storeId: string, statement: string): Promise<void> => {
  const answer = await knock(server, { method: 'POST', target: `/?own=${storeId}`, body: statement })
  assert.equal(answer.status, 200, answer.body)
}

const server = serverOf({ edit: withOwnRows, vars: { LOG_LEVEL: 'debug', ADMIN_SECRET: adminSecret } })

interface Store {
  readonly storeId: string
  readonly backendId: string
  /** One of each generation, which pulls live. */
  readonly listeners: readonly Peer[]
}

/** A store of five events, with listeners that have them. */
const open = async (): Promise<Store> => {
  const storeId = freshStoreId()
  const pusher = await Peer.connect(server(), 'v04', storeId)
  await pusher.pushed(batchOf(0, 5))
  const listeners: Peer[] = []
  for (const generation of generations) {
    const listener = await Peer.connect(server(), generation, storeId)
    listener.pull({ live: true })
    assertEvents(eventsIn(await listener.drained()), batchOf(0, 5))
    listeners.push(listener)
  }
  const { backendId } = await stateOf(server(), storeId)
  return { storeId, backendId, listeners }
}

const change = (storeId: string, statement: string): Promise<void> =>
  own(server(), storeId, statement.replaceAll('LOG', `"${logTableOf(storeId)}"`))

const row = (number: number): string =>
  `(${number}, ${number - 1}, 'v1.Noted', '{"text":"own ${number}"}', '2026-11-26T00:00:00.000Z', 'own', 'static')`

const addRows = (...numbers: readonly number[]): string => `INSERT INTO LOG VALUES ${numbers.map(row).join()}`

const ownEvent = (number: number): Event => batchOf(number - 1, 1, 'own')[0]!

const noticed = async (storeId: string): Promise<readonly string[]> => {
  const lines = (await linesOf(server(), storeId)).filter(
    (line: Line) => line.event === 'rows-changed' && line.level === 'error',
  )
  return lines.map(({ message }) => {
    const [, found] = /^somebody else has changed the rows of this store, whose log ended at 5: (.+)$/.exec(message!)!
    return found!
  })
}

const reason = 'storage failed: try again later'
const words = 'the backend could not store the events; nothing was stored'

describe('rows that an app adds', () => {
  for (const way of ways) {
    it(`are noticed by a push of ${way.generation} over ${way.transport}, and reach who pulls live before it`, async () => {
      const { storeId, listeners } = await open()
      await change(storeId, addRows(6, 7))
      assertLater(way, await pushBy(server(), way, storeId, batchOf(5)), { words, reason })
      const again: Way = { generation: 'v05', transport: 'http' }
      assert.match(await pushBy(server(), again, storeId, batchOf(5)), /^ServerAheadError: minimum 7, provided 5$/)
      assert.match(await pushBy(server(), again, storeId, batchOf(7)), /^Success/)
      const log = [...batchOf(0, 5), ownEvent(6), ownEvent(7), ...batchOf(7)]
      for (const listener of listeners) {
        const received: Event[] = []
        await eventually('it has everything', async () => {
          received.push(...eventsIn(await listener.drained()))
          return received.length >= 3
        })
        assertEvents(received, log.slice(5))
      }
      assertEvents(await logOf(server(), storeId), log)
      assert.deepEqual(await noticed(storeId), ['it ends at 7'])
    })
  }
})

describe('rows that an app removes', () => {
  for (const andHead of [false, true]) {
    it(`leave their numbers to nobody else${andHead ? ', even if the head goes back with them' : ''}`, async () => {
      const { storeId, listeners } = await open()
      await change(storeId, 'DELETE FROM LOG WHERE seqNum > 3')
      if (andHead) await change(storeId, 'UPDATE context_7 SET currentHead = 3')
      const way: Way = { generation: 'v04', transport: 'ws' }
      const behind = await pushBy(server(), way, storeId, batchOf(3, 1, 'late'))
      assert.equal(behind, 'ServerAheadError: minimum 5, provided 3')
      assertLater(way, await pushBy(server(), way, storeId, batchOf(5)), { words, reason })
      assert.match(await pushBy(server(), way, storeId, batchOf(5)), /^Success/)
      for (const listener of listeners) assertEvents(eventsIn(await listener.settled()), batchOf(5))
      const log = [...batchOf(0, 3), ...batchOf(5)]
      assertEvents(await logOf(server(), storeId), log)
      const found = 'it ends at 3, acknowledged events are missing, and it goes on from 5'
      assert.deepEqual(await noticed(storeId), [found])
      await server().evict(storeId)
      assertEvents(await logOf(server(), storeId), log)
      assert.equal((await stateOf(server(), storeId)).head, 6)
    })
  }

  it('are noticed by who asks for the state, and for an export', async () => {
    const { storeId, listeners } = await open()
    await change(storeId, addRows(6))
    const { head, events, lastPush } = await stateOf(server(), storeId)
    assert.deepEqual([head, events, lastPush!.seqNum], [6, 6, 6])
    await change(storeId, 'DELETE FROM LOG WHERE seqNum = 6')
    assert.equal((await exportOf(server(), storeId)).length, 5)
    for (const { generation, client } of listeners) {
      // That of 0.3 would get it by the alarm.
      if (generation !== 'v03') assertEvents(eventsIn([await client.next()]), [ownEvent(6)])
    }
    assert.equal((await stateOf(server(), storeId)).head, 6)
  })

  it('cut off an export that is under way, so that half a log is not taken for one', async () => {
    const storeId = freshStoreId()
    const events = await fill(server(), storeId, 18_000, 1_000)
    const headers = { authorization: `Bearer ${adminSecret}` }
    const answer = await SlowAnswer.begun(server(), { target: storePath(storeId, '/events'), headers })
    await change(storeId, 'DELETE FROM LOG WHERE seqNum > 17990')
    const { text, isCut } = await answer.rest()
    assert.equal(isCut, true, `${text.length} bytes came`)
    assert.equal((await exportOf(server(), storeId)).length, 17_990)
    assertEvents(await logOf(server(), storeId), events.slice(0, 17_990))
  })
})

/** Where clients and operators knock, and what they are told. */
const assertNobodyIsServed = async (storeId: string): Promise<void> => {
  const words = /^The log of this store is not in its object: 5 events were acknowledged/
  const socket = await knock(server(), { target: targetOf({ storeId }), upgrade: 'websocket' })
  const request = await post(server(), storeId, pullFrame('v05', 1, storeId))
  for (const { status, body } of [socket, request]) {
    assert.equal(status, 503)
    assert.match(body, words)
  }
  for (const rest of ['/events', '/metrics']) {
    assert.match(errorOf(await administer(server(), storePath(storeId, rest)), 503), words)
  }
  const state = valueOf<Record<string, unknown>>(await administer(server(), storePath(storeId)))
  assert.deepEqual([state['status'], state['storedHead']], ['log-elsewhere', 5])
  assert.match(String(state['message']), words)
}

describe('a log that an app removes', () => {
  for (const statement of ['DROP TABLE LOG', 'DELETE FROM LOG', 'ALTER TABLE LOG RENAME TO away']) {
    it(`by ${statement} is not gone on from, and nobody is served until it is back or reset`, async () => {
      const { storeId, backendId, listeners } = await open()
      const [plain] = listeners
      await change(storeId, statement)
      // One reads, another appends.
      if (statement.startsWith('DROP')) {
        const pusher = await Peer.connect(server(), 'v05', storeId)
        pusher.push(batchOf(5))
        assert.deepEqual(await pusher.client.closed, { code: 1013, reason })
      } else {
        const puller = await Peer.connect(server(), 'v04', storeId)
        puller.pull({ live: true })
        assert.deepEqual(await puller.client.closed, { code: 1013, reason })
        assert.deepEqual(puller.client.frames, [])
      }
      for (const listener of listeners) {
        const { code } = await listener.client.closed
        assert.equal(code, 1012, listener.generation)
      }
      // 0.3 would go on with its next socket, and miss what comes in between.
      assert.equal(
        lineOf('v03', await plain!.client.next()),
        'Error "request-1": the rows of this store were changed: try again later',
      )
      await assertNobodyIsServed(storeId)
      const [found] = await noticed(storeId)
      assert.match(found!, /^The log of this store is not in its object: 5 events were acknowledged/)
      const events = (await linesOf(server(), storeId)).map(({ event }) => event)
      assert.ok(events.includes('log-elsewhere'))

      if (statement.startsWith('ALTER')) {
        await change(storeId, 'ALTER TABLE away RENAME TO LOG')
        const again = await Peer.connect(server(), 'v04', storeId)
        again.pull({ live: true, after: 5, backendId })
        assert.deepEqual((await again.pushed(batchOf(5), backendId)).answer, pushedFrame('v04', 2))
        assertEvents(await logOf(server(), storeId), batchOf(0, 6))
      } else {
        const next = await reset(server(), storeId)
        assert.match(await pushBy(server(), { generation: 'v05', transport: 'http' }, storeId, batchOf(0)), /^Success/)
        assert.deepEqual(
          [(await stateOf(server(), storeId)).backendId, (await logOf(server(), storeId)).length],
          [next, 1],
        )
      }
    })
  }
})

describe('deleteAll of an app', () => {
  const assertStartsOver = async ({ storeId, backendId, listeners }: Store): Promise<string> => {
    const next = (await stateOf(server(), storeId)).backendId
    assert.notEqual(next, backendId)
    for (const { client, generation } of listeners) {
      const line = lineOf(generation, await client.next())
      if (generation === 'v03') {
        assert.match(line, /^Error "request-1": the store was emptied since this client pulled from it/)
      } else {
        assert.match(line, new RegExp(`^BackendIdMismatchError .*: received ${backendId}$`))
        assert.equal((await client.closed).code, 1012)
      }
    }
    return next
  }

  it('is noticed by a push, and clients start over, none with events of both logs', async () => {
    const store = await open()
    const { storeId, backendId, listeners } = store
    const pusher = await Peer.connect(server(), 'v05', storeId)
    await change(storeId, 'deleteAll')
    pusher.push(batchOf(5), backendId)
    assert.deepEqual(await pusher.client.closed, { code: 1013, reason })
    const next = await assertStartsOver(store)
    assert.deepEqual(await noticed(storeId), [`it ends at 0 in another lifetime, ${next}, and clients start over`])
    // What the client knows is refused in the words that have it start over.
    const again = await Peer.connect(server(), 'v04', storeId)
    const { answer } = await again.pushed(batchOf(5), backendId)
    assert.match(lineOf('v04', JSON.stringify(answer)), /^BackendIdMismatchError/)
    assert.deepEqual((await again.pushed(batchOf(0, 1, 'new'), next)).answer, pushedFrame('v04', 2))
    assert.deepEqual(await listeners[0]!.settled(), [], '0.3 gets nothing of the next lifetime')
    await server().evict(storeId)
    assertEvents(await logOf(server(), storeId), batchOf(0, 1, 'new'))
    assert.equal((await stateOf(server(), storeId)).backendId, next)
  })

  it('is noticed by a pull, which is not answered by a page of another lifetime', async () => {
    const store = await open()
    const { storeId, backendId } = store
    await change(storeId, 'deleteAll')
    const pull = pullFrame('v04', 1, storeId, { after: 2, backendId })
    const frames = framesIn(await post(server(), storeId, pull))
    assert.deepEqual(eventsIn(frames), [])
    assert.deepEqual(
      pagesIn(frames).map((page) => page.backendId),
      [backendId],
    )
    await assertStartsOver(store)
    const [mismatch] = framesIn(await post(server(), storeId, pull))
    assert.match(lineOf('v04', mismatch!), /^BackendIdMismatchError/)
  })

  it('takes the alarm with it, which is set again by who needs it next', async () => {
    await withServer({ edit: withOwnRows, vars: copying }, async (server) => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server, 'v04', storeId)
      await peer.pushed(batchOf(0, 2))
      // The copy is due in a second.
      await own(server, storeId, 'deleteAll')
      peer.push(batchOf(2))
      await peer.client.closed
      const again = await Peer.connect(server, 'v04', storeId)
      await again.pushed(batchOf(0, 3, 'new'))
      await eventually('it is copied', async () => {
        const { head, backup } = await stateOf(server, storeId)
        return head === 3 && backup!.head === 3
      })
    })
  })
})

const copying = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }
