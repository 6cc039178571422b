/**
 * How the published 0.4.0 client takes a server that does not know its live pull any more, and what brings it back.
 *
 * The server is hand-written, the clients are real: the bare sync client and a whole adapter-node store. Findings:
 *
 * | the server's answer to an Ack of a request it does not know | bare live pull ends with | store pulls again |
 * | --- | --- | --- |
 * | nothing                        | goes on, deaf          | never |
 * | Exit, Interrupt cause          | `InterruptedException` | never |
 * | Exit, Fail `UnknownError`      | `UnknownError`         | never |
 * | Exit, Success                  | ends without an error  | never |
 * | Defect                         | the defect             | never |
 * | close with any code, or a drop | `IsOfflineError`       | once, from its head, after about 1 s |
 *
 * So a server in doubt closes the socket. It must stay in doubt: the client also acknowledges the Chunk of a pull that
 * has had its Exit, and such an Ack means nothing.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Refusal } from '../client.ts'
import { PullError } from '../client.ts'
import { FakeServer, type UnknownAnswer } from '../fake-server.ts'
import { eventually } from '../waiting.ts'
import { makeClient } from './client.ts'
import { openTodoStore } from './store.ts'

/** The code that our backend closes with: "service restart". */
const closeCode = 1012

const payload = { authToken: 'unused' }
const pingEveryMs = 1_000

const failure = (cause: unknown): UnknownAnswer => ({ kind: 'exit', exit: { _tag: 'Failure', cause } })
const unknownError = { _tag: 'UnknownError', cause: { name: 'Error', message: 'unknown request' } }

interface Case {
  readonly name: string
  readonly answer: UnknownAnswer
  /** What the bare client's live pull ends with: a tag, 'end' for a normal end, undefined while it goes on. */
  readonly bareEndsWith: string | undefined
}

const deafening: readonly Case[] = [
  { name: 'nothing', answer: { kind: 'nothing' }, bareEndsWith: undefined },
  {
    name: 'an Exit with an Interrupt cause',
    answer: failure({ _tag: 'Interrupt', fiberId: { _tag: 'None' } }),
    bareEndsWith: 'InterruptedException',
  },
  {
    name: 'an Exit with an UnknownError',
    answer: failure({ _tag: 'Fail', error: unknownError }),
    bareEndsWith: 'UnknownError',
  },
  { name: 'an Exit with Success', answer: { kind: 'exit', exit: { _tag: 'Success' } }, bareEndsWith: 'end' },
  { name: 'a Defect', answer: { kind: 'defect' }, bareEndsWith: 'untagged' },
]

const healing: readonly Case[] = [
  ...[1000, 1001, 1002, 1011, closeCode, 1013, 4000].map((code) => ({
    name: `close ${code}`,
    answer: { kind: 'close' as const, code },
    bareEndsWith: 'IsOfflineError',
  })),
  { name: 'a dropped connection', answer: { kind: 'drop' }, bareEndsWith: 'IsOfflineError' },
]

/** Runs `scenario` against a fresh fake server. */
const withServer = async <T>(scenario: (server: FakeServer) => Promise<T>): Promise<T> => {
  const server = await FakeServer.start()
  try {
    return await scenario(server)
  } finally {
    await server.stop()
  }
}

/** Runs `scenario` with a bare client whose live pull the server forgets while the client owes it one Ack. */
const withForgottenBareClient = (
  answer: UnknownAnswer,
  scenario: (server: FakeServer, outcome: { ended?: string }) => Promise<void>,
): Promise<void> =>
  withServer(async (server) => {
    server.answer = answer
    const client = await makeClient({ url: server.url, storeId: 'store', payload })
    const outcome: { ended?: string } = {}
    const seqNums: number[] = []
    const pull = (async () => {
      try {
        for await (const page of client.pull(0, 'live')) seqNums.push(...page.events.map((event) => event.seqNum))
        outcome.ended = 'end'
      } catch (error) {
        outcome.ended = error instanceof PullError ? (error.refusal as Refusal).error : String(error)
      }
    })()
    await eventually('the client pulls', () => server.subscriptions === 1)
    server.forgetAfterNextChunk = true
    server.append('v1.Noted', {})
    await eventually('the client has the event of the last Chunk', () => seqNums.length === 1)
    await scenario(server, outcome)
    await client.close()
    await pull
  })

/** Runs `scenario` with a whole store whose live pull the server forgets while the store owes it one Ack. */
const withForgottenStore = (
  answer: UnknownAnswer,
  scenario: (server: FakeServer, rows: () => number) => Promise<void>,
): Promise<void> =>
  withServer(async (server) => {
    server.answer = answer
    const store = await openTodoStore({ url: server.url, storeId: 'store', clientId: 'client', payload, pingEveryMs })
    try {
      await eventually('the store pulls', () => server.subscriptions === 1)
      server.forgetAfterNextChunk = true
      server.append('v1.TodoCreated', { id: '1', text: 'one' })
      await eventually('the store has the event of the last Chunk', () => store.todos().length === 1)
      server.append('v1.TodoCreated', { id: '2', text: 'two' })
      await scenario(server, () => store.todos().length)
    } finally {
      await store.close()
    }
  })

