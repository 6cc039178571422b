/**
 * The server dies by SIGKILL while events are pushed: what was acknowledged is in the log, once, and the log goes on.
 *
 * Kill points are drawn from a seed. `SEED=<number>` repeats a run's draws; the machine's timing is its own.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type BackendUnderTest, Clients, control, forEachBackend, kindOf, ours, payload } from './backends.ts'
import type { Event, PushOutcome } from './client.ts'
import { assertChained, batchOf } from './events.ts'
import { pullOnce } from './live-pull.ts'
import { integerBetween, randomStream, seed } from './random.ts'
import { RawPusher } from './raw-pusher.ts'
import { Host } from './restart.ts'
import { eventually, within } from './waiting.ts'

const crashes = 5
const eventsPerBatchMax = 6

interface Pusher {
  push(batch: readonly Event[]): Promise<PushOutcome>
  close(): void | Promise<void>
}

interface Way {
  readonly name: string
  /** Pushes that may be under way at once. */
  readonly window: number
  readonly connect: (clients: Clients, url: string) => Promise<Pusher>
}

const ways: readonly Way[] = [
  { name: 'the 0.4.0 client, one push at a time', window: 1, connect: (clients) => clients.connect('v04') },
  {
    name: 'the 0.4.0 client over http, one push at a time',
    window: 1,
    connect: (clients) => clients.connect(kindOf('v04', 'http')),
  },
  {
    name: 'a bare socket, eight pushes in flight',
    window: 8,
    connect: (clients, url) => RawPusher.connect({ url, storeId: clients.storeId, payload }),
  },
]

/** What one life of the server saw of a pusher. */
interface Life {
  readonly sent: ReadonlyArray<readonly Event[]>
  readonly acknowledged: number
}

/** Pushes batches on top of `head` until the server is killed, some time after `killAfter` acknowledgements. */
const pushUntilKilled = async (
  pusher: Pusher,
  head: number,
  life: number,
  window: number,
  random: () => number,
  host: Host,
): Promise<Life> => {
  const sent: Array<readonly Event[]> = []
  const outcomes: Array<PushOutcome | undefined> = []
  const killAfter = integerBetween(random, 1, 25)
  const killDelayMs = integerBetween(random, 0, 12)
  const acknowledged = (): number => outcomes.filter((outcome) => outcome === 'ok').length
  let killing: Promise<void> | undefined
  let broken = false
  const lane = async (): Promise<void> => {
    while (!broken) {
      const parent = sent.at(-1)?.at(-1)?.seqNum ?? head
      const index = sent.push(batchOf(parent, integerBetween(random, 1, eventsPerBatchMax), `life-${life}`)) - 1
      outcomes[index] = await pusher.push(sent[index]!)
      if (outcomes[index] !== 'ok') broken = true
      else if (acknowledged() >= killAfter) killing ??= delay(killDelayMs).then(() => host.kill())
    }
  }
  await within('the pusher notices that the server is dead', Promise.all(Array.from({ length: window }, lane)))
  assert.ok(
    killing !== undefined,
    `the pushes failed before the kill: ${JSON.stringify(outcomes.find((one) => one !== 'ok'))}`,
  )
  await killing
  const count = acknowledged()
  assert.ok(
    outcomes.slice(0, count).every((outcome) => outcome === 'ok'),
    'pushes are acknowledged in the order of the log',
  )
  return { sent, acknowledged: count }
}

const readLog = async (clients: Clients): Promise<readonly Event[]> =>
  (await pullOnce(await clients.connect('v04'))).flatMap((page) => page.events)

/** Asserts that `log` is `before`, all acknowledged batches, and then no more than a leading part of the others. */
const assertSurvived = (log: readonly Event[], before: readonly Event[], { sent, acknowledged }: Life): void => {
  assertChained(log)
  const certain = [...before, ...sent.slice(0, acknowledged).flat()]
  assert.deepEqual(log.slice(0, certain.length), certain, 'what was acknowledged is in the log, where it belongs')
  const rest = log.slice(certain.length)
  const possible = sent.slice(acknowledged)
  const whole = possible.map((_, count) => possible.slice(0, count).flat()).concat([possible.flat()])
  assert.ok(
    whole.some((events) => events.length === rest.length),
    `a batch without an answer is in the log whole or not at all; ${rest.length} events of batches of ${possible.map((batch) => batch.length)}`,
  )
  assert.deepEqual(rest, possible.flat().slice(0, rest.length), 'nothing else is in the log')
}

/**
 * Pushes again what had no answer, stored or not, as a client does: all of it is acknowledged, and none is there twice.
 * The reference knows no repeated push.
 */
const repeatUnanswered = async (clients: Clients, before: readonly Event[], life: Life): Promise<readonly Event[]> => {
  const client = await clients.connect('v04')
  for (const batch of life.sent.slice(life.acknowledged)) {
    assert.equal(await client.push(batch), 'ok', 'a repeated push is acknowledged')
  }
  const log = await readLog(clients)
  assert.deepEqual(log, [...before, ...life.sent.flat()], 'every batch that was sent is in the log, once')
  return log
}

const crashAndGoOn = (backend: BackendUnderTest, way: Way, report: (line: string) => void): Promise<void> =>
  Host.with(backend.name, async (host) => {
    const random = randomStream(seed, way.name)
    const clients = new Clients(() => host.server)
    try {
      let log: readonly Event[] = []
      let unanswered = 0
      for (let life = 1; life <= crashes; life += 1) {
        const pusher = await way.connect(clients, host.wsUrl)
        const seen = await pushUntilKilled(pusher, log.length, life, way.window, random, host)
        unanswered += seen.sent.length - seen.acknowledged
        await pusher.close()
        await clients.close()
        await host.start()
        let found = await readLog(clients)
        assertSurvived(found, log, seen)
        if (backend === ours) found = await repeatUnanswered(clients, log, seen)
        report(
          `life ${life}: ${seen.acknowledged} of ${seen.sent.length} batches acknowledged, log ${log.length} to ${found.length}`,
        )
        log = found
      }
      assert.ok(unanswered > 0, 'no kill hit a push under way: the run proves nothing')
      const last = await way.connect(clients, host.wsUrl)
      assert.equal(await last.push(batchOf(log.length, 3, 'last')), 'ok', 'the log goes on from where it is')
      await last.close()
      assert.deepEqual(await readLog(clients), [...log, ...batchOf(log.length, 3, 'last')])
    } finally {
      await clients.close()
    }
  })

forEachBackend([ours, control], (backend) => {
  for (const way of ways) {
    it(`${crashes} kills under ${way.name}: acknowledged events are in the log once, and it goes on (SEED=${seed})`, (t) =>
      crashAndGoOn(backend, way, (line) => t.diagnostic(line)))
  }

  it('the same 0.4.0 client, still open, pushes on after a kill and a restart', () =>
    Host.with(backend.name, async (host) => {
      const clients = new Clients(() => host.server)
      try {
        const client = await clients.connect('v04')
        assert.equal(await client.push(batchOf(0, 2)), 'ok')
        await host.kill()
        await host.start()
        const outcome = await eventually('the client is back', async () => {
          const one = await within('the push is answered', client.push(batchOf(2)), 30_000)
          return (one === 'ok' || one.error !== 'UnknownError') && one
        })
        assert.equal(outcome, 'ok')
        assert.deepEqual(await readLog(clients), [...batchOf(0, 2), ...batchOf(2)])
      } finally {
        await clients.close()
      }
    }))
})
