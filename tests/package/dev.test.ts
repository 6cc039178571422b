/** `npm run dev`: wrangler, and how to come in. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { constants, networkInterfaces, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { eventually } from '../clients/waiting.ts'
import { root, templateToken } from '../harness/server.ts'
import { makeProject, type Project, type Running } from './project.ts'
import { assertQuiet, assertSyncs } from './sync.ts'

const read = (name: string): string => readFileSync(join(root, name), 'utf8')

describe('npm run dev', () => {
  let project: Project
  const anyPorts = ['--port', '0', '--inspector-port', '0']
  const make = (vars: string): void => {
    project = makeProject('wrangler', { 'wrangler.toml': read('wrangler.toml'), '.dev.vars': vars })
    for (const folder of ['dist', 'migrations'])
      cpSync(join(root, folder), join(project.folder, folder), { recursive: true })
  }
  const script = (): string => relative(join(project.folder, 'node_modules'), join(root, 'scripts/dev.mjs'))
  const start = (vars: string, ...args: readonly string[]): Promise<Running> => {
    make(vars)
    return project.serve(script(), [...anyPorts, ...args], /^ +sync +(http:\/\/\S+)/m)
  }
  /** What it says about one thing. */
  const said = ({ output }: Running, what: string): string | undefined =>
    new RegExp(`^ +${what} +(.+)$`, 'm').exec(output)?.[1]?.replaceAll(/ +/g, ' ')

  afterEach(() => project.remove())

  it('says where it listens, which token opens it and where the administration is, without alarm', async () => {
    const server = await start(read('.dev.vars'))
    await eventually("wrangler's own lines are there", () => server.output.includes(`Ready on ${server.url}`))
    assert.equal(said(server, 'sync'), `${server.url} syncPayload: { authToken: '${templateToken}' }`)
    const [, url, secret] = /^(\S+) secret: (\S+)$/.exec(said(server, 'inspector') ?? '') ?? assert.fail(server.output)
    assert.equal(url, `${server.url}/admin`)
    assert.match(said(server, 'pages') ?? '', /^of any address may connect ALLOWED_ORIGINS=\*/)
    assert.equal(said(server, 'network'), undefined)
    await assertSyncs(server.url)
    const answer = await fetch(`${url}/v1/config`, { headers: { authorization: `Bearer ${secret}` } })
    assert.equal(answer.status, 200)
    const { warnings } = (await answer.json()) as { warnings: ReadonlyArray<{ name: string }> }
    assert.deepEqual(
      warnings.map(({ name }) => name),
      ['ALLOWED_ORIGINS'],
    )
    assertQuiet(server.output)
  })

  it('prints no token and no secret that not everybody knows', async () => {
    const server = await start('AUTH_TOKEN=hush-token\nADMIN_SECRET=hush-secret\n')
    assert.match(said(server, 'sync') ?? '', /as AUTH_TOKEN in \.dev\.vars says$/)
    assert.match(said(server, 'inspector') ?? '', /secret: ADMIN_SECRET in \.dev\.vars$/)
    assert.equal(said(server, 'pages'), undefined)
    assert.doesNotMatch(server.output, /hush/)
  })

  it('on the network names the addresses of this machine, and what lets a phone in, which it does', async () => {
    const all = Object.values(networkInterfaces()).flatMap((ones) => ones ?? [])
    const address =
      all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? assert.fail('no network')
    const closed = await start(`AUTH_TOKEN=${templateToken}`, '--ip', '0.0.0.0')
    const urlAt = ({ url }: Running): string => url.replace('localhost', address)
    assert.ok(said(closed, 'network')?.startsWith('http://'), closed.output)
    assert.ok(closed.output.includes(`in the same way with DEV_HOSTS=${address} in .dev.vars`), closed.output)
    const ask = (server: Running): Promise<Response> =>
      fetch(
        `${urlAt(server)}/?storeId=a&transport=http&payload=${encodeURIComponent(encodeURIComponent(JSON.stringify({ authToken: templateToken })))}`,
        { method: 'POST' },
      )
    assert.equal((await ask(closed)).status, 503)
    await closed.stop()
    await project.remove()
    const open = await start(`AUTH_TOKEN=${templateToken}\nDEV_HOSTS=${address}`, '--ip', '0.0.0.0')
    assert.match(said(open, 'network') ?? '', /in the same way$/)
    await assertSyncs(urlAt(open))
  })

  /** The processes that run in a folder. */
  const runningIn = (folder: string): readonly string[] =>
    readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`) === folder
      } catch {
        return false // it has ended, or is somebody else's
      }
    })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends by ${signal} with all that it has started`, async () => {
      make(read('.dev.vars'))
      const child = spawn(process.execPath, [join(root, 'scripts/dev.mjs'), ...anyPorts], {
        cwd: project.folder,
        env: { ...process.env, HOME: project.folder, CI: '1', NO_COLOR: '1' },
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      try {
        let output = ''
        child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
        await eventually(
          'it says how to come in',
          () => /^ +sync +http/m.test(output),
          120_000,
          () => output,
        )
        assert.ok(runningIn(project.folder).length > 1, 'what runs there can be told')
        const exited = once(child, 'exit')
        child.kill(signal)
        const [code] = (await exited) as [number]
        assert.equal(code, 128 + constants.signals[signal])
        await eventually('nothing is left', () => runningIn(project.folder).length === 0)
      } finally {
        child.kill('SIGKILL')
      }
    })
  }

  it("leaves nothing in its user's home, unless wrangler has its folder there", async () => {
    const home = mkdtempSync(join(tmpdir(), 'home-'))
    try {
      const serve = async (): Promise<void> => {
        make(read('.dev.vars'))
        const server = await project.serve(script(), anyPorts, /^ +sync +(http:\/\/\S+)/m, { HOME: home })
        await server.stop()
      }
      await serve()
      assert.deepEqual(readdirSync(home), [])
      assert.ok(existsSync(join(project.folder, '.wrangler/config/.wrangler')), 'it is kept elsewhere')
      await project.remove()

      mkdirSync(join(home, '.config/.wrangler'), { recursive: true })
      await serve()
      assert.notDeepEqual(readdirSync(join(home, '.config/.wrangler')), [])
      assert.ok(!existsSync(join(project.folder, '.wrangler/config')))
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })

  it("takes wrangler's arguments, and has its exit code", async () => {
    make(read('.dev.vars'))
    const { status, output } = await project.run(script(), '--unheard-of')
    const own = await project.run('wrangler/bin/wrangler.js', 'dev', '--unheard-of')
    assert.match(output, /unheard-of/)
    assert.notEqual(own.status, 0)
    assert.equal(status, own.status)
  })
})
