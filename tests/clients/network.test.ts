/**
 * Connections that break in ways a client does not notice by itself: what `v04/unknown-request.test.ts` finds out about
 * the published client, asked of the backend.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Clients, forEachBackend, ours, payload, sharedServer, withClients } from './backends.ts'
import { RawClient } from '../harness/raw-client.ts'
import type { Event, SyncClient } from './client.ts'
import { freshStoreId } from './events.ts'
import { LivePull } from './live-pull.ts'
import { Host } from './restart.ts'
import { SilentProxy } from './silent-proxy.ts'
import { openTodoStore } from './v04/store.ts'
import { StoreProcess } from './v04/store-process.ts'
import { eventually, within } from './waiting.ts'

const todoCreated = (seqNum: number): Event => ({
  name: 'v1.TodoCreated',
  args: { id: `todo-${seqNum}`, text: 'of another client' },
  seqNum,
  parentSeqNum: seqNum - 1,
  clientId: 'other',
  sessionId: 'static',
})

/** Pushes the events `from` to `to`, one by one. */
const pushEach = async (client: SyncClient, from: number, to: number): Promise<void> => {
  for (let seqNum = from; seqNum <= to; seqNum += 1) assert.equal(await client.push([todoCreated(seqNum)]), 'ok')
}

forEachBackend([ours], (backend) => {
  const server = sharedServer(backend)

  for (const [generation, id, next] of [
    ['v04', '7', '8'],
    ['v05', 7, 8],
  ] as const) {
    it(`a ${generation} Ack of a pull that this connection never made closes it with 1012, which makes clients pull again`, async () => {
      const client = await RawClient.connect(server(), { storeId: freshStoreId() })
      client.send({ _tag: 'Ack', requestId: id })
      assert.equal((await within('the connection is closed', client.closed)).code, 1012)
    })

    it(`a ${generation} Ack of a pull that is over is let pass, since clients send it after the Exit`, async () => {
      const storeId = freshStoreId()
      const client = await RawClient.connect(server(), { storeId })
      const payload = { storeId, live: false, cursor: { _tag: 'None' } }
      const pull = { _tag: 'Request', tag: 'SyncWsRpc.Pull', payload, headers: [] }
      for (const one of [id, next]) {
        client.send({ ...pull, id: one })
        await client.upTo('the pull ends', (frame) => frame.includes('"Exit"'))
        client.send({ _tag: 'Ack', requestId: one })
      }
      assert.equal(client.ended, undefined)
      client.terminate()
    })
  }

  it('a v03 client that comes back after both it and others wrote gets what it lacks, though it does not pull again', () =>
    withClients(server(), async (clients) => {
      const proxy = await SilentProxy.start(Number(new URL(server().wsUrl).port))
      try {
        const client = await clients.connect('v03', { url: proxy.wsUrl })
        const live = await LivePull.start(client)
        await pushEach(client, 1, 1)
        await live.until(1)
        proxy.cut()
        await pushEach(await clients.connect('v04'), 2, 120)
        const { accepted } = proxy
        proxy.mend()
        await eventually('the client connects again', () => proxy.accepted > accepted, 15_000)
        await client.connect()
        const refused = await client.push([{ ...todoCreated(2), clientId: 'returned' }])
        assert.deepEqual(refused, { error: 'ServerAheadError', minimumExpectedNum: 120, providedNum: 1 })
        await live.until(120)
        await pushEach(client, 121, 121)
        await live.until(121)
      } finally {
        await proxy.stop()
      }
    }))

  it('a store that slept through 250 pushes and a restart of the server has them all after it wakes', () =>
    Host.with(backend.name, async (host) => {
      const clients = new Clients(() => host.server)
      const { storeId } = clients
      const store = new StoreProcess({ url: host.wsUrl, storeId, clientId: 'sleeper', payload })
      try {
        await pushEach(await clients.connect('v04'), 1, 1)
        await eventually('the store is in step', () => store.count === 1, 30_000)
        store.sleep()
        await pushEach(await clients.connect('v04'), 2, 250)
        await clients.close()
        await host.kill()
        await host.start()
        store.wake()
        await eventually(
          'the store has all events',
          () => store.count === 250,
          30_000,
          () => store.count,
        )
        await pushEach(await clients.connect('v04'), 251, 251)
        await eventually(
          'the store gets later events, too',
          () => store.count === 251,
          30_000,
          () => store.count,
        )
      } finally {
        store.end()
        await clients.close()
      }
    }))

  it('a store whose network fell silent gets what is pushed after it has reconnected', () =>
    Host.with(backend.name, async (host) => {
      const clients = new Clients(() => host.server)
      const proxy = await SilentProxy.start(Number(new URL(host.wsUrl).port))
      const { storeId } = clients
      const store = await openTodoStore({ url: proxy.wsUrl, storeId, clientId: 'roamer', payload, pingEveryMs: 1_000 })
      try {
        const writer = await clients.connect('v04')
        await pushEach(writer, 1, 1)
        await eventually('the store is in step', () => store.todos().length === 1)
        proxy.fallSilent()
        await eventually('the store gives up the silent connection', () => proxy.accepted === 2)
        let pushed = 1
        const isInStep = (): boolean => store.todos().length === pushed
        await eventually(
          'the store has all events',
          async () => {
            await pushEach(writer, pushed + 1, (pushed += 1))
            const patience = performance.now() + 500
            await eventually('the store had the time to get it', () => isInStep() || performance.now() > patience)
            return isInStep()
          },
          30_000,
          () => ({ pushed, shown: store.todos().length, connections: proxy.accepted }),
        )
      } finally {
        await store.close()
        await clients.close()
        await proxy.stop()
      }
    }))
})
