/**
 * What goes on by itself once enough time has passed: calls and hooks that nobody answers, and stores that could not be
 * opened. Half a minute and more is waited for here, all at once.
 */
import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { onOneStorage, serverOf } from '../harness/servers.ts'
import { HookListener } from './hook-listener.ts'
import { post } from './over-http.ts'
import { assertEvents, eventsIn, pushFrame } from './peer.ts'
import { Recorder, withRecorder } from './recorder.ts'

const vars = { LOG_LEVEL: 'debug' }

/** Pushes an event by a request that leaves nothing behind. */
const push = async (server: Server, storeId: string, head: number): Promise<void> => {
  const answer = await post(server, storeId, pushFrame('v04', 1, storeId, batchOf(head)))
  assert.equal(answer.status, 200, answer.body)
}

describe('though nobody comes,', { concurrency: true }, () => {
  let listener: HookListener
  const server = serverOf({ vars, doRpcClients: true, edit: withRecorder('hang-once') })
  const failing = serverOf({ vars, doRpcClients: true, inspect: true, edit: withRecorder('fail') })
  const hooked = serverOf(async () => {
    listener = await HookListener.start()
    return listener.options(['on_committed'])
  })
  after(() => listener.stop())

  it('a call that an object does not answer for 30 seconds is made again, with what has come since', async () => {
    const storeId = freshStoreId()
    const recorder = new Recorder(server, 'v05', storeId)
    await recorder.pull()
    await push(server(), storeId, 0)
    assertEvents(eventsIn(await recorder.called(1)), batchOf(0))
    const startedAt = performance.now()
    await push(server(), storeId, 1)
    const [first, second] = await recorder.called(2, 60_000)
    assert.ok(performance.now() - startedAt > 25_000)
    assertEvents(eventsIn([first!]), batchOf(0))
    assertEvents(eventsIn([second!]), batchOf(0, 2))
    await push(server(), storeId, 2)
    const calls = await recorder.called(3)
    assertEvents(eventsIn(calls.slice(2)), batchOf(2))
  })

  it('a call during which the runtime is killed is made again, with what has come since', () =>
    onOneStorage({ vars, doRpcClients: true }, async (start) => {
      const storeId = freshStoreId()
      let own = await start({ edit: withRecorder('hang') })
      const recorder = new Recorder(() => own, 'v04', storeId)
      await recorder.pull()
      await push(own, storeId, 0)
      assertEvents(eventsIn(await recorder.called(1)), batchOf(0))
      await push(own, storeId, 1)
      assert.equal(recorder.calls().length, 1, 'one call at a time')
      await own.kill()

      own = await start({ edit: withRecorder() })
      assertEvents(eventsIn(await recorder.called(1, 60_000)), batchOf(0, 2))
      await push(own, storeId, 2)
      const calls = await recorder.called(2)
      assertEvents(eventsIn(calls), batchOf(0, 3))
    }))

  it('an on_committed that does not return for 60 seconds is called again, with what has come since', async () => {
    const storeId = freshStoreId()
    const held = listener.hold('on_committed', storeId)
    await push(hooked(), storeId, 0)
    await held.waits
    await push(hooked(), storeId, 1)
    const [first, second] = await listener.told(storeId, 3, 100_000)
    assertEvents(first!, batchOf(0))
    assertEvents(second!, batchOf(0, 2))
    // The one that was given up changes nothing when it returns after all.
    held.release('too late')
    await push(hooked(), storeId, 2)
    const told = await listener.told(storeId, 4)
    assertEvents(told[2]!, batchOf(2))
  })

  it('an object whose alarm could not open its store opens it a minute later', async () => {
    const storeId = freshStoreId()
    const recorder = new Recorder(failing, 'v04', storeId)
    await recorder.pull()
    await push(failing(), storeId, 0)
    // The next call is 4 seconds away.
    await recorder.called(3)
    const sql = (statement: string) => failing().sql(storeId, statement)
    await sql('ALTER TABLE context_7 RENAME TO hidden')
    await sql('CREATE TABLE context_7 (unrelated)')
    await failing().evict(storeId)
    const isFailed = (line: string): boolean => line.includes('"event":"open-failed"') && line.includes(storeId)
    await eventually('the alarm has gone off', () => failing().logs.some(isFailed))
    await sql('DROP TABLE context_7')
    await sql('ALTER TABLE hidden RENAME TO context_7')
    assert.equal(recorder.calls().length, 3)
    assertEvents(eventsIn((await recorder.called(4, 100_000)).slice(3)), batchOf(0))
  })
})
