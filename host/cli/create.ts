/**
 * `create`: writes an example app of this package into a folder of its own, with its sync backend.
 *
 * The package holds the examples as the repository has them. Two of their folders make an app: its own, and the one that
 * both apps share, which lies beside it there and within it here.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { type Command, Failure, UsageError } from './command.ts'
import { packageFolder, packageName, packageVersion } from './package.ts'

/** The folder in `examples` for each release of LiveStore. */
const apps = { '0.4': 'todomvc', '0.3': 'todomvc-0.3' } as const

type Release = keyof typeof apps

const releases = Object.keys(apps) as readonly Release[]
const isRelease = (value: unknown): value is Release => releases.some((release) => release === value)

/** What both apps share: its name beside them, and in an app that is created. */
const sharedBeside = 'todomvc-shared'
const sharedWithin = 'shared'

export const create: Command = {
  operands: '<folder>',
  summary: 'writes a todo app with its sync backend into a new folder',
  flags: { livestore: { value: '<release>', help: `the release of LiveStore: ${releases.join(' or ')}` } },
  run: ({ operands: [folder, ...more], flags: { livestore = '0.4' } }) => {
    if (folder === undefined || folder === '') throw new UsageError('create: which folder?')
    if (more[0] !== undefined) throw new UsageError(`create: one folder at a time, not '${more[0]}' as well`)
    if (!isRelease(livestore))
      throw new UsageError(`create: --livestore is ${releases.join(' or ')}, not '${livestore}'`)
    const target = resolve(folder)
    const files = filesOf(livestore, nameOf(target))
    write(target, files)
    console.log(nextSteps(folder, target, livestore))
    const { engines } = JSON.parse(files.get('package.json') ?? '{}') as { engines?: { node?: string } }
    if (!isNew(process.versions.node, engines?.node ?? ''))
      console.error(`\nThis is Node ${process.versions.node}, and the app needs ${engines?.node}: install that first.`)
  },
}

/** What the app is called: a name that npm and Cloudflare take, as near to the folder's as there is. */
const nameOf = (target: string): string =>
  basename(target)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replaceAll(/^-|-$/g, '') || 'todo'

/** The app's files, by path. */
const filesOf = (release: Release, name: string): ReadonlyMap<string, string> => {
  const examples = join(packageFolder, 'examples')
  const files = new Map([
    ...textsBelow(join(examples, apps[release])),
    ...[...textsBelow(join(examples, sharedBeside))].map(([path, text]) => [join(sharedWithin, path), text] as const),
  ])
  for (const [path, text] of files) {
    const moved = text
      .replaceAll(`../../${sharedBeside}/`, `../${sharedWithin}/`)
      .replaceAll(`../${sharedBeside}/`, `./${sharedWithin}/`)
    files.set(path, moved)
  }
  const textOf = (path: string): string => {
    const text = files.get(path)
    if (text === undefined) throw new Error(`${apps[release]} has no ${path}`)
    return text
  }
  // Who deploys two of them has two Workers, and two databases.
  const [, worker = ''] = /^name = "(.+)"$/m.exec(textOf('wrangler.toml')) ?? []
  for (const path of ['wrangler.toml', 'README.md']) files.set(path, textOf(path).replaceAll(worker, `${name}-sync`))
  files.set('package.json', manifestOf(textOf('package.json'), name))
  files.set('.gitignore', ['node_modules/', 'dist/', '.wrangler/', '.dev.vars*', '*.local', ''].join('\n'))
  return files
}

const manifestOf = (text: string, name: string): string => {
  const { description: _, ...manifest } = JSON.parse(text) as { description: string; dependencies: object }
  const dependencies = { ...manifest.dependencies, [packageName]: packageVersion }
  return `${JSON.stringify({ ...manifest, name, dependencies }, undefined, 2)}\n`
}

/** What an example has beside its sources once it was installed, built or run. */
const isMade = (path: string): boolean => /^(node_modules|dist|\.wrangler|package-lock\.json)$|^\.dev\.vars/.test(path)

/** The sources below a folder, by their path in it. */
const textsBelow = (folder: string, below = folder): ReadonlyMap<string, string> => {
  const entries = readdirSync(below, { withFileTypes: true })
  return new Map(
    entries.flatMap((entry): ReadonlyArray<readonly [string, string]> => {
      const path = join(below, entry.name)
      const name = relative(folder, path)
      if (isMade(name)) return []
      return entry.isDirectory() ? [...textsBelow(folder, path)] : [[name, readFileSync(path, 'utf8')]]
    }),
  )
}

/** Writes all of the files or none: they are written aside, on the same file system, and moved when they are complete. */
const write = (target: string, files: ReadonlyMap<string, string>): void => {
  const isThere = existsSync(target)
  if (isThere) mustBeEmpty(target)
  const moved: string[] = []
  let aside: string | undefined
  try {
    if (!isThere) mkdirSync(dirname(target), { recursive: true })
    aside = mkdtempSync(isThere ? join(target, '.create-') : `${target}.create-`)
    const complete = join(aside, 'app')
    for (const [path, text] of files) {
      mkdirSync(dirname(join(complete, path)), { recursive: true })
      writeFileSync(join(complete, path), text)
    }
    if (!isThere) return renameSync(complete, target)
    for (const name of readdirSync(complete)) {
      renameSync(join(complete, name), join(target, name))
      moved.push(join(target, name))
    }
  } catch (error) {
    for (const path of moved) rmSync(path, { recursive: true, force: true })
    throw new Failure(`create: ${target} cannot be written: ${(error as Error).message}`)
  } finally {
    if (aside !== undefined) rmSync(aside, { recursive: true, force: true })
  }
}

const mustBeEmpty = (target: string): void => {
  let names: readonly string[]
  try {
    names = readdirSync(target)
  } catch (error) {
    const isFile = (error as NodeJS.ErrnoException).code === 'ENOTDIR'
    throw new Failure(`create: ${target} ${isFile ? 'is no folder' : `cannot be read: ${(error as Error).message}`}`)
  }
  if (names[0] !== undefined)
    throw new Failure(`create: ${target} is not empty: there is ${names[0]} in it. Name a new folder.`)
}

const nextSteps = (folder: string, target: string, release: Release): string => {
  const shown = /^[\w./\\:@+-]+$/.test(folder) ? folder : JSON.stringify(folder)
  const steps = [...(target === process.cwd() ? [] : [`cd ${shown}`]), 'npm install', 'npm run dev']
  return `${target} has a todo list on LiveStore ${release} and its sync backend. Next:

${steps.map((step) => `  ${step}`).join('\n')}

Then open the page that it names, and the page's address in a second browser: each shows what the other does.`
}

/** Whether a version of Node is one that a range like `>=22.12` takes. */
const isNew = (version: string, range: string): boolean => {
  const [, major = '0', minor = '0'] = /^>=(\d+)\.(\d+)$/.exec(range) ?? []
  const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
  return ownMajor > Number(major) || (ownMajor === Number(major) && ownMinor >= Number(minor))
}
