/** All stores that D1 knows of, and the way to any other one by its id. */
import { Failure, type Api } from './api.ts'
import { type Child, h, morph, whileBusy } from './dom.ts'
import { ago, bytes, count, duration, many, moment, wordsOf } from './format.ts'
import { storeHash } from './route.ts'
import { boxedTable } from './table.ts'
import type { ListedStore, StoreList } from '../host/administration.ts'
import type { View } from './view.ts'

const listedAtOnce = 1_000
const rowsMax = 300

export const storesView = (api: Api): View => {
  let stores: readonly ListedStore[] = []
  /** From where more can be listed; undefined before the first answer. */
  let next: string | null | undefined
  let trouble = ''
  let isDisposed = false

  const search = h('input', {
    type: 'search',
    placeholder: 'Search, or open any store by its id',
    'aria-label': 'Search stores, or open any store by its id',
    autocomplete: 'off',
    spellcheck: 'false',
    autocapitalize: 'off',
    oninput: () => draw(),
  })
  const open = h(
    'form',
    {
      class: 'search',
      onsubmit: (event) => {
        event.preventDefault()
        if (search.value !== '') location.hash = storeHash(search.value)
      },
    },
    search,
    h('button', { type: 'submit', class: 'primary' }, 'Open'),
  )
  const [note, table] = [h('p', { class: 'faint', role: 'status' }), h('div')]
  const more = h('button', { type: 'button', hidden: true, onclick: () => void whileBusy(more, list) }, 'List more')

  const list = async (): Promise<void> => {
    try {
      const after = next ? `&after=${encodeURIComponent(next)}` : ''
      const listed = await api.json<StoreList>(`/stores?limit=${listedAtOnce}${after}`)
      stores = [...stores, ...listed.stores]
      next = listed.next
      trouble = ''
    } catch (error) {
      trouble =
        error instanceof Failure && error.status === 404
          ? `Stores cannot be listed (${wordsOf(error)}). Any store can be opened by its id.`
          : wordsOf(error)
    }
    if (isDisposed) return
    draw()
  }

  const draw = (): void => {
    const text = search.value.toLowerCase()
    const found = stores.filter(({ storeId }) => storeId.toLowerCase().includes(text))
    more.hidden = !next
    note.textContent = trouble || noteOf(found.length, text !== '')
    morph(table, found.length === 0 ? null : storeTable(found.slice(0, rowsMax)))
  }

  const noteOf = (found: number, isSearched: boolean): string => {
    if (next === undefined) return 'Asking D1 …'
    if (stores.length === 0) return 'No store has a backup yet; a new one is listed some seconds after its first push.'
    const all = many(stores.length, 'store')
    const shown = isSearched ? `${count(found)} of ${all} match` : all
    return `${shown}${next === null ? '' : ' so far'}${found > rowsMax ? `; the first ${count(rowsMax)} are shown` : ''}`
  }

  void list()
  return {
    element: h(
      'div',
      { class: 'page stores' },
      h('div', { class: 'title' }, h('h1', { tabindex: '-1' }, 'Stores'), open),
      note,
      table,
      more,
      h(
        'p',
        { class: 'faint' },
        'The list is that of the backup in D1: asking for it wakes no store, and tells what the last copy knew.',
      ),
    ),
    dispose: () => (isDisposed = true),
  }
}

const columns = ['Store', ...['Head', 'Size', 'Last push', 'Copied after', 'Lifetimes'].map((number) => ({ number }))]

const storeTable = (stores: readonly ListedStore[]): Child => {
  const now = Date.now()
  return boxedTable(
    'Stores',
    columns,
    stores.map(({ storeId, head, bytes: size, lastAt, copiedAt, lifetimes }) => {
      const [last, copied] = [Date.parse(lastAt), Date.parse(copiedAt)]
      return h(
        'tr',
        {},
        h('th', { scope: 'row', class: 'id' }, h('a', { href: storeHash(storeId) }, storeId || '(the empty id)')),
        h('td', { class: 'number' }, count(head)),
        h('td', { class: 'number' }, bytes(size)),
        h('td', { class: 'number', title: moment(last) }, ago(now - last)),
        h('td', { class: 'number', title: moment(copied) }, duration(copied - last)),
        h('td', { class: 'number' }, count(lifetimes)),
      )
    }),
  )
}
