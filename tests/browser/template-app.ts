/**
 * Apps as LiveStore's templates make them: their files, names, options and tools, and the import of sync-cf. What is in the
 * files is our own, and the page is that of the example apps, so that the same hands can work it.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { eventually } from '../clients/waiting.ts'
import { root } from '../harness/server.ts'
import { makeProject, type Project, type Running, type Tools } from '../package/project.ts'
import { type App, todomvc, todomvc03 } from './apps.ts'
import { freePort } from './dev-server.ts'
import { Network } from './network.ts'

export interface Template {
  readonly name: string
  /** Its files, from `tests/browser/templates/`. */
  readonly folder: 'one-worker' | 'two-servers'
  /** The app whose page it has, and whose LiveStore packages. */
  readonly app: App
  readonly tools: Tools
  /** Where clients find the sync backend on its server. */
  readonly path: string
}

/** LiveStore 0.4: page and sync in one Worker, which Cloudflare's plugin runs within Vite. */
export const oneWorker = (tools: 'vite-plugin' | 'vite-plugin-1.13'): Template => ({
  name: `LiveStore 0.4 in one Worker by ${tools}`,
  folder: 'one-worker',
  app: todomvc,
  tools,
  path: '/sync',
})

/** LiveStore 0.3: Vite serves the page, and starts `wrangler dev` for the sync backend. */
export const twoServers: Template = {
  name: 'LiveStore 0.3 beside wrangler dev',
  folder: 'two-servers',
  app: todomvc03,
  tools: 'wrangler',
  path: '/websocket',
}

const main = 'src/cf-worker/index.ts'

interface Ports {
  readonly page: number
  readonly sync: number
}

/** An app on this machine, made of a template. */
export class TemplateApp {
  /** Whether a page is loaded again by Vite's client after the network was cut, for it has lost Vite as well. */
  readonly reloadsPages: boolean
  /** What lies between pages and the sync backend, of {@link url} at any rate. */
  readonly network: Network
  readonly #template: Template
  readonly #project: Project
  readonly #ports: Ports
  #running: Running | undefined

  static async make(template: Template): Promise<TemplateApp> {
    const page = await freePort()
    // In one Worker a page syncs with its own origin.
    const sync = template.folder === 'one-worker' ? page : await freePort()
    return new TemplateApp(template, { page, sync }, await Network.to(sync))
  }

  private constructor(template: Template, ports: Ports, network: Network) {
    this.#template = template
    this.#ports = ports
    this.network = network
    this.reloadsPages = ports.page === ports.sync
    this.#project = makeProject(template.tools, filesOf(template), template.app.folder)
  }

  /** Where its page is that can be cut off from the sync backend. */
  get url(): string {
    return this.reloadsPages ? this.network.url : this.directUrl
  }

  /** Where its page is. In one Worker its network is not cut with the other's; from two servers all pages sync at one address. */
  get directUrl(): string {
    return `http://127.0.0.1:${this.#ports.page}`
  }

