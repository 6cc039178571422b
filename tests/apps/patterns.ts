/**
 * An app's own Worker as apps write them: several classes with different options, each below a path of its own, and a router.
 */
import { DurableObject } from 'cloudflare:workers'
import {
  CfDeclare,
  type CfTypes,
  handleSyncRequest,
  handleWebSocket,
  makeDurableObject,
  makeWorker,
  matchSyncRequest,
  withSync,
} from 'livestore-sync-worker/cf-worker'
import { decodeSchema, onPull, onPush, payloadSchema, standardSchema } from '../clients/v04/effects.ts'

interface Env {
  readonly ROOM: Namespace<Room>
  readonly STRICT: Namespace<Strict>
  readonly BOARD: Namespace<Board>
  readonly TIMED: Namespace<Timed>
  readonly TELLING: Namespace<Telling>
  readonly EFFECTS: Namespace<Effects>
  readonly DB: CfTypes.D1Database
  readonly MAX_BATCH_EVENTS: string
}

interface Namespace<T> {
  idFromName(name: string): object
  get(id: object): T & { fetch(request: unknown): Promise<Response> }
  newUniqueId(): object
}

/** A class that is extended: its own `env`, own RPC methods, own sockets, `fetch` that calls super. */
export class Room extends makeDurableObject<Env>({
  forwardHeaders: ['Cookie'],
  onPush: async (message, { headers, env, storeId }) => {
    if (message.batch.some(({ name }) => name === 'v1.Private')) {
      const id = /session=(\w+)/.exec(headers?.get('cookie') ?? '')?.[1]
      const found = await env.DB.prepare('SELECT user FROM session WHERE id = ?').bind(id).first<{ user: string }>()
      if (found === null) throw new Error(`nobody is signed in to ${storeId}`)
    }
  },
}) {
  readonly #own: Env

  constructor(ctx: CfTypes.DurableObjectState, env: Env) {
    super(ctx, { ...env, MAX_BATCH_EVENTS: '3' })
    this.#own = env
  }

  /** What it knows of itself, read beside the sync backend. */
  about(): object {
    const table = `eventlog_7_${this.ctx.id.name}`
    const rows = this.ctx.storage.sql.exec(`SELECT count(*) AS events FROM "${table}"`).one()
    return { ...rows, own: this.#own.MAX_BATCH_EVENTS, given: this.env.MAX_BATCH_EVENTS }
  }

  override async fetch(request: CfTypes.Request): Promise<CfTypes.Response> {
    if (!new URL(request.url).pathname.endsWith('/presence')) return super.fetch(request)
    const { 0: client, 1: server } = new CfDeclare.WebSocketPair()
    this.ctx.acceptWebSocket(server, ['presence'])
    server.serializeAttachment({ user: 'ada' })
    return new CfDeclare.Response(null, { status: 101, webSocket: client })
  }

  override webSocketMessage(socket: CfTypes.WebSocket, message: string | ArrayBuffer): void | Promise<void> {
    if (!this.ctx.getTags(socket).includes('presence')) return super.webSocketMessage(socket, message)
    const { user } = socket.deserializeAttachment() as { user: string }
    for (const one of this.ctx.getWebSockets('presence')) one.send(`${user}: ${String(message)}`)
  }
}

/** Options that another class of the same Worker does not have. */
export class Strict extends makeDurableObject({
  maxBatchEvents: 1,
  eventNames: ['v1.Noted'],
  enabledTransports: new Set(['ws', 'http'] as const),
  http: { responseHeaders: { 'X-Strict': 'yes', 'Cache-Control': 'no-cache' } },
}) {}

/** A class that has an object of its own kind below it. */
class Counter extends DurableObject<Env> {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    const { kv } = (this.ctx as unknown as CfTypes.DurableObjectState).storage
    if (pathname.endsWith('/count')) kv.put('count', (kv.get<number>('count') ?? 0) + 1)
    return new Response(`counted ${kv.get<number>('count') ?? 0}`)
  }

  /** Tells everybody; how many that are. */
  broadcast(): number {
    const sockets = (this.ctx as unknown as CfTypes.DurableObjectState).getWebSockets()
    for (const socket of sockets) socket.send('to everybody')
    return sockets.length
  }

  alarm(): void {
    const { kv } = (this.ctx as unknown as CfTypes.DurableObjectState).storage
    kv.put('alarms', (kv.get<number>('alarms') ?? 0) + 1)
  }

  alarms(): number {
    return (this.ctx as unknown as CfTypes.DurableObjectState).storage.kv.get<number>('alarms') ?? 0
  }
}

export class Board extends withSync(Counter) {}

/** A class with an alarm of its own, which says when it was called. */
export class Timed extends makeDurableObject<Env>({ onCommitted: () => Promise.reject(new Error('not yet')) }) {
  async setAlarm(inMs: number): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + inMs)
  }

  async alarmAt(): Promise<number | null> {
    return this.ctx.storage.getAlarm()
  }

  async deleteAlarm(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
  }

  calls(): readonly number[] {
    return this.ctx.storage.kv.get<number[]>('calls') ?? []
  }

  override async alarm(): Promise<void> {
    await super.alarm()
    this.ctx.storage.kv.put('calls', [...this.calls(), Date.now()])
    if (this.calls().length === 1 && this.ctx.storage.kv.get('fails') === true) throw new Error('it fails once')
  }

  fails(): void {
    this.ctx.storage.kv.put('fails', true)
  }
}

