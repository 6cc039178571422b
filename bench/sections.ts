/**
 * What is measured: one function a section, each on stores of its own, each checking what the server answered.
 *
 * A section gets a running server and how much to do, and returns numbers by metric. Frames are encoded before the clock
 * starts and read after it has stopped.
 */
import { makeClient } from '../tests/clients/v04/client.ts'
import { authToken } from '../tests/harness/server.ts'
import type { Server, ServerOptions } from '../tests/harness/server.ts'
import { Connection } from './connection.ts'
import { batches, checkAnswer, checkChunks } from './events.ts'
import type { Event } from './events.ts'
import { HttpClient } from './http.ts'
import { jwt, jwtSecret } from './jwt.ts'
import { measure, percentile } from './measure.ts'
import type { Cost } from './measure.ts'

/** `warm` is done first, without being measured. */
interface PushLoad {
  readonly warm: number
  readonly pushes: number
}

interface PullLoad {
  readonly events: number
  readonly warm: number
  readonly pulls: number
}

/** `megabytes` are pushed, as events of each size in kilobytes, and pulled `pulls` times. */
interface LargeLoad {
  readonly kilobytes: readonly number[]
  readonly megabytes: number
  readonly pulls: number
}

/** How much each section does. */
export interface Load {
  readonly push1: PushLoad
  readonly push100: PushLoad
  readonly pull: PullLoad
  readonly fanout: { readonly sockets: number; readonly warm: number; readonly pushes: number }
  readonly stores: { readonly stores: number; readonly warm: number; readonly pushesEach: number }
  readonly young: PushLoad
  readonly large: LargeLoad
  readonly crowd: { readonly sockets: number; readonly warm: number; readonly pushes: number }
  readonly client: { readonly events: number }
  readonly first: { readonly warm: number; readonly stores: number }
  readonly httpPush1: PushLoad
  readonly httpPush100: PushLoad
  readonly httpPull: PullLoad
  readonly jwtPush1: PushLoad
  readonly jwtHttpPush1: PushLoad
  readonly hookPush1: PushLoad
}

export type Section = keyof Load

/** Numbers by metric key; every section adds `<section>.generatorLoad`. */
export type Numbers = Readonly<Record<string, number>>

const pushBatchEvents = 100
const liveId = 0

/** What pushes go through: a socket, or requests over http. */
interface Channel {
  readonly storeId: string
  pushFrame(id: number, batch: readonly Event[], backendId: string): string
  push(id: number, frame: string): Promise<void>
  close(): void
}

/** Makes `storeId` exist, as a client's first contact does, and returns its backend id. */
const prime = async (server: Server, storeId: string, token: string): Promise<string> => {
  const connection = await Connection.open(server.wsUrl, storeId, token)
  const [chunk] = await connection.pull(0)
  connection.close()
  checkChunks([chunk!], 0, 0, 'pull')
  return (JSON.parse(chunk!) as { values: [{ backendId: string }] }).values[0].backendId
}

/** One client of one store whose pushes follow each other: encoded ahead, sent one at a time. */
class Pusher {
  readonly channel: Channel
  private readonly backendId: string
  private head = 0
  private nextId = 1

  private constructor(channel: Channel, backendId: string) {
    this.channel = channel
    this.backendId = backendId
  }

  /** A pusher on a socket. */
  static async open(server: Server, storeId: string, token = authToken): Promise<Pusher> {
    const backendId = await prime(server, storeId, token)
    const connection = await Connection.open(server.wsUrl, storeId, token)
    // As every client does before it names the backend id in its pushes.
    await connection.pull(0)
    return new Pusher(connection, backendId)
  }

  /** A pusher over http. */
  static async overHttp(server: Server, storeId: string, token = authToken): Promise<Pusher> {
    const client = new HttpClient(server.url, storeId, token)
    const answer = await client.pull(0)
    checkAnswer(answer, 0)
    const [chunk] = JSON.parse(answer.toString()) as [{ values: [{ backendId: string }] }]
    return new Pusher(client, chunk.values[0].backendId)
  }

  /** Encodes the next `count` pushes of `size` events; each function sends one and resolves once it is acknowledged. */
  encode(count: number, size: number, bytes?: number): Array<() => Promise<void>> {
    const to = this.head + count * size
    const pushes = batches(this.head, to, size, bytes).map((batch) => {
      const id = this.nextId++
      const frame = this.channel.pushFrame(id, batch, this.backendId)
      return () => this.channel.push(id, frame)
    })
    this.head = to
    return pushes
  }
}

