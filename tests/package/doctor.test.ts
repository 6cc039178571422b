/**
 * `livestore-sync-worker doctor`, as the package's own command line runs it: each of its codes is found in a folder or at a server
 * that has the mistake, and in none that has not.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Code, type Finding, kinds } from '../../host/cli/doctor/finding.ts'
import { variableNames } from '../../host/cli/doctor/variable-names.ts'
import { authToken, root, type Server, type ServerOptions, startServer, templateToken } from '../harness/server.ts'
import { hs256, keyPairOf, secret as jwtSecret, tokenBy } from '../workerd/tokens.ts'
import { type Files, inFolder, runCli } from './cli.ts'

/** What the table of codes has been seen to find. */
const seen = new Set<Code>()

interface Asked {
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

interface Found {
  readonly status: number
  readonly findings: readonly Finding[]
}

const doctor = async (folder: string, { args = [], env = {} }: Asked = {}): Promise<Found> => {
  const { status, stdout, stderr } = await runCli(['doctor', folder, '--json', ...args], env)
  assert.equal(stderr, '')
  const { findings } = JSON.parse(stdout) as { findings: Finding[] }
  for (const { code } of findings) seen.add(code)
  assert.equal(status, findings.some(({ severity }) => severity === 'error') ? 3 : 0)
  return { status, findings }
}

const codesOf = ({ findings }: Found): readonly string[] => findings.map(({ code }) => code)

/** A configuration in which there is nothing to find. */
const wrangler = `name = "app"
main = "src/worker.ts"
compatibility_date = "2026-04-07"

[[durable_objects.bindings]]
name = "SYNC_BACKEND_DO"
class_name = "SyncBackendDO"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["SyncBackendDO"]

[[d1_databases]]
binding = "DB"
database_name = "app"
database_id = "7b0c2f4e-93b1-4d1e-8a55-0d4c9f3b1a2e"

[observability]
enabled = true
redact_query_string = true

[secrets]
required = ["AUTH_TOKEN"]

[vars]
ALLOWED_ORIGINS = "https://app.example.com,http://localhost:5173,http://localhost:4173"
`

const worker = `import { makeDurableObject, makeWorker } from 'livestore-sync-worker/cf-worker'

export class SyncBackendDO extends makeDurableObject() {}

export default makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO' })
`

const livestore = (version: string): string => JSON.stringify({ version })

/** A project in which there is nothing to find but which generation its clients are of. */
const clean: Files = {
  'wrangler.toml': wrangler,
  '.dev.vars': `AUTH_TOKEN=${templateToken}\n`,
  'vite.config.ts': 'export default {}\n',
  'src/worker.ts': worker,
  'src/livestore.worker.ts': `import { makeWsSync } from '@livestore/sync-cf/client'

export const backend = makeWsSync({ url: \`\${location.origin}/sync\` })
export const storeId = 'todos'
`,
  'package.json': `{
  "name": "app",
  "dependencies": {
    "@livestore/livestore": "0.4.0",
    "@livestore/sync-cf": "0.4.0",
    "livestore-sync-worker": "0.1.0"
  }
}
`,
  'node_modules/@livestore/livestore/package.json': livestore('0.4.0'),
  'node_modules/@livestore/sync-cf/package.json': livestore('0.4.0'),
  'node_modules/livestore-sync-worker/package.json': livestore('0.1.0'),
}

/** One text of the clean configuration by another: which has to be there. */
const changed = (file: string, ...changes: ReadonlyArray<readonly [string, string]>): Files => {
  let text = clean[file] ?? ''
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), from)
    text = text.replace(from, to)
  }
  return { [file]: text }
}
const config = (...changes: ReadonlyArray<readonly [string, string]>): Files => changed('wrangler.toml', ...changes)
const vars = (line: string): Files => config(['[vars]\n', `[vars]\n${line}\n`])
const livestoreOf = (version: string): Files => ({
  ...changed(
    'package.json',
    ['sync-cf": "0.4.0"', `sync-cf": "${version}"`],
    ['livestore": "0.4.0"', `livestore": "${version}"`],
  ),
  'node_modules/@livestore/livestore/package.json': livestore(version),
  'node_modules/@livestore/sync-cf/package.json': livestore(version),
})
const preview = `
[env.preview]
name = "app-preview"

[env.preview.secrets]
required = ["AUTH_TOKEN"]
`
const previewVars = '\n[env.preview.vars]\nALLOWED_ORIGINS = "https://preview.example.com"\n'
const previewObjects = `
[[env.preview.durable_objects.bindings]]
name = "SYNC_BACKEND_DO"
class_name = "SyncBackendDO"
`
const previewDatabase = '\n[[env.preview.d1_databases]]\nbinding = "DB"\ndatabase_name = "preview"\n'

