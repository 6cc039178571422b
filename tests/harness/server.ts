/**
 * Starts a sync backend under the local Workers runtime: ours as built in `dist/` or elsewhere, or a peer.
 *
 * Owns: the runtime process, its storage folder and its log lines. Knows nothing of the protocol.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Log, LogLevel, Miniflare, convertV4MiniflareOptions } from 'miniflare'
import { bundleClientWorker, clientClasses, clientWorkerName } from './client-worker.ts'

/** The repository's root folder, with a trailing slash. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Which backend to run: ours, or one of the peers in `bench/peers/`. */
export type Backend = 'livestore-sync-worker' | ReferenceBackend | 'minimal-js'

/** The reference: 0.4.0 with its log in the object, 0.4.0 with its log in D1, and 0.3.1. */
export type ReferenceBackend = keyof typeof references

/** The token that every backend started here accepts. */
export const authToken = 'token-of-the-tests'

/** The token of LiveStore's templates, which `.dev.vars` sets. */
export const templateToken = 'insecure-token-change-me'

export interface ServerOptions {
  readonly backend?: Backend
  /** Folder below the root that holds our build; by default what the variable SYNC_WORKER_DIST names, else `dist`. */
  readonly dist?: string
  /** Folder of Durable Object and D1 storage; a fresh one, removed on stop, when absent. */
  readonly storage?: string
  /** Variables of the Worker, over the defaults of the harness; `undefined` takes a default away. */
  readonly vars?: Readonly<Record<string, string | undefined>>
  /** Name of the Durable Object binding and class; `undefined` for a Worker without any. */
  readonly binding?:
    | {
        readonly name: string
        readonly className: string
        /** False for a class that has key-value storage alone. */ readonly useSQLite?: boolean
      }
    | undefined
  /** Further Durable Object classes, by binding. */
  readonly objects?: Readonly<Record<string, string>>
  /** Whether there is a D1 database, bound as `DB`, and so it is by default; or which, by binding. Nothing is done with it
   *  unless `BACKUP` or `ADOPT_D1` says otherwise. */
  readonly database?: boolean | Readonly<Record<string, string>>
  /** Whether `Server.sql` works, for which the runtime wraps the Durable Object class. */
  readonly inspect?: boolean
  /** Changes the source of the main module before it is loaded, for faults that cannot be made from outside. */
  readonly edit?: (source: string) => string
  readonly port?: number
  /** Whether `url` leads to the Worker itself, past the development router that `wsUrl` goes through. */
  readonly direct?: boolean
  /** Whether a second Worker runs beside the backend, whose Durable Objects are sync clients of it; or which one. */
  readonly doRpcClients?: boolean | ClientWorker
  /** Whether V8's inspector can be reached, at what `Server.miniflare` names. */
  readonly inspector?: boolean
}

/** A Worker whose Durable Objects are sync clients. */
export interface ClientWorker {
  /** Folder below the root that holds it, and its main file there. */
  readonly bundle: { readonly folder: string; readonly main: string }
  /** Its classes, by the binding under which a sync object reaches them. */
  readonly classes: Readonly<Record<string, string>>
}

export interface Server {
  readonly backend: Backend
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** `ws://127.0.0.1:PORT` */
  readonly wsUrl: string
  /** Where the objects that are sync clients take commands: `http://127.0.0.1:PORT`, another port than that of `url`. */
  readonly doRpcUrl: string | undefined
  /** Process id of workerd. */
  readonly pid: number
  readonly storage: string
  /** Every line that the Worker has logged so far. */
  readonly logs: readonly string[]
  readonly miniflare: Miniflare
  /** Drops the object of a store from memory at once, as an idle time would: its sockets stay open. */
  evict(storeId: string): Promise<void>
  /** Runs a statement inside the object of a store, on the connection that its own statements use. */
  sql(storeId: string, statement: string): Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>
  /** Stops the runtime in order, and removes the storage folder if the harness made it. */
  stop(): Promise<void>
  /** SIGKILLs workerd: nothing of it runs on. The storage folder stays. */
  kill(): Promise<void>
}

const compatibilityDate = '2026-04-07'

