/** What a client of any one dialect and transport may count on: pushes, pulls, refusals, races, restarts. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type ClientKind, Clients, control, forEachBackend, ours, sharedServer, withClients } from './backends.ts'
import { type Event, nameOf, type Page, PullError, type Refusal, type SyncClient } from './client.ts'
import { batchOf } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { Host } from './restart.ts'
import { eventually, within } from './waiting.ts'

const contenders = 8

const emptyPage: Page = { events: [], createdAt: [], remaining: 0 }

/** A client that knows the store's backend id, without which it sends no cursor. A v03 client needs none. */
const acquainted = async (clients: Clients, kind: ClientKind): Promise<SyncClient> => {
  const client = await clients.connect(kind)
  if (kind.generation !== 'v03') await pullOnce(client)
  return client
}

/** How a pull that ends by itself was refused. */
const refusalOfPull = async (client: SyncClient, cursor: number): Promise<Refusal> => {
  try {
    await pullOnce(client, cursor)
  } catch (error) {
    if (error instanceof PullError) return error.refusal
    throw error
  }
  return assert.fail('the pull was not refused')
}

forEachBackend([ours, control], (backend) => {
  for (const kind of backend.kinds) {
    const { generation, transport } = kind
    describe(`a ${nameOf(kind)} client`, () => {
      const server = sharedServer(backend)

      it('gets an event that another client pushes on its live pull', () =>
        withClients(server(), async (clients) => {
          const [writer, reader] = [await clients.connect(kind), await clients.connect(kind)]
          const live = await LivePull.start(reader)
          assert.equal(await writer.push(batchOf(0)), 'ok')
          assert.deepEqual(await live.until(1), batchOf(0))
          assert.ok(Math.abs(Date.now() - Date.parse(live.createdAt[0]!)) < 60_000, 'createdAt is the time of the push')
        }))

      it('gets its own event on its live pull', () =>
        withClients(server(), async (clients) => {
          const client = await clients.connect(kind)
          const live = await LivePull.start(client)
          assert.equal(await client.push(batchOf(0)), 'ok')
          assert.deepEqual(await live.until(1), batchOf(0))
        }))

      it('gets 250 events, pushed by one call, in order on a live pull and on a later pull', () =>
        withClients(server(), async (clients) => {
          const [writer, reader] = [await clients.connect(kind), await clients.connect(kind)]
          const live = await LivePull.start(reader)
          assert.equal(await writer.push(batchOf(0, 250)), 'ok')
          assert.deepEqual(await live.until(250), batchOf(0, 250))
          const pages = await pullOnce(await clients.connect(kind))
          assert.deepEqual(
            pages.flatMap((page) => page.events),
            batchOf(0, 250),
          )
          assert.deepEqual(
            pages.map((page) => page.events.length),
            [100, 100, 50],
          )
          assert.deepEqual(
            pages.map((page) => page.remaining),
            [150, 50, 0],
          )
        }))

      it('gets only what comes after its cursor', () =>
        withClients(server(), async (clients) => {
          const writer = await clients.connect(kind)
          assert.equal(await writer.push(batchOf(0, 5)), 'ok')
          const live = await LivePull.start(await acquainted(clients, kind), 3)
          assert.deepEqual(await live.until(5), batchOf(3, 2))
          assert.equal(await writer.push(batchOf(5)), 'ok')
          assert.deepEqual(await live.until(6), batchOf(3, 3))
        }))

      it('gets one empty last page from a store without events, and from a cursor at the head', () =>
        withClients(server(), async (clients) => {
          assert.deepEqual(await pullOnce(await clients.connect(kind)), [emptyPage])
          assert.equal(await (await clients.connect(kind)).push(batchOf(0, 2)), 'ok')
          assert.deepEqual(await pullOnce(await acquainted(clients, kind), 2), [emptyPage])
        }))

      it('is refused with the head of the server and its own when it pushes onto a stale head, and nothing is stored', () =>
        withClients(server(), async (clients) => {
          const client = await clients.connect(kind)
          assert.equal(await client.push(batchOf(0, 2)), 'ok')
          for (const parent of [0, 1, 9]) {
            const refusal = { error: 'ServerAheadError', minimumExpectedNum: 2, providedNum: parent }
            assert.deepEqual(await client.push(batchOf(parent, 1, 'stale')), refusal)
          }
          const pages = await pullOnce(await clients.connect(kind))
          assert.deepEqual(
            pages.flatMap((page) => page.events),
            batchOf(0, 2),
          )
        }))

      // The control follows one live pull per store over do-rpc: the one that was made last.
      if (backend === ours || transport !== 'do-rpc') {
        it(`wins or loses a race of ${contenders}: exactly one wins, and every loser gets the event it lacks`, () =>
          withClients(server(), async (clients) => {
            const rivals = await Promise.all(
              Array.from({ length: contenders }, async (_, index) => {
                const client = await clients.connect(kind)
                return { client, live: await LivePull.start(client), batch: batchOf(0, 1, `rival-${index}`) }
              }),
            )
            const outcomes = await Promise.all(rivals.map(({ client, batch }) => client.push(batch)))
            const winner = rivals[outcomes.indexOf('ok')]
            const losses = outcomes.filter((outcome) => outcome !== 'ok')
            const loss = { error: 'ServerAheadError', minimumExpectedNum: 1, providedNum: 0 }
            assert.equal(losses.length, contenders - 1)
            // Whatever the control says to losers that do not push over a socket, they are refused.
            if (backend === ours || transport === 'ws') for (const one of losses) assert.deepEqual(one, loss)
            for (const { live } of rivals) assert.deepEqual(await live.until(1), winner?.batch)
          }))
      }

      it('gets everything in order when it reads nothing while 150 pushes are published to it', () =>
        withClients(server(), async (clients) => {
          const [writer, reader] = [await clients.connect(kind), await clients.connect(kind)]
          const pages = reader.pull(0, 'live')[Symbol.asyncIterator]()
          assert.deepEqual((await pages.next()).value, emptyPage)
          for (let head = 0; head < 150; head += 1) assert.equal(await writer.push(batchOf(head)), 'ok')
          const events: Event[] = []
          while (events.length < 150) {
            const next = await within('the next page comes', pages.next())
            events.push(...(next.value as Page).events)
          }
          assert.deepEqual(events, batchOf(0, 150))
        }))

      if (generation !== 'v03') {
        it('is refused with both ids when it remembers another backend id, on push and on pull', () =>
          withClients(server(), async (clients) => {
            const writer = await clients.connect(kind)
            assert.equal(await writer.push(batchOf(0)), 'ok')
            const stranger = await clients.connect(kind, { backendId: 'another-backend-id' })
            for (const refusal of [await stranger.push(batchOf(1)), await refusalOfPull(stranger, 1)]) {
              assert.ok(refusal !== 'ok', 'the push is refused')
              const { expected, ...rest } = refusal
              assert.match(expected ?? '', /^[\w-]{21}$/)
              assert.deepEqual(rest, { error: 'BackendIdMismatchError', received: 'another-backend-id' })
            }
            const pages = await pullOnce(await clients.connect(kind))
            assert.deepEqual(
              pages.flatMap((page) => page.events),
              batchOf(0),
            )
          }))
      }

      // Only a client with a socket of its own notices that the server is gone, and comes back to a live pull by itself.
      // v03 does not pull again, see `network.test.ts`.
      if (transport === 'ws' && generation !== 'v03') {
        it('goes on where it was, by itself, when the server is killed and restarted', () =>
          Host.with(backend.name, async (host) => {
            const clients = new Clients(() => host.server)
            try {
              const [writer, reader] = [await clients.connect(kind), await clients.connect(kind)]
              const live = await LivePull.start(reader)
              assert.equal(await writer.push(batchOf(0, 3)), 'ok')
              await live.until(3)
              await host.kill()
              await eventually('the live pull notices', () => live.reissued > 0)
              await host.start()
              assert.equal(await (await clients.connect(kind)).push(batchOf(3, 2)), 'ok')
              assert.deepEqual(await live.until(5), batchOf(0, 5))
              assert.equal(live.ended, undefined)
            } finally {
              await clients.close()
            }
          }))
      }

      if (transport === 'http') {
        it('goes on where it was when the server is killed and restarted between its requests', () =>
          Host.with(backend.name, async (host) => {
            const clients = new Clients(() => host.server)
            try {
              const client = await clients.connect(kind)
              assert.equal(await client.push(batchOf(0, 3)), 'ok')
              assert.deepEqual(
                (await pullOnce(client)).flatMap((page) => page.events),
                batchOf(0, 3),
              )
              await host.kill()
              await host.start()
              assert.deepEqual(await pullOnce(client, 3), [emptyPage])
              assert.equal(await client.push(batchOf(3, 2)), 'ok')
              assert.deepEqual(
                (await pullOnce(client, 2)).flatMap((page) => page.events),
                batchOf(2, 3),
              )
            } finally {
              await clients.close()
            }
          }))

        it('is told that its requests fail while the server is down, and served again once it is back', () =>
          Host.with(backend.name, async (host) => {
            const clients = new Clients(() => host.server)
            try {
              const client = await clients.connect(kind)
              assert.equal(await client.push(batchOf(0)), 'ok')
              await host.kill()
              const outcome = await within('the push is given up', client.push(batchOf(1)))
              assert.ok(outcome !== 'ok' && outcome.minimumExpectedNum === undefined, JSON.stringify(outcome))
              await within(
                'the pull is given up',
                assert.rejects(pullOnce(client), (error) => error instanceof PullError),
              )
              await host.start()
              assert.equal(await client.push(batchOf(1)), 'ok')
              assert.deepEqual(
                (await pullOnce(client)).flatMap((page) => page.events),
                batchOf(0, 2),
              )
            } finally {
              await clients.close()
            }
          }))
      }

      // Guarantees of ours beyond those of the reference.
      if (backend === ours) {
        it('gets each event once and in order when others push while it pulls a long log', () =>
          withClients(server(), async (clients) => {
            const writer = await clients.connect(kind)
            for (let head = 0; head < 2_000; head += 100) assert.equal(await writer.push(batchOf(head, 100)), 'ok')
            const pushing = (async () => {
              for (let head = 2_000; head < 2_400; head += 4) assert.equal(await writer.push(batchOf(head, 4)), 'ok')
            })()
            const lives = await Promise.all([0, 0, 0].map(async () => LivePull.start(await clients.connect(kind))))
            await pushing
            for (const live of lives) assert.deepEqual(await live.until(2_400), batchOf(0, 2_400))
          }))

        it('is acknowledged when it repeats a batch that is stored, which stays in the log once', () =>
          withClients(server(), async (clients) => {
            const client = await clients.connect(kind)
            const live = await LivePull.start(await clients.connect(kind))
            assert.equal(await client.push(batchOf(0, 3)), 'ok')
            assert.equal(await client.push(batchOf(0, 3)), 'ok')
            assert.equal(await client.push(batchOf(1, 1)), 'ok')
            assert.equal(
              await client.push(batchOf(1, 4)),
              'ok',
              'a batch that repeats two events and brings two new ones',
            )
            assert.deepEqual(await live.until(5), batchOf(0, 5))
            const pages = await pullOnce(await clients.connect(kind))
            assert.deepEqual(
              pages.flatMap((page) => page.events),
              batchOf(0, 5),
            )
          }))
      }
    })
  }
})