/** Hooks that refuse with what they are shown. */
export class Telling extends makeDurableObject<Env>({
  forwardHeaders: (request) => ({ 'X-User': request.headers.get('x-user') ?? 'nobody' }),
  onPush: ({ batch }, { storeId, payload, headers, claims, transport, generation, env, ctx, waitUntil }) => {
    waitUntil(ctx.storage.put('told', batch.length))
    const hasEnv = env.MAX_BATCH_EVENTS !== undefined
    const text = { storeId, payload, headers: [...(headers ?? [])], claims, transport, generation, hasEnv }
    throw new Error(JSON.stringify(text))
  },
}) {}

/** Hooks that are Effects. */
export class Effects extends makeDurableObject<Env>({ onPush, onPull }) {}

const bindings = {
  room: 'ROOM',
  strict: 'STRICT',
  board: 'BOARD',
  timed: 'TIMED',
  telling: 'TELLING',
  effects: 'EFFECTS',
} as const

const schemas = { effect: payloadSchema, standard: standardSchema, decode: decodeSchema }

const bySchema = (name: keyof typeof schemas) =>
  makeWorker<Env, undefined, typeof payloadSchema.Type>({
    syncBackendBinding: 'ROOM',
    syncPayloadSchema: schemas[name],
    validatePayload: ({ authToken, device, roles }, { storeId }) => {
      if (authToken !== 'right') throw new Error(`wrong token for ${storeId}`)
      if (device === 7) throw new Error(`device 7 of a ${roles.join()} is lost`)
    },
  })

export default {
  async fetch(request: CfTypes.Request, env: Env, ctx: CfTypes.ExecutionContext): Promise<CfTypes.Response | Response> {
    const [, first = '', second = ''] = new URL(request.url).pathname.split('/')
    const searchParams = matchSyncRequest(request)
    if (first === 'count') {
      const board = env.BOARD.get(env.BOARD.idFromName(second))
      return board.fetch(request)
    }
    if (first === 'presence') {
      const room = env.ROOM.get(env.ROOM.idFromName(second))
      return room.fetch(request)
    }
    if (first === 'direct') {
      // The app has looked at it, and hands it on as it came.
      const storeId = searchParams?.storeId ?? ''
      return env.TELLING.get(env.TELLING.idFromName(storeId)).fetch(request)
    }
    if (first === 'tenant' && searchParams !== undefined) {
      const own = { ...searchParams, storeId: `${second}-${searchParams.storeId}` }
      return handleSyncRequest({ request, searchParams: own, env, ctx, syncBackendBinding: 'ROOM' })
    }
    if (first === 'v03') {
      const validatePayload = (payload: any) => {
        if (payload?.authToken !== 'right') throw new Error('wrong token')
      }
      const options = { headers: { 'X-Old': 'yes' }, durableObject: { name: 'ROOM' }, validatePayload }
      return handleWebSocket(request, env, ctx, options)
    }
    if (first === 'session') {
      return makeWorker<Env>({
        syncBackendBinding: 'ROOM',
        enableCORS: true,
        validatePayload: async (_payload, { headers, env: own, storeId, transport, waitUntil }) => {
          const id = /session=(\w+)/.exec(headers.get('cookie') ?? '')?.[1]
          const select = (own as Env).DB.prepare('SELECT user FROM session WHERE id = ?')
          const found = await select.bind(id ?? '').first<{ user: string }>()
          waitUntil(Promise.resolve())
          if (found === null) throw new Error(`no session for ${storeId} over ${transport}`)
        },
      }).fetch(request, env, ctx)
    }
    if (first === 'schema') return bySchema(second as keyof typeof schemas).fetch(request, env, ctx)
    if (first === 'unsaid') return makeWorker<Env>({ syncBackendBinding: 'ROOM' }).fetch(request, env, ctx)
    if (first === 'token') {
      const open = { ...env, ALLOW_ANONYMOUS: 'true' }
      return makeWorker<Env>({ syncBackendBinding: 'ROOM', authToken: ['right', 'second'] }).fetch(request, open, ctx)
    }
    if (first === 'misspelt') {
      try {
        makeWorker({ validatPayload: () => {} } as never)
      } catch (error) {
        return new Response(String(error))
      }
    }
    if (first === 'call') {
      const [binding = '', storeId = '', method = '', args = '[]'] = new URL(request.url).pathname
        .split('/')
        .slice(2)
        .map(decodeURIComponent)
      const namespace = env[binding as 'ROOM'] as Namespace<any>
      const given = (JSON.parse(args) as unknown[]).map((one) => (one === 'bytes' ? new Uint8Array([0x90]) : one))
      try {
        return Response.json({ returned: await namespace.get(namespace.idFromName(storeId))[method](...given) })
      } catch (error) {
        return Response.json({ thrown: String(error) })
      }
    }
    if (second === 'websocket' && first in bindings) {
      const name = bindings[first as keyof typeof bindings]
      return handleWebSocket(request, env, ctx, { durableObject: { name } })
    }
    if (searchParams !== undefined && first in bindings) {
      const syncBackendBinding = bindings[first as keyof typeof bindings]
      return handleSyncRequest({
        request,
        searchParams,
        env,
        ctx,
        syncBackendBinding,
        headers: { 'X-App': 'patterns' },
      })
    }
    return new Response('the rest of the app', { status: 404 })
  },
}
