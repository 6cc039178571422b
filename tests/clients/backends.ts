/**
 * The registry of what the scenarios run against, and the frame in which they run.
 *
 * `BACKENDS` selects backends by name, comma-separated; all by default. A name that is not in the registry throws, and
 * a suite whose selection leaves no case to run fails.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { authToken, type Backend, type Server, type ServerOptions, startServer } from '../harness/server.ts'
import type { ClientOptions, Generation, MakeClient, SyncClient } from './client.ts'
import { freshStoreId } from './events.ts'
import { makeClient as makeClientV03 } from './v03/client.ts'
import { makeClient as makeClientV04 } from './v04/client.ts'
import { makeClient as makeClientV05 } from './v05/client.ts'

export interface BackendUnderTest {
  readonly name: Backend
  /** The dialects it speaks. */
  readonly generations: readonly Generation[]
}

export const ours: BackendUnderTest = { name: 'livestore-sync-worker', generations: ['v03', 'v04', 'v05'] }

/** The reference of the generation it belongs to: what it does there is what clients expect. */
export const control: BackendUnderTest = { name: 'sync-cf', generations: ['v04'] }

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

export const makeClient: Record<Generation, MakeClient> = {
  v03: makeClientV03,
  v04: makeClientV04,
  v05: makeClientV05,
}

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
export const sharedServer = (backend: BackendUnderTest): (() => Server) => {
  let server: Server | undefined
  before(async () => {
    server = await startServer({ backend: backend.name })
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
  readonly #url: () => string
  readonly #open: SyncClient[] = []

  constructor(url: string | (() => string), storeId = freshStoreId()) {
    this.#url = typeof url === 'string' ? () => url : url
    this.storeId = storeId
  }

  /** A connected client. */
  async connect(generation: Generation, options: Partial<ClientOptions> = {}): Promise<SyncClient> {
    const client = await makeClient[generation]({ url: this.#url(), storeId: this.storeId, payload, ...options })
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
  const clients = new Clients(server.wsUrl)
  try {
    await scenario(clients)
  } finally {
    await clients.close()
  }
}

export type { Server, ServerOptions }
