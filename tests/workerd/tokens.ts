/**
 * JSON Web Tokens, signed here, right or wrong in every way that a test wants.
 *
 * Owns the keys: they are made anew for each process, and each is known as a secret, a PEM text and a JWK.
 */
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign as signWith } from 'node:crypto'

/** An algorithm whose keys are pairs. */
export type PublicAlgorithm = keyof typeof pairs

/** One algorithm for each kind of key that is most used. */
export const publicAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const satisfies readonly PublicAlgorithm[]

/** A key pair: it signs, and others verify with its public half. */
export interface KeyPair {
  readonly algorithm: PublicAlgorithm
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** A public key as a member of a key set. */
export type Jwk = Readonly<Record<string, unknown>>

const base64Url = (bytes: string | Uint8Array): string => Buffer.from(bytes).toString('base64url')

const [pkcs1, pss] = [
  { padding: constants.RSA_PKCS1_PADDING },
  { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
]
const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2_048 })
const ec = (namedCurve: string) => () => generateKeyPairSync('ec', { namedCurve })
const asPair = { dsaEncoding: 'ieee-p1363' } as const

/** How keys of each algorithm are made, and how they sign. */
const pairs = {
  RS256: { make: rsa, digest: 'sha256', signing: pkcs1 },
  RS384: { make: rsa, digest: 'sha384', signing: pkcs1 },
  RS512: { make: rsa, digest: 'sha512', signing: pkcs1 },
  PS256: { make: rsa, digest: 'sha256', signing: pss },
  PS384: { make: rsa, digest: 'sha384', signing: pss },
  PS512: { make: rsa, digest: 'sha512', signing: pss },
  ES256: { make: ec('P-256'), digest: 'sha256', signing: asPair },
  ES384: { make: ec('P-384'), digest: 'sha384', signing: asPair },
  ES512: { make: ec('P-521'), digest: 'sha512', signing: asPair },
  EdDSA: { make: () => generateKeyPairSync('ed25519'), digest: null, signing: {} },
} as const

/** A pair of an algorithm's own kind. */
export const keyPairOf = (algorithm: PublicAlgorithm): KeyPair => ({ algorithm, ...pairs[algorithm].make() })

/** The public half as PEM. */
export const pemOf = ({ publicKey }: KeyPair): string => String(publicKey.export({ type: 'spki', format: 'pem' }))

/** The public half as DER. */
export const derOf = ({ publicKey }: KeyPair): Buffer => publicKey.export({ type: 'spki', format: 'der' })

/** The public half as a JWK, with members of its own. */
export const jwkOf = ({ publicKey }: KeyPair, members: Jwk = {}): Jwk => ({
  ...publicKey.export({ format: 'jwk' }),
  ...members,
})

/** The private half as a JWK, with members of its own. */
export const privateJwkOf = ({ privateKey }: KeyPair, members: Jwk = {}): Jwk => ({
  ...privateKey.export({ format: 'jwk' }),
  ...members,
})

/** What makes a signature of a signing input. */
export type Signer = (input: string) => Uint8Array

/** HMAC with a secret, by SHA-256 unless told. */
export const hmac =
  (secret: string | Uint8Array, bits = 256): Signer =>
  (input) =>
    createHmac(`sha${bits}`, secret).update(input).digest()

/** The signature that a pair makes by its own algorithm, unless another is named. */
export const signedBy =
  ({ algorithm, privateKey }: KeyPair, by: PublicAlgorithm = algorithm): Signer =>
  (input) => {
    const { digest, signing } = pairs[by]
    return signWith(digest, Buffer.from(input), { key: privateKey, ...signing })
  }

/** The signature of an EC pair in the form that certificates have it in, which is not that of tokens. */
export const derSignedBy =
  ({ privateKey }: KeyPair): Signer =>
  (input) =>
    signWith('sha256', Buffer.from(input), privateKey)

/** No signature at all, or one that is always the same. */
export const always =
  (signature: Uint8Array = new Uint8Array()): Signer =>
  () =>
    signature

/** A token of any texts: a part that is not a text is written as JSON. */
export const tokenOf = (header: unknown, claims: unknown, signer: Signer): string => {
  const [first, second] = [header, claims].map((part) =>
    base64Url(typeof part === 'string' || part instanceof Uint8Array ? part : JSON.stringify(part)),
  )
  const input = `${first}.${second}`
  return `${input}.${base64Url(signer(input))}`
}

/** A secret that is long enough. */
export const secret = 'a secret of the tests, and of nothing else'

/** A right token of a secret. */
export const hs256 = (claims: object = {}, key: string = secret): string =>
  tokenOf({ alg: 'HS256', typ: 'JWT' }, claims, hmac(key))

/** A right token of a pair. */
export const tokenBy = (pair: KeyPair, claims: object = {}, header: object = {}): string =>
  tokenOf({ alg: pair.algorithm, typ: 'JWT', ...header }, claims, signedBy(pair))

/** A token of a pair, signed by another algorithm than its own. */
export const tokenByOther = (
  pair: KeyPair,
  algorithm: PublicAlgorithm,
  claims: object = {},
  header: object = {},
): string => tokenOf({ alg: algorithm, typ: 'JWT', ...header }, claims, signedBy(pair, algorithm))

/** The three parts of a token. */
export const partsOf = (token: string): readonly [header: string, claims: string, signature: string] => {
  const [header, claims, signature] = token.split('.')
  return [header!, claims!, signature!]
}

/** A moment as claims write it, so many seconds from now. */
export const secondsFromNow = (seconds: number): number => Math.floor(Date.now() / 1_000) + seconds
