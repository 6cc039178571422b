/**
 * `livestore-sync-worker init`: projects that import sync-cf's server are switched, what comes out is built by wrangler, and undoing
 * leaves every byte as it was.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  globSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { ask, isAnswered } from '../../host/cli/init/ask.ts'
import { writeAll } from '../../host/cli/init/write.ts'
import { root } from '../harness/server.ts'
import { configuration, worker, worker03, workerHono } from './app.ts'
import { type Ended, type Files, inFolder, readFiles, runCli } from './cli.ts'
import { makeProject, type Tools } from './project.ts'

const recordName = '.livestore-sync-worker.undo.json'
const theirs = '@livestore/sync-cf/cf-worker'
const ours = 'livestore-sync-worker/cf-worker'
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }

const init = (folder: string, ...args: readonly string[]): Promise<Ended> => runCli(['init', folder, ...args])

const ends = async (ending: Promise<Ended>, status: number, says: RegExp): Promise<string> => {
  const { status: ended, stdout, stderr } = await ending
  assert.match(stdout + stderr, says)
  assert.equal(ended, status, stdout + stderr)
  return stdout
}

/** A folder's files without what init keeps. */
const filesOf = (folder: string): Record<string, string> => {
  const { [recordName]: _, ...files } = readFiles(folder)
  return files
}