interface Case extends Asked {
  readonly code: Code
  readonly files: Files
  /** Where: `wrangler.toml:3`. */
  readonly at?: string
  /** What the message says. */
  readonly says: RegExp
  /** What else is found, but for the generation. */
  readonly also?: readonly Code[]
  /** How a second mistake of the same code is called. */
  readonly title?: string
}

const cases: readonly Case[] = [
  { code: 'config-missing', files: { 'wrangler.toml': undefined }, says: /no wrangler\.toml/ },
  {
    code: 'config-unreadable',
    files: config(['name = "app"\n', 'name = "app"\nmain\n']),
    at: 'wrangler.toml:3',
    says: /wrangler\.toml cannot be read: The key, equals sign, and value must/,
  },
  {
    code: 'config-unreadable',
    title: 'JSON',
    files: { 'wrangler.toml': undefined, 'wrangler.jsonc': '{\n  // the Worker\n  "name" "app"\n}\n' },
    at: 'wrangler.jsonc:3',
    says: /ColonExpected/,
  },
  {
    code: 'config-shadowed',
    files: { 'wrangler.jsonc': '{ "main": "src/gone.ts" }' },
    at: 'wrangler.toml',
    says: /wrangler\.toml is not read: there is wrangler\.jsonc/,
    also: [
      'main-missing',
      'compatibility-date-missing',
      'binding-missing',
      'database-missing',
      'secrets-to-set',
      'origin-refused',
      'origin-refused',
    ],
  },
  {
    code: 'main-missing',
    files: config(['src/worker.ts', 'src/gone.ts']),
    at: 'wrangler.toml:2',
    says: /src\/gone\.ts, which is not there/,
  },
  { code: 'main-missing', title: 'none', files: config(['main = "src/worker.ts"\n', '']), says: /No main module/ },
  {
    code: 'compatibility-date-missing',
    files: config(['compatibility_date = "2026-04-07"\n', '']),
    says: /no compatibility_date/,
  },
  {
    code: 'compatibility-date-old',
    files: config(['2026-04-07', '2024-11-01']),
    at: 'wrangler.toml:3',
    says: /2024-11-01/,
  },
  {
    code: 'migrations-and-exports',
    files: config(['[vars]', '[exports.SyncBackendDO]\ntype = "durable-object"\nstorage = "sqlite"\n\n[vars]']),
    at: 'wrangler.toml:25',
    says: /migrations and exports/,
  },
  {
    code: 'observability-query',
    files: config(['redact_query_string = true\n', '']),
    at: 'wrangler.toml:18',
    says: /with the queries/,
  },
  {
    code: 'code-update-immediate',
    files: config(['[[durable', '[durable_objects]\ncode_update_strategy = { mode = "immediate" }\n\n[[durable']),
    at: 'wrangler.toml:6',
    says: /new code at once/,
  },
  {
    code: 'assets-first',
    files: {
      ...config(['[vars]', '[assets]\ndirectory = "public"\n\n[vars]']),
      ...changed('src/livestore.worker.ts', ['`${location.origin}/sync`', 'location.origin']),
      'public/index.html': '<p>',
    },
    at: 'src/livestore.worker.ts:3',
    says: /sync at the path \/, where static assets answer/,
  },
  {
    code: 'assets-first',
    title: 'by a rule that excludes its path',
    files: {
      ...config(['[vars]', '[assets]\ndirectory = "public"\nrun_worker_first = ["/*", "!/s*c"]\n\n[vars]']),
      'public/page.html': '<p>',
    },
    at: 'src/livestore.worker.ts:3',
    says: /sync at the path \/sync, where/,
  },
  {
    code: 'binding-missing',
    files: config(['name = "SYNC_BACKEND_DO"', 'name = "ROOMS"']),
    at: 'wrangler.toml:5',
    says: /no Durable Object binding SYNC_BACKEND_DO\. There are: ROOMS/,
  },
  {
    code: 'binding-missing',
    title: 'that SYNC_BINDING names',
    files: {
      ...vars('SYNC_BINDING = "ROOMS"'),
      ...changed('src/worker.ts', ["syncBackendBinding: 'SYNC_BACKEND_DO'", '']),
    },
    says: /no Durable Object binding ROOMS\. There are: SYNC_BACKEND_DO/,
  },
  {
    code: 'environment-binding-missing',
    files: { 'wrangler.toml': wrangler + preview + previewVars + previewDatabase },
    at: 'wrangler.toml:28',
    says: /environment preview has no Durable Object binding SYNC_BACKEND_DO/,
  },
  {
    code: 'environment-not-inherited',
    files: { 'wrangler.toml': wrangler + preview + previewObjects + previewDatabase },
    at: 'wrangler.toml:28',
    says: /preview does not have ALLOWED_ORIGINS/,
  },
  {
    code: 'environment-not-inherited',
    title: 'a database',
    files: { 'wrangler.toml': wrangler + preview + previewObjects + previewVars },
    says: /preview has no D1 database DB/,
  },
  {
    code: 'class-key-value',
    files: config(['new_sqlite_classes', 'new_classes']),
    at: 'wrangler.toml:11',
    says: /SyncBackendDO is declared without SQLite/,
  },
  {
    code: 'class-key-value',
    title: 'by exports, in JSON with comments',
    files: {
      'wrangler.toml': undefined,
      'wrangler.jsonc': `{
  // the app
  "name": "app", "main": "src/worker.ts", "compatibility_date": "2026-04-07",
  "durable_objects": { "bindings": [{ "name": "SYNC_BACKEND_DO", "class_name": "SyncBackendDO" }] },
  "exports": {
    "SyncBackendDO": { "type": "durable-object", "storage": "legacy-kv" },
  },
  "vars": { "BACKUP": "off", "ALLOWED_ORIGINS": "http://localhost:5173,http://localhost:4173", },
  "secrets": { "required": ["AUTH_TOKEN"] },
}`,
    },
    at: 'wrangler.jsonc:6',
    says: /without SQLite/,
  },
  {
    code: 'class-key-value',
    title: 'renamed since',
    files: config([
      'new_sqlite_classes = ["SyncBackendDO"]',
      'new_classes = ["Old"]\n\n[[migrations]]\ntag = "v2"\nrenamed_classes = [{ from = "Old", to = "SyncBackendDO" }]',
    ]),
    at: 'wrangler.toml:11',
    says: /SyncBackendDO is declared without SQLite/,
  },
  {
    code: 'class-undeclared',
    files: config(['["SyncBackendDO"]', '["Other"]']),
    at: 'wrangler.toml:7',
    says: /No migration declares the class SyncBackendDO/,
  },
  {
    code: 'class-not-exported',
    files: changed('src/worker.ts', ['export class SyncBackendDO', 'class SyncBackendDO']),
    at: 'wrangler.toml:7',
    says: /src\/worker\.ts exports no class SyncBackendDO/,
  },
  {
    code: 'class-not-exported',
    title: "of the package's Worker",
    files: {
      ...config(
        ['src/worker.ts', 'node_modules/livestore-sync-worker/dist/worker.js'],
        ['class_name = "SyncBackendDO"', 'class_name = "Rooms"'],
        ['["SyncBackendDO"]', '["Rooms"]'],
      ),
      'node_modules/livestore-sync-worker/dist/worker.js': '',
    },
    at: 'wrangler.toml:7',
    says: /exports SyncBackendDO and WebSocketServer, and no Rooms/,
  },
  {
    code: 'database-missing',
    files: config(['binding = "DB"', 'binding = "OTHER"']),
    says: /No D1 database is bound as DB/,
    also: ['database-elsewhere'],
  },
  {
    code: 'database-elsewhere',
    files: config(['binding = "DB"', 'binding = "LOGS"'], ['[vars]\n', '[vars]\nBACKUP = "off"\n']),
    at: 'wrangler.toml:14',
    says: /There is a D1 database LOGS/,
  },
  {
    code: 'database-placeholder',
    files: config(['7b0c2f4e-93b1-4d1e-8a55-0d4c9f3b1a2e', '00000000-0000-0000-0000-000000000000']),
    at: 'wrangler.toml:16',
    says: /database_id is "0000/,
  },
  {
    code: 'migrations-folder-missing',
    files: config(['database_name = "app"', 'database_name = "app"\nmigrations_dir = "drizzle"']),
    at: 'wrangler.toml:16',
    says: /migrations_dir is drizzle/,
  },
  {
    code: 'migrations-outdated',
    files: {
      ...config(['database_name = "app"', 'database_name = "app"\nmigrations_dir = "sql"']),
      'sql/0001_backup.sql': '',
    },
    at: 'wrangler.toml:16',
    says: /sql lacks 0002_segments\.sql/,
  },
  {
    code: 'variable-invalid',
    files: vars('MAX_EVENT_BYTES = "many"'),
    at: 'wrangler.toml:26',
    says: /MAX_EVENT_BYTES is 'many', but it must be an integer/,
  },
  {
    code: 'variable-invalid',
    title: 'of this machine, behind another one',
    files: { '.dev.vars': `# here\nMAX_BATCH_EVENTS=none\nAUTH_TOKEN=${templateToken}\nPUSH_RATE=fast\n` },
    at: '.dev.vars:4',
    says: /PUSH_RATE is 'fast'/,
    also: ['variable-invalid'],
  },
  {
    code: 'variable-warning',
    files: { '.dev.vars': `AUTH_TOKEN=${templateToken}\nLOG_LEVEL=loud\nALLOWED_ORIGINS=*\n` },
    at: '.dev.vars:2',
    says: /^LOG_LEVEL is 'loud', but it must be/,
  },
  {
    code: 'variable-warning',
    title: 'of what is unwise once deployed',
    files: config(['"https://app.example.com,http://localhost:5173,http://localhost:4173"', '"*"']),
    at: 'wrangler.toml:26',
    says: /^ALLOWED_ORIGINS: pages of every origin may connect/,
  },
  {
    code: 'variable-unknown',
    files: vars('ALLOWED_ORIGIN = "*"'),
    at: 'wrangler.toml:26',
    says: /no variable ALLOWED_ORIGIN/,
  },
  {
    code: 'secret-in-variables',
    files: vars('ADMIN_SECRET = "K7rW2nq0dJb1mXx4c9"'),
    at: 'wrangler.toml:26',
    says: /ADMIN_SECRET is in the configuration/,
  },
  {
    code: 'secret-default',
    files: vars(`AUTH_TOKEN = "K7rW2nq0dJb1mXx4c9,${templateToken}"`),
    at: 'wrangler.toml:26',
    says: /AUTH_TOKEN is a value of templates/,
    also: ['secret-in-variables'],
  },
  {
    code: 'secret-weak',
    files: vars('ADMIN_SECRET = "K7rW2nq0"'),
    says: /ADMIN_SECRET has less than 16/,
    also: ['secret-in-variables'],
  },
  {
    code: 'anonymous',
    files: vars('ALLOW_ANONYMOUS = "true"'),
    at: 'wrangler.toml:26',
    says: /Nobody is asked for a token/,
  },
  {
    code: 'policy-missing-here',
    files: { '.dev.vars': undefined },
    at: '.dev.vars',
    says: /Nothing says who may sync on this machine/,
  },
  {
    code: 'secrets-to-set',
    files: config(['required = ["AUTH_TOKEN"]', 'required = []']),
    at: 'wrangler.toml:25',
    says: /has to be said by a secret/,
  },
  {
    code: 'backend-missing',
    files: { 'src/worker.ts': 'export class SyncBackendDO {}\nexport default {}\n' },
    at: 'wrangler.toml:2',
    says: /No source imports livestore-sync-worker\/cf-worker/,
  },
  {
    code: 'backend-not-switched',
    files: changed('src/worker.ts', ['livestore-sync-worker/cf-worker', '@livestore/sync-cf/cf-worker']),
    at: 'src/worker.ts:1',
    says: /The Worker imports @livestore\/sync-cf\/cf-worker/,
  },
  {
    code: 'backends-mixed',
    files: {
      ...changed('src/worker.ts', ['export default', "export * from './other.js'\nexport default"]),
      'src/other.ts':
        "// import 'livestore-sync-worker/cf-worker'\nexport { matchSyncRequest } from '@livestore/sync-cf/cf-worker'\n",
    },
    at: 'src/other.ts:2',
    says: /and this backend as well/,
  },
  {
    code: 'backend-not-installed',
    files: { 'node_modules/livestore-sync-worker/package.json': undefined },
    at: 'src/worker.ts:1',
    says: /is not installed/,
  },
  {
    code: 'livestore-versions',
    files: {
      ...changed('package.json', [
        '"@livestore/sync-cf": "0.4.0"',
        '"@livestore/react": "0.4.0",\n    "@livestore/sync-cf": "0.3.1"',
      ]),
      'node_modules/@livestore/react/package.json': livestore('0.4.0'),
      'node_modules/@livestore/sync-cf/package.json': livestore('0.3.1'),
    },
    at: 'package.json:6',
    says: /sync-cf is 0\.3\.1, and others are 0\.4\.0/,
  },
  {
    code: 'livestore-not-installed',
    files: { 'node_modules/@livestore/livestore/package.json': undefined },
    at: 'package.json:4',
    says: /livestore is not installed/,
  },
  {
    code: 'livestore-not-installed',
    title: 'another one is',
    files: { ...livestoreOf('0.4.1'), ...changed('package.json') },
    at: 'package.json:4',
    says: /asks for @livestore\/livestore 0\.4\.0, and 0\.4\.1 is installed/,
    also: ['livestore-not-installed'],
  },
  {
    code: 'livestore-generation',
    title: '0.3',
    files: livestoreOf('0.3.1'),
    at: 'package.json:5',
    says: /0\.3\.1 speaks generation v03/,
  },
  {
    code: 'livestore-generation',
    title: '0.4',
    files: {},
    at: 'package.json:5',
    says: /0\.4\.0 speaks generation v04/,
  },
  {
    code: 'livestore-generation',
    title: 'Effect 4',
    files: livestoreOf('0.5.0-dev.3'),
    at: 'package.json:5',
    says: /speaks generation v05/,
  },
  {
    code: 'livestore-development',
    files: livestoreOf('0.4.0-dev.22'),
    at: 'package.json:5',
    says: /dev\.22 is a development release before/,
  },
  { code: 'livestore-unknown', files: livestoreOf('0.2.0'), at: 'package.json:5', says: /0\.2\.0 is none of/ },
  {
    code: 'token-refused',
    files: {},
    env: { LIVESTORE_SYNC_TOKEN: 'another' },
    at: '.dev.vars',
    says: /refused by `wrangler dev`: Invalid auth token\./,
  },
  {
    code: 'token-refused',
    title: 'a JSON Web Token, for a reason',
    files: {
      ...vars(`JWT_SECRET = "${jwtSecret}"\nJWT_AUDIENCE = "app"\nJWT_STORE_CLAIM = "stores"`),
      '.dev.vars': undefined,
    },
    env: { LIVESTORE_SYNC_TOKEN: hs256({ aud: 'another' }) },
    at: 'wrangler.toml:25',
    says: /refused by a deployment: Invalid auth token: its claim 'aud'/,
    also: ['secret-in-variables'],
  },
  {
    code: 'token-unknown',
    files: changed('src/worker.ts', [
      "syncBackendBinding: 'SYNC_BACKEND_DO'",
      "syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload: check",
    ]),
    env: { LIVESTORE_SYNC_TOKEN: 'any' },
    says: /Worker's own code decides/,
  },
  {
    code: 'origin-refused',
    files: { 'vite.config.ts': 'export default { server: { port: 60_001 } }\n' },
    at: 'vite.config.ts:1',
    says: /http:\/\/localhost:60001 may not sync with `wrangler dev`/,
  },
  {
    code: 'token-unknown',
    title: 'keys that cannot be had',
    files: { ...vars('JWT_JWKS_URL = "http://localhost:1/jwks"\nJWT_STORE_CLAIM = "stores"'), '.dev.vars': undefined },
    env: { LIVESTORE_SYNC_TOKEN: tokenBy(keyPairOf('EdDSA')) },
    says: /The keys of JWT_JWKS_URL cannot be had/,
  },
  {
    code: 'origin-refused',
    title: 'of a deployment',
    files: {},
    args: ['--origin', 'https://app.example.com,tauri://localhost'],
    at: 'wrangler.toml:26',
    says: /tauri:\/\/localhost may not sync with a deployment/,
  },
  {
    code: 'store-id-long',
    files: changed('src/livestore.worker.ts', ["'todos'", `'${'t'.repeat(1_025)}'`]),
    at: 'src/livestore.worker.ts:4',
    says: /has 1025 bytes/,
  },
  {
    code: 'store-id-refused',
    files: {},
    args: ['--store', 'é'.repeat(2_048)],
    says: /storeId has 4098 bytes as JSON, but at most 4096/,
  },
]

