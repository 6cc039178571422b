/** Generation v04: the WebSocket client of `@livestore/sync-cf` 0.4.0 as published. */
import { makeWsSync } from '@livestore/sync-cf/client'
import type { MakeClient } from '../client.ts'
import { startClient } from './sync-client.ts'

/** Starts one client; it connects by itself and goes on reconnecting until it is closed. */
export const makeClient: MakeClient = (options) => startClient('ws', makeWsSync({ url: options.url }), options)
