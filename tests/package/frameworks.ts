/** What documents show for a Worker of its own and for each framework, with what they leave to the app. */
import assert from 'node:assert/strict'
import { shownIn } from '../harness/document.ts'
import { templateToken } from '../harness/server.ts'
import { validatePayloadOf } from './router.ts'

const shown = (section: string, language: 'ts' | 'toml'): string => shownIn('docs/frameworks.md', section, language)

/** The token in the file that holds the secrets of a machine. */
const secrets = { '.dev.vars': `AUTH_TOKEN=${templateToken}\n` } as const

/** The configuration of a Worker of its own. */
export const ownWorker = { 'wrangler.toml': shown('A Worker of its own', 'toml'), ...secrets } as const

/** The same with a backup, as the README deploys it. */
export const readmeWorker = { 'wrangler.toml': shownIn('README.md', 'Deploy', 'toml'), ...secrets } as const

/** The Worker of a page in Vite, and what its configuration says of assets. */
export const vite = { worker: shown('Vite', 'ts'), assets: shown('Vite', 'toml') } as const

/** Routes of Hono, for who has the token of the templates. */
export const hono = `interface Env {}\n${validatePayloadOf(templateToken)}\n${shown('Hono', 'ts')}`

/** The hook of SvelteKit, which syncs at `path` for who has `token`. */
export const svelteKitHook = (path: string, token: string): string => {
  const code = shown('SvelteKit', 'ts')
  assert.equal(code.split("'/sync'").length, 2, 'the path is there once')
  return `type SvelteKitHook = any\n${validatePayloadOf(token)}\n${code.replace("'/sync'", `'${path}'`)}`
}

/** The server route of TanStack Start, for who has `token`. */
export const tanStackRoute = (token: string): string => `${shown('TanStack Start', 'ts')}\n${validatePayloadOf(token)}`
