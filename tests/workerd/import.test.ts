/** An import under workerd: a file becomes the log of a store, to the byte, whole or not at all, also in several pieces. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { onOneStorage, serverOf } from '../harness/servers.ts'
import type { Server } from '../harness/server.ts'
import {
  administer,
  adminSecret,
  errorOf,
  exportOf,
  reset,
  type State,
  stateOf,
  storePath,
  valueOf,
} from './administration.ts'
import { Peer } from './peer.ts'

const vars = { ADMIN_SECRET: adminSecret }

interface Imported {
  readonly backendId: string
  readonly events: number
  readonly head: number
  readonly undated: number
}

/** A store with `events` events, one of which has args that JSON would print otherwise; its file and its lifetime. */
const filled = async (
  server: Server,
  storeId: string,
  events: number,
): Promise<{ file: string; backendId: string }> => {
  const peer = await Peer.connect(server, 'v04', storeId)
  await peer.pushed(batchOf(0, events))
  const { body } = await administer(server, storePath(storeId, '/export'))
  return { file: body, backendId: (await stateOf(server, storeId)).backendId }
}

const send = (server: Server, storeId: string, file: string, query = '') =>
  administer(server, storePath(storeId, `/import${query}`), { method: 'POST', body: file })

/** Some 2 MB, so that it is staged in several steps. */
const many = 9_900

describe('an import', () => {
  const server = serverOf({ vars })

  it('makes a store of a file, which goes on', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    const { file } = await filled(server(), from, 250)
    const { backendId, ...told } = valueOf<Imported>(await send(server(), storeId, file))
    assert.deepEqual(told, { events: 250, head: 250, undated: 0 })
    assert.deepEqual(await exportOf(server(), storeId), await exportOf(server(), from))
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(250), backendId)
    assert.equal((await peer.pages()).flatMap(({ events }) => events).length, 251)
  })

  it('leaves a store with events alone, unless they are to be replaced', async () => {
    const storeId = freshStoreId()
    const { file, backendId } = await filled(server(), storeId, 3)
    const peer = await Peer.connect(server(), 'v04', storeId)
    await peer.pushed(batchOf(3, 2))
    assert.match(errorOf(await send(server(), storeId, file), 409), /holds 5 events/)
    peer.pull({ live: true })
    await peer.settled()
    const imported = valueOf<Imported>(await send(server(), storeId, file, '?replace=true'))
    assert.equal((await peer.client.closed).code, 1013)
    assert.equal((await exportOf(server(), storeId)).length, 3)
    assert.notEqual(imported.backendId, backendId)
  })

  it('goes on in the lifetime of the file, if nothing of it is missing', async () => {
    const storeId = freshStoreId()
    const { file, backendId } = await filled(server(), storeId, 3)
    await reset(server(), storeId)
    errorOf(await send(server(), storeId, file, '?keepBackendId=true'), 400)
    errorOf(await send(server(), storeId, file, '?keepBackendId=true&lastKnownHead=4'), 409)
    const imported = valueOf<Imported>(await send(server(), storeId, file, '?keepBackendId=true&lastKnownHead=3'))
    assert.equal(imported.backendId, backendId)
  })

  it('of a damaged file is refused with the line, and leaves what there was', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    const { file } = await filled(server(), from, many)
    await filled(server(), storeId, 2)
    const before = await exportOf(server(), storeId)
    const lines = file.split('\n')
    for (const [damaged, words] of [
      [file.replace('"seqNum":9000,', '"seqNum":9009,'), /line 9001: seqNum is 9009, but 9000 was expected/],
      [lines.slice(0, -2).join('\n') + '\n', /cut off/],
      [file.replace(/"crc32":"./, '"crc32":"x'), /./],
      ['', /./],
      ['[]', /./],
    ] as const) {
      const error = errorOf(await send(server(), storeId, damaged, '?replace=true'), 400)
      assert.match(error, words)
      assert.deepEqual(await exportOf(server(), storeId), before, error)
      assert.equal((await stateOf(server(), storeId)).status, 'open')
    }
  })

  it('takes a file in parts, each from the byte on that the one before named', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    const bytes = Buffer.from((await filled(server(), from, many)).file)
    // More than is set aside at once.
    const partBytes = 1_300_000
    let at = 0
    let parts = 0
    for (; at + partBytes < bytes.length; parts += 1) {
      const part = bytes.subarray(at, at + partBytes).toString()
      const asked = at === 0 ? '?more=true' : `?more=true&at=${at}`
      const told = valueOf<{ readonly at: number }>(await send(server(), storeId, part, asked), 202)
      assert.deepEqual(Object.keys(told), ['at'])
      assert.ok(
        told.at > at && told.at <= at + partBytes,
        `${told.at} is between ${at} and ${at + partBytes} of ${bytes.length}`,
      )
      at = told.at
      assert.equal((await stateOf(server(), storeId)).restore!.at, at)
    }
    assert.ok(parts > 0)
    const imported = valueOf<Imported>(await send(server(), storeId, bytes.subarray(at).toString(), `?at=${at}`))
    assert.equal(imported.events, many)
    assert.deepEqual(await exportOf(server(), storeId), await exportOf(server(), from))
  })

  it('of which a part is too small for an event begins with the first byte again', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    const { file } = await filled(server(), from, 3)
    const told = await send(server(), storeId, file.slice(0, 20), '?more=true')
    assert.deepEqual(valueOf(told, 202), { at: 0 })
    assert.equal(valueOf<Imported>(await send(server(), storeId, file)).events, 3)
  })

  it('reads lines without anything around them only if that is said', async () => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    await filled(server(), from, 3)
    const { body } = await administer(server(), storePath(from, '/events'))
    errorOf(await send(server(), storeId, body), 400)
    assert.equal(valueOf<Imported>(await send(server(), storeId, body, '?lines=true')).events, 3)
    assert.deepEqual(await exportOf(server(), storeId), await exportOf(server(), from))
  })

  it('reads what LiveStore exports, and says how many events it gave a time', async () => {
    const storeId = freshStoreId()
    const events = batchOf(0, 3).map(({ name, args, seqNum, parentSeqNum, clientId, sessionId }) => ({
      name,
      args,
      seqNum,
      parentSeqNum,
      clientId,
      sessionId,
    }))
    const document = { version: 1, storeId: 'theirs', exportedAt: '2026-01-01T00:00:00.000Z', eventCount: 3, events }
    const file = JSON.stringify(document, null, 2)
    assert.equal(valueOf<Imported>(await send(server(), storeId, file)).undated, 3)
    assert.deepEqual(
      (await exportOf(server(), storeId)).map(({ args }) => args),
      events.map(({ args }) => args),
    )
  })
})

