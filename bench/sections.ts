/**
 * What is measured: one function a section, each on stores of its own, each checking what the server answered.
 *
 * A section gets a running server and how much to do, and returns numbers by metric. Frames are encoded before the clock
 * starts and read after it has stopped.
 */
import type { Server } from '../tests/harness/server.ts'
import { Connection, pushFrame } from './connection.ts'
import { batches, checkChunks } from './events.ts'
import { measure, percentile } from './measure.ts'
import type { Cost } from './measure.ts'

/** How much each section does. `warm` is done first, without being measured. */
export interface Load {
  readonly push1: { readonly warm: number; readonly pushes: number }
  readonly push100: { readonly warm: number; readonly pushes: number }
  readonly pull: { readonly events: number; readonly warm: number; readonly pulls: number }
  readonly fanout: { readonly sockets: number; readonly warm: number; readonly pushes: number }
  readonly stores: { readonly stores: number; readonly warm: number; readonly pushesEach: number }
  readonly first: { readonly warm: number; readonly stores: number }
}

export type Section = keyof Load

/** Numbers by metric key; every section adds `<section>.generatorLoad`. */
export type Numbers = Readonly<Record<string, number>>

const pushBatchEvents = 100
const liveId = 0

/** Makes `storeId` exist, as a client's first contact does, and returns its backend id. */
const prime = async (server: Server, storeId: string): Promise<string> => {
  const connection = await Connection.open(server.wsUrl, storeId)
  const [chunk] = await connection.pull(0)
  connection.close()
  checkChunks([chunk!], 0, 0, 'pull')
  return (JSON.parse(chunk!) as { values: [{ backendId: string }] }).values[0].backendId
}

/** One socket on one store whose pushes follow each other: encoded ahead, sent one at a time. */
class Pusher {
  readonly connection: Connection
  private readonly backendId: string
  private head = 0
  private nextId = 1

  private constructor(connection: Connection, backendId: string) {
    this.connection = connection
    this.backendId = backendId
  }

  static async open(server: Server, storeId: string): Promise<Pusher> {
    const backendId = await prime(server, storeId)
    const connection = await Connection.open(server.wsUrl, storeId)
    // As every client does before it names the backend id in its pushes.
    await connection.pull(0)
    return new Pusher(connection, backendId)
  }

  /** Encodes the next `count` pushes of `size` events; each function sends one and resolves once it is acknowledged. */
  encode(count: number, size: number): Array<() => Promise<void>> {
    const to = this.head + count * size
    const pushes = batches(this.head, to, size).map((batch) => {
      const id = this.nextId++
      const frame = pushFrame(id, this.connection.storeId, batch, this.backendId)
      return () => this.connection.push(id, frame)
    })
    this.head = to
    return pushes
  }
}

const inSequence = async (steps: ReadonlyArray<() => Promise<void>>): Promise<void> => {
  for (const step of steps) await step()
}

/** Throws unless a pull of the whole log of `storeId` returns events 1 to `head`. */
const checkLog = async (server: Server, storeId: string, head: number): Promise<void> => {
  const connection = await Connection.open(server.wsUrl, storeId)
  checkChunks(await connection.pull(0), 0, head, 'pull')
  connection.close()
}

const perSecond = (count: number, cost: Cost): number => (count / cost.wallMs) * 1000

const push1 = async (server: Server, { push1: { warm, pushes } }: Load): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'push1')
  await inSequence(pusher.encode(warm, 1))
  const measured = pusher.encode(pushes, 1)
  const times: number[] = []
  const cost = await measure(server.pid, async () => {
    for (const push of measured) {
      const start = performance.now()
      await push()
      times.push(performance.now() - start)
    }
  })
  pusher.connection.close()
  await checkLog(server, 'push1', warm + pushes)
  return {
    'push1.p50Ms': percentile(times, 0.5),
    'push1.p99Ms': percentile(times, 0.99),
    'push1.cpuUs': cost.cpuUs / pushes,
    'push1.generatorLoad': cost.generatorLoad,
  }
}

const push100 = async (server: Server, { push100: { warm, pushes } }: Load): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'push100')
  await inSequence(pusher.encode(warm, pushBatchEvents))
  const measured = pusher.encode(pushes, pushBatchEvents)
  const cost = await measure(server.pid, () => inSequence(measured))
  pusher.connection.close()
  await checkLog(server, 'push100', (warm + pushes) * pushBatchEvents)
  const events = pushes * pushBatchEvents
  return {
    'push100.perSecond': perSecond(events, cost),
    'push100.cpuUs': cost.cpuUs / events,
    'push100.generatorLoad': cost.generatorLoad,
  }
}

