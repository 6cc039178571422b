/** The tab of clients: who is stuck and why, every socket and client object, and the last refusals. */
import { eachFrame } from './cell.ts'
import { type Child, h, morph } from './dom.ts'
import { findingsOf, healthOf, reasonInWords } from './explain.ts'
import { findingList } from './findings.ts'
import { ago, bytes, count, many } from './format.ts'
import type { Session } from './session.ts'
import { boxedTable } from './table.ts'
import type { PastError, Socket, State } from '../host/administration.ts'
import type { View } from './view.ts'

const rowsMax = 200

export const clientsView = (session: Session): View => {
  const wanted = h('input', {
    type: 'search',
    placeholder: 'Client or subject',
    'aria-label': 'Show clients whose id or subject contains',
    autocomplete: 'off',
    spellcheck: 'false',
    oninput: () => draw(),
  })
  const [stuck, summary, sockets, objects, errors] = ['section', 'p', 'div', 'section', 'section'].map((tag) =>
    h(tag as 'section'),
  ) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement, HTMLElement]
  const element = h(
    'div',
    { class: 'page' },
    stuck,
    h('section', {}, h('div', { class: 'section-head' }, h('h2', {}, 'Connections'), wanted), summary, sockets),
    objects,
    errors,
  )
  const draw = eachFrame(() => {
    const state = session.known.value?.state
    if (state === undefined) return
    const found = findingsOf(state).filter(({ tab }) => tab === 'clients')
    morph(
      stuck,
      h('h2', {}, 'Who is stuck'),
      found.length > 0
        ? findingList(found)
        : h('p', { class: 'calm' }, 'Nobody, as far as this object knows since it woke.'),
    )
    const text = wanted.value.trim().toLowerCase()
    morph(summary, ...summaryOf(state))
    morph(sockets, socketTable(state, text))
    morph(objects, ...objectsOf(state))
    morph(errors, ...errorsOf(state))
  })
  const unwatch = session.known.watch(draw)
  return { element, dispose: () => void unwatch() }
}

const generations: Readonly<Record<string, string>> = { v03: '0.3', v04: '0.4', v05: '0.5', unknown: 'none yet' }

const transports: Readonly<Record<string, string>> = {
  ws: 'over WebSocket',
  http: 'over HTTP',
  'do-rpc': 'over Durable Object RPC',
}

/** A generation as the release of LiveStore that it belongs to. */
const releaseOf = (generation: string): string => generations[generation] ?? generation

const summaryOf = ({ connections, inFlightBytes = 0 }: State): readonly Child[] => {
  if (connections === undefined) return ['The store is not open.']
  const parts = (counts: Readonly<Record<string, number>>, name: (key: string) => string) =>
    Object.entries(counts)
      .filter(([, value]) => value > 0)
      .map(([key, value]) => `${count(value)} ${name(key)}`)
      .join(', ')
  const byTransport = parts(connections.byTransport, (key) => transports[key] ?? key)
  const byGeneration = parts(connections.byGeneration, (key) =>
    key === 'unknown' ? 'that have asked for nothing yet' : `of LiveStore ${releaseOf(key)}`,
  )
  if (byTransport === '') return ['Nobody is connected.']
  return [`${byTransport}: ${byGeneration}. ${bytes(inFlightBytes)} are on their way to them.`]
}

const weightOf = (socket: Socket): number =>
  socket.inspector ? -1 : socket.stuck ? 1e12 : socket.lag + socket.unacknowledged / 1_000

/** What is not known of somebody. */
const unknown = h('span', { class: 'faint' }, '–')
const orUnknown = (text: string | null | undefined): Child => text || unknown.cloneNode(true)

