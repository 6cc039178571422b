// Runs the *.test.ts files below a folder, one after the other, by Node's own runner. Without any it fails: that runner
// takes a folder of none for a success.
//
//   node scripts/run-tests.mjs tests/workerd [more options of node --test]

import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { root } from './toolchain.mjs'

const [folder = 'tests', ...options] = process.argv.slice(2)
const pattern = `${folder}/**/*.test.ts`

const files = globSync(pattern, { cwd: root, exclude: (name) => name === 'node_modules' })
if (files.length === 0) {
  console.error(`tests: FAILED: no file matches ${pattern}`)
  process.exit(1)
}

const args = ['--test', '--test-concurrency=1', '--test-timeout=600000', ...options, ...files.sort()]
const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
if (error) console.error(`tests: FAILED: ${error.message}`)
process.exit(status ?? 1)
