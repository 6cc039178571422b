/**
 * The package in an app of TanStack Start with Cloudflare's plugin of Vite: sync in front of it, and in a server route; in the
 * development server, and in the preview of what is built.
 */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { makeClient as makeHttpClient } from '../clients/v04/http-client.ts'
import { configuration, dates } from './app.ts'
import { makeProject, type Project } from './project.ts'
import { tanStackRoute } from './frameworks.ts'
import { routerOf } from './router.ts'
import { assertQuiet, assertSyncs } from './sync.ts'
import { serve, vite } from './vite.ts'

/** Who is let in by the app itself, and by no router in front of it. */
const tokenWithin = 'token-of-the-app'

const viteConfig = `
import { cloudflare } from '@cloudflare/vite-plugin'
import { tanstackStart } from '@tanstack/react-start/plugin/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

export default defineConfig({
  plugins: [cloudflare({ viteEnvironment: { name: 'ssr' }, inspectorPort: false }), tanstackStart(), react()],
})
`

const router = `
import { createRouter } from '@tanstack/react-router'
import { routeTree } from './routeTree.gen'

export const getRouter = () => createRouter({ routeTree })
`

const rootRoute = `
import { createRootRoute, HeadContent, Outlet, Scripts } from '@tanstack/react-router'

export const Route = createRootRoute({
  component: () => (
    <html>
      <head><HeadContent /></head>
      <body><Outlet /><Scripts /></body>
    </html>
  ),
})
`

const page = `
import { createFileRoute } from '@tanstack/react-router'

export const Route = createFileRoute('/')({ component: () => <h1>the page</h1> })
`

/** Its `fetch` takes the request alone. */
const server = routerOf("import app from '@tanstack/react-start/server-entry'").replace(
  /app\.fetch\(.*?\)/,
  'app.fetch(request)',
)

let project: Project
before(() => {
  project = makeProject('tanstack-start', {
    'src/router.tsx': router,
    'src/routes/__root.tsx': rootRoute,
    'src/routes/api/sync.ts': tanStackRoute(tokenWithin),
    'src/routes/index.tsx': page,
    'src/server.ts': server,
    'vite.config.ts': viteConfig,
    'wrangler.toml': configuration({ main: 'src/server.ts', date: dates.newest }),
  })
})
after(() => project.remove())

const assertServes = async (url: string): Promise<void> => {
  await assertSyncs(url, { path: '/sync' })
  await assertSyncs(url, { path: '/api/sync', authToken: tokenWithin })
  await assertSyncs(url, { path: '/api/sync', authToken: tokenWithin, makeClient: makeHttpClient })
  assert.match(await (await fetch(url)).text(), /<h1>the page<\/h1>/)
}

it('syncs clients in the development server', async () => {
  const running = await serve(project)
  await assertServes(running.url)
  assertQuiet(running.output)
})

it('syncs clients in the preview of what was built', async () => {
  const { status, output } = await project.run(vite, 'build')
  assert.equal(status, 0, output)
  assertQuiet(output)
  const running = await serve(project, 'preview')
  await assertServes(running.url)
  assertQuiet(running.output)
})
