/** `token`: a JSON Web Token by which a client syncs, signed here by the key that the sync backend knows. No server is asked. */
import { type KeyObject, constants, createHmac, createPrivateKey, sign } from 'node:crypto'
import { noOperands, oneOf, secondsOf, textOf } from './shared/asked.ts'
import { type Asked, type Command, Failure, UsageError } from './command.ts'

/** How a key signs by each algorithm that the server takes; docs/operations.md has the table. */
const algorithms = {
  RS256: { kind: 'rsa', digest: 'sha256' },
  RS384: { kind: 'rsa', digest: 'sha384' },
  RS512: { kind: 'rsa', digest: 'sha512' },
  PS256: { kind: 'rsa', digest: 'sha256', isPss: true },
  PS384: { kind: 'rsa', digest: 'sha384', isPss: true },
  PS512: { kind: 'rsa', digest: 'sha512', isPss: true },
  ES256: { kind: 'prime256v1', digest: 'sha256' },
  ES384: { kind: 'secp384r1', digest: 'sha384' },
  ES512: { kind: 'secp521r1', digest: 'sha512' },
  EdDSA: { kind: 'ed25519', digest: null },
} as const satisfies Record<string, { kind: string; digest: string | null; isPss?: boolean }>

type Algorithm = keyof typeof algorithms

const names = Object.keys(algorithms) as readonly Algorithm[]

/** What the server asks of a secret and of a key in RSA. */
const [secretBytesMin, rsaBitsMin] = [32, 2_048]

const usualExpiry = 3_600

interface Signer {
  readonly header: object
  readonly sign: (input: string) => Buffer
}

export const token: Command = {
  operands: '',
  summary: 'prints a JSON Web Token for a store, signed by JWT_SECRET or JWT_PRIVATE_KEY',
  flags: {
    store: { value: '<id>', help: "the store that it opens; '*' is every one" },
    access: { value: '<what>', help: 'read or write: what it allows; write unless told' },
    sub: { value: '<subject>', help: 'whom it is for' },
    expires: { value: '<time>', help: 'how long it is good, as 15m, 1h or 7d: 1h' },
    issuer: { value: '<iss>', help: 'instead of JWT_ISSUER' },
    audience: { value: '<aud>', help: 'instead of the first of JWT_AUDIENCE' },
    'store-claim': { value: '<name>', help: 'the claim that names the store, instead of JWT_STORE_CLAIM: stores' },
    'access-claim': {
      value: '<name>',
      help: 'the claim that says what it allows, instead of JWT_ACCESS_CLAIM: access',
    },
    alg: { value: '<name>', help: 'another algorithm than the first that the key is good for: PS256' },
    kid: { value: '<id>', help: 'the name of the key in its set; a JWK has its own' },
    json: { help: 'prints JSON' },
  },
  run: (asked) => {
    noOperands('token', asked)
    const store = textOf('token', asked, 'store')
    if (store === undefined) throw new UsageError("token: which store? Give --store, or --store '*' for every one")
    const by = signerOf(asked)
    const now = Math.floor(Date.now() / 1_000)
    const exp = now + (secondsOf('token', asked, 'expires') ?? usualExpiry)
    const claims = {
      ...given('iss', named(asked, 'issuer', 'JWT_ISSUER')),
      ...given('aud', named(asked, 'audience', 'JWT_AUDIENCE')?.split(',')[0]?.trim()),
      ...given('sub', textOf('token', asked, 'sub')),
      iat: now,
      exp,
      [named(asked, 'store-claim', 'JWT_STORE_CLAIM') ?? 'stores']: store,
      [named(asked, 'access-claim', 'JWT_ACCESS_CLAIM') ?? 'access']:
        oneOf('token', asked, 'access', ['read', 'write']) ?? 'write',
    }
    const input = [by.header, claims].map((part) => base64Url(JSON.stringify(part))).join('.')
    const text = `${input}.${base64Url(by.sign(input))}`
    const expiresAt = new Date(exp * 1_000).toISOString()
    console.log(asked.flags['json'] === true ? JSON.stringify({ token: text, expiresAt, claims }) : text)
  },
}

