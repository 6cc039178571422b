/** The rows: what clients do that makes one object hold memory. None of them sends anything that a client may not send. */
import { setTimeout as pause } from 'node:timers/promises'
import { overHttp } from '../../tests/workerd/over-http.ts'
import { type Generation, pullFrame, pushFrame } from '../../tests/workerd/peer.ts'
import { batchOf, type Script } from './events.ts'
import { Healthy } from './healthy.ts'
import { HttpCall, IdleSocket } from './idle.ts'
import { ObjectClient } from './object-client.ts'
import type { Row, Scene } from './scene.ts'

/** What clients leave undone: they read nothing, or they read and acknowledge nothing. */
type Idleness = 'unread' | 'unacknowledged'

/** What a row may take that pushes or publishes large texts. */
const garbage: Pick<Row, 'bytesMax' | 'because'> = {
  bytesMax: 150_000_000,
  because:
    'V8 leaves some 60 MB of texts of two bytes a letter lie before it collects them; what is held is below the usual limit',
}

/** What a row may take that pushes 30 MB at once. */
const largeFrame: Pick<Row, 'bytesMax' | 'because'> = {
  bytesMax: 160_000_000,
  because:
    'a frame of 30 MB costs 59 to 108 MiB of growth before anybody has read it, as a text of the runtime and as one of JavaScript; what is held is below the usual limit',
}

/** Numbers from 0 on. */
const times = (count: number): number[] => [...Array(count).keys()]

const openIdle = (scene: Scene, count: number, generation: Generation, idleness: Idleness): Promise<IdleSocket[]> =>
  Promise.all(
    times(count).map(async () => {
      const socket = await IdleSocket.open(scene.server.url, generation, scene.storeId)
      scene.onLeave(() => socket.leave())
      if (idleness === 'unread') socket.stopReading()
      return socket
    }),
  )

/** A request over HTTP to the store of the row, its body yet to be sent. */
const call = (scene: Scene, answer: 'read' | 'unread', contentLength?: number): HttpCall => {
  const made = new HttpCall(scene.server.url, scene.storeId, answer, contentLength)
  scene.onLeave(() => made.leave())
  return made
}

