/** Hands out a built page, with the sync address and token that one profile is to use. */
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'
import { root, templateToken } from '../harness/server.ts'
import { syncUrlInPages } from './apps.ts'

export interface PageServer {
  /** `http://localhost:PORT`, another origin than that of any Worker here. */
  readonly origin: string
  stop(): Promise<void>
}

export interface PageOptions {
  /** From the root. */
  readonly folder: string
  readonly syncUrl: string
  /** The token of the page; that of the template by default. */
  readonly token?: string
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.wasm': 'application/wasm',
}

export const servePage = async ({ folder, syncUrl, token = templateToken }: PageOptions): Promise<PageServer> => {
  const server: Server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const path = normalize(pathname === '/' ? '/index.html' : pathname)
    try {
      const bytes = await readFile(join(root, folder, path))
      const body =
        extname(path) === '.js'
          ? bytes.toString().replaceAll(syncUrlInPages, syncUrl).replaceAll(templateToken, token)
          : bytes
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(body)
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
