/**
 * Runs the package's command line, as it is bundled, against a server of the tests or none.
 *
 * Owns the processes: none outlives the tests, however these end.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { eventually, within } from '../clients/waiting.ts'
import { root, type Server } from '../harness/server.ts'
import { adminSecret } from '../workerd/administration.ts'

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Options {
  /** Over what the command is told of the server; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Options of Node itself. */
  readonly node?: readonly string[]
}

const cli = join(root, 'dist/cli.js')

const running = new Set<ChildProcess>()
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')))

/** A command that runs. */
export class Running {
  readonly #child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''

  constructor(command: string, args: readonly string[], { cwd, env }: Pick<Options, 'cwd' | 'env'>) {
    const set = Object.entries({ PATH: process.env['PATH'], ...env }).filter(([, value]) => value !== undefined)
    const child = spawn(command, args, { env: Object.fromEntries(set) as NodeJS.ProcessEnv, ...(cwd ? { cwd } : {}) })
    this.#child = child
    running.add(child)
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    // Whoever is told something may have ended by then.
    child.stdin.on('error', () => {})
    this.ended = once(child, 'close').then(([status]) => {
      running.delete(child)
      return { status: status as number | null, stdout: this.stdout, stderr: this.stderr }
    })
  }

  /** Types something. */
  type(text: string): void {
    this.#child.stdin?.write(text)
  }

  /** Types nothing more. */
  endInput(): void {
    this.#child.stdin?.end()
  }

  /** Reads nothing of what it prints, until {@link goOn}. */
  stall(): void {
    this.#child.stdout?.pause()
  }

  goOn(): void {
    this.#child.stdout?.resume()
  }

  /** Reads nothing of what it prints any more, and has it know. */
  closeOutput(): void {
    this.#child.stdout?.destroy()
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Resolves once it has printed this. */
  printed(pattern: RegExp, of: 'stdout' | 'stderr' = 'stdout'): Promise<true> {
    return eventually(
      `it prints ${pattern}`,
      () => pattern.test(this[of]) || undefined,
      20_000,
      () => [this.stdout, this.stderr],
    )
  }

  /** How it ends by itself. */
  end(): Promise<Ended> {
    return within('the command ends', this.ended, 30_000)
  }
}

/** A folder for the files of a test file, removed at its end. */
export const folderOf = (): string => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'cli-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The command line, asking this server. */
export class Cli {
  readonly env: Readonly<Record<string, string | undefined>>

  constructor(server?: Pick<Server, 'url'>, env: Readonly<Record<string, string | undefined>> = {}) {
    this.env = { LIVESTORE_SYNC_URL: server?.url, LIVESTORE_ADMIN_SECRET: adminSecret, ...env }
  }

  /** Starts a command. */
  start(args: readonly string[], { env, cwd, node = [] }: Options = {}): Running {
    const options = { env: { ...this.env, ...env }, ...(cwd ? { cwd } : {}) }
    const started = new Running(process.execPath, [...node, cli, ...args], options)
    started.endInput()
    return started
  }

  /** Starts a command at a terminal, which shows both what it prints and what is typed. */
  atTerminal(args: readonly string[], { env, cwd }: Options = {}): Running {
    const quoted = [process.execPath, cli, ...args].map((part) => `'${part.replaceAll("'", `'\\''`)}'`).join(' ')
    const options = { env: { TERM: 'xterm', ...this.env, ...env }, ...(cwd ? { cwd } : {}) }
    return new Running('script', ['-qec', quoted, '/dev/null'], options)
  }

  /** Runs a command to its end. */
  run(args: readonly string[], options?: Options): Promise<Ended> {
    return this.start(args, options).end()
  }

  /** What a command prints that succeeds and has nothing to complain of. */
  async text(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(args)
    assert.deepEqual([status, stderr], [0, ''], stdout)
    return stdout
  }

  /** The one value in JSON that it prints. */
  async json<T = Readonly<Record<string, unknown>>>(...args: readonly string[]): Promise<T> {
    const lines = await this.lines<T>(...args)
    assert.equal(lines.length, 1)
    return lines[0]!
  }

  /** The lines of JSON that it prints. */
  async lines<T = Readonly<Record<string, unknown>>>(...args: readonly string[]): Promise<readonly T[]> {
    return linesIn<T>(await this.text(...args, '--json'))
  }

  /** Asserts that a command fails with this exit code and says this on stderr, and prints nothing else. */
  async fails(args: readonly string[], status: number, says: RegExp, options?: Options): Promise<void> {
    const ended = await this.run(args, options)
    assert.match(ended.stderr, says)
    assert.deepEqual([ended.status, ended.stdout], [status, ''], ended.stderr)
    assert.doesNotMatch(ended.stderr, /^ +at |\bnode:/m, 'no stack is shown')
    assert.ok(!ended.stderr.includes(adminSecret), 'no secret is shown')
  }
}

/** The values in lines of JSON. */
export const linesIn = <T>(text: string): readonly T[] => {
  assert.match(text, /\n$/)
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
}

/** What a terminal would show of this, colours and movements aside. */
export const shown = (text: string): string => stripVTControlCharacters(text).replaceAll('\r', '\n')