/** What Miniflare calls a Worker that was given no name, and what it is called beside another one. */
const [workerNameAlone, workerNameBeside] = ['', 'sync']

/** By which clients' packages each reference is bundled. */
const references = { 'sync-cf': 'v04', 'sync-cf-d1': 'v04', 'sync-cf-0.3': 'v03' } as const

const bundled = (name: ReferenceBackend) => ({ folder: `.cache/peers/${name}`, main: `${name}.js` })

const entries: Record<Backend, { folder: string; main: string }> = {
  'livestore-sync-worker': { folder: 'dist', main: 'worker.js' },
  'sync-cf': bundled('sync-cf'),
  'sync-cf-d1': bundled('sync-cf-d1'),
  'sync-cf-0.3': bundled('sync-cf-0.3'),
  'minimal-js': { folder: 'bench/peers', main: 'minimal-js.mjs' },
}

/** Bundles a reference backend with wrangler, as a user of it would, unless that was done before. */
const bundleReference = (name: ReferenceBackend): void => {
  const { folder, main } = bundled(name)
  const out = join(root, folder)
  const source = join(root, `bench/peers/${name}.mjs`)
  const made = statSync(join(out, main), { throwIfNoEntry: false })
  if (made !== undefined && made.mtimeMs > statSync(source).mtimeMs) return
  mkdirSync(out, { recursive: true })
  const clients = `./tests/clients/${references[name]}/node_modules/@livestore/sync-cf`
  const alias = `@livestore/sync-cf/cf-worker:${clients}/dist/cf-worker/mod.js`
  execFileSync(
    process.execPath,
    [
      join(root, 'node_modules/wrangler/bin/wrangler.js'),
      'deploy',
      source,
      '--dry-run',
      '--name',
      name.replaceAll('.', '-'),
      '--outdir',
      out,
      '--alias',
      alias,
    ]
      .concat(['--compatibility-date', compatibilityDate, '--compatibility-flags', 'nodejs_compat'])
      .concat(['--config', join(root, 'bench/peers/sync-cf.wrangler.toml')]),
    { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, WRANGLER_SEND_METRICS: 'false' } },
  )
}

/** The files of a built Worker as Miniflare modules, the main one first. */
const modulesOf = ({ folder, main }: { folder: string; main: string }) => {
  const path = join(root, folder)
  const besides = (name: string): boolean => name.endsWith('.wasm') || name === 'inspector.js'
  const names = [main, ...readdirSync(path).filter(besides)]
  return names.map((name) => ({
    type: name.endsWith('.wasm') ? ('CompiledWasm' as const) : ('ESModule' as const),
    path: join(path, name),
    contents: readFileSync(join(path, name)),
  }))
}

/** The classes of the client Worker, as they are bound here or, with its name, in another Worker. */
const clientObjects = ({ classes }: ClientWorker, where: { scriptName?: string }) =>
  Object.fromEntries(
    Object.entries(classes).map(([name, className]) => [name, { className, useSQLite: true, ...where }]),
  )

/** The Worker of the sync clients, beside that of `className`. */
const clientWorker = (clients: ClientWorker, scriptName: string, className: string) => {
  const modules = modulesOf(clients.bundle)
  return {
    name: clientWorkerName,
    modules,
    modulesRoot: dirname(modules[0]!.path),
    durableObjects: { ...clientObjects(clients, {}), SYNC_BACKEND_DO: { className, useSQLite: true, scriptName } },
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
  }
}

/** Process ids whose parent is `parent`, with their command names. */
const childrenOf = (parent: number): Array<{ pid: number; command: string }> =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        const command = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        return Number(fields[1]) === parent && fields[0] !== 'Z' ? [{ pid: Number(name), command }] : []
      } catch {
        return [] // the process ended while we looked
      }
    })

