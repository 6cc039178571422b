/**
 * The package in an app of SvelteKit with its adapter for Cloudflare: sync in front of SvelteKit, in a hook of it, and in an
 * endpoint.
 */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { makeClient as makeHttpClient } from '../clients/v04/http-client.ts'
import { configuration, dates } from './app.ts'
import { svelteKitHook } from './frameworks.ts'
import { makeProject, type Project, type Running } from './project.ts'
import { configurationOfSvelteKit, routerOf, validatePayloadOf } from './router.ts'
import { assertQuiet, assertSyncs } from './sync.ts'

/** Who is let in by the app itself, and by no router in front of it. */
const tokenWithin = 'token-of-the-app'

/** What SvelteKit builds. */
const built = '.svelte-kit/cloudflare'

const svelteConfig = `
import adapter from '@sveltejs/adapter-cloudflare'

export default { kit: { adapter: adapter({ config: 'wrangler.sveltekit.toml' }) } }
`

const viteConfig = `
import { sveltekit } from '@sveltejs/kit/vite'

export default { plugins: [sveltekit()] }
`

/** Sync from within SvelteKit, which runs what it has built in Node: the package, for Workers alone, is imported when it is used. */
const sync = `
${validatePayloadOf(tokenWithin)}

export const sync = async ({ request, platform }) => {
  const { handleSyncRequest, matchSyncRequest } = await import('livestore-sync-worker/cf-worker')
  const searchParams = matchSyncRequest(request)
  if (searchParams === undefined) return undefined
  const { env, ctx } = platform
  return handleSyncRequest({ request, searchParams, env, ctx, syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload })
}
`

const endpoint = `
import { sync } from '$lib/sync'

export const GET = async (event) => (await sync(event)) ?? new Response('no request to sync', { status: 400 })
export const POST = GET
`

let project: Project
let server: Running
before(async () => {
  const ofAdapter = configurationOfSvelteKit()
  const assets = ofAdapter.slice(ofAdapter.indexOf('[assets]'))
  project = makeProject('sveltekit', {
    'src/app.html': '<!doctype html><title>My app</title>%sveltekit.head%<body>%sveltekit.body%</body>',
    'src/hooks.server.ts': svelteKitHook('/hook', tokenWithin),
    'src/lib/sync.ts': sync,
    'src/routes/+page.svelte': '<h1>the page</h1>',
    'src/routes/endpoint/+server.ts': endpoint,
    'src/worker.ts': routerOf(`import app from '../${built}/_worker.js'`),
    'svelte.config.js': svelteConfig,
    'vite.config.js': viteConfig,
    'wrangler.sveltekit.toml': ofAdapter,
    'wrangler.toml': configuration({ main: 'src/worker.ts', date: dates.newest, more: assets }),
  })
  const { status, output } = await project.run('vite/bin/vite.js', 'build')
  // One of the files that it lists is called error.svelte.js.
  assertQuiet(output.replaceAll(/^\.svelte-kit\/output\/.*$/gm, ''))
  assert.equal(status, 0)
  const options = ['--port', '0', '--inspector-port', '0']
  server = await project.serve('wrangler/bin/wrangler.js', ['dev', ...options], /Ready on (http:\/\/\S+)/)
})
after(() => project.remove())

it('syncs clients in front of SvelteKit, which serves the page', async () => {
  await assertSyncs(server.url, { path: '/sync' })
  assert.match(await (await fetch(server.url)).text(), /<h1>the page<\/h1>/)
})

it('syncs clients in a hook of SvelteKit', () => assertSyncs(server.url, { path: '/hook', authToken: tokenWithin }))

it('syncs clients in an endpoint of SvelteKit', async () => {
  await assertSyncs(server.url, { path: '/endpoint', authToken: tokenWithin })
  await assertSyncs(server.url, { path: '/endpoint', authToken: tokenWithin, makeClient: makeHttpClient })
})

it('runs without a warning', () => assertQuiet(server.output))
