/** The page of the administration as the Worker serves it: where it exists, what it may do, and that it costs nobody else anything. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { authToken, root } from '../harness/server.ts'
import { targetOf } from '../harness/raw-client.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { adminSecret } from './administration.ts'
import { type Answer, knock } from './knock.ts'

const path = '/admin'

/** What an answer is known by. */
const facts = ({ status, body, headers }: Answer): object => ({ status, body, type: headers['content-type'] })

/** The hash of what stands between the two tags of a name, as a policy has it. */
const hashOf = (html: string, name: string): string => {
  const found = new RegExp(`<${name}\\b[^>]*>([^]*?)</${name}>`).exec(html)?.[1]
  assert.ok(found !== undefined && found !== '', `the page has a ${name} of its own`)
  return `'sha256-${createHash('sha256').update(found).digest('base64')}'`
}

describe('without ADMIN_SECRET', () => {
  for (const value of [undefined, '', ' ']) {
    it(`(${JSON.stringify(value)}) there is no page`, async () => {
      await withServer({ vars: { ADMIN_SECRET: value } }, async (server) => {
        const unknown = facts(await knock(server, { target: '/unknown' }))
        for (const target of [path, `${path}/`, `${path}?a=b`])
          assert.deepEqual(facts(await knock(server, { target })), unknown, target)
      })
    })
  }
})

describe('with ADMIN_SECRET, the page', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })

  it('is one document that runs its own script, looks as it says and asks its own Worker alone', async () => {
    const { status, body, headers } = await knock(server(), { target: path })
    assert.equal(status, 200)
    assert.match(body, /^<!doctype html>/)
    assert.doesNotMatch(body, /\b(src|href)="(?!data:|#)/, 'it fetches nothing')
    const { 'content-security-policy': policy, ...others } = headers
    assert.equal(
      policy,
      `default-src 'none'; script-src ${hashOf(body, 'script')}; style-src ${hashOf(body, 'style')}; img-src data:; ` +
        `connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    )
    assert.deepEqual(
      ['content-type', 'referrer-policy', 'x-content-type-options', 'cache-control'].map((name) => others[name]),
      ['text/html; charset=utf-8', 'no-referrer', 'nosniff', 'no-cache'],
    )
    assert.equal(others['access-control-allow-origin'], undefined, 'no page of another origin reads it')
  })

  it('tells nothing of the deployment, with or without the secret', async () => {
    const plain = await knock(server(), { target: path })
    for (const authorization of [`Bearer ${adminSecret}`, 'Bearer wrong'])
      assert.deepEqual(facts(await knock(server(), { target: path, headers: { authorization } })), facts(plain))
    for (const secret of [adminSecret, authToken]) assert.ok(!plain.body.includes(secret))
  })

  it('is not sent again to a browser that has it', async () => {
    const { headers } = await knock(server(), { target: path })
    const etag = headers['etag']!
    assert.match(etag, /^"[^"]+"$/)
    for (const known of [etag, `W/${etag}`, `"another", ${etag}`]) {
      const again = await knock(server(), { target: path, headers: { 'if-none-match': known } })
      assert.deepEqual([again.status, again.body, again.headers['etag']], [304, '', etag], known)
      assert.equal(again.headers['content-security-policy'], headers['content-security-policy'])
    }
    const other = await knock(server(), { target: path, headers: { 'if-none-match': '"another"' } })
    assert.equal(other.status, 200)
  })

  it('has a head', async () => {
    const [got, head] = [
      await knock(server(), { target: path }),
      await knock(server(), { method: 'HEAD', target: path }),
    ]
    assert.deepEqual([head.status, head.body], [200, ''])
    for (const name of ['content-type', 'content-security-policy', 'etag'])
      assert.equal(head.headers[name], got.headers[name], name)
  })

  it('takes no other method', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await knock(server(), { method, target: path })
      assert.deepEqual([answer.status, answer.headers['allow']], [405, 'GET, HEAD'], method)
    }
  })

  it('is found with a slash behind it, wherever the Worker is mounted', async () => {
    for (const query of ['', '?a=b']) {
      const { status, headers } = await knock(server(), { target: `${path}/${query}` })
      assert.equal(status, 308)
      // `/below/admin/` leads to `/below/admin`.
      for (const below of ['', '/below'])
        assert.equal(
          new URL(headers['location']!, `http://host${below}${path}/${query}`).href,
          `http://host${below}${path}${query}`,
        )
    }
  })

  it('takes no path from those who sync, nor one from the administration', async () => {
    const target = targetOf({ path, storeId: 'a-store', payload: { authToken } })
    assert.equal((await knock(server(), { target, upgrade: 'websocket' })).status, 101)
    for (const other of ['/administration', '/a/admin', '/admin/page', '//admin'])
      assert.equal((await knock(server(), { target: other })).status, 400, other)
    assert.equal((await knock(server(), { target: '/admin/v1/stores' })).status, 401)
    assert.equal((await knock(server(), { target: '/?storeId=/admin' })).status, 200, 'the greeting')
  })
})

it('the bundles hold nothing of the page', () => {
  for (const name of ['worker.js', 'cf-worker.js']) {
    const bundle = readFileSync(join(root, 'dist', name), 'utf8')
    assert.ok(bundle.includes('import("./inspector.js")'))
    assert.ok(!bundle.includes('<!doctype'))
  }
})
