/**
 * A log as a file: whether it is complete and undamaged, by its last line, which has the number of its events and the checksum of
 * all bytes before it. `src/transfer/` writes and reads such files on the server.
 */
import zlib from 'node:zlib'

/** The first line. */
export interface Header {
  readonly storeId: string
  readonly backendId: string
  readonly head: number
  readonly exportedAt: string
}

/** What a file was found to hold. */
export interface Found {
  readonly header: Header
  readonly events: number
  readonly head: number
  readonly bytes: number
  readonly crc32: string
}

/** How such a file begins. */
export const beginning = '{"format":"livestore-sync-export"'

const lineBreak = 0x0a

/** Looks at the bytes of a file, in pieces. */
export class LogFile {
  /** From the beginning of the line on that may be the last. */
  #held: Buffer = Buffer.alloc(0)
  #checksum = 0
  #lines = 0
  #header: Header | undefined
  bytes = 0

  /** What the first line says, once it is there. */
  get header(): Header | undefined {
    return this.#header
  }

  /** How many events have been seen. */
  get events(): number {
    return Math.max(0, this.#lines - 1)
  }

  take(piece: Uint8Array): void {
    this.bytes += piece.length
    const { buffer, byteOffset, length } = piece
    const data = this.#held.length === 0 ? Buffer.from(buffer, byteOffset, length) : Buffer.concat([this.#held, piece])
    // The line break at the end belongs to the line that may be the last.
    const begins = data.lastIndexOf(lineBreak, -2) + 1
    const before = data.subarray(0, begins)
    if (this.#header === undefined && begins > 0) this.#header = headerIn(before)
    for (let at = before.indexOf(lineBreak); at >= 0; at = before.indexOf(lineBreak, at + 1)) this.#lines += 1
    this.#checksum = zlib.crc32(before, this.#checksum)
    this.#held = data.subarray(begins)
  }

  /** What the file holds, at its end; a text says what is wrong with it. */
  end(): Found | string {
    const { end } = (parsed(String(this.#held)) ?? {}) as { end?: Partial<Found> }
    const header = this.#header
    if (header === undefined || end?.crc32 === undefined || end.head === undefined)
      return 'its last line is missing: it is cut off'
    const crc32 = this.#checksum.toString(16).padStart(8, '0')
    if (end.crc32 !== crc32) return `it is damaged: its checksum is ${crc32}, and should be ${end.crc32}`
    if (end.events !== this.events) return `it is damaged: it has ${this.events} events, and should have ${end.events}`
    return { header, events: this.events, head: end.head, bytes: this.bytes, crc32 }
  }
}

const headerIn = (lines: Buffer): Header | undefined => {
  const header = parsed(String(lines.subarray(0, lines.indexOf(lineBreak)))) as
    (Header & { format?: string }) | undefined
  return header?.format === 'livestore-sync-export' ? header : undefined
}

const parsed = (text: string): object | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
