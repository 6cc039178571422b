/** Asking a server: the ways in which that fails, in plain words, and the commands that need nothing but an answer. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { serverOf, withServer } from '../harness/servers.ts'
import { administer, adminSecret, stateOf, storePath } from '../workerd/administration.ts'
import { mirrored } from '../workerd/mirror.ts'
import { Peer } from '../workerd/peer.ts'
import { Cli, shown } from './run.ts'

/** Runs `scenario` with a server of HTTP that answers in its own way. */
const withAnswer = async (answer: RequestListener, scenario: (url: string) => Promise<void>): Promise<void> => {
  const other = createServer(answer).listen(0, '127.0.0.1')
  await once(other, 'listening')
  try {
    await scenario(`http://127.0.0.1:${(other.address() as AddressInfo).port}`)
  } finally {
    other.close()
    other.closeAllConnections()
  }
}

describe('a command', () => {
  const cli = new Cli()

  it('takes no secret as a flag, and says which variable it belongs into', async () => {
    for (const [args, variable] of [
      [['status', '--secret', 'abc'], 'LIVESTORE_ADMIN_SECRET'],
      [['status', '--admin-secret=abc'], 'LIVESTORE_ADMIN_SECRET'],
      [['token', '--store', 'a', '--jwt-secret', 'abc'], 'JWT_SECRET'],
    ] as const) {
      const says = new RegExp(`^livestore-sync-worker: ${args[0]}: a secret is no flag.* Set the variable ${variable}`)
      await cli.fails(args, 2, says)
      assert.doesNotMatch((await cli.run(args)).stderr, /abc/)
    }
  })

  it('says what is missing, and exits with 2', async () => {
    await cli.fails(['tail'], 2, /tail: which store\?/)
    await cli.fails(['tail', 'a', '--last', '1e3'], 2, /--last is an integer from 0 on, not '1e3'/)
    await cli.fails(['tail', 'a', '--last', '1', '--after', '2'], 2, /either --last or --after/)
    await cli.fails(['status', ''], 2, /status: which store\?/)
    await cli.fails(['export'], 2, /export: which store\?/)
    await cli.fails(['delete', '..'], 2, /delete: a URL cannot hold the id '\.\.'/)
    await cli.fails(['reset', 'my', 'store'], 2, /reset: 'store' is one too many/)
    await cli.fails(['export', 'a', 'b', 'c'], 2, /export: 'c' is one too many/)
    await cli.fails(['stores', 'a'], 2, /stores: it takes flags alone, not 'a'/)
    await cli.fails(['import', 'a'], 2, /import: which file\?/)
    await cli.fails(['stores', '--limit', '0'], 2, /--limit is an integer from 1 on, not '0'/)
    await cli.fails(['backup', 'a', '--timeout', '10'], 2, /--timeout is a time such as 90s, 15m, 1h or 7d, not '10'/)
    await cli.fails(['restore', 'a', '--up-to', 'noon'], 2, /--up-to is the number of an event, or a time/)
    await cli.fails(['adopt', 'a', '--head', 'x'], 2, /--head is stored or log, not 'x'/)
    await cli.fails(['status', '--frobnicate'], 2, /status: Unknown option '--frobnicate'/)
    await cli.fails(['status'], 2, /status: where is the sync backend\? Give --url, or set LIVESTORE_SYNC_URL/)
    for (const url of ['localhost:8787', 'sync.example.com', 'ftp://a', 'https://'])
      await cli.fails(['status', '--url', url], 2, /--url is an address such as https:/)
    await cli.fails(['status', '--url', 'https://a:b@c'], 2, /--url has a user or a password/)
    const env = { LIVESTORE_SYNC_URL: 'https://a:b@c' }
    await cli.fails(['status'], 2, /LIVESTORE_SYNC_URL has a user or a password/, { env })
  })

  it('needs the secret, as it can stand in a header', async () => {
    const local = ['status', '--url', 'http://localhost:1']
    for (const secret of [undefined, ''])
      await cli.fails(local, 1, /LIVESTORE_ADMIN_SECRET is not set/, { env: { LIVESTORE_ADMIN_SECRET: secret } })
    const env = { LIVESTORE_ADMIN_SECRET: 'a\nb' }
    await cli.fails(local, 1, /LIVESTORE_ADMIN_SECRET has a space, a line break/, { env })
  })

  it('says so where nobody listens, or somebody else', async () => {
    let freed = ''
    await withAnswer(
      () => {},
      async (url) => {
        freed = url
      },
    )
    await cli.fails(['status', '--url', freed], 1, new RegExp(`: nothing listens at ${freed}: is the server running`))
    await cli.fails(['status', '--url', 'https://nowhere.invalid'], 1, /: there is no host nowhere\.invalid: is --url/)
    const says = async (answer: RequestListener, words: RegExp, scheme = 'http:'): Promise<void> =>
      withAnswer(answer, (url) => cli.fails(['status', '--url', url.replace('http:', scheme)], 1, words))
    await says(
      (_, response) => response.writeHead(404).end('Not Found'),
      /there is no administration at .*ADMIN_SECRET set/,
    )
    await says((_, response) => response.end('<html>'), /is no sync backend of this package: is --url right\?/)
    await says(
      (_, response) => response.writeHead(302, { location: 'https://b/' }).end(),
      /\(302\), to https:\/\/b\/: give/,
    )
    await says((_, response) => response.writeHead(502).end('<html>'), /answers 502, which no route/)
    await says((_, response) => response.end(), /does not speak https/, 'https:')
    await says((request) => request.socket.destroy(), /the connection to http:.* was cut/)
  })

  it('says so where this Node is too old', async () => {
    const older =
      "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.19.0'}})"
    const options = { node: ['--import', older], env: { LIVESTORE_SYNC_URL: 'http://localhost:1' } }
    await cli.fails(['status'], 1, /this is Node 20\.19\.0, and this command needs 22\.2/, options)
  })

  it('warns where the secret would go unencrypted through a network', async () => {
    const far = ['status', '--url', 'http://nowhere.invalid']
    await cli.fails(far, 1, /^Warning: the secret goes to nowhere\.invalid unencrypted\. .*--url\.\n.*there is no host/)
  })
})

