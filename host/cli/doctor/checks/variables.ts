/** Variables and secrets: do they parse, are they ours, do they say who may sync, and does everybody know them. */
import { isTable, textsIn } from '../../project/config-file.ts'
import { devVariables, type Environment, inWords } from '../../project/project.ts'
import type { Answer, Core } from '../core.ts'
import { type Finding, finding, type Place } from '../finding.ts'
import { type Asking, type Check, type Inspection, placeIn, variablesOf } from '../inspection.ts'
import { variableNames } from '../variable-names.ts'
import { hasDatabase } from './database.ts'

/** Those that say who may sync. */
const policies = ['AUTH_TOKEN', 'JWT_SECRET', 'JWT_PUBLIC_KEY', 'JWT_JWKS_URL', 'ALLOW_ANONYMOUS']

/** Those that are no business of a file that is committed. */
const secrets = ['AUTH_TOKEN', 'JWT_SECRET', 'ADMIN_SECRET']

/** What templates have in the place of a secret. */
const isDefault = (value: string): boolean =>
  /^(insecure-token-)?change-?me|change-me-before|^(secret|password|admin|test|token)$/i.test(value.trim())

/** Characters that a secret of a deployment has at least. */
const lengthMin = 16

/** Variables by name, where they stand, and whether they are of a deployment or of this machine. */
interface Variables {
  readonly values: Readonly<Record<string, unknown>>
  readonly placeOf: (name: string) => Place
  readonly words: string
  readonly isLocal: boolean
}

/** What a deployment is given, as far as the configuration says, and what `wrangler dev` is. */
const variableSets = ({ project, environments }: Inspection): ReadonlyArray<readonly [Environment, Variables]> =>
  environments.flatMap((environment) => {
    const deployed: Variables = {
      values: variablesOf(environment),
      placeOf: (name) => placeIn(environment, 'vars', name),
      words: inWords(environment),
      isLocal: false,
    }
    const dev = devVariables(project, environment)
    if (dev === undefined) return [[environment, deployed]] as const
    const { file, values } = dev
    const text = project.textOf(file) ?? ''
    const lineOf = (name: string): number =>
      text.split('\n').findIndex((line) =>
        line
          .replace(/^\s*export\s+/, '')
          .trim()
          .startsWith(name),
      ) + 1
    const local: Variables = {
      values,
      placeOf: (name) => ({ file, line: Math.max(lineOf(name), 1) }),
      words: '',
      isLocal: true,
    }
    // A file for all is that of every environment, and told of once.
    const isShared = environment.name !== undefined && !file.endsWith(`.${environment.name}`)
    return isShared
      ? ([[environment, deployed]] as const)
      : ([
          [environment, deployed],
          [environment, local],
        ] as const)
  })

/** All that a server has: of a deployment what the configuration says, on this machine what secrets add to it. */
export const effective = (
  { project }: Inspection,
  environment: Environment,
  isLocal: boolean,
): Readonly<Record<string, unknown>> => ({
  ...variablesOf(environment),
  ...(isLocal ? devVariables(project, environment)?.values : {}),
  ...(hasDatabase(environment) ? { DB: {} } : {}),
})

/** What the Worker answers a client that has nothing but a store. */
export const greeted = (core: Core, variables: Readonly<Record<string, unknown>>, isLocal: boolean): Promise<Answer> =>
  core(variables, { url: new URL('http://localhost:8787/?storeId=doctor&transport=ws'), isLocal })

export const variables: Check = async (inspection) => {
  if (inspection.servers.length === 0 && inspection.main?.isOurs !== true) return []
  const found = variableSets(inspection).flatMap(([, set]) => [...unknown(set), ...known(inspection, set)])
  const invalid: Finding[] = []
  for (const [environment, set] of variableSets(inspection)) {
    const values = { ...set.values, ...(hasDatabase(environment) ? { DB: {} } : {}) }
    const wrong = await parsing(inspection.core, values, set)
    invalid.push(...wrong)
    if (wrong.length === 0) invalid.push(...(await warned(inspection, values, set)))
  }
  const policy = await Promise.all(inspection.environments.map((environment) => deciding(inspection, environment)))
  return [...invalid, ...found, ...policy.flat()]
}

/** What does not parse, one after the other: the Worker names the first. */
const parsing = async (
  core: Core,
  values: Readonly<Record<string, unknown>>,
  set: Variables,
): Promise<readonly Finding[]> => {
  const found: Finding[] = []
  for (let left = values; ;) {
    const { status, text } = await greeted(core, left, set.isLocal)
    const name = /^Configuration: (\w+) /.exec(text)?.[1]
    if (status !== 500 || name === undefined || left[name] === undefined) return found
    const message = `${text.replace('Configuration: ', '')}${set.words}.`
    found.push(
      finding(
        'variable-invalid',
        message,
        `Correct ${name}: docs/configuration.md has what it may say.`,
        set.placeOf(name),
      ),
    )
    left = { ...left, [name]: undefined }
  }
}

/** What is found of these without asking, or said by secrets that are not here. */
const saidOtherwise = ['AUTH_TOKEN', 'ALLOW_ANONYMOUS', 'ADMIN_SECRET', 'SYNC_BINDING', 'BACKUP']

