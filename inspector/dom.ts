/**
 * Making and changing elements. Data goes into text nodes and attributes alone; nothing here reads text as HTML, and the page's
 * policy would stop it from running anything.
 */

export type Child = Node | string | number | null | undefined | false | readonly Child[]

interface Listeners {
  readonly onclick?: (event: MouseEvent) => void
  readonly oninput?: (event: Event) => void
  readonly onchange?: (event: Event) => void
  readonly onsubmit?: (event: SubmitEvent) => void
  readonly onkeydown?: (event: KeyboardEvent) => void
  readonly onscroll?: (event: Event) => void
  readonly onpointermove?: (event: PointerEvent) => void
  readonly onpointerleave?: (event: PointerEvent) => void
}

type Value = string | number | boolean | undefined

/** Attributes by name; one that is `false` or undefined is left away. */
export type Attributes = Listeners & { readonly [name: string]: Value | ((event: never) => void) }

const svgNamespace = 'http://www.w3.org/2000/svg'

const fill = (element: Element, attributes: Attributes, children: readonly Child[]): void => {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as (event: Event) => void)
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
  append(element, children)
}

const append = (element: Element, children: readonly Child[]): void => {
  for (const child of children) {
    if (child instanceof Node) element.append(child)
    else if (typeof child === 'string' || typeof child === 'number') element.append(String(child))
    else if (child) append(element, child)
  }
}

/** An element of HTML. */
export const h = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] => {
  const element = document.createElement(tag)
  fill(element, attributes, children)
  return element
}

/** An element of SVG. */
export const svg = (tag: string, attributes: Attributes = {}, ...children: readonly Child[]): SVGElement => {
  const element = document.createElementNS(svgNamespace, tag) as SVGElement
  fill(element, attributes, children)
  return element
}

/**
 * Makes the children of `target` what `wanted` are, changing as little as can be: focus, selection and scroll positions stay.
 * Listeners of `wanted` do not come along, so it is for what has none; links have none.
 */
export const morph = (target: Element, ...wanted: readonly Child[]): void => {
  const next = document.createElement('div')
  append(next, wanted)
  morphChildren(target, next)
}

const morphChildren = (target: Node, wanted: Node): void => {
  const [have, want] = [[...target.childNodes], [...wanted.childNodes]]
  for (const [index, node] of want.entries()) {
    const old = have[index]
    if (old === undefined) target.appendChild(node)
    else if (old.nodeName !== node.nodeName) target.replaceChild(node, old)
    else if (old instanceof Element && node instanceof Element) morphElement(old, node)
    else if (old.nodeValue !== node.nodeValue) old.nodeValue = node.nodeValue
  }
  for (const extra of have.slice(want.length)) target.removeChild(extra)
}

const morphElement = (old: Element, wanted: Element): void => {
  // Whether a disclosure is open is up to its reader.
  const keeps = (name: string): boolean => name === 'open' && old instanceof HTMLDetailsElement
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !keeps(name)) old.removeAttribute(name)
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value && !keeps(name)) old.setAttribute(name, value)
  }
  morphChildren(old, wanted)
}

/** Runs what a button does, unless it is at it. The button keeps the focus, which one that is disabled would lose. */
export const whileBusy = async (button: HTMLButtonElement, run: () => Promise<void>): Promise<void> => {
  if (button.hasAttribute('aria-disabled')) return
  button.setAttribute('aria-disabled', 'true')
  try {
    await run()
  } finally {
    button.removeAttribute('aria-disabled')
  }
}

let ids = 0

/** An id for an element that another one refers to. */
export const freshId = (): string => `id-${(ids += 1)}`

const announcer = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' })
document.body.append(announcer)
let announcing: number | undefined

/** Says something to those who hear the page: the last of what comes within a moment. */
export const announce = (words: string): void => {
  clearTimeout(announcing)
  announcing = window.setTimeout(() => (announcer.textContent = words), 400)
}
