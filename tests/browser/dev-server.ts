/** `npm run dev` of an example app, as its user starts it, on a free port and with storage of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { eventually } from '../clients/waiting.ts'
import { root } from '../harness/server.ts'
import type { App } from './apps.ts'

export interface DevServer {
  /** Where the page is. */
  readonly pageUrl: string
  /** Where the sync backend is. */
  readonly syncUrl: string
  /** Ends it as Ctrl-C does; rejects if it goes on. */
  stop(): Promise<void>
}

/** How long the app may take to be there: what it imports is bundled first. */
const startMsMax = 120_000

/** `folder` is that of an app here, from the root, or that of one elsewhere; `env` is what its user's shell has. */
export const startDev = async (
  { folder }: Pick<App, 'folder'>,
  env: NodeJS.ProcessEnv = {
    ...process.env,
    PATH: [join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter),
  },
): Promise<DevServer> => {
  const port = await freePort()
  const storage = mkdtempSync(join(tmpdir(), 'dev-'))
  const syncUrl = `http://localhost:${port}`
  const dev = spawn('npm', ['run', 'dev', '--', '--port', String(port), '--persist-to', storage], {
    cwd: resolve(root, folder),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, WRANGLER_SEND_METRICS: 'false', VITE_LIVESTORE_SYNC_URL: syncUrl },
  })
  let said = ''
  for (const output of [dev.stdout, dev.stderr])
    output.on('data', (text: Buffer) => {
      said += stripVTControlCharacters(text.toString())
    })
  const hasEnded = once(dev, 'exit')
  const stop = async (): Promise<void> => {
    if (dev.exitCode === null && dev.signalCode === null) process.kill(-dev.pid!, 'SIGINT')
    await hasEnded
    rmSync(storage, { recursive: true, force: true })
  }
  try {
    const pageUrl = await eventually(
      `${folder}: npm run dev serves page and sync backend`,
      () => (/Ready on/.test(said) ? /Local:\s+(http:\S+?)\/?\s/.exec(said)?.[1] : undefined),
      startMsMax,
      () => said,
    )
    return { pageUrl, syncUrl, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A port that nothing listens on. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}
