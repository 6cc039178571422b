/** Which part of the page the address names, in its hash: the server never sees it. */

export const tabs = ['events', 'clients', 'health', 'backup', 'manage'] as const
export type Tab = (typeof tabs)[number]

export type Route =
  | { readonly to: 'stores' }
  | { readonly to: 'configuration' }
  | { readonly to: 'store'; readonly storeId: string; readonly tab: Tab }

export const storeHash = (storeId: string, tab: Tab = 'events'): string =>
  `#/store/${encodeURIComponent(storeId)}/${tab}`

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

export const routeOf = (hash: string): Route => {
  const [, part, id, tab] = hash.split('/')
  if (part === 'configuration') return { to: 'configuration' }
  const storeId = part === 'store' && id !== undefined ? decoded(id) : undefined
  if (storeId === undefined) return { to: 'stores' }
  return { to: 'store', storeId, tab: tabs.find((one) => one === tab) ?? 'events' }
}
