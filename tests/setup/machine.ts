/**
 * A machine on which set-up runs: a copy of this project without anything installed, and a PATH of programs that are played.
 *
 * Owns: its folder, in which everything is that the set-up may see or touch, and the record of what was called.
 */
import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** What of the repository the copy has: all that the set-up reads, and that a build is made of. */
const copied = [
  'scripts',
  'src',
  'host',
  'inspector',
  'migrations',
  'Cargo.toml',
  'Cargo.lock',
  'package.json',
  'package-lock.json',
]

/** Programs that are what they are on any machine. */
const real = [
  'sh',
  'env',
  'mkdir',
  'cp',
  'rm',
  'cat',
  'touch',
  'ln',
  'chmod',
  'basename',
  'dirname',
  'grep',
  'tar',
  'gzip',
]

export const wasmTarget = 'wasm32-unknown-unknown'
export const wasmBindgenVersion = '0.2.130'

export interface Finished {
  readonly status: number | null
  readonly output: string
  /** The commands of the programs that were played, less those that only look, in order: `rustup target add …` */
  readonly did: readonly string[]
  /** Paths below the machine's folder that were made, changed or removed, less those in the project and `/calls`. */
  readonly touched: readonly string[]
  /** Paths right below the project that were made, changed or removed. */
  readonly touchedInProject: readonly string[]
}

export interface Machine {
  readonly folder: string
  readonly project: string
  /** Writes a program into PATH, or where `path` says below the machine's folder: the body of a shell script. */
  play(path: string, body: string): void
  /** Writes a file below the machine's folder. */
  write(path: string, text: string): void
  read(path: string): string
  has(path: string): boolean
  remove(path: string): void
  /** Variables of the environment beside PATH and HOME. */
  readonly env: Record<string, string>
  /** Runs a program of the project by Node. */
  run(program: string, ...args: readonly string[]): Promise<Finished>
  setup(...args: readonly string[]): Promise<Finished>
  /** Answers at `http://127.0.0.1:…` until the machine is gone. */
  serve(listener: RequestListener): Promise<string>
  dispose(): Promise<void>
}

/** What a program is called for that changes nothing. */
const looks =
  /--version$|^rustc |^rustup (which|show|run) |^dpkg-query |^apt-cache |^id |^tar |^(cc|chromium|wasm-bindgen) /

/** Makes a machine with npm and a C compiler, and nothing else. It is no Debian, and its user is nobody special. */
export const makeMachine = (): Machine => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'machine-'))
  const at = (path: string): string => join(folder, path)
  const project = at('project')
  for (const path of ['bin', 'base', 'home', 'tmp', 'project']) mkdirSync(at(path))
  for (const path of copied) cpSync(join(repository, path), join(project, path), { recursive: true })
  for (const name of real) symlinkSync(whereIs(name), join(at('base'), name))
  symlinkSync(process.execPath, join(at('base'), 'node'))
  writeFileSync(at('calls'), '')

  const env: Record<string, string> = {}
  const stops: Array<() => Promise<unknown>> = []

  const machine: Machine = {
    folder,
    project,
    env,
    play: (path, body) => {
      const file = path.includes('/') ? at(path) : join(at('bin'), path)
      mkdirSync(dirname(file), { recursive: true })
      const record = `printf '%s' "$(basename "$0")" >> "$CALLS"; for a; do printf ' %s' "$a" >> "$CALLS"; done; echo >> "$CALLS"`
      writeFileSync(file, `#!/bin/sh\n${record}\n${body}\n`)
      chmodSync(file, 0o755)
    },
    write: (path, text) => {
      mkdirSync(dirname(at(path)), { recursive: true })
      writeFileSync(at(path), text)
    },
    read: (path) => readFileSync(at(path), 'utf8'),
    has: (path) => existsSync(at(path)),
    remove: (path) => rmSync(at(path), { recursive: true }),
    run: async (program, ...args) => {
      writeFileSync(at('calls'), '')
      const before = snapshot(folder)
      const child = spawn(process.execPath, [program, ...args], {
        cwd: project,
        env: {
          PATH: [at('bin'), at('base')].join(delimiter),
          HOME: at('home'),
          TMPDIR: at('tmp'),
          M: folder,
          CALLS: at('calls'),
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => (output += text))
      const [status] = (await once(child, 'close')) as [number | null]
      const after = snapshot(folder)
      const touched = [...new Set([...before.keys(), ...after.keys()])].filter(
        (path) => before.get(path) !== after.get(path),
      )
      const inProject = touched.filter((path) => path.startsWith('project/')).map((path) => path.split('/')[1] ?? '')
      return {
        status,
        output,
        did: machine
          .read('calls')
          .split('\n')
          .filter((call) => call !== '' && !looks.test(`${call} `.replace(/--version $/, '--version'))),
        touched: touched.filter((path) => path !== 'calls' && !path.startsWith('project/')).sort(),
        touchedInProject: [...new Set(inProject)].sort(),
      }
    },
    setup: (...args) => machine.run('scripts/setup.mjs', ...args),
    serve: async (listener) => {
      const server = createServer(listener).listen(0, '127.0.0.1')
      await once(server, 'listening')
      stops.push(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      })
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    },
    dispose: async () => {
      await Promise.all(stops.map((stop) => stop()))
      rmSync(folder, { recursive: true, force: true })
    },
  }

  // Nothing that would need these may ever be asked to do it.
  machine.play('sudo', 'exit 1')
  machine.play('cc', 'exit 1')
  machine.play('id', 'echo 1000')
  machine.play('npm', npm(`echo 'npm error code E404' >&2; exit 1`))
  return machine
}

