/** Turning the stream of a generation's client into pages, without losing the way out of a pull that is waiting. */
import { type Page, PullError } from './client.ts'
import { refusalOf } from './refusal.ts'

/**
 * `source` page by page. Leaving the iteration leaves `source` at once, even while a page is awaited, which an async
 * generator would not do. Pages that `toPage` maps to `undefined` are passed over.
 */
export const pagesOf = <T>(source: AsyncIterable<T>, toPage: (item: T) => Page | undefined): AsyncIterable<Page> => ({
  [Symbol.asyncIterator]: () => {
    const iterator = source[Symbol.asyncIterator]()
    const next = async (): Promise<IteratorResult<Page>> => {
      for (;;) {
        const result = await iterator.next().catch((cause: unknown) => {
          throw new PullError(refusalOf(cause))
        })
        if (result.done === true) return { done: true, value: undefined }
        const page = toPage(result.value)
        if (page !== undefined) return { done: false, value: page }
      }
    }
    const leave = async (): Promise<IteratorResult<Page>> => {
      await iterator.return?.()
      return { done: true, value: undefined }
    }
    return { next, return: leave }
  },
})
