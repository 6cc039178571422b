/**
 * What 0.4.0 stores send on a socket on which they do not pull, and what tells those that believe in a pull apart.
 *
 * After a network that fell silent a store connects again and believes in the live pull of its old socket: it never
 * gets an event again. A store without live pulls, or whose pull was refused, does not pull either, and lacks nothing
 * that the server could give it. The frames of all of them are the same: pings, and pushes when the app commits.
 *
 * A page without events tells them apart: sent for the id of the old pull, it is acknowledged by a store that believes
 * in that pull, and by nobody else. The server is hand-written.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { FakeServer, Seen } from '../fake-server.ts'
import { unknownError } from '../fake-log.ts'
import { eventually } from '../waiting.ts'
import { type Open, Stage } from './stage.ts'

/** The code that our backend closes with: "service restart". */
const closeCode = 1012

/** Short, so that the silence of a network is noticed soon, and long enough for a busy machine to answer. */
const pingEveryMs = 1_000

/** Frames of the newest connection, pings aside. */
const framesOfLast = (server: FakeServer): readonly Seen[] =>
  server.seen.filter(({ tag, connection }) => tag !== 'Ping' && connection === server.connections)

const pingsOf = (server: FakeServer): number => server.seen.filter(({ tag }) => tag === 'Ping').length

/** Time for a store to do what it would do on its new connection. */
const forPings = async (server: FakeServer, count = 2): Promise<void> => {
  const before = pingsOf(server)
  await eventually(`${count} more pings`, () => pingsOf(server) >= before + count)
}

/** A store with the event `first`, and the id of the pull that brought it. */
const withStore = (
  options: { readonly livePull: boolean },
  scenario: (stage: Stage<FakeServer>, store: Open, pullId: string) => Promise<void>,
): Promise<void> =>
  Stage.ws(async (stage) => {
    await stage.append('first')
    const store = await stage.open({ ...options, pingEveryMs })
    await eventually('the store has the event', () => store.ids().length === 1)
    await scenario(stage, store, String(stage.server.pulls[0]!.requestId))
  })

/** Lets the network fall silent until the store has connected again. */
const fallSilent = async (server: FakeServer): Promise<void> => {
  const { connections } = server
  server.mute = true
  await eventually('the store connects again', () => server.connections === connections + 1)
  server.mute = false
}

const reconnect = async (server: FakeServer): Promise<void> => {
  const { connections } = server
  server.closeAll(closeCode)
  await eventually('the store connects again', () => server.connections === connections + 1)
}

/** Probes every connection for the pull `id`, and for all the ids around it. */
const probeAround = (server: FakeServer, id: string): void => {
  for (let near = Number(id); near < Number(id) + 20; near += 1) server.probe(String(near))
  for (let near = Math.max(0, Number(id) - 20); near < Number(id); near += 1) server.probe(String(near))
}

describe('a 0.4.0 store', { concurrency: true }, () => {
  it('pulls at once on a new connection when its socket was closed', () =>
    withStore({ livePull: true }, async ({ server }) => {
      await reconnect(server)
      await eventually('it pulls', () => framesOfLast(server).length > 0)
      const [{ rpc, cursor }] = framesOfLast(server) as [Seen]
      assert.deepEqual([rpc, cursor], ['SyncWsRpc.Pull', 1])
    }))

  it('does not pull after a silent network, acknowledges a page for its old pull, and pulls once it is closed', () =>
    withStore({ livePull: true }, async (stage, store, pullId) => {
      const { server } = stage
      await fallSilent(server)
      await forPings(server)
      assert.deepEqual(framesOfLast(server), [], 'nothing but pings')
      server.answer = { kind: 'close', code: closeCode }
      server.probe(pullId)
      await eventually('it pulls', () => server.pulls.length === 2)
      const [{ tag, requestId }] = server.seen.filter((one) => one.connection === 2 && one.tag !== 'Ping') as [Seen]
      assert.deepEqual([tag, requestId], ['Ack', pullId])
      await stage.append('second')
      await eventually('it gets events again', () => store.ids().length === 2)
    }))

  it('neither pulls nor pushes after a network that fell silent during its push, and does both once it is closed', () =>
    withStore({ livePull: true }, async ({ server }, store, pullId) => {
      server.mute = true
      store.create('mine')
      await eventually('it pushes', () => server.pushes.length === 1)
      await fallSilent(server)
      store.create('mine too')
      await forPings(server)
      assert.deepEqual(framesOfLast(server), [], 'nothing but pings, though it has two events to push')
      server.answer = { kind: 'close', code: closeCode }
      server.probe(pullId)
      await eventually('its events are stored', () => server.log.length === 3)
      await eventually('it shows them all', () => store.ids().length === 3)
    }))

  it('without live pulls does not pull on a new connection, pushes, and acknowledges no page of any pull', () =>
    withStore({ livePull: false }, async ({ server }, store, pullId) => {
      await reconnect(server)
      server.pushAnswers.push({ kind: 'nothing' })
      store.create('mine')
      await eventually('it pushes', () => server.pushes.length === 1)
      server.answer = { kind: 'close', code: closeCode }
      probeAround(server, pullId)
      await forPings(server)
      assert.deepEqual(
        framesOfLast(server).map(({ rpc }) => rpc),
        ['SyncWsRpc.Push'],
      )
      assert.equal(server.connections, 2)
    }))

  it('without live pulls lacks nothing: what it pushes next is stored', () =>
    withStore({ livePull: false }, async ({ server }, store) => {
      await reconnect(server)
      store.create('mine')
      await eventually('its event is stored', () => server.log.length === 2)
    }))

  it('whose pull was refused does not pull again, and acknowledges no page of any pull', () =>
    Stage.ws(async (stage) => {
      const { server } = stage
      server.pullAnswers.push({ kind: 'error', error: unknownError('no') })
      await stage.open({ pingEveryMs })
      server.answer = { kind: 'close', code: closeCode }
      probeAround(server, String(server.pulls[0]!.requestId))
      await forPings(server)
      assert.deepEqual([server.connections, server.seen.filter(({ tag }) => tag !== 'Ping').length], [1, 1])
    }))

  it('whose pull is still to be answered pulls again when its socket is closed', () =>
    Stage.ws(async (stage) => {
      const { server } = stage
      server.pullAnswers.push({ kind: 'nothing' })
      await stage.open({ pingEveryMs })
      await reconnect(server)
      await eventually('it pulls', () => server.subscriptions === 1)
    }))
})