/** Plays npm: what `npm ci` leaves is the Node that scripts run on, and Playwright. `otherwise` is done for other commands. */
const npm = (otherwise: string): string => `
case "$1" in
  ci)
    mkdir -p node_modules/.bin node_modules/playwright-core
    ln -sf "${process.execPath}" node_modules/.bin/node
    echo '{"name":"playwright-core","main":"index.js"}' > node_modules/playwright-core/package.json
    echo 'exports.chromium = { executablePath: () => process.env.PLAYWRIGHT_BROWSERS_PATH + "/chrome" }' \\
      > node_modules/playwright-core/index.js
    cat > node_modules/playwright-core/cli.js <<'END'
    const { mkdirSync, writeFileSync } = require('node:fs')
    mkdirSync(process.env.PLAYWRIGHT_BROWSERS_PATH, { recursive: true })
    writeFileSync(process.env.PLAYWRIGHT_BROWSERS_PATH + '/chrome', '#!/bin/sh\\necho Chromium 1', { mode: 0o755 })
END
    ;;
  *) ${otherwise} ;;
esac`

/** Lets npm be the real one for all but \`npm ci\`, with a registry of our own. */
export const useNpm = (machine: Machine, registry: string): void => {
  machine.play('npm', npm(`exec "${whereIs('npm')}" "$@"`))
  machine.env['npm_config_registry'] = registry
  machine.env['npm_config_update_notifier'] = 'false'
  // What Node keeps for npm in the folder for temporary files is no doing of the set-up.
  machine.env['NODE_DISABLE_COMPILE_CACHE'] = '1'
  machine.env['npm_config_cache'] = join(machine.project, '.cache/npm')
}

/** A compiler that is played: where its programs and its sysroot are, below the machine's folder. */
export interface PlayedRust {
  readonly bin: string
  readonly sysroot: string
}

/** Puts a Rust on the machine. Its cargo builds a standard library, and installs programs, of a file each. */
export const playRust = (
  machine: Machine,
  { bin, sysroot }: PlayedRust,
  has: {
    readonly version?: string
    readonly target?: boolean
    readonly source?: boolean
    readonly linker?: boolean
  } = {},
): void => {
  const { version = '1.95.0', target = false, source = false, linker = true } = has
  const at = join(machine.folder, sysroot)
  const line = `rustc ${version} (0123456 2026-04-14)`
  machine.play(
    `${bin}/rustc`,
    `case "$*" in
  '--print sysroot') echo "${at}" ;;
  -vV) echo "${line}"; echo "release: ${version}" ;;
  --version) echo "${line}" ;;
  *) exit 1 ;;
esac`,
  )
  machine.play(
    `${bin}/cargo`,
    `case "$1" in
  --version) echo "cargo ${version}" ;;
  install)
    case "$2" in
      wasm-bindgen-cli) name=wasm-bindgen; is='wasm-bindgen ${wasmBindgenVersion}' ;;
      *) name=$2; is="$2 \${4#=}" ;;
    esac
    root=; while [ $# -gt 0 ]; do [ "$1" = --root ] && root=$2; shift; done
    mkdir -p "$root/bin"
    printf '#!/bin/sh\\necho %s\\n' "'$is'" > "$root/bin/$name"
    chmod +x "$root/bin/$name" ;;
  build)
    deps=target/${wasmTarget}/release/deps
    mkdir -p $deps && touch $deps/libcore-1.rlib $deps/libstd-1.rlib $deps/libnothing-1.rlib $deps/core.d
    echo "by $RUSTC, bootstrap $RUSTC_BOOTSTRAP" > $deps/libstd-1.rlib ;;
  *) exit 1 ;;
esac`,
  )
  mkdirSync(join(at, 'lib/rustlib/host/bin'), { recursive: true })
  if (linker) machine.write(join(sysroot, 'lib/rustlib/host/bin/rust-lld'), '')
  if (target) machine.write(join(sysroot, 'lib/rustlib', wasmTarget, 'lib/libcore-1.rlib'), '')
  if (source) machine.write(join(sysroot, 'lib/rustlib/src/rust/library/std/Cargo.toml'), '')
}

