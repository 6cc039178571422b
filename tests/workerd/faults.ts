/**
 * Faults inside the core, at a place that a test names: the platform's classes are replaced before the Worker is loaded,
 * and one of them traps, or throws, when the core hands it a certain text.
 *
 * Owns nothing of the product: a server that is started with `edit: withFaults` runs it as it is shipped.
 */
import { knock } from './knock.ts'
import type { Server } from '../harness/server.ts'

export interface Fault {
  /**
   * What happens: the core reads beyond its memory; one of its imports throws, which nobody catches; a socket does not
   * take a frame; or somebody throws who is not the core.
   */
  readonly how: 'trap' | 'throw' | 'refuse' | 'elsewhere'
  /** When: as the core hands over a text that contains this one, or sends it. */
  readonly at: string
  /** How often that passes before. */
  readonly after?: number
}

/** What the thrown error says, which is not to be seen anywhere. */
export const secretOfFault = 'what a user wrote'

const beyondMemory = 0xfffffff0

/** Runs in the Worker, so it may name nothing of this module. */
const prelude = (secret: string, pointer: number): void => {
  type Exports = Record<string, (...args: readonly unknown[]) => unknown>
  const { Instance } = WebAssembly
  type Ordered = { -readonly [Key in keyof Fault]-?: Fault[Key] }
  let [fault, exported] = [undefined as Ordered | undefined, {} as Exports]
  const strike = ({ how }: Fault): void => {
    fault = undefined
    if (how === 'trap') exported['syncobject_alarm']!(pointer)
    if (how === 'throw') throw new Error(secret)
    addEventListener('error', () => console.error('uncaught'), { once: true })
    queueMicrotask(() => {
      throw new WebAssembly.RuntimeError(secret)
    })
  }
  WebAssembly.Instance = function (module: WebAssembly.Module, imports: WebAssembly.Imports) {
    const instance = new Instance(module, imports)
    exported = instance.exports as Exports
    return instance
  } as unknown as typeof Instance
  const { decode } = TextDecoder.prototype
  TextDecoder.prototype.decode = function (...args) {
    const text = decode.apply(this, args)
    if (fault !== undefined && fault.how !== 'refuse' && text.includes(fault.at) && fault.after-- === 0) strike(fault)
    return text
  }
  const { send } = WebSocket.prototype
  WebSocket.prototype.send = function (frame) {
    if (fault?.how === 'refuse' && String(frame).includes(fault.at)) {
      fault = undefined
      throw new Error(secret)
    }
    send.call(this, frame)
  }
  globalThis.URL = class extends URL {
    constructor(...args: ConstructorParameters<typeof URL>) {
      super(...args)
      const ordered = this.searchParams.get('fault')
      if (ordered !== null) fault = { after: 0, ...(JSON.parse(atob(ordered)) as Fault) }
    }
  }
}

/** Changes a Worker's source, so that faults can be ordered. */
export const withFaults = (source: string): string =>
  `(${prelude})(${JSON.stringify(secretOfFault)},${beyondMemory});${source}`

/** Orders a fault, which then happens once. */
export const order = async (server: Pick<Server, 'url'>, fault: Fault): Promise<void> => {
  // In letters that are not those of the text, which passes by here, too.
  await knock(server, { target: `/?fault=${Buffer.from(JSON.stringify(fault)).toString('base64url')}` })
}
