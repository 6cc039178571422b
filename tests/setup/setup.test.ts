/** Set-up on machines that lack this or that: what it does there, what it says, and what it leaves alone. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { cargoDenyVersion } from '../../scripts/toolchain.mjs'
import {
  type Finished,
  type Machine,
  makeMachine,
  packed,
  playDebian,
  playRust,
  playRustup,
  playWasmBindgen,
  rustupRust,
  useNpm,
  wasmBindgenVersion,
  wasmTarget,
} from './machine.ts'

/** What `npm ci` and `cargo install` are called with, on a machine that has nothing. */
const npmCi = 'npm ci --no-audit --no-fund --loglevel=error'
const cargoInstall = (machine: Machine): string =>
  `cargo install wasm-bindgen-cli --version =${wasmBindgenVersion} --root ${machine.project}/.cache/tools --force`
const denyInstall = (machine: Machine): string =>
  `cargo install cargo-deny --version =${cargoDenyVersion} --locked --root ${machine.project}/.cache/tools --force`
const targetAdd = `rustup target add ${wasmTarget}`
const apt = 'apt-get -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60 -q'
const aptInstall = (...packages: string[]): string[] => [
  `${apt} update`,
  `${apt} install -y --no-install-recommends --no-remove ${packages.join(' ')}`,
]
const aptRust = aptInstall('rustc-web', 'cargo-web', 'rust-web-src', 'lld')
const libcore = `lib/rustlib/${wasmTarget}/lib/libcore-1.rlib`

/** Defines a test on a machine of its own. */
const on = (claim: string, body: (machine: Machine) => Promise<void>): void => {
  it(claim, async () => {
    const machine = makeMachine()
    try {
      await body(machine)
    } finally {
      await machine.dispose()
    }
  })
}

/** A server of rustup's that has what it is asked for, and what it was asked for. */
const playServer = async (machine: Machine, status = 200): Promise<string[]> => {
  const asked: string[] = []
  machine.env['RUSTUP_DIST_SERVER'] = await machine.serve((request, response) => {
    asked.push(request.url ?? '')
    response.writeHead(status).end('0123')
  })
  return asked
}

/** The address of a server that was there and is gone: who asks is refused. */
const gone = async (): Promise<string> => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

/** Asserts that it went well, and that the machine is what it was but for the project and what `touched` names. */
const assertDone = (
  finished: Finished,
  { did, touched = [] }: { did: readonly string[]; touched?: string[] },
): void => {
  assert.equal(finished.status, 0, finished.output)
  assert.deepEqual(finished.did, did, finished.output)
  assert.deepEqual(finished.touched, touched)
  const own = ['.cache', 'dist', 'node_modules']
  assert.deepEqual(
    finished.touchedInProject.filter((name) => !own.includes(name)),
    [],
  )
  assert.match(finished.output, /^setup: ready after \d+\.\d s$/m)
}

/** Asserts that it failed with one sentence, and did nothing to the machine. */
const assertFailed = (finished: Finished, did: readonly string[], ...says: readonly RegExp[]): void => {
  assert.equal(finished.status, 1, finished.output)
  const [failed = '', ...more] = finished.output.split('\n').filter((line) => line.includes('FAILED'))
  assert.deepEqual(more, [], 'it fails once')
  assert.doesNotMatch(finished.output, /^ +at /m, 'no stack')
  for (const words of says) assert.match(failed, words)
  assert.deepEqual(finished.did, did, finished.output)
  assert.deepEqual(finished.touched, [])
}

/** Asserts that a second run installs nothing, asks nobody and changes nothing. */
const assertSkips = async (machine: Machine, ...options: readonly string[]): Promise<Finished> => {
  // Nobody answers any more.
  machine.env['RUSTUP_DIST_SERVER'] = await gone()
  const again = await machine.setup(...options)
  assertDone(again, { did: [] })
  assert.deepEqual(again.touchedInProject, [])
  assert.doesNotMatch(again.output, /: took /)
  return again
}

