/**
 * The operations manual is right: every command in it is run as it stands there, with the real tools, and what it says
 * of the answers, the log, the metrics and the limits is compared with what there is.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { authToken, root, type Server, startServer } from '../harness/server.ts'
import { batchOf } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import { RawClient, targetOf } from '../harness/raw-client.ts'
import { administer, adminSecret, type Exported, opened, stateOf, storePath, type Stores } from './administration.ts'
import { knock } from './knock.ts'
import { Peer } from './peer.ts'
import { Metrics, metricsOf } from './prometheus.ts'
import { hs256, secondsFromNow } from './tokens.ts'

const manual = readFileSync(join(root, 'docs/operations.md'), 'utf8')

interface Block {
  readonly language: string
  readonly text: string
  /** The heading that it stands below. */
  readonly section: string
}

const blocks: readonly Block[] = (() => {
  const found: Block[] = []
  let section = ''
  let open: { language: string; lines: string[] } | undefined
  for (const line of manual.split('\n')) {
    const fence = /^```(\w*)$/.exec(line)
    if (open === undefined && fence !== null) open = { language: fence[1]!, lines: [] }
    else if (open !== undefined && fence !== null) {
      found.push({ language: open.language, text: open.lines.join('\n'), section })
      open = undefined
    } else if (open !== undefined) open.lines.push(line)
    else section = /^#+ (.+)$/.exec(line)?.[1] ?? section
  }
  return found
})()

/** The cells of the table whose first column has this title, row by row. */
const tableOf = (title: string, section: string): ReadonlyArray<readonly string[]> => {
  const from = manual.indexOf(`\n| ${title} |`, manual.indexOf(` ${section}\n`))
  assert.ok(from > 0, `a table of ${title} below ${section}`)
  const lines = manual.slice(from + 1).split('\n')
  const rows = lines.slice(2, lines.indexOf(''))
  assert.ok(rows.length > 0)
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** The words in code style in a text. */
const codesIn = (text: string): readonly string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)

interface Run {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const deadlineMs = 30_000

const withBackup = { BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' }

/** Runs a block as a reader does, only that the first failure ends it. */
const run = (text: string, cwd: string, variables: Readonly<Record<string, string>>): Promise<Run> =>
  new Promise((resolve) => {
    const env = { PATH: process.env['PATH'], ...variables }
    const options = { cwd, env, timeout: deadlineMs, maxBuffer: 64 * 1024 * 1024 }
    execFile('bash', ['--norc', '-euo', 'pipefail', '-c', text], options, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
      resolve({ status, stdout, stderr })
    })
  })

/** Asserts that a value is made as the documented one is: the same members of the same types, down to the last. */
const assertShape = (actual: unknown, documented: unknown, path = ''): void => {
  if (Array.isArray(documented)) {
    assert.ok(Array.isArray(actual), `${path} is an array`)
    assert.equal(actual.length > 0, documented.length > 0, `${path} has items`)
    for (const [index, item] of actual.entries()) assertShape(item, documented[0], `${path}[${index}]`)
  } else if (typeof documented === 'object' && documented !== null) {
    assert.ok(typeof actual === 'object' && actual !== null, `${path} is an object`)
    assert.deepEqual(Object.keys(actual), Object.keys(documented), path)
    for (const [key, value] of Object.entries(documented)) {
      assertShape((actual as Record<string, unknown>)[key], value, `${path}.${key}`)
    }
  } else assert.equal(typeof actual, typeof documented, path)
}

describe('the commands of the README', () => {
  it('are those of the manual, to the letter', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const commands = [...readme.matchAll(/^```sh\n(curl [^`]+?)\n```$/gm)].map(([, text]) => text!)
    assert.equal(commands.length, 1)
    const own = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
    for (const command of commands)
      assert.ok(
        own.some((text) => text.startsWith(command)),
        command,
      )
  })
})

