/**
 * What ends the one pull of a 0.3.1 client, what it misses when its socket is closed, and when it pings.
 *
 * The server is hand-written, the client is the bare sync client. It pulls once in its life and then takes whatever is
 * broadcast. Findings:
 *
 * | the server | the client |
 * | --- | --- |
 * | sends an Error that names the pull | takes no event any more: what it has ends without a gap |
 * | closes the socket | connects again, does not pull, and takes later events: those in between are a gap, and a store never learns of it, also not when it starts again |
 * | closes it after the first of several pages | same; the other pages are missing |
 * | answers a push with an Error | reports it; its store then waits for an event of somebody else |
 * | closes the socket before it answers a push | neither repeats the push nor reports anything |
 * | answers a push late | waits for it |
 *
 * So its pull is ended by an Error before its socket is closed. It pings every 25 s, or after 5 s if there was no Pong.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PushOutcome, SyncClient } from '../client.ts'
import { batchOf } from '../events.ts'
import { LivePull } from '../live-pull.ts'
import { eventually } from '../waiting.ts'
import { makeClient } from './client.ts'
import { FakeServer } from './fake-server.ts'

const payload = { authToken: 'unused' }

const withServer = async (scenario: (server: FakeServer, client: SyncClient) => Promise<void>): Promise<void> => {
  const server = await FakeServer.start()
  const client = await makeClient({ url: server.url, storeId: 'store', payload })
  try {
    await scenario(server, client)
  } finally {
    await client.close()
    await server.stop()
  }
}

const append = (server: FakeServer): void => server.append('v1.Noted', {})

/** Runs `scenario` with a pull that has the events 1 and 2: by its page, and by a broadcast. */
const pulling = (scenario: (server: FakeServer, live: LivePull, client: SyncClient) => Promise<void>): Promise<void> =>
  withServer(async (server, client) => {
    append(server)
    const live = await LivePull.start(client)
    append(server)
    await live.until(2)
    await scenario(server, live, client)
  })

/** Closes the socket of the client and waits until it has another one. */
const reconnect = async (server: FakeServer, code = 1012): Promise<void> => {
  const { connections } = server
  server.closeAll(code)
  await eventually('the client connects again', () => server.connections === connections + 1 && server.open === 1)
}

describe('the pull of a 0.3.1 client', { concurrency: true }, () => {
  it('ends with an Error that names it, and takes no later event', () =>
    pulling(async (server, live, client) => {
      server.fail(server.pulls[0]!.frame.requestId, 'no more')
      await eventually('the pull ends', () => live.ended)
      assert.deepEqual(live.ended, { error: 'InvalidPullError', message: 'no more' })
      append(server)
      assert.equal(await client.push(batchOf(3)), 'ok', 'the broadcasts before this acknowledgement have come')
      assert.deepEqual(live.seqNums, [1, 2])
    }))

  it('goes on after an Error that names another request', () =>
    pulling(async (server, live) => {
      server.fail('another', 'no more')
      append(server)
      await live.until(3)
    }))

  it('has a gap after its socket was closed: it is not made again, and takes what comes later', () =>
    pulling(async (server, live) => {
      const missed = server.store.append('v1.Noted', {})
      await reconnect(server)
      append(server)
      await eventually('it takes a later event', () => live.seqNums.includes(4))
      assert.deepEqual([live.seqNums, missed.seqNum, live.ended], [[1, 2, 4], 3, undefined])
      assert.equal(server.pulls.length, 1)
    }))

  it('has no gap if it was ended by an Error before its socket was closed', () =>
    pulling(async (server, live, client) => {
      server.store.append('v1.Noted', {})
      server.fail(server.pulls[0]!.frame.requestId, 'no more')
      await reconnect(server)
      append(server)
      assert.equal(await client.push(batchOf(4)), 'ok', 'the broadcasts before this acknowledgement have come')
      assert.equal(live.ended === undefined, false)
      assert.deepEqual([live.seqNums, server.pulls.length], [[1, 2], 1])
    }))

  it('lacks the other pages after its socket was closed behind the first one, and takes what comes later', () =>
    withServer(async (server, client) => {
      for (let count = 0; count < 3; count += 1) append(server)
      server.pullAnswers.push({ kind: 'close-after', seqNum: 1, code: 1013 })
      const live = await LivePull.start(client)
      await eventually('the client connects again', () => server.connections === 2 && server.open === 1)
      append(server)
      await eventually('it takes a later event', () => live.seqNums.includes(4))
      assert.deepEqual([live.seqNums, server.pulls.length], [[1, 4], 1])
    }))
})

describe('a push of a 0.3.1 client', { concurrency: true }, () => {
  it('is refused by an Error', () =>
    withServer(async (server, client) => {
      server.pushAnswers.push({ kind: 'error', message: 'not now' })
      assert.deepEqual(await client.push(batchOf(0)), { error: 'InvalidPushError', message: 'not now' })
    }))

  it('waits for a late answer', () =>
    withServer(async (server, client) => {
      server.pushAnswers.push({ kind: 'serve', afterMs: 1_000 })
      assert.equal(await client.push(batchOf(0)), 'ok')
      assert.equal(server.pushes.length, 1)
    }))

  it('is neither repeated nor reported after a close', () =>
    withServer(async (server, client) => {
      server.pushAnswers.push({ kind: 'close', code: 1013 })
      let outcome: PushOutcome | undefined
      void client.push(batchOf(0)).then((result) => (outcome = result))
      await eventually('the client connects again', () => server.connections === 2 && server.open === 1)
      assert.equal(await client.push(batchOf(0, 1, 'other')), 'ok', 'its connection works')
      assert.deepEqual([outcome, server.pushes.length], [undefined, 2])
    }))
})

it('a 0.3.1 client pings at once, and again after 5 s only if there was no Pong', () =>
  withServer((answering) =>
    withServer(async (mute) => {
      mute.mute = true
      const pings = (server: FakeServer) => server.seen.filter(({ tag }) => tag === 'WSMessage.Ping')
      await eventually('both ping', () => pings(answering).length === 1 && pings(mute).length === 1)
      await eventually('the one without a Pong pings again', () => pings(mute).length === 2)
      const [first, second] = pings(mute).map(({ atMs }) => atMs)
      assert.ok(Math.round((second! - first!) / 1_000) === 5, `after ${second! - first!} ms`)
      assert.equal(pings(answering).length, 1)
      assert.deepEqual([mute.connections, mute.open], [1, 1], 'it does not close a silent socket')
    }),
  ))