/** The names of files that differ. */
const differing = (before: Record<string, string>, after: Record<string, string>): readonly string[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((path) => before[path] !== after[path]).sort()

/** Asserts that the switch changes these lines and no others, that it does nothing twice, and that it can be undone. */
const switches = async (
  files: Files,
  args: readonly string[],
  lines: Readonly<Record<string, readonly string[]>>,
): Promise<void> =>
  inFolder(files, async (folder) => {
    const before = filesOf(folder)
    const diff = await ends(init(folder, '--dry-run', ...args), 0, /^--- a\//)
    assert.deepEqual(readFiles(folder), before, 'nothing is written')
    await ends(init(folder, '--yes', ...args), 0, /Done; .*\n\n {2}npm install/)
    const after = filesOf(folder)
    assert.deepEqual(differing(before, after), Object.keys(lines).sort())
    for (const [path, expected] of Object.entries(lines)) assert.deepEqual(changedLines(diff, path), expected, path)
    await ends(init(folder, '--yes', ...args), 0, /^Nothing to do: this project has been switched/)
    assert.deepEqual(filesOf(folder), after, 'a second run does nothing')

    // The diff that was shown is what was done.
    execFileSync('git', ['apply', '-R', '-p1', '--whitespace=nowarn', '-'], { cwd: folder, input: diff })
    assert.deepEqual(differing(before, filesOf(folder)), [])
    execFileSync('git', ['apply', '-p1', '--whitespace=nowarn', '-'], { cwd: folder, input: diff })

    await ends(init(folder, '--undo', '--yes'), 0, /^--- a\/[^]*Undone/)
    assert.deepEqual(readFiles(folder), before)
  })

/** The lines that a diff takes out of a file and puts into it. */
const changedLines = (diff: string, path: string): readonly string[] => {
  const [, part = ''] = diff.split(`+++ b/${path}`)
  const [own = ''] = part.split(/^--- a\//m)
  return own.split('\n').filter((line) => /^[+-]/.test(line))
}

const manifest = (dependencies: object, more: object = {}): string =>
  `${JSON.stringify({ name: 'app', dependencies, ...more }, undefined, 2)}\n`

const wrangler = configuration({ main: 'src/index.ts', date: '2026-04-07' })
const switchedImport = (line: string): readonly string[] => [`-${line}`, `+${line.replace(theirs, ours)}`]

describe('init', () => {
  it('changes one import, and keeps sync-cf for the clients', () =>
    switches(
      {
        'wrangler.toml': wrangler,
        'package.json': manifest({ '@livestore/sync-cf': '0.4.0', effect: '3.0.0', react: '19.0.0' }),
        'src/index.ts': worker.replaceAll(ours, theirs),
        'src/livestore.worker.ts': "import { makeWsSync } from '@livestore/sync-cf/client'\n",
      },
      [],
      {
        'src/index.ts': [
          ...worker
            .split('\n')
            .filter((line) => line.includes(ours))
            .map((line) => `-${line.replace(ours, theirs)}`),
          ...worker
            .split('\n')
            .filter((line) => line.includes(ours))
            .map((line) => `+${line}`),
        ],
        'package.json': [`+    "livestore-sync-worker": "${version}",`],
      },
    ))

  it('says on the way back what a log that lay in D1 needs, and nothing of it where none did', async () => {
    const source = (options: string): string =>
      `import { makeDurableObject, makeWorker } from '${theirs}'\n\nexport class SyncBackendDO extends makeDurableObject(${options}) {}\n\nexport default makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO' })\n`
    const dependencies = manifest({ '@livestore/sync-cf': '0.4.0' })
    for (const [options, isTold] of [
      ["{ storage: { _tag: 'd1', binding: 'DB' } }", true],
      ["{ storage: { _tag: 'do-sqlite' } }", false],
    ] as const)
      await inFolder(
        { 'wrangler.toml': wrangler, 'package.json': dependencies, 'src/index.ts': source(options) },
        async (folder) => {
          await ends(init(folder, '--yes'), 0, /Done/)
          const said = await ends(init(folder, '--undo', '--yes'), 0, /Undone/)
          assert.equal(/take that option out of src\/index\.ts/.test(said), isTold, said)
        },
      )
  })

  it('removes sync-cf where nobody else imports it', () =>
    switches(
      {
        'wrangler.toml': wrangler,
        'package.json': manifest(
          { hono: '4.0.0' },
          { devDependencies: { '@livestore/sync-cf': '0.4.0', wrangler: '4.0.0' } },
        ),
        'src/index.ts': workerHono.replaceAll(ours, theirs),
      },
      [],
      {
        'src/index.ts': switchedImport(`import * as SyncBackend from '${theirs}'`),
        'package.json': [
          '-    "hono": "4.0.0"',
          '+    "hono": "4.0.0",',
          `+    "livestore-sync-worker": "${version}"`,
          '-    "@livestore/sync-cf": "0.4.0",',
        ],
      },
    ))

  for (const [title, before, after] of [
    [
      'the last',
      '{\n  "dependencies": {\n    "a": "1",\n    "@livestore/sync-cf": "1"\n  }\n}\n',
      `{\n  "dependencies": {\n    "a": "1",\n    "livestore-sync-worker": "${version}"\n  }\n}\n`,
    ],
    [
      'the only one',
      '{ "devDependencies": { "@livestore/sync-cf": "1" } }',
      `{ "devDependencies": {}, "dependencies": {\n    "livestore-sync-worker": "${version}"\n  } }`,
    ],
    [
      'the first of a line',
      '{"dependencies":{"@livestore/sync-cf":"1","b":"2"}}',
      `{"dependencies":{"b":"2", "livestore-sync-worker": "${version}"}}`,
    ],
    [
      'there before',
      '{"dependencies":{"@livestore/sync-cf":"1"},"devDependencies":{"livestore-sync-worker":"1"}}',
      '{"dependencies":{},"devDependencies":{"livestore-sync-worker":"1"}}',
    ],
  ] as const)
    it(`changes package.json where sync-cf is ${title}`, () =>
      inFolder({ 'package.json': before, 'src/index.ts': `import '${theirs}'\n` }, async (folder) => {
        await ends(init(folder, '--yes'), 0, /Done/)
        assert.equal(readFiles(folder)['package.json'], after)
      }))

  it('leaves alone comments, texts, quotes, tabs, line endings and a byte order mark', () =>
    switches(
      {
        'wrangler.jsonc': '\uFEFF{\r\n\t// the Worker\r\n\t"name": "app", "main": "src/index.js",\r\n}\r\n',
        'package.json':
          '\uFEFF{\r\n\t"name": "app",\r\n\t"dependencies": {\r\n\t\t"zod": "4.0.0",\r\n\t\t"@livestore/sync-cf": "0.4.0"\r\n\t}\r\n}',
        'src/index.js': [
          `// import from '${theirs}'`,
          `/* import x from "${theirs}" */ import { makeWorker } from "${theirs}"`,
          `const text = 'import x from // "'; const pattern = /['"]/g`,
          `export * from "${theirs}"; const lazy = () => import( '${theirs}' )`,
          `export const name = '${theirs}'`,
          '',
        ].join('\r\n'),
      },
      [],
      {
        'src/index.js': [
          `-/* import x from "${theirs}" */ import { makeWorker } from "${theirs}"\r`,
          `+/* import x from "${theirs}" */ import { makeWorker } from "${ours}"\r`,
          `-export * from "${theirs}"; const lazy = () => import( '${theirs}' )\r`,
          `+export * from "${ours}"; const lazy = () => import( '${ours}' )\r`,
        ],
        // Not in the order of names, so at the end; and sync-cf stays, for a text names it.
        'package.json': [
          '-\t\t"@livestore/sync-cf": "0.4.0"\r',
          '+\t\t"@livestore/sync-cf": "0.4.0",\r',
          `+\t\t"livestore-sync-worker": "${version}"\r`,
        ],
      },
    ))

  describe('a class without SQLite', () => {
    const files03 = (config: string): Files => ({
      'wrangler.toml': config,
      'package.json': manifest({ '@livestore/sync-cf': '0.3.1' }),
      'src/index.ts': worker03.replaceAll(ours, theirs),
      'src/livestore.worker.ts': "import { makeCfSync } from '@livestore/sync-cf'\n",
    })
    const template = readFileSync(join(root, 'tests/browser/templates/two-servers/wrangler.toml'), 'utf8').replace(
      'cf-worker/',
      '',
    )
    const source = switchedImport(`import { makeDurableObject, makeWorker } from '${theirs}'`)
    const dependency = [
      '-    "@livestore/sync-cf": "0.3.1"',
      '+    "@livestore/sync-cf": "0.3.1",',
      `+    "livestore-sync-worker": "${version}"`,
    ]

    it('is declared anew where nothing is deployed', () =>
      switches(files03(template), ['--not-deployed'], {
        'src/index.ts': source,
        'package.json': dependency,
        'wrangler.toml': ['-new_classes = ["WebSocketServer"]', '+new_sqlite_classes = ["WebSocketServer"]'],
      }))

    it('gets a successor where it is deployed', () =>
      switches(files03(template), ['--deployed'], {
        'src/index.ts': [
          ...source,
          '+/** Bound in the place of WebSocketServer, whose objects have no SQLite. */',
          '+export class SyncBackendDO extends WebSocketServer {}',
          '+',
        ],
        'package.json': dependency,
        'wrangler.toml': [
          '-class_name = "WebSocketServer"',
          '+class_name = "SyncBackendDO"',
          '+[[migrations]]',
          '+tag = "v2"',
          '+new_sqlite_classes = ["SyncBackendDO"]',
          '+',
          '+RESTORE_EMPTY = "auto"',
        ],
      }))

    it('is one of several, in an environment of its own, with comments beside it', () => {
      const environment = `
[env.staging] # for us
name = "staging"

[[env.staging.durable_objects.bindings]]
name = 'WEBSOCKET_SERVER'
class_name = 'WebSocketServer'

[[env.staging.migrations]]
  tag = "first"
  # all of them
  new_classes = ["Rooms", "WebSocketServer"] # two
`
      return switches(
        files03(template.replace('new_classes', 'new_sqlite_classes') + environment),
        ['--not-deployed'],
        {
          'src/index.ts': source,
          'package.json': dependency,
          'wrangler.toml': [
            '-  new_classes = ["Rooms", "WebSocketServer"] # two',
            '+  new_sqlite_classes = ["WebSocketServer"]',
            '+  new_classes = ["Rooms"] # two',
          ],
        },
      )
    })

    it('gets a successor in an environment of its own, in the quotes that stand there', () => {
      const environment = `
[[env.staging.durable_objects.bindings]]
name = 'WEBSOCKET_SERVER'
class_name = 'WebSocketServer'

[[env.staging.migrations]]
tag = "first"
new_classes = ["WebSocketServer"] # of staging`
      return switches(files03(template.replace('new_classes', 'new_sqlite_classes') + environment), ['--deployed'], {
        'src/index.ts': [
          ...source,
          '+/** Bound in the place of WebSocketServer, whose objects have no SQLite. */',
          '+export class SyncBackendDO extends WebSocketServer {}',
          '+',
        ],
        'package.json': dependency,
        'wrangler.toml': [
          "-class_name = 'WebSocketServer'",
          "+class_name = 'SyncBackendDO'",
          '-new_classes = ["WebSocketServer"] # of staging',
          '+new_classes = ["WebSocketServer"] # of staging',
          '+',
          '+[[env.staging.migrations]]',
          '+tag = "first-sqlite"',
          '+new_sqlite_classes = ["SyncBackendDO"]',
          '+',
          '+[env.staging.vars]',
          '+RESTORE_EMPTY = "auto"',
        ],
      })
    })

    const json = `{
    // the backend
    "name": "app",
    "main": "src/index.ts",
    "compatibility_date": "2025-05-08",
    "durable_objects": { "bindings": [{ "name": "WEBSOCKET_SERVER", "class_name": "WebSocketServer" }] },
    "migrations": [
        { "tag": "v1", "new_classes": ["WebSocketServer"] }, // the first
    ],
}
`

    it('is declared in JSON with comments', async () => {
      const { 'wrangler.toml': _, ...files } = files03('')
      await switches({ ...files, 'wrangler.jsonc': json }, ['--not-deployed'], {
        'src/index.ts': source,
        'package.json': dependency,
        'wrangler.jsonc': [
          '-        { "tag": "v1", "new_classes": ["WebSocketServer"] }, // the first',
          '+        { "tag": "v1", "new_sqlite_classes": ["WebSocketServer"] }, // the first',
        ],
      })
    })

    it('gets a successor in JSON with comments', async () => {
      const { 'wrangler.toml': _, ...files } = files03('')
      await switches({ ...files, 'wrangler.jsonc': json }, ['--deployed'], {
        'src/index.ts': [
          ...source,
          '+/** Bound in the place of WebSocketServer, whose objects have no SQLite. */',
          '+export class SyncBackendDO extends WebSocketServer {}',
          '+',
        ],
        'package.json': dependency,
        'wrangler.jsonc': [
          '-    "durable_objects": { "bindings": [{ "name": "WEBSOCKET_SERVER", "class_name": "WebSocketServer" }] },',
          '+    "durable_objects": { "bindings": [{ "name": "WEBSOCKET_SERVER", "class_name": "SyncBackendDO" }] },',
          '+        { "tag": "v2", "new_sqlite_classes": ["SyncBackendDO"] },',
          '+    "vars": { "RESTORE_EMPTY": "auto" },',
        ],
      })
    })

    it('gets a successor in JSON on one line', async () => {
      const { 'wrangler.toml': _, ...files } = files03('')
      const line =
        '{"main":"src/index.ts","durable_objects":{"bindings":[{"name":"WEBSOCKET_SERVER","class_name":"WebSocketServer"}]},"migrations":[{"tag":"v1","new_classes":["WebSocketServer"]}],"vars":{}}'
      await inFolder({ ...files, 'wrangler.json': line }, async (folder) => {
        await ends(init(folder, '--yes', '--deployed'), 0, /Deploy at a quiet time/)
        assert.equal(
          readFiles(folder)['wrangler.json'],
          line
            .replace('"class_name":"WebSocketServer"', '"class_name":"SyncBackendDO"')
            .replace('}],"vars"', '}, { "tag": "v2", "new_sqlite_classes": ["SyncBackendDO"] }],"vars"')
            .replace('"vars":{}', '"vars":{\n  "RESTORE_EMPTY": "auto"\n}'),
        )
      })
    })

    it('asks to be told whether it is deployed', () =>
      inFolder(files03(template), async (folder) => {
        const before = readFiles(folder)
        await ends(
          init(folder, '--yes'),
          2,
          /class WebSocketServer is declared without SQLite\. Say --not-deployed .* or --deployed/,
        )
        await ends(init(folder, '--dry-run'), 2, /Say --not-deployed/)
        assert.deepEqual(readFiles(folder), before)
      }))

    for (const [where, from, to, line] of [
      [
        'the line says more than init changes',
        '[[migrations]]\ntag = "v1"\n',
        '[[migrations]]\ntag = "v1"\nnew_sqlite_classes = ["Rooms"]\n',
        13,
      ],
      ['the change would say something else', '["WebSocketServer"]', '["WebSocketServer", "WebSocketServer"]', 12],
    ] as const) {
      it(`is left to its user where ${where}`, () =>
        inFolder(files03(template.replace(from, to)), async (folder) => {
          const before = readFiles(folder)
          const byHand = `wrangler\\.toml:${line}: declaring WebSocketServer with SQLite has to be done by hand`
          await ends(init(folder, '--yes', '--not-deployed'), 1, new RegExp(byHand))
          assert.deepEqual(readFiles(folder), before)
        }))
    }
  })

  it('refuses to undo over what has changed since, and names it', () =>
    inFolder(
      {
        'wrangler.toml': wrangler,
        'package.json': manifest({}),
        'src/index.ts': worker.replaceAll(ours, theirs),
        'src/b.ts': `export * from '${theirs}'\n`,
      },
      async (folder) => {
        const before = readFiles(folder)
        await ends(init(folder, '--yes'), 0, /Done/)
        const switchedText = readFileSync(join(folder, 'src/index.ts'))
        writeFileSync(join(folder, 'src/index.ts'), `${switchedText}// mine\n`)
        rmSync(join(folder, 'src/b.ts'))
        const changed = readFiles(folder)
        await ends(
          init(folder, '--undo', '--yes'),
          1,
          /nothing was undone: changed since init are src\/b\.ts \(gone\), src\/index\.ts$/m,
        )
        assert.deepEqual(readFiles(folder), changed)
        // What is as it was before is no obstacle.
        writeFileSync(join(folder, 'src/index.ts'), switchedText)
        writeFileSync(join(folder, 'src/b.ts'), before['src/b.ts'] ?? '')
        await ends(init(folder, '--undo', '--yes'), 0, /Undone/)
        assert.deepEqual(readFiles(folder), before)
        await ends(
          init(folder, '--undo', '--yes'),
          1,
          /no \.livestore-sync-worker\.undo\.json in .*, so nothing to undo/,
        )
      },
    ))

  it('names the package manager of the project', () =>
    inFolder(
      { 'package.json': manifest({}), 'pnpm-lock.yaml': '', 'src/index.ts': `import '${theirs}'\n` },
      async (folder) => {
        await ends(init(folder, '--yes'), 0, /Next:\n\n {2}pnpm install\n/)
        await ends(init(folder, '--undo', '--yes'), 0, /Next:\n\n {2}pnpm install\n/)
      },
    ))

  it('goes on from an earlier run, and undoes both', () =>
    inFolder({ 'package.json': manifest({}), 'src/index.ts': worker.replaceAll(ours, theirs) }, async (folder) => {
      const before = readFiles(folder)
      await ends(init(folder, '--yes'), 0, /Done/)
      writeFileSync(join(folder, 'src/more.ts'), `import '${theirs}'\n`)
      await ends(init(folder, '--yes'), 0, /\+import 'livestore-sync-worker/)
      await ends(init(folder, '--undo', '--yes'), 0, /Undone/)
      assert.deepEqual(readFiles(folder), { ...before, 'src/more.ts': `import '${theirs}'\n` })
    }))

  it('writes nothing where it cannot write all', () =>
    inFolder(
      { 'package.json': manifest({}), 'src/a.ts': `import '${theirs}'\n`, 'src/z.ts': `import '${theirs}'\n` },
      async (folder) => {
        // A text that is no UTF-8 stands for whatever keeps one of the files from being written.
        writeFileSync(join(folder, 'src/z.ts'), Buffer.from(`import '${theirs}' // \xff\n`, 'latin1'))
        const before = readFiles(folder)
        await ends(init(folder, '--yes'), 1, /src\/z\.ts is no text in UTF-8/)
        assert.deepEqual(readFiles(folder), before)
      },
    ))

  it('puts back what was written when something cannot be', () =>
    inFolder({ a: 'before', 'b/c': '' }, (folder) => {
      const files = ['a', 'new', 'b', 'z'].map((path) => ({ path: join(folder, path), bytes: Buffer.from('after') }))
      assert.throws(() => writeAll(files), /init: nothing was changed: EISDIR: .*\/b'/)
      assert.deepEqual(readFiles(folder), { a: 'before', 'b/c': '' })
      return Promise.resolve()
    }))

  it('keeps the mode of a file, and a link a link', () =>
    inFolder(
      { 'package.json': manifest({}), 'shared/index.ts': `import '${theirs}'\n`, 'src/own.ts': '' },
      async (folder) => {
        chmodSync(join(folder, 'shared/index.ts'), 0o640)
        symlinkSync('real.json', join(folder, 'link.json'))
        renameSync(join(folder, 'package.json'), join(folder, 'real.json'))
        renameSync(join(folder, 'link.json'), join(folder, 'package.json'))
        await ends(init(folder, '--yes'), 0, /Done/)
        assert.equal(statSync(join(folder, 'shared/index.ts')).mode & 0o777, 0o640)
        assert.equal(readlinkSync(join(folder, 'package.json')), 'real.json')
        assert.match(readFileSync(join(folder, 'real.json'), 'utf8'), /livestore-sync-worker/)
      },
    ))

  it('asks somebody, and changes nothing where nobody can be asked', async () => {
    await inFolder({ 'package.json': manifest({}), 'src/index.ts': `import '${theirs}'\n` }, async (folder) => {
      const before = readFiles(folder)
      await ends(init(folder), 2, /nothing was changed: say --yes/)
      assert.deepEqual(readFiles(folder), before)
    })
    const answered = (...lines: readonly string[]): Promise<boolean> => {
      const input = new PassThrough()
      input.end(lines.join(''))
      return ask({ input, output: new PassThrough() }, 'Make these changes?')
    }
    assert.deepEqual(
      await Promise.all(['y\n', 'Yes\r\n', 'n\n', '\n', 'yesterday\n', ''].map((line) => answered(line))),
      [true, true, false, false, false, false],
    )
    const stream = (isTTY: boolean) => Object.assign(new PassThrough(), { isTTY })
    assert.equal(isAnswered({ input: stream(true), output: stream(true) }), true)
    assert.equal(isAnswered({ input: stream(true), output: stream(false) }), false)
    assert.equal(isAnswered({ input: new PassThrough(), output: stream(true) }), false)
  })

  it('says what was asked in a wrong way, and what is no project of sync-cf', async () => {
    await ends(runCli(['init', 'a', 'b']), 2, /init: one folder at a time, not 'b' as well/)
    await ends(runCli(['init', '--yes', '--dry-run']), 2, /init: --dry-run or --yes, not both/)
    await ends(runCli(['init', '--deployed', '--not-deployed']), 2, /--deployed or --not-deployed, not both/)
    await inFolder({ 'src/index.ts': "import '@livestore/sync-cf/client'\n" }, (folder) =>
      ends(init(folder), 1, /nothing in .* imports @livestore\/sync-cf\/cf-worker/),
    )
    for (const app of ['todomvc', 'todomvc-0.3'])
      await ends(init(join(root, 'examples', app), '--dry-run'), 0, /Nothing to do: this project has been switched/)
  })

  it('switches every shape in which sync-cf is imported', async () => {
    const folder = join(root, 'tests/package/types')
    const shapes = globSync('v0[34]/*.ts', { cwd: folder }).filter((path) =>
      readFileSync(join(folder, path), 'utf8').includes(theirs),
    )
    assert.ok(shapes.length > 40)
    const files = Object.fromEntries(shapes.map((path) => [path, readFileSync(join(folder, path), 'utf8')]))
    await inFolder(files, async (at) => {
      await ends(init(at, '--yes'), 0, /Done/)
      for (const [path, text] of Object.entries(filesOf(at))) {
        const imported = [
          ...text.matchAll(/^(?!\s*(?:\/\/|\*)).*\b(?:from|import\()\s*'(@livestore\/sync-cf\/cf-worker)'/gm),
        ]
        assert.deepEqual(imported, [], path)
        assert.equal(text.replaceAll(ours, theirs), files[path]?.replaceAll(ours, theirs), path)
      }
    })
  })
})

describe('what init makes', () => {
  /** A project of a template, with the shared sources of the app that it is like. */
  const templateFiles = (name: string): Files => {
    const folders = [join(root, 'tests/browser/templates', name), join(root, 'examples/todomvc-shared')] as const
    const [own, shared] = folders.map((folder) =>
      globSync('**/*.{ts,tsx,toml}', { cwd: folder }).map(
        (path) => [path, readFileSync(join(folder, path), 'utf8')] as const,
      ),
    )
    const app = name === 'one-worker' ? 'todomvc' : 'todomvc-0.3'
    return {
      ...Object.fromEntries(own ?? []),
      ...Object.fromEntries(
        (shared ?? [])
          .filter(([path]) => basename(path) !== path || !path.startsWith('vite'))
          .map(([path, text]) => [`src/shared/${path}`, text]),
      ),
      'package.json': readFileSync(join(root, 'examples', app, 'package.json'), 'utf8'),
      'dist/client/app.css': '',
    }
  }

  const projects: ReadonlyArray<
    readonly [name: string, tools: Tools, files: Files, app: string | undefined, args: readonly string[]]
  > = [
    ['the 0.4 template in one Worker', 'vite-plugin', templateFiles('one-worker'), 'examples/todomvc', []],
    ['the 0.3 template, new', 'wrangler', templateFiles('two-servers'), 'examples/todomvc-0.3', ['--not-deployed']],
    ['the 0.3 template, deployed', 'wrangler', templateFiles('two-servers'), 'examples/todomvc-0.3', ['--deployed']],
    [
      'a Worker of Hono',
      'hono',
      { 'wrangler.toml': wrangler, 'package.json': manifest({}), 'src/index.ts': workerHono.replaceAll(ours, theirs) },
      undefined,
      [],
    ],
  ]

  for (const [name, tools, files, app, args] of projects)
    it(`is deployed by wrangler without a warning: ${name}`, async () => {
      const present = Object.entries(files).flatMap(([path, text]) =>
        text === undefined ? [] : [[path, text] as const],
      )
      const project = makeProject(tools, Object.fromEntries(present), app)
      try {
        const bin = 'livestore-sync-worker/dist/cli.js'
        const made = await project.run(bin, 'init', '--yes', ...args)
        assert.match(made.output, /Done; /)
        const { status, output } = await project.run('wrangler/bin/wrangler.js', 'deploy', '--dry-run', '--env', '')
        assert.match(output, /Total Upload/)
        assert.match(output, /\bindex_bg\.wasm\b|env\.(SYNC_BACKEND_DO|WEBSOCKET_SERVER) \(/)
        assert.doesNotMatch(output, /WARNING|ERROR/)
        assert.equal(status, 0)
        const doctor = await project.run(bin, 'doctor')
        assert.doesNotMatch(doctor.output, /class-|backend-|backends-|binding-/)
        const undone = await project.run(bin, 'init', '--undo', '--yes')
        assert.match(undone.output, /Undone/)
        for (const [path, text] of present) assert.equal(readFileSync(join(project.folder, path), 'utf8'), text)
      } finally {
        await project.remove()
      }
    })
})