/** Starts `options.backend` (ours by default) on a free port and resolves once it answers. */
export const startServer = async (options: ServerOptions = {}): Promise<Server> => {
  const backend = options.backend ?? 'livestore-sync-worker'
  if (backend in references) bundleReference(backend as ReferenceBackend)
  const storage = options.storage ?? mkdtempSync(join(tmpdir(), `${backend}-`))
  const logs: string[] = []
  const before = new Set(childrenOf(process.pid).map((child) => child.pid))
  const usual: NonNullable<ServerOptions['binding']> = { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' }
  const binding = 'binding' in options ? options.binding : usual
  const vars = { AUTH_TOKEN: authToken, ALLOWED_ORIGINS: '*', BACKUP: 'off', ADOPT_D1: 'off', ...options.vars }
  const built = options.dist ?? process.env['SYNC_WORKER_DIST']
  const modules = modulesOf({
    ...entries[backend],
    ...(backend === 'livestore-sync-worker' && built !== undefined ? { folder: built } : {}),
  })
  const [main] = modules
  if (options.edit !== undefined && main !== undefined) main.contents = Buffer.from(options.edit(String(main.contents)))
  const beside =
    options.doRpcClients === true
      ? { bundle: bundleClientWorker(), classes: clientClasses }
      : options.doRpcClients || undefined
  const workerName = beside ? workerNameBeside : workerNameAlone
  const { className } = binding ?? usual
  const runtime = { compatibilityDate, compatibilityFlags: ['nodejs_compat'] }
  const syncWorker = {
    ...runtime,
    modules,
    modulesRoot: dirname(modules[0]!.path),
    durableObjects: {
      ...(binding === undefined
        ? {}
        : { [binding.name]: { className: binding.className, useSQLite: binding.useSQLite ?? true } }),
      ...Object.fromEntries(
        Object.entries(options.objects ?? {}).map(([name, className]) => [name, { className, useSQLite: true }]),
      ),
      ...(beside ? clientObjects(beside, { scriptName: clientWorkerName }) : {}),
    },
    d1Databases:
      typeof options.database === 'object' ? { ...options.database } : options.database === false ? {} : { DB: 'DB' },
    bindings: Object.fromEntries(
      Object.entries(vars).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
    ...(options.direct === true ? { unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }] } : {}),
  }
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: '127.0.0.1',
      port: options.port ?? 0,
      log: new Log(LogLevel.ERROR),
      handleStructuredLogs: ({ message }) => logs.push(message),
      ...(options.inspector === true ? { inspectorPort: 0 } : {}),
      resourcePersistencePath: storage,
      unsafeInspectDurableObjects: options.inspect ?? false,
      ...(beside
        ? {
            workers: [
              { ...syncWorker, name: workerName },
              { ...runtime, ...clientWorker(beside, workerName, className) },
            ],
          }
        : syncWorker),
    }),
  )
  const address = await miniflare.ready.catch(async (error: unknown) => {
    // What is left of a runtime that did not start would keep this process alive.
    await miniflare.dispose().catch(() => {})
    throw error
  })
  const workerd = childrenOf(process.pid).find((child) => !before.has(child.pid) && child.command === 'workerd')
  if (workerd === undefined) throw new Error('the runtime started, but no new workerd process was found')
  const doRpcUrl = beside ? await miniflare.unsafeGetDirectURL(clientWorkerName) : undefined
  const direct = options.direct === true ? await miniflare.unsafeGetDirectURL(workerName) : undefined
  const removeStorage = (): void => {
    if (options.storage === undefined) rmSync(storage, { recursive: true, force: true })
  }
  return {
    backend,
    url: direct?.origin ?? `http://127.0.0.1:${address.port}`,
    wsUrl: `ws://127.0.0.1:${address.port}`,
    doRpcUrl: doRpcUrl?.origin,
    pid: workerd.pid,
    storage,
    logs,
    miniflare,
    evict: (storeId) =>
      miniflare.unsafeEvictDurableObject(workerName, className, { name: storeId, webSockets: 'hibernate' }),
    sql: async (storeId, statement) => {
      const storage = await miniflare.unsafeGetDurableObjectStorage(workerName, className, { name: storeId })
      return storage.exec(statement)
    },
    stop: async () => {
      await miniflare.dispose()
      removeStorage()
    },
    kill: async () => {
      process.kill(workerd.pid, 'SIGKILL')
      await miniflare.dispose().catch(() => {})
    },
  }
}
