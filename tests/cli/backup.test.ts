/** The commands about the backup, with the real D1 of the local runtime: `backup`, `verify`, `restore` and `adopt`. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret, exportOf, stateOf, storePath } from '../workerd/administration.ts'
import { assertWhole, query } from '../workerd/mirror.ts'
import { fill, Peer } from '../workerd/peer.ts'
import { Cli, linesIn, shown } from './run.ts'

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1', COMPACT_AFTER_DAYS: 'off' }

/** A server that answers each request in turn from a list. */
const withAnswers = async (
  answers: ReadonlyArray<readonly [status: number, body: unknown]>,
  scenario: (cli: Cli, asked: readonly string[]) => Promise<void>,
): Promise<void> => {
  const asked: string[] = []
  const scripted = createServer((request, response) => {
    const [status, body] = answers[Math.min(asked.length, answers.length - 1)]!
    asked.push(`${request.method} ${request.url}`)
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
  }).listen(0, '127.0.0.1')
  await once(scripted, 'listening')
  try {
    await scenario(new Cli({ url: `http://127.0.0.1:${(scripted.address() as AddressInfo).port}` }), asked)
  } finally {
    scripted.close()
    scripted.closeAllConnections()
  }
}

describe('with a backup', () => {
  const server = serverOf({ vars: { ...vars, ADOPT_D1: 'DB' } })
  const cli = () => new Cli(server())

  /** A store with so many events, all of which are in the backup. */
  const copied = async (events: number): Promise<string> => {
    const storeId = freshStoreId()
    await fill(server(), storeId, events)
    await assertWhole(server(), storeId)
    return storeId
  }

  const own = 'WHERE store_id = ? AND seq_num'

  describe('backup', () => {
    it('waits until it holds what was there', async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3)
      const { backendId } = await stateOf(server(), storeId)
      const { backup, ...told } = await cli().json<{ backup: { head: number; lagEvents: number } }>('backup', storeId)
      assert.deepEqual(told, { storeId, backendId, head: 3 })
      assert.deepEqual([backup.head, backup.lagEvents], [3, 0])
      await assertWhole(server(), storeId)
      assert.equal(
        await cli().text('backup', storeId),
        `The backup of ${storeId} holds all that was there, up to event 3.\n`,
      )
    })

    it('does not wait for what comes meanwhile', async () => {
      const state = (head: number, copied: number) => ({
        storeId: 'a',
        status: 'open',
        backendId: 'b',
        head,
        backup: { head: copied, lagEvents: head - copied, lagSeconds: 1, failures: 0, lastError: null },
      })
      await withAnswers(
        [
          [200, state(3, 0)],
          [200, state(4, 2)],
          [503, {}],
          [200, state(9, 5)],
        ],
        async (scripted) => {
          assert.match(await scripted.text('backup', 'a'), /up to event 3; it lacks 4 events that came since\.\n$/)
        },
      )
    })

    it('says what D1 says, and goes on waiting', async () => {
      const lastError = { at: '2026-01-01T00:00:00.000Z', reason: 'full', message: 'the database is full' }
      const state = (copied: number, failures: number) => ({
        storeId: 'a',
        status: 'open',
        backendId: 'b',
        head: 3,
        backup: { head: copied, lagEvents: 3 - copied, lagSeconds: 1, failures, lastError },
      })
      await withAnswers(
        [
          [200, state(0, 1)],
          [200, state(0, 1)],
          [200, state(0, 2)],
          [200, state(3, 0)],
        ],
        async (scripted) => {
          const { status, stderr } = await scripted.run(['backup', 'a'])
          assert.deepEqual([status, stderr], [0, 'The server says: the database is full. It tries again by itself.\n'])
        },
      )
    })
  })

  describe('verify', () => {
    it('says that both are the same, and exits with 0', async () => {
      const storeId = await copied(3)
      const same = { result: 'same', events: 3, head: 3, lag: 0, differences: 0 }
      assert.deepEqual(await cli().json('verify', storeId), same)
      const words = `${storeId}: 3 events compared, up to event 3. The backup is the same as the log.\n`
      assert.equal(await cli().text('verify', storeId), words)
    })

    it('tells each difference and exits with 3, until they are repaired', async () => {
      const storeId = await copied(5)
      await query(server(), `DELETE FROM livestore_sync_events ${own} IN (2, 3)`, storeId)
      await query(server(), `UPDATE livestore_sync_events SET args = 'null' ${own} = 5`, storeId)
      const { status, stdout } = await cli().run(['verify', storeId, '--json'])
      assert.equal(status, 3)
      assert.deepEqual(linesIn(stdout), [
        { difference: 'missing', from: 2, to: 3 },
        { difference: 'columns', from: 5, to: 5, columns: ['args'] },
        { result: 'different', events: 5, head: 5, lag: 0, differences: 3 },
      ])
      const told = await cli().run(['verify', storeId])
      assert.equal(told.status, 3)
      assert.match(told.stdout, /^events 2 to 3: missing in the backup\nevent 5: args differ\n/)
      assert.match(told.stdout, /\. 3 differences: --repair makes the backup right\.\n$/)
      const repaired = await cli().run(['verify', storeId, '--repair'])
      assert.equal(repaired.status, 0)
      assert.match(repaired.stdout, /^events 2 to 3: missing in the backup \(repaired\)\n[^]* 3 repaired\.\n$/)
      await assertWhole(server(), storeId)
      assert.equal((await cli().json('verify', storeId))['result'], 'same')
    })

    it('leaves what the backup alone has, unless that is to be discarded', async () => {
      const storeId = await copied(2)
      const copy = `INSERT INTO livestore_sync_events SELECT store_id, backend_id, 9, 8, name, args, created_at, client_id, session_id
        FROM livestore_sync_events ${own} = 1`
      await query(server(), copy, storeId)
      const left = await cli().run(['verify', storeId, '--repair'])
      assert.deepEqual([left.status, left.stdout.split('\n')[0]], [3, 'event 9: in the backup alone (left as it is)'])
      const discard = ['verify', storeId, '--discard']
      await cli().fails(discard, 2, /nothing was done: events that the backup alone has are removed/)
      const done = await cli().run([...discard, '--confirm', storeId])
      assert.deepEqual([done.status, done.stdout.split('\n')[0]], [0, 'event 9: in the backup alone (repaired)'])
    })

    it('goes on by itself where one request does not come to the end, and adds up', async () => {
      const parts = [
        { result: 'unfinished', events: 10, head: 25, lag: 0, differences: 1, next: 10 },
        { result: 'unfinished', events: 10, head: 25, lag: 0, differences: 0, next: 20 },
        { result: 'same', events: 5, head: 25, lag: 0, differences: 0 },
      ]
      await withAnswers(
        parts.map((part) => [200, part] as const),
        async (scripted, asked) => {
          const { status, stdout } = await scripted.run(['verify', 'a', '--queries', '20', '--json'])
          assert.equal(status, 3)
          const sum = { result: 'different', events: 25, head: 25, lag: 0, differences: 1 }
          assert.deepEqual(linesIn(stdout), [sum])
          const paths = [0, 10, 20].map((after) => `GET /admin/v1/stores/a/verify?after=${after}&queries=20`)
          assert.deepEqual(asked, paths)
        },
      )
    })

    it('of which an answer does not come says how to go on', async () => {
      const part = { result: 'unfinished', events: 10, head: 25, lag: 0, differences: 0, next: 10 }
      await withAnswers(
        [
          [200, part],
          [502, {}],
        ],
        (scripted) => scripted.fails(['verify', 'a'], 1, /answers 502, .*\. To go on: --after 10\n/),
      )
    })

    it('says so where D1 fails, and how to go on', async () => {
      const storeId = await copied(2)
      await query(server(), 'ALTER TABLE livestore_sync_events RENAME TO away')
      try {
        await cli().fails(
          ['verify', storeId],
          1,
          /verify: not all was compared: .*no such table.*To go on: --after 0\n/,
        )
      } finally {
        await query(server(), 'ALTER TABLE away RENAME TO livestore_sync_events')
      }
    })
  })

  describe('restore', () => {
    it('says what it would do, and does nothing', async () => {
      const storeId = await copied(5)
      const text = await cli().text('restore', storeId, '--dry-run', '--up-to', '3')
      assert.match(text, new RegExp(`^Nothing was done\\. ${storeId} would get 3 events, up to event 3 of 20\\S+Z,\n`))
      assert.match(
        text,
        /\n {2}2 events of the backup would be left out\.\n {2}5 events that the store holds would be replaced\.\n$/,
      )
      const { kept } = await cli().json<{ kept: { events: number } }>('restore', storeId, '--dry-run')
      assert.equal(kept.events, 5)
      assert.equal((await stateOf(server(), storeId)).head, 5)
    })

    it('brings back what there was, and follows until it is there', async () => {
      const storeId = await copied(250)
      const [before, events] = [await stateOf(server(), storeId), await exportOf(server(), storeId)]
      await cli().fails(['restore', storeId], 1, /the server says: .*holds 250 events.*\(409\)/)
      await cli().fails(
        ['restore', storeId, '--replace'],
        2,
        /nothing was done: the 250 events that it holds are replaced/,
      )
      const state = await cli().json('restore', storeId, '--replace', '--confirm', storeId)
      assert.deepEqual([state['status'], state['head']], ['open', 250])
      assert.notEqual(state['backendId'], before.backendId)
      assert.deepEqual(await exportOf(server(), storeId), events)
    })

    it('takes another store, another lifetime, an end, and goes on in a lifetime', async () => {
      const [storeId, other] = [await copied(5), freshStoreId()]
      const { backendId } = await stateOf(server(), storeId)
      const flags = ['--from', storeId, '--backend-id', backendId, '--up-to', '3', '--allow-gaps']
      assert.match(
        await cli().text('restore', other, ...flags),
        /^It is done: store-\S+ has 3 events, up to event 3, lifetime/,
      )
      await cli().text('reset', storeId, '--confirm', storeId)
      await cli().fails(
        ['restore', storeId, '--keep-backend-id', '--last-known-head', '6'],
        1,
        /the server says: .*\(409\)/,
      )
      const kept = await cli().json(
        'restore',
        storeId,
        '--keep-backend-id',
        '--last-known-head',
        '5',
        '--backend-id',
        backendId,
      )
      assert.equal(kept['backendId'], backendId)
      await cli().fails(['restore', storeId, '--backend-id', 'other', '--dry-run'], 1, /there is no such backup/)
      const time = new Date(Date.now() - 3_600_000).toISOString()
      await cli().fails(['restore', storeId, '--up-to', time, '--dry-run'], 1, /the backup holds no event up to there/)
    })

    it('need not be waited for', async () => {
      const storeId = await copied(5)
      await cli().text('reset', storeId, '--confirm', storeId)
      assert.match(
        await cli().text('restore', storeId, '--no-wait'),
        /^It has begun, and 'status store-\S+' says how far/,
      )
    })

    const restoring = (over: object = {}) => ({
      storeId: 'a',
      status: 'restoring',
      backendId: 'old',
      head: 0,
      restore: { from: {}, backendId: 'new', events: 9, head: 9, staged: 4, failures: 0, ...over },
    })
    const [begun, going] = [
      [202, restoring()],
      [200, restoring()],
    ] as const
    const open = (backendId: string, over: object = {}) =>
      [200, { storeId: 'a', status: 'open', backendId, head: 9, events: 9, ...over }] as const

    it('outlives a server that is away for a while', async () => {
      await withAnswers([begun, [502, {}], going, [500, {}], open('new')], async (scripted) => {
        assert.match(await scripted.text('restore', 'a'), /^It is done: a has 9 events/)
      })
    })

    it('says what D1 says, once', async () => {
      const late = [200, restoring({ lastError: { at: '', message: 'D1 is away\u001b[2J' } })] as const
      await withAnswers([begun, late, late, open('new')], async (scripted) => {
        const { status, stderr } = await scripted.run(['restore', 'a'])
        assert.equal(status, 0)
        assert.equal(stderr, 'The server says: D1 is away\\u001b[2J. It tries again by itself.\n')
      })
    })

    it('that cannot be done says why', async () => {
      const failed = [200, { ...restoring({ failed: 'event 4 is missing' }), status: 'restore-failed' }] as const
      await withAnswers([begun, going, failed], (scripted) =>
        scripted.fails(['restore', 'a'], 1, /it cannot be done: event 4 is missing\. The store serves nobody/),
      )
      const goesOn = 'it was given up, and the store goes on with the log that it has, up to event 9: '
      const lastRestore = { at: '', outcome: 'failed', message: 'event 4 is missing\u001b[2J' }
      for (const [over, why] of [
        [{ lastRestore }, 'event 4 is missing\\\\u001b\\[2J\n'],
        [{ lastRestore: { at: '', outcome: 'ended' } }, 'an operator ended it\n'],
        [{}, "the server's log line 'restore-failed' says why"],
      ] as const)
        await withAnswers([begun, going, open('old', over)], (scripted) =>
          scripted.fails(['restore', 'a'], 1, new RegExp(goesOn + why)),
        )
      await withAnswers([begun, going, [404, { error: 'there is no such store' }]], (scripted) =>
        scripted.fails(['restore', 'a'], 1, /the store was deleted meanwhile/),
      )
    })

    it('goes on at the server if it is interrupted, and that is said', async () => {
      await withAnswers([begun, going], async (scripted, asked) => {
        const running = scripted.atTerminal(['restore', 'a'])
        await running.printed(/restoring \[#+ +\] 44 %, 4 events/)
        running.type('\u0003')
        const { status, stdout } = await running.end()
        assert.equal(status, 130)
        assert.match(
          shown(stdout),
          /restore: interrupted: the server goes on by itself\. See it with 'status', end it with/,
        )
        assert.ok(asked.every((request) => !request.startsWith('DELETE')))
      })
    })
  })

  describe('delete', () => {
    const deleting = (lastError?: object) =>
      [
        202,
        {
          storeId: 'a',
          status: 'deleting',
          deletion: { begunAt: '', events: 7, backup: { lifetimes: 1, events: 7 }, failures: 0, lastError },
        },
      ] as const

    it('that takes longer is followed until nothing is left', async () => {
      const gone = [404, { error: 'there is no such store' }] as const
      await withAnswers(
        [deleting(), deleting(), deleting({ message: 'D1 is away' }), gone],
        async (scripted, asked) => {
          const { status, stdout, stderr } = await scripted.run(['delete', 'a b', '--confirm', 'a b', '--json'])
          assert.deepEqual([status, stderr], [0, 'The server says: D1 is away. It tries again by itself.\n'])
          assert.deepEqual(JSON.parse(stdout), { storeId: 'a b', events: 7, backup: { lifetimes: 1, events: 7 } })
          assert.equal(asked[0], 'DELETE /admin/v1/stores/a%20b?confirm=a+b')
        },
      )
    })

    it('goes on at the server if it is interrupted', async () => {
      await withAnswers([deleting()], async (scripted, asked) => {
        const running = scripted.start(['delete', 'a', '--confirm', 'a'])
        await eventually('it is followed', () => asked.length >= 3)
        running.signal('SIGINT')
        const { status, stderr } = await running.end()
        assert.equal(status, 130)
        assert.match(stderr, /delete: interrupted: the server goes on by itself, and there is no way to end it/)
      })
    })
  })

  it('adopt takes over a log that lies in D1', async () => {
    const storeId = freshStoreId()
    const table = `eventlog_7_${storeId.replaceAll(/[^a-zA-Z0-9]/g, '_')}`
    await query(
      server(),
      `CREATE TABLE ${table} (seqNum INTEGER PRIMARY KEY, parentSeqNum INTEGER NOT NULL, name TEXT NOT NULL, args TEXT, createdAt TEXT NOT NULL, clientId TEXT NOT NULL, sessionId TEXT NOT NULL)`,
    )
    for (const event of batchOf(0, 3))
      await query(
        server(),
        `INSERT INTO ${table} VALUES (?, ?, ?, ?, '2026-01-01T00:00:00.000Z', ?, ?)`,
        ...[event.seqNum, event.parentSeqNum, event.name, JSON.stringify(event.args), event.clientId, event.sessionId],
      )
    assert.match(
      await cli().text('status', storeId),
      /^ +status +log-elsewhere\n +There is nothing of this store here/m,
    )
    assert.match(
      await cli().text('adopt', storeId, '--dry-run'),
      /^Nothing was done\. store-\S+ would get 3 events, up to event 3/,
    )
    await cli().fails(['adopt', storeId], 2, /nothing was done: it gets the log that lies in D1/)
    const state = await cli().json('adopt', storeId, '--head', 'stored', '--shared', '--confirm', storeId)
    assert.deepEqual([state['status'], state['head']], ['open', 3])
    assert.equal((await exportOf(server(), storeId)).length, 3)
  })
})

