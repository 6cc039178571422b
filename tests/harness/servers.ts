/** How tests come by their servers: one that a file or a `describe` shares, or one after the other on one storage folder. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { type Server, type ServerOptions, startServer } from './server.ts'

/** One server for all tests of the enclosing file or `describe`; a function makes its options, and what they need. */
export const serverOf = (options: ServerOptions | (() => Promise<ServerOptions>) = {}): (() => Server) => {
  let server: Server | undefined
  before(async () => {
    server = await startServer(typeof options === 'function' ? await options() : options)
  })
  after(async () => {
    await server?.stop()
  })
  return () => {
    if (server === undefined) throw new Error('the server is there only while tests run')
    return server
  }
}

/** Runs `scenario` with a server of its own. */
export const withServer = async (
  options: ServerOptions,
  scenario: (server: Server) => Promise<void>,
): Promise<void> => {
  const server = await startServer(options)
  try {
    await scenario(server)
  } finally {
    await server.stop()
  }
}

/**
 * Runs `scenario`, which starts servers on one storage folder, each with `options` and its own: one after the other, the
 * earlier one being stopped or killed before.
 */
export const onOneStorage = async (
  options: ServerOptions,
  scenario: (start: (own?: ServerOptions) => Promise<Server>) => Promise<void>,
): Promise<void> => {
  const storage = mkdtempSync(join(tmpdir(), 'storage-'))
  let last: Server | undefined
  try {
    await scenario(async (own = {}) => {
      last = await startServer({ ...options, ...own, vars: { ...options.vars, ...own.vars }, storage })
      return last
    })
  } finally {
    await last?.stop()
    rmSync(storage, { recursive: true, force: true })
  }
}
