/**
 * The ways into a store, and what a client shows to be let in: for tests of who may enter and who may not.
 *
 * Owns the words of a refusal in each dialect, and what it means that somebody was really let in: an event is pushed,
 * and pulled again.
 */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { type ConnectOptions, targetOf } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'
import { type Answer, knock } from './knock.ts'
import {
  assertEvents,
  eventsIn,
  type Generation,
  generations,
  Peer,
  pullFrame,
  type PullOptions,
  pushedFrame,
  pushFrame,
  rpcGenerations,
} from './peer.ts'

/** What a client shows: a sync payload, headers, or both. */
export interface Credential {
  readonly payload?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A token where clients put it. */
export const inPayload = (token: unknown): Credential => ({ payload: { authToken: token } })

export const inHeader = (token: string): Credential => ({ headers: { authorization: `Bearer ${token}` } })

export const inCookie = (token: string): Credential => ({ headers: { cookie: `theme=dark; authToken=${token}; a=b` } })

/** What two credentials show together. */
export const both = (one: Credential, other: Credential): Credential => ({
  ...one,
  ...other,
  headers: { ...one.headers, ...other.headers },
})

/** A door of the Worker. Both RPC generations use the same ones. */
export interface Door {
  readonly name: string
  readonly path: string
  readonly transport: string | undefined
  readonly isSocket: boolean
  /** The word that a refusal starts with. */
  readonly word: string
}

export const doors: readonly Door[] = [
  { name: 'ws', path: '/', transport: 'ws', isSocket: true, word: 'UnknownError' },
  { name: 'http', path: '/', transport: 'http', isSocket: false, word: 'UnknownError' },
  { name: '0.3', path: '/websocket', transport: undefined, isSocket: true, word: 'LiveStore.UnexpectedError' },
]

/** Options of a connection that shows `credential`. */
export const showing = ({
  payload,
  headers,
}: Credential): Required<Pick<ConnectOptions, 'headers'>> & Pick<ConnectOptions, 'payload'> => ({
  payload,
  headers: { ...headers },
})

/** A request of a socket as the http client of its dialect writes it: of a pull it does not say whether it is live. */
const overHttp = (frame: object): object => {
  const { tag, payload, ...rest } = frame as { readonly tag: string; readonly payload: { readonly live?: boolean } }
  const { live: _, ...asked } = payload
  return { ...rest, tag: tag.replace('SyncWsRpc', 'SyncHttpRpc'), payload: asked }
}

export const httpPull = (generation: Generation, storeId: string, options: PullOptions = {}): object =>
  overHttp(pullFrame(generation, 1, storeId, options))

export const httpPush = (generation: Generation, storeId: string, batch: unknown): object =>
  overHttp(pushFrame(generation, 1, storeId, batch))

/** One request at the http door. */
export const post = (
  server: Pick<Server, 'url'>,
  storeId: string,
  credential: Credential,
  body: object,
): Promise<Answer> => {
  const { payload, headers } = showing(credential)
  return knock(server, {
    method: 'POST',
    target: targetOf({ storeId, payload, transport: 'http' }),
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
}

/** The frames in an answer of the http door. */
export const framesIn = ({ status, body }: Answer): readonly string[] => {
  assert.equal(status, 200, body)
  return (JSON.parse(body) as readonly object[]).map((frame) => JSON.stringify(frame))
}

/** Asks to be let in. At the http door that is a push: whoever is let in by mistake leaves a trace. */
export const enter = (
  server: Pick<Server, 'url'>,
  door: Door,
  storeId: string,
  credential: Credential,
): Promise<Answer> => {
  if (!door.isSocket) return post(server, storeId, credential, httpPush('v04', storeId, batchOf(0, 1, 'intruder')))
  const { payload, headers } = showing(credential)
  const { path, transport } = door
  return knock(server, { target: targetOf({ storeId, path, transport, payload }), headers, upgrade: 'websocket' })
}

/** How a door words a refusal. */
export const refusalAt = ({ word }: Door, reason: string): string =>
  `${word}: { "cause": Error: ${reason}, "note": undefined, "payload": undefined }`

/** Asserts that every door refuses `credential` for `reason`, in its own words. */
export const assertRefused = async (
  server: Pick<Server, 'url'>,
  storeId: string,
  credential: Credential,
  reason: string,
): Promise<void> => {
  for (const door of doors) {
    const answer = await enter(server, door, storeId, credential)
    assert.equal(answer.body, refusalAt(door, reason), door.name)
    assert.equal(answer.status, 400, door.name)
    assert.match(answer.headers['content-type'] ?? '', /^text\/plain\b/)
  }
}

/** Asserts that every door lets `credential` in, for every generation: each pushes an event and pulls it again. */
export const assertSyncs = async (
  server: Pick<Server, 'url' | 'wsUrl'>,
  credentialOf: (storeId: string) => Credential | Promise<Credential>,
): Promise<void> => {
  for (const generation of generations) {
    const storeId = freshStoreId()
    const peer = await Peer.connect(server, generation, storeId, showing(await credentialOf(storeId)))
    assert.deepEqual((await peer.pushed(batchOf(0))).answer, pushedFrame(generation, 1))
    assertEvents(
      (await peer.pages()).flatMap((page) => page.events),
      batchOf(0),
    )
    peer.client.terminate()
  }
  for (const generation of rpcGenerations) {
    const storeId = freshStoreId()
    const credential = await credentialOf(storeId)
    const pushed = framesIn(await post(server, storeId, credential, httpPush(generation, storeId, batchOf(0))))
    assert.deepEqual(
      pushed.map((frame) => JSON.parse(frame) as unknown),
      [pushedFrame(generation, 1)],
    )
    assertEvents(eventsIn(framesIn(await post(server, storeId, credential, httpPull(generation, storeId)))), batchOf(0))
  }
}

/** Whether the object of `storeId` was ever made: it has a database then, if an empty one. */
export const isMade = async (server: Pick<Server, 'miniflare' | 'storage'>, storeId: string): Promise<boolean> => {
  const objects: unknown = await server.miniflare.getDurableObjectNamespace('SYNC_BACKEND_DO')
  const id = (objects as { idFromName(name: string): unknown }).idFromName(storeId)
  const file = `${String(id)}.sqlite`
  return readdirSync(server.storage, { recursive: true, encoding: 'utf8' }).some((name) => basename(name) === file)
}
