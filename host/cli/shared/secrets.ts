/** Secrets come from the environment alone: a flag would be in the shell's history, and in the list of processes. */
import { Failure, UsageError } from '../command.ts'

/** The variable for each flag that somebody may try. */
const variables: Readonly<Record<string, string>> = {
  secret: 'LIVESTORE_ADMIN_SECRET',
  'admin-secret': 'LIVESTORE_ADMIN_SECRET',
  password: 'LIVESTORE_ADMIN_SECRET',
  token: 'LIVESTORE_ADMIN_SECRET',
  'jwt-secret': 'JWT_SECRET',
  'jwt-private-key': 'JWT_PRIVATE_KEY',
  'private-key': 'JWT_PRIVATE_KEY',
  key: 'JWT_PRIVATE_KEY',
}

/** Says so if somebody hands a secret over as a flag of the command `name`. */
export const refuseSecrets = (name: string, args: readonly string[]): void => {
  for (const argument of args) {
    if (argument === '--') return
    const [, flag = ''] = /^--([a-z-]+)(=|$)/.exec(argument) ?? []
    if (!Object.hasOwn(variables, flag)) continue
    const variable = name === 'doctor' && flag === 'token' ? 'LIVESTORE_SYNC_TOKEN' : variables[flag]
    throw new UsageError(
      `${name}: a secret is no flag, since flags are kept in the shell's history: there is no --${flag}. Set the variable ${variable}, and change a secret that was typed here`,
    )
  }
}

/** The secret of the administration. */
export const adminSecret = (name: string): string => {
  const secret = process.env['LIVESTORE_ADMIN_SECRET']
  if (secret === undefined || secret === '')
    throw new Failure(
      `${name}: the variable LIVESTORE_ADMIN_SECRET is not set: it has to be the ADMIN_SECRET of the sync backend`,
    )
  // What a header cannot hold is not what the server has either, and the error for it would show the secret.
  if (!/^[\x21-\x7e]+$/.test(secret))
    throw new Failure(`${name}: LIVESTORE_ADMIN_SECRET has a space, a line break or a letter that no header takes`)
  return secret
}
