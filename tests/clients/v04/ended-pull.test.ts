/**
 * What a whole 0.4.0 store makes of a pull over http or Durable Object RPC that is not served, or not served to its end.
 *
 * The server is hand-written. Findings:
 *
 * | the answer to a pull | http | Durable Object RPC |
 * | --- | --- | --- |
 * | a page without events and an Exit with Success | pulls again at its next poll | is called back |
 * | pages, the last of which announces more, and an Exit with Success | pulls the rest at its next poll | takes the rest in calls |
 * | late | waits for it | same |
 * | an Exit with Success and no page | goes on polling; a store that has no backend id yet ends | ends |
 * | any Exit with a failure, any other status, a broken connection or stream, a call that rejects | ends | ends |
 *
 * A pull that has ended is not repeated until the app starts again, and nobody is told.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Answer as DoRpcAnswer, exitOf, type FakeSyncObject, pageOf } from '../do-rpc/fake-sync-object.ts'
import type { Answer as HttpAnswer, FakeHttpServer } from '../fake-http-server.ts'
import { failureFor, type RequestId, successFor, unknownError } from '../fake-log.ts'
import { eventually } from '../waiting.ts'
import { Stage } from './stage.ts'

/** Time enough to poll many times, had the store meant to. */
const patienceMs = 1_000

const success = (requestId: RequestId): unknown => exitOf(requestId, successFor(null))
const failure = (requestId: RequestId): unknown => exitOf(requestId, failureFor(requestId, unknownError('no')))
const interrupt = (requestId: RequestId): unknown =>
  exitOf(requestId, { _tag: 'Failure', cause: { _tag: 'Interrupt', fiberId: { _tag: 'None' } } })

type MakeAnswer<Server, Answer> = (server: Server) => Answer

/** The events with these numbers, of which there are `remaining` more, and then `end`. */
const http =
  (
    from: number,
    to: number,
    remaining: number,
    end: (requestId: RequestId) => unknown,
  ): MakeAnswer<FakeHttpServer, HttpAnswer> =>
  ({ store }) => ({
    kind: 'envelopes',
    envelopes: (requestId) => {
      const page = store.page(store.events.slice(from - 1, to), remaining)
      return [{ _tag: 'Chunk', requestId, values: [page] }, end(requestId)]
    },
  })

const doRpc =
  (to: number, remaining: number, end: (requestId: RequestId) => unknown): MakeAnswer<FakeSyncObject, DoRpcAnswer> =>
  ({ store }) => ({
    kind: 'envelopes',
    envelopes: (requestId) => [pageOf(requestId, store.page(store.events.slice(0, to), remaining)), end(requestId)],
  })

const plain =
  (answer: HttpAnswer): MakeAnswer<FakeHttpServer, HttpAnswer> =>
  () =>
    answer
const envelopes = (of: (requestId: RequestId) => readonly unknown[]) => ({ kind: 'envelopes', envelopes: of }) as const

/** A store that polls and has the first of four events; the poll for the other three is answered by `make`. */
const polling = (
  make: MakeAnswer<FakeHttpServer, HttpAnswer>,
  scenario: (stage: Stage<FakeHttpServer>, ids: () => readonly string[]) => Promise<void>,
): Promise<void> =>
  Stage.http(async (stage) => {
    const { server } = stage
    await stage.append('1')
    const store = await stage.open()
    await eventually('the store has the event', () => store.ids().length === 1)
    server.pullAnswers.push(make(server))
    for (const id of ['2', '3', '4']) await stage.append(id)
    await eventually('it polls', () => server.pullAnswers.length === 0)
    await scenario(stage, store.ids)
  })