describe('doctor in a folder', { concurrency: 4 }, () => {
  it('finds nothing in a project that is right, and exits with 0', async () => {
    const found = await inFolder(clean, (folder) =>
      doctor(folder, {
        args: ['--origin', 'https://app.example.com', '--store', 's'.repeat(1_024)],
        env: { LIVESTORE_SYNC_TOKEN: templateToken },
      }),
    )
    assert.deepEqual(codesOf(found), ['livestore-generation'])
  })

  it('finds nothing in an environment that has all of its own, nor where main is of the package', async () => {
    const files = {
      ...clean,
      'wrangler.toml': `${wrangler}${preview}${previewVars}${previewObjects}${previewDatabase}`.replace(
        'src/worker.ts',
        'node_modules/livestore-sync-worker/dist/worker.js',
      ),
      'node_modules/livestore-sync-worker/dist/worker.js': '',
    }
    assert.deepEqual(codesOf(await inFolder(files, (folder) => doctor(folder))), ['livestore-generation'])
  })

  it('takes a token for other stores for what it is, unless one of those is named', async () => {
    const files = {
      ...clean,
      ...vars(`JWT_SECRET = "${jwtSecret}"\nJWT_STORE_CLAIM = "stores"`),
      '.dev.vars': undefined,
    }
    const tried = (...args: readonly string[]): Promise<Found> =>
      inFolder(files, (folder) => doctor(folder, { args, env: { LIVESTORE_SYNC_TOKEN: hs256({ stores: ['mine'] }) } }))
    const refused = ({ findings }: Found): readonly string[] =>
      findings.filter(({ code }) => code === 'token-refused').map(({ message }) => message)
    assert.deepEqual(refused(await tried()), [])
    assert.deepEqual(refused(await tried('--store', 'mine')), [])
    const [message = ''] = refused(await tried('--store', 'yours'))
    assert.match(message, /it does not open this store/)
  })

  it('finds no database elsewhere where something says what it is', async () => {
    const logs = ['binding = "DB"', 'binding = "LOGS"'] as const
    for (const files of [
      config(logs, ['[vars]\n', '[vars]\nBACKUP = "off"\nADOPT_D1 = "LOGS"\n']),
      {
        ...config(logs, ['[vars]\n', '[vars]\nBACKUP = "off"\n']),
        ...changed('src/worker.ts', [
          'makeDurableObject()',
          "makeDurableObject({ storage: { _tag: 'd1', binding: 'LOGS' } })",
        ]),
      },
    ])
      assert.deepEqual(codesOf(await inFolder({ ...clean, ...files }, (folder) => doctor(folder))), [
        'livestore-generation',
      ])
  })

  it('finds no assets before sync where it has a path, the Worker is first, or there is no page', async () => {
    const page = { 'public/index.html': '<p>' }
    const root = changed('src/livestore.worker.ts', ['`${location.origin}/sync`', "'https://app.example.com/'"])
    for (const [rules, files] of [
      ['', page],
      ['run_worker_first = ["/*", "!/syn"]\n', page],
      ['run_worker_first = true\n', { ...page, ...root }],
      ['run_worker_first = ["/"]\n', { ...page, ...root }],
      ['', { ...root, 'public/page.html': '<p>' }],
    ] as const) {
      const assets = config(['[vars]', `[assets]\ndirectory = "public"\n${rules}\n[vars]`])
      const found = await inFolder({ ...clean, ...assets, ...files }, (folder) => doctor(folder))
      assert.deepEqual(codesOf(found), ['livestore-generation'], rules)
    }
  })

  for (const { code, title, files, at, says, also = [], ...asked } of cases) {
    it(`finds ${code}${title === undefined ? '' : `: ${title}`}`, async () => {
      const found = await inFolder({ ...clean, ...files }, (folder) => doctor(folder, asked))
      const one = found.findings.find((one) => one.code === code && says.test(one.message))
      assert.ok(one, JSON.stringify(found.findings, undefined, 1))
      if (at !== undefined) assert.equal([one.file, one.line].filter(Boolean).join(':'), at)
      assert.deepEqual([one.severity, one.why], [kinds[code].severity, kinds[code].why])
      assert.notEqual(one.fix, '')
      const others = codesOf(found).filter(
        (other) => other !== 'livestore-generation' && !['config-missing', 'config-unreadable'].includes(code),
      )
      assert.deepEqual(
        others.toSorted(),
        [...(code === 'livestore-generation' ? [] : [code]), ...also]
          .filter((one) => !/^config-(missing|unreadable)$/.test(one))
          .toSorted(),
      )
    })
  }

  it('says what it finds in words, the worst first, and with --json alone in JSON', async () => {
    const files = {
      ...clean,
      ...config(['new_sqlite_classes', 'new_classes'], ['binding = "DB"', 'binding = "OTHER"']),
    }
    const { status, stdout } = await inFolder(files, (folder) => runCli(['doctor'], {}, folder))
    assert.match(
      stdout,
      /^error class-key-value {2}wrangler\.toml:11\n {2}The class .*\n {2}Why: .*\n {2}Do: {2}.*\n\nnote database-elsewhere/,
    )
    assert.match(stdout, /: 1 error, 3 notes\n$/)
    assert.equal(status, 3)
  })

  it('says what was asked in a wrong way, and what cannot be done', async () => {
    const ends = async (args: readonly string[], status: number, says: RegExp): Promise<void> => {
      const ended = await runCli(['doctor', ...args])
      assert.match(ended.stderr, says)
      assert.equal(ended.status, status)
    }
    await ends(['a', 'b'], 2, /doctor: one folder at a time, not 'b' as well/)
    await ends(['--url', 'example.com'], 2, /doctor: --url is an address such as .*, not 'example\.com'/)
    await ends(['--url', 'ftp://example.com'], 2, /not 'ftp:\/\/example\.com'/)
    await ends(['--origin', 'https://app.example.com/page'], 2, /doctor: --origin is the origin of a page/)
    await ends(['/no/such/folder'], 1, /\/no\/such\/folder is no folder/)
    await inFolder({ ...clean, 'package.json': '{' }, (folder) => ends([folder], 1, /package\.json cannot be read/))
  })

  it('knows every variable that is documented', () => {
    const documented = readFileSync(join(root, 'docs/configuration.md'), 'utf8').split('\n## ')[0] ?? ''
    const rows = documented.split('\n').filter((line) => line.startsWith('| `'))
    const names = rows.flatMap((row) => (row.split('|')[1] ?? '').match(/[A-Z][A-Z0-9_]+/g) ?? [])
    assert.ok(names.length > 25)
    assert.deepEqual(
      names.filter((name) => !variableNames.includes(name)),
      [],
    )
  })
})

