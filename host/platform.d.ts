/** The few things of the Workers runtime that the host is made with. */
declare module 'cloudflare:workers' {
  export class DurableObject<Env> {
    protected readonly ctx: object
    protected readonly env: Env
    constructor(ctx: object, env: Env)
    fetch(request: Request): Response | Promise<Response>
    webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void | Promise<void>
    webSocketClose(socket: WebSocket, code: number, reason: string, wasClean: boolean): void | Promise<void>
    webSocketError(socket: WebSocket, error: unknown): void | Promise<void>
    alarm(): void | Promise<void>
  }
  export const env: object
}

declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}

/** The page of the administration, as `scripts/inspector.mjs` writes it. */
declare module '*/inspector.js' {
  /** The whole document. */
  export const html: string
  /** Its Content-Security-Policy. */
  export const policy: string
  /** Its entity tag, quotes included. */
  export const etag: string
}
