/**
 * What a whole 0.4.0 store makes of a push that cannot be taken now: whether it pushes again by itself.
 *
 * The server is hand-written. Findings:
 *
 * | the answer to a push | WebSocket | http | Durable Object RPC |
 * | --- | --- | --- | --- |
 * | `UnknownError` | again after 1, 2, 4 … 30 s | same | same |
 * | a closed or dropped connection | again at once when it has connected, after 1, 2, 4 … s | again after 1, 2, 4 … 30 s | |
 * | 429, 503 and the like with text | | again after 1, 2, 4 … 30 s, whatever `Retry-After` says | |
 * | no body, or JSON without an Exit, whatever the status | | parked | parked |
 * | a call that rejects | | | parked |
 * | no answer, an Exit with a defect | parked | | |
 * | a late answer | waits for it | same | same |
 *
 * A parked push goes out again when an event of somebody else is pulled, and not before.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Answer as DoRpcAnswer } from '../do-rpc/fake-sync-object.ts'
import type { Answer as HttpAnswer } from '../fake-http-server.ts'
import { unknownError } from '../fake-log.ts'
import type { Answer as WsAnswer } from '../fake-server.ts'
import { eventually } from '../waiting.ts'
import { type Fake, Stage } from './stage.ts'

/** What a store waits before it pushes again is jittered down to this. */
const againAfterMsMin = 700

/** Time enough to push again at least once, had the store meant to. */
const patienceMs = 2_500

const status = (code: number, body: string, headers = {}): HttpAnswer => ({
  kind: 'status',
  status: code,
  body,
  headers,
})
const refusal = { kind: 'error', error: unknownError('too many pushes') } as const
const late = { kind: 'serve', afterMs: patienceMs } as const

/** An answer, and how the store of a transport is played with it. */
type Case = readonly [name: string, play: (scenario: (stage: Stage<Fake>) => Promise<void>) => Promise<void>]

const ws = (name: string, answer: WsAnswer): Case => [
  `ws, ${name}`,
  (scenario) => Stage.ws((stage) => (stage.server.pushAnswers.push(answer), scenario(stage))),
]
const http = (name: string, answer: HttpAnswer): Case => [
  `http, ${name}`,
  (scenario) => Stage.http((stage) => (stage.server.pushAnswers.push(answer), scenario(stage))),
]
const doRpc = (name: string, answer: DoRpcAnswer): Case => [
  `do-rpc, ${name}`,
  (scenario) => Stage.doRpc((stage) => (stage.server.pushAnswers.push(answer), scenario(stage))),
]

/** Runs `scenario` once a store that pulls has sent a push, which is answered as the case says. */
const pushing = (
  [, play]: Case,
  scenario: (stage: Stage<Fake>, logged: () => readonly string[]) => Promise<void>,
): Promise<void> =>
  play(async (stage) => {
    const { server } = stage
    const logged = (): readonly string[] => server.store.events.map(({ args }) => (args as { id: string }).id)
    await stage.append('first')
    const store = await stage.open()
    await eventually('the store has what there is', () => store.ids().length === 1)
    store.create('mine')
    await eventually('it pushes', () => server.pushes.length === 1)
    await scenario(stage, logged)
    const { length } = logged()
    await eventually('the store has all events', () => store.ids().length === length, undefined, store.ids)
  })

const again: readonly Case[] = [
  ws('UnknownError', refusal),
  ws('close 1013', { kind: 'close', code: 1013 }),
  ws('close 1012', { kind: 'close', code: 1012 }),
  ws('a dropped connection', { kind: 'drop' }),
  http('UnknownError', refusal),
  http('429', status(429, 'too many pushes')),
  http('503 with Retry-After', status(503, 'too many pushes', { 'Retry-After': '60' })),
  http('a dropped connection', { kind: 'drop' }),
  http('a connection that breaks in the answer', { kind: 'break' }),
  doRpc('UnknownError', refusal),
]

const parked: readonly Case[] = [
  ws('no answer', { kind: 'nothing' }),
  ws('an Exit with a defect', { kind: 'exit', exit: { _tag: 'Failure', cause: { _tag: 'Die', defect: 'no' } } }),
  http('503 without a body', status(503, '')),
  http('503 with an empty array', status(503, '[]')),
  http('503 with another JSON', status(503, '{"error":"too many pushes"}')),
  doRpc('an empty array', { kind: 'envelopes', envelopes: () => [] }),
  doRpc('a call that rejects', { kind: 'reject' }),
]

const waiting: readonly Case[] = [ws('', late), http('', late), doRpc('', late)]

describe('a 0.4.0 store', { concurrency: true }, () => {
  describe('pushes again by itself after', { concurrency: true }, () => {
    for (const one of again) {
      it(one[0], () =>
        pushing(one, async ({ server }, logged) => {
          await eventually('the event is pushed again', () => logged().length === 2)
          assert.equal(server.pushes.length, 2, 'once')
          const [first, second] = server.pushes.map(({ atMs }) => atMs)
          assert.ok(second! - first! >= againAfterMsMin, `not before ${againAfterMsMin} ms: ${second! - first!}`)
        }),
      )
    }
  })

  describe('does not push again, until an event is pulled, after', { concurrency: true }, () => {
    for (const one of parked) {
      it(one[0], () =>
        pushing(one, async (stage, logged) => {
          const { server } = stage
          const since = server.nowMs
          await eventually('its patience is tried', () => server.nowMs - since > patienceMs)
          assert.equal(server.pushes.length, 1)
          await stage.append('of another')
          await eventually('the event is pushed again', () => logged().length === 3)
          assert.deepEqual(logged(), ['first', 'of another', 'mine'])
        }),
      )
    }
  })

  describe('waits for a late answer, and pushes once', { concurrency: true }, () => {
    for (const one of waiting) {
      it(one[0].replace(', ', ''), () =>
        pushing(one, async ({ server }, logged) => {
          await eventually('the event is stored', () => logged().length === 2)
          assert.equal(server.pushes.length, 1)
        }),
      )
    }
  })
})
