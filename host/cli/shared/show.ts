/** What is printed, for people and for programs. */

/**
 * A text as a terminal may show it: ids, names and errors come from clients, and what is meant for a terminal in them would
 * be done by it.
 */
export const plain = (text: string): string =>
  text.replaceAll(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** `12,345` */
export const number = (value: number): string => value.toLocaleString('en-US')

/** `1 event`, `12,345 events` */
export const count = (value: number, noun: string): string => `${number(value)} ${noun}${value === 1 ? '' : 's'}`

/** `312 B`, `1.2 MB` */
export const bytes = (value: number): string => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = value < 1_000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3))
  const scaled = value / 1_000 ** power
  return `${power === 0 ? scaled : scaled.toFixed(1)} ${units[power]}`
}

/** How long ago a moment was: `4 s ago`. */
export const ago = (moment: string, now = Date.now()): string => {
  const seconds = Math.max(0, Math.round((now - Date.parse(moment)) / 1_000))
  if (Number.isNaN(seconds)) return plain(moment)
  for (const [unit, length] of [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
  ] as const)
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit} ago`
  return `${seconds} s ago`
}

/** Columns side by side; those named in `right` end at the right. */
export const table = (rows: ReadonlyArray<readonly string[]>, right: readonly number[] = []): string => {
  const widths = rows.reduce<number[]>((so, row) => {
    for (const [at, cell] of row.entries()) so[at] = Math.max(so[at] ?? 0, cell.length)
    return so
  }, [])
  const pad = (cell: string, at: number): string =>
    right.includes(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)
  return rows.map((row) => row.map(pad).join('  ').trimEnd()).join('\n')
}

/** Prints an answer: as one line of JSON, or for people. */
export const print = (isJson: boolean, value: unknown, text: () => string): void =>
  console.log(isJson ? JSON.stringify(value) : text())