/** Where rustup keeps a toolchain, and the programs that its name stands for in PATH. */
export const rustupRust: PlayedRust = { bin: 'bin', sysroot: 'rustup/toolchains/stable' }

/** Puts rustup on the machine: a toolchain as {@link playRust} has it, or none, and its list of what is installed. */
export const playRustup = (machine: Machine, has: Parameters<typeof playRust>[2] | undefined = {}): void => {
  const { sysroot } = rustupRust
  playRust(machine, rustupRust, has)
  machine.write(`${sysroot}/lib/rustlib/components`, `cargo\n${has.target ? `rust-std-${wasmTarget}\n` : ''}`)
  const rustlib = `"$M/${sysroot}/lib/rustlib"`
  const add = `mkdir -p ${rustlib}/${wasmTarget}/lib
    touch ${rustlib}/${wasmTarget}/lib/libcore-1.rlib
    echo rust-std-${wasmTarget} >> ${rustlib}/components`
  machine.play(
    'rustup',
    `case "$1 $2" in
  'show active-toolchain') echo 'stable-x86_64 (default)' ;;
  'run stable-x86_64') shift 2; exec "$M/bin/$1" "$2" ;;
  'which '*) echo "$M/bin/$2" ;;
  'target add') ${add} ;;
  *) exit 1 ;;
esac`,
  )
}

/** Makes it a Debian whose user is root: its packages of Rust are of this version. */
export const playDebian = (machine: Machine, version = '1.96.0'): void => {
  machine.play('id', 'echo 0')
  machine.play('apt-cache', `echo "  Candidate: ${version}+dfsg1-1"`)
  machine.play(
    'dpkg-query',
    `case "$1" in
  -W) grep -qx "$4" "$M/installed" 2> /dev/null && printf 'install ok installed' ;;
  -L) grep -qx "$2" "$M/installed" 2> /dev/null && printf '/.\\n%s\\n' "$M/usr/bin/\${2%-web}" ;;
esac`,
  )
  playRust(machine, { bin: 'debian/bin', sysroot: 'usr' }, { version, linker: false, source: true })
  machine.remove('usr')
  machine.play(
    'apt-get',
    `for last; do case "$last" in update) exit 0 ;; esac; done
isOption=1
for a; do
  [ "$isOption" = 0 ] && case "$a" in
    -*) ;;
    *)
      echo "$a" >> "$M/installed"
      case "$a" in
        rustc-web | cargo-web) mkdir -p "$M/usr/bin"; cp "$M/debian/bin/\${a%-web}" "$M/usr/bin/" ;;
        rust-web-src) mkdir -p "$M/usr/lib/rustlib/src/rust/library/std" ;;
        lld) cp "$M/base/cat" "$M/bin/wasm-ld" ;;
        chromium) printf '#!/bin/sh\\necho Chromium 156\\n' > "$M/bin/chromium"; chmod +x "$M/bin/chromium" ;;
      esac ;;
  esac
  [ "$a" = install ] && isOption=0
done
exit 0`,
  )
}

/** Plays a wasm-bindgen of this version in PATH. */
export const playWasmBindgen = (machine: Machine, version = wasmBindgenVersion): void =>
  machine.play('wasm-bindgen', `echo 'wasm-bindgen ${version}'`)

const whereIs = (name: string): string => {
  const found = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes('node_modules'))
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${name} is not in PATH`)
  return found
}

/** Every file below a folder with what it holds. */
const snapshot = (folder: string, below = ''): Map<string, string> => {
  const files = new Map<string, string>()
  for (const name of readdirSync(join(folder, below))) {
    const path = below === '' ? name : `${below}/${name}`
    const stat = lstatSync(join(folder, path))
    if (stat.isDirectory()) {
      files.set(path, 'folder')
      for (const [at, holds] of snapshot(folder, path)) files.set(at, holds)
    } else if (stat.isSymbolicLink()) files.set(path, `to ${readlinkSync(join(folder, path))}`)
    else
      files.set(
        path,
        createHash('sha256')
          .update(readFileSync(join(folder, path)))
          .digest('hex') +
          stat.mode +
          stat.mtimeMs,
      )
  }
  return files
}

/** The tarball that npm makes of a folder. */
export const packed = async (folder: string): Promise<Uint8Array> => {
  const to = mkdtempSync(join(realpathSync(tmpdir()), 'packed-'))
  try {
    await promisify(execFile)('npm', ['pack', '--ignore-scripts', '--pack-destination', to], { cwd: folder })
    const [name = ''] = readdirSync(to)
    return readFileSync(join(to, name))
  } finally {
    rmSync(to, { recursive: true, force: true })
  }
}
