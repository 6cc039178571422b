/** `stores`: lists the stores that have a backup, which is all that a deployment knows of. */
import type { ListedStore, StoreList } from '../administration.ts'
import { integerOf, noOperands, textOf } from './shared/asked.ts'
import type { Command } from './command.ts'
import { bytes, count, number, plain, print, table } from './shared/show.ts'
import { Server, serverFlags } from './shared/server.ts'

/** As many as the server lists at once. */
const pageMax = 1_000

const usual = 100

export const stores: Command = {
  operands: '',
  summary: 'lists the stores that have a backup, by their ids',
  flags: {
    search: { value: '<text>', help: 'those alone whose ids have this in them, in letters of any case' },
    limit: { value: '<n>', help: `so many at most: ${usual}` },
    after: { value: '<id>', help: 'those that follow this one' },
    ...serverFlags,
  },
  run: async (asked) => {
    noOperands('stores', asked)
    const limit = integerOf('stores', asked, 'limit', 1) ?? usual
    const search = textOf('stores', asked, 'search')?.toLowerCase()
    const after = textOf('stores', asked, 'after')
    const server = Server.of('stores', asked)
    const found: ListedStore[] = []
    let isMore = false
    for await (const page of listed(server, after, search === undefined ? Math.min(limit + 1, pageMax) : pageMax)) {
      found.push(...page.filter(({ storeId }) => search === undefined || storeId.toLowerCase().includes(search)))
      isMore = found.length > limit
      if (isMore) break
    }
    const shown = found.slice(0, limit)
    const next = isMore ? (shown.at(-1)?.storeId ?? null) : null
    print(asked.flags['json'] === true, { stores: shown, next }, () => {
      if (shown.length === 0) return search === undefined ? 'There are none.' : 'There are none with that in their ids.'
      const rows = shown.map((one) => [
        plain(one.storeId),
        number(one.head),
        number(one.events),
        bytes(one.bytes),
        one.lastAt,
      ])
      const list = table([['STORE', 'HEAD', 'EVENTS', 'SIZE', 'LAST EVENT'], ...rows], [1, 2, 3])
      return next === null ? list : `${list}\nMore than ${count(limit, 'store')}: go on with --after '${plain(next)}'`
    })
  },
}

/** The pages of the list, behind the id `after`, of `limit` each. */
export async function* listed(
  server: Server,
  after: string | undefined,
  limit: number,
): AsyncGenerator<readonly ListedStore[]> {
  for (let from = after; ;) {
    const page = await server.json<StoreList>('GET', 'stores', { query: { limit, after: from } })
    yield page.stores
    if (page.next === null) return
    from = page.next
  }
}
