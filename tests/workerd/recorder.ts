/**
 * A Durable Object that pulls live, as far as a store's object can tell: it writes down how it is called, and takes the
 * call or not.
 *
 * The bundle is edited: the core is given one binding more, whose objects write a log line for each call.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import type { DoRpcGeneration } from '../clients/do-rpc/remote-object.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { withBindings } from './bindings.ts'
import { call } from './over-do-rpc.ts'
import { type PullOptions, pullFrame } from './peer.ts'

const [mark, binding] = ['called: ', 'RECORDER']

/** What becomes of calls: they are taken, they fail, or are not answered, all of them or the first of each object. */
export type Manner = 'take' | 'fail' | 'hang' | 'hang-once'

/** Changes a Worker's source, so that there are recorders. */
export const withRecorder = (manner: Manner = 'take'): ((source: string) => string) => {
  const recorder = `{
      idFromString: (id) => id,
      get: (id) => ({
        syncUpdateRpc: async (message, storeId) => {
          const called = (globalThis.called ??= new Set())
          const isFirst = !called.has(id)
          called.add(id)
          const bytes = message instanceof Uint8Array ? [...message] : undefined
          console.log(${JSON.stringify(mark)} + JSON.stringify({ id, storeId, bytes, message: bytes ? undefined : message }))
          if (${manner === 'hang'} || (${manner === 'hang-once'} && isFirst)) await new Promise(() => {})
          if (${manner === 'fail'}) throw new Error('this object was told to fail')
        },
      }),
    }`
  return withBindings(`${binding}: ${recorder}`)
}

interface Msgpackr {
  readonly Unpackr: new (options: object) => { unpack(bytes: Uint8Array): unknown }
}

interface Line {
  readonly id: string
  readonly storeId: string
  readonly bytes?: readonly number[]
  readonly message?: object
}

/** The message of a call of the v05 generation. */
const unpacked = (bytes: readonly number[]): unknown => {
  const at = new URL('../clients/v05/package.json', import.meta.url)
  const { Unpackr } = createRequire(at)('msgpackr') as Msgpackr
  return new Unpackr({ useRecords: true }).unpack(Uint8Array.from(bytes))
}

export class Recorder {
  readonly id: string
  readonly generation: DoRpcGeneration
  readonly storeId: string
  readonly #server: () => Server

  constructor(server: () => Server, generation: DoRpcGeneration, storeId: string) {
    this.id = `recorder of ${storeId}`
    this.generation = generation
    this.storeId = storeId
    this.#server = server
  }

  /** Pulls live; resolves with the frames of the answer. */
  pull(options: PullOptions = {}): Promise<readonly string[]> {
    const frame = pullFrame(this.generation, 1, this.storeId, options) as { readonly payload: object }
    const callerContext = { bindingName: binding, durableObjectId: this.id }
    const payload = { ...frame.payload, rpcContext: { callerContext } }
    return call(this.#server(), this.generation, this.storeId, { ...frame, payload })
  }

  /** The messages of all calls so far, each as the text of a frame. */
  calls(): readonly string[] {
    const lines = this.#server()
      .logs.filter((line) => line.startsWith(mark))
      .map((line) => JSON.parse(line.slice(mark.length)) as Line)
      .filter(({ id }) => id === this.id)
    for (const { storeId } of lines) assert.equal(storeId, this.storeId)
    return lines.map(({ bytes, message }) => {
      assert.equal(bytes !== undefined, this.generation === 'v05')
      return JSON.stringify(bytes === undefined ? message : unpacked(bytes))
    })
  }

  /** Resolves once there are so many calls. */
  called(count: number, deadlineMs?: number): Promise<readonly string[]> {
    const claim = `${this.id} is called ${count} times`
    const calls = (): readonly string[] => this.calls()
    return eventually(claim, () => calls().length >= count && calls(), deadlineMs, calls)
  }
}
