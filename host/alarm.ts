/**
 * One alarm of the platform for two: the sync backend, and an app whose class has an `alarm` of its own.
 *
 * Owns when each wants to be called. The platform knows the earlier of the two times; both are stored in the object, in one
 * write with the alarm, from the first time on that the app sets one.
 */
import { alarmKey } from '../src/edge/owned.js'

type Time = number | Date

/** What is used of an object's storage. */
interface Storage {
  readonly sql: { exec(statement: string, ...params: unknown[]): { toArray(): { at: number | null; owner: string }[] } }
  setAlarm(at: Time, options?: object): Promise<void>
  getAlarm(options?: object): Promise<number | null>
  deleteAlarm(options?: object): Promise<void>
  [alarmKey]?: Pick<SharedAlarm, 'setSync' | 'deleteSync'>
}

const table = 'livestore_sync_alarm'

/** When somebody wants to be called, in milliseconds since the epoch. */
type At = number | null

const earlier = (one: At, other: At): At => (one === null || other === null ? (one ?? other) : Math.min(one, other))

export class SharedAlarm {
  readonly #storage: Storage
  readonly #platform: Pick<Storage, 'setAlarm' | 'getAlarm' | 'deleteAlarm'>
  /** Whether both times are stored; undefined until that is read. */
  #isShared: boolean | undefined
  #app: At = null
  #sync: At = null
  /** The time for which the app is being called. */
  #called: At = null

  /** Takes the place of the methods of `storage` that set the alarm, for the app. */
  constructor(storage: Storage) {
    this.#storage = storage
    this.#platform = {
      setAlarm: storage.setAlarm.bind(storage),
      getAlarm: storage.getAlarm.bind(storage),
      deleteAlarm: storage.deleteAlarm.bind(storage),
    }
    const own = {
      setAlarm: (at: Time) => this.#setApp(Number(at)),
      getAlarm: () => this.#getApp(),
      deleteAlarm: () => this.#setApp(null),
      [alarmKey]: this,
    }
    for (const key of Reflect.ownKeys(own)) {
      Object.defineProperty(storage, key, { value: own[key as keyof typeof own], configurable: true })
    }
  }

  /** Sets the alarm of the sync backend. */
  setSync(at: number): void {
    this.#read()
    this.#sync = at
    if (this.#isShared) this.#store()
    else void this.#platform.setAlarm(at)
  }

  /** Removes the alarm of the platform: everything that is stored is removed with it. */
  deleteSync(): Promise<void> {
    this.#isShared = undefined
    this.#app = this.#sync = null
    return this.#platform.deleteAlarm()
  }

  /** The platform's alarm goes off: `sync` is called, and `app` if its time has come. */
  async goOff(sync: () => unknown, app: () => unknown): Promise<void> {
    this.#read()
    const due = Math.max(Date.now(), earlier(this.#app, this.#sync) ?? 0)
    const called = this.#app !== null && this.#app <= due ? this.#app : null
    // As long as the app has set none here, this may be one that it set before it shared it.
    const isDue = called !== null || !this.#isShared
    this.#sync = null
    this.#called = called
    const calls = [async () => sync(), async () => (isDue ? app() : undefined)]
    try {
      const ended = await Promise.allSettled(calls.map((call) => call()))
      // The platform calls again: both are to be, if only the other one failed.
      for (const end of ended) if (end.status === 'rejected') throw end.reason
      if (called !== null && this.#app === called) this.#app = null
    } finally {
      this.#called = null
    }
    if (this.#isShared) this.#store()
  }

  async #getApp(): Promise<At> {
    this.#read()
    return this.#called !== null && this.#app === this.#called ? null : this.#app
  }

  async #setApp(at: At): Promise<void> {
    this.#read()
    if (!this.#isShared) {
      if (at === null) return
      // What the sync backend set in an earlier life of the object.
      const set = await this.#platform.getAlarm()
      this.#sync = this.#isShared ? this.#sync : set
      this.#storage.sql.exec(`CREATE TABLE IF NOT EXISTS ${table} (owner TEXT PRIMARY KEY, at INTEGER) STRICT`)
      this.#isShared = true
    }
    this.#app = at
    if (this.#called === at) this.#called = null
    this.#store()
  }

  #read(): void {
    if (this.#isShared !== undefined) return
    const { sql } = this.#storage
    const exists = sql.exec(`SELECT NULL AS at, name AS owner FROM sqlite_master WHERE name = '${table}'`).toArray()
    this.#isShared = exists.length > 0
    if (!this.#isShared) return
    for (const { owner, at } of sql.exec(`SELECT owner, at FROM ${table}`).toArray()) {
      if (owner === 'app') this.#app = at
      else this.#sync = at
    }
  }

  /** Both times, and the platform's alarm, in one write. */
  #store(): void {
    const { sql } = this.#storage
    const insert = `INSERT OR REPLACE INTO ${table} (owner, at) VALUES ('app', ?), ('sync', ?)`
    sql.exec(insert, this.#app, this.#sync)
    const at = earlier(this.#app, this.#sync)
    void (at === null ? this.#platform.deleteAlarm() : this.#platform.setAlarm(at))
  }
}
