/**
 * The logs that rows start from, each in a storage folder that a row gets a copy of: so a row's server has done nothing
 * but open them.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ServerOptions, startServer } from '../../tests/harness/server.ts'
import { overHttp } from '../../tests/workerd/over-http.ts'
import { pullFrame } from '../../tests/workerd/peer.ts'
import { batchOf } from './events.ts'
import { Healthy, type Position } from './healthy.ts'
import { HttpCall } from './idle.ts'

interface Contents {
  readonly events: number
  readonly textBytes: number
  readonly batchEvents: number
}

const contents = {
  empty: { events: 0, textBytes: 0, batchEvents: 1 },
  /** 1.7 MB, which one turn sends. */
  large: { events: 2, textBytes: 850_000, batchEvents: 1 },
  /** 14 MB, each page of it as large as pages are. */
  long: { events: 1_600, textBytes: 8_500, batchEvents: 100 },
  million: { events: 1_000_000, textBytes: 60, batchEvents: 1_000 },
} satisfies Record<string, Contents>

/** A log, which is also the id of its store. */
export type Log = keyof typeof contents

/** A store of its own beside the log, empty. */
export type Beside = 'neighbour' | 'warm'

/** A storage folder with one log in it, and where its stores are. */
export interface Filled {
  readonly folder: string
  readonly positions: Readonly<Record<'log' | Beside, Position>>
}

/** What a server is started with, beside its storage. */
export type Kind = Pick<ServerOptions, 'direct' | 'doRpcClients'>

const originals = new Map<string, Promise<Filled>>()

/** Makes an empty store exist, as a client's first contact does. */
const make = async (url: string, storeId: string): Promise<Position> => {
  const call = new HttpCall(url, storeId, 'read').send(JSON.stringify(overHttp(pullFrame('v04', 0, storeId))))
  await call.read
  const backendId = /"backendId":"([^"]+)"/.exec(call.start)?.[1]
  if (backendId === undefined) throw new Error(`a pull was answered with ${call.status}: ${call.start}`)
  return { backendId, head: 0 }
}

const fill = async (log: Log, kind: Kind): Promise<Filled> => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-memory-'))
  const server = await startServer({ ...kind, storage: folder })
  try {
    const empty = await make(server.url, log)
    const { events, textBytes, batchEvents }: Contents = contents[log]
    const client = await Healthy.open(server.url, 'v04', log, empty)
    for (let head = 0; head < events; head += batchEvents) {
      await client.push(batchOf(head, Math.min(batchEvents, events - head), textBytes))
    }
    await client.reached(events, 20_000)
    client.close()
    const positions = {
      log: { ...empty, head: events },
      neighbour: await make(server.url, 'neighbour'),
      warm: await make(server.url, 'warm'),
    }
    return { folder, positions }
  } finally {
    await server.stop()
  }
}

/** A fresh copy of the storage of such a server with `log` in it; whoever asks removes it. */
export const copyOf = async (log: Log, kind: Kind): Promise<Filled> => {
  const key = `${log} ${JSON.stringify(kind)}`
  const original = originals.get(key) ?? fill(log, kind)
  originals.set(key, original)
  const { folder, positions } = await original
  const copy = mkdtempSync(join(tmpdir(), 'bench-memory-'))
  cpSync(folder, copy, { recursive: true })
  return { folder: copy, positions }
}

/** Removes the originals. */
export const removeLogs = async (): Promise<void> => {
  for (const outcome of await Promise.allSettled(originals.values())) {
    if (outcome.status === 'fulfilled') rmSync(outcome.value.folder, { recursive: true, force: true })
  }
  originals.clear()
}
