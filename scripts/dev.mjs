// Runs `wrangler dev` with the arguments that it is given, and says, once the server is ready, how to come in: where it listens, by
// which token, where the inspector is, who else may. All else is wrangler's: what it prints, its keys, its exit code.
//
//   npm run dev -- --port 8790 --ip 0.0.0.0
//
// A token is printed only if everybody knows it anyway.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants, homedir, networkInterfaces } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs, parseEnv } from 'node:util'
import { read, root } from './toolchain.mjs'

/** What `src/auth/token.rs` accepts on this machine alone. */
const [developmentToken, developmentSecret] = ['insecure-token-change-me', 'insecure-secret-change-me']

const { values } = parseArgs({
  args: process.argv.slice(2),
  strict: false,
  options: {
    env: { type: 'string', short: 'e' },
    'env-file': { type: 'string', multiple: true },
    ip: { type: 'string' },
    'local-protocol': { type: 'string' },
  },
})

/** The files that wrangler reads variables of, a later one before those in front of it. */
const files = () => {
  const named = values['env-file']?.filter((name) => typeof name === 'string')
  if (named !== undefined) return named
  const ofEnvironment = `.dev.vars.${String(values.env)}`
  return [values.env !== undefined && read(ofEnvironment) !== undefined ? ofEnvironment : '.dev.vars']
}

/** @param {string | undefined} list */
const entries = (list) => (list ?? '').split(',').flatMap((entry) => entry.trim() || [])

/** @param {NodeJS.Dict<string>} vars @param {string} file */
const credential = (vars, file) => {
  const tokens = entries(vars['AUTH_TOKEN'])
  if (vars['ALLOW_ANONYMOUS']?.trim() === 'true') return 'no token is asked for'
  if (tokens.includes(developmentToken)) return `syncPayload: { authToken: '${developmentToken}' }`
  if (tokens.length > 0) return `syncPayload: { authToken: '…' }, as AUTH_TOKEN in ${file} says`
  if (Object.keys(vars).some((name) => name.startsWith('JWT_'))) return 'a JSON Web Token opens it'
  return `nothing in ${file} says who may sync`
}

/** The addresses of this machine on its networks. */
const addresses = () =>
  Object.values(networkInterfaces())
    .flatMap((ones) => ones ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)

/** Every line that is to be read when the server listens.
 * @param {string} host as wrangler says it, which is localhost where it listens everywhere
 * @param {number} port
 */
const welcome = (host, port) => {
  const [file = '.dev.vars'] = files().slice(-1)
  const vars = Object.assign({}, ...files().map((name) => parseEnv(read(name) ?? '')))
  const protocol = values['local-protocol'] === 'https' ? 'https' : 'http'
  /** @param {string} host */
  const urlOf = (host) => `${protocol}://${host}:${port}`
  const url = urlOf(host === '127.0.0.1' ? 'localhost' : host)
  const lines = [['sync', url, credential(vars, file)]]
  const secret = vars['ADMIN_SECRET']?.trim()
  if (secret)
    lines.push([
      'inspector',
      `${url}/admin`,
      `secret: ${secret === developmentSecret ? secret : `ADMIN_SECRET in ${file}`}`,
    ])
  const ip = String(values.ip ?? 'localhost')
  const isEverywhere = ['0.0.0.0', '::', '*'].includes(ip)
  const isOnNetwork = isEverywhere || !['localhost', '127.0.0.1', '::1'].includes(ip)
  for (const address of isEverywhere ? addresses() : isOnNetwork ? [ip] : []) {
    const isLetIn = entries(vars['DEV_HOSTS']).some((entry) => entry.replace(/:\d+$/, '') === address)
    const isFree = isLetIn || !entries(vars['AUTH_TOKEN']).includes(developmentToken)
    lines.push([
      'network',
      urlOf(address),
      isFree ? 'in the same way' : `in the same way with DEV_HOSTS=${address} in ${file}`,
    ])
  }
  if (vars['ALLOWED_ORIGINS']?.trim() === '*')
    lines.push(['pages', 'of any address may connect', `ALLOWED_ORIGINS=* in ${file}`])
  const [first, second] = [0, 1].map((at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)))
  return lines.map(
    ([what = '', where = '', how = '']) => `  ${what.padEnd(first ?? 0)}  ${where.padEnd(second ?? 0)}  ${how}`,
  )
}

/**
 * Where wrangler keeps a login, and which Workers are served on this machine: where it has done so, else in this folder. It would
 * leave a trace of itself in the user's home otherwise, even if all it does is to serve this.
 */
const placeOfConfig = () => {
  const home = homedir()
  const places = [process.env['XDG_CONFIG_HOME'] || join(home, '.config'), join(home, 'Library/Preferences'), home]
  const isThere = places.some((place) => existsSync(join(place, '.wrangler')))
  return isThere ? {} : { XDG_CONFIG_HOME: resolve('.wrangler/config') }
}

const child = spawn(
  process.execPath,
  [join(root, 'node_modules/wrangler/bin/wrangler.js'), 'dev', ...process.argv.slice(2)],
  {
    // Its own terminal, without a pipe between them: it would take no keys otherwise. What it has to say to us comes by the channel.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG_PATH: '.wrangler/logs', ...process.env, ...placeOfConfig() },
  },
)
child.on('message', (message) => {
  const { event, ip, port } = JSON.parse(String(message))
  if (event === 'DEV_SERVER_READY') console.log(`\n${welcome(ip, port).join('\n')}\n`)
})
child.on('error', ({ message }) => {
  console.error(`dev: wrangler does not start: ${message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + (signal === null ? 1 : constants.signals[signal])))
// It ends first, and we with it.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(signal, () => child.kill(signal))
