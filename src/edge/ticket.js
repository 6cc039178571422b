// Signatures of tickets. They belong to the crate's `edge::ticket`; what a ticket says is its `auth::ticket`.

import { encode } from 'jose/base64url'
import { respondAs } from './glue.js'
import { bytesOfBase64Url } from './jwt.js'

const encoder = new TextEncoder()

/** What the key is derived for: nothing else that is ever made of the secret is worth anything here, or the other way round. */
const purpose = encoder.encode('livestore-sync-worker: ticket of the live route')

const hmac = { name: 'HMAC', hash: 'SHA-256', length: 256 }

/** @param {string} secret */
const keyOf = async (secret) => {
  const material = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveKey'])
  const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: purpose }
  return crypto.subtle.deriveKey(derivation, material, hmac, false, ['sign', 'verify'])
}

/** The answer with a ticket of which `text` is signed. @param {string} secret @param {string} text @param {number} expiry */
export const issue = async (secret, text, expiry) => {
  const signature = await crypto.subtle.sign('HMAC', await keyOf(secret), encoder.encode(text))
  const ticket = `${expiry}.${encode(new Uint8Array(signature))}`
  return respondAs(200, 'application/json', `${JSON.stringify({ ticket, expiresAt: new Date(expiry).toJSON() })}\n`)
}

/** The comparison is the platform's, in constant time. @param {string} secret @param {string} text @param {string} signature */
export const isSigned = async (secret, text, signature) => {
  const bytes = bytesOfBase64Url(signature)
  if (bytes === undefined) return false
  return crypto.subtle.verify('HMAC', await keyOf(secret), bytes, encoder.encode(text))
}
