/**
 * `init`: switches a project from sync-cf's server to this one, and back.
 *
 * Shows what would change first, and changes it once it is told to. A second run finds nothing to do.
 */
import { createTwoFilesPatch } from 'diff'
import { type Command, UsageError } from '../command.ts'
import { type Project, readProject } from '../project/project.ts'
import { ask, isAnswered, type Terminal } from './ask.ts'
import type { Change } from './change.ts'
import type { Stage } from './configuration.ts'
import { planOf, stageMissing } from './plan.ts'
import { apply, recordName, undo, undoing } from './record.ts'

export const init: Command = {
  operands: '[folder]',
  summary: 'switches a project from @livestore/sync-cf/cf-worker to this backend',
  flags: {
    'dry-run': { help: 'shows the changes and makes none' },
    yes: { help: 'makes them without a question' },
    undo: { help: 'takes them back' },
    deployed: { help: 'the Worker is deployed: a class without SQLite gets a successor' },
    'not-deployed': { help: 'nothing is deployed yet: such a class is declared anew' },
  },
  run: async ({ operands: [folder = '.', ...more], flags }) => {
    const { 'dry-run': isDry, yes, undo: isUndo, deployed, 'not-deployed': notDeployed } = flags
    if (more[0] !== undefined) throw new UsageError(`init: one folder at a time, not '${more[0]}' as well`)
    if (folder === '') throw new UsageError('init: which folder?')
    for (const [one, other] of [
      ['dry-run', 'yes'],
      ['deployed', 'not-deployed'],
    ] as const)
      if (flags[one] === true && flags[other] === true) throw new UsageError(`init: --${one} or --${other}, not both`)
    const terminal: Terminal = { input: process.stdin, output: process.stdout }
    const project = readProject(folder)

    const stageOf = async (className: string): Promise<Stage> => {
      if (deployed === true) return 'deployed'
      if (notDeployed === true) return 'new'
      if (!isAnswered(terminal) || yes === true) throw stageMissing(className)
      console.log(`The class ${className} is declared without SQLite, which a deployed class never gets.`)
      return (await ask(terminal, 'Is this Worker deployed already?')) ? 'deployed' : 'new'
    }

    const { changes, notes } =
      isUndo === true ? { changes: undoing(project.folder), notes: [] } : await planOf(project, stageOf)
    if (changes.length === 0) {
      if (isUndo === true && isDry !== true) undo(project.folder)
      return console.log(
        isUndo === true ? 'Nothing is left to undo.' : 'Nothing to do: this project has been switched.',
      )
    }
    console.log(changes.map(shown).join('\n'))
    if (isDry === true) return
    if (yes !== true) {
      if (!isAnswered(terminal))
        throw new UsageError(
          'init: nothing was changed: say --yes to make these changes, since nobody can be asked here',
        )
      if (!(await ask(terminal, isUndo === true ? 'Take this back?' : 'Make these changes?')))
        return console.log('Nothing was changed.')
    }
    if (isUndo === true) undo(project.folder)
    else apply(project.folder, changes)
    console.log(isUndo === true ? undone(project, changes) : [done(project), ...notes].join('\n'))
  },
}

/** The package managers, by the file that each leaves in a project. */
const managers = [
  ['pnpm-lock.yaml', 'pnpm'],
  ['yarn.lock', 'yarn'],
  ['bun.lock', 'bun'],
  ['bun.lockb', 'bun'],
] as const

/** What installs the packages of a project. */
const installing = ({ textOf }: Project): string =>
  `${managers.find(([name]) => textOf(name) !== undefined)?.[1] ?? 'npm'} install`

const done = (project: Project): string => `Done; ${recordName} keeps what \`init --undo\` needs. Next:

  ${installing(project)}
  npx livestore-sync-worker doctor
  npx wrangler deploy
`

/** A class of sync-cf that looks for its log in D1. */
const logInD1 = /\bstorage\s*:\s*\{\s*_tag\s*:\s*['"]d1['"]/

const undone = (project: Project, changes: readonly Change[]): string => {
  const next = `Undone. Next:\n\n  ${installing(project)}\n`
  const moved = changes.find(({ after }) => logInD1.test(after))
  if (moved === undefined) return next
  return `${next}
If it was deployed meanwhile, logs have moved from D1 into their objects, where sync-cf 0.4 finds them without
\`storage\`: take that option out of ${moved.path} before you deploy sync-cf again.
`
}

/** A change as a unified diff, which \`git apply\` reads. */
const shown = ({ path, before, after }: Change): string =>
  createTwoFilesPatch(`a/${path}`, `b/${path}`, before, after, undefined, undefined, { context: 3 })
    .replace(/^=+\n/, '')
    .replace(/\n$/, '')
