/** `livestore-sync-worker create`, as the package's own command line runs it: what it writes, and what it refuses. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { root } from '../harness/server.ts'
import { type Finished, makeProject, type Project } from './project.ts'

const bin = 'livestore-sync-worker/dist/cli.js'
const { version, name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, string>

let project: Project
before(() => {
  project = makeProject('wrangler', {})
})
after(() => project.remove())

const cli = (...args: readonly string[]): Promise<Finished> => project.run(bin, ...args)

/** Asserts that it ended so, and said this. */
const ends = async (ending: Promise<Finished>, status: number, output: string | RegExp): Promise<void> => {
  const finished = await ending
  if (typeof output === 'string') assert.equal(finished.output.split('\n')[0], output)
  else assert.match(finished.output, output)
  assert.equal(finished.status, status)
}

describe('the command line', () => {
  it('says what there is', async () => {
    await ends(cli('--help'), 0, /Commands:\n {2}create <folder>/)
    await ends(cli('-h'), 0, /Commands:/)
    await ends(cli('create', '--help'), 0, /--livestore <release> .*0\.4 or 0\.3/)
    await ends(cli('--version'), 0, version!)
  })

  it('names what it does not know, and exits with 2', async () => {
    await ends(cli(), 2, `${name}: no command is given`)
    await ends(cli('creat', 'todo'), 2, `${name}: there is no command 'creat'`)
    await ends(cli('toString'), 2, `${name}: there is no command 'toString'`)
    await ends(cli('--livestore', '0.3'), 2, `${name}: there is no flag --livestore`)
    await ends(cli('create', 'todo', '--force'), 2, `${name}: create: Unknown option '--force'`)
    await ends(cli('create', 'todo', '--livestore'), 2, /create: Option '--livestore <value>' argument missing/)
    await ends(cli('create', 'todo', '--livestore', '0.5'), 2, `${name}: create: --livestore is 0.4 or 0.3, not '0.5'`)
    await ends(cli('create', 'todo', '--livestore=valueOf'), 2, /not 'valueOf'/)
    await ends(cli('create'), 2, `${name}: create: which folder?`)
    await ends(cli('create', ''), 2, `${name}: create: which folder?`)
    await ends(cli('create', 'a', 'b'), 2, `${name}: create: one folder at a time, not 'b' as well`)
    await ends(cli('create'), 2, /Try: npx livestore-sync-worker --help/)
    assert.deepEqual(
      readdirSync(project.folder).filter((one) => one !== 'node_modules'),
      ['package.json'],
      'nothing was written',
    )
  })
})

