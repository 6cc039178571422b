/** What every host is asked: whether published clients sync through it, and whether it has said anything alarming. */
import assert from 'node:assert/strict'
import type { MakeClient } from '../clients/client.ts'
import { assertChained, batchOf, freshStoreId } from '../clients/events.ts'
import { makeClient as makeClientV04 } from '../clients/v04/client.ts'
import { within } from '../clients/waiting.ts'
import { templateToken } from '../harness/server.ts'

export interface SyncOptions {
  /** Where the backend is below `url`; at its root when absent. */
  readonly path?: string
  readonly authToken?: string
  /** 0.4.0's client when absent. */
  readonly makeClient?: MakeClient
  readonly deadlineMs?: number
}

/** One client pushes to the backend at `url` (`http://…`), another one pulls what it pushed. */
export const assertSyncs = async (url: string, options: SyncOptions = {}): Promise<void> => {
  const { path = '', authToken = templateToken, makeClient = makeClientV04, deadlineMs } = options
  const connection = { url: url.replace(/^http/, 'ws') + path, storeId: freshStoreId(), payload: { authToken } }
  const [writer, reader] = await Promise.all([makeClient(connection), makeClient(connection)])
  try {
    await within('clients connect', Promise.all([writer.connect(), reader.connect()]), deadlineMs)
    const batch = batchOf(0, 3)
    assert.equal(await within('a push is answered', writer.push(batch), deadlineMs), 'ok')
    const pull = async () => {
      const events = []
      for await (const page of reader.pull(0, 'once')) events.push(...page.events)
      return events
    }
    const pulled = await within('a pull ends', pull(), deadlineMs)
    assertChained(pulled)
    assert.deepEqual(pulled, batch)
  } finally {
    await Promise.all([writer.close(), reader.close()])
  }
}

/** The page of the administration at `url` is served, and `secret` opens what it asks. */
export const assertAdministered = async (url: string, secret: string): Promise<void> => {
  const page = await fetch(`${url}/admin`)
  assert.equal(page.status, 200)
  assert.match(page.headers.get('content-security-policy') ?? '', /script-src 'sha256-/)
  assert.match(await page.text(), /^<!doctype html>/)
  const state = await fetch(`${url}/admin/v1/stores/a-store`, { headers: { authorization: `Bearer ${secret}` } })
  assert.deepEqual([state.status, await state.json()], [404, { error: 'there is no such store' }])
}

/** Asserts that no line of what a tool printed is a warning or an error. */
export const assertQuiet = (output: string): void => {
  const alarming = output.split('\n').filter((line) => /warn|error|deprecat|fail|▲|✘/i.test(line))
  assert.deepEqual(alarming, [], output)
}
