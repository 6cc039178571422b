/** Clients of all dialects, over all transports, on one store at once. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { forEachBackend, ours, sharedServer, withClients } from './backends.ts'
import { nameOf } from './client.ts'
import { batchOf } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { writeAll } from './writer.ts'

const batchesEach = 20

forEachBackend([ours], (backend) => {
  const server = sharedServer(backend)
  const { kinds } = backend
  const names = kinds.map(nameOf)

  for (const writing of kinds) {
    it(`what a ${nameOf(writing)} client pushes reaches a ${names.join(', a ')} client as it was pushed`, () =>
      withClients(server(), async (clients) => {
        const lives = await Promise.all(kinds.map(async (kind) => LivePull.start(await clients.connect(kind))))
        const writer = await clients.connect(writing)
        assert.equal(await writer.push(batchOf(0, 120)), 'ok')
        assert.equal(await writer.push(batchOf(120)), 'ok')
        for (const live of lives) assert.deepEqual(await live.until(121), batchOf(0, 121))
        const [stamps, ...others] = lives.map((live) => live.createdAt)
        for (const other of others) assert.deepEqual(other, stamps, 'all of them get the same times')
      }))
  }

  it('clients of all kinds that write at once all end up with the same log, which holds every event once', () =>
    withClients(server(), async (clients) => {
      const writers = await Promise.all(
        kinds.map(async (kind) => {
          const client = await clients.connect(kind)
          return { kind, client, live: await LivePull.start(client) }
        }),
      )
      const written = await Promise.all(
        writers.map(({ kind, client, live }, index) => writeAll(client, live, nameOf(kind), batchesEach, index + 1)),
      )
      const expected = written.flat().sort((a, b) => a.seqNum - b.seqNum)
      for (const { live } of writers) assert.deepEqual(await live.until(expected.length), expected)
      for (const kind of kinds) {
        const pages = await pullOnce(await clients.connect(kind))
        assert.deepEqual(
          pages.flatMap((page) => page.events),
          expected,
          `${nameOf(kind)} pulls that log afterwards`,
        )
      }
    }))

  it('a push onto a stale head is refused with the same numbers, whoever pushes', () =>
    withClients(server(), async (clients) => {
      const [first] = kinds
      assert.equal(await (await clients.connect(first!)).push(batchOf(0, 2)), 'ok')
      for (const kind of kinds) {
        const outcome = await (await clients.connect(kind)).push(batchOf(1, 1, `stale ${nameOf(kind)}`))
        assert.deepEqual(outcome, { error: 'ServerAheadError', minimumExpectedNum: 2, providedNum: 1 })
      }
    }))
})