/** A Worker around ours that answers some requests itself. */
const around = (answers: string) => (source: string) => {
  const edited = source.replace(/[\w$]+ as default\b/, 'around as default')
  const [, own] = /([\w$]+) as default\b/.exec(source) ?? []
  assert.notEqual(edited, source)
  return `${edited}\nconst around = { fetch: (request, env, ctx) => (${answers})(request) ?? ${own}.fetch(request, env, ctx) }\n`
}

describe('doctor at a deployment', () => {
  const secret = 'the secret of the tests'
  const origin = 'https://app.example.com'
  const at = (url: string, ...args: readonly string[]): readonly string[] => ['--url', url, ...args]
  const all = ['--store', 'todos', '--origin', origin]
  const env = { LIVESTORE_SYNC_TOKEN: authToken, LIVESTORE_ADMIN_SECRET: secret }

  /** What is found at a server alone, from a folder that is no project. */
  const ask = (url: string, args: readonly string[] = all, variables: NodeJS.ProcessEnv = env): Promise<Found> =>
    inFolder({}, async (folder) => {
      const { status, stdout, stderr } = await runCli(['doctor', '--json', ...at(url, ...args)], variables, folder)
      assert.equal(stderr, '')
      const { findings } = JSON.parse(stdout) as { findings: Finding[] }
      for (const { code } of findings) seen.add(code)
      return { status, findings }
    })

  const finds = ({ status, findings }: Found, code: Code, says: RegExp): void => {
    assert.deepEqual(codesOf({ status, findings }), [code])
    assert.match(findings[0]?.message ?? '', says)
    assert.equal(status, kinds[code].severity === 'error' ? 3 : 0)
  }

  const withServer = async (options: ServerOptions, scenario: (server: Server) => Promise<void>): Promise<void> => {
    const server = await startServer(options)
    try {
      await scenario(server)
    } finally {
      await server.stop()
    }
  }

  describe('that is right', () => {
    let server: Server
    before(async () => {
      server = await startServer({ vars: { ADMIN_SECRET: secret, ALLOWED_ORIGINS: origin } })
    })
    after(() => server.stop())

    it('finds nothing', async () => {
      assert.deepEqual(codesOf(await ask(server.url)), [])
      assert.deepEqual(codesOf(await ask(server.wsUrl)), [])
      assert.deepEqual(codesOf(await ask(`${server.url}/any/path`)), [])
    })

    it('asks no object unless a store is named', async () => {
      finds(await ask(server.url, []), 'store-not-asked', /No object was asked/)
      assert.equal(await objectsOf(server), 1, 'that of the store that was named before')
    })

    it('says with which words a token is refused, for a client of each generation', async () => {
      const found = await ask(server.url, all, { LIVESTORE_SYNC_TOKEN: 'another' })
      assert.deepEqual(
        found.findings.map(({ message }) => message),
        [
          'A client of 0.3 is answered 400: Invalid auth token.',
          'A client of 0.4 and the Effect 4 line is answered 400: Invalid auth token.',
        ],
      )
      assert.deepEqual(codesOf(found), ['sync-refused', 'sync-refused'])
      const old = await inFolder({ ...clean, ...livestoreOf('0.3.1') }, (folder) =>
        doctor(folder, { args: at(server.url, ...all), env: { LIVESTORE_SYNC_TOKEN: 'another' } }),
      )
      const said = old.findings.filter(({ code }) => code === 'sync-refused').map(({ message }) => message)
      assert.deepEqual(said, ['A client of 0.3 is answered 400: Invalid auth token.'])
    })

    it('says what a client without a token is told', async () => {
      finds(await ask(server.url, all, {}), 'token-unknown', /without a token is answered: No auth token/)
    })

    it('finds an origin that may not sync', async () => {
      finds(
        await ask(server.url, ['--store', 'todos', '--origin', 'capacitor://localhost']),
        'origin-refused',
        /Origin capacitor:\/\/localhost may not use/,
      )
    })

    it('is asked from the folder of an app without a Worker, whose packages are looked at', async () => {
      const { 'wrangler.toml': _, '.dev.vars': __, 'src/worker.ts': ___, ...app } = clean
      const found = await inFolder({ ...app, ...livestoreOf('0.4.0-dev.22') }, (folder) =>
        doctor(folder, { args: at(server.url, ...all), env }),
      )
      assert.deepEqual(codesOf(found), ['livestore-generation', 'livestore-development'])
    })

    it('lets pages of its own origin pass, whatever is listed', async () => {
      const args = at(server.url, '--origin', server.url)
      const found = await inFolder(clean, (folder) => doctor(folder, { args, env }))
      assert.deepEqual(
        codesOf(found).filter((code) => /origin|preflight/.test(code)),
        [],
      )
      const without = await inFolder(clean, (folder) => doctor(folder, { args: args.slice(2) }))
      assert.deepEqual(
        codesOf(without).filter((code) => code === 'origin-refused'),
        ['origin-refused'],
      )
    })

    it('finds that the secret is another', async () => {
      finds(
        await ask(server.url, all, { ...env, LIVESTORE_ADMIN_SECRET: 'wrong' }),
        'admin-refused',
        /another ADMIN_SECRET/,
      )
    })
  })

  it('finds that there is no administration', () =>
    withServer({}, async ({ url }) => finds(await ask(url), 'admin-off', /no administration at/)))

  it('finds a class without SQLite once an object is asked', () =>
    withServer(
      { binding: { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO', useSQLite: false } },
      async ({ url }) => {
        const found = await ask(url, ['--store', 'todos'], { LIVESTORE_SYNC_TOKEN: authToken })
        assert.deepEqual(codesOf(found), ['sync-refused', 'sync-refused'])
        for (const { message, fix } of found.findings)
          assert.match(`${message} ${fix}`, /503: .*SQLite.*classes-backed-by-key-value/)
      },
    ))

  it('finds a variable that does not parse, and a Worker that lets nobody in', async () => {
    await withServer({ vars: { PUSH_RATE: 'fast' } }, async ({ url }) => {
      const found = await ask(url, [], {})
      for (const { message } of found.findings) assert.match(message, /500: Configuration: PUSH_RATE is 'fast'/)
      assert.deepEqual(codesOf(found), ['sync-refused', 'sync-refused'])
    })
    await withServer({ vars: { AUTH_TOKEN: undefined } }, async ({ url }) => {
      const found = await ask(url, [], {})
      for (const { message, fix } of found.findings)
        assert.match(`${message} ${fix}`, /503: Nobody can connect yet.*secret put AUTH_TOKEN/)
      assert.deepEqual(codesOf(found), ['sync-refused', 'sync-refused'])
    })
  })

  it('finds a router that keeps preflights to itself', () =>
    withServer(
      { edit: around("({ method }) => (method === 'OPTIONS' ? new Response('', { status: 405 }) : undefined)") },
      async ({ url }) =>
        finds(
          await ask(url, all, { LIVESTORE_SYNC_TOKEN: authToken }),
          'preflight-refused',
          /preflight of https:\/\/app\.example\.com is answered 405/,
        ),
    ))

  it('finds another backend', () =>
    withServer({ backend: 'minimal-js' }, async ({ url }) =>
      finds(await ask(url, all, {}), 'url-other', /is not this backend: \d{3}/),
    ))

  it('finds that nothing is there', async () => {
    let gone = ''
    await withServer({}, async ({ url }) => {
      gone = url
    })
    finds(await ask(gone, []), 'url-unreachable', /cannot be reached: .*ECONNREFUSED/)
  })

  it('says what the deployment says of its variables', () =>
    withServer({ vars: { ADMIN_SECRET: secret, MAX_EVENT_BYTES: '1000000', BACKUP: 'of' } }, async ({ url }) => {
      const { findings, status } = await ask(url)
      const says = findings.map(({ code, message }) => `${code} ${message}`)
      assert.deepEqual(
        says.map((one) => /^\S+ \S+/.exec(one)?.[0]),
        ['deployed-warning BACKUP:', 'deployed-warning ALLOWED_ORIGINS:'],
      )
      assert.match(says[0] ?? '', /BACKUP is 'of', but it must be 'd1' or 'off'/)
      assert.equal(status, 0)
    }))

  it('says that another version is deployed', () => {
    const answers = `({ url }) => (new URL(url).pathname === '/admin/v1/config' ? Response.json({ version: '0.0.9', warnings: [] }) : undefined)`
    return withServer({ vars: { ADMIN_SECRET: secret }, edit: around(answers) }, async ({ url }) =>
      finds(await ask(url), 'deployed-version', /^0\.0\.9 is deployed, and this is /),
    )
  })
})

/** How many objects of a server have been made. */
const objectsOf = async ({ miniflare }: Server): Promise<number> =>
  (await miniflare.listDurableObjectIds('SYNC_BACKEND_DO')).length

describe('the codes of doctor', () => {
  it('have each been found above', () => {
    assert.deepEqual(
      (Object.keys(kinds) as Code[]).filter((code) => !seen.has(code)),
      [],
    )
  })

  it('are those of docs/doctor.md, with their severities', () => {
    const text = readFileSync(join(root, 'docs/doctor.md'), 'utf8')
    const rows = [...text.matchAll(/^\| `([a-z0-9-]+)` \| (error|warning|note) \|/gm)].map(([, code, severity]) => [
      code,
      severity,
    ])
    assert.deepEqual(
      rows,
      Object.entries(kinds).map(([code, { severity }]) => [code, severity]),
    )
  })
})
