/** One script of requests, run by a client of every kind on a store of its own: all of them must find the same. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { type ClientKind, type Clients, forEachBackend, ours, sharedServer, withClients } from './backends.ts'
import { type Event, nameOf, type Page, PullError, type PushOutcome, type Refusal, type SyncClient } from './client.ts'
import { batchOf } from './events.ts'
import { LivePull, pullOnce } from './live-pull.ts'

/** Small enough for every client to send what exceeds them: clients refuse events of 900 KB themselves. */
const limits = { MAX_EVENT_BYTES: '2000', MAX_BATCH_EVENTS: '50' }

const event = (over: Partial<Event>): Event => ({ ...batchOf(over.parentSeqNum ?? 0)[0]!, ...over })

/** The pushes of the script, one after the other, and what each is answered: `ok`, or the tag of its refusal. */
const pushes: ReadonlyArray<readonly [what: string, batch: readonly Event[], answer: string]> = [
  ['the first batch', batchOf(0, 3), 'ok'],
  ['the same batch again', batchOf(0, 3), 'ok'],
  ['a part of it', batchOf(1), 'ok'],
  ['a batch that repeats one event and brings two', batchOf(2, 3), 'ok'],
  ['a stale batch', batchOf(0, 1, 'other'), 'ServerAheadError'],
  ['a batch that repeats two events and goes on from another', batchOf(3, 3, 'other'), 'ServerAheadError'],
  ['a batch beyond the head', batchOf(9), 'ServerAheadError'],
  ['a gap after the head', [event({ parentSeqNum: 5, seqNum: 9 })], 'UnknownError'],
  ['a gap in a batch', [...batchOf(5), ...batchOf(7)], 'UnknownError'],
  ['a number twice in a batch', [...batchOf(5), ...batchOf(5)], 'UnknownError'],
  ['an event that is too large', [event({ parentSeqNum: 5, args: 'x'.repeat(2_000) })], 'UnknownError'],
  ['a batch that is too large', batchOf(5, 51), 'UnknownError'],
  ['a name that is too long', [event({ parentSeqNum: 5, name: 'n'.repeat(5_000) })], 'UnknownError'],
  ['a batch as large as it may be', batchOf(5, 50), 'ok'],
  ['values of every type', [event({ parentSeqNum: 55, args: [null, true, 1.5, -7, 1e300, '', {}, []] })], 'ok'],
  ['no value', [event({ parentSeqNum: 56, args: null })], 'ok'],
  ['hard texts', [event({ parentSeqNum: 57, name: '"\\\u0000\u2028é😀', args: { '\u0001"': '\n' } })], 'ok'],
  ['42 events', batchOf(58, 42), 'ok'],
  ['50 more events', batchOf(100, 50), 'ok'],
  ['the next event', batchOf(150), 'ok'],
]

const head = 151

const cursors = [0, 3, 50, 51, 100, 150, head, head + 7]

/** Whatever a kind has found, by what it did. */
type Findings = ReadonlyMap<string, unknown>

const noTime = 'a time'

const withoutTimes = (pages: readonly Page[]): readonly unknown[] =>
  pages.map((page) => {
    for (const time of page.createdAt) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    return { ...page, createdAt: page.createdAt.map(() => noTime) }
  })

/** The refusal without what differs from store to store, in the words of the RPC generations. */
const comparable = (outcome: PushOutcome): PushOutcome => {
  if (outcome === 'ok') return outcome
  const { error, expected, ...facts } = outcome
  const tag = error === 'InvalidPushError' ? 'UnknownError' : error
  return { error: tag, ...facts, ...(expected === undefined ? {} : { expected: 'the id of the store' }) }
}

/** What a pull that ends by itself brings, or why it was refused. */
const pulled = async (client: SyncClient, cursor: number): Promise<unknown> => {
  try {
    return withoutTimes(await pullOnce(client, cursor))
  } catch (error) {
    if (error instanceof PullError) return comparable(error.refusal)
    throw error
  }
}

/** A new client, which knows the id of the store if its dialect knows ids. */
const acquainted = async (clients: Clients, kind: ClientKind): Promise<SyncClient> => {
  const client = await clients.connect(kind)
  if (kind.generation !== 'v03') await pullOnce(client)
  return client
}

const runScript = async (clients: Clients, kind: ClientKind): Promise<Findings> => {
  const findings = new Map<string, unknown>()
  findings.set('pull of nothing', await pulled(await clients.connect(kind), 0))
  const live = await LivePull.start(await clients.connect(kind))
  const pusher = await clients.connect(kind)
  for (const [what, batch] of pushes) findings.set(`push of ${what}`, comparable(await pusher.push(batch)))
  for (const cursor of cursors) {
    // A 0.3 client that has more than the log can only have it from another lifetime, which it cannot name.
    if (kind.generation === 'v03' && cursor > head) continue
    findings.set(`pull after ${cursor}`, await pulled(await acquainted(clients, kind), cursor))
  }
  findings.set('live pull', await live.until(head))
  // 0.3 knows no ids of stores.
  if (kind.generation !== 'v03') {
    const stranger = await clients.connect(kind, { backendId: 'another-backend-id' })
    findings.set('push to another store', comparable(await stranger.push(batchOf(head))))
    findings.set('stale push to another store', comparable(await stranger.push(batchOf(0, 1, 'other'))))
    findings.set('pull from another store', await pulled(stranger, 1))
  }
  findings.set('pull at the end', await pulled(await clients.connect(kind), 0))
  return findings
}

forEachBackend([ours], (backend) => {
  const server = sharedServer(backend, { vars: limits })
  const [model, ...others] = backend.kinds.filter(({ generation }) => generation !== 'v03')
  const found = new Map<ClientKind, Promise<Findings>>()

  /** Runs the script once for each kind. */
  const findingsOf = (kind: ClientKind): Promise<Findings> => {
    const known = found.get(kind)
    if (known !== undefined) return known
    const findings = new Promise<Findings>((resolve, reject) => {
      withClients(server(), async (clients) => resolve(await runScript(clients, kind))).catch(reject)
    })
    found.set(kind, findings)
    return findings
  }

  it(`a ${nameOf(model!)} client finds what the script says`, async () => {
    const findings = await findingsOf(model!)
    for (const [what, , answer] of pushes) {
      const outcome = findings.get(`push of ${what}`) as PushOutcome
      assert.equal(outcome === 'ok' ? outcome : outcome.error, answer, what)
    }
    assert.equal((findings.get('pull from another store') as Refusal).error, 'BackendIdMismatchError')
    assert.equal((findings.get('live pull') as readonly Event[]).length, head)
  })

  for (const kind of [...others, ...backend.kinds.filter(({ generation }) => generation === 'v03')]) {
    it(`a ${nameOf(kind)} client finds what a ${nameOf(model!)} client finds`, async () => {
      const expected = await findingsOf(model!)
      for (const [what, finding] of await findingsOf(kind)) assert.deepEqual(finding, expected.get(what), what)
    })
  }
})
