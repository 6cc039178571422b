// Changes the core in one place at a time and asks whether a test on the host notices: a seeded sample of what
// cargo-mutants (`cargo install cargo-mutants --locked`) can change, by .cargo/mutants.toml.
//
//   npm run mutants -- [--count 260] [--from 0] [--seed 7] [--only src/backend/admin.rs] [--these FILE] [--list]
//
// Stages, each for what the one before let pass: the tests in `src/` (if the file or its folder has some), those of
// `tests/host` that are quick, all of them.
// `--count` is 0 for all mutants, `--from` how many of the sample were run before, `--only` keeps those whose name holds
// the text, `--these` takes those that a file names, a line each, `--list` names the sample and ends.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './toolchain.mjs'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '260' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    these: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
})

/** Large inputs, or all faults one after the other: they take most of the time and notice little that nothing else does. */
const slow = [
  'a_failure_anywhere_in_a_turn_leaves_all_or_nothing',
  'json_nested_a_million_levels_deep_is_encoded',
  'references_do_not_swell_the_text_beyond_its_bound',
  'pages_are_full_whatever_the_sizes',
  'pages_hold_at_most_900_000_bytes',
  'what_escapes_add_counts_in_the_size_of_a_page',
  'no_frame_by_hand_does_harm',
  'what_is_no_json_is_refused_where_it_is',
]
const skipped = slow.flatMap((test) => ['--skip', test])
/** @type {{ name: string, targets: string[], skipped: string[], env: Record<string, string> }[]} */
const stages = [
  { name: 'src', targets: ['--lib'], skipped, env: { PROPTEST_CASES: '16' } },
  {
    name: 'quick',
    targets: ['--test=host'],
    skipped,
    env: { PROPTEST_CASES: '4', SIMULATION_STEPS: '1500', FUZZ_RUNS: '200' },
  },
  { name: 'all', targets: ['--tests'], skipped: [], env: { FUZZ_RUNS: '2000' } },
]

const target = join(root, 'target/mutants')
const results = join(target, 'results')
/** A copy, always in the same place: the caches stay warm, and the tree can be worked on meanwhile. */
const tree = join(target, 'tree')

/** @param {string} why
 * @returns {never} */
const fail = (why) => {
  console.error(`mutants: FAILED: ${why}`)
  process.exit(1)
}

// A run that was stopped may leave a compiler's cache half written, which is believed and yields a mutant.
const running = join(target, 'running')
if (existsSync(running)) rmSync(join(target, 'mutants/incremental'), { recursive: true, force: true })

const sources = ['Cargo.toml', 'Cargo.lock', '.cargo', 'src', 'fuzz/src', 'tests/host', 'tests/transcripts']
for (const path of ['src', 'tests']) rmSync(join(tree, path), { recursive: true, force: true })
// All of it is newer than what was built, which may be of a mutant if an earlier run was stopped.
for (const path of sources) cpSync(join(root, path), join(tree, path), { recursive: true })

/** @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options] */
const mutants = (args, options) => {
  const { status, stdout, error } = spawnSync('cargo', ['mutants', '--dir', tree, ...args], {
    cwd: tree,
    maxBuffer: 1 << 28,
    ...options,
    env: { ...process.env, CARGO_TARGET_DIR: target, ...options?.env },
  })
  if (error) fail(error.message)
  return { status, text: String(stdout ?? '') }
}

/** A mutant's place in the sample depends on what it changes and not on its line, so that a sample survives edits elsewhere.
 * @param {string[]} names */
const shuffled = (names) => {
  /** @type {Map<string, number>} */
  const seen = new Map()
  const ranked = names.map((name) => {
    const what = name.replace(/:\d+:\d+:/, ':')
    const nth = seen.get(what) ?? 0
    seen.set(what, nth + 1)
    return { name, rank: createHash('sha256').update(`${values.seed} ${nth} ${what}`).digest('hex') }
  })
  return ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1)).map(({ name }) => name)
}