const base64Url = (data: string | Buffer): string => Buffer.from(data).toString('base64url')

const given = (claim: string, value: string | undefined): object => (value === undefined ? {} : { [claim]: value })

/** What a flag says, or the Worker's own variable. */
const named = (asked: Asked, flag: string, variable: string): string | undefined =>
  textOf('token', asked, flag) ?? (process.env[variable] || undefined)

/** What signs, by the environment. */
const signerOf = (asked: Asked): Signer => {
  const [secret, key] = [process.env['JWT_SECRET'] || undefined, process.env['JWT_PRIVATE_KEY'] || undefined]
  if (secret !== undefined && key !== undefined)
    throw new Failure('token: both JWT_SECRET and JWT_PRIVATE_KEY are set: which one is meant? Unset the other')
  if (key !== undefined) return byKey(asked, key)
  if (secret !== undefined) return bySecret(asked, secret)
  throw new Failure(
    'token: nothing to sign with: set the variable JWT_SECRET, as the sync backend has it, or JWT_PRIVATE_KEY (PEM or JWK), whose public half it knows',
  )
}

const bySecret = (asked: Asked, secret: string): Signer => {
  const alg = textOf('token', asked, 'alg') ?? 'HS256'
  if (alg !== 'HS256') throw new UsageError(`token: with JWT_SECRET, --alg is HS256, not '${alg}'`)
  if (Buffer.byteLength(secret) < secretBytesMin)
    throw new Failure(`token: JWT_SECRET has less than ${secretBytesMin} bytes, which the sync backend does not take`)
  const header = { alg, typ: 'JWT', ...given('kid', textOf('token', asked, 'kid')) }
  return { header, sign: (input) => createHmac('sha256', secret).update(input).digest() }
}

const byKey = (asked: Asked, text: string): Signer => {
  const { key, jwk } = keyIn(text)
  const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType
  const fitting = names.filter((name) => algorithms[name].kind === kind)
  const [usual] = fitting
  if (usual === undefined)
    throw new Failure(`token: JWT_PRIVATE_KEY is a key of the kind ${kind}, which signs no token`)
  if (kind === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < rsaBitsMin)
    throw new Failure(`token: JWT_PRIVATE_KEY has less than ${rsaBitsMin} bits, which the sync backend does not take`)
  const wanted = textOf('token', asked, 'alg') ?? jwk.alg ?? usual
  // RFC 9864 calls it by its curve.
  const alg = fitting.find((name) => name === (wanted === 'Ed25519' ? 'EdDSA' : wanted))
  if (alg === undefined) throw new UsageError(`token: this key signs by ${fitting.join(', ')}, not by '${wanted}'`)
  const { digest, ...how }: { digest: string | null; isPss?: boolean } = algorithms[alg]
  const padding =
    how.isPss === true ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {}
  const header = { alg, typ: 'JWT', ...given('kid', textOf('token', asked, 'kid') ?? jwk.kid) }
  const signing = { key, dsaEncoding: 'ieee-p1363', ...padding } as const
  return { header, sign: (input) => sign(digest, Buffer.from(input), signing) }
}

interface Jwk {
  readonly kid?: string
  readonly alg?: string
}

/** A private key as PEM, in which line breaks may be written as `\n`, or as JWK. */
const keyIn = (text: string): { readonly key: KeyObject; readonly jwk: Jwk } => {
  const cannot = (why: string): never => {
    throw new Failure(`token: JWT_PRIVATE_KEY is no private key, neither as PEM nor as JWK: ${why}`)
  }
  try {
    if (!text.trimStart().startsWith('{')) return { key: createPrivateKey(text.replaceAll('\\n', '\n')), jwk: {} }
    const jwk = JSON.parse(text) as JsonWebKey & Jwk
    return { key: createPrivateKey({ key: jwk as Record<string, unknown>, format: 'jwk' }), jwk }
  } catch (error) {
    // What a parser of JSON says may have a piece of the key in it.
    return cannot(error instanceof SyntaxError ? 'it begins as JSON and is none' : (error as Error).message)
  }
}
