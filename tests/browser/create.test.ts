/** The first minutes of somebody who has Node alone: the commands of the README, from an empty folder to two browsers. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { findInPath } from '../../scripts/toolchain.mjs'
import { root } from '../harness/server.ts'
import { pack } from '../package/project.ts'
import { startDev } from './dev-server.ts'
import { inBrowser } from './stage.ts'

/** All that the newcomer has in his PATH: Node and what comes with it, and of the system what npm's scripts are run by. */
const programs = { node: process.execPath, npm: undefined, npx: undefined, sh: undefined, ps: undefined }

/** Makes a folder of these programs alone. */
const makePath = (folder: string): string => {
  mkdirSync(folder)
  for (const [name, path] of Object.entries(programs)) {
    const found = path ?? findInPath(name)
    assert.ok(found !== undefined, `there is ${name}`)
    symlinkSync(realpathSync(found), join(folder, name))
  }
  return folder
}

/** The commands below a heading of the README. */
const commandsBelow = (heading: string): readonly string[] => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const [, section = ''] = readme.split(`\n## ${heading}\n`)
  const [, block = ''] = /^```sh\n(.*?)^```$/ms.exec(section) ?? []
  return block.trim().split('\n')
}

/** What npm has fetched before: who has a cache is not made to fetch everything again. */
const fetched = join(execFileSync('npm', ['config', 'get', 'cache'], { encoding: 'utf8' }).trim(), '_cacache')

/** Variables that are no word of npm or Node to this process, but may say how this machine reaches the registry. */
const isOfMachine = /^(?!npm_|NODE_)|^NODE_EXTRA_CA_CERTS$|^npm_config_(registry|cafile|userconfig|(https_|no)?proxy)$/i

/** The environment of the newcomer; only what this process was told of npm is left out. */
const environmentOf = (folder: string): NodeJS.ProcessEnv => {
  const cache = join(folder, 'cache')
  mkdirSync(cache)
  if (existsSync(fetched)) symlinkSync(fetched, join(cache, '_cacache'))
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => isOfMachine.test(name))),
    PATH: makePath(join(folder, 'bin')),
    npm_config_cache: cache,
    // A request that is never answered is made again; npm itself would wait for five minutes.
    npm_config_fetch_timeout: '30000',
    npm_config_prefer_offline: 'true',
    // Nothing is asked for but packages: where a registry is all that can be reached, these would wait for nobody.
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
    npm_config_yes: 'true',
  }
}

/** Runs a command line to its end; rejects with what it said if that is a failure. */
const run = async (line: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<string> => {
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { ...options, timeout: 300_000 })
  return stdout
}

for (const [release, flags] of [
  ['0.4', ''],
  ['0.3', ' --livestore 0.3'],
] as const)
  inBrowser(
    `LiveStore ${release}: four commands lead from an empty folder and Node alone to a list in two browsers`,
    async ({ cleanups, profile }) => {
      const folder = mkdtempSync(join(realpathSync(tmpdir()), 'newcomer-'))
      cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
      const env = environmentOf(folder)
      // As the README has it for as long as the package is not on npm.
      const tarball = join(folder, 'livestore-sync-worker.tgz')
      writeFileSync(tarball, pack().bytes)
      const named: Readonly<Record<string, string>> = {
        'npx livestore-sync-worker create todo': `npx --package=${tarball} livestore-sync-worker create todo${flags}`,
        'npm install': `npm install ${tarball}`,
      }
      for (const missing of ['cargo', 'rustc', 'git'])
        await assert.rejects(run(`command -v ${missing}`, { cwd: folder, env }), `there is no ${missing}`)

      const commands = commandsBelow('A todo list in two browsers')
      assert.equal(commands.length, 4)
      let cwd = join(folder, 'empty')
      mkdirSync(cwd)
      for (const command of commands.slice(0, -1)) {
        const [, to] = /^cd (\S+)$/.exec(command) ?? []
        const line = named[command]
        assert.ok(to !== undefined || line !== undefined, `what takes the place of '${command}'`)
        if (to !== undefined) cwd = resolve(cwd, to)
        else await run(line!, { cwd, env })
      }
      await run('npm run check', { cwd, env })

      assert.equal(commands.at(-1), 'npm run dev')
      const dev = await startDev({ folder: cwd }, env)
      cleanups.push(() => dev.stop())
      const a = await (await profile()).open(dev.pageUrl)
      // Whoever loads the page first waits for its modules.
      await a.says('in-sync', /./, 120_000)
      const b = await (await profile()).open(a.page.url())
      await b.says('in-sync')
      await a.add('milk')
      await b.shows(['milk'])
      await b.toggle('milk')
      await a.shows(['✓ milk'])
    },
  )
