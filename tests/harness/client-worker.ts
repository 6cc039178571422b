/**
 * The Worker whose Durable Objects are sync clients, bundled for the local Workers runtime.
 *
 * Owns: the bundle in `.cache/`, which is made anew when one of its sources is newer, and the names under which the
 * runtime and the sync Worker know its classes.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

/** What the runtime calls this Worker. */
export const clientWorkerName = 'do-rpc-clients'

/** Its classes, by the binding under which a sync object reaches them. */
export const clientClasses = { CLIENT_V04: 'StoreClient', CLIENT_V05: 'RpcClientV05' } as const

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = '.cache/do-rpc-clients'
const out = join(root, folder)
const inputsPath = join(out, 'inputs.json')

/** Whether the bundle is there and all that went into it is older. */
const isFresh = (): boolean => {
  if (!existsSync(inputsPath)) return false
  const bundledAt = statSync(inputsPath).mtimeMs
  const inputs = JSON.parse(readFileSync(inputsPath, 'utf8')) as readonly string[]
  return inputs.every((path) => {
    const stat = statSync(join(root, path), { throwIfNoEntry: false })
    return stat !== undefined && stat.mtimeMs < bundledAt
  })
}

/** The folder of the bundle below the repository's root, with the WebAssembly modules that its main file imports. */
export const bundleClientWorker = (): { folder: string; main: string } => {
  const bundle = { folder, main: 'worker.js' }
  if (isFresh()) return bundle
  mkdirSync(out, { recursive: true })
  const { metafile } = buildSync({
    absWorkingDir: root,
    entryPoints: ['tests/clients/do-rpc/worker.ts'],
    outdir: out,
    bundle: true,
    format: 'esm',
    target: 'es2024',
    // As wrangler bundles for the same runtime.
    conditions: ['workerd', 'worker', 'browser'],
    mainFields: ['browser', 'module', 'main'],
    external: ['cloudflare:*', 'node:*'],
    loader: { '.wasm': 'copy' },
    assetNames: '[name]',
    metafile: true,
    logLevel: 'error',
  })
  const inputs = [relative(root, fileURLToPath(import.meta.url)), ...Object.keys(metafile.inputs)]
  writeFileSync(inputsPath, JSON.stringify(inputs))
  return bundle
}
