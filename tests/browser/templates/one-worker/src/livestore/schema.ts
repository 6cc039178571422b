import { Schema } from '@livestore/livestore'

export { schema } from '../shared/schema.ts'

export const SyncPayload = Schema.Struct({ authToken: Schema.String })
