/** `export` and `import`: a file is there whole or not at all, and what breaks off is gone on with. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { crc32, gzipSync } from 'node:zlib'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { serverOf } from '../harness/servers.ts'
import { administer, adminSecret, exportOf, opened, stateOf, storePath } from '../workerd/administration.ts'
import { fill, Peer } from '../workerd/peer.ts'
import { Proxy } from './proxy.ts'
import { Cli, folderOf, shown } from './run.ts'

describe('a log as a file', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })

  /** Some 3 MB, which is staged in several steps. */
  const [many, textBytes] = [600, 5_000]

  const large = freshStoreId()
  const folder = folderOf()
  let cwd = ''
  let proxy: Proxy
  let runs = 0

  before(async () => {
    await fill(server(), large, many, textBytes)
    proxy = await Proxy.to(server())
  })
  after(() => proxy.down())
  beforeEach(() => {
    cwd = join(folder, `${(runs += 1)}`)
    mkdirSync(cwd)
  })

  const cli = (url = server().url) => new Cli({ url })
  const run = (...args: readonly string[]) => cli().run(args, { cwd })
  const read = (name: string): string => readFileSync(join(cwd, name), 'utf8')

  /** Runs a command in the folder, asserts that it succeeds, and resolves with the JSON that it prints. */
  const done = async (...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> => {
    const ended = await run(...args, '--json')
    assert.deepEqual([ended.status, ended.stderr], [0, ''])
    return JSON.parse(ended.stdout) as Readonly<Record<string, unknown>>
  }

  /** A file of the large store, as the server writes it. */
  const file = async (name = 'large.ndjson'): Promise<string> => {
    const { body } = await administer(server(), storePath(large, '/export'))
    writeFileSync(join(cwd, name), body)
    return name
  }

  describe('export', () => {
    it('writes the log into a file, and says what it holds', async () => {
      const { head, backendId } = await stateOf(server(), large)
      const { bytes, crc32: checksum, ...told } = await done('export', large, 'a.ndjson')
      const expected = { file: join(cwd, 'a.ndjson'), storeId: large, backendId, head, events: many }
      assert.deepEqual(told, expected)
      const text = read('a.ndjson')
      const lines = text.trimEnd().split('\n')
      assert.equal(bytes, Buffer.byteLength(text))
      assert.deepEqual(JSON.parse(lines.at(-1)!), { end: { events: many, head, crc32: checksum } })
      const events = lines.slice(1, -1).map((line) => JSON.parse(line) as object)
      assert.deepEqual(events, await exportOf(server(), large))
      assert.deepEqual(readdirSync(cwd), ['a.ndjson'], 'nothing is left beside it')
    })

    it('names the file by the store, if it is not told', async () => {
      const storeId = `a/b ${freshStoreId()}`
      await fill(server(), storeId, 2)
      const ended = await run('export', storeId)
      assert.match(ended.stdout, / has the log of a\/b store-\S+: 2 events up to event 2, \d+ B, whole by its checksum/)
      assert.deepEqual(readdirSync(cwd), [`${encodeURIComponent(storeId)}.ndjson`])
    })

    it('writes to stdout, and nothing else does', async () => {
      const ended = await run('export', large, '-')
      assert.deepEqual([ended.status, ended.stderr], [0, ''])
      assert.equal(JSON.parse(ended.stdout.trimEnd().split('\n').at(-1)!).end.events, many)
      assert.deepEqual(readdirSync(cwd), [])
      await cli().fails(['export', large, '-', '--json'], 2, /there is no place for --json/, { cwd })
    })

    it('leaves a file that is there alone, unless --force is given', async () => {
      writeFileSync(join(cwd, 'mine'), 'mine')
      await cli().fails(['export', large, 'mine'], 1, /export: \S+\/mine is there already: --force replaces it/, {
        cwd,
      })
      assert.equal(read('mine'), 'mine')
      await done('export', large, 'mine', '--force')
      assert.match(read('mine'), /"end":/)
      assert.deepEqual(readdirSync(cwd), ['mine'])
    })

    it('leaves alone a file that comes meanwhile', async () => {
      proxy.cut({ request: `/stores/${large}/export`, way: 'down', afterBytes: 200_000 })
      // The one that is cut shows that there is time for it: the file is made while the answer comes.
      assert.equal((await cli(proxy.url).run(['export', large, 'x'], { cwd })).status, 1)
      proxy.hold({ request: `/stores/${large}/export`, way: 'down', afterBytes: 200_000 })
      const running = cli(proxy.url).start(['export', large, 'mine'], { cwd })
      await eventually('it is written aside', () => readdirSync(cwd).some((name) => name.endsWith('.part')))
      writeFileSync(join(cwd, 'mine'), 'mine')
      proxy.goOn()
      const { status, stderr } = await running.end()
      assert.match(stderr, /mine is there already: --force replaces it/)
      assert.deepEqual([status, read('mine'), readdirSync(cwd)], [1, 'mine', ['mine']])
    })

    it('writes nothing where it cannot, and says why', async () => {
      const at = (path: string, words: RegExp) => cli().fails(['export', large, path], 1, words, { cwd })
      await at('none/a', /there is no folder \S+\/none/)
      await at('.', /is a folder/)
      await at(`${'x'.repeat(300)}`, /cannot be written: ENAMETOOLONG/)
      assert.deepEqual(readdirSync(cwd), [])
    })

    it('of a connection that is cut leaves no file', async () => {
      proxy.cut({ request: `/stores/${large}/export`, way: 'down', afterBytes: 1_000_000 })
      const { status, stderr } = await cli(proxy.url).run(['export', large, 'cut'], { cwd })
      assert.match(stderr, /export: the connection to http:\S+ was cut/)
      assert.deepEqual([status, readdirSync(cwd)], [1, []])
    })

    it('of an answer that is not the whole log leaves no file', async () => {
      const { body } = await administer(server(), storePath(large, '/export'))
      const lines = body.split('\n')
      for (const [sent, words] of [
        [body.replace('"seqNum":300,', '"seqNum":301,'), /it is damaged: its checksum is/],
        [lines.slice(0, -2).join('\n'), /its last line is missing/],
        [lines.slice(1).join('\n'), /its last line is missing/],
        ['', /its last line is missing/],
        [body.replace(`"storeId":"${large}"`, '"storeId":"other"'), /damaged/],
      ] as const) {
        const other = createServer((_, response) => response.end(sent)).listen(0, '127.0.0.1')
        await once(other, 'listening')
        const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
        const { status, stderr } = await cli(url).run(['export', large, 'a'], { cwd })
        other.close()
        other.closeAllConnections()
        assert.match(stderr, words)
        assert.deepEqual([status, readdirSync(cwd)], [1, []])
      }
    })

    it('that is interrupted leaves no file, and exits with 130', async () => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        proxy.hold({ request: `/stores/${large}/export`, way: 'down', afterBytes: 200_000 })
        const running = cli(proxy.url).start(['export', large, 'a'], { cwd })
        await eventually('it is written aside', () => readdirSync(cwd).some((name) => name.endsWith('.part')))
        running.signal(signal)
        const { status, stderr } = await running.end()
        assert.deepEqual([status, stderr], [130, 'livestore-sync-worker: export: interrupted\n'])
        assert.deepEqual(readdirSync(cwd), [])
        proxy.goOn()
      }
    })

    it('shows how far it is at a terminal alone', async () => {
      proxy.hold({ request: `/stores/${large}/export`, way: 'down', afterBytes: 1_000_000 })
      const running = cli(proxy.url).atTerminal(['export', large, 'a'], { cwd })
      await running.printed(/exporting store-\S+ \[#+ +\] \d+ %, \d+ events/)
      proxy.goOn()
      const { status, stdout } = await running.end()
      assert.equal(status, 0)
      assert.match(shown(stdout), /whole by its checksum/)
      assert.equal((await run('export', large, 'b')).stderr, '')
    })
  })

  describe('import', () => {
    it('makes a store of a file', async () => {
      const storeId = freshStoreId()
      const { backendId, ...told } = await done('import', storeId, await file())
      assert.deepEqual(told, { storeId, events: many, head: many, undated: 0 })
      assert.deepEqual(await exportOf(server(), storeId), await exportOf(server(), large))
      assert.equal(backendId, (await stateOf(server(), storeId)).backendId)
    })

    it('replaces what a store holds if that is said, and confirmed', async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3)
      await file()
      await cli().fails(['import', storeId, 'large.ndjson'], 1, /the server says: .*holds 3 events.* \(409\)/, { cwd })
      const replace = ['import', storeId, 'large.ndjson', '--replace']
      await cli().fails(replace, 2, /nothing was done: the 3 events that it holds are replaced/, { cwd })
      assert.equal((await stateOf(server(), storeId)).head, 3)
      await done(...replace, '--confirm', storeId)
      assert.equal((await stateOf(server(), storeId)).head, many)
    })

    it('goes on in the lifetime of the file', async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 3)
      await done('export', storeId, 'own')
      const { backendId } = await stateOf(server(), storeId)
      await cli().text('reset', storeId, '--confirm', storeId)
      const imported = await done('import', storeId, 'own', '--keep-backend-id', '--last-known-head', '3')
      assert.equal(imported['backendId'], backendId)
    })

    it('takes other files that the server takes, too', async () => {
      const events = (await exportOf(server(), large)).slice(0, 3)
      writeFileSync(join(cwd, 'lines'), events.map((event) => `${JSON.stringify(event)}\n`).join(''))
      const storeId = freshStoreId()
      await cli().fails(['import', storeId, 'lines'], 1, /the server says: .*line 1/, { cwd })
      assert.equal((await done('import', storeId, 'lines', '--lines'))['events'], 3)
      const undated = events.map(({ createdAt: _, ...event }) => event)
      const document = {
        version: 1,
        storeId: 'a',
        exportedAt: '2026-01-01T00:00:00.000Z',
        eventCount: 3,
        events: undated,
      }
      writeFileSync(join(cwd, 'document'), JSON.stringify(document, null, 2))
      const { status, stdout } = await run('import', freshStoreId(), 'document')
      assert.equal(status, 0)
      assert.match(stdout, /3 events, up to event 3, lifetime [\w-]{21}\. 3 events had no time/)
    })

    it('sends nothing of a file that is damaged, cut off, compressed, or none', async () => {
      const storeId = freshStoreId()
      const text = read(await file())
      writeFileSync(join(cwd, 'damaged'), text.replace('"seqNum":300,', '"seqNum":301,'))
      writeFileSync(join(cwd, 'cut'), text.slice(0, -100))
      writeFileSync(join(cwd, 'packed'), gzipSync(text))
      const refused = (name: string, words: RegExp) => cli().fails(['import', storeId, name], 1, words, { cwd })
      await refused('damaged', /nothing was sent of damaged: it is damaged: its checksum is/)
      await refused('cut', /nothing was sent of cut: its last line is missing: it is cut off/)
      await refused('packed', /packed is compressed: unpack it first/)
      await refused('none', /none cannot be read: ENOENT/)
      await refused('.', /\. is no file/)
      assert.equal((await administer(server(), storePath(storeId))).status, 404)
    })

    it('that the server refuses in the middle says why, and leaves what there was', async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 2)
      // Right by its checksum, and wrong by its numbers.
      const lines = read(await file())
        .trimEnd()
        .split('\n')
        .slice(0, -1)
      lines[500] = lines[500]!.replace('"seqNum":500,', '"seqNum":501,')
      const sum = crc32(`${lines.join('\n')}\n`)
      const end = { events: many, head: many, crc32: sum.toString(16).padStart(8, '0') }
      writeFileSync(join(cwd, 'wrong'), `${lines.join('\n')}\n${JSON.stringify({ end })}\n`)
      const words = /the server says: line 501: seqNum is 501, but 500 was expected.* \(400\)/
      await cli().fails(['import', storeId, 'wrong', '--replace', '--confirm', storeId], 1, words, { cwd })
      assert.deepEqual([(await stateOf(server(), storeId)).head, (await opened(server(), storeId)).status], [2, 'open'])
      assert.match(
        await cli().text('status', storeId),
        /^ +last restore +failed \d+ s ago, 20\S+Z: line 501: seqNum is 501/m,
      )
      // Where there is no log to go on with, nobody is served, until a file comes that is one.
      const fresh = freshStoreId()
      await cli().fails(['import', fresh, 'wrong'], 1, words, { cwd })
      assert.match(
        await cli().text('status', fresh),
        /^ +status +restore-failed\n[^]*^ +failed +line 501: seqNum is 501/m,
      )
      assert.equal((await done('import', fresh, 'large.ndjson'))['events'], many)
    })

    /** Whether the store has the very log of the large one. */
    const hasAll = async (storeId: string): Promise<boolean> => {
      const digest = async (of: string) => {
        const lines = (await exportOf(server(), of)).map((event) => JSON.stringify(event))
        return createHash('sha256').update(lines.join('\n')).digest('hex')
      }
      return (await digest(storeId)) === (await digest(large))
    }

    it('goes on where it was when the connection is cut, again and again', async () => {
      const storeId = freshStoreId()
      await file()
      const cuts = proxy.cuts
      for (const afterBytes of [900_000, 1_200_000, 600_000])
        proxy.cut({ request: `POST /admin/v1/stores/${storeId}/import`, way: 'up', afterBytes })
      const { status, stdout, stderr } = await cli(proxy.url).run(['import', storeId, 'large.ndjson', '--json'], {
        cwd,
      })
      assert.deepEqual([status, stderr, proxy.cuts - cuts], [0, '', 3])
      assert.equal((JSON.parse(stdout) as { events: number }).events, many)
      assert.ok(await hasAll(storeId))
    })

    it('sends a file that is larger than a request may be in parts', async () => {
      const storeId = freshStoreId()
      await file()
      const parts = () => proxy.seen.filter((line) => line.startsWith(`POST /admin/v1/stores/${storeId}/import`))
      const { status } = await cli(proxy.url).run(['import', storeId, 'large.ndjson', '--part', '2'], { cwd })
      assert.deepEqual([status, await hasAll(storeId)], [0, true])
      const asked = parts().map((line) =>
        line
          .split(' ')[1]!
          .split('?')[1]!
          .replace(/at=\d+/, 'at=N'),
      )
      assert.deepEqual([asked[0], asked.at(-1)], ['more=true', 'at=N'])
      assert.ok(asked.slice(1, -1).every((query) => query === 'at=N&more=true'))
    })

    it('says so where a part is too small for what is in it', async () => {
      const storeId = freshStoreId()
      const peer = await Peer.connect(server(), 'v04', freshStoreId())
      await peer.pushed([{ ...batchOf(0)[0]!, args: 'x'.repeat(1_500_000) }])
      await done('export', peer.storeId, 'wide')
      await cli().fails(['import', storeId, 'wide', '--part', '1'], 1, /import: an event is larger than --part/, {
        cwd,
      })
      // By then the server knows what kind of file it is.
      const [firstLine = ''] = read('wide').split('\n')
      const { status, stderr } = await run('import', storeId, 'wide')
      assert.deepEqual(
        [status, stderr],
        [0, `The server has ${firstLine.length + 1} B of such a file: the rest is sent.\n`],
      )
    })

    it('whose answer is lost is known to be done', async () => {
      const storeId = freshStoreId()
      await file()
      proxy.cut({ request: `POST /admin/v1/stores/${storeId}/import`, way: 'down', afterBytes: 0 })
      const { status, stdout } = await cli(proxy.url).run(['import', storeId, 'large.ndjson', '--json'], { cwd })
      assert.equal(status, 0)
      assert.deepEqual(JSON.parse(stdout), {
        storeId,
        backendId: (await stateOf(server(), storeId)).backendId,
        events: many,
        head: many,
        undated: 0,
      })
    })

    it('that is interrupted is gone on with by the same command, and by no other file', async () => {
      const storeId = freshStoreId()
      await file()
      proxy.hold({ request: `POST /admin/v1/stores/${storeId}/import`, way: 'up', afterBytes: 2_000_000 })
      const running = cli(proxy.url).start(['import', storeId, 'large.ndjson'], { cwd })
      await eventually('some of it is there', async () => {
        const answer = await administer(server(), storePath(storeId))
        return answer.status === 200 && (JSON.parse(answer.body) as { restore?: { at: number } }).restore!.at > 900_000
      })
      running.signal('SIGINT')
      const { status, stdout, stderr } = await running.end()
      // What the system has taken of it by then does not come through.
      proxy.cutAll()
      assert.deepEqual([status, stdout], [130, ''])
      assert.match(stderr, /import: interrupted\. What has come is kept: the same command goes on there/)

      const other = freshStoreId()
      await fill(server(), other, 2)
      await done('export', other, 'other')
      const words = new RegExp(
        `a file of '${large}' is on its way, which this one cannot go on with: 'restore ${storeId} --canc`,
      )
      await cli().fails(['import', storeId, 'other'], 1, words, { cwd })

      const again = await run('import', storeId, 'large.ndjson')
      assert.match(again.stderr, /^The server has [12]\.\d MB of such a file: the rest is sent\.\n$/)
      assert.equal(again.status, 0)
      assert.ok(await hasAll(storeId))
    })

    it('gives up where nothing comes through, and says how to go on', async () => {
      const storeId = freshStoreId()
      await file()
      for (let times = 0; times < 20; times += 1)
        proxy.cut({ request: `POST /admin/v1/stores/${storeId}/import`, way: 'up', afterBytes: 100 })
      const { status, stderr } = await cli(proxy.url).run(['import', storeId, 'large.ndjson'], { cwd })
      assert.equal(status, 1)
      assert.match(stderr, /the connection to http:\S+ was cut\. What has come is kept: the same command goes on there/)
    })

    it('that is under way can be given up, where there is a log to go on with', async () => {
      const storeId = freshStoreId()
      await fill(server(), storeId, 2)
      await file()
      proxy.hold({ request: `POST /admin/v1/stores/${storeId}/import`, way: 'up', afterBytes: 2_000_000 })
      const running = cli(proxy.url).start(['import', storeId, 'large.ndjson', '--replace', '--confirm', storeId], {
        cwd,
      })
      await eventually('it has begun', async () => (await stateOf(server(), storeId)).status === 'restoring')
      assert.match(
        await cli().text('restore', storeId, '--cancel'),
        /It is ended: store-\S+ has 2 events, up to event 2\./,
      )
      running.signal('SIGINT')
      assert.equal((await running.end()).status, 130)
      proxy.goOn()
      rmSync(join(cwd, 'large.ndjson'))
      assert.equal(existsSync(join(cwd, 'large.ndjson')), false)
      assert.equal((await stateOf(server(), storeId)).head, 2)
      assert.match(await cli().text('status', storeId), /^ +last restore +ended \d+ s ago, 20\S+Z$/m)
    })
  })
})
