/**
 * The reader of frames alone: compiled for wasm32 like the Worker, and run by this Node beside that of another checkout.
 *
 *     node bench/decode.ts [--before FOLDER]
 *
 * FOLDER is the `src` of that checkout. Prints how long a frame takes to read in µs, the median of 50 rounds.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { root, toolchain, wasmTarget } from '../scripts/toolchain.mjs'
import { event } from './events.ts'
import { pullFrame, pushFrame } from './frames.ts'

/** What a compiled reader exports. */
interface Reader {
  readonly memory: WebAssembly.Memory
  /** Where a frame of so many bytes is to be written. */
  readonly room: (bytes: number) => number
  /** Reads it so often; how many events and pulls that were in all. */
  readonly read: (bytes: number, times: number) => number
}

const rounds = 50
const warmUp = 10

const manifest = readFileSync(join(root, 'Cargo.toml'), 'utf8')
const tables = (...names: string[]): string =>
  names.map((name) => `[${name}]\n${manifest.split(`[${name}]\n`)[1]!.split('\n[')[0]!}`).join('\n')

/** The modules that a frame needs, around them what Node calls. */
const library = (source: string): string => {
  const modules = ['event', 'json', 'limits', 'wire'].map((name) => {
    const [folder, file] = [join(source, name, 'mod.rs'), join(source, `${name}.rs`)]
    return `#[path = ${JSON.stringify(existsSync(folder) ? folder : file)}] pub mod ${name};`
  })
  return `#![allow(dead_code)]
${modules.join('\n')}
use std::cell::RefCell;
use wire::{Family, Inbound, Transport, decode};

thread_local!(static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });

#[unsafe(no_mangle)]
pub extern "C" fn room(bytes: usize) -> *mut u8 {
    FRAME.with_borrow_mut(|frame| {
        frame.resize(bytes, 0);
        frame.as_mut_ptr()
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn read(bytes: usize, times: u32) -> usize {
    FRAME.with_borrow(|frame| {
        let text = std::str::from_utf8(&frame[..bytes]).unwrap();
        let read = |_| match decode(Family::Rpc, Transport::WebSocket, std::hint::black_box(text)) {
            Inbound::Push { events, .. } => events.len(),
            Inbound::Pull { .. } => 1,
            _ => 0,
        };
        (0..times).map(read).sum()
    })
}
`
}

const compile = async (name: string, source: string): Promise<Reader> => {
  const folder = join(root, '.cache/decode', name)
  mkdirSync(join(folder, 'src'), { recursive: true })
  writeFileSync(
    join(folder, 'Cargo.toml'),
    `[package]
name = "${name}"
version = "0.1.0"
edition = "2024"
[lib]
crate-type = ["cdylib"]
[workspace]
${tables('dependencies', 'profile.release')}`,
  )
  writeFileSync(join(folder, 'src/lib.rs'), library(source))
  copyFileSync(join(root, 'Cargo.lock'), join(folder, 'Cargo.lock'))
  const tools = toolchain()
  const target = join(root, '.cache/decode/target')
  execFileSync(tools.cargo, ['build', '--quiet', '--release', '--offline', '--target', wasmTarget], {
    cwd: folder,
    env: { ...tools.env, CARGO_TARGET_DIR: target, RUSTFLAGS: tools.rustflags.join(' ') },
    stdio: 'inherit',
  })
  const wasm = join(target, wasmTarget, 'release', `${name}.wasm`)
  execFileSync(tools.wasmOpt, ['--all-features', '-O3', wasm, '-o', wasm])
  const { instance } = await WebAssembly.instantiate(readFileSync(wasm))
  return instance.exports as unknown as Reader
}

/** Microseconds for one frame. */
const time = (reader: Reader, frame: Uint8Array, times: number, held: number): number => {
  const at = reader.room(frame.length)
  new Uint8Array(reader.memory.buffer).set(frame, at)
  const start = performance.now()
  const found = reader.read(frame.length, times)
  const ms = performance.now() - start
  assert.equal(found, times * held)
  return (ms * 1000) / times
}

const median = (numbers: number[]): number => numbers.toSorted((one, other) => one - other)[numbers.length >> 1]!

const { before } = parseArgs({ options: { before: { type: 'string' } } }).values
const readers = [{ name: 'ours', reader: await compile('ours', join(root, 'src')) }]
if (before !== undefined) readers.push({ name: 'before', reader: await compile('before', resolve(before)) })

const sender = { rpc: 'SyncWsRpc', storeId: 'store-of-the-bench', token: 'token-of-the-bench' } as const
const push = (count: number, bytes?: number): string =>
  pushFrame(
    7,
    sender,
    Array.from({ length: count }, (_, index) => event(index + 1, bytes)),
    'V1StGXR8_Z5jdHi6B-myT',
  )
for (const { name, frame, times, held } of [
  { name: 'push of 1 event', frame: push(1), times: 3000, held: 1 },
  { name: 'push of 100 events', frame: push(100), times: 60, held: 100 },
  { name: 'push of 1 event of 1 MB', frame: push(1, 1_000_000), times: 6, held: 1 },
  { name: 'pull', frame: pullFrame(7, sender, true), times: 3000, held: 1 },
]) {
  const bytes = new TextEncoder().encode(frame)
  const found = readers.map(() => [] as number[])
  for (let round = 0; round < warmUp + rounds; round++) {
    for (const [index, { reader }] of readers.entries()) {
      const us = time(reader, bytes, times, held)
      if (round >= warmUp) found[index]!.push(us)
    }
  }
  const cells = readers.map(({ name: reader }, index) => `${reader} ${median(found[index]!).toPrecision(3)} µs`)
  console.log(`${name} (${bytes.length} bytes): ${cells.join(', ')}`)
}
