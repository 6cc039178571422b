import { makeWorker } from '@livestore/adapter-web/worker'
import { makeWsSync } from '@livestore/sync-cf/client'
import { schema } from './livestore/schema.ts'
import { reported } from './reported.ts'

makeWorker({
  schema,
  sync: {
    backend: reported(makeWsSync({ url: `${globalThis.location.origin}/sync` })),
    initialSyncOptions: { _tag: 'Blocking', timeout: 5_000 },
  },
})
