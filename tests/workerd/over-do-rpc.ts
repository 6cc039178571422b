/** The transport of Durable Object RPC for tests that are not about it: one request, its frames. */
import { createRequire } from 'node:module'
import { type DoRpcGeneration, RemoteObject } from '../clients/do-rpc/remote-object.ts'
import type { Server } from '../harness/server.ts'

interface Msgpackr {
  readonly Packr: new (options: object) => { pack(value: unknown): Uint8Array }
  readonly Unpackr: new (options: object) => { unpackMultiple(bytes: Uint8Array): ReadonlyArray<readonly object[]> }
}

/** The frames that answer a frame of a socket as a call of a Durable Object; rejects where the call does. */
export const call = async (
  server: Server,
  generation: DoRpcGeneration,
  storeId: string,
  frame: object,
): Promise<readonly string[]> => {
  const at = new URL(`../clients/${generation}/package.json`, import.meta.url)
  const { Packr, Unpackr } = createRequire(at)('msgpackr') as Msgpackr
  const { tag, payload, ...rest } = frame as { readonly tag: string; readonly payload: { readonly live?: boolean } }
  const { live: _, ...asked } = payload
  const request = new Packr({ useRecords: true }).pack([
    { ...rest, tag: tag.replace('SyncWsRpc', 'SyncDoRpc'), payload: asked },
  ])
  const chunks = await new RemoteObject(server, generation).call(storeId, request)
  const messages = new Unpackr({ useRecords: true }).unpackMultiple(Buffer.concat(chunks))
  return messages.flat().map((message) => JSON.stringify(message))
}
