/** The http transport for tests that are not about it: one request, its frames. */
import assert from 'node:assert/strict'
import { targetOf } from '../harness/raw-client.ts'
import type { Server } from '../harness/server.ts'
import { type Answer, knock } from './knock.ts'

/** A request as the dialect's http client writes it. */
export const overHttp = (frame: object): object => {
  const { tag, payload, ...rest } = frame as { readonly tag: string; readonly payload: { readonly live?: boolean } }
  const { live: _, ...asked } = payload
  return { ...rest, tag: tag.replace('SyncWsRpc', 'SyncHttpRpc'), payload: asked }
}

/** Where requests for `storeId` go. */
export const httpTarget = (storeId: string, payload?: unknown): string =>
  targetOf({ storeId, transport: 'http', ...(payload === undefined ? {} : { payload }) })

/** Posts a frame of a socket as a request, or several in one. */
export const post = (
  server: Pick<Server, 'url'>,
  storeId: string,
  frames: object | readonly object[],
  payload?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => {
  const body = JSON.stringify(Array.isArray(frames) ? frames.map(overHttp) : overHttp(frames))
  return knock(server, { method: 'POST', target: httpTarget(storeId, payload), headers, body })
}

/** The frames of an answer. */
export const framesIn = ({ status, body }: Answer): readonly string[] => {
  assert.equal(status, 200, body)
  return (JSON.parse(body) as readonly object[]).map((frame) => JSON.stringify(frame))
}