  /** The server of the sync backend. */
  get server(): { readonly url: string; readonly path: string } {
    return { url: `http://127.0.0.1:${this.#ports.sync}`, path: this.#template.path }
  }

  /** What its development server has printed. */
  get output(): string {
    return this.#running?.output ?? ''
  }

  /** Makes it what the template makes, with nothing stored. */
  renew(): void {
    for (const [path, text] of Object.entries(filesOf(this.#template))) this.#write(path, text)
    rmSync(join(this.#project.folder, '.wrangler'), { recursive: true, force: true })
  }

  /** Imports the package instead of sync-cf: one line is another afterwards. */
  changeImport(): void {
    const before = this.#read(main).split('\n')
    this.#write(main, replaceOnce(before.join('\n'), '@livestore/sync-cf/cf-worker', 'livestore-sync-worker/cf-worker'))
    const changed = this.#read(main)
      .split('\n')
      .filter((line, index) => line !== before[index])
    assert.equal(changed.length, 1)
    assert.match(changed[0]!, /^import .* from 'livestore-sync-worker\/cf-worker'$/)
  }

  /** Makes the changes that a document shows. Each group of its lines stands for a place in one of the two files. */
  applyDiff(diff: string): void {
    for (const group of diff.trimEnd().split(/\n *\n/)) {
      const lines = group.split('\n')
      const without = (sign: '+' | '-'): string =>
        lines
          .filter((line) => !line.startsWith(sign))
          .map((line) => line.slice(1))
          .join('\n')
      const path = ['wrangler.toml', main].find((name) => this.#read(name).includes(without('+')))
      assert.ok(path, `no file of the template has\n${without('+')}`)
      this.#write(path, replaceOnce(this.#read(path), without('+'), without('-')))
    }
  }

  /** Runs what the template runs by `npm run dev`, on ports of its own. */
  async start(): Promise<void> {
    const { page, sync } = this.#ports
    const running = await this.#project.serve(
      'vite/bin/vite.js',
      ['--host', '127.0.0.1', '--port', String(page), '--strictPort'],
      /Local:\s+(http:\S+)/,
      { SYNC_PORT: String(sync), VITE_LIVESTORE_SYNC_URL: this.network.url },
    )
    this.#running = running
    if (page === sync) return
    const isReady = (): boolean => running.output.includes(`Ready on http://localhost:${sync}`)
    await eventually('wrangler dev is ready', isReady, 60_000, () => running.output)
  }

  /** Ends it at once, with all that it started. */
  async stop(): Promise<void> {
    await this.#running?.stop()
  }

  async remove(): Promise<void> {
    await this.network.stop()
    await this.#project.remove()
  }

  /** How many events of a store sync-cf has put into D1. */
  eventsInD1(storeId: string): number {
    const folder = join(this.#project.folder, '.wrangler/state/v3/d1/miniflare-D1DatabaseObject')
    for (const name of globSync('*.sqlite', { cwd: folder })) {
      const database = new DatabaseSync(join(folder, name), { readOnly: true })
      try {
        const table = `eventlog_7_${storeId}`
        if (database.prepare('SELECT 1 FROM sqlite_master WHERE name = ?').get(table) === undefined) continue
        return Number(database.prepare(`SELECT count(*) AS events FROM "${table}"`).get()!['events'])
      } finally {
        database.close()
      }
    }
    return 0
  }

  #read(path: string): string {
    return readFileSync(join(this.#project.folder, path), 'utf8')
  }

  #write(path: string, text: string): void {
    writeFileSync(join(this.#project.folder, path), text)
  }
}

const replaceOnce = (source: string, text: string, by: string): string => {
  assert.equal(source.split(text).length, 2, `${text}\nstands once in\n${source}`)
  return source.replace(text, () => by)
}

/** The files of a project: the template's, and the page of the example app, which syncs where the template's page would. */
const filesOf = ({ folder, app, path }: Template): Readonly<Record<string, string>> => {
  const read = (file: string): string => readFileSync(join(root, file), 'utf8')
  const ofApp = (file: string): string => read(join(app.folder, file)).replaceAll('../../todomvc-shared/', './shared/')
  const below = (top: string, pattern: string, to = ''): ReadonlyArray<readonly [string, string]> =>
    globSync(`${top}/${pattern}`, { cwd: root }).map((file) => [to + file.slice(top.length + 1), read(file)])
  const page = ofApp('src/main.tsx')
  const address = 'import.meta.env.VITE_LIVESTORE_SYNC_URL'
  const helpers = globSync(`${app.folder}/src/{reported,resuming}.ts`, { cwd: root }).map((file) => basename(file))
  return Object.fromEntries([
    ['index.html', ofApp('index.html')],
    ['src/main.tsx', folder === 'one-worker' ? replaceOnce(page, address, `location.origin + '${path}'`) : page],
    ...helpers.map((name) => [`src/${name}`, ofApp(`src/${name}`)] as const),
    ...below('examples/todomvc-shared', '*.{ts,tsx,css}', 'src/shared/'),
    ...below(`tests/browser/templates/${folder}`, '**/*.*'),
  ])
}