describe('a backup that takes its time', () => {
  const server = serverOf({ vars: { ...vars, BACKUP_DELAY_SECONDS: '3600' } })
  const cli = () => new Cli(server())

  it('is waited for as long as is said', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3)
    const words = /backup: not within 1 s: it holds event 0, and event 3 is to be there\n/
    await cli().fails(['backup', storeId, '--timeout', '1s'], 1, words)
  })

  it('goes on by itself if that is interrupted', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3)
    const running = cli().atTerminal(['backup', storeId])
    await running.printed(/copying store-\S+ \[ +\] 0 %, 0 events/)
    running.type('\u0003')
    const { status, stdout } = await running.end()
    assert.deepEqual([status, /the server goes on copying by itself/.test(shown(stdout))], [130, true])
  })

  it('ends with the log that it is of', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3)
    const running = cli().atTerminal(['backup', storeId])
    await running.printed(/copying/)
    await administer(server(), storePath(storeId, '/reset'), { method: 'POST', body: JSON.stringify({ storeId }) })
    const { status, stdout } = await running.end()
    assert.deepEqual([status, /the store was reset, restored or deleted meanwhile/.test(stdout)], [1, true])
  })
})

it('a store without a backup says so', async () => {
  await withServer({ vars: { ADMIN_SECRET: adminSecret } }, async (server) => {
    const [storeId, cli] = [freshStoreId(), new Cli(server)]
    await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 3))
    await cli.fails(
      ['backup', storeId],
      1,
      /backup: this store has none: no D1 database is bound as DB, or BACKUP is off/,
    )
    await cli.fails(['verify', storeId], 1, /the server says: this store has no backup.* \(404\)/)
    assert.match(await cli.text('status', storeId), /^ +backup +none$/m)
  })
})