const socketTable = ({ sockets = [], stuckClients = [] }: State, text: string): Child => {
  const rows = sockets
    .filter(({ clientId, subject }) => `${clientId ?? ''} ${subject ?? ''}`.toLowerCase().includes(text))
    .toSorted((a, b) => weightOf(b) - weightOf(a))
  if (rows.length === 0) return text === '' ? null : h('p', { class: 'calm' }, 'No connection of that name.')
  const more = rows.length - rowsMax
  return [
    boxedTable(
      'Connections',
      [
        'Client',
        'How it is',
        'Subject',
        'LiveStore',
        { number: 'Pulls' },
        { number: 'Lag' },
        { number: 'Not acknowledged' },
      ],
      rows.slice(0, rowsMax).map((socket) => {
        const refusals = stuckClients.find(({ clientId }) => clientId === socket.clientId)?.refusals
        const health = healthOf(socket)
        return h(
          'tr',
          { class: refusals === undefined && health.weight !== 'bad' ? undefined : 'bad' },
          h('td', { class: 'id' }, orUnknown(socket.clientId)),
          h(
            'td',
            { class: refusals === undefined ? `is-${health.weight}` : 'is-bad' },
            refusals === undefined ? health.words : `refused ${count(refusals)} times in a row`,
          ),
          h('td', { class: 'id' }, orUnknown(socket.subject)),
          h('td', {}, socket.inspector ? 'inspector' : `${releaseOf(socket.generation)} ${socket.transport}`),
          h('td', { class: 'number' }, count(socket.pulls)),
          h('td', { class: 'number' }, count(socket.lag)),
          h('td', { class: 'number' }, count(socket.unacknowledged)),
        )
      }),
    ),
    more > 0 ? h('p', { class: 'faint' }, `${many(more, 'more connection')}: say which you look for.`) : null,
    h(
      'p',
      { class: 'faint' },
      'A client is known by its id once it has pushed since the object woke; its subject is the claim “sub” of its token.',
    ),
  ]
}

const objectsOf = ({ clientObjects = [] }: State): readonly Child[] =>
  clientObjects.length === 0
    ? []
    : [
        h('h2', {}, 'Client objects'),
        h('p', {}, 'Durable Objects that are called with what is pushed.'),
        boxedTable(
          'Client objects',
          ['Binding', 'Object', 'LiveStore', 'Lag'],
          clientObjects.map(({ binding, id, generation, lag }) =>
            h(
              'tr',
              {},
              h('td', {}, binding),
              h('td', { class: 'id' }, id),
              h('td', {}, releaseOf(generation)),
              h('td', { class: 'number' }, count(lag)),
            ),
          ),
        ),
      ]

const errorsOf = ({ lastErrors = [], time }: State): readonly Child[] => [
  h('h2', {}, 'Last refusals'),
  lastErrors.length === 0
    ? h('p', { class: 'calm' }, 'None since the object woke. Lost races, which are part of syncing, are not listed.')
    : h(
        'ol',
        { class: 'errors' },
        grouped(lastErrors.toReversed()).map(([error, times]) => errorItem(error, times, time)),
      ),
]

/** Refusals that are the same, one after the other, as one of them and how often it was. */
const grouped = (errors: readonly PastError[]): ReadonlyArray<readonly [error: PastError, times: number]> => {
  const groups: Array<[PastError, number]> = []
  const key = ({ reason, message, clientId, subject }: PastError) =>
    JSON.stringify([reason, message, clientId, subject])
  for (const error of errors) {
    const last = groups.at(-1)
    if (last !== undefined && key(last[0]) === key(error)) last[1] += 1
    else groups.push([error, 1])
  }
  return groups
}

const errorItem = (
  { at, reason, message, clientId, subject }: PastError,
  times: number,
  now: string | undefined,
): Child =>
  h(
    'li',
    {},
    h('p', {}, h('b', {}, reason), `, ${reasonInWords(reason)}`),
    h('p', { class: 'words' }, message),
    h(
      'p',
      { class: 'faint' },
      [
        clientId && `client ${clientId}`,
        subject && `subject ${subject}`,
        now && `${times > 1 ? `${count(times)} times, last ` : ''}${ago(Date.parse(now) - Date.parse(at))}`,
      ]
        .filter(Boolean)
        .join(' · '),
    ),
  )
