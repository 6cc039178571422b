/** A browser window with the app in it, as its user sees it. */
import type { Locator, Page } from 'playwright-core'
import { eventually } from '../clients/waiting.ts'

/** Runs in the page, at once, so that it sees one state of the list. */
const readTodos = `[...document.querySelectorAll('.todos > li')].map((item) =>
  (item.dataset.completed === 'true' ? '✓ ' : '') + (item.querySelector('.text')?.textContent ?? ''))`

/** How long the page may take to show what is awaited, where nothing else is said. */
const withinMsUsual = 45_000

/** How often a page is looked at: each time costs it, and this process, several milliseconds. */
const lookEveryMs = 50

export type Sync = 'connecting' | 'offline' | 'syncing' | 'in-sync' | 'refused'

export class AppWindow {
  readonly page: Page

  constructor(page: Page) {
    this.page = page
  }

  async add(text: string): Promise<void> {
    await this.#newTodo.fill(text)
    await this.#newTodo.press('Enter')
  }

  /** Adds todos with the keyboard alone, as fast as the page takes them. */
  async addAll(texts: readonly string[]): Promise<void> {
    for (const text of texts) await this.add(text)
  }

  async toggle(text: string): Promise<void> {
    await this.page.getByRole('checkbox', { name: text, exact: true }).click()
  }

  async rename(text: string, to: string): Promise<void> {
    await this.page.getByRole('button', { name: `Edit ${text}`, exact: true }).click()
    const field = this.page.getByRole('textbox', { name: `New text of ${text}`, exact: true })
    await field.fill(to)
    await field.press('Enter')
  }

  async remove(text: string): Promise<void> {
    await this.page.getByRole('button', { name: `Delete ${text}`, exact: true }).click()
  }

  /** The list, in its order, `✓` before what is done. */
  async todos(): Promise<readonly string[]> {
    return await this.page.evaluate<readonly string[]>(readTodos)
  }

  /** Resolves once the list is `expected`, in any order if it is a set. */
  async shows(expected: readonly string[] | ReadonlySet<string>, withinMs = withinMsUsual): Promise<void> {
    const isSet = expected instanceof Set
    const wanted = JSON.stringify(isSet ? [...expected].sort() : expected)
    let list: readonly string[] = []
    await eventually(
      `the list is ${wanted}`,
      async () => {
        list = await this.todos()
        return JSON.stringify(isSet ? [...list].sort() : list) === wanted
      },
      withinMs,
      () => list,
      lookEveryMs,
    )
  }

  /** Resolves once the page says that of the sync server, in words that match. */
  async says(sync: Sync, matching = /./, withinMs = withinMsUsual): Promise<void> {
    let words: string | null = null
    await eventually(
      `the page says ${sync}, ${matching}`,
      async () => {
        words = await this.#status.textContent({ timeout: withinMs })
        return (await this.#status.getAttribute('data-sync')) === sync && matching.test(words ?? '')
      },
      withinMs,
      () => words,
      lookEveryMs,
    )
  }

  /**
   * Loads the page again by its button, until it has a list: LiveStore 0.4 may fail to open one at the first start after it was
   * emptied on the server.
   */
  async reopen(triesMax = 3): Promise<void> {
    for (let tries = 1; ; tries++) {
      const loaded = this.page.waitForEvent('load', { timeout: withinMsUsual })
      await this.page.getByRole('button', { name: 'Reload' }).click()
      await loaded
      const failure = this.page.getByRole('alert')
      await this.#status.or(failure).first().waitFor({ timeout: withinMsUsual })
      if (await this.#status.isVisible()) return
      if (tries === triesMax) throw new Error(`the list did not open in ${triesMax} tries`)
    }
  }

  async reload(): Promise<void> {
    await this.page.reload()
  }

  get #newTodo(): Locator {
    return this.page.getByRole('textbox', { name: 'New todo' })
  }

  get #status(): Locator {
    return this.page.locator('[role=status][data-sync]')
  }
}
