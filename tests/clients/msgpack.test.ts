/**
 * What our encoder writes, read by the msgpackr of both RPC generations.
 *
 * `tests/transcripts/msgpack/encoded.ndjson` holds JSON texts and the bytes that our encoder makes of them;
 * `tests/host/msgpack.rs` checks that it still does.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'

interface Options {
  readonly useRecords: boolean
}

interface Msgpackr {
  readonly Packr: new (options: Options) => { pack(value: unknown): Uint8Array }
  readonly Unpackr: new (options: Options) => {
    unpack(bytes: Uint8Array): unknown
    unpackMultiple(bytes: Uint8Array): unknown[]
  }
}

/** What `RpcSerialization.msgPack` of both generations passes. */
const options: Options = { useRecords: true }

const load = (folder: string, name: string): Msgpackr =>
  createRequire(new URL(`./${folder}/package.json`, import.meta.url))(name) as Msgpackr

const fixtures = readFileSync(new URL('../transcripts/msgpack/encoded.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { json: string; base64: string })
  .map(({ json, base64 }) => ({ json, value: JSON.parse(json) as unknown, base64 }))

/** -0 is an integer to msgpackr, and 0. */
const withoutNegativeZero = (value: unknown): unknown =>
  Array.isArray(value) ? value.map(withoutNegativeZero) : Object.is(value, -0) ? 0 : value

for (const { generation, folder } of [
  { generation: '0.4', folder: 'v04' },
  { generation: 'Effect 4', folder: 'v05' },
]) {
  // The second has neither native code nor `new Function`, like a Worker.
  for (const name of ['msgpackr', 'msgpackr/index-no-eval']) {
    describe(`${name} of ${generation}`, () => {
      const { Packr, Unpackr } = load(folder, name)

      it('reads every message as its JSON', () => {
        assert.ok(fixtures.length > 25)
        for (const { json, value, base64 } of fixtures) {
          const read = new Unpackr(options).unpack(Buffer.from(base64, 'base64'))
          assert.deepEqual(read, withoutNegativeZero(value), json.slice(0, 200))
        }
      })

      it('reads messages that were joined, with one reader', () => {
        const unpackr = new Unpackr(options)
        const values = fixtures.map(({ value }) => withoutNegativeZero(value))
        for (let round = 0; round < 2; round++) {
          const joined = Buffer.concat(fixtures.map(({ base64 }) => Buffer.from(base64, 'base64')))
          assert.deepEqual(unpackr.unpackMultiple(joined), values)
        }
      })

      it('writes the same bytes for what it writes as the same JSON', () => {
        const same = fixtures.filter(({ json, value }) => JSON.stringify(value) === json)
        assert.ok(same.length > 20)
        for (const { json, value, base64 } of same)
          assert.equal(Buffer.from(new Packr(options).pack(value)).toString('base64'), base64, json.slice(0, 200))
      })
    })
  }
}
