/** The configuration of docs/environments.md: each of its environments has what the page says, and runs. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { after, before, describe, it } from 'node:test'
import { shownIn } from '../harness/document.ts'
import { templateToken } from '../harness/server.ts'
import { makeProject, type Project } from './project.ts'
import { assertQuiet, assertSyncs } from './sync.ts'

const page = 'docs/environments.md'
const wrangler = 'wrangler/bin/wrangler.js'
const ready = /Ready on (http:\/\/\S+)/
const ports = ['--port', '0', '--inspector-port', '0']

/** What an environment has, as wrangler lists it. */
const bindingsIn = (output: string): readonly string[] =>
  [...output.matchAll(/^env\.(\w+) \(([^)]*)\)/gm)].map(([, name, value]) => `${name} ${value}`)

describe('the environments that documents show', () => {
  const toml = shownIn(page, 'Two environments', 'toml')
  let project: Project
  before(() => {
    project = makeProject('wrangler', {
      'wrangler.toml': toml,
      '.dev.vars': 'AUTH_TOKEN=token-of-production',
      '.dev.vars.staging': `AUTH_TOKEN=${templateToken}`,
    })
  })
  after(() => project.remove())

  const bindings = {
    '': ['SYNC_BACKEND_DO SyncBackendDO', 'DB my-app-sync', 'ALLOWED_ORIGINS "https://app.example.com"'],
    staging: [
      'SYNC_BACKEND_DO SyncBackendDO',
      'DB my-app-sync-staging',
      'ALLOWED_ORIGINS "https://staging.example.com,http://lo..."',
    ],
  }
  for (const [environment, expected] of Object.entries(bindings)) {
    it(`have in '${environment}' what is said there, without a warning`, async () => {
      const { status, output } = await project.run(wrangler, 'deploy', '--dry-run', '--env', environment)
      assertQuiet(output)
      assert.equal(status, 0)
      assert.deepEqual(bindingsIn(output), expected)
    })
  }

  it('inherit no binding: one without says nothing of the objects', async () => {
    const [top] = toml.split('[env.staging.durable_objects]')
    const bare = makeProject('wrangler', { 'wrangler.toml': `${top}\n[env.staging.vars]\nBACKUP = "off"\n` })
    try {
      const { output } = await bare.run(wrangler, 'deploy', '--dry-run', '--env', 'staging')
      assert.deepEqual(bindingsIn(output), ['BACKUP "off"'])
    } finally {
      await bare.remove()
    }
  })

  /** What the page's command prints of a Worker. */
  const asked = async (url: string): Promise<string> => {
    const command = shownIn(page, 'From CI', 'sh')
    const env = { PATH: process.env['PATH'], SYNC_URL: url }
    return (await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', command], { env })).stdout.trim()
  }

  it('run, each with its own secrets, and are told from each other by the command of the page', async () => {
    const staging = await project.serve(wrangler, ['dev', '--env', 'staging', ...ports], ready)
    await assertSyncs(staging.url)
    assert.equal(await asked(staging.url), '400')
    await staging.stop()
    const production = await project.serve(wrangler, ['dev', '--env', '', ...ports], ready)
    await assertSyncs(production.url, { authToken: 'token-of-production' })
    await assert.rejects(assertSyncs(production.url, { deadlineMs: 3_000 }))
    await production.stop()
  })

  it('answer 503 where the secret is missing', async () => {
    const bare = makeProject('wrangler', { 'wrangler.toml': toml.replaceAll(/^\[.*secrets\]\nrequired.*$/gm, '') })
    try {
      const server = await bare.serve(wrangler, ['dev', '--env', 'staging', ...ports], ready)
      assert.equal(await asked(server.url), '503')
    } finally {
      await bare.remove()
    }
  })

  for (const [section, more] of [
    ['What clients notice of a deployment', '\n[[migrations]]\ntag = "v1"\nnew_sqlite_classes = ["SyncBackendDO"]\n'],
    ['Previews', '\n[[migrations]]\ntag = "v1"\nnew_sqlite_classes = ["SyncBackendDO"]\n'],
  ] as const) {
    it(`are a configuration that wrangler knows, below '${section}'`, async () => {
      const head = `${toml.split('\n\n')[0]}\n${more}\n`
      const other = makeProject('wrangler', { 'wrangler.toml': head + shownIn(page, section, 'toml') })
      try {
        const { status, output } = await other.run(wrangler, 'deploy', '--dry-run')
        assertQuiet(output)
        assert.equal(status, 0)
      } finally {
        await other.remove()
      }
    })
  }
})
