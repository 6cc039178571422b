const rememberedAs = 'todomvc:storeId'

/**
 * Which list to show: the address says it (`?storeId=…`), else the list that this browser opened last, else a new one. The
 * address always names it in the end, so that copying the address shares the list.
 */
export const currentStoreId = (): string => {
  const address = new URL(location.href)
  const storeId = address.searchParams.get('storeId') || localStorage.getItem(rememberedAs) || crypto.randomUUID()
  localStorage.setItem(rememberedAs, storeId)
  if (address.searchParams.get('storeId') !== storeId) {
    address.searchParams.set('storeId', storeId)
    history.replaceState(null, '', address)
  }
  return storeId
}
