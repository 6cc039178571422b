/**
 * The classes of the Workers runtime with the types of `@cloudflare/workers-types`, for apps whose global types are those of a
 * browser.
 */
import type * as CF from '@cloudflare/workers-types'

const runtime = globalThis as unknown as {
  readonly ReadableStream: typeof CF.ReadableStream
  readonly Request: typeof CF.Request
  readonly Response: typeof CF.Response
  readonly WebSocket: typeof CF.WebSocket
  readonly WebSocketPair: typeof CF.WebSocketPair
  readonly WebSocketRequestResponsePair: typeof CF.WebSocketRequestResponsePair
}

export const { ReadableStream, Request, Response, WebSocket, WebSocketPair, WebSocketRequestResponsePair } = runtime
