/**
 * How much the runtime's memory grows while one client pulls a log of a million events.
 *
 *     node bench/memory.ts [events]
 *
 * First with a client that acknowledges each page as it comes, then with one that reads nothing for a while: what has not
 * been acknowledged must not pile up.
 */
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { startServer } from '../tests/harness/server.ts'
import { Connection } from './connection.ts'
import { batches } from './events.ts'
import { residentMib } from './measure.ts'

const memory = '/dev/shm'
if (existsSync(memory)) process.env['TMPDIR'] = memory

const events = Number(process.argv[2] ?? 1_000_000)
const batchEvents = 100
const stalledMs = 5_000

const server = await startServer({})

const fill = async (): Promise<void> => {
  const connection = await Connection.open(server.wsUrl, 'long')
  const [chunk] = await connection.pull(0)
  const { backendId } = (JSON.parse(chunk!) as { values: [{ backendId: string }] }).values[0]
  let id = 1
  for (let from = 0; from < events; from += 10_000) {
    for (const batch of batches(from, Math.min(events, from + 10_000), batchEvents)) {
      await connection.push(id, connection.pushFrame(id, batch, backendId))
      id += 1
    }
  }
  connection.close()
}

/** Growth of workerd's resident memory, in MiB, from before `work` to its highest point during it. */
const growthDuring = async (work: () => Promise<void>): Promise<number> => {
  const before = residentMib(server.pid)
  let highest = before
  const sampling = setInterval(() => (highest = Math.max(highest, residentMib(server.pid))), 10)
  await work()
  clearInterval(sampling)
  return highest - before
}

const pullAll = async (stallMs: number): Promise<void> => {
  const connection = await Connection.open(server.wsUrl, 'long')
  let seen = 0
  const done = connection.pull(0)
  connection.onChunk = (chunk) => {
    seen += chunk.split('"eventEncoded"').length - 1
  }
  if (stallMs > 0) {
    connection.stall()
    await pause(stallMs)
    connection.goOn()
  }
  await done
  connection.close()
  if (seen !== events) throw new Error(`${seen} of ${events} events came`)
}

await fill()
await pullAll(0) // warm
console.log(`${events} events, workerd at ${residentMib(server.pid).toFixed(0)} MiB`)
console.log(`growth during a pull: ${(await growthDuring(() => pullAll(0))).toFixed(1)} MiB`)
console.log(
  `growth during a pull that is not read for ${stalledMs / 1000} s: ${(await growthDuring(() => pullAll(stalledMs))).toFixed(1)} MiB`,
)
await server.stop()