describe('the commands of the manual', () => {
  const storeId = 'team/notes of "Zoë" %'
  const variables = { ADMIN_SECRET: adminSecret, STORE_ID: storeId, STORE: encodeURIComponent(storeId) }
  const commands = blocks.filter(({ language }) => language === 'sh')
  let server: Server
  let folder = ''
  let pusher: Peer

  before(async () => {
    server = await startServer({ vars: { ADMIN_SECRET: adminSecret, ...withBackup } })
    folder = mkdtempSync(join(tmpdir(), 'operations-'))
    pusher = await Peer.connect(server, 'v04', storeId)
    const other = await Peer.connect(server, 'v05', storeId)
    for (const peer of [pusher, other]) {
      peer.pull({ live: true })
      await peer.client.next()
    }
    await pusher.pushed(batchOf(0, 3).map((event) => ({ ...event, args: { id: '1', text: 'é' } })))
    for (let times = 0; times < 12; times += 1) await other.pushed(batchOf(0, 1, 'stuck'))
    await pusher.pushed([{ ...batchOf(3)[0]!, seqNum: 5 }])
  })
  after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const runHere = (text: string, over: Readonly<Record<string, string>> = {}): Promise<Run> =>
    run(text, folder, { SYNC_URL: server.url, ...variables, ...over })

  /** The documented answer to a command: the block after it. */
  const answerTo = (command: Block): Block | undefined => blocks[blocks.indexOf(command) + 1]

  const exported = (): readonly Exported[] =>
    readFileSync(join(folder, 'events.ndjson'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Exported)

  const exportFile = (): string => readFileSync(join(folder, 'export.ndjson'), 'utf8')

  /** What else a command has to do, by what stands in it. */
  const further: ReadonlyArray<{
    readonly having: string
    readonly first?: () => Promise<unknown>
    readonly then: (stdout: string) => unknown
  }> = [
    { having: 'encodeURIComponent(process.env', then: (stdout) => assert.equal(stdout, `${variables.STORE}\n`) },
    {
      having: '/config"',
      then: (stdout) => {
        const told = JSON.parse(stdout) as object
        const members = tableOf('member', 'Configuration').flatMap(([member]) => codesIn(member!))
        assert.deepEqual(Object.keys(told), members)
      },
    },
    { having: '/stores/$STORE"', then: (stdout) => assert.equal((JSON.parse(stdout) as { head: number }).head, 3) },
    {
      having: '/live"',
      then: async (stdout) => {
        const { ticket } = JSON.parse(stdout) as { ticket: string }
        const documented = blocks.find(({ section, language }) => section === 'Live' && language === 'js')!.text
        const [name] = /'livestore-[\w-]+'/.exec(documented)!
        const protocols = [name.slice(1, -1), ticket]
        const client = await RawClient.open(server, { target: storePath(storeId, '/live'), protocols })
        const inspector = Peer.on(client, 'v04', storeId)
        assert.equal((await inspector.pages()).flatMap(({ events }) => events).length, 3)
        await client.close()
      },
    },
    {
      having: '/export"',
      then: () => {
        const documented = blocks.find(({ section, language }) => section === 'Export' && language === 'json')
        const shapes = documented!.text.split('\n').map((line) => JSON.parse(line) as unknown)
        const lines = exportFile().trimEnd().split('\n')
        assert.equal(lines.length, 5)
        for (const [index, line] of lines.entries())
          assertShape(JSON.parse(line), shapes[index === 0 ? 0 : index === lines.length - 1 ? 2 : 1])
      },
    },
    {
      having: 'gzip',
      then: (stdout) => {
        const [last, checksum] = stdout.trimEnd().split('\n')
        const { end } = JSON.parse(last!) as { end: { events: number; head: number; crc32: string } }
        assert.deepEqual(end, { events: 3, head: 3, crc32: checksum!.trim() })
        assert.ok(exportFile().endsWith(`\n${last}\n`))
      },
    },
    {
      having: 'wc -l',
      then: (stdout) => {
        assert.equal(stdout.trim(), '3')
        const documented = blocks.find(({ section, language }) => section === 'Events' && language === 'json')
        for (const event of exported()) assertShape(event, JSON.parse(documented!.text))
      },
    },
    {
      having: 'after=$last',
      first: () => pusher.pushed(batchOf(3, 2)),
      then: (stdout) => {
        assert.equal(stdout, '')
        assert.deepEqual(
          exported().map(({ seqNum }) => seqNum),
          [1, 2, 3, 4, 5],
        )
      },
    },
    { having: '/metrics"', then: (stdout) => assert.equal(Metrics.parse(stdout).value('head', { store: storeId }), 5) },
    {
      having: '/admin/v1/stores"',
      first: async () => {
        await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 2))
        await eventually('it is copied', async () => (await stateOf(server, storeId)).backup?.head === 2)
      },
      then: (stdout) => {
        const { stores, next } = JSON.parse(stdout) as Stores
        assert.deepEqual([stores.map((store) => [store.storeId, store.head]), next], [[[storeId, 2]], null])
      },
    },
    {
      having: '/verify"',
      then: (stdout) => {
        const { result, events } = JSON.parse(stdout) as { result: string; events: number }
        assert.deepEqual([result, events], ['same', 2])
      },
    },
    {
      having: '/verify?after=',
      then: (stdout) => assert.equal((JSON.parse(stdout) as { result: string }).result, 'same'),
    },
    {
      having: 'repair=true',
      first: async () => {
        const database = await server.miniflare.getD1Database('DB')
        const { backendId } = await stateOf(server, storeId)
        const own = 'WHERE store_id = ? AND backend_id = ?'
        for (const sql of [
          `INSERT INTO livestore_sync_events SELECT store_id, backend_id, 43, 42, name, args, '', '', '' FROM livestore_sync_events ${own} AND seq_num = 1`,
          `DELETE FROM livestore_sync_events ${own} AND seq_num = 1`,
          `UPDATE livestore_sync_events SET args = NULL ${own} AND seq_num = 2`,
          `UPDATE livestore_sync_lifetimes SET events = 1 ${own}`,
        ])
          await database.prepare(sql).bind(storeId, backendId).run()
      },
      then: async (stdout) => {
        type Line = Readonly<Record<string, unknown>>
        const linesOf = (text: string): readonly Line[] =>
          text
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line) as Line)
        const documented = blocks.find(({ section, text }) => section === 'Verify' && text.includes('"difference"'))
        const expected = linesOf(documented!.text)
        const lines = linesOf(stdout)
        assert.equal(lines.length, expected.length)
        for (const [index, { repaired, ...line }] of lines.entries()) {
          assertShape(line, expected[index])
          assert.equal(line['difference'], expected[index]!['difference'])
          assert.equal(repaired, index === 4 ? 3 : line['difference'] !== 'extra')
        }
        const answer = await administer(server, `/admin/v1/stores/${variables.STORE}/verify?repair=discard`, {
          method: 'POST',
        })
        assert.equal((JSON.parse(answer.body.trimEnd().split('\n').at(-1)!) as Line)['repaired'], 1)
        const same = await administer(server, `/admin/v1/stores/${variables.STORE}/verify`)
        assert.match(same.body, /^{"result":"same","events":2,[^\n]*}\n$/)
      },
    },
    {
      having: '/disconnect"',
      then: async () => assert.equal((await pusher.client.dismissed()).code, 1012),
    },
    {
      having: '/reset"',
      then: async (stdout) => {
        const { backendId } = JSON.parse(stdout) as { backendId: string }
        const state = await stateOf(server, storeId)
        assert.deepEqual([state.backendId, state.head], [backendId, 0])
      },
    },
    {
      having: 'dryRun: true',
      then: async (stdout) => {
        const { kept, lost } = JSON.parse(stdout) as Record<'kept' | 'lost', Record<string, number>>
        assert.deepEqual([kept['head'], lost['ofStore']], [2, 2])
        assert.equal((await stateOf(server, storeId)).status, 'open')
      },
    },
    {
      having: 'replace: true',
      then: async (stdout) => {
        const { status, backendId } = JSON.parse(stdout) as { status: string; backendId: string }
        assert.equal(status, 'restoring')
        const state = await opened(server, storeId)
        assert.deepEqual([state.head, state.backendId === backendId], [2, false])
      },
    },
    {
      having: '/import?',
      then: async (stdout) => {
        const { backendId, events } = JSON.parse(stdout) as { backendId: string; events: number }
        const state = await stateOf(server, storeId)
        assert.deepEqual([events, state.head, state.backendId], [3, 3, backendId])
      },
    },
    {
      having: '?confirm=$STORE',
      then: async (stdout) => {
        const { events, backup } = JSON.parse(stdout) as { events: number; backup: { lifetimes: number } }
        assert.deepEqual([events, backup.lifetimes > 0], [3, true])
        assert.equal((await administer(server, storePath(storeId))).status, 404)
      },
    },
    {
      having: 'stores.json',
      first: async () => {
        await (await Peer.connect(server, 'v04', storeId)).pushed(batchOf(0, 4))
        await eventually('it is copied', async () => (await stateOf(server, storeId)).backup?.head === 4)
      },
      then: (stdout) => {
        const states = stdout.trimEnd().split('\n')
        assert.deepEqual(
          states
            .map((state) => JSON.parse(state) as { storeId: string; head: number })
            .map((one) => [one.storeId, one.head]),
          [[storeId, 4]],
        )
      },
    },
    {
      having: 'npm run --silent names',
      first: async () => {
        for (const name of ['package.json', 'scripts', 'dist']) symlinkSync(join(root, name), join(folder, name))
        writeFileSync(join(folder, 'trap.log'), '{"event":"trap","message":"at wasm-function[100]:0x10\\n"}\n')
      },
      then: (stdout) => assert.match(stdout, /^\{"event":"trap","message":"at \S.*:0x10\n"\}\n$/),
    },
  ]

  it('are all there, and stand where they are found', () => {
    for (const { having } of further) {
      assert.ok(
        commands.some(({ text }) => text.includes(having)),
        having,
      )
    }
    for (const { language, text } of blocks) {
      if (language !== 'sh') assert.doesNotMatch(text, /\bcurl\b/, `a command in a block of ${language}`)
    }
    const outside = manual.replaceAll(/^```\w*\n[^]*?^```$/gm, '').replaceAll('`curl`', '')
    assert.doesNotMatch(outside, /\bcurl\b/)
    const curls = commands.filter(({ text }) => text.includes('curl'))
    for (const { text } of curls) assert.match(text, /--fail-with-body -H "Authorization: Bearer \$ADMIN_SECRET"/)
    assert.equal(curls.length, 19)
  })

  it('fail where the secret is wrong, and do nothing', async () => {
    for (const { text } of commands.filter((command) => command.text.includes('curl'))) {
      const inFolder = text.replaceAll(/\b(events|export)\.ndjson/g, 'wrong.ndjson').replace(/^last=.*$/m, 'last=0')
      const { status, stdout } = await runHere(inFolder, { ADMIN_SECRET: 'wrong' })
      assert.equal(status, 22, text)
      const body = stdout === '' ? readFileSync(join(folder, 'wrong.ndjson'), 'utf8').split('\n')[0]! : stdout
      assert.deepEqual(Object.keys(JSON.parse(body) as object), ['error'])
    }
    assert.equal((await stateOf(server, storeId)).head, 3)
  })

  for (const command of commands) {
    const [name] = command.text.split('\n')
    it(`${command.section}: ${name} does what is said, and answers as is shown`, async () => {
      const more = further.filter(({ having }) => command.text.includes(having))
      assert.ok(more.length > 0, 'what it does is checked')
      for (const { first } of more) await first?.()
      const { status, stdout, stderr } = await runHere(command.text)
      assert.deepEqual([status, stderr], [0, ''], stdout)
      const documented = answerTo(command)
      if (documented?.section === command.section && stdout.startsWith('{') && documented.language === 'json') {
        assertShape(JSON.parse(stdout), JSON.parse(documented.text))
      }
      if (documented?.section === command.section && documented.language === 'text') {
        const known = stdout.replaceAll(storeId.replaceAll('"', '\\"'), 'my-store').replaceAll(/ \d+$/gm, '')
        for (const line of documented.text.split('\n')) {
          assert.ok(known.includes(`${line.replace(/ \d+$/, '')}\n`), line)
        }
      }
      for (const { then } of more) await then(stdout)
    })
  }
})

