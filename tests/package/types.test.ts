/**
 * The declarations of the package: programs that are written for `@livestore/sync-cf/cf-worker` type-check with the import
 * changed, in every setting in which they type-check without.
 *
 * `types/v04` and `types/v03` hold programs for a release each, among them one of what must not type-check; `types/own`
 * those for what sync-cf has not. All are compiled at once for each setting.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { documentPaths, readDocument } from '../harness/document.ts'
import { root } from '../harness/server.ts'
import { link, makeProject, packagesIn, type Project } from './project.ts'

/** The platform's types, as a package. */
const platformName = '@cloudflare/workers-types'

/** How users compile. */
const settings = {
  /** LiveStore's templates: the page's types, and the platform's over them. */
  template: { types: [platformName] },
  /** A Worker by itself. */
  worker: { lib: ['es2024'], types: [platformName] },
  /** A Worker among pages, without global types of the platform. */
  page: { types: [] },
} as const
type Setting = keyof typeof settings
const settingNames = Object.keys(settings) as readonly Setting[]

/** Where a program may come from, and under which name it imports the package. */
const releases = ['v04', 'v03'] as const
const theirName = '@livestore/sync-cf/cf-worker'
const ownName = 'livestore-sync-worker/cf-worker'

interface Program {
  /** `v04/fetch-match.ts` */
  readonly path: string
  readonly text: string
}

const programs = join(root, 'tests/package/types')

const programsIn = (folder: string): readonly Program[] => {
  const paths = globSync(`${folder}/*.ts`, { cwd: programs }).sort()
  assert.notEqual(paths.length, 0, `there are programs in types/${folder}`)
  return paths.map((path) => ({ path, text: readFileSync(join(programs, path), 'utf8') }))
}

const theirs = releases.flatMap(programsIn)
const own = programsIn('own')

/** Whether a program is written in the platform's global types; 0.3 itself is. */
const needsPlatform = ({ path, text }: Program): boolean =>
  path.startsWith('v03/') || text.includes(`<reference types="${platformName}"`)

/**
 * 0.3's class is in the platform's global types, which the page's types change: to extend it with annotations is possible
 * where nothing changes them.
 */
const onlyWorker = ['v03/subclass.ts']

/**
 * What these hand to packages of LiveStore is of the types that those have, so of one release; and one tells what cannot be
 * cast by that release.
 */
const ofOneRelease = ['v04/client-object.ts', 'v04/client-store.ts', 'v04/fetch-exported-expected.ts']

const canCompileIn = (setting: Setting, program: Program): boolean =>
  setting === 'worker' || (!onlyWorker.includes(program.path) && (setting === 'template' || !needsPlatform(program)))

const moved = ({ path, text }: Program): readonly [string, string] => {
  assert.ok(text.includes(`'${theirName}'`) || path.startsWith('own/'), `${path} imports the package`)
  return [`ours/${path}`, text.replaceAll(`'${theirName}'`, `'${ownName}'`)]
}

/** The documents whose examples a user copies: all but those of the examples themselves. */
const documents = documentPaths.filter((path) => path === 'README.md' || path.startsWith('docs/'))

/** Those that must have some. */
const documentsWithExamples = ['README.md', 'docs/authentication.md', 'docs/frameworks.md', 'docs/typescript.md']

/** The examples of a document, as files of a project; one that imports nothing goes on from those before it. */
const examplesIn = (document: string): ReadonlyArray<readonly [string, string]> =>
  readDocument(document)
    .blocks.filter(({ language }) => language === 'ts')
    .map(({ text }, index) => {
      const imports = text.includes('import ') ? '' : `import { makeDurableObject } from '${ownName}'\n`
      return [`ours/v04/${document.replaceAll('/', '-')}-${index + 1}.ts`, imports + text] as const
    })

const compilerOptions = {
  target: 'es2022',
  module: 'esnext',
  moduleResolution: 'bundler',
  strict: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  skipLibCheck: true,
  noEmit: true,
}

const configOf = (name: string, options: object, files: readonly string[]): readonly [string, string] => [
  `${name}.json`,
  JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, files }),
]

const platformOfClients = join(root, 'tests/clients/v04/node_modules', platformName)

/** A project of these files, whose types of the platform, where it uses them itself, are `platform`. */
const makeTypesProject = (files: ReadonlyArray<readonly [string, string]>, platform: string): Project => {
  const project = makeProject('wrangler', Object.fromEntries(files))
  const install = (name: string, from: string, folder = ''): void =>
    link(from, join(project.folder, folder, 'node_modules', name))
  // Programs of either release see the packages of that release, sync-cf's and what they use beside it.
  for (const release of releases) {
    const installed = join(root, 'tests/clients', release, 'node_modules')
    for (const name of packagesIn(installed).filter((name) => name !== platformName)) {
      install(name, join(installed, name), release)
      install(name, join(installed, name), `ours/${release}`)
    }
  }
  install(platformName, platform)
  install('effect', join(root, 'tests/clients/v04/node_modules/effect'))
  install('jose', join(root, 'node_modules/jose'))
  install('hono', join(root, 'tests/package/projects/hono/node_modules/hono'))
  install('typescript', join(root, 'node_modules/typescript'))
  return project
}

