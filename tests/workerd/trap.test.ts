/**
 * What a bug in the core would cost: the call that hits it and nothing else. The trap is a real one, of the instance that
 * serves every object here; the bundle is edited so that a frame `trap` makes the core read beyond its memory.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { RawClient } from '../harness/raw-client.ts'
import { type Server, startServer } from '../harness/server.ts'

const beyondMemory = 0xfffffff0

const withTrap = (source: string): string => {
  const exports = /([\w$]+)\.syncobject_alarm\(/.exec(source)?.[1]
  assert.ok(exports, 'the bundle calls an export of the core by its name')
  const handler = /(webSocketMessage\((\w+),(\w+)\)\{[^{}]*?\(\(\)=>)(this\.#\w+\.webSocketMessage\(\w+,\w+\)\))/
  assert.match(source, handler)
  return source.replace(
    handler,
    (_, start, _socket, message, rest) =>
      `${start}${message}==="trap"?${exports}.syncobject_alarm(${beyondMemory}):${rest}`,
  )
}

const event = (seqNum: number): object => ({
  name: 'v1.Noted',
  args: { seqNum },
  seqNum,
  parentSeqNum: seqNum - 1,
  clientId: 'client',
  sessionId: 'static',
})

const request = (id: string, tag: string, storeId: string, fields: object): object => ({
  _tag: 'Request',
  id,
  tag: `SyncWsRpc.${tag}`,
  payload: { storeId, ...fields },
  headers: [],
})

const livePull = (storeId: string): object => request('0', 'Pull', storeId, { live: true, cursor: { _tag: 'None' } })

const push = (id: string, storeId: string, seqNum: number): object =>
  request(id, 'Push', storeId, { batch: [event(seqNum)], backendId: { _tag: 'None' } })

/** The events of a Chunk by number. */
const numbers = (frame: string): number[] => {
  const { _tag, values } = JSON.parse(frame) as {
    _tag: string
    values: Array<{ batch: Array<{ eventEncoded: { seqNum: number } }> }>
  }
  assert.equal(_tag, 'Chunk', frame)
  return values.flatMap(({ batch }) => batch.map(({ eventEncoded }) => eventEncoded.seqNum))
}

let server: Server

before(async () => {
  server = await startServer({ edit: withTrap })
})

after(() => server.stop())

test('after a trap every object of the isolate goes on with its log and its live pulls', async () => {
  const [first, second, elsewhere] = await Promise.all(
    ['trapped', 'trapped', 'elsewhere'].map((storeId) => RawClient.connect(server, { storeId })),
  )
  assert.ok(first && second && elsewhere)
  first.send(livePull('trapped'))
  second.send(livePull('trapped'))
  elsewhere.send(livePull('elsewhere'))
  for (const client of [first, second, elsewhere]) assert.deepEqual(numbers(await client.next()), [])
  second.send(push('1', 'trapped', 1))
  assert.deepEqual(numbers(await second.next()), [1])
  assert.match(await second.next(), /"Success"/)
  assert.deepEqual(numbers(await first.next()), [1])

  first.send('trap')
  second.send(push('2', 'trapped', 2))
  assert.deepEqual(numbers(await second.next()), [2])
  assert.match(await second.next(), /"Success"/)
  assert.deepEqual(numbers(await first.next()), [2], 'the socket whose frame trapped is served as well')
  elsewhere.send(push('1', 'elsewhere', 1))
  assert.deepEqual(numbers(await elsewhere.next()), [1])
  assert.match(await elsewhere.next(), /"Success"/)

  const traps = server.logs.filter((line) => line.includes('"event":"trap"'))
  assert.equal(traps.length, 1, server.logs.join('\n'))
  for (const client of [first, second, elsewhere]) {
    assert.equal(client.ended, undefined)
    await client.close()
  }
})