/** Number of pings seen so far, of one connection or of all. */
const pings = (server: FakeServer, connection?: number): number =>
  server.seen.filter((frame) => frame.tag === 'Ping' && (connection ?? frame.connection) === frame.connection).length

describe('the 0.4.0 client, when an Ack names a request that the server does not know', () => {
  describe('is left without events by', { concurrency: true }, () => {
    for (const { name, answer, bareEndsWith } of deafening) {
      it(`${name}: a bare live pull ${bareEndsWith === undefined ? 'goes on' : `ends with ${bareEndsWith}`}`, () =>
        withForgottenBareClient(answer, async (server, outcome) => {
          await eventually('the Ack arrives', () => server.seen.some((frame) => frame.tag === 'Ack'))
          if (bareEndsWith === undefined) assert.equal(outcome.ended, undefined)
          else await eventually('the live pull ends', () => outcome.ended)
          assert.equal(outcome.ended, bareEndsWith)
        }))
      it(`${name}: a whole store stays connected and does not pull again`, () =>
        withForgottenStore(answer, async (server, rows) => {
          await eventually('the Ack arrives', () => server.seen.some((frame) => frame.tag === 'Ack'))
          const before = pings(server)
          await eventually('two more pings: the store had the time to react', () => pings(server) >= before + 2)
          assert.deepEqual([server.pulls.length, server.connections, rows()], [1, 1, 1])
        }))
    }
  })

  describe('is brought back by', { concurrency: true }, () => {
    for (const { name, answer, bareEndsWith } of healing) {
      it(`${name}: a bare live pull ends with ${bareEndsWith}`, () =>
        withForgottenBareClient(answer, async (_, outcome) => {
          assert.equal(await eventually('the live pull ends', () => outcome.ended), bareEndsWith)
        }))
      it(`${name}: a whole store pulls again from its head, once, and misses nothing`, () =>
        withForgottenStore(answer, async (server, rows) => {
          await eventually('the store has both events', () => rows() === 2)
          server.append('v1.TodoCreated', { id: '3', text: 'three' })
          await eventually('the store gets later events, too', () => rows() === 3)
          assert.deepEqual([server.pulls.map((pull) => pull.cursor), server.connections], [[0, 1], 2])
        }))
    }
  })
})

describe('the 0.4.0 client', () => {
  it('names no request of a broken connection on the next one: its first is a new Pull from its head', () =>
    withServer(async (server) => {
      const store = await openTodoStore({ url: server.url, storeId: 'store', clientId: 'client', payload })
      try {
        await eventually('the store pulls', () => server.subscriptions === 1)
        server.dropAfterNextChunk = true
        server.append('v1.TodoCreated', { id: '1', text: 'one' })
        await eventually('the store pulls again', () => server.pulls.length === 2)
        const [first] = server.seen.filter((frame) => frame.connection === 2 && frame.requestId !== undefined)
        assert.equal(first?.rpc, 'SyncWsRpc.Pull')
        assert.equal(first?.cursor, 1)
      } finally {
        await store.close()
      }
    }))

  it('acknowledges the Chunk of a finished pull after its Exit, so that such an Ack must be let pass', () =>
    withServer(async (server) => {
      const client = await makeClient({ url: server.url, storeId: 'store', payload })
      for await (const page of client.pull(0, 'once')) assert.equal(page.remaining, 0)
      const [pull] = server.pulls
      await eventually('the Ack arrives', () =>
        server.seen.some((frame) => frame.tag === 'Ack' && frame.requestId === pull?.requestId),
      )
      await client.close()
    }))

  it('reconnects after a silent network without pulling again, and pulls once its socket is closed', () =>
    withServer(async (server) => {
      const store = await openTodoStore({ url: server.url, storeId: 'store', clientId: 'client', payload, pingEveryMs })
      try {
        await eventually('the store pulls', () => server.subscriptions === 1)
        server.mute = true
        await eventually('the store gives up the silent connection', () => server.connections === 2)
        server.mute = false
        const before = pings(server)
        await eventually('two more pings: the store had the time to pull', () => pings(server) >= before + 2)
        assert.equal(server.subscriptions, 0, 'the store holds a live pull that no server knows')
        server.append('v1.TodoCreated', { id: '1', text: 'one' })
        // On a busy machine the store may have given up that connection, too: it is on a third one then, as deaf as before.
        let closed = 0
        await eventually('the store has the event', () => {
          const { connections } = server
          if (connections > closed && server.subscriptions === 0 && pings(server, connections) >= 2) {
            closed = connections
            server.closeAll(closeCode)
          }
          return store.todos().length === 1
        })
      } finally {
        await store.close()
      }
    }))
})
