/** The page that operators open at `/admin`. All it shows it asks of `/admin/v1`, which is beside it wherever the Worker is. */
import { Api } from './api.ts'
import { configView } from './config-view.ts'
import { h } from './dom.ts'
import { count } from './format.ts'
import { type Route, routeOf } from './route.ts'
import { Session } from './session.ts'
import { type StoreView, storeView } from './store-view.ts'
import { storesView } from './stores-view.ts'
import type { View } from './view.ts'

/** Where the secret is kept: for this tab alone, until it is closed. */
const secretKey = 'livestore-sync-worker.admin-secret'

const place = document.querySelector('#app')!

/** Asks for the secret; `words` say why the one before was not taken. */
const askForSecret = (words = ''): void => {
  const input = h('input', {
    type: 'password',
    id: 'secret',
    name: 'secret',
    autocomplete: 'current-password',
    required: true,
    ...(words === '' ? {} : { 'aria-describedby': 'refusal', 'aria-invalid': 'true' }),
  })
  document.title = 'Sync inspector'
  place.replaceChildren(
    h(
      'main',
      { class: 'door' },
      h('p', { class: 'wordmark' }, mark(), 'Sync inspector'),
      h('h1', {}, 'What your stores are doing'),
      h('p', {}, 'Whoever has the administration’s secret can read, empty and delete every store.'),
      h(
        'form',
        {
          onsubmit: (event) => {
            event.preventDefault()
            sessionStorage.setItem(secretKey, input.value)
            enter(input.value)
          },
        },
        h('label', { for: 'secret' }, h('code', {}, 'ADMIN_SECRET')),
        h('div', { class: 'door-row' }, input, h('button', { type: 'submit', class: 'primary' }, 'Enter')),
        h('p', { id: 'refusal', class: 'failure', role: 'alert' }, words),
      ),
      h(
        'p',
        { class: 'faint' },
        'It stays in this tab, and goes to this Worker alone: in a header, never in an address.',
      ),
    ),
  )
  input.focus()
}

/** Three lines of a log, the last of them new. */
const mark = (): HTMLElement => h('span', { class: 'mark-lines', 'aria-hidden': 'true' }, h('i'), h('i'), h('i'))

/** Shows what the address names, with this secret. */
const enter = (secret: string): void => {
  let isOver = false
  let session: Session | undefined
  let store: StoreView | undefined
  let view: View | undefined

  const leave = (words = ''): void => {
    if (isOver) return
    isOver = true
    sessionStorage.removeItem(secretKey)
    window.removeEventListener('hashchange', follow)
    session?.dispose()
    view?.dispose()
    unwatch()
    askForSecret(words)
  }

  const api = new Api(secret, leave)
  const main = h('main', { id: 'main' })
  const links = {
    stores: h('a', { href: '#/stores' }, 'Stores'),
    configuration: h('a', { href: '#/configuration' }, 'Configuration'),
  }
  const cost = h('span')
  const unwatch = api.asked.watch(({ requests, ofStores }) => {
    cost.textContent = `Requests so far: ${count(requests)}, ${count(ofStores)} of them to stores.`
  })

  const go = (route: Route): void => {
    document.title = `${route.to === 'store' ? route.storeId : links[route.to].textContent} – Sync inspector`
    for (const [name, link] of Object.entries(links)) {
      if (name === route.to) link.setAttribute('aria-current', 'page')
      else link.removeAttribute('aria-current')
    }
    if (route.to === 'store' && store !== undefined && session?.storeId === route.storeId) return store.show(route.tab)
    session?.dispose()
    view?.dispose()
    session = store = undefined
    if (route.to === 'store') {
      session = new Session(api, route.storeId)
      view = store = storeView(session)
      store.show(route.tab)
      void session.open()
    } else view = route.to === 'stores' ? storesView(api) : configView(api)
    main.replaceChildren(view.element)
    // Who hears the page, or has no mouse, is where the new part begins.
    main.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true })
  }
  const follow = (): void => go(routeOf(location.hash))
  window.addEventListener('hashchange', follow)

  place.replaceChildren(
    h(
      'a',
      {
        class: 'skip',
        href: '#main',
        onclick: (event) => {
          event.preventDefault()
          main.querySelector<HTMLElement>('h1')?.focus()
        },
      },
      'To the content',
    ),
    h(
      'header',
      { class: 'top-bar' },
      h('a', { class: 'wordmark', href: '#/stores' }, mark(), h('span', {}, 'Sync inspector')),
      h('nav', { 'aria-label': 'Main' }, links.stores, links.configuration),
      h('button', { type: 'button', class: 'quiet', onclick: () => leave() }, 'Forget the secret'),
    ),
    main,
    h(
      'footer',
      {},
      h(
        'p',
        {},
        'What looking costs: a request to a store wakes its object for about 10 seconds; the live socket lets it sleep. ',
        'State and numbers are asked for again only after events have come, or when you refresh; nothing while this page is hidden. ',
        cost,
      ),
    ),
  )
  follow()
}

const kept = sessionStorage.getItem(secretKey)
if (kept === null) askForSecret()
else enter(kept)
