/** What tests of the inspector run in its page: texts, since nothing of the browser is known here. Each is one expression. */

/** Goes to a place of the page, and resolves with the milliseconds until a row shows an event. */
export const timeToFirstRow = (hash: string): string => `(async () => {
  const begun = performance.now()
  location.hash = ${JSON.stringify(hash)}
  while (document.querySelector('.row:not(.absent)') === null) await new Promise(requestAnimationFrame)
  return performance.now() - begun
})()`

/** Notes from now on how long frames take, and tasks that take longer than 50 ms. */
export const watchFrames = `(() => {
  window.seen = { tasks: [], frames: [] }
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: 'longtask' })
  let last
  const frame = (now) => {
    if (last !== undefined) seen.frames.push(now - last)
    last = now
    requestAnimationFrame(frame)
  }
  requestAnimationFrame(frame)
})()`

export interface Seen {
  readonly tasks: readonly number[]
  readonly frames: readonly number[]
}

/** What {@link watchFrames} has noted. */
export const seenFrames = 'seen'

/** The numbers of the rows of the list that are in sight, ascending. */
export const numbersInSight = `(() => {
  const list = document.querySelector('.list')
  const { top, bottom } = list.getBoundingClientRect()
  const inSight = (row) => row.getBoundingClientRect().bottom > top + 1 && row.getBoundingClientRect().top < bottom - 1
  const number = (row) => Number(row.querySelector('.number').textContent.replaceAll(',', ''))
  return [...list.querySelectorAll('.row')].filter(inSight).map(number).sort((a, b) => a - b)
})()`

/** Makes the page take itself for hidden, or not. */
export const takesItselfForHidden = (isHidden: boolean): string => `(() => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${isHidden} })
  document.dispatchEvent(new Event('visibilitychange'))
})()`

/** Answers the page's question for a file with one of the browser's own, or has no such question once this tab says so. */
export const filePicker = `(() => {
  const pick = async ({ suggestedName }) =>
    await (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true })
  window.showSaveFilePicker = sessionStorage.getItem('is-download') === null ? pick : undefined
})()`

/** The text of a file that was picked. */
export const pickedFile = (name: string): string => `(async () =>
  await (await (await (await navigator.storage.getDirectory()).getFileHandle(${JSON.stringify(name)})).getFile()).text())()`

export interface Focused {
  readonly name: string
  /** Whether it has a ring. */
  readonly isSeen: boolean
  readonly isInDialog: boolean
  /** Whether nothing of the page has the focus. */
  readonly isNothing: boolean
}

/** What has the focus. */
export const focused = `(() => {
  const element = document.activeElement
  const label = element.labels?.length > 0 ? element.labels[0].textContent : undefined
  const name = element.getAttribute('aria-label') ?? label ?? element.textContent ?? ''
  const { outlineStyle, outlineWidth } = getComputedStyle(element)
  return {
    name: name.trim(),
    isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2,
    isInDialog: element.closest('dialog') !== null,
    isNothing: element === document.body,
  }
})()`

/** Texts whose contrast is below that of WCAG's level AA, with their contrast. */
export const faintTexts = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })
  const read = (color) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = color
    canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = (top, below) => [0, 1, 2].map((at) => top[at] * top[3] + below[at] * (1 - top[3])).concat(1)
  const behind = (element) => {
    if (element === null) return [255, 255, 255, 1]
    const own = read(getComputedStyle(element).backgroundColor)
    return own[3] === 1 ? own : over(own, behind(element.parentElement))
  }
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4)
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
  const faint = []
  let texts = 0
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].find((node) => node.nodeType === Node.TEXT_NODE && node.nodeValue.trim() !== '')
    const { width, height } = element.getBoundingClientRect()
    // Nothing is asked of controls that cannot be used.
    if (text === undefined || width < 2 || height < 2 || element.matches(':disabled, option')) continue
    texts += 1
    const { color, fontSize } = getComputedStyle(element)
    const below = behind(element)
    const [a, b] = [light(over(read(color), below)), light(below)]
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (contrast < (parseFloat(fontSize) >= 24 ? 3 : 4.5)) faint.push(contrast.toFixed(2) + ': ' + text.nodeValue.trim().slice(0, 60))
  }
  return texts === 0 ? ['there is no text'] : faint
})()`

/** How many pixels wide all of the page is. */
export const pageWidth = 'document.documentElement.scrollWidth'
