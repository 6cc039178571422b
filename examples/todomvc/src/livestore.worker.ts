import { makeWorker } from '@livestore/adapter-web/worker'
import { makeWsSync } from '@livestore/sync-cf/client'
import { schema } from '../../todomvc-shared/schema.ts'
import { reported } from './reported.ts'

makeWorker({
  schema,
  sync: {
    backend: reported(makeWsSync({ url: import.meta.env.VITE_LIVESTORE_SYNC_URL })),
    initialSyncOptions: { _tag: 'Blocking', timeout: 500 },
  },
})
