/** What an operator is told of a deployment: all variables of the manual, as they are in force, and no secret. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { eventually } from '../clients/waiting.ts'
import { targetOf } from '../harness/raw-client.ts'
import type { Config } from '../../host/administration.ts'
import { authToken, root, type Server } from '../harness/server.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret } from './administration.ts'
import { knock } from './knock.ts'
import { Peer } from './peer.ts'

const path = '/admin/v1/config'

const tellOf = async (server: Server): Promise<Config> => {
  const { status, body, headers } = await administer(server, path)
  assert.deepEqual([status, headers['content-type']], [200, 'application/json'], body)
  return JSON.parse(body) as Config
}

const valueOf = ({ variables }: Config, name: string): string | null =>
  (variables.find((variable) => variable.name === name) ?? assert.fail(name)).value

describe('the configuration of a deployment', () => {
  const secrets = { AUTH_TOKEN: authToken, JWT_SECRET: 'x'.repeat(32), ADMIN_SECRET: adminSecret }
  const server = serverOf({
    database: false,
    vars: {
      ...secrets,
      LOG_LEVEL: 'debug',
      MAX_CONNECTIONS: '7',
      TTL_DAYS: 'a month',
      ALLOWED_ORIGINS: 'app,https://a.io/',
    },
  })

  it('is that of all variables in the manual, in its order', async () => {
    const manual = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
    const table = manual.slice(manual.indexOf('| name | meaning | default |')).split('\n\n')[0]!
    const rows = table.split('\n').slice(2)
    const names = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!))
    assert.ok(names.length > 30)
    assert.deepEqual(
      (await tellOf(server())).variables.map(({ name }) => name),
      names,
    )
  })

  it('is what is in force, holds no secret, and wakes no object', async () => {
    const told = await tellOf(server())
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    assert.equal(told.version, version)
    const values = ['MAX_CONNECTIONS', 'MAX_BATCH_EVENTS', 'TTL_DAYS', 'ALLOWED_ORIGINS', 'SYNC_BINDING', 'BACKUP']
    assert.deepEqual(
      values.map((name) => valueOf(told, name)),
      ['7', '10000', '0', 'https://a.io/', 'SYNC_BACKEND_DO', 'off'],
    )
    assert.deepEqual(told.bindings, { objects: 'SYNC_BACKEND_DO', database: false, metrics: false })
    assert.deepEqual(
      told.warnings.map(({ name }) => name),
      ['ALLOWED_ORIGINS', 'TTL_DAYS', 'JWT_STORE_CLAIM'],
    )
    for (const name of Object.keys(secrets)) assert.equal(valueOf(told, name), null)
    for (const secret of Object.values(secrets)) assert.ok(!JSON.stringify(told).includes(secret))
    assert.ok(!server().logs.some((line) => line.includes('"opened"')))
    await Peer.connect(server(), 'v04', 'a')
    await eventually('an object that wakes can be told', () => server().logs.some((line) => line.includes('"opened"')))
  })

  it('is for who has the secret', async () => {
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: `Bearer ${authToken}` }])
      assert.equal((await knock(server(), { target: path, headers })).status, 401)
    assert.equal((await administer(server(), path, { method: 'POST' })).status, 405)
  })
})

it('the configuration is told to its operator where a variable does not parse, to nobody else', async () => {
  await withServer({ vars: { ADMIN_SECRET: adminSecret, PUSH_RATE: 'fast' } }, async (server) => {
    const told = await tellOf(server)
    assert.deepEqual(
      told.warnings.map(({ name }) => name),
      ['PUSH_RATE'],
    )
    assert.match(told.warnings[0]!.message, /^PUSH_RATE is 'fast', but /)
    for (const target of [path, targetOf({ storeId: 'a', payload: { authToken } })])
      assert.equal((await knock(server, { target })).status, 500)
  })
})

describe('with the secret of .dev.vars', () => {
  const secret = /^ADMIN_SECRET=(.+)$/m.exec(readFileSync(join(root, '.dev.vars'), 'utf8'))?.[1] ?? assert.fail()
  const server = serverOf({ vars: { ADMIN_SECRET: secret, DEV_HOSTS: '192.168.0.2' } })

  for (const [host, more, isOpen] of [
    ['localhost:8787', {}, true],
    ['127.0.0.1', {}, true],
    ['sync.example.com', {}, false],
    ['192.168.0.2', {}, false],
    ['localhost', { 'cf-ray': '8f0c1a2b3c4d5e6f-FRA' }, false],
  ] as const) {
    it(`the administration is ${isOpen ? 'open' : 'not there'} at ${host}${'cf-ray' in more ? ' through the network' : ''}`, async () => {
      const headers = { host, authorization: `Bearer ${secret}`, ...more }
      for (const [target, status] of [
        [path, 200],
        ['/admin/v1/stores/none', 404],
      ] as const) {
        const answer = await knock(server(), { target, headers })
        if (isOpen) assert.equal(answer.status, status, answer.body)
        else assert.deepEqual([answer.status, answer.body], [400, 'Invalid path'])
      }
    })
  }
})
