/** Clients of all generations on one store at once. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { forEachBackend, ours, sharedServer, withClients } from './backends.ts'
import { batchOf } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { writeAll } from './writer.ts'

const batchesEach = 20

forEachBackend([ours], (backend) => {
  const server = sharedServer(backend)
  const { generations } = backend

  for (const writing of generations) {
    it(`what a ${writing} client pushes reaches a ${generations.join(', a ')} client as it was pushed`, () =>
      withClients(server(), async (clients) => {
        const lives = await Promise.all(
          generations.map(async (generation) => LivePull.start(await clients.connect(generation))),
        )
        const writer = await clients.connect(writing)
        assert.equal(await writer.push(batchOf(0, 120)), 'ok')
        assert.equal(await writer.push(batchOf(120)), 'ok')
        for (const live of lives) assert.deepEqual(await live.until(121), batchOf(0, 121))
        const [stamps, ...others] = lives.map((live) => live.pages.flatMap((page) => page.createdAt))
        for (const other of others) assert.deepEqual(other, stamps, 'all of them get the same times')
      }))
  }

  it('clients of all generations that write at once all end up with the same log, which holds every event once', () =>
    withClients(server(), async (clients) => {
      const writers = await Promise.all(
        generations.map(async (generation) => {
          const client = await clients.connect(generation)
          return { generation, client, live: await LivePull.start(client) }
        }),
      )
      const written = await Promise.all(
        writers.map(({ generation, client, live }, index) =>
          writeAll(client, live, generation, batchesEach, index + 1),
        ),
      )
      const expected = written.flat().sort((a, b) => a.seqNum - b.seqNum)
      for (const { live } of writers) assert.deepEqual(await live.until(expected.length), expected)
      for (const generation of generations) {
        const pages = await pullOnce(await clients.connect(generation))
        assert.deepEqual(
          pages.flatMap((page) => page.events),
          expected,
          `${generation} pulls that log afterwards`,
        )
      }
    }))

  it('a push onto a stale head is refused with the same numbers in every generation', () =>
    withClients(server(), async (clients) => {
      const [first] = generations
      assert.equal(await (await clients.connect(first!)).push(batchOf(0, 2)), 'ok')
      for (const generation of generations) {
        const outcome = await (await clients.connect(generation)).push(batchOf(1, 1, `stale-${generation}`))
        assert.deepEqual(outcome, { error: 'ServerAheadError', minimumExpectedNum: 2, providedNum: 1 })
      }
    }))
})
