/** Which events are shown: all, or those whose name and client contain what is looked for, found from the newest back. */
import type { EventLog, LoggedEvent } from './event-log.ts'
import type { Session } from './session.ts'

export interface Wanted {
  readonly name: string
  readonly client: string
}

/** One search for older events ends after so many events, or so many that are wanted. */
const [searchedMax, foundMax] = [20_000, 200]
const searchedAtOnce = 5_000

/** The numbers to show, in order, and how they are known. */
export class EventFilter {
  readonly #session: Session
  #wanted: Wanted = { name: '', client: '' }
  #found: LoggedEvent[] = []
  /** All from here on have been looked at. */
  #searchedFrom = 1
  /** Numbers up to here are shown. */
  #shownTo = 0
  /** Changes when another search begins. */
  #search = 0

  constructor(session: Session) {
    this.#session = session
  }

  get isOn(): boolean {
    return this.#wanted.name !== '' || this.#wanted.client !== ''
  }

  get count(): number {
    return this.isOn ? this.#found.length : this.#shownTo
  }

  /** How many events have been looked at. */
  get searched(): number {
    return Math.max(0, this.#shownTo - this.#searchedFrom + 1)
  }

  get hasOlder(): boolean {
    return this.isOn && this.#searchedFrom > 1
  }

  /** The number in a row. */
  at(index: number): number {
    return this.isOn ? (this.#found[index]?.seqNum ?? 0) : index + 1
  }

  /** The event in a row, if it is here. */
  eventAt(index: number): LoggedEvent | undefined {
    return this.isOn ? this.#found[index] : this.#log.get(index + 1)
  }

  /** The row of a number, or of the next one that is shown. */
  indexOf(seqNum: number): number {
    if (!this.isOn) return Math.max(0, Math.min(seqNum, this.#shownTo) - 1)
    const index = this.#found.findIndex((event) => event.seqNum >= seqNum)
    return index < 0 ? Math.max(0, this.#found.length - 1) : index
  }

  /** Looks for something else, among the events that are here. */
  set(wanted: Wanted): void {
    this.#search += 1
    this.#wanted = { name: wanted.name.trim().toLowerCase(), client: wanted.client.trim().toLowerCase() }
    this.#found = []
    this.#searchedFrom = this.#shownTo + 1
    if (this.isOn) this.#lookAt(Math.min(this.#log.contiguousFrom, this.#shownTo + 1))
  }

  /** Forgets what was found and shown: the log is another one. */
  clear(): void {
    this.#shownTo = 0
    this.set(this.#wanted)
  }

  /** Shows what has come, up to a number. */
  showTo(seqNum: number): void {
    if (this.isOn)
      for (let next = this.#shownTo + 1; next <= seqNum; next++) {
        const event = this.#log.get(next)
        if (event !== undefined && this.#wants(event)) this.#found.push(event)
      }
    else this.#searchedFrom = seqNum + 1
    this.#shownTo = seqNum
  }

  /** Looks at older events; resolves with how many more were found. */
  async searchOlder(onProgress: () => void): Promise<number> {
    const search = (this.#search += 1)
    const before = this.#found.length
    const downTo = Math.max(1, this.#searchedFrom - searchedMax)
    while (this.#searchedFrom > downTo && this.#found.length - before < foundMax) {
      const from = Math.max(downTo, this.#searchedFrom - searchedAtOnce)
      if (!(await this.#session.load({ from, to: this.#searchedFrom - 1 })) || search !== this.#search) break
      this.#lookAt(from)
      onProgress()
    }
    return this.#found.length - before
  }

  /** Looks at the numbers from `from` on that have not been looked at. */
  #lookAt(from: number): void {
    const found: LoggedEvent[] = []
    for (let seqNum = from; seqNum < this.#searchedFrom; seqNum++) {
      const event = this.#log.get(seqNum)
      if (event !== undefined && this.#wants(event)) found.push(event)
    }
    this.#found = [...found, ...this.#found]
    this.#searchedFrom = Math.min(from, this.#searchedFrom)
  }

  #wants({ name, clientId }: LoggedEvent): boolean {
    return name.toLowerCase().includes(this.#wanted.name) && clientId.toLowerCase().includes(this.#wanted.client)
  }

  get #log(): EventLog {
    return this.#session.log
  }
}
