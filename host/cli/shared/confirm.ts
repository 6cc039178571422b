/** What cannot be taken back is done once somebody has typed the id of the store. */
import { createInterface } from 'node:readline/promises'
import { type Asked, Failure, type Flag, Interrupted, UsageError } from '../command.ts'
import { plain } from './show.ts'

/** The flag of commands that ask. */
export const confirmFlag: Flag = {
  value: '<id>',
  help: 'the id of the store once more, instead of typing it at a terminal',
}

/** Resolves once it is confirmed that `what` is done to a store by the command `name`. */
export const confirm = async (name: string, storeId: string, flags: Asked['flags'], what: string): Promise<void> => {
  const given = flags['confirm']
  if (given !== undefined) {
    if (given === storeId) return
    throw new UsageError(
      `${name}: nothing was done: --confirm is '${plain(String(given))}', and not the id of the store`,
    )
  }
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new UsageError(`${name}: nothing was done: ${what}. To confirm it, add --confirm and the id of the store`)
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const end = new Promise<never>((_, reject) => {
    lines.on('close', () => reject(new Interrupted(`${name}: nothing was done`)))
    lines.on('SIGINT', () => lines.close())
  })
  try {
    const asked = lines.question(`${plain(storeId)}: ${what}.\nType the id of the store to go on: `)
    if ((await Promise.race([asked, end])) === storeId) return
  } finally {
    end.catch(() => {})
    lines.close()
  }
  throw new Failure(`${name}: nothing was done: that is not the id of the store`)
}
