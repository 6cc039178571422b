/** What the inspector works out by itself, without a browser: what a store is said to suffer from, numbers, spans, bars. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { barsOf } from '../../inspector/bars.ts'
import { EventLog, type LoggedEvent } from '../../inspector/event-log.ts'
import { findingsOf, healthOf, reasonInWords } from '../../inspector/explain.ts'
import { bytes, duration, many } from '../../inspector/format.ts'
import { parseMetrics, quantile } from '../../inspector/metrics.ts'
import { routeOf, storeHash } from '../../inspector/route.ts'
import type { LastRestore, Socket, State } from '../../host/administration.ts'

const event = (seqNum: number, createdAt = seqNum): LoggedEvent => ({
  ...{
    seqNum,
    parentSeqNum: seqNum - 1,
    createdAt,
    name: 'v1.Noted',
    args: {},
    clientId: 'client',
    sessionId: 'static',
  },
})

const events = (from: number, to: number): readonly LoggedEvent[] =>
  Array.from({ length: to - from + 1 }, (_, index) => event(from + index))

const from = { storeId: 'store', backendId: 'lifetime' }

const socket: Socket = { transport: 'ws', generation: 'v04', pulls: 1, lag: 0, unacknowledged: 0, stuck: false }

const open: State = {
  storeId: 'store',
  status: 'open',
  backendId: 'lifetime',
  head: 12,
  time: '2026-11-27T10:00:00.000Z',
}

describe('findings', () => {
  it('of a store that is well there are none', () => {
    assert.deepEqual(findingsOf({ ...open, sockets: [socket], stuckClients: [], lastErrors: [] }), [])
  })

  it('say who is stuck, what it lacks, and how its connection is', () => {
    const stuckClients = [{ clientId: 'c-1', refusals: 14, reason: 'server-ahead', message: 'the words', head: 5 }]
    const sockets = [{ ...socket, clientId: 'c-1', lag: 7, unacknowledged: 2 }]
    const [found, ...others] = findingsOf({ ...open, stuckClients, sockets })
    assert.deepEqual(others, [])
    assert.match(found!.title, /c-1 is stuck: 14 pushes refused in a row/)
    assert.match(
      found!.why,
      /as if event 5 were the last, but the log is at 12: it has not taken the 7 events in between/,
    )
    assert.match(found!.why, /lags by 7 events, with 2 pages not acknowledged/)
    assert.match(found!.advice, /Disconnect/)
    assert.deepEqual([found!.words, found!.tab, found!.clientId], ['the words', 'clients', 'c-1'])
  })

  it('say as much as is known, where the server tells less', () => {
    const [found] = findingsOf({ ...open, stuckClients: [{ clientId: 'c-1', refusals: 10 }] })
    assert.match(found!.why, /does not know the last event, 12/)
    assert.match(found!.why, /no socket here that is known to be its own/)
  })

  it('tell a client from the future of another log', () => {
    const [found] = findingsOf({ ...open, stuckClients: [{ clientId: 'c-1', refusals: 10, head: 40 }] })
    assert.match(found!.why, /it knows events that this log does not have/)
  })

  it('name a client that is refused again and again for the same reason, not one that was refused once', () => {
    const at = '2026-11-27T09:59:00.000Z'
    const refused = (clientId: string, reason: string) => ({ at, reason, message: 'in full', clientId })
    const lastErrors = [
      ...Array.from({ length: 3 }, () => refused('c-1', 'event-name')),
      ...Array.from({ length: 3 }, () => refused('c-2', 'server-ahead')),
      refused('c-3', 'event-name'),
      { at, reason: 'malformed', message: 'of nobody known' },
    ]
    const found = findingsOf({ ...open, lastErrors })
    assert.deepEqual(
      found.map(({ title }) => title),
      ['Client c-1 is refused again and again: event-name'],
    )
    assert.match(found[0]!.why, /^3 of the last 8 refusals.*last 1 min ago.*EVENT_NAMES/)
  })

  it('leave out the inspector itself, and name a pull that takes nothing by what is known of it', () => {
    const stuck = { ...socket, stuck: true, lag: 1_200, unacknowledged: 16 }
    const sockets = [{ ...stuck, inspector: true }, { ...stuck, subject: 'anna' }, stuck]
    assert.deepEqual(
      findingsOf({ ...open, sockets }).map(({ title }) => title),
      [
        'A client of anna takes nothing of what it is sent',
        'A client of generation v04 takes nothing of what it is sent',
      ],
    )
  })

  it('tell of a backup that fails or falls behind, and not of one that is about to be written', () => {
    const backup = { head: 10, lagEvents: 2, lagSeconds: 4, failures: 0, lastError: null }
    assert.deepEqual(findingsOf({ ...open, backup }), [])
    const error = { at: '2026-11-27T09:59:00.000Z', reason: 'full', message: 'no room' }
    for (const worse of [
      { ...backup, lagSeconds: 301 },
      { ...backup, failures: 1, lastError: error },
    ])
      assert.deepEqual(
        findingsOf({ ...open, backup: worse }).map(({ tab, title }) => [tab, title]),
        [['backup', 'The backup lacks 2 events']],
      )
  })

  it('tell for a day of a restore that failed, and not of one that was ended', () => {
    const failed = { at: '2026-11-27T09:59:00.000Z', outcome: 'failed', message: 'event 4 is missing', from }
    const found = (lastRestore: LastRestore, time: string) => findingsOf({ ...open, lastRestore, time })
    const [first, ...more] = found(failed, '2026-11-27T10:02:00.000Z')
    assert.deepEqual([first!.weight, first!.tab, first!.words, more], ['warn', 'backup', 'event 4 is missing', []])
    assert.match(first!.why, /^That failed 3 min ago\. The store goes on/)
    assert.equal(found(failed, '2026-11-28T09:58:00.000Z').length, 1)
    assert.deepEqual(found(failed, '2026-11-28T10:00:00.000Z'), [])
    assert.deepEqual(found({ at: failed.at, outcome: 'ended', from }, '2026-11-27T10:00:00.000Z'), [])
  })

  it('have words for every status in which nobody is served', () => {
    for (const status of ['restore-failed', 'delete-failed', 'backup-found', 'log-elsewhere'])
      assert.equal(findingsOf({ storeId: 'store', status }).length, 1, status)
  })

  it('have words for every reason of a refusal', () => {
    const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
    const [, section = ''] = page.split('\n## Refusals by reason\n')
    const [table = ''] = section.split('\n## ')
    const reasons = [...table.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, reason = '']) => reason).slice(1)
    assert.ok(reasons.length > 15, 'the table was found')
    for (const reason of reasons) assert.notEqual(reasonInWords(reason), reasonInWords('unheard-of'), reason)
  })
})

it('a connection is said to be what it is', () => {
  const words = (change: Partial<Socket>): string => healthOf({ ...socket, ...change }).words
  assert.deepEqual(
    [words({}), words({ lag: 1 }), words({ stuck: true }), words({ pulls: 0 })],
    ['has everything', '1 event behind', 'takes nothing', 'does not pull'],
  )
  assert.match(words({ inspector: true, stuck: true }), /this page/)
})

describe('the log', () => {
  it('knows which numbers have been asked for, in whatever order they come', () => {
    const log = new EventLog()
    log.add({ from: 11, to: 20 }, events(11, 20))
    log.add({ from: 1, to: 5 }, events(1, 5))
    assert.deepEqual([log.covers(5), log.covers(6), log.coversAll({ from: 1, to: 12 })], [true, false, false])
    assert.deepEqual([log.head, log.contiguousFrom], [20, 11])
    log.add({ from: 6, to: 10 }, events(6, 9))
    assert.deepEqual([log.coversAll({ from: 1, to: 20 }), log.contiguousFrom, log.get(10)], [true, 1, undefined])
    assert.equal(log.size, 19)
  })

  it('takes an event once, and knows pushes by when they were stored', () => {
    const log = new EventLog()
    const push = [event(1, 500), event(2, 500)]
    log.add({ from: 1, to: 2 }, push)
    log.add({ from: 1, to: 3 }, [...push, event(3, 900)])
    assert.deepEqual(
      [...log.pushes],
      [
        [500, 2],
        [900, 1],
      ],
    )
    assert.equal(log.names.get('v1.Noted'), 3)
    log.clear()
    assert.deepEqual([log.size, log.head, log.pushes.size, log.covers(1)], [0, 0, 0, false])
  })

  it('holds a bounded number of events: those around what came last', () => {
    const log = new EventLog()
    const all = 160_000
    for (let from = 1; from <= all; from += 1_000) log.add({ from, to: from + 999 }, events(from, from + 999))
    assert.ok(log.size < 151_000 && log.size > 90_000, String(log.size))
    assert.deepEqual([log.get(all)?.seqNum, log.get(1), log.covers(1), log.head], [all, undefined, false, all])
    assert.equal(log.coversAll({ from: all - 50_000, to: all }), true)
    assert.equal(
      [...log.pushes.values()].reduce((a, b) => a + b, 0),
      log.size,
      'pushes are forgotten with their events',
    )
  })
})

describe('bars', () => {
  it('hold every push in its step, and all of what is loaded', () => {
    const pushes = new Map([
      [0, 3],
      [500, 1],
      [59_999, 2],
    ])
    const { bars, step, from } = barsOf(pushes, 0, 1_000_000)
    assert.deepEqual([step, from, bars.length], [1_000, 0, 60])
    assert.deepEqual(
      [bars[0], bars[1], bars.at(-1)],
      [
        { events: 4, pushes: 2 },
        { events: 0, pushes: 0 },
        { events: 2, pushes: 1 },
      ],
    )
  })

  it('of a window end now, and leave out what is older', () => {
    const { bars } = barsOf(
      new Map([
        [0, 5],
        [990_000, 2],
      ]),
      60_000,
      1_000_000,
    )
    assert.equal(
      bars.reduce((sum, bar) => sum + bar.events, 0),
      2,
    )
  })

  it('are few, however long the time', () => {
    const years = 20 * 365 * 86_400_000
    assert.ok(
      barsOf(
        new Map([
          [0, 1],
          [years, 1],
        ]),
        0,
        years,
      ).bars.length <= 122,
    )
    assert.deepEqual(barsOf(new Map(), 0, 0).bars, [])
  })
})

describe('metrics', () => {
  const text = [
    '# HELP livestore_sync_head Number of the last event.',
    '# TYPE livestore_sync_head gauge',
    'livestore_sync_head{store="a \\"store\\", {really}"} 3',
    'livestore_sync_refusals_total{store="s",reason="server-ahead"} 2',
    'livestore_sync_refusals_total{store="s",reason="hook"} 14',
    'livestore_sync_refusals_total{store="s",reason="storage"} 0',
    'livestore_sync_backup_failures_total{store="s",reason="full"} 5',
    'livestore_sync_duration_milliseconds_bucket{store="s",what="call",le="1"} 1',
    'livestore_sync_duration_milliseconds_bucket{store="s",what="call",le="5"} 4',
    'livestore_sync_duration_milliseconds_bucket{store="s",what="call",le="+Inf"} 5',
    'livestore_sync_duration_milliseconds_sum{store="s",what="call"} 40',
    'livestore_sync_duration_milliseconds_count{store="s",what="call"} 5',
    '',
  ].join('\n')

  it('are read: values, refusals that there were, and how long things took', () => {
    const { values, refusals, durations } = parseMetrics(text)
    assert.equal(values.get('head'), 3)
    assert.deepEqual(refusals, [
      ['hook', 14],
      ['server-ahead', 2],
    ])
    const [calls] = durations
    assert.deepEqual(calls, {
      what: 'call',
      count: 5,
      sumMs: 40,
      buckets: [
        { toMs: 1, count: 1 },
        { toMs: 5, count: 3 },
        { toMs: Infinity, count: 1 },
      ],
    })
    assert.deepEqual([quantile(calls!, 0.2), quantile(calls!, 0.5), quantile(calls!, 0.99)], [1, 5, Infinity])
  })
})

it('an address names a store whatever its id, and a part of it', () => {
  for (const storeId of ['notes/anna', '', 'ä #?%', 'a b'])
    assert.deepEqual(routeOf(storeHash(storeId, 'backup')), { to: 'store', storeId, tab: 'backup' })
  assert.deepEqual(routeOf('#/store/x/unheard-of'), { to: 'store', storeId: 'x', tab: 'events' })
  for (const hash of ['', '#/', '#/store', '#/store/%E0%A4%A', '#/elsewhere'])
    assert.deepEqual(routeOf(hash), { to: 'stores' })
})

it('numbers have units that a person would choose', () => {
  assert.deepEqual([999, 1_000, 13_721_600].map(bytes), ['999 B', '1 kB', '13.7 MB'])
  assert.deepEqual([80, 1_500, 90_000, 7_200_000, 400 * 86_400_000].map(duration), [
    '80 ms',
    '1.5 s',
    '2 min',
    '2 h',
    '400 days',
  ])
  assert.deepEqual([many(1, 'push', 'pushes'), many(1_200, 'push', 'pushes')], ['1 push', '1,200 pushes'])
})
