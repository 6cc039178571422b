/** The tab of what can be done to a store: export, import, disconnect, reset, delete. */
import { storePath } from './api.ts'
import { eachFrame } from './cell.ts'
import { confirm } from './dialog.ts'
import { announce, h, morph, whileBusy } from './dom.ts'
import { findingsOf } from './explain.ts'
import { findingList } from './findings.ts'
import { bytes, count, many, wordsOf } from './format.ts'
import type { Session } from './session.ts'
import type { Imported, State } from '../host/administration.ts'
import type { View } from './view.ts'

export const manageView = (session: Session): View => {
  const { api, storeId } = session
  const findings = h('section')
  const unwatch = session.known.watch(
    eachFrame(() => {
      const state = session.known.value?.state
      const found = state === undefined ? [] : findingsOf(state).filter(({ tab }) => tab === 'manage')
      morph(findings, found.length > 0 ? findingList(found) : null)
    }),
  )
  const stopper = new AbortController()
  const said = h('p', { class: 'said' })
  const say = (words: string): void => {
    said.textContent = words
    announce(words)
  }

  const disconnect = (): void =>
    void confirm({
      title: 'Disconnect all clients?',
      text: ['Every socket of this store is closed. Clients connect again by themselves and go on where they were.'],
      action: 'Disconnect',
      run: async () => {
        const { closed } = await api.post<{ readonly closed: number }>(storePath(storeId, '/disconnect'))
        say(`${many(closed, 'socket was', 'sockets were')} closed`)
      },
    })

  const reset = (): void =>
    void confirm({
      title: 'Reset this store?',
      text: [
        `Its log of ${many(session.head, 'event')} is emptied for good, and another lifetime of it begins.`,
        'Clients drop what they have, also what they had not pushed, and start over. The backup keeps what it has of the old log.',
        'There is no way back: export first.',
      ],
      action: 'Reset the store',
      typed: storeId,
      run: async () => {
        await api.post(storePath(storeId, '/reset'), { storeId })
        say('The store was reset')
        await session.open()
      },
    })

  const remove = (): void =>
    void confirm({
      title: 'Delete this store?',
      text: [
        'Its log, its backup with all earlier lifetimes, and whatever else its object has stored are deleted for good.',
        'Withdraw access first: a client that is still open comes back, and begins an empty store of this id.',
        'There is no way back: export first.',
      ],
      action: 'Delete the store',
      typed: storeId,
      run: async () => {
        const path = storePath(storeId, `?confirm=${encodeURIComponent(storeId)}`)
        const state = await api.json<Partial<State>>(path, { method: 'DELETE' })
        say(state.status === undefined ? 'The store is gone' : 'The store is being deleted')
        await session.refresh()
      },
    })

  const action = (title: string, text: string, ...controls: readonly HTMLElement[]) =>
    h(
      'section',
      { class: 'action' },
      h('div', {}, h('h2', {}, title), h('p', {}, text)),
      h('div', { class: 'controls' }, ...controls),
    )
  const button = (label: string, run: () => void, kind = '') =>
    h('button', { type: 'button', class: kind, onclick: run }, label)
  return {
    element: h(
      'div',
      { class: 'page actions' },
      findings,
      said,
      action(
        'Export',
        'The whole log as a file, with a checksum by which it is known to be complete.',
        exporter(session, stopper.signal),
      ),
      action(
        'Import',
        'Makes a file the log of this store: an export, or what LiveStore’s “sync export” writes.',
        importer(session, stopper.signal),
      ),
      action(
        'Disconnect',
        'Closes every socket, so that clients connect and pull again.',
        button('Disconnect …', disconnect),
      ),
      action(
        'Reset',
        'Empties the log for good and begins another lifetime of it.',
        button('Reset …', reset, 'danger'),
      ),
      action(
        'Delete',
        'Leaves nothing of the store, neither here nor in the backup.',
        button('Delete …', remove, 'danger'),
      ),
    ),
    dispose: () => {
      unwatch()
      stopper.abort()
    },
  }
}

interface PickerWindow {
  showSaveFilePicker?(options: { readonly suggestedName: string }): Promise<{
    createWritable(): Promise<WritableStream<Uint8Array<ArrayBuffer>>>
  }>
}

/** So many bytes at the end of an export hold its last line. */
const lastLineBytes = 200

