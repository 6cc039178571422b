/**
 * A whole store in a process of its own, which a test can put to sleep and wake as an operating system does.
 *
 * Run as a program it opens the store that its one argument describes and prints the number of its todos whenever that
 * changes. Imported it starts such a program.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { openTodoStore, type TodoStoreOptions } from './store.ts'

const lookEveryMs = 20

/** A store somewhere else. */
export class StoreProcess {
  /** Number of todos it shows; undefined until it is open. */
  count: number | undefined
  readonly #child: ChildProcess

  constructor(options: TodoStoreOptions) {
    const program = fileURLToPath(import.meta.url)
    this.#child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child.stdout?.setEncoding('utf8').on('data', (lines: string) => {
      this.count = Number(lines.trim().split('\n').at(-1))
    })
  }

  /** Stops it from running at all; what the network brings waits in the buffers of the system. */
  sleep(): void {
    this.#child.kill('SIGSTOP')
  }

  wake(): void {
    this.#child.kill('SIGCONT')
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }
}

if (import.meta.main) {
  const store = await openTodoStore(JSON.parse(process.argv[2]!) as TodoStoreOptions)
  let printed: number | undefined
  setInterval(() => {
    const count = store.todos().length
    if (count !== printed) console.log((printed = count))
  }, lookEveryMs)
}