const inSequence = async (steps: ReadonlyArray<() => Promise<void>>): Promise<void> => {
  for (const step of steps) await step()
}

/** Throws unless a pull of the whole log of `storeId` returns events 1 to `head`. */
const checkLog = async (server: Server, storeId: string, head: number, token = authToken): Promise<void> => {
  const connection = await Connection.open(server.wsUrl, storeId, token)
  checkChunks(await connection.pull(0), 0, head, 'pull')
  connection.close()
}

const perSecond = (count: number, cost: Cost): number => (count / cost.wallMs) * 1000

/** Pushes of 1 event through `pusher`, and a look at its log; the numbers are named after its store. */
const single = async (
  server: Server,
  pusher: Pusher,
  { warm, pushes }: PushLoad,
  token = authToken,
): Promise<Numbers> => {
  const name = pusher.channel.storeId
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
  pusher.channel.close()
  await checkLog(server, name, warm + pushes, token)
  return {
    [`${name}.p50Ms`]: percentile(times, 0.5),
    [`${name}.p99Ms`]: percentile(times, 0.99),
    [`${name}.cpuUs`]: cost.cpuUs / pushes,
    [`${name}.generatorLoad`]: cost.generatorLoad,
  }
}

/** The same with full batches. */
const full = async (server: Server, pusher: Pusher, { warm, pushes }: PushLoad): Promise<Numbers> => {
  const name = pusher.channel.storeId
  await inSequence(pusher.encode(warm, pushBatchEvents))
  const measured = pusher.encode(pushes, pushBatchEvents)
  const cost = await measure(server.pid, () => inSequence(measured))
  pusher.channel.close()
  await checkLog(server, name, (warm + pushes) * pushBatchEvents)
  const events = pushes * pushBatchEvents
  return {
    [`${name}.perSecond`]: perSecond(events, cost),
    [`${name}.cpuUs`]: cost.cpuUs / events,
    [`${name}.generatorLoad`]: cost.generatorLoad,
  }
}

/** Pulls of the whole log that `pusher` fills, each `ask`ed with an id of its own and checked when all are done. */
const whole = async <Answer>(
  server: Server,
  pusher: Pusher,
  { events, warm, pulls }: PullLoad,
  ask: (id: number) => Promise<Answer>,
  check: (answer: Answer) => void,
): Promise<Numbers> => {
  const name = pusher.channel.storeId
  await inSequence(pusher.encode(events / pushBatchEvents, pushBatchEvents))
  pusher.channel.close()
  for (let id = 0; id < warm; id++) check(await ask(id))
  const answers: Answer[] = []
  const cost = await measure(server.pid, async () => {
    for (let id = warm; id < warm + pulls; id++) answers.push(await ask(id))
  })
  for (const answer of answers) check(answer)
  return {
    [`${name}.perSecond`]: perSecond(events * pulls, cost),
    [`${name}.cpuUs`]: cost.cpuUs / (events * pulls),
    [`${name}.generatorLoad`]: cost.generatorLoad,
  }
}

const push1 = async (server: Server, load: PushLoad): Promise<Numbers> =>
  single(server, await Pusher.open(server, 'push1'), load)

const push100 = async (server: Server, load: PushLoad): Promise<Numbers> =>
  full(server, await Pusher.open(server, 'push100'), load)

const pull = async (server: Server, load: PullLoad): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'pull')
  const connection = await Connection.open(server.wsUrl, 'pull')
  const check = (chunks: readonly string[]): void => checkChunks(chunks, 0, load.events, 'pull')
  const numbers = await whole(server, pusher, load, (id) => connection.pull(id), check)
  connection.close()
  return numbers
}

/** The first pushes that an isolate sees: V8 has compiled nothing yet but what runs at once. */
const young = async (server: Server, load: PushLoad): Promise<Numbers> =>
  single(server, await Pusher.open(server, 'young'), load)

