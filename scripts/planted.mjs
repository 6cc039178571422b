// Plants the faults of tests/planted/ one at a time, and says which of them no test notices. Each is a patch, below a head
// that says what is broken, who suffers, which tests ought to notice it, and which builds these tests run:
//
//   A short text about the fault and what a user has of it.
//   Test: tests/workerd/http.test.ts -- a pattern of names
//   Build: tests/hooks
//
// `Test` may be there several times; `Build` is the repository's own Worker unless it says otherwise.
//
//   node scripts/planted.mjs                 all of them
//   node scripts/planted.mjs glue- poll-     those whose names begin so
//   node scripts/planted.mjs --check         whether all of them apply, and nothing else
//
// All of it happens in a copy of the working tree below .cache/, which is kept for the compiler's sake.

import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './toolchain.mjs'

const folder = join(root, 'tests/planted')
const copy = join(root, '.cache/planted')
const clean = join(copy, '.cache/clean')
const temporary = join(copy, '.cache/tmp')

/** How long the tests of one fault may take before it counts for one that is not noticed. */
const patienceMs = 300_000

/** A fault, as its file describes it.
 * @typedef {object} Fault
 * @property {string} name
 * @property {string} patch
 * @property {Spec[]} tests
 * @property {string} build the folder of a crate, `.` for the repository's own
 */

/** Tests of one file.
 * @typedef {object} Spec
 * @property {string} file
 * @property {string | undefined} pattern
 */

/** @param {string} message */
const say = (message) => console.log(`planted: ${message}`)

/** @param {string} message @returns {never} */
const fail = (message) => {
  console.error(`planted: failed: ${message}`)
  process.exit(1)
}

/** @param {number} since */
const secondsSince = (since) => `${((Date.now() - since) / 1000).toFixed(0)} s`

/** @param {string} name @returns {Fault} */
const faultOf = (name) => {
  const patch = readFileSync(join(folder, name), 'utf8')
  const [head = ''] = patch.split(/^--- /m, 1)
  const tests = [...head.matchAll(/^Test: (\S+)(?: -- (.+))?$/gm)].map(([, file = '', pattern]) => ({ file, pattern }))
  if (tests.length === 0) fail(`${name} names no test`)
  for (const { file } of tests) if (!existsSync(join(root, file))) fail(`${name} names ${file}, which is not there`)
  return { name: name.replace(/\.patch$/, ''), patch, tests, build: /^Build: (\S+)$/m.exec(head)?.[1] ?? '.' }
}