describe('set-up', { concurrency: 2 }, () => {
  describe('with a Rust that has the target', () => {
    on(
      'installs npm packages and wasm-bindgen, says how long each took, and skips both from then on',
      async (machine) => {
        playRust(machine, rustupRust, { target: true })
        const first = await machine.setup()
        assertDone(first, { did: [npmCi, cargoInstall(machine)] })
        assert.match(first.output, /^setup: npm packages: npm ci: took \d+\.\d s$/m)
        assert.match(first.output, /^setup: wasm-bindgen .*: took \d+\.\d s$/m)
        assert.match(first.output, /^setup: rustc 1\.95\.0: ok, the Rust in PATH .* builds the Worker$/m)
        assert.match((await assertSkips(machine)).output, /^setup: npm packages: up to date$/m)
      },
    )

    on('installs npm packages again once their lock file is another', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      await machine.setup()
      machine.write('project/package-lock.json', '{}')
      assertDone(await machine.setup(), { did: [npmCi] })
    })

    on('takes a wasm-bindgen in PATH that is of the version of the crate', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      playWasmBindgen(machine)
      const { output, ...rest } = await machine.setup()
      assertDone({ output, ...rest }, { did: [npmCi] })
      assert.ok(output.includes(`wasm-bindgen ${wasmBindgenVersion}: ok, ${machine.folder}/bin/wasm-bindgen`), output)
    })

    on('leaves a wasm-bindgen of another version alone', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      playWasmBindgen(machine, '0.2.99')
      assertDone(await machine.setup(), { did: [npmCi, cargoInstall(machine)] })
    })

    on('says what to install when there is no C compiler', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      machine.remove('bin/cc')
      assertFailed(await machine.setup(), [npmCi], /no C compiler is in PATH/, /build-essential|xcode-select/)
    })

    on('says what to install when there is no linker for WebAssembly', async (machine) => {
      playRust(machine, rustupRust, { target: true, linker: false })
      assertFailed(await machine.setup(), [npmCi], /no linker for WebAssembly: install LLVM's lld/)
    })
  })

  describe('with rustup', () => {
    on('adds the target once its server has answered', async (machine) => {
      playRustup(machine)
      const asked = await playServer(machine)
      const first = await machine.setup()
      const made = [`lib/rustlib/${wasmTarget}`, `lib/rustlib/${wasmTarget}/lib`, libcore]
      assertDone(first, {
        did: [npmCi, targetAdd, cargoInstall(machine)],
        touched: ['lib/rustlib/components', ...made].map((path) => `${rustupRust.sysroot}/${path}`).sort(),
      })
      assert.deepEqual(asked, ['/dist/channel-rust-stable.toml.sha256'])
      assert.match(first.output, /^setup: Rust for wasm32-unknown-unknown: rustup target add: took \d+\.\d s$/m)
      await assertSkips(machine)
    })

    on('lets rustup finish a target that is half there', async (machine) => {
      playRustup(machine)
      // Its files are in place, but rustup does not list it.
      machine.write(`${rustupRust.sysroot}/${libcore}`, '')
      await playServer(machine)
      const first = await machine.setup()
      assert.deepEqual(first.did, [npmCi, targetAdd, cargoInstall(machine)], first.output)
      await assertSkips(machine)
    })

    on('has it install a toolchain if it has none', async (machine) => {
      playRust(machine, { bin: 'later', sysroot: rustupRust.sysroot }, { target: true })
      for (const program of ['rustc', 'cargo']) machine.play(program, 'exit 1')
      machine.play(
        'rustup',
        'case "$1" in toolchain) cp "$M/later/rustc" "$M/later/cargo" "$M/bin" ;; *) exit 1 ;; esac',
      )
      await playServer(machine)
      const install = `rustup toolchain install stable --no-self-update --profile minimal --component rustfmt,clippy --target ${wasmTarget}`
      const { did, output } = await machine.setup()
      assert.deepEqual(did, [npmCi, install, cargoInstall(machine)], output)
      await assertSkips(machine)
    })

    on('says what to type when it has no toolchain and its server is silent', async (machine) => {
      for (const program of ['rustup', 'rustc', 'cargo']) machine.play(program, 'exit 1')
      machine.env['RUSTUP_DIST_SERVER'] = await gone()
      assertFailed(await machine.setup(), [npmCi], /rustup has no Rust that runs here/, /run `rustup default stable`/)
    })

    on('leaves a Rust that is too old to its user', async (machine) => {
      playRustup(machine, { version: '1.80.0' })
      const asked = await playServer(machine)
      assertFailed(
        await machine.setup(),
        [npmCi],
        /this is rustc 1\.80\.0, needed is 1\.\d+/,
        /run `rustup update stable`/,
      )
      assert.deepEqual(asked, [])
    })

    on('never starts it when its server refuses, and says what to type', async (machine) => {
      playRustup(machine)
      const server = (machine.env['RUSTUP_DIST_SERVER'] = await gone())
      const finished = await machine.setup()
      assertFailed(finished, [npmCi], new RegExp(`${server} does not answer \\(ECONNREFUSED\\)`), new RegExp(targetAdd))
      assert.match(finished.output, /let root run `apt-get install rustc-web cargo-web rust-web-src lld`/)
    })

    on('waits for a server that is silent no longer than seconds', async (machine) => {
      playRustup(machine)
      machine.env['RUSTUP_DIST_SERVER'] = await machine.serve(() => {})
      const startMs = Date.now()
      assertFailed(await machine.setup(), [npmCi], /does not answer \(no answer within 5 s\)/)
      assert.ok(Date.now() - startMs < 30_000)
    })

    on('takes a server that has nothing for none', async (machine) => {
      playRustup(machine)
      await playServer(machine, 503)
      assertFailed(await machine.setup(), [npmCi], /does not answer \(it answers 503\)/)
    })

    on('asks no server for a mirror that lies on this machine', async (machine) => {
      playRustup(machine)
      machine.env['RUSTUP_DIST_SERVER'] = 'file:///srv/rust'
      const { did } = await machine.setup()
      assert.deepEqual(did, [npmCi, targetAdd, cargoInstall(machine)])
    })

    on('says what rustup failed with', async (machine) => {
      playRustup(machine)
      machine.play(
        'rustup',
        `case "$1" in show) echo 'stable-x86_64 (default)' ;; run) echo 'rustc 1.95.0' ;; *) exit 3 ;; esac`,
      )
      await playServer(machine)
      assertFailed(await machine.setup(), [npmCi, targetAdd], /`rustup target add \S+` ended with code 3/)
    })

    on('builds the standard library from a source that is there, when its server is not', async (machine) => {
      playRustup(machine, { source: true })
      machine.env['RUSTUP_DIST_SERVER'] = await gone()
      const first = await machine.setup()
      const build = `cargo build -Zbuild-std=std,panic_abort,proc_macro --release --target ${wasmTarget}`
      assertDone(first, { did: [npmCi, build, cargoInstall(machine)] })
      assert.match(
        first.output,
        /the Rust in PATH .* builds the Worker, with the standard library in \.cache\/rust-std/,
      )
      await assertSkips(machine)
    })

    on('takes it when the Rust in PATH is another one without the target', async (machine) => {
      playRustup(machine, { target: true })
      playRust(machine, { bin: 'distribution', sysroot: 'distribution/lib' })
      machine.env['PATH'] = ['distribution', 'bin', 'base'].map((name) => join(machine.folder, name)).join(':')
      const first = await machine.setup()
      assertDone(first, { did: [npmCi, cargoInstall(machine)] })
      assert.ok(first.output.includes(`rustup's Rust (${machine.folder}/bin/cargo) builds the Worker`), first.output)
    })
  })

  describe('as root on Debian', () => {
    const build = `cargo build -Zbuild-std=std,panic_abort,proc_macro --release --target ${wasmTarget}`
    /** What the packages bring, as {@link playDebian} has it. */
    const isFromPackages = (path: string): boolean => /^(usr|installed|bin\/(wasm-ld|chromium))(\/|$)/.test(path)

    on(
      'installs its Rust when rustup’s server is out of reach, and builds the standard library into .cache',
      async (machine) => {
        playRustup(machine)
        playDebian(machine)
        machine.env['RUSTUP_DIST_SERVER'] = await gone()
        const first = await machine.setup()
        const touched = first.touched.filter(isFromPackages)
        assertDone(first, { did: [npmCi, ...aptRust, build, cargoInstall(machine)], touched })
        assert.ok(!touched.some((path) => path.includes(wasmTarget)), 'nothing is put into a folder of the compiler')
        const std = `project/.cache/rust-std/lib/rustlib/${wasmTarget}/lib`
        assert.equal(machine.read(`${std}/libstd-1.rlib`), `by ${machine.folder}/usr/bin/rustc, bootstrap 1\n`)
        assert.ok(machine.has(`${std}/libcore-1.rlib`))
        assert.ok(!machine.has(`${std}/libnothing-1.rlib`))
        assert.ok(!machine.has('project/.cache/rust-std.new'))
        assert.match(
          first.output,
          /^setup: rustc 1\.96\.0: ok, Debian's Rust \(.*\/usr\/bin\/cargo\) builds the Worker, with/m,
        )
        await assertSkips(machine)
      },
    )

    on('installs its Rust when there is none', async (machine) => {
      playDebian(machine)
      machine.env['PATH'] = ['bin', 'usr/bin', 'base'].map((name) => join(machine.folder, name)).join(':')
      const first = await machine.setup()
      assertDone(first, {
        did: [npmCi, ...aptRust, build, cargoInstall(machine)],
        touched: first.touched.filter(isFromPackages),
      })
      assert.match(first.output, /^setup: rustc 1\.96\.0: ok, Debian's Rust/m)
      await assertSkips(machine)
    })

    on('builds the standard library again for a newer compiler', async (machine) => {
      playDebian(machine)
      await machine.setup()
      playRust(machine, { bin: 'usr/bin', sysroot: 'usr' }, { version: '1.97.0', linker: false, source: true })
      assertDone(await machine.setup(), { did: [build] })
    })

    on('installs only what is missing', async (machine) => {
      playRustup(machine)
      playDebian(machine)
      machine.write('installed', 'lld\n')
      machine.play('wasm-ld', '')
      machine.env['RUSTUP_DIST_SERVER'] = await gone()
      const { did } = await machine.setup()
      assert.deepEqual(did.slice(1, 3), aptInstall('rustc-web', 'cargo-web', 'rust-web-src'))
    })

    on('installs nothing when rustup’s server answers', async (machine) => {
      playRustup(machine)
      playDebian(machine)
      await playServer(machine)
      const { did } = await machine.setup()
      assert.deepEqual(did, [npmCi, targetAdd, cargoInstall(machine)])
    })

    on('installs no Rust that is too old', async (machine) => {
      playDebian(machine, '1.63.0')
      assertFailed(
        await machine.setup(),
        [npmCi, `${apt} update`],
        /rustc-web is of version 1\.63\.0\S*, needed is 1\./,
      )
    })

    on('says which command failed when packages cannot be had', async (machine) => {
      playDebian(machine)
      machine.play('apt-get', 'exit 100')
      assertFailed(await machine.setup(), [npmCi, `${apt} update`], /`apt-get .* update` ended with code 100/)
    })

    on('says so when the standard library cannot be built, and leaves none behind', async (machine) => {
      playDebian(machine)
      machine.play('debian/bin/cargo', `[ "$1" = --version ] && echo 'cargo 1.96.0' || exit 101`)
      const { status, output } = await machine.setup()
      assert.equal(status, 1)
      assert.match(output, /FAILED: .*`\S+\/usr\/bin\/cargo build -Zbuild-std.*` ended with code 101/)
      assert.ok(!machine.has('project/.cache/rust-std'))
    })

    on('installs a C compiler', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      playDebian(machine)
      machine.remove('bin/cc')
      const { did } = await machine.setup()
      assert.deepEqual(did.slice(1, 3), aptInstall('gcc', 'libc6-dev'))
    })
  })

  describe('on Debian, not as root', () => {
    on('installs no packages, and never tries to become root', async (machine) => {
      playRustup(machine)
      playDebian(machine)
      machine.play('id', 'echo 1000')
      machine.env['RUSTUP_DIST_SERVER'] = await gone()
      assertFailed(
        await machine.setup(),
        [npmCi],
        /let root run `apt-get install rustc-web cargo-web rust-web-src lld`/,
      )
    })

    on('takes what root has installed, and needs nobody for the rest', async (machine) => {
      playDebian(machine)
      machine.play('id', 'echo 1000')
      for (const name of ['rustc-web', 'cargo-web', 'rust-web-src', 'lld'])
        machine.write('installed', `${machine.has('installed') ? machine.read('installed') : ''}${name}\n`)
      playRust(machine, { bin: 'usr/bin', sysroot: 'usr' }, { version: '1.96.0', source: true })
      const { did, output } = await machine.setup()
      assert.deepEqual(did.slice(1), [
        `cargo build -Zbuild-std=std,panic_abort,proc_macro --release --target ${wasmTarget}`,
        cargoInstall(machine),
      ])
      assert.match(output, /Debian's Rust/)
    })
  })

  describe('without Rust', () => {
    /** A registry that has one package: the folder `published` of the machine. */
    const publish = async (machine: Machine, manifest: Record<string, unknown>): Promise<string[]> => {
      const asked: string[] = []
      machine.write('published/package.json', JSON.stringify(manifest))
      const tarball = await packed(join(machine.folder, 'published'))
      const registry = await machine.serve((request, response) => {
        const { url = '' } = request
        asked.push(url)
        if (url.endsWith('.tgz')) return void response.end(tarball)
        if (url !== `/${String(manifest['name'])}`) return void response.writeHead(404).end('{}')
        const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
        const dist = { integrity, tarball: `http://${request.headers.host}/package.tgz` }
        const version = String(manifest['version'])
        response.setHeader('content-type', 'application/json')
        response.end(
          JSON.stringify({
            ...manifest,
            versions: { [version]: { ...manifest, dist } },
            'dist-tags': { latest: version },
          }),
        )
      })
      useNpm(machine, registry)
      return asked
    }

    /** The manifest of the project, as it is when it is published. */
    const release = (machine: Machine): Record<string, unknown> => {
      const { private: _, ...manifest } = JSON.parse(machine.read('project/package.json'))
      machine.write('project/package.json', JSON.stringify(manifest))
      return { name: manifest.name, version: manifest.version, files: ['dist/*'] }
    }

    /** Writes what a build of the project's sources leaves. */
    const playBuild = async (machine: Machine): Promise<void> => {
      const program = `import { digestOf, ownSources } from './sources.mjs'; console.log(digestOf(ownSources))`
      machine.write('project/scripts/digest.mjs', program)
      const { output } = await machine.run('scripts/digest.mjs')
      rmSync(join(machine.project, 'scripts/digest.mjs'))
      for (const name of ['worker.js', 'cf-worker.js', 'cli.js', 'inspector.js', 'index_bg.wasm', 'worker.d.ts'])
        machine.write(`published/dist/${name}`, `the ${name} of npm`)
      machine.write('published/dist/sources.sha256', output)
    }

    on('says what to install', async (machine) => {
      assertFailed(await machine.setup(), [npmCi], /Rust is not installed: install it from https:\/\/rustup\.rs/)
    })

    on('asks npm for nothing as long as no release can be there', async (machine) => {
      const finished = await machine.setup()
      assert.deepEqual(finished.did, [npmCi])
      assert.match(
        finished.output,
        /prebuilt Worker: no release of this version is on npm: package\.json says that it is private/,
      )
    })

    on('serves the Worker of the npm package, if it is of these sources, and compiles nothing', async (machine) => {
      await playBuild(machine)
      const asked = await publish(machine, release(machine))
      const first = await machine.setup()
      assert.equal(first.status, 0, first.output)
      assert.match(
        first.output,
        /livestore-sync-worker@\S+ of npm was built from these sources; it is in dist\/, nothing is compiled/,
      )
      assert.deepEqual(first.touched, [])
      assert.deepEqual(first.touchedInProject, ['.cache', 'dist', 'node_modules'])
      assert.deepEqual(asked, ['/livestore-sync-worker', '/package.tgz'])
      for (const name of ['worker.js', 'cf-worker.js', 'cli.js', 'inspector.js', 'index_bg.wasm', 'worker.d.ts'])
        assert.equal(machine.read(`project/dist/${name}`), `the ${name} of npm`)

      const build = await machine.run('scripts/build.mjs')
      assert.equal(build.output, 'build: dist is up to date\n')
      const again = await assertSkips(machine)
      assert.match(again.output, /Worker: dist\/ is of these sources, nothing is to be compiled/)
      assert.equal(asked.length, 2)
    })

    on('needs Rust for sources that are not those of the release', async (machine) => {
      await playBuild(machine)
      await publish(machine, release(machine))
      await machine.setup()
      const changed = `${machine.read('project/src/lib.rs')}\n`
      machine.write('project/src/lib.rs', changed)
      const { status, output } = await machine.setup()
      assert.equal(status, 1)
      assert.match(output, /livestore-sync-worker@\S+ was built from other sources than these/)
      assert.match(output, /FAILED: Rust is not installed/)
      assert.equal(machine.read('project/dist/worker.js'), 'the worker.js of npm', 'what was there is left')
      const build = await machine.run('scripts/build.mjs')
      assert.notEqual(build.status, 0, build.output)
    })

    on('takes no package that is not whole', async (machine) => {
      await playBuild(machine)
      machine.remove('published/dist/cf-worker.js')
      await publish(machine, release(machine))
      const { status, output } = await machine.setup()
      assert.equal(status, 1, output)
      assert.ok(!machine.has('project/dist'))
    })

    on('says what to install when npm has no such version', async (machine) => {
      const manifest = release(machine)
      await publish(machine, { ...manifest, version: '99.0.0' })
      const { status, output } = await machine.setup()
      assert.equal(status, 1)
      assert.match(output, /prebuilt Worker: npm has none of this version/)
      assert.match(output, /FAILED: Rust is not installed/)
    })

    on('waits for npm no longer than seconds', async (machine) => {
      release(machine)
      useNpm(machine, await machine.serve(() => {}))
      const startMs = Date.now()
      const { status, output } = await machine.setup()
      assert.equal(status, 1)
      assert.match(output, /prebuilt Worker: npm could not be asked for it \(\w+\)/)
      assert.ok(Date.now() - startMs < 60_000)
    })

    on('takes no package for tests, which compile the core', async (machine) => {
      await playBuild(machine)
      const asked = await publish(machine, release(machine))
      machine.play('chromium', 'echo Chromium 1')
      const { status, output } = await machine.setup('--tests')
      assert.equal(status, 1)
      assert.match(output, /FAILED: Rust is not installed/)
      assert.deepEqual(asked, [])
    })

    on('takes no package where Rust can compile', async (machine) => {
      await playBuild(machine)
      const asked = await publish(machine, release(machine))
      playRust(machine, rustupRust, { target: true })
      const { status, output } = await machine.setup()
      assert.equal(status, 0, output)
      assert.ok(!machine.has('project/dist'))
      assert.deepEqual(asked, [])
    })
  })

  describe('with the SHA-256 of a wasm-bindgen that its authors have built', () => {
    const machines: Readonly<Record<string, string>> = {
      'linux x64': 'x86_64-unknown-linux-musl',
      'linux arm64': 'aarch64-unknown-linux-gnu',
      'darwin x64': 'x86_64-apple-darwin',
      'darwin arm64': 'aarch64-apple-darwin',
    }
    const name = `wasm-bindgen-${wasmBindgenVersion}-${machines[`${process.platform} ${process.arch}`]}`

    /** Serves an archive with a program that says that it is of this version. */
    const offer = async (machine: Machine, says = wasmBindgenVersion) => {
      playRust(machine, rustupRust, { target: true })
      const program = `#!/bin/sh\necho wasm-bindgen ${says}`
      machine.write(
        'release/pack.mjs',
        `
        import { execFileSync } from 'node:child_process'
        import { mkdirSync, writeFileSync } from 'node:fs'
        mkdirSync('${name}')
        writeFileSync('${name}/wasm-bindgen', ${JSON.stringify(program)}, { mode: 0o755 })
        process.stdout.write(execFileSync('tar', ['-cz', '${name}']).toString('base64'))
        `,
      )
      const { output } = await machine.run('../release/pack.mjs')
      rmSync(join(machine.project, name), { recursive: true })
      const archive = Buffer.from(output, 'base64')
      const asked: string[] = []
      const releases = await machine.serve((request, response) => {
        asked.push(request.url ?? '')
        response.end(archive)
      })
      const sha256 = createHash('sha256').update(archive).digest('hex')
      const know = (known: object) => machine.write('project/scripts/setup/wasm-bindgen.json', JSON.stringify(known))
      return { asked, releases, sha256, know }
    }

    on('downloads that and compiles none', async (machine) => {
      const { asked, releases, sha256, know } = await offer(machine)
      know({ releases, sha256: { [`${name}.tar.gz`]: sha256 } })
      assertDone(await machine.setup(), { did: [npmCi] })
      assert.deepEqual(asked, [`/${wasmBindgenVersion}/${name}.tar.gz`])
      await assertSkips(machine)
    })

    on('runs nothing that has another SHA-256', async (machine) => {
      const { releases, know } = await offer(machine)
      know({ releases, sha256: { [`${name}.tar.gz`]: '0'.repeat(64) } })
      assertFailed(
        await machine.setup(),
        [npmCi],
        /has the SHA-256 [0-9a-f]{64}, but scripts\/setup\/wasm-bindgen\.json says 0{64}/,
      )
      assert.ok(!machine.has('project/.cache/tools/bin/wasm-bindgen'))
    })

    on('compiles one when that cannot be had', async (machine) => {
      const { sha256, know } = await offer(machine)
      know({ releases: await gone(), sha256: { [`${name}.tar.gz`]: sha256 } })
      const finished = await machine.setup()
      assertDone(finished, { did: [npmCi, cargoInstall(machine)] })
      assert.match(finished.output, /it cannot be had there \(ECONNREFUSED\)/)
    })

    on('compiles one when that does not run here', async (machine) => {
      const { releases, sha256, know } = await offer(machine, '0.0.1')
      know({ releases, sha256: { [`${name}.tar.gz`]: sha256 } })
      assertDone(await machine.setup(), { did: [npmCi, cargoInstall(machine)] })
    })
  })

  describe('for tests', () => {
    on('takes a Chromium that is there', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      machine.play('chromium', 'echo Chromium 156')
      assertDone(await machine.setup('--tests'), { did: [npmCi, cargoInstall(machine), denyInstall(machine)] })
      await assertSkips(machine, '--tests')
    })

    on('installs Debian’s Chromium as root on Debian', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      playDebian(machine)
      const first = await machine.setup('--tests')
      assertDone(first, {
        did: [npmCi, ...aptInstall('chromium'), cargoInstall(machine), denyInstall(machine)],
        touched: ['bin/chromium', 'installed'],
      })
      await assertSkips(machine, '--tests')
    })

    on('downloads Playwright’s Chromium into .cache elsewhere', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      assertDone(await machine.setup('--tests'), { did: [npmCi, cargoInstall(machine), denyInstall(machine)] })
      assert.ok(machine.has('project/.cache/playwright/chrome'))
      await assertSkips(machine, '--tests')
    })

    on('installs cargo-deny alone for who asks for no more', async (machine) => {
      playRust(machine, rustupRust)
      const first = await machine.run('scripts/setup/cargo-deny.mjs')
      assert.equal(first.status, 0, first.output)
      assert.deepEqual(first.did, [denyInstall(machine)])
      assert.deepEqual([first.touched, first.touchedInProject], [[], ['.cache']])
      assert.deepEqual((await machine.run('scripts/setup/cargo-deny.mjs')).did, [])
    })

    on('lets the core be tested by a Rust that runs, when that in PATH does not', async (machine) => {
      playDebian(machine)
      // What rustup puts into PATH runs only where its toolchains are.
      for (const name of ['rustup', 'rustc', 'cargo']) machine.play(name, 'exit 1')
      machine.env['RUSTUP_DIST_SERVER'] = await gone()
      const { status, output } = await machine.setup('--tests')
      assert.equal(status, 0, output)
      playRust(machine, { bin: 'usr/bin', sysroot: 'usr' }, { version: '1.96.0', source: true })
      const { did } = await machine.run('scripts/cargo.mjs', 'build')
      assert.deepEqual(did, ['cargo build'])
      const built = `project/target/${wasmTarget}/release/deps/libstd-1.rlib`
      assert.match(machine.read(built), new RegExp(`^by ${machine.folder}/usr/bin/rustc, `))
    })

    on('installs the packages of clients, projects and examples, each once', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      machine.play('chromium', 'echo Chromium 156')
      for (const folder of ['tests/clients/v04', 'tests/package/projects/hono', 'examples/todomvc'])
        machine.write(`project/${folder}/package-lock.json`, '{}')
      const first = await machine.setup('--tests')
      assert.deepEqual(
        first.did,
        [npmCi, npmCi, npmCi, npmCi, cargoInstall(machine), denyInstall(machine)],
        first.output,
      )
      for (const what of ['client v04', 'project hono', 'example todomvc'])
        assert.match(first.output, new RegExp(`^setup: ${what}: npm ci: took`, 'm'))
      await assertSkips(machine, '--tests')
    })
  })

  on("what tests start keeps its own in .cache, not in its user's home", async (machine) => {
    machine.env['XDG_CONFIG_HOME'] = join(machine.folder, 'home/settings')
    machine.write(
      'project/tests/some/one.test.ts',
      `
      import { mkdirSync } from 'node:fs'
      import { it } from 'node:test'
      it('starts a program', () => {
        for (const [variable, usual] of [['XDG_CONFIG_HOME', '.config'], ['XDG_CACHE_HOME', '.cache']])
          mkdirSync((process.env[variable] || process.env.HOME + '/' + usual) + '/program', { recursive: true })
      })`,
    )
    const { status, output, touched } = await machine.run('scripts/run-tests.mjs', 'tests/some')
    assert.equal(status, 0, output)
    assert.deepEqual(touched, [])
    for (const kind of ['config', 'cache']) assert.ok(machine.has(`project/.cache/home/${kind}/program`), kind)
  })

  describe('that cannot go on', () => {
    on('names an option that it does not know, and those that it does', async (machine) => {
      assertFailed(await machine.setup('--test'), [], /unknown option --test; there are --rust, --examples, --tests/)
    })

    on('says what to check when npm fails', async (machine) => {
      machine.play('npm', 'exit 7')
      assertFailed(
        await machine.setup(),
        [npmCi],
        /`npm ci .*` ended with code 7: check the connection to the npm registry/,
      )
    })

    on('says why npm left no Node behind', async (machine) => {
      machine.play('npm', 'mkdir node_modules')
      assertFailed(
        await machine.setup(),
        [npmCi],
        /node_modules\/\.bin\/node is missing/,
        /npm config get ignore-scripts/,
      )
    })

    on('says what to check when wasm-bindgen cannot be installed', async (machine) => {
      playRust(machine, rustupRust, { target: true })
      machine.play('cargo', `[ "$1" = --version ] && echo 'cargo 1.95.0' || exit 101`)
      assertFailed(
        await machine.setup(),
        [npmCi, cargoInstall(machine)],
        /ended with code 101: check the connection to crates\.io/,
      )
    })
  })
})
