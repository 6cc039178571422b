/**
 * The registry of what the scenarios run against and of the clients that they run with, and the frame in which they run.
 *
 * `BACKENDS` selects backends by name, comma-separated; all by default. A name that is not in the registry throws, and
 * a suite whose selection leaves no case to run fails.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { authToken, type Backend, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import {
  type ClientOptions,
  type Generation,
  type MakeClient,
  nameOf,
  type SyncClient,
  type Transport,
} from './client.ts'
import { makeDoRpcClient } from './do-rpc/client.ts'
import { freshStoreId } from './events.ts'
import { makeClient as makeWsClientV03 } from './v03/client.ts'
import { makeClient as makeWsClientV04 } from './v04/client.ts'
import { makeClient as makeHttpClientV04 } from './v04/http-client.ts'
import { makeClient as makeWsClientV05 } from './v05/client.ts'
import { makeClient as makeHttpClientV05 } from './v05/http-client.ts'

/** A dialect over a transport. Transports are equal: a scenario that is not about one of them runs over all. */
export interface ClientKind {
  readonly generation: Generation
  readonly transport: Transport
  /** How such a client of `server` is made. */
  readonly makeClient: (server: Server) => MakeClient
}

const kinds: readonly ClientKind[] = [
  { generation: 'v03', transport: 'ws', makeClient: () => makeWsClientV03 },
  { generation: 'v04', transport: 'ws', makeClient: () => makeWsClientV04 },
  { generation: 'v04', transport: 'http', makeClient: () => makeHttpClientV04 },
  { generation: 'v04', transport: 'do-rpc', makeClient: (server) => makeDoRpcClient('v04', server) },
  { generation: 'v05', transport: 'ws', makeClient: () => makeWsClientV05 },
  { generation: 'v05', transport: 'http', makeClient: () => makeHttpClientV05 },
  { generation: 'v05', transport: 'do-rpc', makeClient: (server) => makeDoRpcClient('v05', server) },
]

/** The kind of this generation and transport. */
export const kindOf = (generation: Generation, transport: Transport = 'ws'): ClientKind => {
  const kind = kinds.find((one) => one.generation === generation && one.transport === transport)
  if (kind === undefined) throw new Error(`no client is a ${nameOf({ generation, transport })} client`)
  return kind
}

export interface BackendUnderTest {
  readonly name: Backend
  /** The clients it serves. */
  readonly kinds: readonly ClientKind[]
}

export const ours: BackendUnderTest = { name: 'livestore-sync-worker', kinds }

/** The reference of the generation it belongs to: what it does there is what clients expect. */
export const control: BackendUnderTest = {
  name: 'sync-cf',
  kinds: kinds.filter(({ generation }) => generation === 'v04'),
}

const registry: readonly BackendUnderTest[] = [ours, control]

const selected: readonly BackendUnderTest[] = (() => {
  const names = process.env['BACKENDS']?.split(',').map((name) => name.trim())
  if (names === undefined) return registry
  return names.map((name) => {
    const backend = registry.find((one) => one.name === name)
    if (backend === undefined)
      throw new Error(`BACKENDS names '${name}'; known: ${registry.map((one) => one.name).join(', ')}`)
    return backend
  })
})()

/** The token with which every scenario connects. */
export const payload = { authToken }

/** Runs `define` for each selected backend that is among `applicable`, and fails if there is none. */
export const forEachBackend = (
  applicable: readonly BackendUnderTest[],
  define: (backend: BackendUnderTest) => void,
): void => {
  const backends = selected.filter((backend) => applicable.includes(backend))
  if (backends.length === 0) {
    const names = applicable.map((backend) => backend.name).join(' and ')
    it('runs at least one case', () => assert.fail(`this suite applies to ${names}, none of which is selected`))
  }
  for (const backend of backends) describe(`on ${backend.name}`, () => define(backend))
}

/** One server for all scenarios of the enclosing `describe`; each scenario takes a store of its own on it. */
export const sharedServer = (backend: BackendUnderTest, options: ServerOptions = {}): (() => Server) => {
  let server: Server | undefined
  before(async () => {
    const doRpcClients = backend.kinds.some(({ transport }) => transport === 'do-rpc')
    server = await startServer({ backend: backend.name, doRpcClients, ...options })
  })
  after(async () => {
    await server?.stop()
  })
  return () => {
    if (server === undefined) throw new Error('the server is there only while tests run')
    return server
  }
}

/** Clients of one store, closed together. */
export class Clients {
  readonly storeId: string
  readonly #server: () => Server
  readonly #open: SyncClient[] = []

  constructor(server: () => Server, storeId = freshStoreId()) {
    this.#server = server
    this.storeId = storeId
  }

  /** A connected client; a generation alone is its WebSocket client. */
  async connect(kind: ClientKind | Generation, options: Partial<ClientOptions> = {}): Promise<SyncClient> {
    const { makeClient } = typeof kind === 'string' ? kindOf(kind) : kind
    const server = this.#server()
    const client = await makeClient(server)({ url: server.wsUrl, storeId: this.storeId, payload, ...options })
    this.#open.push(client)
    await client.connect()
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((client) => client.close()))
  }
}

/** Runs `scenario` with clients of a fresh store, and closes them whatever happens. */
export const withClients = async (server: Server, scenario: (clients: Clients) => Promise<void>): Promise<void> => {
  const clients = new Clients(() => server)
  try {
    await scenario(clients)
  } finally {
    await clients.close()
  }
}

export type { Server, ServerOptions }
