/**
 * The example apps as the tests run them: the page as `vite build` makes it, the Worker as wrangler bundles it.
 *
 * Both are made once and kept below `.cache/browser`, until one of their sources is newer.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/server.ts'

export interface App {
  readonly name: string
  /** Its folder, from the root. */
  readonly folder: string
  /** The Durable Object binding and class of its `wrangler.toml`. */
  readonly binding: { readonly name: string; readonly className: string }
}

export const todomvc: App = {
  name: 'LiveStore 0.4',
  folder: 'examples/todomvc',
  binding: { name: 'SYNC_BACKEND_DO', className: 'SyncBackendDO' },
}

export const todomvc03: App = {
  name: 'LiveStore 0.3',
  folder: 'examples/todomvc-0.3',
  binding: { name: 'WEBSOCKET_SERVER', className: 'WebSocketServer' },
}

/** Where built pages sync, until they are served: the server that hands them out puts a real address there. */
export const syncUrlInPages = 'http://sync.invalid'

/** The folder of the built page, from the root. */
export const builtPage = (app: App): string =>
  made(app, 'page', (out) =>
    run(app, 'vite/bin/vite.js', ['build', '--logLevel', 'error', '--emptyOutDir', '--outDir', join(root, out)], {
      VITE_LIVESTORE_SYNC_URL: syncUrlInPages,
    }),
  )

/** The folder of the bundled Worker, from the root: a main file of the name that the harness starts, and its modules. */
export const builtWorker = (app: App): string =>
  made(app, 'worker', (out) => {
    run(app, 'wrangler/bin/wrangler.js', ['deploy', '--dry-run', '--outdir', join(root, out)])
    renameSync(join(root, out, 'index.js'), join(root, out, 'worker.js'))
  })

const made = (app: App, what: 'page' | 'worker', make: (out: string) => void): string => {
  const out = `.cache/browser/${app.folder.replace('examples/', '')}/${what}`
  const main = join(root, out, what === 'page' ? 'index.html' : 'worker.js')
  const sources = globSync([
    `${app.folder}/*.*`,
    `${app.folder}/.env*`,
    `${app.folder}/src/**/*.*`,
    'examples/todomvc-shared/*.*',
    ...(what === 'worker' ? ['dist/*.*'] : []),
  ])
  const newest = Math.max(...sources.map((source) => statSync(join(root, source)).mtimeMs))
  if (existsSync(main) && statSync(main).mtimeMs > newest) return out
  rmSync(join(root, out), { recursive: true, force: true })
  mkdirSync(join(root, out), { recursive: true })
  make(out)
  return out
}

/** Runs a program of the app's own packages in its folder. */
const run = (app: App, program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void => {
  const path = join(root, app.folder, 'node_modules', program)
  execFileSync(process.execPath, [path, ...args], {
    cwd: join(root, app.folder),
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false', ...env },
  })
}
