/** Generation v04: the http client of `@livestore/sync-cf` 0.4.0 as published. */
import { makeHttpSync } from '@livestore/sync-cf/client'
import { httpUrlOf, type MakeClient, pollEveryMs } from '../client.ts'
import { startClient } from './sync-client.ts'

/** Often enough for pings to be among whatever else a test sends. */
const pingEveryMs = 500

/** Starts one client; it pings by itself until it is closed. */
export const makeClient: MakeClient = (options) => {
  const construct = makeHttpSync({
    url: httpUrlOf(options.url),
    livePull: { pollInterval: pollEveryMs },
    ping: { requestInterval: pingEveryMs },
  })
  return startClient('http', construct, options)
}
