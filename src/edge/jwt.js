// Keys and signatures of JSON Web Tokens, by `jose`. They belong to the crate's `edge::jwt`, which knows what a token has to
// say and when a key set is fetched.
//
// A key decides by which algorithm a token is signed: `jose` never sees a token whose algorithm its key is not for.

import { decode, encode } from 'jose/base64url'
import {
  JOSENotSupported,
  JWKSMultipleMatchingKeys,
  JWKSNoMatchingKey,
  JWSSignatureVerificationFailed,
} from 'jose/errors'
import { createLocalJWKSet } from 'jose/jwks/local'
import { compactVerify } from 'jose/jws/compact/verify'
import { exportJWK, exportSPKI } from 'jose/key/export'
import { importJWK, importSPKI } from 'jose/key/import'

/** The algorithms of key pairs. A key is for those of its kind, or, if it has an `alg`, for that one. */
const publicAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519'],
]

/** The kinds of key pairs, each with an algorithm to try its keys by. @type {Record<string, string>} */
const kinds = {
  ...{ RSA: 'RS256' },
  ...{ 'EC P-256': 'ES256', 'EC P-384': 'ES384', 'EC P-521': 'ES512' },
  ...{ 'OKP Ed25519': 'EdDSA' },
}

/** Bits that the modulus of an RSA key has at least. Source: RFC 7518 section 3.3. */
const rsaBitsMin = 2048

/** @typedef {import('jose').JWK} Jwk */
/** @typedef {CryptoKey | Uint8Array} Key */
/** @typedef {ReturnType<typeof createLocalJWKSet>} KeySet */

/**
 * Keys to verify with.
 *
 * @typedef {object} Keys
 * @property {readonly string[]} algorithms those that any of them may be for
 * @property {(kid: string | undefined) => boolean} has whether a token of this `kid` may mean any of them
 * @property {(alg: string, kid: string | undefined) => Key[] | Promise<Key[]>} meantBy those of this algorithm that it may mean
 */

/**
 * The bytes of a text in base64url; undefined unless it is the only text of these bytes.
 *
 * @param {string} text
 */
export const bytesOfBase64Url = (text) => {
  try {
    const bytes = decode(text)
    return encode(bytes) === text ? bytes : undefined
  } catch {
    return undefined
  }
}

