/** How far long work has come: one line on stderr that changes, where that is a terminal, and nothing elsewhere. */
import { bytes, number } from './show.ts'

export interface Progress {
  /** It has come so far, of so many in all, if that is known. */
  readonly at: (done: number, total?: number) => void
  /** Takes the line away. */
  readonly end: () => void
}

/** How often the line is drawn, at most. */
const everyMs = 100

const cells = 24

const units = { events: (value: number) => `${number(value)} events`, bytes } as const

/** Begins a line: `what` is being done, counted in `unit`. */
export const progressOf = (what: string, unit: keyof typeof units): Progress => {
  if (!process.stderr.isTTY) return { at: () => {}, end: () => {} }
  const startedAt = Date.now()
  let drawing: NodeJS.Timeout | undefined
  let drawnAt = 0
  let first: number | undefined
  let [done, total]: [number, number | undefined] = [0, undefined]
  const draw = (): void => {
    drawing = undefined
    drawnAt = Date.now()
    const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total)
    const filled = Math.round((share ?? 0) * cells)
    const bar =
      share === undefined ? '' : `[${'#'.repeat(filled)}${' '.repeat(cells - filled)}] ${Math.floor(share * 100)} %, `
    const perSecond = Math.round(((done - (first ?? 0)) * 1_000) / Math.max(1, drawnAt - startedAt))
    const rate = perSecond > 0 ? `, ${units[unit](perSecond)}/s` : ''
    const line = `${what} ${bar}${units[unit](done)}${rate}`
    process.stderr.write(`\r\x1b[K${line.slice(0, (process.stderr.columns || 80) - 1)}`)
  }
  return {
    at: (...now) => {
      ;[done, total] = [now[0], now[1]]
      first ??= done
      // What comes in a moment is drawn once, and what came last in any case.
      drawing ??= setTimeout(draw, Math.max(0, drawnAt + everyMs - Date.now()))
    },
    end: () => {
      clearTimeout(drawing)
      drawing = undefined
      if (drawnAt > 0) process.stderr.write('\r\x1b[K')
    },
  }
}
