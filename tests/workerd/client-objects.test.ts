/**
 * Durable Objects that pull live: what they are called with, and that nobody has to come for it, also not after an
 * eviction. What is not answered is for `patience.test.ts`.
 *
 * What their clients make of calls is for `tests/clients/do-rpc.test.ts` to say.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret, disconnect, reset, stateOf } from './administration.ts'
import { lineOf } from './answers.ts'
import { framesIn, post } from './over-http.ts'
import { assertEvents, eventsIn, failedFrame, pagesIn, pullDoneFrame, pushedFrame, pushFrame } from './peer.ts'
import { Recorder, withRecorder } from './recorder.ts'

const generations = ['v04', 'v05'] as const

const vars = { ADMIN_SECRET: adminSecret, LOG_LEVEL: 'debug' }

/** Pushes an event by a request that leaves nothing behind. */
const push = async (server: Server, storeId: string, head: number, clientId = 'client'): Promise<void> => {
  const frames = framesIn(await post(server, storeId, pushFrame('v04', 1, storeId, batchOf(head, 1, clientId))))
  assert.deepEqual(
    frames.map((frame) => JSON.parse(frame) as unknown),
    [pushedFrame('v04', 1)],
  )
}

describe('an object that pulls live', { concurrency: true }, () => {
  const server = serverOf({ vars, doRpcClients: true, edit: withRecorder() })

  for (const generation of generations) {
    it(`of ${generation} is called with a page of what is pushed, in its dialect, and with the rest in turn`, async () => {
      const storeId = freshStoreId()
      const recorder = new Recorder(server, generation, storeId)
      const [page, done, ...more] = await recorder.pull()
      assert.deepEqual([JSON.parse(done!), more], [pullDoneFrame(generation, 1), []])
      const { backendId } = pagesIn([page!])[0]!
      const body = pushFrame('v04', 1, storeId, batchOf(0, 250))
      assert.equal((await post(server(), storeId, body)).status, 200)
      const calls = await recorder.called(3)
      assert.deepEqual(
        calls.map((frame) => [
          lineOf(generation, frame),
          pagesIn([frame])[0]!.backendId,
          pagesIn([frame])[0]!.remaining,
        ]),
        [100, 100, 50].map((events) => [`Chunk "1": ${events} events`, backendId, 0]),
      )
      assertEvents(eventsIn(calls), batchOf(0, 250))
    })

    it(`of ${generation} is called by the alarm with what came while its client took note of the pull, even after an eviction`, async () => {
      for (const isDropped of [false, true]) {
        const storeId = freshStoreId()
        const recorder = new Recorder(server, generation, storeId)
        await recorder.pull()
        await push(server(), storeId, 0)
        assert.deepEqual(recorder.calls(), [], 'calls are dropped before it has taken note')
        if (isDropped) await server().evict(storeId)
        assertEvents(eventsIn(await recorder.called(1)), batchOf(0))
        await push(server(), storeId, 1)
        assertEvents(eventsIn(await recorder.called(2)), batchOf(0, 2))
      }
    })

    it(`of ${generation} is told of a reset by the end of its pull, and of nothing that comes after`, async () => {
      const storeId = freshStoreId()
      const recorder = new Recorder(server, generation, storeId)
      await recorder.pull()
      await push(server(), storeId, 0)
      await recorder.called(1)
      const { backendId: old } = await stateOf(server(), storeId)
      const expected = await reset(server(), storeId)
      const [, end] = await recorder.called(2)
      const { exit, ...rest } = JSON.parse(end!) as { readonly exit: { readonly cause: unknown } }
      assert.deepEqual(rest, { _tag: 'Exit', requestId: '1' })
      const [cause] = [exit.cause].flat() as ReadonlyArray<{ readonly error: { readonly received: string } }>
      const error = { _tag: 'BackendIdMismatchError', expected, received: cause!.error.received }
      const { exit: known } = failedFrame(generation, 1, { _tag: 'Fail', error }) as { readonly exit: object }
      assert.deepEqual(exit, known)
      assert.ok(['', old].includes(error.received))

      for (const head of [0, 1]) await push(server(), storeId, head, 'new')
      await server().evict(storeId)
      await push(server(), storeId, 2, 'new')
      assert.deepEqual((await stateOf(server(), storeId)).clientObjects, [])
      const again = new Recorder(server, generation, storeId)
      assertEvents(eventsIn(await again.pull()), batchOf(0, 3, 'new'))
      await push(server(), storeId, 3, 'new')
      const calls = await recorder.called(3)
      assertEvents(eventsIn(calls), [...batchOf(0), ...batchOf(3, 1, 'new')])
      assert.equal(calls.length, 3, 'it hears of the next lifetime once it has pulled from it')
    })
  }

  it('is called before and after a disconnect, which is about sockets and answers', async () => {
    const storeId = freshStoreId()
    const recorder = new Recorder(server, 'v05', storeId)
    await recorder.pull()
    await push(server(), storeId, 0)
    await recorder.called(1)
    assert.equal(await disconnect(server(), storeId), 0)
    await push(server(), storeId, 1)
    assertEvents(eventsIn(await recorder.called(2)), batchOf(0, 2))
  })
})
