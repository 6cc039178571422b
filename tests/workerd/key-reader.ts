/**
 * `src/edge/jwt.js` alone in the local Workers runtime: what it makes of keys, and what they find of tokens.
 *
 * Owns the runtime process, and the Worker that calls the module for a test.
 */
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Where keys come from: a secret's bytes, a PEM or JWK text, or an array of JWKs as JSON. */
export type KeysFrom = { readonly secret: readonly number[] } | { readonly text: string } | { readonly array: string }

/** A token, with what its header says unless that is to be told otherwise. */
export interface Shown {
  readonly token: string
  readonly alg?: string
  readonly kid?: string
}

/** What the module says: of keys that are none, what they are instead; null of a set without any. */
interface Said {
  readonly none?: string | null
  readonly findings: readonly string[]
}

const worker = `
import { bytesOfBase64Url, keysOfArray, keysOfSecret, keysOfText, verify } from './src/edge/jwt.js'

const keysFrom = ({ secret, text, array }) =>
  secret ? keysOfSecret(new Uint8Array(secret)) : array === undefined ? keysOfText(text) : keysOfArray(array)

const findings = async ({ from, shown }) => {
  const keys = await keysFrom(from)
  if (typeof keys !== 'object') return { none: keys ?? null, findings: [] }
  // All at once, as requests come.
  return { findings: await Promise.all(shown.map(({ token, alg, kid }) => verify(keys, token, alg, kid))) }
}

export default {
  async fetch(request) {
    const asked = await request.json()
    if ('from' in asked) return Response.json(await findings(asked))
    return Response.json(asked.texts.map((text) => { const bytes = bytesOfBase64Url(text); return bytes ? [...bytes] : null }))
  },
}`

export class KeyReader {
  readonly #miniflare: Miniflare

  private constructor(miniflare: Miniflare) {
    this.#miniflare = miniflare
  }

  static async start(): Promise<KeyReader> {
    const { outputFiles } = buildSync({
      absWorkingDir: root,
      stdin: { contents: worker, resolveDir: root },
      bundle: true,
      write: false,
      format: 'esm',
      target: 'es2024',
    })
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        modules: [{ type: 'ESModule', path: 'worker.js', contents: outputFiles[0]!.text }],
        compatibilityDate: '2026-04-07',
        log: new Log(LogLevel.ERROR),
      }),
    )
    await miniflare.ready
    return new KeyReader(miniflare)
  }

  async #ask<T>(question: object): Promise<T> {
    const body = JSON.stringify(question)
    const answer = await this.#miniflare.dispatchFetch('http://reader', { method: 'POST', body })
    return (await answer.json()) as T
  }

  /** What keys find of tokens. */
  read(from: KeysFrom, ...shown: readonly Shown[]): Promise<Said> {
    const withHeader = ({ token, ...told }: Shown): Shown => {
      const { alg, kid } = JSON.parse(String(Buffer.from(token.split('.')[0]!, 'base64url')))
      return { token, alg, kid, ...told }
    }
    return this.#ask({ from, shown: shown.map(withHeader) })
  }

  /** What texts in base64url decode to; null where one does not. */
  decode(...texts: readonly string[]): Promise<ReadonlyArray<readonly number[] | null>> {
    return this.#ask({ texts })
  }

  stop(): Promise<void> {
    return this.#miniflare.dispose()
  }
}
