/** An export under workerd: a file that says what it is of, has every event to the byte, and shows when it is not whole. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { crc32 } from 'node:zlib'
import { batchOf, freshStoreId } from '../clients/events.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { administer, adminSecret, errorOf, linesIn, reset, stateOf, storePath } from './administration.ts'
import { fill, Peer, pushedFrame, pushFrame } from './peer.ts'
import { SlowAnswer } from './slow-answer.ts'

const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })

interface Event {
  readonly seqNum: number
  readonly parentSeqNum: number
  readonly name: string
  readonly args?: unknown
  readonly argsText?: string
}

interface File {
  readonly first: Readonly<Record<string, unknown>>
  readonly lines: readonly string[]
  readonly events: readonly Event[]
}

/** The lines of a whole file, whose last one is right about those before it. */
const fileOf = (text: string): File => {
  const at = text.lastIndexOf('\n', text.length - 2) + 1
  const before = text.slice(0, at)
  const [first, ...lines] = before.trimEnd().split('\n')
  const events = lines.map((line) => JSON.parse(line) as Event)
  const crc = crc32(before).toString(16).padStart(8, '0')
  const head = events.at(-1)?.seqNum ?? 0
  const last = `{"end":{"events":${events.length},"head":${head},"crc32":"${crc}"}}\n`
  assert.equal(text.slice(at), last)
  return { first: JSON.parse(first!) as Record<string, unknown>, lines, events }
}

const exportOf = async (storeId: string): Promise<File> => {
  const answer = await administer(server(), storePath(storeId, '/export'))
  linesIn(answer)
  return fileOf(answer.body)
}

const slowExport = (to: Server, storeId: string): Promise<SlowAnswer> =>
  SlowAnswer.begun(to, {
    target: storePath(storeId, '/export'),
    headers: { authorization: `Bearer ${adminSecret}` },
  })

describe('an export', () => {
  it('says what it is of, has every event, and what is told of it at its end is right', async () => {
    const storeId = 'odd "id" é/%'
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 250))
    const { first, events } = await exportOf(storeId)
    const { backendId } = await stateOf(server(), storeId)
    const { exportedAt, ...rest } = first
    assert.deepEqual(rest, { format: 'livestore-sync-export', version: 1, storeId, backendId, head: 250 })
    assert.match(String(exportedAt), /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/)
    assert.deepEqual(
      events.map(({ seqNum, parentSeqNum }) => [seqNum, parentSeqNum]),
      batchOf(0, 250).map(({ seqNum, parentSeqNum }) => [seqNum, parentSeqNum]),
    )
  })

  it('has args byte for byte, where they cannot stand in a line as a text', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    const all = [
      ['{"b":1.0,"a":1e3}', '"args":{"b":1.0,"a":1e3}'],
      ['"\\ud800 é😀\u2028"', '"args":"\\ud800 é😀\u2028"'],
      ['null', '"args":null'],
      [undefined, undefined],
      ['{\n "a": "\\n",\r\n\t"b": [ ]}', '"argsText":"{\\n \\"a\\": \\"\\\\n\\",\\r\\n\\t\\"b\\": [ ]}"'],
      ['12345678901234567890.50', '"args":12345678901234567890.50'],
    ]
    for (const [head, [args]] of all.entries()) {
      const { args: _, ...event } = batchOf(head)[0]!
      const request = peer.request++
      const frame = JSON.stringify(pushFrame('v04', request, storeId, [{ ...event, ...(args && { args: 0 }) }]))
      peer.client.send(frame.replace('"args":0', () => `"args":${args}`))
      assert.deepEqual(JSON.parse(await peer.client.next()), pushedFrame('v04', request))
    }
    const [createdAt] = (await peer.pages()).flatMap((page) => page.createdAt)
    const { lines } = await exportOf(storeId)
    assert.ok(lines[0]!.endsWith(`"createdAt":"${createdAt}"}`))
    assert.deepEqual(
      lines.map((line) => line.replace(/"createdAt":"[^"]+"/, '"createdAt":""')),
      all.map(
        ([, member], head) =>
          `{"seqNum":${head + 1},"parentSeqNum":${head},"name":"v1.Noted",${member === undefined ? '' : `${member},`}` +
          '"clientId":"client","sessionId":"static","createdAt":""}',
      ),
    )
  })

  it('of a store without events has a first and a last line, and of no store is none', async () => {
    const storeId = freshStoreId()
    await Peer.connect(server(), 'v04', storeId)
    const { first, events } = await exportOf(storeId)
    assert.deepEqual([first['head'], events], [0, []])
    errorOf(await administer(server(), storePath(freshStoreId(), '/export')), 404)
    errorOf(await administer(server(), storePath(storeId, '/export'), { method: 'POST' }), 405)
  })

  it('of the largest events arrives whole, also where their args are quoted', async () => {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server(), 'v04', storeId)
    const text = '"'.repeat(900_000)
    for (const [head, args] of [`{"text":${JSON.stringify(text)}}`, `{\n"text":${JSON.stringify(text)}}`].entries()) {
      const request = peer.request++
      const frame = JSON.stringify(pushFrame('v04', request, storeId, [{ ...batchOf(head)[0]!, args: 0 }]))
      peer.client.send(frame.replace('"args":0', () => `"args":${args}`))
      assert.deepEqual(JSON.parse(await peer.client.next()), pushedFrame('v04', request))
    }
    const { events } = await exportOf(storeId)
    assert.ok(events.length === 2)
    assert.ok((events[0]!.args as { text: string }).text === text)
    assert.ok(events[1]!.argsText === `{\n"text":${JSON.stringify(text)}}`)
  })

  it('is of the head that it names, and the store serves meanwhile', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 18_000, 1_000)
    const peer = await Peer.connect(server(), 'v04', storeId)
    const answer = await slowExport(server(), storeId)
    assert.deepEqual((await peer.pushed(batchOf(18_000))).answer, pushedFrame('v04', 1))
    const { text, isCut } = await answer.rest()
    assert.equal(isCut, false)
    assert.ok(text.length > 20_000_000, `${text.length} bytes`)
    const { first, events } = fileOf(text)
    assert.deepEqual([first['head'], events.length], [18_000, 18_000])
  })

  it('is cut off by a reset in its middle, and has no last line then', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 18_000, 1_000)
    const answer = await slowExport(server(), storeId)
    await reset(server(), storeId)
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(0, 5, 'after'))
    const { text, isCut } = await answer.rest()
    assert.equal(isCut, true, `${text.length} bytes came`)
    assert.ok(!text.includes('"clientId":"after"') && !text.includes('{"end":'))
    assert.equal((await exportOf(storeId)).events.length, 5)
  })
})
