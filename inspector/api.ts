/**
 * Requests to the administration of this Worker: with the secret in a header, errors in the server's words, and a count of them,
 * since each one about a store wakes its object.
 */
import { Cell } from './cell.ts'

/** A request that failed: with the status and the words of the answer, or 0 where there was none. */
export class Failure extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface Asked {
  /** All requests so far. */
  readonly requests: number
  /** Those about a store, which wake its object. */
  readonly ofStores: number
}

/** Relative to the document, since the Worker may be below a path of its own. */
const root = new URL('admin/v1', location.href).href

/** The path of a store below the administration, and what follows. */
export const storePath = (storeId: string, rest = ''): string => `/stores/${encodeURIComponent(storeId)}${rest}`

/** The address of a path of the administration for a WebSocket. */
export const socketUrl = (path: string): string => (root + path).replace(/^http/, 'ws')

export class Api {
  readonly asked = new Cell<Asked>({ requests: 0, ofStores: 0 })
  readonly #secret: string
  readonly #onRefused: (words: string) => void

  /** `onRefused` is told why the secret is not taken. */
  constructor(secret: string, onRefused: (words: string) => void) {
    this.#secret = secret
    this.#onRefused = onRefused
  }

  /** The answer, if it is one of success. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    this.#count(path)
    const response = await fetch(root + path, {
      ...init,
      headers: { ...init.headers, Authorization: `Bearer ${this.#secret}` },
      credentials: 'omit',
      redirect: 'error',
      cache: 'no-store',
    }).catch((error: unknown) => {
      if (init.signal?.aborted) throw error
      throw new Failure(0, 'The Worker could not be reached')
    })
    if (response.ok) return response
    throw this.#failure(response.status, await response.text())
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    return (await (await this.request(path, init)).json()) as T
  }

  /** Sends `value` as the JSON of a POST. */
  async post<T>(path: string, value?: object): Promise<T> {
    return await this.json<T>(path, { method: 'POST', ...(value ? { body: JSON.stringify(value) } : {}) })
  }

  async text(path: string): Promise<string> {
    return await (await this.request(path)).text()
  }

  /** Reads an answer of lines of JSON as it comes; `onLines` gets what has come since it was called last. */
  async lines<T>(path: string, onLines: (lines: readonly T[]) => void, init?: RequestInit): Promise<void> {
    const { body } = await this.request(path, init)
    if (body === null) return
    let rest = ''
    const reader = body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      const lines = (rest + value).split('\n')
      rest = lines.pop() ?? ''
      if (lines.length > 0) onLines(lines.map((line) => JSON.parse(line) as T))
    }
    if (rest !== '') throw new Failure(0, 'The answer was cut off')
  }

  /** Sends a file as the body of a POST, and tells how much of it is on its way. */
  async upload<T>(path: string, body: Blob, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<T> {
    this.#count(path)
    const request = new XMLHttpRequest()
    request.open('POST', root + path)
    request.setRequestHeader('Authorization', `Bearer ${this.#secret}`)
    request.upload.addEventListener('progress', ({ loaded }) => onProgress(loaded))
    signal.addEventListener('abort', () => request.abort())
    await new Promise<void>((resolve, reject) => {
      request.addEventListener('load', () => resolve())
      request.addEventListener('abort', () => reject(new Failure(0, 'It was given up')))
      request.addEventListener('error', () => reject(new Failure(0, 'The connection broke')))
      request.send(body)
    })
    if (request.status !== 200) throw this.#failure(request.status, request.responseText)
    return JSON.parse(request.responseText) as T
  }

  #failure(status: number, text: string): Failure {
    const words = errorIn(text) ?? `The Worker answered ${status}`
    if (status === 401) this.#onRefused(words)
    return new Failure(status, words)
  }

  #count(path: string): void {
    const { requests, ofStores } = this.asked.value
    this.asked.value = { requests: requests + 1, ofStores: ofStores + (path.startsWith('/stores/') ? 1 : 0) }
  }
}

/** The text of `{"error":"…"}`, or of a short answer in plain words. */
const errorIn = (text: string): string | undefined => {
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown }
    return typeof error === 'string' ? error : undefined
  } catch {
    return text.length > 0 && text.length < 300 ? text : undefined
  }
}
