/** `tail`: what was pushed last and what is pushed, each event once and in order, whatever becomes of the connection. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret, exportOf, reset, stateOf } from '../workerd/administration.ts'
import { fill, Peer } from '../workerd/peer.ts'
import { Proxy } from './proxy.ts'
import { Cli, linesIn, type Running, shown } from './run.ts'

interface Line {
  readonly seqNum: number
  readonly name: string
  readonly clientId: string
}

describe('tail', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret } })
  let proxy: Proxy
  before(async () => {
    proxy = await Proxy.to(server())
  })
  after(() => proxy.down())

  const cli = (to: Pick<Server, 'url'> = server()) => new Cli(to)

  /** A store with so many events, and who pushes to it. */
  const filled = async (events: number): Promise<Peer> => {
    const peer = await Peer.connect(server(), 'v04', freshStoreId())
    if (events > 0) await peer.pushed(batchOf(0, events))
    return peer
  }

  /** The numbers of the events that were printed. */
  const numbers = ({ stdout }: Pick<Running, 'stdout'>): readonly number[] =>
    stdout === '' ? [] : linesIn<Line>(stdout.slice(0, stdout.lastIndexOf('\n') + 1)).map(({ seqNum }) => seqNum)

  const printed = (running: Running, expected: readonly number[]): Promise<unknown> =>
    eventually(
      `events ${expected.join()} are printed`,
      () => numbers(running).length >= expected.length,
      20_000,
      () => [running.stdout, running.stderr],
    ).then(() => assert.deepEqual(numbers(running), expected))

  const interrupted = async (running: Running): Promise<string> => {
    running.signal('SIGINT')
    const { status, stderr } = await running.end()
    assert.equal(status, 130, stderr)
    return stderr
  }

  it('prints the last events as they are exported, and ends if it is told to', async () => {
    const { storeId } = await filled(12)
    const all = await exportOf(server(), storeId)
    assert.deepEqual(await cli().lines('tail', storeId, '--no-follow'), all.slice(2))
    assert.deepEqual(await cli().lines('tail', storeId, '--no-follow', '--last', '1'), all.slice(11))
    assert.deepEqual(await cli().lines('tail', storeId, '--no-follow', '--last', '99'), all)
    assert.deepEqual(await cli().lines('tail', storeId, '--no-follow', '--after', '9'), all.slice(9))
    assert.equal(await cli().text('tail', storeId, '--no-follow', '--last', '0'), '')
    assert.equal(await cli().text('tail', (await filled(0)).storeId, '--no-follow'), '')
    const { seqNum, createdAt } = all.at(-1)!
    const line = `${seqNum}  ${createdAt}  v1.Noted  client  {"text":"client 12"}\n`
    assert.equal(await cli().text('tail', storeId, '--no-follow', '--last', '1'), line)
  })

  it('prints a log of many pages whole', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 3_000)
    const lines = await cli().lines<Line>('tail', storeId, '--no-follow', '--after', '0')
    assert.deepEqual(lines, await exportOf(server(), storeId))
  })

  it('follows what is pushed, of whoever pushes, until it is interrupted', async () => {
    const peer = await filled(2)
    const running = cli().start(['tail', peer.storeId, '--json'])
    await printed(running, [1, 2])
    const pushing = [2, 3, 4].map((parent) => peer.push(batchOf(parent)))
    await printed(running, [1, 2, 3, 4, 5])
    assert.equal(pushing.length, 3)
    await (await Peer.connect(server(), 'v05', peer.storeId)).pushed(batchOf(5))
    await printed(running, [1, 2, 3, 4, 5, 6])
    assert.equal(await interrupted(running), 'livestore-sync-worker: tail: ended\n')
    await eventually('its socket is gone', async () => (await stateOf(server(), peer.storeId)).sockets.length === 2)
  })

  it('filters by name, client and args', async () => {
    const peer = await Peer.connect(server(), 'v04', freshStoreId())
    const events = batchOf(0, 4).map((event, at) => ({
      ...event,
      name: ['v1.TodoCreated', 'v1.TodoDone', 'v2.Other', 'v1.ToX'][at]!,
      clientId: at === 1 ? 'b' : 'a',
      args: { text: `a "${at}" + é` },
    }))
    await peer.pushed(events)
    const filtered = async (...flags: readonly string[]): Promise<readonly number[]> =>
      numbers(await cli().run(['tail', peer.storeId, '--no-follow', '--json', ...flags]))
    assert.deepEqual(await filtered('--name', 'v1.Todo*'), [1, 2])
    assert.deepEqual(await filtered('--name', 'v2.Other,*.TodoDone'), [2, 3])
    assert.deepEqual(await filtered('--name', 'v1xTodoDone'), [])
    assert.deepEqual(await filtered('--client', 'a'), [1, 3, 4])
    assert.deepEqual(await filtered('--args', '\\"2\\" + é'), [3])
    assert.deepEqual(await filtered('--name', 'v1.*', '--client', 'a', '--args', '"text"'), [1, 4])
  })

  it('shows no control characters, and cuts lines at the end of a terminal alone', async () => {
    const peer = await Peer.connect(server(), 'v04', freshStoreId())
    await peer.pushed([{ ...batchOf(0)[0]!, name: 'a\u001b[2J\u009b', args: `\u0085${'x'.repeat(300)}` }])
    const text = await cli().text('tail', peer.storeId, '--no-follow')
    assert.ok(text.includes('a\\u001b[2J\\u009b'))
    assert.ok(text.endsWith(`"\\u0085${'x'.repeat(300)}"\n`))
    const { stdout } = await cli().atTerminal(['tail', peer.storeId, '--no-follow']).end()
    assert.match(shown(stdout), /^1 .*x…$/m)
  })

  it('goes on behind the last event when the connection is cut, without a gap or a second copy', async () => {
    const peer = await filled(3)
    const running = cli(proxy).start(['tail', peer.storeId, '--json'])
    await printed(running, [1, 2, 3])
    proxy.cutAll()
    await peer.pushed(batchOf(3, 2))
    await printed(running, [1, 2, 3, 4, 5])
    await proxy.down()
    await peer.pushed(batchOf(5, 200))
    await running.printed(/the connection was lost|nothing listens/, 'stderr')
    await proxy.up()
    await printed(
      running,
      Array.from({ length: 205 }, (_, at) => at + 1),
    )
    const said = await interrupted(running)
    assert.match(
      said,
      /^tail: the connection was lost.*; it is tried again\ntail: connected again, and goes on behind event 3\n/,
    )
    assert.match(said, /\ntail: connected again, and goes on behind event 5\nlivestore-sync-worker: tail: ended\n$/)
  })

  it('goes on after an eviction as if there had been none', async () => {
    const peer = await filled(1)
    const running = cli().start(['tail', peer.storeId, '--json'])
    await printed(running, [1])
    await server().evict(peer.storeId)
    await peer.pushed(batchOf(1))
    await printed(running, [1, 2])
    assert.equal(await interrupted(running), 'livestore-sync-worker: tail: ended\n')
  })

  it('goes on with the log that follows a reset', async () => {
    const peer = await filled(3)
    const running = cli().start(['tail', peer.storeId, '--json'])
    await printed(running, [1, 2, 3])
    const backendId = await reset(server(), peer.storeId)
    await (await Peer.connect(server(), 'v04', peer.storeId)).pushed(batchOf(0, 2))
    await printed(running, [1, 2, 3, 1, 2])
    assert.match(
      await interrupted(running),
      new RegExp(`the store has another log, lifetime ${backendId}, which follows`),
    )
  })

  it('says so when the store is deleted meanwhile', async () => {
    const peer = await filled(3)
    const running = cli().start(['tail', peer.storeId, '--json'])
    await printed(running, [1, 2, 3])
    peer.client.terminate()
    await cli().text('delete', peer.storeId, '--confirm', peer.storeId)
    const { status, stderr } = await running.end()
    assert.equal(status, 1)
    assert.match(stderr, /there is no (such )?store/)
  })

  it('does not hold what it cannot print: a reader that stops leaves pages unacknowledged', async () => {
    const storeId = freshStoreId()
    await fill(server(), storeId, 400, 50_000)
    const running = cli().start(['tail', storeId, '--after', '0', '--json'])
    running.stall()
    const stopped = await eventually('the server waits for it', async () => {
      const { sockets } = await stateOf(server(), storeId)
      const [socket] = sockets
      return socket !== undefined && socket.unacknowledged > 0 && socket.lag > 100 && socket
    })
    assert.ok(stopped.unacknowledged <= 16)
    running.goOn()
    await eventually('all of it is printed', () => numbers(running).length === 400)
    await interrupted(running)
  })

  it('ends quietly when nobody reads it any more', async () => {
    const peer = await filled(3)
    const running = cli().start(['tail', peer.storeId, '--json'])
    await printed(running, [1, 2, 3])
    running.closeOutput()
    await peer.pushed(batchOf(3))
    const { status, stderr } = await running.end()
    assert.deepEqual([status, stderr], [141, ''])
  })
})
