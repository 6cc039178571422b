/** The package's command line as this repository has built it, run on project folders that tests write. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { root } from '../harness/server.ts'

/** Files by path; `undefined` for one that is not to be there. */
export type Files = Readonly<Record<string, string | undefined>>

export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs it to its end, with no variables of ours but these. */
export const runCli = (args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd?: string): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const { PATH } = process.env
    const options = { cwd, env: { ...(PATH === undefined ? {} : { PATH }), ...env }, encoding: 'utf8' } as const
    execFile(process.execPath, [join(root, 'dist/cli.js'), ...args], options, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code
      if (typeof status === 'number') resolve({ status, stdout, stderr })
      else reject(error)
    })
  })

export const writeFiles = (folder: string, files: Files): void => {
  for (const [path, text] of Object.entries(files)) {
    if (text === undefined) continue
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
}

/** The texts of all files below a folder, by path. */
export const readFiles = (folder: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(folder, path), readFileSync(path, 'latin1')] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )

/** Runs something in a new folder with these files. */
export const inFolder = async <T>(files: Files, run: (folder: string) => Promise<T>): Promise<T> => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'folder-'))
  try {
    writeFiles(folder, files)
    return await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