const exporter = (session: Session, signal: AbortSignal): HTMLElement => {
  const button = h('button', { type: 'button', onclick: () => void whileBusy(button, run) }, 'Export')
  const said = h('p')

  /** Passes a file through, tells how far it is, and fails if it is cut off. */
  const watched = (): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> => {
    let size = 0
    let tail = ''
    const decoder = new TextDecoder()
    return new TransformStream({
      transform: (part, controller) => {
        size += part.length
        tail = (tail + decoder.decode(part.subarray(-lastLineBytes), { stream: false })).slice(-lastLineBytes)
        said.textContent = `${bytes(size)} so far`
        controller.enqueue(part)
      },
      flush: () => {
        const events = /\{"end":\{"events":(\d+)/.exec(tail)?.[1]
        if (events === undefined) throw new Error('The export was cut off: its last line is missing')
        said.textContent = `${many(Number(events), 'event')}, ${bytes(size)}`
      },
    })
  }

  const run = async (): Promise<void> => {
    const name = `${session.storeId.replaceAll(/[^\w.-]+/g, '_') || 'store'}-${session.head}.ndjson`
    said.textContent = ''
    try {
      const { showSaveFilePicker } = window as PickerWindow
      const file = await showSaveFilePicker?.call(window, { suggestedName: name })
      const { body } = await session.api.request(storePath(session.storeId, '/export'), { signal })
      if (body === null) throw new Error('The answer was empty')
      const stream = body.pipeThrough(watched())
      if (file !== undefined) await stream.pipeTo(await file.createWritable())
      else save(await new Response(stream).blob(), name)
    } catch (error) {
      // Whoever closes the browser's dialog wants nothing.
      if (!(error instanceof DOMException && error.name === 'AbortError')) said.textContent = wordsOf(error)
    }
    announce(said.textContent ?? '')
  }
  return h('div', {}, button, said)
}

const save = (blob: Blob, name: string): void => {
  const url = URL.createObjectURL(blob)
  h('a', { href: url, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

const importer = (session: Session, signal: AbortSignal): HTMLElement => {
  const { api, storeId } = session
  const file = h('input', { type: 'file', 'aria-label': 'File to import', onchange: () => prepare() })
  const check = (label: string, attributes: { readonly onchange?: () => void } = {}) => {
    const input = h('input', { type: 'checkbox', ...attributes })
    return { input, label: h('label', { class: 'check' }, input, label) }
  }
  const replace = check('Replace what the store holds')
  const keep = check('Go on in the lifetime of the file')
  const lines = check('Accept bare lines of events, of which nobody knows whether they are complete')
  const button = h('button', { type: 'button', onclick: () => void whileBusy(button, run) }, 'Import')
  const goOn = h(
    'button',
    { type: 'button', hidden: true, onclick: () => void whileBusy(button, () => run(at)) },
    'Send the rest',
  )
  const bar = h('progress', { max: '1', value: '0', 'aria-label': 'Progress of the import' })
  const said = h('p')
  bar.hidden = true
  button.disabled = true
  /** From which byte on the rest of the file is wanted. */
  let at = 0

  const prepare = (): void => {
    button.disabled = file.files?.length !== 1
    goOn.hidden = true
    said.textContent = ''
  }

  const run = async (from = 0): Promise<void> => {
    const chosen = file.files?.[0]
    if (chosen === undefined) return
    const query = new URLSearchParams()
    for (const [name, { input }] of Object.entries({ replace, keepBackendId: keep, lines }))
      if (input.checked) query.set(name, 'true')
    if (from > 0) query.set('at', String(from))
    goOn.hidden = true
    bar.hidden = false
    said.textContent = ''
    const progress = (sent: number): void => {
      bar.value = chosen.size === 0 ? 1 : (from + sent) / chosen.size
      if (bar.value === 1) said.textContent = 'All of it is on its way; the store checks it …'
    }
    progress(0)
    try {
      const path = storePath(storeId, `/import${query.size > 0 ? `?${query}` : ''}`)
      const { events, head, undated } = await api.upload<Imported>(
        path,
        from > 0 ? chosen.slice(from) : chosen,
        progress,
        signal,
      )
      const dated = undated > 0 ? `; ${count(undated)} of them had no time and got that of the import` : ''
      said.textContent = `${many(events, 'event')} imported, up to ${count(head)}${dated}`
      await session.open()
    } catch (error) {
      said.textContent = wordsOf(error)
      const state = signal.aborted ? undefined : await session.refresh()
      at = state?.restore?.at ?? 0
      goOn.hidden = at === 0
      if (at > 0) said.textContent += `. ${bytes(at)} of it are here.`
    }
    announce(said.textContent)
    bar.hidden = true
  }
  return h(
    'div',
    { class: 'import' },
    file,
    replace.label,
    keep.label,
    lines.label,
    h('div', { class: 'buttons' }, button, goOn),
    bar,
    said,
  )
}
