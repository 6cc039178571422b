/** The address of a store's WebSocket, for clients written here. */
import type { ClientOptions } from './client.ts'

/** As upstream's clients build it: the payload is percent-encoded first, and form-encoded with the rest. */
export const connectionUrl = ({ url, storeId, payload }: ClientOptions): string =>
  `${url}?${new URLSearchParams({ storeId, payload: encodeURIComponent(JSON.stringify(payload)), transport: 'ws' })}`