/** @param {Uint8Array} secret @returns {Keys} */
export const keysOfSecret = (secret) => {
  // It lies in the memory of WebAssembly, which may move.
  const bytes = secret.slice()
  /** Bytes `jose` would import for each token anew: 8 of the 22 µs of a check. @type {CryptoKey | undefined} */
  let key
  // A promise belongs to the request that made it, so it is the key that is kept.
  const imported = async () =>
    (key ??= await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']))
  return { algorithms: ['HS256'], has: () => true, meantBy: async () => [await imported()] }
}

const isPrivate = 'a private key (only the public one belongs here)'
const isOther = 'a key of another kind or size'
const orDamaged = `${isOther}, or damaged`
const isUnreadable = 'a text that cannot be read as one'

/** What is imported can be exported again. */
const extractable = { extractable: true }

/** @param {string} text */
const withoutSpace = (text) => text.replaceAll(/\s/g, '')

/**
 * The public key in a PEM text, or what the text is instead.
 *
 * @param {string} text
 * @returns {Promise<Jwk | string>}
 */
const jwkOfPem = async (text) => {
  // Variables often have a line break as two characters.
  const pem = text.replaceAll(/\\[nr]/g, '\n').trim()
  const label = /^-----BEGIN ([^-]*)-----/.exec(pem)?.[1]
  if (label === undefined) return isUnreadable
  if (label === 'CERTIFICATE') return 'a certificate (`openssl x509 -pubkey -noout` prints its public key)'
  if (label === 'RSA PUBLIC KEY')
    return "a PKCS #1 key (`openssl rsa -RSAPublicKey_in -pubout` prints it as 'PUBLIC KEY')"
  if (label.endsWith('PRIVATE KEY')) return isPrivate
  if (label !== 'PUBLIC KEY') return isOther
  for (const algorithm of Object.values(kinds)) {
    const key = await importSPKI(pem, algorithm, extractable).catch(() => undefined)
    if (key === undefined) continue
    const jwk = await exportJWK(key)
    // It is to be the text of this key, with nothing left over. By way of the JWK: workerd takes a key of X25519 for one of
    // Ed25519, and writes it as it was.
    const same = /** @type {CryptoKey} */ (await importJWK(jwk, algorithm, extractable))
    return withoutSpace(await exportSPKI(same)) === withoutSpace(pem) ? jwk : orDamaged
  }
  return orDamaged
}

/**
 * What counts of a JWK if it is one of a public key that verifies tokens, else what it is instead.
 *
 * @param {any} jwk the object as it was sent
 * @returns {Promise<Jwk | string>}
 */
const usable = async (jwk) => {
  const has = (/** @type {string} */ name) => Object.hasOwn(jwk, name)
  if (has('keys')) return "a set of keys (give it one of them, or the set's address to JWT_JWKS_URL)"
  const { kty, crv, n, e, x, y, alg, use, kid, key_ops } = jwk
  if (kty === 'oct' || has('k')) return 'a symmetric key (JWT_SECRET is for those)'
  if (has('d')) return isPrivate
  const kind = kty === 'RSA' ? kty : typeof kty === 'string' && typeof crv === 'string' ? `${kty} ${crv}` : ''
  const tried = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined
  const numbers = [n, e, x, y].filter((number) => number !== undefined)
  const isRead = numbers.every((number) => typeof number === 'string' && bytesOfBase64Url(number) !== undefined)
  if (tried === undefined || !isRead) return isOther
  const isElse = 'a key for something else, as its `alg`, `use`, `key_ops` or `kid` says'
  if (kid !== undefined && typeof kid !== 'string') return isElse
  const verifies = Array.isArray(key_ops) && key_ops.includes('verify')
  const own = { kty, crv, n, e, x, y, use, kid, key_ops: verifies ? ['verify'] : key_ops }
  // Ed25519 has two names, of which its keys and their tokens may have one each.
  const hasOwnName = kty === 'OKP' && (alg === 'EdDSA' || alg === 'Ed25519')
  const named = hasOwnName ? own : { ...own, alg }
  try {
    const key = await createLocalJWKSet({ keys: [named] })({ alg: named.alg ?? tried })
    const { modulusLength } = /** @type {Partial<RsaKeyAlgorithm>} */ (key.algorithm)
    return modulusLength !== undefined && modulusLength < rsaBitsMin ? isOther : named
  } catch (error) {
    return error instanceof JWKSNoMatchingKey || error instanceof JOSENotSupported ? isElse : isOther
  }
}

/**
 * Those keys of a set that a header fits.
 *
 * @param {KeySet} set
 * @param {{ alg: string, kid?: string }} header
 * @returns {Promise<Key[]>}
 */
const fitting = async (set, header) => {
  try {
    return [await set(header)]
  } catch (error) {
    if (error instanceof JWKSNoMatchingKey) return []
    if (!(error instanceof JWKSMultipleMatchingKeys)) throw error
    const keys = []
    for await (const key of error) keys.push(key)
    return keys
  }
}

/** @param {Jwk[]} jwks @returns {Keys} */
const keysOf = (jwks) => {
  const names = new Set(jwks.map(({ kid }) => kid))
  const all = createLocalJWKSet({ keys: jwks })
  // A key without a name is meant by any.
  const nameless = createLocalJWKSet({ keys: jwks.filter(({ kid }) => kid === undefined) })
  return {
    algorithms: publicAlgorithms,
    has: (kid) => kid === undefined || names.has(kid) || names.has(undefined),
    meantBy: async (alg, kid) =>
      kid === undefined
        ? fitting(all, { alg })
        : [...(await fitting(all, { alg, kid })), ...(await fitting(nameless, { alg }))],
  }
}

/**
 * The key of a PEM or JWK text; what the text is instead if there is none in it.
 *
 * @param {string} text without white space around it
 * @returns {Promise<Keys | string>}
 */
export const keysOfText = async (text) => {
  const jwk = text.startsWith('{') ? JSON.parse(text) : await jwkOfPem(text)
  const key = typeof jwk === 'string' ? jwk : await usable(jwk)
  return typeof key === 'string' ? key : keysOf([key])
}

/**
 * The keys of a set that can be used, others are skipped; undefined if there are none.
 *
 * @param {string} json an array of objects
 * @returns {Promise<Keys | undefined>}
 */
export const keysOfArray = async (json) => {
  const jwks = await Promise.all(JSON.parse(json).map(usable))
  const keys = jwks.filter((jwk) => typeof jwk !== 'string')
  return keys.length === 0 ? undefined : keysOf(keys)
}

/**
 * Whether a key verifies a token, whose header says this. What else there is to say of it:
 * `algorithm`: no key that it may mean is for its algorithm; `unknown`: it means none that is here; `signature`: none of those
 * that it may mean has signed it.
 *
 * @param {Keys} keys
 * @param {string} token
 * @param {string} alg
 * @param {string | undefined} kid
 */
export const verify = async (keys, token, alg, kid) => {
  // Before the name: that no set of keys could change.
  if (!keys.algorithms.includes(alg)) return 'algorithm'
  if (!keys.has(kid)) return 'unknown'
  let outcome = 'algorithm'
  for (const key of await keys.meantBy(alg, kid)) {
    try {
      await compactVerify(token, key, { algorithms: [alg] })
      return 'verified'
    } catch (error) {
      if (!(error instanceof JWSSignatureVerificationFailed)) throw error
      outcome = 'signature'
    }
  }
  return outcome
}
