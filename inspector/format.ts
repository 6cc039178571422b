/** Numbers, times and names as they are shown. */

const locale = 'en-GB'
const integers = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 })
const decimals = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 })
const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const clockMinutes = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short' })
const dayAndYear = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', year: 'numeric' })

export const count = (value: number): string => integers.format(value)

/** `1 event`, `1,204 events`. */
export const many = (value: number, one: string, several = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : several}`

export const bytes = (value: number): string => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [size, unit] = [value, 0]
  while (size >= 1_000 && unit < units.length - 1) [size, unit] = [size / 1_000, unit + 1]
  return `${decimals.format(size)} ${units[unit]}`
}

/** A length of time, in the largest unit that fits. */
export const duration = (ms: number): string => {
  const seconds = Math.max(0, ms) / 1_000
  if (seconds < 1) return `${Math.round(seconds * 1_000)} ms`
  if (seconds < 10) return `${decimals.format(seconds)} s`
  if (seconds < 60) return `${count(seconds)} s`
  if (seconds < 3_600) return `${count(seconds / 60)} min`
  if (seconds < 48 * 3_600) return `${decimals.format(seconds / 3_600)} h`
  return `${count(seconds / 86_400)} days`
}

export const ago = (ms: number): string => (ms < 1_000 ? 'just now' : `${duration(ms)} ago`)

const dayOf = (ms: number): number => new Date(ms).setHours(0, 0, 0, 0)

/** The time of day of an event, to the millisecond, with the day where it is not today. */
export const eventTime = (ms: number, now: number): string => {
  const fraction = String(new Date(ms).getMilliseconds()).padStart(3, '0')
  const time = `${clock.format(ms)}.${fraction}`
  return dayOf(ms) === dayOf(now) ? time : `${day.format(ms)} ${time}`
}

export const time = (ms: number): string => clock.format(ms)

/** A place on an axis that spans `spanMs`. */
export const axisTime = (ms: number, spanMs: number): string =>
  spanMs < 10 * 60_000 ? clock.format(ms) : spanMs < 36 * 3_600_000 ? clockMinutes.format(ms) : day.format(ms)

/** A moment in full, as this computer's clock and calendar have it. */
export const moment = (ms: number): string => `${dayAndYear.format(ms)}, ${clock.format(ms)}`

/** The beginning of an id, where all of it is told elsewhere. */
export const short = (id: string): string => (id.length > 12 ? `${id.slice(0, 10)}…` : id)

/** What went wrong, in words. */
export const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
