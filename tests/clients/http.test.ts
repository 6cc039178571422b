/** Clients that ask over http, beside those that hold a socket: on one store they see the same, each in its own time. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { control, forEachBackend, ours, sharedServer, withClients } from './backends.ts'
import { type Event, nameOf, type Page, PullError, type Refusal } from './client.ts'
import { batchOf } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'
import { Stores } from './stores.ts'

const wrongToken = { authToken: 'wrong-token' }

/** How a client takes an answer that is no JSON: the text of a refusal at the door. */
const refusedAtTheDoor: Readonly<Record<string, Refusal['error']>> = {
  'v04 http': 'UnknownError',
  'v05 http': 'RpcClientDefect',
}

/** Events of about 1 KB each. */
const longLog = (count: number): readonly Event[] =>
  batchOf(0, count).map((event) => ({ ...event, args: { text: 'x'.repeat(1_000) } }))

const eventsOf = (pages: readonly Page[]): readonly Event[] => pages.flatMap((page) => page.events)

forEachBackend([ours, control], (backend) => {
  const server = sharedServer(backend)
  const asking = backend.kinds.filter(({ transport }) => transport === 'http')
  const holding = backend.kinds.filter(({ transport }) => transport === 'ws')
  const listeners = holding.map((kind) => `a ${nameOf(kind)} client`).join(', ')

  for (const kind of asking) {
    it(`what a ${nameOf(kind)} client pushes is published to ${listeners}`, () =>
      withClients(server(), async (clients) => {
        const lives = await Promise.all(holding.map(async (one) => LivePull.start(await clients.connect(one))))
        const writer = await clients.connect(kind)
        for (let head = 0; head < 5; head += 1) assert.equal(await writer.push(batchOf(head)), 'ok')
        assert.equal(await writer.push(batchOf(5, 120)), 'ok')
        for (const live of lives) assert.deepEqual(await live.until(125), batchOf(0, 125))
        for (const live of lives) assert.deepEqual(live.createdAt, lives[0]!.createdAt)
      }))

    it(`what ${listeners} pushes is on the live pull of a ${nameOf(kind)} client soon`, () =>
      withClients(server(), async (clients) => {
        const live = await LivePull.start(await clients.connect(kind))
        let head = 0
        for (const one of holding) {
          const writer = await clients.connect(one)
          assert.equal(await writer.push(batchOf(head, 3)), 'ok')
          head += 3
          assert.deepEqual(await live.until(head), batchOf(0, head))
        }
      }))

    it(`a ${nameOf(kind)} client gets 3,000 events of 1 KB in one answer, and the second half of them from a cursor`, () =>
      withClients(server(), async (clients) => {
        const log = longLog(3_000)
        assert.equal(await (await clients.connect('v04')).push(log), 'ok')
        const client = await clients.connect(kind)
        const pages = await pullOnce(client)
        assert.deepEqual(eventsOf(pages), log)
        assert.deepEqual(eventsOf(await pullOnce(client, 1_500)), log.slice(1_500))
        let remaining = log.length
        for (const page of pages) assert.equal(page.remaining, (remaining -= page.events.length))
        // Where pages end is up to the backend, as long as they are not too large.
        if (backend === ours) assert.equal(pages.length, 30)
      }))

    it(`a ${nameOf(kind)} client with a wrong token is told so by every request, and nothing is stored`, () =>
      withClients(server(), async (clients) => {
        const { makeClient } = kind
        const { storeId } = clients
        const stranger = await makeClient(server())({ url: server().wsUrl, storeId, payload: wrongToken })
        try {
          const error = refusedAtTheDoor[nameOf(kind)]
          await assert.rejects(stranger.connect())
          const outcome = await stranger.push(batchOf(0))
          assert.equal(outcome !== 'ok' && outcome.error, error)
          await assert.rejects(
            pullOnce(stranger),
            (cause) => cause instanceof PullError && cause.refusal.error === error,
          )
        } finally {
          await stranger.close()
        }
        assert.deepEqual(eventsOf(await pullOnce(await clients.connect(kind))), [])
      }))
  }

  it('clients that ask and clients that hold a socket race for each event: exactly one wins', () =>
    withClients(server(), async (clients) => {
      const rivals = await Promise.all(
        [...asking, ...holding].map(async (kind) => {
          const client = await clients.connect(kind)
          return { kind, client, live: await LivePull.start(client) }
        }),
      )
      const won: Event[] = []
      while (won.length < 20) {
        const parent = won.length
        const batches = rivals.map(({ kind }) => batchOf(parent, 1, nameOf(kind)))
        const outcomes = await Promise.all(rivals.map(({ client }, index) => client.push(batches[index]!)))
        const winners = outcomes.flatMap((outcome, index) => (outcome === 'ok' ? [index] : []))
        assert.equal(winners.length, 1, JSON.stringify(outcomes))
        const loss = { error: 'ServerAheadError', minimumExpectedNum: parent + 1, providedNum: parent }
        // The control may say something else to losers.
        if (backend === ours) for (const outcome of outcomes) if (outcome !== 'ok') assert.deepEqual(outcome, loss)
        won.push(...batches[winners[0]!]!)
      }
      for (const { live } of rivals) assert.deepEqual(await live.until(won.length), won)
    }))

  it('a whole store that syncs over http and one that syncs over a WebSocket converge', () =>
    Stores.with(backend, async (stores) => {
      const [ada, bob] = [await stores.open('ada', { transport: 'http' }), await stores.open('bob')]
      ada.create('ada-0')
      await stores.converge(1)
      bob.create('bob-0')
      await stores.converge(2)
      for (let index = 1; index < 60; index += 1) ada.create(`ada-${index}`)
      await stores.converge(61)
      for (let index = 1; index < 60; index += 1) bob.create(`bob-${index}`)
      await stores.converge(120)
      await stores.open('cyd', { transport: 'http' })
      await stores.converge(120)
    }))

  // That stores which commit at once always converge is a guarantee of ours beyond those of the reference.
  if (backend === ours) {
    it('whole stores that commit at once over http and over WebSockets converge', () =>
      Stores.with(backend, async (stores) => {
        const open = await Promise.all(
          (['http', 'ws', 'http', 'ws'] as const).map((transport, index) =>
            stores.open(`${transport}-${index}`, { transport }),
          ),
        )
        for (let index = 0; index < 30; index += 1) {
          for (const [number, store] of open.entries()) store.create(`${number}-${index}`)
        }
        await stores.converge(120)
        for (const store of open) store.complete('0-0')
        await stores.converge(120)
      }))
  }
})