/** The errors in each file, by its path in the project. */
type Errors = ReadonlyMap<string, readonly string[]>

const compile = async (project: Project, config: string): Promise<Errors> => {
  const { status, output } = await project.run('typescript/bin/tsc', '--project', config, '--pretty', 'false')
  const errors = new Map<string, string[]>()
  for (const line of output.split('\n')) {
    const [, path, message] = /^(\S+?)\((\d+,\d+\): error .*)$/.exec(line) ?? []
    if (path !== undefined && message !== undefined) errors.set(path, [...(errors.get(path) ?? []), message])
    else if (line.startsWith('error ')) assert.fail(output)
  }
  assert.equal(status === 0, errors.size === 0, `the compiler says what is wrong: ${output}`)
  return errors
}

describe('declarations', () => {
  let project: Project
  const errorsIn = new Map<Setting, Errors>()
  before(async () => {
    const configs = settingNames.map((setting) => {
      const common = theirs.filter((program) => canCompileIn(setting, program))
      const others = own.filter((program) => canCompileIn(setting, program))
      const files = [...common.map(({ path }) => path), ...[...common, ...others].map((program) => moved(program)[0])]
      return configOf(setting, settings[setting], files)
    })
    const everything = [...theirs, ...own].map((program) => moved(program)[0])
    const all = [
      ...theirs.map(({ path, text }) => [path, text] as const),
      ...[...theirs, ...own].map(moved),
      ...configs,
      configOf('libraries', { ...settings.worker, skipLibCheck: false }, everything),
    ]
    project = makeTypesProject(all, platformOfClients)
    for (const setting of settingNames) errorsIn.set(setting, await compile(project, `${setting}.json`))
  })
  after(() => project.remove())

  /** What the compiler says of a file in a setting. */
  const errorsOf = (setting: Setting, path: string): readonly string[] => errorsIn.get(setting)?.get(path) ?? []

  for (const setting of settingNames) {
    describe(`in the setting '${setting}'`, () => {
      for (const program of theirs.filter((program) => canCompileIn(setting, program))) {
        it(`${program.path} type-checks if it does with sync-cf`, (test) => {
          const wrong = errorsOf(setting, program.path)
          if (wrong[0] !== undefined) return test.diagnostic(`with sync-cf it does not: ${wrong[0]}`)
          assert.deepEqual(errorsOf(setting, moved(program)[0]), [])
        })
      }
      for (const program of own.filter((program) => canCompileIn(setting, program)))
        it(`${program.path} type-checks`, () => assert.deepEqual(errorsOf(setting, moved(program)[0]), []))
    })
  }

  it('are asked for nothing that no user of sync-cf can have', () => {
    for (const program of theirs) {
      const possible = settingNames.filter((setting) => canCompileIn(setting, program))
      const checked = possible.filter((setting) => errorsOf(setting, program.path).length === 0)
      assert.notEqual(checked.length, 0, `${program.path} type-checks with sync-cf in some setting`)
      // What is refused with sync-cf is refused everywhere: nothing there is of the type that fits all.
      if (program.path.endsWith('/negative.ts')) assert.deepEqual(checked, possible, program.path)
    }
  })

  it('have no error of their own', async () => {
    const errors = await compile(project, 'libraries.json')
    assert.deepEqual(
      [...errors].filter(([path]) => path.includes(ownName.split('/')[0]!) || path.startsWith('ours/own/')),
      [],
    )
  })

  it("go with another release of the platform's types than that of the clients", async () => {
    const common = [...theirs, ...own].filter(
      (program) => canCompileIn('template', program) && !ofOneRelease.includes(program.path),
    )
    const files = common.map(moved)
    const paths = files.map(([path]) => path)
    const newest = join(root, 'node_modules', platformName)
    const other = makeTypesProject([...files, configOf('template', settings.template, paths)], newest)
    try {
      const errors = await compile(other, 'template.json')
      const known = (path: string): boolean => errorsOf('template', path).length > 0
      assert.deepEqual(
        [...errors].filter(([path]) => paths.includes(path) && !known(path)),
        [],
      )
    } finally {
      await other.remove()
    }
  })

  it('are those that documents show', async () => {
    const found = documents.filter((document) => examplesIn(document).length > 0)
    assert.deepEqual(found, documentsWithExamples)
    const examples = documents.flatMap(examplesIn)
    const assumed = globSync('documents/*.ts', { cwd: programs }).map(
      (path) => [path.replace('documents', 'ours/v04'), readFileSync(join(programs, path), 'utf8')] as const,
    )
    const paths = [...examples, ...assumed].map(([path]) => path)
    const config = configOf('documents', settings.worker, paths)
    const shown = makeTypesProject([...examples, ...assumed, config], platformOfClients)
    try {
      const errors = await compile(shown, 'documents.json')
      assert.deepEqual(
        [...errors].filter(([path]) => paths.includes(path)),
        [],
      )
    } finally {
      await shown.remove()
    }
  })
})
