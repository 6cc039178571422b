#!/usr/bin/env node
/**
 * The package's command line: `npx livestore-sync-worker <command>`. Finds the command, parses what stands behind it, and says
 * what was wrong. Each command is a file of its own, and a line of {@link commands}.
 *
 * Exit codes: 0 done, 1 it could not be done, 2 asked in a wrong way, 130 interrupted, 141 nobody reads what it prints any more;
 * docs/command-line.md has those of single commands.
 */
import { parseArgs } from 'node:util'
import { adopt } from './adopt.ts'
import { backup } from './backup.ts'
import { type Asked, type Command, Failure, type Flag, Interrupted, UsageError } from './command.ts'
import { create } from './create.ts'
import { deleteStore } from './delete.ts'
import { disconnect } from './disconnect.ts'
import { doctor } from './doctor/doctor.ts'
import { exportStore } from './export.ts'
import { importStore } from './import.ts'
import { init } from './init/init.ts'
import { packageName, packageVersion } from './package.ts'
import { reset } from './reset.ts'
import { restore } from './restore.ts'
import { refuseSecrets } from './shared/secrets.ts'
import { status } from './status.ts'
import { stores } from './stores.ts'
import { tail } from './tail.ts'
import { token } from './token.ts'
import { verify } from './verify.ts'

const commands: ReadonlyMap<string, Command> = new Map([
  ['create', create],
  ['doctor', doctor],
  ['init', init],
  ['status', status],
  ['stores', stores],
  ['tail', tail],
  ['export', exportStore],
  ['import', importStore],
  ['backup', backup],
  ['verify', verify],
  ['restore', restore],
  ['reset', reset],
  ['delete', deleteStore],
  ['disconnect', disconnect],
  ['adopt', adopt],
  ['token', token],
])

const main = async ([first, ...rest]: readonly string[]): Promise<void> => {
  if (first === '--help' || first === '-h') return console.log(help)
  if (first === '--version') return console.log(packageVersion)
  if (first === undefined) throw new UsageError('no command is given')
  if (first.startsWith('-')) throw new UsageError(`there is no flag ${first}`)
  const command = commands.get(first)
  if (command === undefined) throw new UsageError(`there is no command '${first}'`)
  refuseSecrets(first, rest)
  const asked = parsed(first, command, rest)
  if (asked.flags['help'] === true) return console.log(helpOf(first, command))
  const code = await command.run(asked)
  if (typeof code === 'number') process.exitCode = code
}

const parsed = (name: string, command: Command, args: readonly string[]): Asked => {
  const options = Object.entries({ ...command.flags, help: helpFlag }).map(
    ([flag, { value }]) => [flag, { type: value === undefined ? 'boolean' : 'string' }] as const,
  )
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: Object.fromEntries(options),
      allowPositionals: true,
    })
    return { operands: positionals, flags: values }
  } catch (error) {
    // It names the flag in its first sentence, and goes on with how to write what was hardly meant.
    const [sentence] = (error as Error).message.split('. ')
    throw new UsageError(`${name}: ${sentence}`)
  }
}

const helpFlag: Flag = { help: 'this text' }

const listed = (rows: ReadonlyArray<readonly [string, string]>): string => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
}

const helpOf = (name: string, { operands, summary, flags }: Command): string => {
  const rows = Object.entries({ ...flags, help: helpFlag }).map(
    ([flag, { value, help }]) => [value === undefined ? `--${flag}` : `--${flag} ${value}`, help] as const,
  )
  return `${packageName} ${name} ${operands} [flags]\n\n${summary}\n\nFlags:\n${listed(rows)}`
}

const help = `${packageName} <command> [flags]

The sync backend for LiveStore apps on Cloudflare.

Commands:
${listed([...commands].map(([name, { operands, summary }]) => [`${name} ${operands}`, summary]))}

Flags:
${listed([
  ['--help', 'this text, and behind a command what there is to know of that'],
  ['--version', 'the version of the package'],
])}`

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(141)
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${packageName}: ${error.message}\nTry: npx ${packageName} --help`)
    process.exitCode = 2
  } else if (error instanceof Failure) {
    console.error(`${packageName}: ${error.message}`)
    process.exitCode = 1
  } else if (error instanceof Interrupted) {
    console.error(`${packageName}: ${error.message}`)
    process.exitCode = 130
  } else {
    throw error
  }
}
