/**
 * Where objects are made. The local runtime has no jurisdictions and one place: the bundle is edited, so that the namespace logs
 * what it is asked.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { batchOf, freshStoreId } from '../clients/events.ts'
import { eventually } from '../clients/waiting.ts'
import type { Server } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret, stateOf } from './administration.ts'
import { assertEvents, generations, logOf, Peer, pushedFrame } from './peer.ts'

const withPlaces = (source: string): string => {
  const exported = /,([\w$]+) as default\};?\s*$/
  assert.match(source, exported, 'the bundle exports a handler')
  return source.replace(
    exported,
    (_, handler: string) => `,placed as default}
      const place = (objects, where) => ({
        idFromName: (name) => objects.idFromName(name),
        get: (id, ...options) => {
          console.log(JSON.stringify({ where, options }))
          return objects.get(id)
        },
        jurisdiction: (where) => place(objects, where),
      })
      let bindings
      const placed = {
        fetch: (request, env) => {
          bindings ??= { ...env, SYNC_BACKEND_DO: place(env.SYNC_BACKEND_DO) }
          return ${handler}.fetch(request, bindings)
        },
      }`,
  )
}

/** What the namespace has been asked: in which jurisdiction an object is, and by which options it is found. */
const asked = ({ logs }: Server): readonly unknown[] =>
  logs.filter((line) => line.startsWith('{"where"') || line.startsWith('{"options"')).map((line) => JSON.parse(line))

for (const [what, vars, expected] of [
  ['nowhere in particular where nothing is said', {}, { options: [] }],
  ['near the place of LOCATION_HINT', { LOCATION_HINT: 'weur' }, { options: [{ locationHint: 'weur' }] }],
  ['in JURISDICTION', { JURISDICTION: 'eu' }, { where: 'eu', options: [] }],
  [
    'in JURISDICTION, near the place of LOCATION_HINT',
    { JURISDICTION: 'eu', LOCATION_HINT: 'weur' },
    { where: 'eu', options: [{ locationHint: 'weur' }] },
  ],
] as const) {
  describe('objects are made', () => {
    const server = serverOf({ vars: { ADMIN_SECRET: adminSecret, ...vars }, edit: withPlaces })

    it(`${what}, for clients and operators alike`, async () => {
      for (const generation of generations) {
        const storeId = freshStoreId()
        const peer = await Peer.connect(server(), generation, storeId)
        assert.deepEqual((await peer.pushed(batchOf(0, 2))).answer, pushedFrame(generation, 1))
        assertEvents(await logOf(server(), storeId, generation), batchOf(0, 2))
        assert.equal((await stateOf(server(), storeId)).head, 2)
      }
      await eventually('all is logged', () => asked(server()).length >= 3 * generations.length)
      for (const one of asked(server())) assert.deepEqual(one, expected)
    })
  })
}