/** Pushes of 1 large event, and pulls of their log, for each size. */
const large = async (server: Server, { kilobytes, megabytes, pulls }: LargeLoad): Promise<Numbers> => {
  const numbers: Record<string, number> = {}
  let generatorLoad = 0
  for (const kilobyte of kilobytes) {
    const [storeId, bytes] = [`large${kilobyte}`, kilobyte * 1000]
    const pusher = await Pusher.open(server, storeId)
    const warm = 3
    const count = Math.ceil((megabytes * 1_000_000) / bytes)
    await inSequence(pusher.encode(warm, 1, bytes))
    const measured = pusher.encode(count, 1, bytes)
    const pushed = await measure(server.pid, () => inSequence(measured))
    pusher.channel.close()
    const connection = await Connection.open(server.wsUrl, storeId)
    const answers = [await connection.pull(0)]
    const pulled = await measure(server.pid, async () => {
      for (let id = 1; id <= pulls; id++) answers.push(await connection.pull(id))
    })
    for (const chunks of answers) checkChunks(chunks, 0, warm + count, 'pull', bytes)
    connection.close()
    const megabytesOf = (events: number): number => (events * bytes) / 1_000_000
    numbers[`${storeId}.pushCpuMs`] = pushed.cpuUs / 1000 / megabytesOf(count)
    numbers[`${storeId}.pullCpuMs`] = pulled.cpuUs / 1000 / megabytesOf(pulls * (warm + count))
    generatorLoad = Math.max(generatorLoad, pushed.generatorLoad, pulled.generatorLoad)
  }
  return { ...numbers, 'large.generatorLoad': generatorLoad }
}

/** How long the published client takes for a log that it has nothing of. */
const client = async (server: Server, { events }: Load['client']): Promise<Numbers> => {
  const pusher = await Pusher.open(server, 'client')
  await inSequence(pusher.encode(events / pushBatchEvents, pushBatchEvents))
  pusher.channel.close()
  const one = await makeClient({ url: server.wsUrl, storeId: 'client', payload: { authToken } })
  await one.connect()
  let last = 0
  const cost = await measure(server.pid, async () => {
    for await (const page of one.pull(0, 'once')) {
      for (const { seqNum } of page.events) {
        last += 1
        if (seqNum !== last) throw new Error(`event ${seqNum} instead of ${last}`)
      }
    }
  })
  await one.close()
  if (last !== events) throw new Error(`${last} events instead of ${events}`)
  return {
    'client.perSecond': perSecond(events, cost),
    'client.cpuUs': cost.cpuUs / events,
    // It is the client that is measured.
    'client.generatorLoad': 0,
  }
}

const fanout = (server: Server, load: Load['fanout']): Promise<Numbers> => deliver(server, 'fanout', load)

const crowd = (server: Server, load: Load['crowd']): Promise<Numbers> => deliver(server, 'crowd', load)

/** Pushes of 1 event to a store that many follow; the numbers are named after it. */
const deliver = async (server: Server, name: string, { sockets, warm, pushes }: Load['fanout']): Promise<Numbers> => {
  const pusher = await Pusher.open(server, name)
  let outstanding = 0
  let delivered = (): void => {}
  const subscribers: Array<{ connection: Connection; chunks: string[] }> = []
  for (let index = 0; index < sockets; index++) {
    const connection = await Connection.open(server.wsUrl, name)
    const chunks: string[] = []
    checkChunks([await connection.pullLive(liveId)], 0, 0, 'pull')
    connection.onChunk = (chunk) => {
      chunks.push(chunk)
      if (--outstanding === 0) delivered()
    }
    subscribers.push({ connection, chunks })
  }
  // The next push follows once this one is acknowledged and has reached every socket.
  const one = async (push: () => Promise<void>): Promise<number> => {
    const start = performance.now()
    outstanding = sockets
    const all = new Promise<void>((resolve) => (delivered = resolve))
    await push()
    await all
    return performance.now() - start
  }
  for (const push of pusher.encode(warm, 1)) await one(push)
  const times: number[] = []
  const measured = pusher.encode(pushes, 1)
  const cost = await measure(server.pid, async () => {
    for (const push of measured) times.push(await one(push))
  })
  pusher.channel.close()
  for (const { connection, chunks } of subscribers) {
    checkChunks(chunks, 0, warm + pushes, 'broadcasts')
    connection.close()
  }
  const deliveries = pushes * sockets
  return {
    [`${name}.p50Ms`]: percentile(times, 0.5),
    [`${name}.cpuUs`]: cost.cpuUs / deliveries,
    [`${name}.perSecond`]: perSecond(deliveries, cost),
    [`${name}.generatorLoad`]: cost.generatorLoad,
  }
}

