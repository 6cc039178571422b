// What must not type-check.
import { makeDurableObject, makeWorker, withSync } from 'livestore-sync-worker/cf-worker'

interface Env {
  SECRET: string
}

makeDurableObject({
  // @ts-expect-error a setting that there is not
  maxEventByte: 1,
})
makeDurableObject({
  // @ts-expect-error a number
  maxEventBytes: '1',
})
makeDurableObject({
  // @ts-expect-error a place for backups that there is not
  backup: 'r2',
})
makeDurableObject<Env>({
  onCommitted: (message, { env }) => {
    // @ts-expect-error a member that events which are stored have not
    console.log(message.cursor)
    // @ts-expect-error a variable that the environment has not
    console.log(env.SECRETS)
  },
})
makeDurableObject({
  onPull: (message, context) => {
    // @ts-expect-error a boolean
    const live: number = message.live
    // @ts-expect-error a transport that there is not
    console.log(live, context.transport === 'tcp')
  },
})
makeWorker({
  // @ts-expect-error a setting that there is not
  jwtSecrets: 'x',
})
makeWorker({
  syncPayloadSchema: { parse: (value: unknown): { user: string } => value as { user: string } },
  validatePayload: (payload) => {
    // @ts-expect-error a member that is not parsed
    console.log(payload.token)
  },
})
// @ts-expect-error a class
withSync({}, {})