const pull = async (server: Server, { pull: { events, warm, pulls } }: Load): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'pull')
  await inSequence(pusher.encode(events / pushBatchEvents, pushBatchEvents))
  pusher.connection.close()
  const connection = await Connection.open(server.wsUrl, 'pull')
  for (let id = 0; id < warm; id++) checkChunks(await connection.pull(id), 0, events, 'pull')
  const answers: string[][] = []
  const cost = await measure(server.pid, async () => {
    for (let id = warm; id < warm + pulls; id++) answers.push(await connection.pull(id))
  })
  connection.close()
  for (const chunks of answers) checkChunks(chunks, 0, events, 'pull')
  return {
    'pull.perSecond': perSecond(events * pulls, cost),
    'pull.cpuUs': cost.cpuUs / (events * pulls),
    'pull.generatorLoad': cost.generatorLoad,
  }
}

const fanout = async (server: Server, { fanout: { sockets, warm, pushes } }: Load): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'fanout')
  let outstanding = 0
  let delivered = (): void => {}
  const subscribers: Array<{ connection: Connection; chunks: string[] }> = []
  for (let index = 0; index < sockets; index++) {
    const connection = await Connection.open(server.wsUrl, 'fanout')
    const chunks: string[] = []
    checkChunks([await connection.pullLive(liveId)], 0, 0, 'pull')
    connection.onChunk = (chunk) => {
      chunks.push(chunk)
      if (--outstanding === 0) delivered()
    }
    subscribers.push({ connection, chunks })
  }
  // The next push follows once this one is acknowledged and has reached every socket.
  const deliver = async (push: () => Promise<void>): Promise<void> => {
    outstanding = sockets
    const all = new Promise<void>((resolve) => (delivered = resolve))
    await push()
    await all
  }
  for (const push of pusher.encode(warm, 1)) await deliver(push)
  const measured = pusher.encode(pushes, 1)
  const cost = await measure(server.pid, async () => {
    for (const push of measured) await deliver(push)
  })
  pusher.connection.close()
  for (const { connection, chunks } of subscribers) {
    checkChunks(chunks, 0, warm + pushes, 'broadcasts')
    connection.close()
  }
  const deliveries = pushes * sockets
  return {
    'fanout.cpuUs': cost.cpuUs / deliveries,
    'fanout.perSecond': perSecond(deliveries, cost),
    'fanout.generatorLoad': cost.generatorLoad,
  }
}

const stores = async (server: Server, { stores: { stores: count, warm, pushesEach } }: Load): Promise<Numbers> => {
  const pushers: Pusher[] = []
  for (let index = 0; index < count; index++) pushers.push(await Pusher.open(server, `stores-${index}`))
  await Promise.all(pushers.map((pusher) => inSequence(pusher.encode(warm, 1))))
  const measured = pushers.map((pusher) => pusher.encode(pushesEach, 1))
  const cost = await measure(server.pid, async () => {
    await Promise.all(measured.map(inSequence))
  })
  for (const { connection } of pushers) {
    connection.close()
    await checkLog(server, connection.storeId, warm + pushesEach)
  }
  const pushes = count * pushesEach
  return {
    'stores.perSecond': perSecond(pushes, cost),
    'stores.cpuUs': cost.cpuUs / pushes,
    'stores.generatorLoad': cost.generatorLoad,
  }
}

const first = async (server: Server, { first: { warm, stores: count } }: Load): Promise<Numbers> => {
  const connections: Connection[] = []
  const open = async (storeId: string): Promise<number> => {
    const start = performance.now()
    const connection = await Connection.open(server.wsUrl, storeId)
    const chunk = await connection.pullLive(liveId)
    const ms = performance.now() - start
    checkChunks([chunk], 0, 0, 'pull')
    connections.push(connection)
    return ms
  }
  for (let index = 0; index < warm; index++) await open(`first-warm-${index}`)
  const times: number[] = []
  const cost = await measure(server.pid, async () => {
    for (let index = 0; index < count; index++) times.push(await open(`first-${index}`))
  })
  for (const connection of connections) connection.close()
  return {
    'first.p50Ms': percentile(times, 0.5),
    'first.cpuUs': cost.cpuUs / count,
    'first.generatorLoad': cost.generatorLoad,
  }
}

/** Every section, in the order in which they run. */
export const sections: Readonly<Record<Section, (server: Server, load: Load) => Promise<Numbers>>> = {
  push1,
  push100,
  pull,
  fanout,
  stores,
  first,
}