const stores = async (server: Server, { stores: count, warm, pushesEach }: Load['stores']): Promise<Numbers> => {
  const pushers: Pusher[] = []
  for (let index = 0; index < count; index++) pushers.push(await Pusher.open(server, `stores-${index}`))
  await Promise.all(pushers.map((pusher) => inSequence(pusher.encode(warm, 1))))
  const measured = pushers.map((pusher) => pusher.encode(pushesEach, 1))
  const cost = await measure(server.pid, async () => {
    await Promise.all(measured.map(inSequence))
  })
  for (const { channel } of pushers) {
    channel.close()
    await checkLog(server, channel.storeId, warm + pushesEach)
  }
  const pushes = count * pushesEach
  return {
    'stores.perSecond': perSecond(pushes, cost),
    'stores.cpuUs': cost.cpuUs / pushes,
    'stores.generatorLoad': cost.generatorLoad,
  }
}

const first = async (server: Server, { warm, stores: count }: Load['first']): Promise<Numbers> => {
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

const httpPush1 = async (server: Server, load: PushLoad): Promise<Numbers> =>
  single(server, await Pusher.overHttp(server, 'httpPush1'), load)

const httpPush100 = async (server: Server, load: PushLoad): Promise<Numbers> =>
  full(server, await Pusher.overHttp(server, 'httpPush100'), load)

const httpPull = async (server: Server, load: PullLoad): Promise<Numbers> => {
  const pusher = await Pusher.overHttp(server, 'httpPull')
  const client = new HttpClient(server.url, 'httpPull')
  const check = (answer: Buffer): void => checkAnswer(answer, load.events)
  const numbers = await whole(server, pusher, load, (id) => client.pull(id), check)
  client.close()
  return numbers
}

/** Throws unless `open` is refused with a static token and with one that another secret signed. */
const checkVerifies = async (open: (token: string) => Promise<Pusher>): Promise<void> => {
  for (const token of [authToken, jwt('another secret than that of the server')]) {
    const opened = await open(token).then(
      () => true,
      (error: Error) => !/\b400\b/.test(error.message),
    )
    if (opened) throw new Error('a token that the secret did not sign was not refused')
  }
}

const jwtPush1 = async (server: Server, load: PushLoad): Promise<Numbers> => {
  const open = (token: string): Promise<Pusher> => Pusher.open(server, 'jwtPush1', token)
  await checkVerifies(open)
  const token = jwt()
  return single(server, await open(token), load, token)
}

const jwtHttpPush1 = async (server: Server, load: PushLoad): Promise<Numbers> => {
  const open = (token: string): Promise<Pusher> => Pusher.overHttp(server, 'jwtHttpPush1', token)
  await checkVerifies(open)
  const token = jwt()
  return single(server, await open(token), load, token)
}

const hookPush1 = async (server: Server, load: PushLoad): Promise<Numbers> =>
  single(server, await Pusher.open(server, 'hookPush1'), load)

/** Every section. */
export const sections: { readonly [S in Section]: (server: Server, load: Load[S]) => Promise<Numbers> } = {
  push1,
  push100,
  pull,
  fanout,
  stores,
  first,
  young,
  large,
  crowd,
  client,
  httpPush1,
  httpPush100,
  httpPull,
  jwtPush1,
  jwtHttpPush1,
  hookPush1,
}

/** Sections that run on one server, in this order. */
export interface Group {
  readonly sections: readonly Section[]
  /** What is special about their server. */
  readonly server: Pick<ServerOptions, 'direct' | 'dist' | 'vars'>
}

/** The build of ours with hooks: those of the tests, which let everything pass unless a variable says otherwise. */
export const hookDist = 'tests/hooks/dist'

const verifying = { vars: { AUTH_TOKEN: undefined, JWT_SECRET: jwtSecret } }

/** Every section once. Pushes of 1 event come first wherever they are compared, each on a server that is as fresh. */
export const groups: readonly Group[] = [
  { sections: ['push1', 'push100', 'pull', 'fanout', 'stores', 'first'], server: {} },
  { sections: ['young'], server: {} },
  { sections: ['large', 'crowd', 'client'], server: {} },
  { sections: ['httpPush1', 'httpPush100', 'httpPull'], server: { direct: true } },
  { sections: ['jwtPush1'], server: verifying },
  { sections: ['jwtHttpPush1'], server: { ...verifying, direct: true } },
  { sections: ['hookPush1'], server: { dist: hookDist } },
]
