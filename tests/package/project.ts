/**
 * The projects in which tests use the package as its users do: an empty folder outside this repository, the package
 * unpacked into its node_modules from the tarball that `npm pack` makes, and the tools beside it.
 *
 * Owns: the tarball, which is made once per process, the folders, and what runs in them.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { eventually } from '../clients/waiting.ts'
import { root } from '../harness/server.ts'

/** What else is installed: this repository's own wrangler, and the packages of a folder in `projects/` beside it. */
export type Tools =
  'wrangler' | 'hono' | 'sveltekit' | 'tanstack-start' | 'vite-plugin' | 'vite-plugin-1.13' | 'vitest-plugin'

export interface Project {
  readonly folder: string
  /** Runs the command line of an installed package to its end. */
  run(bin: string, ...args: readonly string[]): Promise<Finished>
  /** Starts a server by it, with further variables, and resolves once `ready` finds its address in what it prints. */
  serve(bin: string, args: readonly string[], ready: RegExp, env?: NodeJS.ProcessEnv): Promise<Running>
  /** Ends all that runs in the project and removes it. */
  remove(): Promise<void>
}

export interface Finished {
  readonly status: number | null
  /** All it printed, without colours. */
  readonly output: string
}

export interface Running {
  /** `http://localhost:PORT` */
  readonly url: string
  /** All it has printed so far, without colours. */
  readonly output: string
  /** Ends it at once, with what it started. */
  stop(): Promise<void>
}

/** A file of the tarball. */
export interface Packed {
  readonly path: string
  readonly size: number
}

export interface Tarball {
  readonly bytes: Uint8Array
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly Packed[]
}

let tarball: Tarball | undefined

/** What would be published; the variable SYNC_WORKER_TARBALL names one to take instead. */
export const pack = (): Tarball => {
  tarball ??= packed()
  return tarball
}

const packed = (): Tarball => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'packed-'))
  try {
    const options = ['--json', '--ignore-scripts', '--pack-destination', folder]
    const [made] = JSON.parse(execFileSync('npm', ['pack', ...options], { cwd: root, encoding: 'utf8' })) as [
      Omit<Tarball, 'bytes'> & { readonly filename: string },
    ]
    return { ...made, bytes: readFileSync(process.env['SYNC_WORKER_TARBALL'] ?? join(folder, made.filename)) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The process groups that run now: none outlives the tests, however these end. */
const running = new Set<number>()

const kill = (group: number): void => {
  if (!running.delete(group)) return
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}

process.once('exit', () => running.forEach(kill))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

/** The packages in a node_modules folder, those of scopes one by one. */
export const packagesIn = (folder: string): readonly string[] =>
  readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) => (name.startsWith('@') ? readdirSync(join(folder, name)).map((one) => `${name}/${one}`) : [name]))

/** Makes `at` a link to `target`, in a folder that may not be there yet. */
export const link = (target: string, at: string): void => {
  mkdirSync(dirname(at), { recursive: true })
  symlinkSync(target, at)
}

/** Where the packages are that a project has beside ours, by their names. */
const packagesOf = (tools: Tools, app: string | undefined): ReadonlyMap<string, string> => {
  const folders = [
    ...(app === undefined ? [] : [join(root, app, 'node_modules')]),
    ...(tools === 'wrangler' ? [] : [join(root, 'tests/package/projects', tools, 'node_modules')]),
  ]
  const installed = folders.flatMap((folder) => packagesIn(folder).map((name) => [name, join(folder, name)] as const))
  return new Map([['wrangler', join(root, 'node_modules/wrangler')], ...installed])
}

/** Makes a project of these files, by path. `app` is an app's folder, from the root, whose packages it has as well. */
export const makeProject = (tools: Tools, files: Readonly<Record<string, string>>, app?: string): Project => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'project-'))
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  mkdirSync(temporaryOf(folder))
  write('package.json', JSON.stringify({ name: 'project', private: true, type: 'module' }))
  for (const [path, text] of Object.entries(files)) write(path, text)
  // What the local runtime would ask the network for otherwise, and warn of where there is none.
  write('node_modules/.mf/cf.json', JSON.stringify({ colo: 'DFW', country: 'US' }))

  // The tools are links, which changes nothing for them: they find their own packages from where they really are.
  const own = join(folder, 'node_modules/livestore-sync-worker')
  for (const [name, path] of packagesOf(tools, app)) {
    const at = join(folder, 'node_modules', name)
    if (at !== own) link(path, at)
  }
  link('../wrangler/bin/wrangler.js', join(folder, 'node_modules/.bin/wrangler'))
  mkdirSync(own, { recursive: true })
  execFileSync('tar', ['-xzf', '-', '--strip-components=1', '-C', own], { input: pack().bytes })

  const started: Array<{ readonly group: number; readonly exited: Promise<unknown> }> = []
  const start = (bin: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    // In a group of its own, so that what it starts ends with it.
    const child = spawn(process.execPath, [join(folder, 'node_modules', bin), ...args], {
      cwd: folder,
      detached: true,
      env: { ...environment(folder), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { pid } = child
    if (pid === undefined) throw new Error(`${bin} does not start`)
    running.add(pid)
    const exited = once(child, 'exit').then(([status]) => {
      kill(pid) // what it started and left
      return status as number | null
    })
    started.push({ group: pid, exited })
    const stop = async (): Promise<void> => {
      kill(pid)
      await exited
    }
    const state = { child, exited, stop, output: '' }
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (state.output += stripVTControlCharacters(text)))
    return state
  }

  return {
    folder,
    run: async (bin, ...args) => {
      const state = start(bin, args)
      await once(state.child, 'close')
      return { status: await state.exited, output: state.output }
    },
    serve: async (bin, args, ready, env) => {
      const state = start(bin, args, env)
      const url = await eventually(
        `${bin} ${args.join(' ')} says where it listens`,
        () => {
          if (state.child.exitCode !== null) throw new Error(`${bin} ended: ${state.output}`)
          return ready.exec(state.output)?.[1]
        },
        120_000,
        () => state.output,
      )
      return {
        url,
        get output() {
          return state.output
        },
        stop: state.stop,
      }
    },
    remove: async () => {
      for (const { group } of started) kill(group)
      await Promise.all(started.map(({ exited }) => exited))
      for (const path of [folder, temporaryOf(folder)]) rmSync(path, { recursive: true, force: true })
    },
  }
}

/** Where the tools of a project put what is temporary: who is killed leaves it there. Inside, those that watch the project would see it. */
const temporaryOf = (folder: string): string => `${folder}-temporary`

/** That of this process, less what would lead a tool of the project out of it or to the network. */
const environment = (folder: string): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_|XDG_)/.test(name))),
  CI: '1',
  HOME: folder,
  NO_COLOR: '1',
  PWD: folder,
  TMPDIR: temporaryOf(folder),
  WRANGLER_SEND_METRICS: 'false',
})
