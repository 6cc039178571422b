/**
 * The page of the administration at `/admin`: a document that knows nothing by itself and asks `/admin/v1` with the secret that an
 * operator types in. It exists where that does.
 */
import { environment, type Variables } from './settings.ts'

const path = '/admin'

/** Whether the administration is open: as the core reads it, a secret of white space is none. */
const isOpen = ({ ADMIN_SECRET: secret }: { readonly ADMIN_SECRET?: unknown }): boolean =>
  typeof secret === 'string' && secret.trim() !== ''

/** The answer to a request for the page, or undefined to any other. `variables` are those that options made. */
export const inspect = (request: Request, env: object, variables: Variables): Promise<Response> | undefined => {
  // Nearly all are told by this, which costs less than to take the URL apart.
  if (!request.url.includes(path)) return undefined
  const url = new URL(request.url)
  if (url.pathname !== path && url.pathname !== `${path}/`) return undefined
  // Any path will do to sync, this one as well.
  if (url.searchParams.has('transport') || !isOpen(environment(env, variables))) return undefined
  return answer(request, url)
}

const answer = async ({ method, headers }: Request, { pathname, search }: URL): Promise<Response> => {
  if (method !== 'GET' && method !== 'HEAD')
    return new Response('the page takes GET and HEAD', { status: 405, headers: { Allow: 'GET, HEAD' } })
  // Relative, because the Worker may be below a path that it does not see.
  if (pathname !== path) return new Response(null, { status: 308, headers: { Location: `..${path}${search}` } })
  // Stands beside the bundle, which leaves this import alone: who syncs does not pay for the page.
  const { html, policy, etag } = await import('./inspector.js')
  const isKnown =
    headers
      .get('If-None-Match')
      ?.split(/ *, */)
      .some((tag) => tag.replace('W/', '') === etag) ?? false
  const sent = {
    'Content-Security-Policy': policy,
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-cache',
    ETag: etag,
  }
  if (isKnown) return new Response(null, { status: 304, headers: sent })
  return new Response(method === 'HEAD' ? null : html, {
    headers: { ...sent, 'Content-Type': 'text/html; charset=utf-8' },
  })
}
