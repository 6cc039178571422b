/**
 * What a backup costs: how long it takes to copy a whole log to D1, to fold it there, and to bring it back before and after,
 * how much memory that takes, and how many rows D1 counts for it; the same of a log that sync-cf left in D1; and the CPU of
 * pushes with a backup and without.
 *
 *     node bench/backup.ts [--events 1000000] [--pushes 4000]
 *
 * D1 is that of the local runtime, in the same process, so its CPU and memory are counted, too; a real one is further away.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { batchOf, freshStoreId } from '../tests/clients/events.ts'
import { eventually } from '../tests/clients/waiting.ts'
import { type Server, type ServerOptions, startServer } from '../tests/harness/server.ts'
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

const start = (backup: 'd1' | 'off', options: ServerOptions = {}): Promise<Server> =>
  startServer({ ...options, vars: { ADMIN_SECRET: adminSecret, BACKUP: backup, ...options.vars } })

/** Has each batch that D1 runs say what D1 counts for it. */
const counting = (source: string): string => {
  const construction = /new ([\w$.]+)\(this\.ctx,this\.env\)/
  if (!construction.test(source)) throw new Error('the object is made elsewhere')
  const database = `{
    prepare: (sql) => this.env.DB.prepare(sql),
    batch: async (statements) => {
      const results = await this.env.DB.batch(statements)
      const of = (name) => results.reduce((sum, { meta }) => sum + meta[name], 0)
      console.log('d1 ' + statements.length + ' ' + of('rows_read') + ' ' + of('rows_written') + ' ' + results.at(-1).meta.size_after)
      return results
    },
  }`
  return source.replace(construction, `new $1(this.ctx,{...this.env,DB:${database}})`)
}

/** Queries, rows read and rows written that D1 has counted since line `from` of the log, and the size of the database. */
const countedBy = ({ logs }: Server, from: number) => {
  const counted = { queries: 0, read: 0, written: 0, bytes: 0 }
  for (const line of logs.slice(from)) {
    const [, queries, read, written, bytes] = /^d1 (\d+) (\d+) (\d+) (\d+)$/.exec(line)?.map(Number) ?? []
    if (bytes === undefined) continue
    counted.queries += queries!
    counted.read += read!
    counted.written += written!
    counted.bytes = bytes
  }
  return counted
}

const copied = (server: Server, storeId: string, head: number): Promise<unknown> =>
  eventually(
    `${head} events are copied`,
    async () => (await stateOf(server, storeId)).backup?.head === head,
    20 * 60_000,
  )

/** Says what it costs to have all events `done`. */
const measure = async (server: Server, done: string, work: () => Promise<unknown>): Promise<void> => {
  const [began, cpu, resident, from] = [performance.now(), cpuMs(server), residentMiB(server), server.logs.length]
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
  const counted = countedBy(server, from)
  const perMillion = (rows: number) => Math.round((rows * 1_000_000) / events).toLocaleString('en')
  console.log(
    `  per million events: ${perMillion(counted.queries)} queries, ${perMillion(counted.read)} rows read, ` +
      `${perMillion(counted.written)} written`,
  )
}

const storeId = 'large'

/** What puts the events of a log into its table, a part of them at a time. */
const fillings = (): readonly string[] => {
  // Ids as clients make them do not compress.
  const args = `'{"id":"' || hex(randomblob(10)) || '","text":"Buy milk, and bread, and something for the evening"}'`
  const starts = Array.from({ length: Math.ceil(events / chunk) }, (_, index) => index * chunk + 1)
  return starts.map(
    (from) =>
      `WITH RECURSIVE numbers(n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM numbers WHERE n < ${Math.min(events, from + chunk - 1)})
       INSERT INTO eventlog_7_${storeId} SELECT n, n - 1, 'v1.TodoCreated', ${args},
       strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', (n * 7.413) || ' seconds'),
       'V1StGXR8_Z5jdHi6B-myT', 'static' FROM numbers`,
  )
}

const opened = (server: Server): Promise<unknown> =>
  eventually(`${events} events are there`, async () => (await stateOf(server, storeId)).status === 'open', 20 * 60_000)

