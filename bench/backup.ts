/**
 * What a backup costs: how long it takes to copy a whole log to D1 and to bring it back, and how much memory that takes; the same
 * of a log that sync-cf left in D1; and the CPU of pushes with a backup and without.
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
import { query } from '../tests/workerd/mirror.ts'
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

const start = (backup: 'd1' | 'off', inspect: boolean, vars: Readonly<Record<string, string>> = {}): Promise<Server> =>
  startServer({ inspect, vars: { ADMIN_SECRET: adminSecret, BACKUP: backup, ...vars } })

/** What puts the events of a log into its table, a part of them at a time. */
const fillings = (storeId: string): readonly string[] => {
  const args = `'{"id":"todo-' || n || '","text":"Buy milk, and bread, and something for the evening"}'`
  const starts = Array.from({ length: Math.ceil(events / chunk) }, (_, index) => index * chunk + 1)
  return starts.map(
    (from) =>
      `WITH RECURSIVE numbers(n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM numbers WHERE n < ${Math.min(events, from + chunk - 1)})
       INSERT INTO eventlog_7_${storeId} SELECT n, n - 1, 'v1.TodoCreated', ${args}, '2026-01-01T00:00:00.000Z',
       'V1StGXR8_Z5jdHi6B-myT', 'static' FROM numbers`,
  )
}

const opened = (server: Server, storeId: string): Promise<unknown> =>
  eventually(`${events} events are there`, async () => (await stateOf(server, storeId)).status === 'open', 20 * 60_000)

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
    for (const filling of fillings(storeId)) await server.sql(storeId, filling)
    await server.evict(storeId)
    await measure(server, 'copied', () => copied(server, storeId, events))
    await measure(server, 'restored', async () => {
      const body = JSON.stringify({ storeId, replace: true })
      const answer = await administer(server, storePath(storeId, '/restore'), { method: 'POST', body })
      if (answer.status !== 202) throw new Error(answer.body)
      await opened(server, storeId)
    })
  } finally {
    await server.stop()
  }
}

/** A log that sync-cf left in D1 is brought into its object. */
const adopt = async (): Promise<void> => {
  const server = await start('off', false, { ADOPT_D1: 'DB', RESTORE_EMPTY: 'auto' })
  try {
    const storeId = 'large'
    const columns = [
      'parentSeqNum integer',
      'name text',
      'args text',
      'createdAt text',
      'clientId text',
      'sessionId text',
    ]
    await query(server, `CREATE TABLE eventlog_7_${storeId} (seqNum integer primary key, ${columns.join()}) strict`)
    for (const filling of fillings(storeId)) await query(server, filling)
    await measure(server, 'adopted', async () => {
      await Peer.connect(server, 'v04', storeId).catch(() => undefined)
      await opened(server, storeId)
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
await adopt()
await compare()
