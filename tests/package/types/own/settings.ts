// Variables of the Worker as options: values, lists, and functions of the environment.
import { makeDurableObject, makeWorker, type Settings } from 'livestore-sync-worker/cf-worker'

interface Env {
  SECRET: string
}

const limits: Settings = { maxEventBytes: 100_000, maxConnections: 100, pushRate: 10, ttlDays: 365 }

export class SyncBackendDO extends makeDurableObject({
  ...limits,
  backup: 'd1',
  compactAfterDays: 'off',
  eventNames: ['v1.*', 'v2.*'],
  logLevel: 'warn',
  adminSecret: (env: Env) => env.SECRET,
}) {}

export const byToken = makeWorker({ authToken: ['one', 'another'], allowedOrigins: 'https://app.example.com' })
export const byJwt = makeWorker({ jwtSecret: (env: Env) => env.SECRET, jwtStoreClaim: 'stores', jwtGraceSeconds: 60 })
export const inEurope = makeWorker({ authToken: 'one', jurisdiction: 'eu', locationHint: 'weur' })
export const open = makeWorker({ allowAnonymous: true })
export const byCookie = makeWorker({ jwtSecret: (env: Env) => env.SECRET, cookieName: 'better-auth.session_data' })
