/** The tarball: what is in it, and how much. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { build } from 'esbuild'
import { commandLineBundle, digestName, digestOf, ownSources } from '../../scripts/sources.mjs'
import { root } from '../harness/server.ts'
import { pack } from './project.ts'

/** All that may be published, by its path in the package. */
const published = [
  /^(CHANGELOG|README|SECURITY)\.md$/,
  /^docs\/[\w-]+\.md$/,
  /^llms\.txt$/,
  /^LICENSE-(APACHE|MIT)$/,
  /^LICENSE-(CLI|JOSE)$/,
  /^package\.json$/,
  /^dist\/(cf-worker|cli|inspector|worker)\.js$/,
  /^dist\/[\w-]+\.d\.ts$/,
  /^dist\/index_bg\.wasm$/,
  /^dist\/sources\.sha256$/,
  /^examples\/todomvc(-0\.3|-shared)?\/(?!package-lock\.json)[^/]+$/,
  /^examples\/todomvc(-0\.3)?\/src\/.+\.tsx?$/,
  /^migrations\/\d+_\w+\.sql$/,
]

/** What the registry takes, and what is unpacked from it, in bytes. */
const packedMax = 620_000
const unpackedMax = 1_650_000

const ownName = 'livestore-sync-worker'
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown> & {
  readonly bin: Readonly<Record<string, string>>
}

describe('the tarball', () => {
  it('holds what is published, and nothing else', () => {
    const paths = pack().files.map(({ path }) => path)
    assert.deepEqual(
      paths.filter((path) => !published.some((pattern) => pattern.test(path))),
      [],
      'nothing but what is published',
    )
    for (const pattern of published)
      assert.ok(
        paths.some((path) => pattern.test(path)),
        `a file is ${pattern}`,
      )
  })

  it('holds the licence of what its modules are bundled with', () => {
    const own = readFileSync(join(root, 'LICENSE-JOSE'), 'utf8')
    assert.equal(own, readFileSync(join(root, 'node_modules/jose/LICENSE.md'), 'utf8'))
  })

  it('holds the licences of what its command line is bundled with', async () => {
    const { metafile } = await build({ ...commandLineBundle, write: false, metafile: true })
    const names = Object.keys(metafile.inputs).map((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1])
    const bundled = [...new Set(names.filter((name) => name !== undefined))]
    assert.notEqual(bundled.length, 0)
    const own = readFileSync(join(root, 'LICENSE-CLI'), 'utf8')
    for (const name of bundled) {
      const folder = join(root, 'node_modules', name)
      const file = readdirSync(folder).find((one) => /^LICEN[CS]E/i.test(one))
      assert.ok(file, name)
      assert.ok(own.includes(readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim()), name)
    }
  })

  it('holds every file that the manifest leads to', () => {
    const paths = new Set(pack().files.map(({ path }) => `./${path}`))
    const leads = (value: unknown): readonly string[] =>
      typeof value === 'string' ? [value] : Object.values(value as object).flatMap(leads)
    const targets = [...leads(manifest['exports']), ...leads(manifest.bin).map((path) => `./${path}`)]
    assert.notEqual(targets.length, 0)
    for (const target of targets) assert.ok(paths.has(target), `${target} is packed`)
  })

  it('says which sources it was built from', () => {
    assert.equal(readFileSync(join(root, 'dist', digestName), 'utf8'), `${digestOf(ownSources)}\n`)
  })

  it('asks for no other package', () => {
    for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundleDependencies'])
      assert.equal(manifest[kind], undefined, kind)
    const scripts = Object.keys(manifest['scripts'] as object)
    // Those that would run in the project of whoever installs it.
    assert.deepEqual(
      scripts.filter((name) => /^(pre|post)?(install|prepare)$/.test(name)),
      [],
    )
  })

  it('is of the size that it is said to be', () => {
    const { size, unpackedSize } = pack()
    assert.ok(size <= packedMax, `${size} bytes are packed`)
    assert.ok(unpackedSize <= unpackedMax, `${unpackedSize} bytes are unpacked`)
  })

  it('holds modules of which no bundler warns, wherever they lie', async () => {
    // Of what is in node_modules bundlers say nothing; these are beside it.
    const modules = pack().files.filter(({ path }) => path.endsWith('.js') && path !== manifest.bin[ownName])
    assert.notEqual(modules.length, 0)
    for (const { path } of modules) {
      const { warnings } = await build({
        entryPoints: [join(root, path)],
        bundle: true,
        external: ['cloudflare:*', '*.wasm'],
        format: 'esm',
        write: false,
        logLevel: 'silent',
      })
      assert.deepEqual(warnings, [], path)
    }
  })

  it('tells nothing of the machine that made it', () => {
    for (const { path } of pack().files) {
      if (!/^dist\//.test(path)) continue
      const bytes = readFileSync(join(root, path), 'latin1')
      assert.doesNotMatch(bytes, /\/(home|root|Users|tmp)\/\w/, `${path} names no folder of a machine`)
      assert.doesNotMatch(bytes, /sourceMappingURL/, `${path} names no source map`)
    }
  })
})
