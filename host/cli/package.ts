/** The package that this command line is of. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Its folder: the bundle is `dist/cli.js` in it. */
export const packageFolder = fileURLToPath(new URL('..', import.meta.url))

interface Manifest {
  readonly name: string
  readonly version: string
}

export const { name: packageName, version: packageVersion } = JSON.parse(
  readFileSync(join(packageFolder, 'package.json'), 'utf8'),
) as Manifest