describe('create', () => {
  let at = ''
  beforeEach(() => {
    at = join(project.folder, 'place')
    mkdirSync(at)
  })
  afterEach(() => rmSync(at, { recursive: true, force: true }))

  const textOf = (...path: readonly string[]): string => readFileSync(join(at, ...path), 'utf8')

  const pathsBelow = (folder: string): readonly string[] =>
    readdirSync(join(at, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(at, folder).length + 1))

  for (const [release, app] of [
    ['0.4', 'todomvc'],
    ['0.3', 'todomvc-0.3'],
  ] as const) {
    it(`writes the app for LiveStore ${release}, whole and by itself`, async () => {
      await ends(
        cli('create', 'place/My List', '--livestore', release),
        0,
        /\n {2}cd "place\/My List"\n {2}npm install/,
      )
      const tracked = execFileSync('git', ['ls-files', '-z', app, 'todomvc-shared'], { cwd: join(root, 'examples') })
      const expected = tracked
        .toString()
        .split('\0')
        .filter((path) => path !== '' && !path.endsWith('/package-lock.json'))
        .map((path) => path.replace(`${app}/`, '').replace('todomvc-shared/', 'shared/'))
      assert.deepEqual([...pathsBelow('My List')].sort(), [...expected, '.gitignore'].sort())
      for (const path of pathsBelow('My List')) {
        const text = textOf('My List', path)
        assert.doesNotMatch(text, /todomvc-shared|file:\.\./, `${path} names nothing outside of its folder`)
        for (const [, imported = ''] of text.matchAll(/from '(\.{1,2}\/[^'?]+)/g))
          assert.ok(pathsBelow('My List').includes(join(path, '..', imported)), `${path} imports ${imported}`)
      }
      const manifest = JSON.parse(textOf('My List/package.json'))
      assert.equal(manifest.name, 'my-list')
      assert.equal(manifest.dependencies[name!], version)
      const expectedNames = ['name = "my-list-sync"', 'database_name = "my-list-sync"']
      assert.deepEqual(textOf('My List/wrangler.toml').match(/^(database_)?name = .*$/gm), expectedNames)
      assert.match(textOf('My List/README.md'), /my-list-sync\.YOU\.workers\.dev/)
    })
  }

  it('calls an app what npm and Cloudflare take', async () => {
    for (const [folder, called] of [
      ['Mon Été_2', 'mon-t-2'],
      ['список', 'todo'],
      ['x'.repeat(80), 'x'.repeat(40)],
      ['-a-', 'a'],
    ] as const) {
      await ends(cli('create', `place/${folder}`), 0, /npm run dev/)
      assert.equal(JSON.parse(textOf(folder, 'package.json')).name, called)
    }
  })

  it('makes the folders above, and fills one that is empty', async () => {
    await ends(cli('create', 'place/a/b'), 0, /cd place\/a\/b/)
    assert.deepEqual(readdirSync(join(at, 'a')), ['b'])
    mkdirSync(join(at, 'empty'))
    await ends(cli('create', 'place/empty'), 0, /cd place\/empty/)
    assert.deepEqual(pathsBelow('empty'), pathsBelow('a/b'))
  })

  it('leaves alone what is there, and says what', async () => {
    writeFileSync(join(at, 'notes.txt'), 'mine')
    const refusal = `${name}: create: ${at} is not empty: there is notes.txt in it. Name a new folder.`
    await ends(cli('create', 'place'), 1, refusal)
    await ends(cli('create', 'place/notes.txt'), 1, `${name}: create: ${join(at, 'notes.txt')} is no folder`)
    await ends(cli('create', 'place/notes.txt/todo'), 1, /place\/notes\.txt\/todo cannot be written: E(NOTDIR|EXIST)/)
    assert.deepEqual(readdirSync(at), ['notes.txt'])
    assert.equal(textOf('notes.txt'), 'mine')
  })

  it('says so if this Node is too old for the app', async () => {
    const manifest = join(project.folder, 'node_modules', name!, 'examples/todomvc/package.json')
    const text = readFileSync(manifest, 'utf8')
    const [major = '0', minor = '0'] = process.versions.node.split('.')
    const withRange = (range: string): void => {
      const { engines } = JSON.parse(text)
      writeFileSync(manifest, text.replace(`"${engines.node}"`, `"${range}"`))
    }
    try {
      for (const range of [`>=${Number(major) + 1}.0`, `>=${major}.${Number(minor) + 1}`]) {
        withRange(range)
        await ends(cli('create', `place/${range}`), 0, new RegExp(`This is Node \\S+, and the app needs ${range}`))
      }
      for (const range of [`>=${major}.${minor}`, `>=${Number(major) - 1}.99`]) {
        withRange(range)
        await ends(cli('create', `place/${range}`), 0, /^(?![^]*This is Node)/)
      }
    } finally {
      writeFileSync(manifest, text)
    }
  })

  it('writes nothing where it cannot write all', async () => {
    // A file of the package in the way of a folder stands for a disk that is full.
    const obstacle = join(project.folder, 'node_modules', name!, 'examples/todomvc/shared')
    writeFileSync(obstacle, '')
    try {
      mkdirSync(join(at, 'empty'))
      await ends(cli('create', 'place/new'), 1, /create: .*\/place\/new cannot be written: E\w+: /)
      await ends(cli('create', 'place/empty'), 1, /create: .*\/place\/empty cannot be written: E\w+: /)
      assert.deepEqual(readdirSync(at, { recursive: true }), ['empty'])
    } finally {
      rmSync(obstacle)
    }
  })
})
