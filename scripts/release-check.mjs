// Whether what is checked out can be released as the version that package.json names: versions agree, nothing is uncommitted,
// the tag is free, and the package holds what it should, built from these sources. Says all that is wrong, publishes nothing.
//
//   npm run release:check

import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './toolchain.mjs'

/** @type {string[]} */
const faults = []

/** @param {string} path */
const text = (path) => readFileSync(join(root, path), 'utf8')

/** @param {string} command
 * @param {string[]} args */
const output = (command, args) => {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (status === 0) return stdout.trim()
  faults.push(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`)
  return ''
}

/** Runs a command whose own words say what is wrong.
 * @param {string[]} args of Node */
const passes = (args) => {
  console.log(`release: node ${args.join(' ')}`)
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) faults.push(`node ${args.join(' ')} failed`)
}

/** @type {{ version: string, private?: boolean }} */
const manifest = JSON.parse(text('package.json'))
const { version } = manifest
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) faults.push(`package.json: version ${version} is no semantic version`)
if (manifest.private) faults.push('package.json: "private" is true, so npm publishes nothing')

/** @type {{ version: string, packages: Record<string, { version: string }> }} */
const lock = JSON.parse(text('package-lock.json'))
const named = {
  'package-lock.json, version': lock.version,
  'package-lock.json, packages[""].version': lock.packages['']?.version,
  'Cargo.toml': /^version = "(.+)"/m.exec(text('Cargo.toml'))?.[1],
  'Cargo.lock': /\nname = "livestore-sync-worker"\nversion = "(.+)"/.exec(text('Cargo.lock'))?.[1],
}
for (const [place, found] of Object.entries(named))
  if (found !== version) faults.push(`${place}: ${found}, but package.json has ${version}`)

// The changes of this version stand under it, with its day, above those of all others, and nothing is left above them.
const [, unreleased = '', ...sections] = text('CHANGELOG.md').split(/^## /m)
if (!/^Unreleased\s*$/.test(unreleased))
  faults.push('CHANGELOG.md: the first heading is to be "Unreleased", with nothing below it')
const heading = sections[0]?.split('\n')[0] ?? 'there is none'
const day = heading.startsWith(`${version} - `) ? heading.slice(version.length + 3) : ''
if (!/^\d{4}-\d{2}-\d{2}$/.test(day))
  faults.push(`CHANGELOG.md: the second heading is to be "${version} - <year>-<month>-<day>", and is: ${heading}`)
else if (!/^- /m.test(sections[0] ?? '')) faults.push(`CHANGELOG.md: nothing is listed under ${version}`)

const changed = output('git', ['status', '--porcelain'])
if (changed !== '') faults.push(`git: not committed:\n${changed.replace(/^/gm, '    ')}`)
const tag = `v${version}`
if (output('git', ['tag', '--list', tag]) !== '') faults.push(`git: the tag ${tag} exists here`)
if (output('git', ['remote']).split('\n').includes('origin')) {
  const there = output('git', ['ls-remote', '--tags', 'origin', `refs/tags/${tag}`])
  if (there !== '') faults.push(`git: the tag ${tag} exists at origin`)
}

if (faults.length === 0) {
  // A time of change says little of a checkout, so what is there already counts for nothing.
  rmSync(join(root, 'dist'), { recursive: true, force: true })
  passes(['scripts/build.mjs'])
  // What is in the package, how large it is, and that it takes nothing else along.
  passes(['--test', '--test-force-exit', 'tests/package/tarball.test.ts'])
}

if (faults.length > 0) {
  for (const fault of faults) console.error(`release: ${fault}`)
  console.error(`release: FAILED: ${version} cannot be released like this`)
  process.exit(1)
}
console.log(`release: ${version} can be released: ${output('git', ['rev-parse', 'HEAD'])}`)
