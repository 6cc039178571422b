/**
 * The Worker in a workerd that somebody runs by himself, on no network of Cloudflare's and behind no development server.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { targetOf } from '../harness/raw-client.ts'
import { root, templateToken } from '../harness/server.ts'
import { doors, refusalAt } from './doors.ts'
import { type Answer, knock } from './knock.ts'

/** The file that the package of the runtime names as its command. */
const workerd = createRequire(import.meta.url).resolve('workerd/bin/workerd')

const built = join(root, process.env['SYNC_WORKER_DIST'] ?? 'dist')

/** The smallest configuration that there is: no Durable Object, so who is let in finds no binding. */
const configuration = `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "sync", worker = .sync)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "sync")],
);
const sync :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "index_bg.wasm", wasm = embed "index_bg.wasm"),
  ],
  bindings = [(name = "AUTH_TOKEN", text = "${templateToken},own-token")],
  compatibilityDate = "2026-04-07",
);
`

describe('a runtime that somebody runs by himself', () => {
  const folder = mkdtempSync(join(tmpdir(), 'self-hosted-'))
  let runtime: ChildProcess
  let url: string
  before(async () => {
    for (const name of ['worker.js', 'index_bg.wasm']) copyFileSync(join(built, name), join(folder, name))
    writeFileSync(join(folder, 'config.capnp'), configuration)
    runtime = spawn(workerd, ['serve', '--control-fd=3', join(folder, 'config.capnp')], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    })
    url = await new Promise<string>((resolve, reject) => {
      runtime.on('error', reject)
      runtime.on('exit', (code) => reject(new Error(`workerd ended with ${code}`)))
      let control = ''
      runtime.stdio[3]!.on('data', (part: Buffer) => {
        control += part.toString()
        const port = /"port":(\d+)/.exec(control)?.[1]
        if (port !== undefined) resolve(`http://127.0.0.1:${port}`)
      })
    })
  })
  after(() => {
    runtime.kill()
    rmSync(folder, { recursive: true })
  })

  const claims: ReadonlyArray<Readonly<Record<string, string>>> = [
    {},
    { host: 'localhost' },
    { host: 'localhost:8787', 'cf-connecting-ip': '127.0.0.1', 'x-forwarded-for': '127.0.0.1' },
    { host: '127.0.0.1', 'mf-cf-blob': '{"colo":"DFW"}', 'cf-blob': '{"colo":"DFW"}', cf: '{"colo":"DFW"}' },
    { host: '[::1]', 'x-forwarded-host': 'localhost', forwarded: 'for=127.0.0.1;host=localhost' },
  ]
  for (const headers of claims) {
    it(`does not accept the token of the templates from who sends ${JSON.stringify(headers)}`, async () => {
      for (const door of doors) {
        const { path, transport } = door
        const enter = (token: string): Promise<Answer> =>
          knock(
            { url },
            { target: targetOf({ storeId: 'a', path, transport, payload: { authToken: token } }), headers },
          )
        const answer = await enter(templateToken)
        assert.deepEqual([answer.status, answer.body], [400, refusalAt(door, 'Invalid auth token')])
        assert.equal((await enter('own-token')).status, 424)
      }
    })
  }
})
