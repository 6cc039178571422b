/** A package registry in which the package is published as `npm pack` makes it; what else is asked for comes from npm's own. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { root } from '../harness/server.ts'
import { pack } from './project.ts'

export interface Registry {
  readonly url: string
  stop(): Promise<void>
}

interface Manifest {
  readonly name: string
  readonly version: string
}

export const startRegistry = async (): Promise<Registry> => {
  const { bytes } = pack()
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  const { name, version } = manifest
  const others = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()
  const server = createServer(({ url = '/' }, response) => {
    if (url === `/${name}`) {
      const tarball = `${addressOf(server.address())}/${name}.tgz`
      const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
      const packument = {
        name,
        'dist-tags': { latest: version },
        versions: { [version]: { ...manifest, dist: { tarball, integrity } } },
      }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(packument))
    } else if (url === `/${name}.tgz`) {
      response.end(bytes)
    } else {
      response.writeHead(307, { location: new URL(`.${url}`, others).href }).end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: addressOf(server.address()),
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const addressOf = (address: AddressInfo | string | null): string => {
  if (address === null || typeof address === 'string') throw new Error('the registry listens on no port')
  return `http://127.0.0.1:${address.port}`
}
