/**
 * An app's own Worker that imports the package, bundled for the local Workers runtime as wrangler bundles it.
 *
 * Owns: the bundle in `.cache/apps/`, beside the WebAssembly of the package.
 */
import { copyFileSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The folder below the repository's root that holds the bundle of this file below `tests/apps`, as `ServerOptions.dist` takes it. */
export const bundleApp = (source: string): string => {
  const folder = `.cache/apps/${basename(source, '.ts')}`
  const out = join(root, folder)
  mkdirSync(out, { recursive: true })
  const { outputFiles } = buildSync({
    absWorkingDir: root,
    entryPoints: [join('tests/apps', source)],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    conditions: ['workerd', 'worker', 'browser'],
    alias: { 'livestore-sync-worker/cf-worker': './dist/cf-worker.js' },
    external: ['cloudflare:*', 'node:*', '*.wasm'],
    logLevel: 'error',
  })
  // Another process may be reading what it has made of the same.
  const own = join(out, `${process.pid}`)
  writeFileSync(own, outputFiles[0]!.contents)
  renameSync(own, join(out, 'worker.js'))
  copyFileSync(join(root, 'dist/index_bg.wasm'), own)
  renameSync(own, join(out, 'index_bg.wasm'))
  return folder
}
