/**
 * The Worker whose Durable Objects are sync clients of the memory rows: they take what they are told, or never return from
 * a call, or keep the answer to a pull without reading it. `POST /<name of an object>` with a command as JSON.
 */
// @ts-nocheck: runs as it is, and the platform types are not installed
import { DurableObject } from 'cloudflare:workers'

const utf8 = new TextEncoder()

/** Appends `value` as msgpack to `out`, an array of bytes. */
const pack = (value, out = []) => {
  if (value === null) out.push(0xc0)
  else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2)
  else if (typeof value === 'number') out.push(0xce, value >>> 24, value >>> 16, value >>> 8, value)
  else if (typeof value === 'string') {
    const bytes = utf8.encode(value)
    out.push(0xda, bytes.length >> 8, bytes.length, ...bytes)
  } else if (Array.isArray(value)) {
    out.push(0x90 | value.length)
    for (const item of value) pack(item, out)
  } else {
    const entries = Object.entries(value)
    out.push(0x80 | entries.length)
    for (const [key, item] of entries) pack(item, pack(key, out))
  }
  return out
}

const idle = () => new Promise((resolve) => setTimeout(resolve, 1_000_000_000))

export class Client extends DurableObject {
  returns = true
  calls = 0
  told = 0
  kept = []

  async syncUpdateRpc(message) {
    this.calls += 1
    if (!this.returns) return idle() // without what it was told
    this.told = message.values[0].batch.at(-1).eventEncoded.seqNum
  }

  async fetch(request) {
    const { command, ...options } = await request.json()
    if (command === 'pull') await this.pull(options)
    return Response.json({ calls: this.calls, told: this.told })
  }

  /** Pulls what follows `after`; a live pull asks to be called. */
  async pull({ generation, storeId, backendId, after, live, returns, reads }) {
    this.returns = returns
    const callerContext = { bindingName: 'MEMORY_CLIENT', durableObjectId: this.ctx.id.toString() }
    const cursor = { _tag: 'Some', value: { backendId, eventSequenceNumber: after } }
    const payload = { storeId, cursor, rpcContext: live ? { callerContext } : null }
    const id = generation === 'v04' ? '1' : 1
    const message = { _tag: 'Request', id, tag: 'SyncDoRpc.Pull', payload, headers: [] }
    const sync = this.env.SYNC_BACKEND_DO
    const answer = await sync.get(sync.idFromName(storeId)).rpc(new Uint8Array(pack([message])))
    if (!reads) this.kept.push(answer)
    else for await (const _ of answer);
  }
}

export default {
  fetch: (request, env) => {
    const objects = env.MEMORY_CLIENT
    return objects.get(objects.idFromName(new URL(request.url).pathname)).fetch(request)
  },
}