/** How often each of `values` is there. */
const tally = (values: ReadonlyArray<string | number>): string =>
  [...Map.groupBy(values, (value) => value)].map(([value, all]) => `${all.length} × ${value}`).join(', ')

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`

/** What sockets have read so far, and who was closed: one that does not read does not learn it. */
const met = (sockets: readonly IdleSocket[], idleness: Idleness): string => {
  if (idleness === 'unread') return ''
  const closed = sockets.flatMap((socket) => socket.closed ?? [])
  const read = `${megabytes(sockets.reduce((sum, { bytes }) => sum + bytes, 0))} read`
  return closed.length === 0 ? read : `${read}, closed: ${tally(closed)}`
}

/** Pushes events of `textBytes`, one by one. */
const pushMany = async (scene: Scene, events: number, textBytes: number): Promise<void> => {
  for (let pushed = 0; pushed < events; pushed++) await scene.push(1, textBytes)
}

/** A pull of the longest log that is one socket's alone, with at most a window of pages under way. */
const millionPulled = (stallMs: number): Row => ({
  name: stallMs === 0 ? 'pull.read' : 'pull.stalled',
  title: `a pull of 1,000,000 events${stallMs === 0 ? '' : `, not read for ${stallMs / 1000} s`}`,
  bytesMax: 32_000_000,
  log: 'million',
  play: async (scene) => {
    const reader = await Healthy.open(scene.server.url, 'v04', scene.storeId, { ...scene.start, head: 0 })
    scene.onLeave(() => reader.close())
    if (stallMs > 0) {
      reader.stall()
      await pause(stallMs)
      reader.goOn()
    }
    await reader.reached(scene.head, 60_000)
    return reader.closes.length === 0 ? '' : `closed: ${tally(reader.closes)}`
  },
})

const pulls = 150

const manyPulls = (how: 'in one frame' | 'in one frame each', idleness: Idleness): Row => ({
  name: `${how === 'in one frame' ? 'frame' : 'socket'}.${idleness}`,
  title: `${pulls} pulls of 1.7 MB on one socket, ${how}, ${idleness}`,
  log: 'large',
  play: async (scene) => {
    const sockets = await openIdle(scene, 1, 'v05', idleness)
    const frames = times(pulls).map((id) => pullFrame('v05', id, scene.storeId))
    for (const frame of how === 'in one frame' ? [frames] : frames) sockets[0]!.send(frame)
    await scene.rest()
    return met(sockets, idleness)
  },
})

const pullsInBody = (answer: 'read' | 'unread'): Row => ({
  name: `body.${answer}`,
  title: `${pulls} pulls of 1.7 MB in one HTTP body, ${answer}`,
  log: 'large',
  play: async (scene) => {
    const frames = times(pulls).map((id) => overHttp(pullFrame('v05', id, scene.storeId)))
    const asked = call(scene, answer).send(JSON.stringify(frames))
    const status = await asked.answered
    if (answer === 'read') await asked.read
    return `${status}, ${megabytes(asked.bytes)} read`
  },
})

/** 0.3 has no acknowledgements, and its sockets get every push. */
const plainPulls: Row = {
  name: 'plain.pulls',
  title: '20 pulls of 14 MB by 0.3 clients, unread',
  log: 'long',
  play: async (scene) => {
    const sockets = await openIdle(scene, 20, 'v03', 'unread')
    for (const socket of sockets) socket.send(pullFrame('v03', 1, scene.storeId))
    return ''
  },
}

const plainPushes: Row = {
  name: 'plain.pushes',
  title: '20 sockets of 0.3 clients, unread, while 60 events of 0.85 MB are pushed',
  ...garbage,
  log: 'empty',
  play: async (scene) => {
    const sockets = await openIdle(scene, 20, 'v03', 'unread')
    for (const socket of sockets) socket.send(pullFrame('v03', 1, scene.storeId))
    await pushMany(scene, 60, 850_000)
    return ''
  },
}

/** Who does its part while 108 MB are pushed: what a 0.3 client has taken shows every 25 seconds alone. */
const ackers = ['v04', 'v05'] as const

const livePulls = (idleness: Idleness): Row => ({
  name: `live.${idleness}`,
  title: `50 live pulls, ${idleness}, while 60 events of 1.8 MB are pushed`,
  ...garbage,
  log: 'empty',
  followers: ackers,
  play: async (scene) => {
    const sockets = await openIdle(scene, 49, 'v04', idleness)
    const from = { live: true, after: 0, backendId: scene.start.backendId }
    for (const socket of sockets) socket.send(pullFrame('v04', 1, scene.storeId, from))
    const last = await Healthy.open(scene.server.url, 'v04', scene.storeId, scene.start)
    scene.followers.push(last)
    if (idleness === 'unread') {
      // It reads on when the others leave, and must not have missed anything.
      last.stall()
      scene.onLeave(() => last.goOn())
    }
    await pushMany(scene, 60, 1_800_000)
    await scene.rest()
    return met(sockets, idleness)
  },
})

const livePullsOnOneSocket: Row = {
  name: 'live.one-socket',
  title: '40 live pulls on one socket, unread, while 60 events of 1.8 MB are pushed',
  ...garbage,
  log: 'empty',
  followers: ackers,
  play: async (scene) => {
    const sockets = await openIdle(scene, 1, 'v05', 'unread')
    const from = { live: true, after: 0, backendId: scene.start.backendId }
    for (const id of times(40)) sockets[0]!.send(pullFrame('v05', id, scene.storeId, from))
    await pushMany(scene, 60, 1_800_000)
    return ''
  },
}

const httpPulls: Row = {
  name: 'http.unread',
  title: '100 pulls of 14 MB over HTTP, unread',
  bytesMax: 125_000_000,
  heldBytesMax: 125_000_000,
  because: 'the runtime holds 0.8 MB for each of 100 connections, whatever it is given; V8 holds some 20 MB',
  log: 'long',
  play: async (scene) => {
    const body = JSON.stringify(overHttp(pullFrame('v04', 1, scene.storeId)))
    const calls = times(100).map(() => call(scene, 'unread').send(body))
    return `answered: ${tally(await Promise.all(calls.map(({ answered }) => answered.catch(String))))}`
  },
}

/** A batch of 30 MB. */
const batch = { events: 10_000, textBytes: 2_900 }

const push = (script: Script): Row => ({
  name: `push.${script}`,
  title: `a push of 10,000 events, 30 MB, ${script === 'ascii' ? 'all ASCII' : 'with typographic quotes'}`,
  ...largeFrame,
  log: 'empty',
  followers: ['v04'],
  play: async (scene) => {
    await scene.push(batch.events, batch.textBytes, script)
    return ''
  },
})

const pushToMany: Row = {
  name: 'push.followed',
  title: 'the push in ASCII, while 4 clients of 0.3 and 5 of 0.4 follow',
  ...largeFrame,
  log: 'empty',
  followers: ['v03', 'v03', 'v03', 'v03', 'v04', 'v04', 'v04', 'v04'],
  play: push('ascii').play,
}

/** The body of such a push over HTTP, to a store of `head` events. */
const pushBody = ({ storeId, head }: Scene): Buffer =>
  Buffer.from(
    JSON.stringify(overHttp(pushFrame('v04', 1, storeId, batchOf(head, batch.events, batch.textBytes, 'ascii')))),
  )

/** What came of it. */
const outcomeOf = ({ start, status }: HttpCall): string =>
  start.startsWith('[{"_tag":"Exit","requestId":"1","exit":{"_tag":"Success"') ? 'stored' : `${status} ${start}`

const pushesOverHttp = (count: number): Row => ({
  name: count === 1 ? 'push.http' : 'push.http-together',
  title: `the push in ASCII over HTTP${count === 1 ? '' : `, ${count} times at once`}`,
  log: 'empty',
  followers: ['v04'],
  play: async (scene) => {
    const body = pushBody(scene)
    const calls = times(count).map(() => call(scene, 'read').send(body))
    const outcomes = await Promise.all(calls.map((made) => made.read.then(() => outcomeOf(made), String)))
    if (!outcomes.includes('stored')) throw new Error(`no push was stored: ${tally(outcomes)}`)
    scene.pushed(batch.events)
    return tally(outcomes)
  },
})

const pushesStopped: Row = {
  name: 'push.http-stopped',
  title: '20 such pushes over HTTP that stop half way',
  log: 'empty',
  play: async (scene) => {
    const body = pushBody(scene)
    const half = body.subarray(0, body.length / 2)
    const calls = times(20).map(() => call(scene, 'read', body.length))
    // The object takes as much at a time as it has room for.
    await Promise.race([Promise.all(calls.map((made) => made.sendPart(half))), scene.rest()])
    await scene.rest()
    return `answered: ${tally(calls.map(({ status }) => status ?? 'none'))}`
  },
}

const pushesToStores: Row = {
  name: 'push.stores',
  title: 'such a push to each of 6 stores, one after the other',
  bytesMax: 210_000_000,
  heldBytesMax: 140_000_000,
  because: 'the runtime keeps what it has used for such a frame with each of 6 objects',
  log: 'empty',
  followers: ['v04'],
  play: async (scene) => {
    for (const store of times(6)) {
      const start = { backendId: '', head: 0 }
      const client = await Healthy.open(scene.server.url, 'v03', `store-${store}`, start)
      scene.onLeave(() => client.close())
      await client.push(batchOf(0, batch.events, batch.textBytes, 'ascii'))
    }
    return ''
  },
}

const generationOf = (index: number): 'v04' | 'v05' => (index % 2 === 0 ? 'v04' : 'v05')

const objectsCalled: Row = {
  name: 'objects.called',
  title: '50 client objects that never return from a call, while 60 events of 0.85 MB are pushed',
  bytesMax: 240_000_000,
  heldBytesMax: 190_000_000,
  because:
    'the clients are objects of the same process, and 50 of them hold the arguments of a call that does not return',
  log: 'empty',
  objects: true,
  play: async (scene) => {
    const { backendId } = scene.start
    const from = { storeId: scene.storeId, after: 0, backendId, live: true, reads: true }
    const asleep = times(50).map((index) => new ObjectClient(scene.server, `asleep-${index}`))
    const pulled = asleep.map((object, index) =>
      object.pull({ ...from, generation: generationOf(index), returns: false }),
    )
    await Promise.all(pulled)
    const awake = new ObjectClient(scene.server, 'awake')
    await awake.pull({ ...from, generation: 'v04', returns: true })
    await pushMany(scene, 60, 850_000)
    await awake.told(scene.head)
    const looked = await Promise.all(asleep.map((object) => object.look()))
    return `calls: ${tally(looked.map(({ calls }) => calls))}`
  },
}

const objectsPulled: Row = {
  name: 'objects.unread',
  title: '100 pulls of 14 MB by client objects, unread',
  log: 'long',
  objects: true,
  play: async (scene) => {
    const { backendId } = scene.start
    const all = { storeId: scene.storeId, after: 0, backendId, live: false, returns: true, reads: false }
    const objects = times(100).map((index) => new ObjectClient(scene.server, `unread-${index}`))
    await Promise.all(objects.map((object, index) => object.pull({ ...all, generation: generationOf(index) })))
    return ''
  },
}

export const rows: readonly Row[] = [
  millionPulled(0),
  millionPulled(5_000),
  manyPulls('in one frame', 'unread'),
  manyPulls('in one frame', 'unacknowledged'),
  manyPulls('in one frame each', 'unread'),
  manyPulls('in one frame each', 'unacknowledged'),
  pullsInBody('read'),
  pullsInBody('unread'),
  plainPulls,
  plainPushes,
  livePulls('unread'),
  livePulls('unacknowledged'),
  livePullsOnOneSocket,
  httpPulls,
  push('ascii'),
  push('prose'),
  pushToMany,
  pushesOverHttp(1),
  pushesOverHttp(8),
  pushesStopped,
  pushesToStores,
  objectsCalled,
  objectsPulled,
]