describe('the manual says', () => {
  let server: Server
  before(async () => {
    server = await startServer({ vars: { ADMIN_SECRET: adminSecret, ...withBackup } })
    await (await Peer.connect(server, 'v04', 'my-store')).pushed(batchOf(0, 3))
  })
  after(async () => {
    await server.stop()
  })

  it('where Prometheus finds the metrics', async () => {
    const { text } = blocks.find(({ language }) => language === 'yaml')!
    const valueOf = (key: string): string => new RegExp(`\\b${key}: (\\S+)`).exec(text)?.[1] ?? assert.fail(key)
    const parameter = /target_label: __param_(\w+)/.exec(text)?.[1]
    assert.match(text, /authorization:\n\s+credentials_file:/)
    const [target] = /targets: \[([\w-]+)/.exec(text)!.slice(1)
    const answer = await administer(server, `${valueOf('metrics_path')}?${parameter}=${target}`)
    assert.equal(Metrics.parse(answer.body).value('head', { store: target! }), 3)
  })

  it('all metrics, with their types', async () => {
    const metrics = await metricsOf(server, 'my-store')
    const rows = tableOf('metric', 'Metrics').map(([name, type]) => `${codesIn(name!).join()} ${type}`)
    assert.deepEqual(
      rows,
      [...metrics.types].map(([name, type]) => `${name.replace('livestore_sync_', '')} ${type}`),
    )
    const whats = metrics.samples.map(({ labels }) => labels['what']).filter((what) => what !== undefined)
    assert.deepEqual(codesIn(tableOf('metric', 'Metrics').at(-1)!.at(-1)!), ['what', ...new Set(whats)])
  })

  it('all reasons of refusals, and of a backup that fails', async () => {
    const { samples } = await metricsOf(server, 'my-store')
    const reasonsOf = (metric: string): ReadonlyArray<string | undefined> =>
      samples.filter(({ name }) => name === `livestore_sync_${metric}`).map(({ labels }) => labels['reason'])
    for (const [section, metric] of [
      ['Refusals by reason', 'refusals_total'],
      ['When it fails', 'backup_failures_total'],
    ] as const)
      assert.deepEqual(
        tableOf('`reason`', section).flatMap(([reason]) => codesIn(reason!)),
        reasonsOf(metric),
      )
  })

  it('all events of log lines, with their levels', () => {
    const sources = globSync(['src/edge/*.rs', 'src/edge/*.js', 'host/*.ts'], { cwd: root }).map((path) =>
      readFileSync(join(root, path), 'utf8'),
    )
    const written = sources
      .flatMap((source) => [
        ...source.matchAll(/LogLevel::(Error|Warn|Info|Debug),\s*"([a-z-]+)"/g),
        ...source.matchAll(/level: '(\w+)', event: '([a-z-]+)'/g),
        ...source.matchAll(/"level":"(\w+)","event":"([a-z-]+)"/g),
      ])
      // Written at a level of its own where a socket is refused before it is one.
      .map(([, level, event]) => `${event} ${level!.toLowerCase()}`)
    assert.ok(written.length > 20)
    const rows = tableOf('`event`', 'Log lines').flatMap(([events, level]) =>
      codesIn(events!).map((event) => `${event} ${level}`),
    )
    assert.deepEqual(rows.toSorted(), [...new Set(written)].toSorted())
  })

  it('all differences that a verification tells', () => {
    const source = readFileSync(join(root, 'src/backend/difference.rs'), 'utf8')
    const told = [...source.matchAll(/\("(\w+)", (?:Vec::new\(\)|columns)\)|difference: "(\w+)"/g)]
    const rows = tableOf('`difference`', 'Verify').flatMap(([name]) => codesIn(name!))
    assert.deepEqual(rows.toSorted(), told.map(([, ofEvents, ofAll]) => ofEvents ?? ofAll).toSorted())
  })

  it('all members of the state', async () => {
    const state = await stateOf(server, 'my-store')
    const rows = tableOf('member', 'State').flatMap(([member]) => codesIn(member!))
    assert.deepEqual(['storeId', ...rows].toSorted(), [...Object.keys(state), 'storeId'].toSorted().filter(unique))
    const members = tableOf('member of `backup`', 'Backup').flatMap(([member]) => codesIn(member!))
    assert.deepEqual(members, Object.keys(state.backup!))
  })

  const unique = (value: string, index: number, all: readonly string[]): boolean => all.indexOf(value) === index

  it('what each limit may be at most, and every signpost leads somewhere', async () => {
    const limits = tableOf('variable', 'Limits').map(([name, , , most]) => [codesIn(name!)[0]!, most!] as const)
    assert.equal(limits.length, 7)
    for (const [name, most] of limits.filter(([, text]) => text !== '')) {
      const strict = await startServer({ vars: { [name]: '0' } })
      try {
        const { status, body } = await knock(strict, { target: '/' })
        assert.equal(status, 500)
        assert.match(
          body,
          new RegExp(`${name} is '0', but it must be an integer from 1 to ${most.replaceAll(',', '')}\\b`),
        )
      } finally {
        await strict.stop()
      }
    }
    const headings = [...manual.matchAll(/^#+ (.+)$/gm)].map(([, text]) => text!.toLowerCase().replaceAll(' ', '-'))
    for (const [, anchor] of manual.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(headings.includes(anchor!), anchor)
  })

  it('what a token has to look like: its example opens its store and no other, and one that reads does not write', async () => {
    const settings = blocks.find(({ language, section }) => language === 'toml' && section === 'Tokens')!.text
    const vars = Object.fromEntries(
      [...settings.matchAll(/^(JWT_\w+) = "([^"]*)"$/gm)].map(([, name, value]) => [name!, value!]),
    )
    const { JWT_JWKS_URL: url, ...asked } = vars
    assert.match(url!, /^https:/)
    const secret = 'the-secret-that-stands-for-a-key-set'
    const strict = await startServer({
      vars: { AUTH_TOKEN: undefined, ADMIN_SECRET: adminSecret, JWT_SECRET: secret, ...asked },
    })
    try {
      const example = blocks.find(({ language, section }) => language === 'json' && section === 'Tokens')!
      const claims = { ...(JSON.parse(example.text) as object), exp: secondsFromNow(600) }
      const payloadOf = (over: object) => ({ authToken: hs256({ ...claims, ...over }, secret) })
      const statusOf = async (storeId: string, over: object): Promise<number> =>
        (await knock(strict, { target: targetOf({ storeId, payload: payloadOf(over) }), upgrade: 'websocket' })).status
      assert.equal(await statusOf('my-store', {}), 101)
      assert.equal(await statusOf('another-store', {}), 400)
      assert.equal(await statusOf('another-store', { stores: '*' }), 101)
      assert.equal(await statusOf('my-store', { access: undefined }), 400)
      assert.equal(await statusOf('my-store', { aud: 'another-app' }), 400)
      assert.equal(await statusOf('my-store', { iss: undefined }), 400)
      const writer = await Peer.connect(strict, 'v04', 'my-store', { payload: payloadOf({}) })
      await writer.pushed(batchOf(0, 2))
      const reader = await Peer.connect(strict, 'v04', 'my-store', { payload: payloadOf({ access: 'read' }) })
      assert.match(JSON.stringify((await reader.pushed(batchOf(2))).answer), /grants reading alone/)
      assert.equal((await reader.pages()).flatMap(({ events }) => events).length, 2)
      assert.deepEqual((await metricsOf(strict, 'my-store')).refusals, { 'read-only': 1 })
      const template = targetOf({ storeId: 'my-store', payload: { authToken } })
      assert.equal((await knock(strict, { target: template, upgrade: 'websocket' })).status, 400)
    } finally {
      await strict.stop()
    }
  })
})
