/** What documents have a reader ask of a Worker, and what they say that it answers. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { freshStoreId } from '../clients/events.ts'
import { readDocument, shownIn, tableIn } from '../harness/document.ts'
import { targetOf } from '../harness/raw-client.ts'
import { authToken } from '../harness/server.ts'
import { withServer } from '../harness/servers.ts'
import { adminSecret } from './administration.ts'
import { isMade } from './doors.ts'
import { knock } from './knock.ts'

describe('docs/security.md', () => {
  /** What each line of the page's commands prints, and what stands behind it. */
  const asked = async (url: string): Promise<ReadonlyArray<readonly [printed: string, said: string]>> => {
    const lines = shownIn('docs/security.md', 'Ask the Worker', 'sh').trim().split('\n')
    assert.notEqual(lines.length, 0)
    const env = { PATH: process.env['PATH'], SYNC_URL: url }
    return Promise.all(
      lines.map(async (line) => {
        const [, command, said] = /^(.*?) +# (\d+)$/.exec(line) ?? []
        assert.ok(command !== undefined && said !== undefined, line)
        const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', command], { env })
        return [stdout.trim(), said] as const
      }),
    )
  }
  const usual = { ADMIN_SECRET: adminSecret, ALLOWED_ORIGINS: 'https://app.example.com' }

  it('says what a deployment answers that is as it should be', () =>
    withServer({ vars: usual }, async (server) => {
      const answers = await asked(server.url)
      assert.deepEqual(
        answers.map(([printed]) => printed),
        answers.map(([, said]) => said),
      )
      assert.ok(!(await isMade(server, 'smoke')), 'no store is made')
    }))

  it('and one that is not', async () => {
    const wrong = [
      [{ ...usual, AUTH_TOKEN: undefined }, ['503', '403', '503', '401']],
      [{ ...usual, AUTH_TOKEN: undefined, ALLOW_ANONYMOUS: 'true' }, ['200', '403', '200', '401']],
      [{ ...usual, ALLOWED_ORIGINS: '*' }, ['400', '400', '400', '401']],
      [{ ...usual, ADMIN_SECRET: undefined }, ['400', '403', '400', '400']],
    ] as const
    for (const [vars, expected] of wrong) {
      await withServer({ vars }, async (server) => {
        const answers = await asked(server.url)
        assert.deepEqual(
          answers.map(([printed]) => printed),
          expected,
          JSON.stringify(vars),
        )
      })
    }
  })
})

describe('docs/frameworks.md', () => {
  /** The texts in code style of a cell. */
  const codes = (cell: string): readonly string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)
  const shells = tableIn(readDocument('docs/frameworks.md'), 'shell')

  /** Whether a page of this origin may open a socket; one without any may. */
  const mayConnect = async (server: { readonly url: string }, origin: string | undefined): Promise<boolean> => {
    const target = targetOf({ storeId: freshStoreId(), payload: { authToken } })
    const headers = origin === undefined ? {} : { origin }
    const { status, body } = await knock(server, { target, upgrade: 'websocket', headers })
    assert.ok(status === 101 || status === 403, `${status}: ${body}`)
    return status === 101
  }

  it('says how each shell is let in', async () => {
    const listed = shells.flatMap(([, origin = '']) => codes(origin))
    assert.ok(listed.length > 5)
    const allowed = shells.flatMap(([, , entries = '']) => codes(entries)).filter((entry) => entry.includes('://'))
    await withServer({ vars: { ALLOWED_ORIGINS: allowed.join() } }, async (server) => {
      for (const origin of listed) assert.ok(await mayConnect(server, origin), origin)
      // React Native says where the Worker is, a command line nothing.
      for (const origin of [server.url, undefined]) assert.ok(await mayConnect(server, origin), String(origin))
      for (const origin of ['null', 'https://tauri.localhost.example', 'tauri://another'])
        assert.ok(!(await mayConnect(server, origin)), origin)
    })
    await withServer({ vars: { ALLOWED_ORIGINS: undefined } }, async (server) => {
      for (const origin of listed) assert.ok(!(await mayConnect(server, origin)), `${origin} has to be listed`)
      for (const origin of [server.url, undefined]) assert.ok(await mayConnect(server, origin), String(origin))
    })
  })
})
