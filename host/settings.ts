/**
 * Options of an app as the variables that the core reads.
 *
 * Owns which names there are, and what becomes of one that is none.
 */
import type { Settings } from './types.ts'

/** All settings. The variable of each is its name in capitals: `maxEventBytes` is `MAX_EVENT_BYTES`. */
const names: Readonly<Record<keyof Settings, true>> = {
  authToken: true,
  jwtSecret: true,
  jwtPublicKey: true,
  jwtJwksUrl: true,
  jwtIssuer: true,
  jwtAudience: true,
  jwtStoreClaim: true,
  jwtAccessClaim: true,
  jwtGraceSeconds: true,
  allowAnonymous: true,
  cookieName: true,
  adminSecret: true,
  allowedOrigins: true,
  devHosts: true,
  jurisdiction: true,
  locationHint: true,
  maxEventBytes: true,
  maxBatchEvents: true,
  maxFrameBytes: true,
  maxStoreBytes: true,
  maxConnections: true,
  pushRate: true,
  backup: true,
  backupDelaySeconds: true,
  compactAfterDays: true,
  restoreEmpty: true,
  adoptD1: true,
  ttlDays: true,
  eventNames: true,
  logLevel: true,
}

/** Each of these says who may sync. */
const policy = ['authToken', 'jwtSecret', 'jwtPublicKey', 'jwtJwksUrl', 'allowAnonymous'] as const

/** A variable's value: `undefined` takes one away that the environment has. */
export type Variables = Record<string, string | undefined>

/** The name of the variable that an option stands for. */
const variableOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/** Throws if an option is none of `known` and no setting: a check that is misspelt would let everything pass. */
export const checkNames = (where: string, options: object, known: readonly string[]): void => {
  for (const name of Object.keys(options)) {
    if (known.includes(name) || Object.hasOwn(names, name)) continue
    throw new TypeError(`${where}: there is no option '${name}'`)
  }
}

/** The settings among `options`, as variables. */
export const variablesOf = (options: Settings, env: object): Variables => {
  const variables: Variables = {}
  for (const name of Object.keys(names) as (keyof Settings)[]) {
    const setting: unknown = options[name]
    const value: unknown = typeof setting === 'function' ? setting(env) : setting
    if (value === undefined || value === null) continue
    variables[variableOf(name)] = Array.isArray(value) ? value.join(',') : String(value)
  }
  return variables
}

/** Whether `options` say who may sync, with variables that belong to them. */
export const hasPolicy = (options: Settings): boolean => policy.some((name) => options[name] !== undefined)

/** Whether the environment says who may sync. */
export const isPolicySet = (env: Readonly<Record<string, unknown>>): boolean =>
  policy.some((name) => Boolean(env[variableOf(name)]))

/** Takes away what the environment says about who may sync. */
export const withoutPolicy = (): Variables => Object.fromEntries(policy.map((name) => [variableOf(name), undefined]))

/** `env` with these variables before its own. Its bindings are looked up in it when they are needed. */
export const environment = (env: object, variables: Variables): object =>
  Object.keys(variables).length === 0 ? env : Object.assign(Object.create(env) as object, variables)
