// Runs the *.test.ts files below a folder, one after the other, by Node's own runner. Without any it fails: that runner
// takes a folder of none for a success. A file ends with its last test, whatever that has left open, and a run that is
// not through after `deadlineMs` is interrupted, for which the runner says which file it was in: what hangs must fail. What
// programs that tests start keep in a user's home, wrangler and Chromium above all, is in .cache/home.
//
//   node scripts/run-tests.mjs tests/workerd [more options of node --test]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './toolchain.mjs'

const deadlineMs = 35 * 60_000

const [folder = 'tests', ...options] = process.argv.slice(2)
const pattern = `${folder}/**/*.test.ts`

const files = globSync(pattern, { cwd: root, exclude: (name) => name === 'node_modules' })
if (files.length === 0) {
  console.error(`tests: FAILED: no file matches ${pattern}`)
  process.exit(1)
}

const limits = ['--test-concurrency=1', '--test-timeout=600000', '--test-force-exit']
const home = join(root, '.cache/home')
const run = spawn(process.execPath, ['--test', ...limits, ...options, ...files.sort()], {
  cwd: root,
  env: { ...process.env, XDG_CONFIG_HOME: join(home, 'config'), XDG_CACHE_HOME: join(home, 'cache') },
  stdio: 'inherit',
})
const deadline = setTimeout(() => {
  console.error(`tests: FAILED: not through after ${deadlineMs / 60_000} minutes`)
  run.kill('SIGINT')
}, deadlineMs)
const [status] = await once(run, 'exit')
clearTimeout(deadline)
process.exit(status ?? 1)