const vars = { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }

describe('against a server', () => {
  const server = serverOf({ vars })
  const cli = () => new Cli(server())

  /** A store with so many events. */
  const filled = async (events: number, storeId = freshStoreId()): Promise<{ storeId: string; peer: Peer }> => {
    const peer = await Peer.connect(server(), 'v04', storeId)
    if (events > 0) await peer.pushed(batchOf(0, events))
    return { storeId, peer }
  }

  it('a wrong secret is told in plain words', async () => {
    const env = { LIVESTORE_ADMIN_SECRET: 'wrong' }
    await cli().fails(['status'], 1, /LIVESTORE_ADMIN_SECRET is not the ADMIN_SECRET of http:\S+ \(401\)\n$/, { env })
  })

  it('a server without an administration is one', async () => {
    await withServer({}, (other) =>
      new Cli(other).fails(['status', 'a'], 1, /there is no administration at .*is ADMIN_SECRET set there\?/),
    )
  })

  it('a store that is not there is told by each command, and none is made', async () => {
    for (const args of [
      ['status'],
      ['tail'],
      ['export'],
      ['backup'],
      ['verify'],
      ['disconnect'],
      ['reset', '--confirm', 'nowhere'],
      ['delete', '--confirm', 'nowhere'],
      ['restore'],
    ]) {
      const [name, ...flags] = args
      await cli().fails([name!, 'nowhere', ...flags], 1, /there is no (such )?(store|backup)/)
    }
    assert.equal((await administer(server(), storePath('nowhere'))).status, 404)
  })

  it('status tells of a store what its state does', async () => {
    const { storeId, peer } = await filled(3)
    await peer.pushed([{ ...batchOf(3)[0]!, seqNum: 5 }])
    const text = await cli().text('status', storeId)
    assert.match(text, new RegExp(`^${storeId}\n`))
    assert.match(text, /^ +status +open$/m)
    assert.match(text, /^ +log +3 events, up to event 3, [\d.]+ kB$/m)
    assert.match(text, /^ +last push +event 3, \d+ s ago, 20/m)
    assert.match(text, /^ +connections +ws 1$/m)
    assert.match(text, /^ +refused +\S+ client client, no-batch: batch\[0\]\.seqNum is 5/m)
    const { time: _, sockets, backup, inFlightBytes, ...state } = await stateOf(server(), storeId)
    const told = await cli().json('status', storeId)
    for (const [key, value] of Object.entries(state)) assert.deepEqual(told[key], value, key)
    assert.deepEqual([sockets.length, typeof inFlightBytes, backup !== undefined], [1, 'number', true])
  })

  it('status tells of clients that do not go on, and why', async () => {
    const { storeId, peer } = await filled(3)
    for (let times = 0; times < 12; times += 1) await peer.pushed(batchOf(0, 1, 'stuck'))
    assert.match(await cli().text('status', storeId), /^ +stuck client +stuck, refused 1\d times: \S.*$/m)
  })

  it('status shows no control characters, whoever made the id', async () => {
    const { storeId } = await filled(1, `a\u001b[31m${freshStoreId()} é/%`)
    const text = await cli().text('status', storeId)
    assert.ok(text.startsWith('a\\u001b[31mstore-'))
    assert.equal((await cli().json('status', storeId))['storeId'], storeId)
  })

  it('status tells of the deployment whether it is reachable, and how many stores there are', async () => {
    const { storeId } = await filled(1)
    await mirrored(server(), storeId, 1)
    const { url, stores, ...rest } = await cli().json<{ url: string; stores: { count: number; isMore: boolean } }>(
      'status',
    )
    assert.deepEqual([url, stores.isMore, stores.count > 0], [server().url, false, true])
    assert.deepEqual(Object.keys(rest), ['version', 'variables', 'bindings', 'warnings'])
    const text = await cli().text('status', '--url', `${server().url}/`)
    assert.match(text, new RegExp(`^${server().url}\n +reachable +yes`))
    assert.match(text, /^ +stores +\d+$/m)
  })

  it('status tells that there is no list of stores where there is no database', async () => {
    await withServer({ vars: { ADMIN_SECRET: adminSecret }, database: false }, async (other) => {
      assert.match(await new Cli(other).text('status'), /^ +stores +not known: no database is bound as DB$/m)
      await new Cli(other).fails(['stores'], 1, /the server says: stores are listed from their backups.*\(404\)/)
    })
  })

  it('a socket’s address is that of the server as well', async () => {
    const { storeId } = await filled(1)
    const url = server().url.replace('http:', 'ws:')
    assert.match(await cli().text('status', storeId, '--url', url), /status +open/)
  })

  it('disconnect closes the sockets and says how many', async () => {
    const { storeId, peer } = await filled(1)
    assert.equal(await cli().text('disconnect', storeId), `${storeId}: 1 socket closed.\n`)
    assert.equal((await peer.client.dismissed()).code, 1012)
    assert.deepEqual(await cli().json('disconnect', storeId), { storeId, closed: 0 })
  })

  it('stores are listed, found by a part of their ids, and gone on with', async () => {
    const ids = ['b one', 'c', 'D ONE', 'b one more'].map((id) => `list ${id}`)
    for (const id of ids) {
      await filled(2, id)
      await mirrored(server(), id, 2)
    }
    interface List {
      readonly stores: ReadonlyArray<{ readonly storeId: string; readonly head: number }>
      readonly next: string | null
    }
    const listed = async (...args: readonly string[]): Promise<readonly [readonly string[], string | null]> => {
      const { stores, next } = await cli().json<List>('stores', ...args)
      return [stores.map(({ storeId }) => storeId), next]
    }
    assert.deepEqual(await listed('--after', 'list', '--limit', '2'), [['list D ONE', 'list b one'], 'list b one'])
    const rest = ['list b one more', 'list c']
    assert.deepEqual((await listed('--after', 'list b one', '--limit', '2'))[0], rest)
    const found = ['list D ONE', 'list b one', 'list b one more']
    assert.deepEqual(await listed('--search', 'ST b ONE'), [found.slice(1), null])
    assert.deepEqual(await listed('--search', ' one'), [found, null])
    assert.deepEqual(await listed('--search', ' one', '--limit', '1'), [['list D ONE'], 'list D ONE'])
    assert.deepEqual(await listed('--search', 'nothing like it'), [[], null])
    const text = await cli().text('stores', '--search', 'list ', '--limit', '1')
    assert.match(text, /^STORE +HEAD +EVENTS +SIZE +LAST EVENT\nlist D ONE +2 +2 +\d+ B +20\S+Z\n/)
    assert.match(text, /\nMore than 1 store: go on with --after 'list D ONE'\n$/)
    assert.equal(await cli().text('stores', '--search', 'nothing like it'), 'There are none with that in their ids.\n')
  })

  describe('what cannot be taken back', () => {
    for (const [name, words] of [
      ['reset', /is empty: lifetime [\w-]{21}\./],
      ['delete', /is deleted: 3 events, and \d events? of the backup\./],
    ] as const) {
      it(`${name} is done with --confirm and the very id`, async () => {
        const { storeId } = await filled(3)
        await cli().fails([name, storeId], 2, /nothing was done: .* for good.*add --confirm and the id of the store/)
        await cli().fails([name, storeId, '--confirm', 'other'], 2, /nothing was done: --confirm is 'other'/)
        assert.equal((await stateOf(server(), storeId)).head, 3)
        assert.match(await cli().text(name, storeId, '--confirm', storeId), words)
        const answer = await administer(server(), storePath(storeId))
        if (name === 'delete') assert.equal(answer.status, 404)
        else assert.equal((JSON.parse(answer.body) as { head: number }).head, 0)
      })

      it(`${name} asks at a terminal`, async () => {
        const { storeId } = await filled(3)
        const wrong = cli().atTerminal([name, storeId])
        await wrong.printed(/Type the id of the store to go on: /)
        wrong.type(`${storeId}x\r`)
        assert.match(shown((await wrong.end()).stdout), /nothing was done: that is not the id of the store/)
        const left = cli().atTerminal([name, storeId])
        await left.printed(/Type the id of the store to go on: /)
        left.type('\u0003')
        const ended = await left.end()
        assert.deepEqual([ended.status, /nothing was done/.test(ended.stdout)], [130, true], ended.stdout)
        assert.equal((await stateOf(server(), storeId)).head, 3)
        const right = cli().atTerminal([name, storeId])
        await right.printed(/Type the id of the store to go on: /)
        right.type(`${storeId}\r`)
        const done = await right.end()
        assert.equal(done.status, 0, done.stdout)
        assert.match(shown(done.stdout), words)
      })
    }

    it('says so in JSON', async () => {
      const { storeId } = await filled(2)
      const { backendId, ...rest } = await cli().json('reset', storeId, '--confirm', storeId)
      assert.deepEqual(rest, { storeId })
      assert.equal(backendId, (await stateOf(server(), storeId)).backendId)
      const { backup, ...deleted } = await cli().json('delete', storeId, '--confirm', storeId)
      assert.deepEqual(deleted, { storeId, events: 0 })
      assert.equal(typeof backup, 'object')
    })
  })
})
