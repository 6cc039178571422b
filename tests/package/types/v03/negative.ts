// What must not type-check.
/// <reference types="@cloudflare/workers-types" />
import { handleWebSocket, makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

makeDurableObject({
  // @ts-expect-error an option that there is not
  onPusch: async () => {},
})
makeDurableObject({
  onPush: async (message) => {
    // @ts-expect-error a member that a push has not
    console.log(message.events)
  },
})
makeWorker({
  // @ts-expect-error an option that there is not
  validate: () => {},
})
makeWorker({
  // @ts-expect-error a name is a string
  durableObject: { name: 1 },
})

declare const request: Request
declare const ctx: ExecutionContext
declare const env: { DB: D1Database; ADMIN_SECRET: string }
// @ts-expect-error a header is a string
void handleWebSocket(request, env, ctx, { headers: { 'x-one': 1 } })
// @ts-expect-error an option that there is not
void handleWebSocket(request, env, ctx, { validate: () => {} })