/** Where the repository has nothing to say: a patch in an ignored folder would be taken for one elsewhere. */
const env = {
  ...process.env,
  GIT_CEILING_DIRECTORIES: dirname(copy),
  TMPDIR: temporary,
  PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}`,
}

/** @param {string} path */
const read = (path) => (existsSync(path) ? readFileSync(path) : undefined)

/** Makes a file of the copy what it is in the repository. One that is so already keeps its time. @param {string} file */
const restore = (file) => {
  const [wanted, there] = [read(join(root, file)), read(join(copy, file))]
  if (wanted === undefined) rmSync(join(copy, file), { force: true })
  else if (there === undefined || !wanted.equals(there)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    writeFileSync(join(copy, file), wanted)
  }
}

/** Makes the copy what the working tree is. What is installed and what is ignored is shared. */
const synchronise = () => {
  const list = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  if (list.status !== 0) fail('git does not list the files of the repository')
  const files = String(list.stdout).split('\0').filter(Boolean)
  const listed = join(copy, '.cache/files.json')
  const before = existsSync(listed) ? JSON.parse(readFileSync(listed, 'utf8')) : []
  for (const file of new Set([...before, ...files])) restore(file)
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true })
  writeFileSync(listed, JSON.stringify(files))
  const shared = ['', 'tests/clients/v03/', 'tests/clients/v04/', 'tests/clients/v05/'].map((at) => `${at}node_modules`)
  for (const path of [...shared, '.cache/tools', '.cache/rust-std', '.cache/peers'])
    if (existsSync(join(root, path)) && !existsSync(join(copy, path))) symlinkSync(join(root, path), join(copy, path))
}

/** The process that works now, with all of its children. @type {import('node:child_process').ChildProcess | undefined} */
let child

const stop = () => {
  try {
    if (child?.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(signal, () => {
    stop()
    process.exit(130)
  })

/** Runs a program of Node in the copy: its status and all that it writes. It is stopped once `isEnough` of it is there.
 * @param {string[]} args
 * @param {number} [patience] in milliseconds
 * @param {(line: string) => boolean} [isEnough]
 * @returns {Promise<{ status: number | null, text: string, isLate: boolean }>}
 */
const run = (args, patience, isEnough = () => false) =>
  new Promise((resolve, reject) => {
    let [text, rest, isLate] = ['', '', false]
    const running = spawn(process.execPath, args, { cwd: copy, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    child = running
    const late = () => {
      isLate = true
      stop()
    }
    const timer = patience === undefined ? undefined : setTimeout(late, patience)
    for (const stream of [running.stdout, running.stderr])
      stream.setEncoding('utf8').on('data', (/** @type {string} */ piece) => {
        text += piece
        const lines = (rest + piece).split('\n')
        rest = lines.pop() ?? ''
        if (lines.some(isEnough)) stop()
      })
    running.on('error', reject)
    running.on('close', (status) => {
      clearTimeout(timer)
      // What its children have begun must not outlive it.
      stop()
      child = undefined
      resolve({ status, text, isLate })
    })
  })

/** Runs tests until one fails.
 * @param {string} file
 * @param {(string | undefined)[]} patterns
 */
const test = async (file, patterns) => {
  const names = patterns.flatMap((pattern) => (pattern === undefined ? [] : [`--test-name-pattern=${pattern}`]))
  const options = ['--test-reporter=tap', '--test-timeout=120000']
  const args = ['--test', ...options, ...(names.length === patterns.length ? names : []), file]
  const isFailure = (/** @type {string} */ line) => /^ *not ok /.test(line)
  const { status, text, isLate } = await run(args, patienceMs, isFailure)
  const failed = text
    .split('\n')
    .find(isFailure)
    ?.replace(/^ *not ok \d+ - /, '')
  return { isPassed: status === 0 && failed === undefined, failed, isLate, passed: namesOfPassed(text) }
}

/** The whole names of tests that passed. @param {string} tap */
const namesOfPassed = (tap) => {
  /** @type {string[]} */
  const path = []
  const names = []
  for (const line of tap.split('\n')) {
    const [, indent = '', name] = /^( *)# Subtest: (.*)$/.exec(line) ?? []
    if (name !== undefined) path.splice(indent.length / 4, path.length, name)
    const [, before = ''] = /^( *)ok \d+ - (?!.*# SKIP)/.exec(line) ?? [undefined]
    if (/^ *ok \d+ - (?!.*# SKIP)/.test(line) && path.length === before.length / 4 + 1) names.push(path.join(' '))
  }
  return names
}

/** @param {string} build */
const compile = async (build) => {
  const { status, text } = await run(['scripts/build.mjs', '--draft', ...(build === '.' ? [] : [build])])
  return { isDone: status === 0, text }
}

/** @param {string} build */
const distOf = (build) => join(copy, build, 'dist')

/** @param {string} build */
const cleanOf = (build) => join(clean, build === '.' ? 'own' : build)

/** Puts the build without faults in place. @param {string} build */
const restoreBuild = (build) => {
  rmSync(distOf(build), { recursive: true, force: true })
  cpSync(cleanOf(build), distOf(build), { recursive: true })
}

/** The files that a patch changes. @param {Fault} fault */
const changedBy = ({ patch }) => [...patch.matchAll(/^\+\+\+ b\/(.+)$/gm)].map(([, file = '']) => join(copy, file))

/** Applies a patch, and tells whether that went well. @param {Fault} fault @param {string} cwd @param {string[]} options */
const plant = ({ patch }, cwd, ...options) =>
  spawnSync('git', ['apply', '--recount', '-C1', '--whitespace=nowarn', ...options], { cwd, env, input: patch })
    .status === 0

/** @param {Fault} fault @param {Set<string>} broken */
const outcomeOf = async (fault, broken) => {
  const unusable = fault.tests.filter((spec) => broken.has(keyOf(spec)))
  if (unusable.length > 0) return `its tests fail, or are none, without it: ${unusable.map(keyOf).join(', ')}`
  const before = changedBy(fault).map((file) => ({ file, text: read(file) }))
  try {
    if (!plant(fault, copy)) return 'does not apply'
    const built = await compile(fault.build)
    if (!built.isDone) return `does not build\n${built.text.replace(/^/gm, '    ')}`
    let isLate = false
    for (const { file, pattern } of fault.tests) {
      const result = await test(file, [pattern])
      if (result.failed !== undefined) return { noticedBy: result.failed }
      isLate ||= result.isLate
    }
    return isLate ? 'not noticed: its tests came to no end' : 'not noticed'
  } finally {
    for (const { file, text } of before) if (text !== undefined) writeFileSync(file, text)
    restoreBuild(fault.build)
  }
}

/** @param {Spec} spec */
const keyOf = ({ file, pattern }) => (pattern === undefined ? file : `${file} -- ${pattern}`)

/** The tests that cannot tell a fault, because they fail without it or are none.
 * @param {Fault[]} faults
 */
const brokenWithout = async (faults) => {
  /** @type {Map<string, (string | undefined)[]>} */
  const files = new Map()
  for (const { file, pattern } of faults.flatMap(({ tests }) => tests))
    files.set(file, [...new Set([...(files.get(file) ?? []), pattern])])
  const broken = new Set()
  /** @param {string} file @param {(string | undefined)[]} patterns */
  const find = async (file, patterns) => {
    const since = Date.now()
    const { isPassed, failed, passed } = await test(file, patterns)
    // Some of them may pass all the same.
    if (!isPassed && patterns.length > 1) {
      for (const pattern of patterns) await find(file, [pattern])
      return
    }
    const isNone = (/** @type {string | undefined} */ pattern) =>
      passed.every((name) => pattern !== undefined && !new RegExp(pattern).test(name))
    for (const pattern of patterns) if (!isPassed || isNone(pattern)) broken.add(keyOf({ file, pattern }))
    say(`${file} without a fault: ${isPassed ? 'passed' : `FAILED: ${failed}`} (${secondsSince(since)})`)
  }
  for (const [file, patterns] of files) await find(file, patterns)
  for (const key of broken) say(`${key}: cannot tell a fault`)
  return broken
}

const started = Date.now()
const wanted = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
const faults = readdirSync(folder)
  .filter((name) => name.endsWith('.patch'))
  .filter((name) => wanted.length === 0 || wanted.some((beginning) => name.startsWith(beginning)))
  .map(faultOf)
if (faults.length === 0) fail(`no fault is called ${wanted.join(' or ')}`)
if (process.argv.includes('--check')) {
  const stale = faults.filter((fault) => !plant(fault, root, '--check'))
  for (const { name } of stale) say(`${name}: does not apply`)
  say(`${faults.length - stale.length} of ${faults.length} apply`)
  process.exit(stale.length === 0 ? 0 : 1)
}

mkdirSync(join(copy, '.cache'), { recursive: true })
const lock = join(copy, '.cache/pid')
const isAlive = (/** @type {number} */ pid) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
if (existsSync(lock) && isAlive(Number(readFileSync(lock, 'utf8')))) fail('another run uses the copy')
writeFileSync(lock, String(process.pid))
process.on('exit', () => rmSync(lock, { force: true }))
synchronise()

for (const build of new Set(['.', ...faults.map(({ build }) => build)])) {
  const since = Date.now()
  const { isDone, text } = await compile(build)
  if (!isDone) fail(`the build without faults\n${text}`)
  rmSync(cleanOf(build), { recursive: true, force: true })
  cpSync(distOf(build), cleanOf(build), { recursive: true })
  say(`built ${build} without a fault (${secondsSince(since)})`)
}
const broken = await brokenWithout(faults)
const missed = []
for (const fault of faults) {
  const since = Date.now()
  const outcome = await outcomeOf(fault, broken)
  if (typeof outcome === 'string') missed.push(`${fault.name}: ${outcome.split('\n', 1)[0]}`)
  const shown =
    typeof outcome === 'string' ? outcome.replace(/^/, 'NOT COUNTED: ') : `noticed by '${outcome.noticedBy}'`
  say(`${fault.name}: ${shown} (${secondsSince(since)})`)
}
for (const line of missed) say(line)
say(`${faults.length - missed.length} of ${faults.length} faults noticed in ${secondsSince(started)}`)
process.exit(missed.length === 0 ? 0 : 1)
