/** The Worker of docs/authentication.md that looks a session up, with a lookup of the tests in the place of the app's. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { freshStoreId } from '../clients/events.ts'
import { shownIn } from '../harness/document.ts'
import { targetOf } from '../harness/raw-client.ts'
import { assertRefused, assertSyncs, type Credential } from '../workerd/doors.ts'
import { knock } from '../workerd/knock.ts'
import { configuration, dates } from './app.ts'
import { makeProject, type Project } from './project.ts'
import { assertQuiet } from './sync.ts'

const cookieName = 'better-auth.session_token'
const origin = 'https://app.example.com'

/** Every session is that of a user of its name, and opens the store of that name; one that has ended is none. */
const lookup = `
interface Env {}
const authOf = (_env: Env) => ({
  api: {
    getSession: async ({ headers }: { headers: Headers }) => {
      const [, id] = /${cookieName}=([\\w-]+)/.exec(headers.get('cookie') ?? '') ?? []
      return id === undefined || id === 'ended' ? null : { user: { id } }
    },
  },
})
const storesOf = async (userId: string): Promise<string[]> => [userId]
`

let project: Project
let server: { readonly url: string; readonly wsUrl: string; readonly output: string }
before(async () => {
  project = makeProject('wrangler', {
    'src/index.ts': lookup + shownIn('docs/authentication.md', 'A session that has to be looked up', 'ts'),
    'wrangler.toml': configuration({ main: 'src/index.ts', date: dates.newest }),
  })
  const args = ['dev', '--port', '0', '--inspector-port', '0']
  const running = await project.serve('wrangler/bin/wrangler.js', args, /Ready on (http:\/\/\S+)/)
  server = {
    url: running.url,
    wsUrl: running.url.replace('http', 'ws'),
    get output() {
      return running.output
    },
  }
})
after(() => project.remove())

const withSession = (id: string, from = origin): Credential => ({
  headers: { cookie: `theme=dark; ${cookieName}=${id}`, origin: from },
})

it('lets a session into the stores of its user', () => assertSyncs(server, (storeId) => withSession(storeId)))

it('tells others why they are refused', async () => {
  const storeId = freshStoreId()
  await assertRefused(server, storeId, withSession('ended'), 'Signed out')
  await assertRefused(server, storeId, { headers: { origin } }, 'Signed out')
  await assertRefused(server, storeId, withSession('somebody'), 'Not your store')
})

it('does not take the cookie from a page that is not listed', async () => {
  const storeId = freshStoreId()
  for (const from of ['https://elsewhere.example', 'null']) {
    const { headers } = withSession(storeId, from)
    const answer = await knock(server, { target: targetOf({ storeId }), upgrade: 'websocket', headers: headers! })
    assert.equal(answer.status, 403, from)
  }
})

it('runs without a warning', () => assertQuiet(server.output))
