/** The JSON Web Tokens of the sections that authorise with one. */
import { createHmac } from 'node:crypto'

/** The secret of the server of these sections (`JWT_SECRET`). */
export const jwtSecret = 'the secret of the benchmark, 40 bytes long'

const lifetimeS = 3600

const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

/** A token as an identity provider would issue it, signed with `secret` (HS256). */
export const jwt = (secret = jwtSecret): string => {
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iss: 'https://id.example.com/', sub: 'user-5f3a9c', aud: 'livestore', iat, exp: iat + lifetimeS }
  const input = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}
