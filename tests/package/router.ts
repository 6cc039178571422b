/** The router that docs/typescript.md shows, as the main module of an app, and what it shows beside it. */
import assert from 'node:assert/strict'
import { shownIn } from '../harness/document.ts'
import { templateToken } from '../harness/server.ts'

/** Who may sync, which the document leaves to the app: who has this token. */
export const validatePayloadOf = (token: string): string => `const validatePayload = (payload: any) => {
  if (payload?.authToken !== '${token}') throw new Error('Invalid auth token')
}`

/** The first example of a language below the document's heading. */
const shown = (language: 'ts' | 'toml'): string => shownIn('docs/typescript.md', 'A router of your own', language)

/**
 * The router, below the lines that make `app` what has the rest of the requests. It takes those at `/sync`, so that `app` can be
 * asked to sync as well.
 */
export const routerOf = (app: string): string => {
  const everywhere = 'matchSyncRequest(request)'
  const code = shown('ts')
  for (const part of ['app.fetch(', everywhere]) assert.equal(code.split(part).length, 2, part)
  const atSync = `new URL(request.url).pathname === '/sync' ? ${everywhere} : undefined`
  return `${app}\n${validatePayloadOf(templateToken)}\n${code.replace(everywhere, atSync)}`
}

/** The configuration that SvelteKit's adapter is given. */
export const configurationOfSvelteKit = (): string => shown('toml')