describe('a 0.4.0 store over http', { concurrency: true }, () => {
  const lasting: Readonly<Record<string, MakeAnswer<FakeHttpServer, HttpAnswer>>> = {
    'a page without events': http(2, 1, 0, success),
    'no page and Success': plain(envelopes((requestId) => [success(requestId)])),
    'a page that announces more, and Success': http(2, 3, 1, success),
    'a late answer': plain({ kind: 'serve', afterMs: 500 }),
  }
  for (const [name, make] of Object.entries(lasting)) {
    it(`goes on polling, and misses nothing, after ${name}`, () =>
      polling(make, async (stage, ids) => {
        await eventually('the store has all events', () => ids().length === 4, undefined, ids)
        await stage.append('5')
        await eventually('it goes on', () => ids().length === 5, undefined, ids)
      }))
  }

  it('pushes what it was given in the middle of a pull that was cut, once the rest is there', () =>
    Stage.http(async (stage) => {
      const { server } = stage
      for (const id of ['1', '2']) await stage.append(id)
      server.pullAnswers.push(http(1, 1, 1, success)(server), { kind: 'serve', afterMs: 500 })
      const store = await stage.open()
      await eventually('it polls for the rest', () => server.pulls.length === 2)
      store.create('mine')
      await eventually('the event is stored', () => server.store.events.length === 3)
      await eventually('the store has all events', () => store.ids().length === 3, undefined, store.ids)
    }))

  const ending: Readonly<Record<string, MakeAnswer<FakeHttpServer, HttpAnswer>>> = {
    UnknownError: plain({ kind: 'error', error: unknownError('no') }),
    'an Interrupt': plain(envelopes((requestId) => [interrupt(requestId)])),
    'pages and UnknownError': http(2, 3, 1, failure),
    '503 with text': plain({ kind: 'status', status: 503, body: 'not now', headers: { 'Retry-After': '1' } }),
    '429 with text': plain({ kind: 'status', status: 429, body: 'not now' }),
    'an empty array': plain({ kind: 'status', status: 200, body: '[]' }),
    'a dropped connection': plain({ kind: 'drop' }),
    'a connection that breaks in the answer': plain({ kind: 'break' }),
  }
  for (const [name, make] of Object.entries(ending)) {
    it(`does not poll again after ${name}, and takes no event of it`, () =>
      polling(make, async ({ server }, ids) => {
        const [pulls, since] = [server.pulls.length, server.nowMs]
        await eventually('its patience is tried', () => server.nowMs - since > patienceMs)
        assert.equal(server.pulls.length, pulls)
        assert.deepEqual(ids(), ['1'])
      }))
  }

  const first: readonly [string, MakeAnswer<FakeHttpServer, HttpAnswer>, readonly string[]][] = [
    ['goes on polling when its very first pull has a page without events', http(1, 0, 0, success), ['1']],
    ['ends when its very first pull has no page', plain(envelopes((requestId) => [success(requestId)])), []],
  ]
  for (const [name, make, ids] of first) {
    it(name, () =>
      Stage.http(async (stage) => {
        const { server } = stage
        await stage.append('1')
        server.pullAnswers.push(make(server))
        const store = await stage.open()
        await eventually('it polls', () => server.pulls.length >= 2)
        const since = server.nowMs
        await eventually('it has the time to poll', () => server.nowMs - since > patienceMs)
        assert.deepEqual([store.ids(), server.pulls.length > 2], [ids, ids.length > 0])
      }),
    )
  }

  it('is never connected if its first two pings fail: it takes no events and pushes none', () =>
    Stage.http(async (stage) => {
      const { server } = stage
      await stage.append('1')
      const refused = { kind: 'status', status: 503, body: 'not now' } as const
      server.pingAnswers.push(refused, refused)
      const store = await stage.open({ pingEveryMs: 100 })
      store.create('mine')
      const since = server.nowMs
      await eventually('its patience is tried', () => server.nowMs - since > patienceMs)
      assert.deepEqual([store.ids(), server.pushes.length, server.pingAnswers.length], [['mine'], 0, 0])
    }))
})

describe('a 0.4.0 store over do-rpc', { concurrency: true }, () => {
  /** Opens a store on a log of two events; its pull is answered by `make`. */
  const pulling = (
    make: MakeAnswer<FakeSyncObject, DoRpcAnswer>,
    scenario: (stage: Stage<FakeSyncObject>, ids: () => readonly string[]) => Promise<void>,
  ): Promise<void> =>
    Stage.doRpc(async (stage) => {
      const { server } = stage
      for (const id of ['1', '2']) await stage.append(id)
      server.pullAnswers.push(make(server))
      const store = await stage.open()
      await scenario(stage, store.ids)
    })

  /** Calls the store back for the pull that it made, whether the server serves it or not. */
  const call = ({ server }: Stage<FakeSyncObject>, from: number): Promise<void> =>
    server.callBack({
      _tag: 'Chunk',
      requestId: String(server.pulls[0]!.requestId),
      values: [server.store.page(server.store.events.slice(from - 1))],
    })

  it('takes the rest in calls after a page that announces more, and Success', () =>
    pulling(doRpc(1, 1, success), async (stage, ids) => {
      await eventually('the store has the first event', () => ids().length === 1)
      await call(stage, 2)
      await eventually('the store has the second event', () => ids().length === 2)
    }))

  it('takes the rest in calls after a page without events', () =>
    pulling(doRpc(0, 0, success), async (stage, ids) => {
      await call(stage, 1)
      await eventually('the store has both events', () => ids().length === 2)
    }))

  it('waits for a late answer', () =>
    pulling(
      () => ({ kind: 'serve', afterMs: 500 }),
      async (stage, ids) => {
        await eventually('the store has both events', () => ids().length === 2)
        await stage.append('3')
        await eventually('the store is called back', () => ids().length === 3)
      },
    ))

  const ending: readonly [string, MakeAnswer<FakeSyncObject, DoRpcAnswer>, number][] = [
    ['a call that rejects', () => ({ kind: 'reject' }), 0],
    ['UnknownError', () => ({ kind: 'error', error: unknownError('no') }), 0],
    ['no page and Success', () => envelopes((requestId) => [success(requestId)]), 0],
    ['a page and UnknownError', doRpc(2, 0, failure), 2],
    ['a stream that breaks after a page', () => ({ kind: 'break' }), 2],
  ]
  for (const [name, make, taken] of ending) {
    it(`does not pull again after ${name}, and takes no call`, () =>
      pulling(make, async (stage, ids) => {
        const { server } = stage
        await eventually('the store has what was sent', () => ids().length === taken, undefined, ids)
        server.store.append('v1.TodoCreated', { id: '3', text: '' })
        await call(stage, 3)
        const since = server.nowMs
        await eventually('its patience is tried', () => server.nowMs - since > patienceMs)
        assert.deepEqual([server.pulls.length, ids().length], [1, taken])
      }))
  }
})
