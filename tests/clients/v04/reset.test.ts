/**
 * How a whole 0.4.0 store takes the reset of its backend while it does nothing but pull: what makes it start over.
 *
 * To start over is to drop the local data and to pull the new log. A 0.4.0 store does the first part when it learns of
 * the reset, the second when its app starts again; until then its session shows what it had. The server is hand-written.
 * Findings:
 *
 * | transport | the store starts over after |
 * | --- | --- |
 * | WebSocket | an Exit of its live pull that failed with `BackendIdMismatchError`, or a closed socket and that answer to the pull which follows |
 * | http | that answer to its next pull |
 * | Durable Object RPC | that answer to its next push, or to its first pull when it is opened again; no call to it can say so |
 *
 * What must not happen: a Chunk of the new log on a live pull of the old one. The store takes over the new backend id,
 * keeps the old data, and from its next start on continues the new log on top of it.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Event } from '../client.ts'
import { backendId, cursorOf, type FakeError, type FakeLog, failureFor } from '../fake-log.ts'
import { eventually } from '../waiting.ts'
import { type Fake, type Open, Stage, stages } from './stage.ts'

/** A server that tells of events by itself. */
interface Publishing extends Fake {
  publish(events: readonly Event[]): unknown
  forget(): void
}

/** A store that pulls live and has the events `one` and `two`. */
const openWithTwo = async <Server extends Fake>(stage: Stage<Server>): Promise<Open> => {
  const store = await stage.open()
  await stage.append('one')
  await stage.append('two')
  await eventually('the store has both events', () => store.ids().length === 2, undefined, store.ids)
  assert.deepEqual(stage.stored(), { events: 2, backendId })
  return store
}

/** Resolves once the store has dropped its data, and asserts that it then pulls the new log. */
const untilItStartsOver = async <Server extends Fake>(stage: Stage<Server>, store: Open): Promise<void> => {
  const { server } = stage
  await eventually(
    'the store drops its data',
    () => stage.stored().events === 0,
    undefined,
    () => stage.stored(),
  )
  assert.ok(store.ids().includes('one'), 'its session still shows what it had')
  const pulls = server.pulls.length
  await stage.append('new')
  const again = await stage.open()
  await eventually('the store shows the new log', () => again.ids().length > 0)
  assert.deepEqual(again.ids(), ['new'], 'nothing of the old log is left')
  assert.equal(cursorOf(server.pulls[pulls]!.payload), 0, 'it pulls from the first event on')
}

/** Begins a new log; the error for those who name the old backend id. */
const reset = (log: FakeLog): FakeError => {
  log.reset()
  return log.mismatch(backendId)
}

describe('a 0.4.0 store that only pulls, when its backend is reset', { concurrency: true }, () => {
  for (const [transport, play] of Object.entries(stages)) {
    it(`${transport}: has kept its data over a restart, without a reset`, () =>
      play(async (stage) => {
        await openWithTwo(stage)
        const again = await stage.open()
        await stage.append('three')
        await eventually('the store has all events', () => again.ids().length === 3, undefined, again.ids)
      }))
  }

  it('ws: starts over when its live pull fails with BackendIdMismatchError, and closes its socket by itself', () =>
    Stage.ws(async (stage) => {
      const { server } = stage
      const store = await openWithTwo(stage)
      server.failAll(reset(server.store))
      await untilItStartsOver(stage, store)
      assert.equal(server.connections, 2, 'only a restart made it connect again')
    }))

  it('ws: starts over when that failure is followed at once by a closed socket', () =>
    Stage.ws(async (stage) => {
      const { server } = stage
      const store = await openWithTwo(stage)
      server.failAll(reset(server.store))
      server.closeAll(1012)
      await untilItStartsOver(stage, store)
    }))

  it('ws: starts over when its socket is closed, because the pull which follows names the old backend id', () =>
    Stage.ws(async (stage) => {
      const { server } = stage
      const store = await openWithTwo(stage)
      reset(server.store)
      server.closeAll(1012)
      await untilItStartsOver(stage, store)
      assert.deepEqual(
        server.pulls.map(({ cursor }) => cursor),
        [0, 2, 0],
      )
    }))

  it('http: starts over at its next pull, which names the old backend id', () =>
    Stage.http(async (stage) => {
      const store = await openWithTwo(stage)
      reset(stage.server.store)
      await untilItStartsOver(stage, store)
    }))

  it('do-rpc: starts over at its next push, which names the old backend id', () =>
    Stage.doRpc(async (stage) => {
      const { server } = stage
      const store = await openWithTwo(stage)
      reset(server.store)
      server.forget()
      store.create('mine')
      await untilItStartsOver(stage, store)
      assert.equal(server.pushes.length, 1)
    }))

  it('do-rpc: starts over when it is opened again, because its first pull names the old backend id', () =>
    Stage.doRpc(async (stage) => {
      const { server } = stage
      await openWithTwo(stage)
      reset(server.store)
      server.forget()
      await untilItStartsOver(stage, await stage.open())
    }))

  it('do-rpc: refuses a call with an Exit, and its live pull goes on', () =>
    Stage.doRpc(async (stage) => {
      const { server } = stage
      const store = await openWithTwo(stage)
      const [requestId] = server.subscriptions
      const exit = failureFor(requestId!, server.store.mismatch('another'))
      await assert.rejects(server.callBack({ _tag: 'Exit', requestId, exit }), /values/)
      await assert.rejects(server.callBack({ _tag: 'Exit', requestId, exit, values: [] }), /PullResponse/)
      await stage.append('three')
      await eventually('the store has the event', () => store.ids().length === 3, undefined, store.ids)
    }))

  const publishing: Readonly<Record<string, (scenario: (stage: Stage<Publishing>) => Promise<void>) => Promise<void>>> =
    { ws: (scenario) => Stage.ws(scenario), 'do-rpc': (scenario) => Stage.doRpc(scenario) }
  const contents: Readonly<Record<string, (stage: Stage<Publishing>) => unknown>> = {
    'an event': (stage) => stage.append('new 1'),
    'no event': ({ server }) => server.publish([]),
  }
  for (const [transport, play] of Object.entries(publishing)) {
    for (const [content, publish] of Object.entries(contents)) {
      it(`${transport}: mixes both logs for good after a Chunk of the new log with ${content}`, () =>
        play(async (stage) => {
          const { server } = stage
          await openWithTwo(stage)
          reset(server.store)
          await publish(stage)
          await eventually('it takes over the new id', () => stage.stored().backendId === server.store.backendId)
          assert.equal(stage.stored().events, 2, 'it keeps the old data')
          server.forget()
          while (server.store.events.length < 3) await stage.append(`new ${server.store.events.length + 1}`)
          const again = await stage.open()
          await eventually('it pulls from its old head on', () => again.ids().length === 3, undefined, again.ids)
          assert.deepEqual(again.ids(), ['new 3', 'one', 'two'])
        }))
    }
  }
})