it('an import that breaks off goes on where it was, also after a kill, and serves nobody meanwhile', async () => {
  await onOneStorage({ vars }, async (start) => {
    const [from, storeId] = [freshStoreId(), freshStoreId()]
    const first = await start()
    const { file } = await filled(first, from, many)
    const bytes = Buffer.from(file)
    // A client that says more than it sends.
    const half = bytes.subarray(0, (bytes.length * 2) / 3)
    const sending = fetch(first.url + storePath(storeId, '/import'), {
      method: 'POST',
      headers: { authorization: `Bearer ${adminSecret}` },
      duplex: 'half',
      body: new ReadableStream({
        start: (controller) => controller.enqueue(half),
      }),
    } as RequestInit).catch(() => undefined)
    const at = await (async () => {
      for (;;) {
        const answer = await administer(first, storePath(storeId))
        const state = answer.status === 200 ? (JSON.parse(answer.body) as State) : undefined
        if (state?.restore !== undefined && state.restore.staged > many / 2) return state.restore.at!
      }
    })()
    await first.kill()
    await sending
    const second = await start()
    const state = await stateOf(second, storeId)
    assert.deepEqual([state.status, state.restore!.at], ['restoring', at])
    assert.match(errorOf(await send(second, storeId, file), 409), new RegExp(`from byte ${at} on, with at=${at}`))
    const rest = bytes.subarray(at).toString()
    assert.equal(valueOf<Imported>(await send(second, storeId, rest, `?at=${at}`)).events, many)
    assert.deepEqual(await exportOf(second, storeId), await exportOf(second, from))
    errorOf(await send(second, storeId, rest, `?at=${at}`), 409)
  })
})
