/**
 * A list of any length, of which the rows that are seen exist. Every row is as tall as the others, and one element is a row for
 * as long as it is in sight. A list that would be taller than browsers can draw is scrolled in proportion.
 */
import { eachFrame } from './cell.ts'
import { h } from './dom.ts'

/** Browsers draw no element that is much taller, in CSS pixels. */
const tallestPx = 8_000_000
/** Rows beyond the edge that exist as well. */
const overscan = 6

export interface ListSource {
  /** How many rows there are. */
  count(): number
  /** Makes `row`, whose element is empty or was another one, the row of `index`. */
  fill(row: HTMLElement, index: number): void
  /** Rows `from` to `to`, both included, are in sight now. */
  seen(from: number, to: number): void
  /** Whether the end of the list is in sight has changed. */
  pinned(isPinned: boolean): void
}

export class VirtualList {
  readonly element: HTMLElement
  /** Draws soon. */
  readonly draw: () => void
  /** Whether the end stays in sight when the list grows. */
  isPinned = true
  readonly #source: ListSource
  readonly #spacer = h('div', { class: 'spacer', role: 'presentation' })
  readonly #rows = new Map<number, HTMLElement>()
  readonly #spare: HTMLElement[] = []
  #rowPx = 0
  readonly #resizes = new ResizeObserver(() => {
    this.#rowPx = 0
    this.draw()
  })

  constructor(source: ListSource, label: string) {
    this.#source = source
    this.element = h('div', { class: 'list', role: 'listbox', tabindex: '0', 'aria-label': label }, this.#spacer)
    this.draw = eachFrame(() => this.#draw())
    this.element.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = this.element
      this.#pin(scrollTop + clientHeight >= scrollHeight - this.#height / 2)
      this.draw()
    })
    this.#resizes.observe(this.element)
  }

  dispose(): void {
    this.#resizes.disconnect()
  }

  /** How many rows fit. */
  get rowsInSight(): number {
    return Math.max(1, Math.floor(this.element.clientHeight / this.#height))
  }

  /** Scrolls to the end, and stays there. */
  toEnd(): void {
    this.#pin(true)
    this.draw()
  }

  /** Scrolls just as far as brings a row into sight, or into the middle. */
  reveal(index: number, where: 'nearest' | 'middle' = 'nearest'): void {
    const view = this.element.clientHeight
    const [top, from] = [index * this.#height, this.#offset]
    const wanted =
      where === 'middle'
        ? top - view / 2
        : top < from
          ? top
          : top + this.#height > from + view
            ? top + this.#height - view
            : from
    const end = this.#source.count() * this.#height - view
    this.#pin(wanted >= end - 1)
    this.element.scrollTop = Math.max(0, Math.min(wanted, end)) / this.#scale
    this.draw()
  }

  /** Has every row filled anew. */
  refill(): void {
    for (const [index, row] of this.#rows) this.#source.fill(row, index)
    this.draw()
  }

  /** Keeps the rows where they are on the screen when `added` rows come before them. */
  shift(added: number): void {
    const offset = this.#offset
    this.#size()
    if (!this.isPinned) this.element.scrollTop = (offset + added * this.#height) / this.#scale
    this.refill()
  }

  #pin(isPinned: boolean): void {
    if (isPinned === this.isPinned) return
    this.isPinned = isPinned
    this.#source.pinned(isPinned)
  }

  /** Of a row, as the style sheet has it. */
  get #height(): number {
    if (this.#rowPx === 0) this.#rowPx = parseFloat(getComputedStyle(this.element).getPropertyValue('--row')) || 28
    return this.#rowPx
  }

  /** Pixels of the whole list for one that is scrolled. */
  get #scale(): number {
    const view = this.element.clientHeight
    const full = this.#source.count() * this.#height
    return full <= tallestPx ? 1 : (full - view) / (tallestPx - view)
  }

  /** Pixels of the whole list above what is in sight. */
  get #offset(): number {
    return this.element.scrollTop * this.#scale
  }

  #size(): void {
    const full = this.#source.count() * this.#height
    const wanted = `${Math.min(full, tallestPx)}px`
    if (this.#spacer.style.height !== wanted) this.#spacer.style.height = wanted
  }

  #draw(): void {
    this.#size()
    if (this.isPinned) this.element.scrollTop = this.element.scrollHeight
    const count = this.#source.count()
    const [view, scrolled, offset] = [this.element.clientHeight, this.element.scrollTop, this.#offset]
    const first = Math.max(0, Math.floor(offset / this.#height))
    const last = Math.min(count - 1, Math.floor((offset + view) / this.#height))
    const [from, to] = [Math.max(0, first - overscan), Math.min(count - 1, last + overscan)]
    for (const [index, row] of this.#rows) {
      if (from <= index && index <= to) continue
      this.#rows.delete(index)
      this.#spare.push(row)
    }
    for (let index = from; index <= to; index++) {
      const row = this.#rows.get(index) ?? this.#row(index)
      row.style.transform = `translateY(${scrolled + index * this.#height - offset}px)`
    }
    for (const row of this.#spare.splice(0)) row.remove()
    if (count > 0) this.#source.seen(first, last)
  }

  #row(index: number): HTMLElement {
    const row = this.#spare.pop() ?? h('div', { class: 'row', role: 'option' })
    if (row.parentNode === null) this.#spacer.append(row)
    this.#rows.set(index, row)
    this.#source.fill(row, index)
    return row
  }
}
