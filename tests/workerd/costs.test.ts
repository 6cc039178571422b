/**
 * What docs/costs.md says: what each thing uses of what Cloudflare bills, as the local runtime counts it, and what that comes to
 * at the prices that the page names.
 *
 * Whoever changes what is written or read changes the page; it prints what would be right.
 */
import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { readDocument, tableIn } from '../harness/document.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { framesIn, httpPush, post } from './doors.ts'
import { alarmReturned, kinds, metered, sum, type Usage, usageOf } from './metering.ts'
import { mirrored } from './mirror.ts'
import { Peer, pings, pushedFrame } from './peer.ts'

const page = readDocument('docs/costs.md')

const number = (value: number): string => value.toLocaleString('en')

/** A client with a live pull that has all events of a store. */
const connected = async (server: Server, storeId: string): Promise<Peer> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  await peer.pages({ live: true })
  return peer
}

const pushed = async (peer: Peer, parent: number, count = 1): Promise<void> => {
  const { answer } = await peer.pushed(batchOf(parent, count))
  assert.deepEqual(answer, pushedFrame('v04', peer.request - 1))
}

const plain = serverOf({ edit: metered })
const backedUp = serverOf({ edit: metered, vars: { BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' } })

/** Resolves with a store whose tables in D1 are there, and the client that has pushed its only event. */
const copiedOnce = async (): Promise<readonly [storeId: string, peer: Peer]> => {
  const storeId = freshStoreId()
  const peer = await Peer.connect(backedUp(), 'v04', storeId)
  await copied(peer, storeId, 0, 1)
  return [storeId, peer]
}

/** Pushes events, and resolves once they are copied and the alarm has returned. */
const copied = async (peer: Peer, storeId: string, parent: number, count: number): Promise<void> => {
  const from = backedUp().logs.length
  await pushed(peer, parent, count)
  await mirrored(backedUp(), storeId, parent + count)
  await eventually('the alarm has returned', () => backedUp().logs.slice(from).includes(alarmReturned))
}

/** What each thing uses, in the order of the page. */
const measured = async (): Promise<Readonly<Record<string, Usage>>> => {
  const storeId = freshStoreId()
  let one: Peer
  const begins = await usageOf(plain(), async () => [(one = await connected(plain(), storeId))])
  const hundred = await usageOf(plain(), async () => (await pushed(one, 0, 100), [one]))
  let other: Peer
  const connects = await usageOf(plain(), async () => [(other = await connected(plain(), storeId))])
  // Its own live pull is sent what it pushes, and is not acknowledged here.
  const single = await usageOf(plain(), async () => (await pushed(one, 100), [one]))
  const delivered = await usageOf(plain(), async () => {
    other.ack(1)
    return [other]
  })
  const overHttp = await usageOf(plain(), async () => {
    const answer = await post(
      plain(),
      storeId,
      { headers: {}, payload: { authToken: 'token-of-the-tests' } },
      {
        ...httpPush('v04', storeId, batchOf(101)),
      },
    )
    assert.equal(framesIn(answer).length, 1)
    return []
  })
  const pinged = await usageOf(plain(), async () => {
    await one.settled()
    one.client.send(pings.v04.ping)
    await one.client.upTo('a ping is answered', (frame) => frame === pings.v04.pong)
    return []
  })
  await plain().evict(storeId)
  const wakes = await usageOf(plain(), async () => [one])

  const [copiedId, peer] = await copiedOnce()
  const copyOne = await usageOf(backedUp(), async () => (await copied(peer, copiedId, 1, 1), [peer]))
  const copyHundred = await usageOf(backedUp(), async () => (await copied(peer, copiedId, 2, 100), [peer]))
  return {
    'a store begins with its first client': begins,
    'a client connects, and pulls 100 events': connects,
    'a push of one event': single,
    'a push of 100 events': hundred,
    'it is sent to a client, which acknowledges it': delivered,
    'a push of one event over HTTP': overHttp,
    'a client pings': { ...pinged, messages: pinged.messages - 1 },
    'an object comes back into memory': wakes,
    'one event is copied to the backup': sum([1, copyOne], [-1, single]),
    '100 events are copied to the backup': sum([1, copyHundred], [-1, hundred]),
  }
}

describe('docs/costs.md', () => {
  let usages: Readonly<Record<string, Usage>>
  before(async () => {
    usages = await measured()
  })
  const usage = (name: string): Usage => {
    const found = usages[name]
    assert.ok(found !== undefined, name)
    return found
  }

  it('says what each thing uses', () => {
    const rows = Object.entries(usages).map(([what, usage]) => [what, ...kinds.map((kind) => number(usage[kind]))])
    assert.deepEqual(tableIn(page, 'what happens'), rows, rows.map((row) => `| ${row.join(' | ')} |`).join('\n'))
  })

  /** Dollars for one, beyond what is included, by what it is. */
  const prices = new Map(
    tableIn(page, 'what is billed').map(([what, , beyond]) => {
      const [, dollars, per] = /^\$([\d.]+) a (million|GB-month)$/.exec(beyond!) ?? []
      assert.ok(dollars !== undefined, `a price of ${what}`)
      return [what!, Number(dollars) / (per === 'million' ? 1_000_000 : 1)]
    }),
  )

  /** What is used, and for how many milliseconds objects are at work. */
  interface Case {
    readonly usage: Usage
    readonly activeMs: number
  }

  /** The rows of a table about these cases, and its last one, in dollars. */
  const billed = (cases: readonly Case[]): ReadonlyArray<readonly string[]> => {
    const counts = cases.map(({ usage, activeMs }) => ({
      'requests to the Worker': usage.worker,
      'requests to objects': usage.object + usage.messages / 20,
      'duration of objects, GB-s': (activeMs / 1_000) * 0.128,
      'rows read in objects': usage.rowsRead,
      'rows written in objects': usage.rowsWritten,
      'rows read in D1': usage.d1Read,
      'rows written in D1': usage.d1Written,
    }))
    const names = Object.keys(counts[0]!) as Array<keyof (typeof counts)[number]>
    for (const name of names) assert.ok(prices.has(name), `the price of ${name}`)
    const dollars = counts.map((count) => names.reduce((sum, name) => sum + count[name] * prices.get(name)!, 0))
    return [
      ...names.map((name) => [name, ...counts.map((count) => number(Math.round(count[name])))]),
      ['**dollars**', ...dollars.map((sum) => `**${sum.toFixed(2)}**`)],
    ]
  }

  const assertTable = (title: string, cases: readonly Case[]): void => {
    const rows = billed(cases)
    assert.deepEqual(tableIn(page, title), rows, rows.map((row) => `| ${row.join(' | ')} |`).join('\n'))
  }

  /** A copy of so many events: what D1 and the object count grows with them by whole rows. */
  const copyOf = (events: number): Usage => {
    const [one, hundred] = [usage('one event is copied to the backup'), usage('100 events are copied to the backup')]
    const more = sum([1, hundred], [-1, one])
    for (const kind of kinds) assert.equal(more[kind] % 99, 0, `${kind} of an event that is copied`)
    const perEvent = Object.fromEntries(kinds.map((kind) => [kind, more[kind] / 99])) as unknown as Usage
    return sum([1, one], [events - 1, perEvent])
  }

  const million = 1_000_000
  it('says what a million pushes cost', () => {
    const push = usage('a push of one event')
    assertTable('a million pushes', [
      { usage: sum([million, push]), activeMs: million },
      { usage: sum([million, push], [million / 100, copyOf(100)]), activeMs: million + (million / 100) * 100 },
      { usage: sum([million, push], [million, copyOf(1)]), activeMs: million + million * 100 },
    ])
  })

  it('says what a hundred sockets cost for a month', () => {
    const connections = 100 * 10 * 30
    const comings = sum(
      [connections, usage('a client connects, and pulls 100 events')],
      [connections, usage('an object comes back into memory')],
    )
    const pushes = 100 * 60 * 8 * 22
    const deliveries = pushes * 100
    const copies = (8 * 22 * 3_600) / 5
    const work = sum(
      [pushes, usage('a push of one event')],
      [deliveries, usage('it is sent to a client, which acknowledges it')],
    )
    const backup = sum([copies, copyOf(1)], [pushes - copies, sum([1, copyOf(2)], [-1, copyOf(1)])])
    const busyMs = pushes * 12 + connections * 5
    assertTable('a hundred sockets', [
      { usage: comings, activeMs: connections * 5 },
      { usage: sum([1, comings], [1, work]), activeMs: busyMs },
      { usage: sum([1, comings], [1, work], [1, backup]), activeMs: busyMs + copies * 100 },
    ])
  })
})