/** What must not change. */
const sumOf = async (server: Server): Promise<string> => {
  const sum = `SELECT count(*) AS events, sum(seqNum * length(args) + unicode(createdAt)) AS sum FROM eventlog_7_${storeId}`
  return JSON.stringify(await server.sql(storeId, sum))
}

const restore = (server: Server, when: string): Promise<void> =>
  measure(server, `restored ${when}`, async () => {
    const body = JSON.stringify({ storeId, replace: true, keepBackendId: true })
    const answer = await administer(server, storePath(storeId, '/restore'), { method: 'POST', body })
    if (answer.status !== 202) throw new Error(answer.body)
    await opened(server)
  })

/** Says what lies in D1, of which no server runs on the folder any more. */
const weigh = (storage: string, when: string): void => {
  const files = readdirSync(storage, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.sqlite'))
  for (const file of files) {
    const database = new DatabaseSync(join(storage, file))
    const number = (sql: string): number => Number(Object.values(database.prepare(sql).get() ?? {})[0] ?? 0)
    if (number("SELECT count(*) FROM sqlite_master WHERE name = 'livestore_sync_segments'") > 0) {
      const pages = number('PRAGMA page_count') - number('PRAGMA freelist_count')
      const bytes = (pages * number('PRAGMA page_size')) / events
      const rows = number('SELECT count(*) FROM livestore_sync_events')
      const segments = number('SELECT count(*) FROM livestore_sync_segments')
      console.log(`  ${when}: ${rows} rows and ${segments} segments, ${bytes.toFixed(1)} bytes per event`)
    }
    database.close()
  }
}

const copy = async (storage: string): Promise<string> => {
  const server = await start('d1', { inspect: true, storage, edit: counting, vars: { COMPACT_AFTER_DAYS: 'off' } })
  try {
    await (await Peer.connect(server, 'v04', storeId)).settled()
    for (const filling of fillings()) await server.sql(storeId, filling)
    await server.evict(storeId)
    await measure(server, 'copied', () => copied(server, storeId, events))
    await restore(server, 'from rows')
    return await sumOf(server)
  } finally {
    await server.stop()
    weigh(storage, 'as rows')
  }
}

const fold = async (storage: string, sum: string): Promise<void> => {
  const server = await start('d1', { inspect: true, storage, edit: counting, vars: { COMPACT_AFTER_DAYS: '1' } })
  try {
    await measure(server, 'folded', () =>
      eventually(
        `${events} events are folded`,
        async () => (await stateOf(server, storeId)).backup?.compaction?.foldedTo === events,
        20 * 60_000,
      ),
    )
    for (const { name } of await server.sql(storeId, "SELECT name FROM sqlite_master WHERE name LIKE 'eventlog%'")) {
      await server.sql(storeId, `DELETE FROM "${String(name)}"`)
    }
    await server.evict(storeId)
    await restore(server, 'from segments, where nothing else was left')
    if ((await sumOf(server)) !== sum) throw new Error('what was restored is not what was copied')
  } finally {
    await server.stop()
    weigh(storage, 'as segments')
  }
}

/** A log that sync-cf left in D1 is brought into its object. */
const adopt = async (): Promise<void> => {
  const server = await start('off', { edit: counting, vars: { ADOPT_D1: 'DB', RESTORE_EMPTY: 'auto' } })
  try {
    const columns = [
      'parentSeqNum integer',
      'name text',
      'args text',
      'createdAt text',
      'clientId text',
      'sessionId text',
    ]
    await query(server, `CREATE TABLE eventlog_7_${storeId} (seqNum integer primary key, ${columns.join()}) strict`)
    for (const filling of fillings()) await query(server, filling)
    await measure(server, 'adopted', async () => {
      await Peer.connect(server, 'v04', storeId).catch(() => undefined)
      await opened(server)
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
  const servers = [await start('off'), await start('d1')] as const
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

const storage = mkdtempSync(join(tmpdir(), 'backup-'))
try {
  await fold(storage, await copy(storage))
} finally {
  rmSync(storage, { recursive: true })
}
await adopt()
if (pushes > 0) await compare()
