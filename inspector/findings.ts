/** Findings as they are shown. */
import { type Child, h } from './dom.ts'
import type { Finding } from './explain.ts'

export const findingList = (findings: readonly Finding[]): Child =>
  h(
    'ul',
    { class: 'findings' },
    findings.map(({ weight, title, why, advice, words }) =>
      h(
        'li',
        { class: weight },
        h('h3', {}, title),
        h('p', {}, why),
        words ? h('p', { class: 'words' }, words) : null,
        h('p', { class: 'advice' }, h('b', {}, 'What to do: '), advice),
      ),
    ),
  )
