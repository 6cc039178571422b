/**
 * What a backup costs: how long it takes to copy a whole log to D1 and to bring it back, and how much memory that takes; and
 * the CPU of pushes with a backup and without.
 *
 *     node bench/backup.ts [--events 1000000] [--pushes 4000]
 *
 * D1 is that of the local runtime, in the same process, so its CPU and memory are counted, too; a real one is further away.
 */
import { existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { batchOf, freshStoreId } from '../tests/clients/events.ts'
import { eventually } from '../tests/clients/waiting.ts'
import { type Server, startServer } from '../tests/harness/server.ts'
import { administer, adminSecret, stateOf, storePath } from '../tests/workerd/administration.ts'
import { Peer } from '../tests/workerd/peer.ts'

const memory = '/dev/shm'
if (existsSync(memory)) process.env['TMPDIR'] = memory

const options = { events: { type: 'string', default: '1000000' }, pushes: { type: 'string', default: '4000' } } as const
const { values } = parseArgs({ options })
const [events, pushes] = [Number(values.events), Number(values.pushes)]

/** Events that are put into the log at once. */
const chunk = 100_000

const residentMiB = ({ pid }: Server): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024

/** Milliseconds of CPU that workerd has used, to ten of them. */
const cpuMs = ({ pid }: Server): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const start = (backup: 'd1' | 'off', inspect: boolean): Promise<Server> =>
  startServer({ inspect, vars: { ADMIN_SECRET: adminSecret, BACKUP: backup } })

const copied = (server: Server, storeId: string, head: number): Promise<unknown> =>
  eventually(
    `${head} events are copied`,
    async () => (await stateOf(server, storeId)).backup?.head === head,
    20 * 60_000,
  )

/** Says what it costs to have all events `done`. */
const measure = async (server: Server, done: string, work: () => Promise<unknown>): Promise<void> => {
  const [began, cpu, resident] = [performance.now(), cpuMs(server), residentMiB(server)]
  let peak = resident
  const watch = setInterval(() => (peak = Math.max(peak, residentMiB(server))), 20)
  await work()
  clearInterval(watch)
  const seconds = (performance.now() - began) / 1000
  const each = ((cpuMs(server) - cpu) * 1000) / events
  console.log(
    `${events.toLocaleString('en')} events ${done} in ${seconds.toFixed(1)} s, ${each.toFixed(1)} µs of CPU each; ` +
      `workerd grew by ${(peak - resident).toFixed(0)} MiB at most`,
  )
}

const copy = async (): Promise<void> => {
  const server = await start('d1', true)
  try {
    const storeId = 'large'
    await (await Peer.connect(server, 'v04', storeId)).settled()
    const args = `'{"id":"todo-' || n || '","text":"Buy milk, and bread, and something for the evening"}'`
    for (let from = 1; from <= events; from += chunk) {
      const last = Math.min(events, from + chunk - 1)
      await server.sql(
        storeId,
        `WITH RECURSIVE numbers(n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM numbers WHERE n < ${last})
         INSERT INTO eventlog_7_${storeId} SELECT n, n - 1, 'v1.TodoCreated', ${args}, '2026-01-01T00:00:00.000Z',
         'V1StGXR8_Z5jdHi6B-myT', 'static' FROM numbers`,
      )
    }
    await server.evict(storeId)
    await measure(server, 'copied', () => copied(server, storeId, events))
    await measure(server, 'restored', async () => {
      const body = JSON.stringify({ storeId, replace: true })
      const answer = await administer(server, storePath(storeId, '/restore'), { method: 'POST', body })
      if (answer.status !== 202) throw new Error(answer.body)
      await eventually(
        `${events} events are restored`,
        async () => (await stateOf(server, storeId)).status === 'open',
        20 * 60_000,
      )
    })
  } finally {
    await server.stop()
  }
}

/** CPU of a push of one event, in microseconds: nothing is left to copy, or what is left is not copied meanwhile. */
const push = async (server: Server, storeId: string, peer: Peer, from: number): Promise<number> => {
  const cpu = cpuMs(server)
  for (let head = from; head < from + pushes; head += 1) await peer.pushed(batchOf(head))
  const used = cpuMs(server) - cpu
  if ((await stateOf(server, storeId)).backup !== undefined) await copied(server, storeId, from + pushes)
  return (used * 1000) / pushes
}

const compare = async (): Promise<void> => {
  // One after the other: each looks for its process among those that are new.
  const servers = [await start('off', false), await start('d1', false)] as const
  try {
    const storeId = freshStoreId()
    const peers = await Promise.all(servers.map((server) => Peer.connect(server, 'v04', storeId)))
    const rounds: Array<readonly [off: number, on: number]> = []
    for (let round = 0; round < 6; round += 1) {
      const from = round * pushes
      const off = await push(servers[0], storeId, peers[0]!, from)
      rounds.push([off, await push(servers[1], storeId, peers[1]!, from)])
    }
    // The first one warms up.
    const median = (index: 0 | 1): number =>
      rounds
        .slice(1)
        .map((round) => round[index])
        .toSorted((a, b) => a - b)[2]!
    const [off, on] = [median(0), median(1)]
    console.log(
      `push of 1 event: ${off.toFixed(0)} µs of CPU without a backup, ${on.toFixed(0)} µs with one and what it copies ` +
        `meanwhile (${(((on - off) / off) * 100).toFixed(1)} %)`,
    )
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

await copy()
await compare()
