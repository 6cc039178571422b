import { makeWorker } from '@livestore/adapter-web/worker'
import { makeCfSync } from '@livestore/sync-cf'
import { schema } from './livestore/schema.ts'
import { reported } from './reported.ts'
import { resuming } from './resuming.ts'

makeWorker({
  schema,
  sync: {
    backend: reported(resuming(makeCfSync({ url: import.meta.env.VITE_LIVESTORE_SYNC_URL }))),
    initialSyncOptions: { _tag: 'Blocking', timeout: 5_000 },
  },
})