const listed = mutants(['--list', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
if (listed.status !== 0) fail('`cargo mutants --list` (is it installed? `cargo install cargo-mutants --locked`)')
/** @type {string[]} */
const all = JSON.parse(listed.text).map((/** @type {{ name: string }} */ mutant) => mutant.name)
const chosen = shuffled(all).filter((name) => name.includes(values.only))
const from = Number(values.from)
const named = values.these === undefined ? undefined : readFileSync(values.these, 'utf8').split('\n')
const sample = named
  ? chosen.filter((name) => named.includes(name))
  : chosen.slice(from, values.count === '0' ? undefined : from + Number(values.count))
console.log(`mutants: ${sample.length} of ${all.length}, from ${from}, seed ${values.seed}`)
if (values.list) {
  for (const name of sample.sort()) console.log(name)
  process.exit(0)
}
if (sample.length === 0) fail('no mutant is chosen')

const kinds = /** @type {const} */ (['caught', 'missed', 'timeout', 'unviable'])
const begun = Date.now()
const total = { caught: 0, timeout: 0, unviable: 0 }
/** @type {string[]} */
let left = sample

/** Whether tests of the very file, or of its folder, may notice.
 * @param {string} mutant */
const hasOwnTests = (mutant) => {
  const file = join(root, mutant.replace(/:.*/, ''))
  const hasTests = (/** @type {string} */ path) => readFileSync(path, 'utf8').includes('#[cfg(test)]')
  const parent = join(dirname(file), 'mod.rs')
  return hasTests(file) || (existsSync(parent) && hasTests(parent))
}

writeFileSync(running, '')
for (const { name, targets, skipped, env } of stages) {
  const now = name === 'src' ? left.filter(hasOwnTests) : left
  if (now.length === 0) continue
  const output = join(results, name)
  rmSync(output, { recursive: true, force: true })
  mkdirSync(join(output, 'mutants.out'), { recursive: true })
  // Whoever iterates leaves out what an earlier run has caught. (Patterns of names are not heeded for every kind.)
  const others = all.filter((mutant) => !now.includes(mutant))
  writeFileSync(join(output, 'mutants.out/caught.txt'), others.map((mutant) => `${mutant}\n`).join(''))
  const cargoArgs = targets.map((target) => `--cargo-arg=${target}`).concat('--cargo-arg=--locked')
  const options = ['--iterate', '--in-place', '--output', output, '--colors', 'never', ...cargoArgs]
  mutants([...options, '--', '--', ...skipped], { stdio: ['ignore', 'inherit', 'inherit'], env })
  /** @param {string} kind */
  const read = (kind) => {
    const text = readFileSync(join(output, `mutants.out/${kind}.txt`), 'utf8')
    return text.split('\n').filter((line) => line !== '')
  }
  const [caught, missed, timeout, unviable] = kinds.map(read)
  if (!caught || !missed || !timeout || !unviable) throw new Error('unreachable')
  const known = caught.length + missed.length + timeout.length + unviable.length
  if (known !== now.length) fail(`stage ${name}: ${now.length} mutants went in and ${known} came out`)
  total.caught += caught.length
  total.timeout += timeout.length
  total.unviable += unviable.length
  left = left.filter((mutant) => !now.includes(mutant) || missed.includes(mutant))
  const minutes = ((Date.now() - begun) / 60_000).toFixed(1)
  console.log(
    `mutants: stage ${name}: caught ${caught.length}, timeouts ${timeout.length}, left ${left.length}; ${minutes} min`,
  )
}

rmSync(running)
console.log(
  `mutants: caught ${total.caught}, missed ${left.length}, timeouts ${total.timeout}, unviable ${total.unviable}`,
)
for (const name of left) console.log(`  missed ${name}`)
process.exit(left.length === 0 ? 0 : 1)