/** What the Worker tells an operator of its variables: what it takes for something else, and what is unwise. */
const warned = async (
  { core, code }: Asking,
  values: Readonly<Record<string, unknown>>,
  set: Variables,
): Promise<readonly Finding[]> => {
  const secret = 'of doctor, for this one question'
  const { text } = await core(
    { ...values, ADMIN_SECRET: secret },
    {
      url: new URL('http://localhost:8787/admin/v1/config'),
      headers: { Authorization: `Bearer ${secret}` },
      isLocal: set.isLocal,
    },
  )
  const { warnings } = JSON.parse(text) as { warnings: ReadonlyArray<{ name: string; message: string }> }
  return warnings.flatMap(({ name, message }) => {
    // Such a sentence names the variable and what it says.
    const isTakenForAnother = message.startsWith(`${name} `)
    // On this machine much may be that a deployment had better not have; and an app's own code may have decided.
    const isUnwise = !set.isLocal && !code.decidesWho && !saidOtherwise.includes(name)
    if (!isTakenForAnother && !isUnwise) return []
    const says = isTakenForAnother ? message : `${name}: ${message}`
    const fix = `Correct ${name}: docs/configuration.md has what it may say.`
    return [finding('variable-warning', `${says}${set.words}.`, fix, set.placeOf(name))]
  })
}

/** How many letters have to be changed, added or left out to make one word of the other. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...b].entries())
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)))
    row = next
  }
  return row[b.length] ?? 0
}

const unknown = ({ values, placeOf, words }: Variables): readonly Finding[] =>
  Object.keys(values).flatMap((name) => {
    if (variableNames.includes(name)) return []
    const plain = name.toUpperCase().replaceAll('-', '_')
    const meant = variableNames.find((one) => one === plain || distance(one, plain) <= (one.length > 6 ? 2 : 1))
    if (meant === undefined) return []
    return [
      finding(
        'variable-unknown',
        `There is no variable ${name}${words}.`,
        `Call it ${meant}, if that is what you mean.`,
        placeOf(name),
      ),
    ]
  })

/** Secrets that stand in the open, that everybody knows, or that can be guessed. */
const known = ({ code }: Inspection, { values, placeOf, words, isLocal }: Variables): readonly Finding[] => {
  if (isLocal) return []
  return secrets.flatMap((name) => {
    const value = values[name]
    if (typeof value !== 'string' || value.trim() === '') return []
    if (code.decidesWho && name !== 'ADMIN_SECRET') return []
    const place = placeOf(name)
    const fix = `Remove it from ${place.file}, then: npx wrangler secret put ${name} (and a line for this machine in .dev.vars)`
    const parts =
      name === 'AUTH_TOKEN'
        ? value
            .split(',')
            .map((part) => part.trim())
            .filter((part) => part !== '')
        : [value.trim()]
    return [
      finding('secret-in-variables', `The secret ${name} is in the configuration${words}.`, fix, place),
      ...(parts.some(isDefault)
        ? [finding('secret-default', `${name} is a value of templates${words}.`, fix, place)]
        : parts.some((part) => part.length < lengthMin)
          ? [finding('secret-weak', `${name} has less than ${lengthMin} characters${words}.`, fix, place)]
          : []),
    ]
  })
}

/** Who may sync: on this machine, and once deployed. */
const deciding = async (inspection: Asking, environment: Environment): Promise<readonly Finding[]> => {
  const { code, core, project } = inspection
  if (code.decidesWho) return []
  const found: Finding[] = []
  const own = variablesOf(environment)
  if (own['ALLOW_ANONYMOUS'] === 'true' || own['ALLOW_ANONYMOUS'] === true)
    found.push(
      finding(
        'anonymous',
        `Nobody is asked for a token${inWords(environment)}.`,
        'Remove ALLOW_ANONYMOUS, then: npx wrangler secret put AUTH_TOKEN',
        placeIn(environment, 'vars', 'ALLOW_ANONYMOUS'),
      ),
    )
  const local = await greeted(core, effective(inspection, environment, true), true)
  if (local.status === 503) {
    const file = devVariables(project, environment)?.file
    const add =
      file === undefined
        ? "echo 'AUTH_TOKEN=insecure-token-change-me' >> .dev.vars"
        : `Add to ${file}: AUTH_TOKEN=insecure-token-change-me`
    if (environment.name === undefined)
      found.push(
        finding(
          'policy-missing-here',
          'Nothing says who may sync on this machine.',
          `${add} (the token of the templates, which is good here alone)`,
          { file: file ?? '.dev.vars' },
        ),
      )
  }
  const { secrets: needed } = environment.value
  const isNamed = isTable(needed) && textsIn(needed['required']).some((name) => policies.includes(name))
  const isSaid = policies.some((name) => own[name] !== undefined && own[name] !== '' && !secrets.includes(name))
  if (!isNamed && !isSaid && own['AUTH_TOKEN'] === undefined && own['JWT_SECRET'] === undefined)
    found.push(
      finding(
        'secrets-to-set',
        `Who may sync with a deployment has to be said by a secret${inWords(environment)}.`,
        `npx wrangler secret list${environment.flag} shows what is set. Then, if it is not: npx wrangler secret put AUTH_TOKEN${environment.flag} (or JWT_SECRET); ADMIN_SECRET to look into stores`,
        placeIn(environment, 'vars'),
      ),
    )
  if (environment.name !== undefined) found.push(...inherited(inspection, environment))
  return found
}

/** Variables of ours that the top has and an environment lacks. */
const inherited = ({ environments }: Inspection, environment: Environment): readonly Finding[] => {
  const [top] = environments
  if (top === undefined) return []
  const own = variablesOf(environment)
  const lacking = variableNames.filter((name) => variablesOf(top)[name] !== undefined && own[name] === undefined)
  if (lacking.length === 0) return []
  return [
    finding(
      'environment-not-inherited',
      `The environment ${environment.name} does not have ${lacking.join(', ')}.`,
      `Repeat it below [env.${environment.name}.vars].`,
      placeIn(environment),
    ),
  ]
}
