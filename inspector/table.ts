/** Tables: the head that names the columns, and the box in which a wide one is scrolled. */
import { type Attributes, type Child, h } from './dom.ts'

/** The name of a column; of one of numbers, which end at the right, as `{ number: 'Lag' }`. */
type Column = string | { readonly number: string }

/** The head of a table. */
export const headOf = (columns: readonly Column[], attributes: Attributes = {}): Child =>
  h(
    'thead',
    attributes,
    h(
      'tr',
      {},
      columns.map((column) =>
        typeof column === 'string'
          ? h('th', { scope: 'col' }, column)
          : h('th', { scope: 'col', class: 'number' }, column.number),
      ),
    ),
  )

/** A table in a box that is scrolled by keys as well; `label` names it for who does not see it. */
export const boxedTable = (label: string, columns: readonly Column[], rows: readonly Child[]): Child =>
  h(
    'div',
    { class: 'table-box', role: 'region', 'aria-label': label, tabindex: '0' },
    h('table', {}, headOf(columns), h('tbody', {}, rows)),
  )
