/** docs/command-line.md is right: its commands are run as they stand there, one after the other, and print what is shown. */
import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { before, describe, it } from 'node:test'
import { batchOf } from '../clients/events.ts'
import { root } from '../harness/server.ts'
import { serverOf } from '../harness/servers.ts'
import { adminSecret } from '../workerd/administration.ts'
import { assertWhole } from '../workerd/mirror.ts'
import { Peer } from '../workerd/peer.ts'
import { Cli, folderOf, Running } from './run.ts'

const page = readFileSync(join(root, 'docs/command-line.md'), 'utf8')

interface Block {
  readonly language: string
  readonly text: string
}

const blocks: readonly Block[] = [...page.matchAll(/^```(\w+)\n([^]*?)\n```$/gm)].map(([, language, text]) => ({
  language: language!,
  text: text!,
}))

/** A text with the same word for everything that is another at each run. */
const normal = (text: string): string =>
  text
    .trimEnd()
    .replaceAll(/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/\b\d+ s ago/g, 'AGO')
    .replaceAll(/(lifetime +)[\w-]{21}/g, '$1LIFETIME')
    .replaceAll(/checksum [0-9a-f]{8}/g, 'CHECKSUM')
    .replaceAll(/ +[\d.]+ k?B/g, ' SIZE')
    // The backup comes after.
    .replaceAll(/\d+ events? of the backup/g, 'EVENTS of the backup')
    .replaceAll(/ +$/gm, '')

/** Members and types of a value; of a list, those of its first item. */
const shapeOf = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.slice(0, 1).map(shapeOf)
    : typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member)]))
      : typeof value

/** What is told of a deployment is another in each: the names of it are those that are shown. */
const assertDeployment = (stdout: string, { language, text }: Block): void => {
  const namesIn = (told: string): readonly string[] =>
    language === 'json'
      ? Object.keys(JSON.parse(told) as object)
      : [...told.matchAll(/^ {2}(\w+)  /gm)].map(([, name]) => name!)
  const [told, shown] = [namesIn(stdout), namesIn(text)]
  assert.ok(shown.length > 0)
  assert.deepEqual(told.slice(0, shown.length), shown)
}

describe('docs/command-line.md', () => {
  const server = serverOf({ vars: { ADMIN_SECRET: adminSecret, BACKUP: 'd1', BACKUP_DELAY_SECONDS: '1' } })
  const folder = folderOf()
  const bin = folderOf()

  before(async () => {
    const peer = await Peer.connect(server(), 'v04', 'my-store')
    await peer.pushed(batchOf(0, 3))
    await peer.client.close()
    await assertWhole(server(), 'my-store')
    const npx = join(bin, 'npx')
    writeFileSync(npx, `#!/bin/sh\nshift\nexec '${process.execPath}' '${join(root, 'dist/cli.js')}' "$@"\n`)
    chmodSync(npx, 0o755)
  })

  const commands = blocks.filter(({ language }) => language === 'sh')

  for (const command of commands)
    it(`${command.text} prints what is shown`, async () => {
      const env = {
        PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH']}`,
        LIVESTORE_SYNC_URL: server().url,
        LIVESTORE_ADMIN_SECRET: adminSecret,
      }
      const ran = new Running('bash', ['--norc', '-euo', 'pipefail', '-c', command.text], { cwd: folder, env })
      const { status, stdout, stderr } = await ran.end()
      assert.deepEqual([status, stderr], [0, ''], stdout)
      const shown = blocks[blocks.indexOf(command) + 1]
      if (/ status(?! my-store)/.test(command.text)) assertDeployment(stdout, shown!)
      else if (shown?.language === 'text') assert.equal(normal(stdout), normal(shown.text))
      else if (shown?.language === 'json' && command.text.includes('--json'))
        assert.deepEqual(shapeOf(JSON.parse(stdout)), shapeOf(JSON.parse(shown.text)))
      else assert.match(stdout, /^([\w-]+\.){2}[\w-]+\n$/, 'a token, which is shown with --json')
    })

  it('has every command, and all flags of each, as the help has them', async () => {
    const cli = new Cli(server())
    const help = await cli.text('--help')
    const listed = [...help.matchAll(/^ {2}(\w+)( .*?)? {2,}/gm)].map(([, name]) => name!)
    const named = [...page.matchAll(/^\| (?:\[`|`)(\w+)[ `]/gm)].map(([, name]) => name!)
    for (const name of listed) {
      if (['create', 'doctor', 'init'].includes(name)) continue
      assert.ok(named.includes(name), `${name} is in the table`)
      const flags = [...(await cli.text(name, '--help')).matchAll(/^ {2}(--[\w-]+)/gm)].map(([, flag]) => flag!)
      for (const flag of flags) if (flag !== '--help') assert.ok(page.includes(`\`${flag}`), `${name} ${flag}`)
    }
  })

  it('has the exit codes that there are', () => {
    const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
    assert.deepEqual(codes, [0, 1, 2, 3, 130, 141])
  })

  it('nobody reads what is printed: it ends with 141', async () => {
    const script = `set +o pipefail; '${process.execPath}' '${join(root, 'dist/cli.js')}' export my-store - | true; echo "\${PIPESTATUS[0]}"`
    const env = { ...new Cli(server()).env, PATH: process.env['PATH'] }
    const { stdout, stderr } = await new Running('bash', ['--norc', '-c', script], { env }).end()
    assert.deepEqual([stdout, stderr], ['141\n', ''])
  })
})
