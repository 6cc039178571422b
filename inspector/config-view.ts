/** What this deployment is configured with, secrets masked, and what is doubtful about it. */
import { Failure, type Api } from './api.ts'
import { type Child, h, morph } from './dom.ts'
import { wordsOf } from './format.ts'
import { boxedTable } from './table.ts'
import type { Config } from '../host/administration.ts'
import type { View } from './view.ts'

export const configView = (api: Api): View => {
  const body = h('div', { class: 'parts' }, h('p', { class: 'faint' }, 'Asking …'))
  api.json<Config>('/config').then(
    (config) => morph(body, ...configOf(config)),
    (error: unknown) => {
      const isAbsent = error instanceof Failure && error.status === 404
      morph(
        body,
        h(
          'p',
          { class: 'calm' },
          isAbsent ? 'This release of the Worker does not tell its configuration.' : wordsOf(error),
        ),
      )
    },
  )
  return {
    element: h(
      'div',
      { class: 'page' },
      h('div', { class: 'title' }, h('h1', { tabindex: '-1' }, 'Configuration')),
      body,
    ),
    dispose: () => {},
  }
}

const valueOf = ({ value, isSet, isSecret }: Config['variables'][number]): Child => {
  if (isSecret)
    return isSet ? h('span', { class: 'faint' }, '•••••••• (a secret)') : h('span', { class: 'faint' }, 'none')
  return value === null ? h('span', { class: 'faint' }, 'none') : h('code', {}, value)
}

const configOf = ({ version, variables, bindings, warnings }: Config): readonly Child[] => [
  h(
    'section',
    {},
    h('h2', {}, 'Warnings'),
    warnings.length === 0
      ? h('p', { class: 'calm' }, 'None.')
      : h(
          'ul',
          { class: 'findings' },
          warnings.map(({ name, message }) => h('li', { class: 'warn' }, h('h3', {}, name), h('p', {}, message))),
        ),
  ),
  h(
    'section',
    {},
    h('h2', {}, 'Worker'),
    h(
      'dl',
      { class: 'facts' },
      h('div', {}, h('dt', {}, 'version'), h('dd', {}, version)),
      Object.entries(bindings).map(([name, value]) =>
        h('div', {}, h('dt', {}, name), h('dd', {}, value === true ? 'bound' : value ? value : 'not bound')),
      ),
    ),
  ),
  h(
    'section',
    {},
    h('h2', {}, 'Variables'),
    boxedTable(
      'Variables',
      ['Name', 'Value', 'From'],
      variables.map((variable) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row', class: 'id' }, variable.name),
          h('td', { class: 'value' }, valueOf(variable)),
          h('td', { class: variable.isSet ? undefined : 'faint' }, variable.isSet ? 'this deployment' : 'default'),
        ),
      ),
    ),
  ),
]
