/**
 * Keys and signatures: the examples of the RFCs, every algorithm, what is no key, and which key a token means.
 *
 * What a deployment answers for it is the affair of `auth.test.ts` and `jwks.test.ts`.
 */
import assert from 'node:assert/strict'
import { createECDH, generateKeyPairSync } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { KeyReader, type KeysFrom, type Shown } from './key-reader.ts'
import {
  always,
  derOf,
  hmac,
  hs256,
  type Jwk,
  jwkOf,
  type KeyPair,
  keyPairOf,
  partsOf,
  pemOf,
  privateJwkOf,
  type PublicAlgorithm,
  secret,
  signedBy,
  tokenBy,
  tokenByOther,
  tokenOf,
} from './tokens.ts'

let reader: KeyReader
before(async () => {
  reader = await KeyReader.start()
})
after(() => reader.stop())

const arrayOf = (...keys: readonly unknown[]): KeysFrom => ({ array: JSON.stringify(keys) })
const jwkText = (jwk: Jwk): KeysFrom => ({ text: JSON.stringify(jwk) })
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'base64url')

const assertFinds = async (from: KeysFrom, cases: ReadonlyArray<readonly [shown: Shown, finding: string]>) => {
  const { none, findings } = await reader.read(from, ...cases.map(([shown]) => shown))
  assert.equal(none, undefined)
  const [found, expected] = [findings, cases.map(([, finding]) => finding)]
  assert.deepEqual(found, expected)
}

/** Asserts that a text is no key, but something that is said of it in words. */
const assertNone = async (text: string, words: RegExp): Promise<void> => {
  const { none } = await reader.read({ text })
  assert.match(none ?? 'a key', words, text)
  assert.ok(text.length < 40 || !none?.includes(text.slice(30, 60)), 'nothing of it is told')
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const
const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const
const ecAlgorithms = ['ES256', 'ES384', 'ES512'] as const
const [rsa, small] = [keyPairOf('RS256'), generateKeyPairSync('rsa', { modulusLength: 2_040 })]
const [p256, p384, p521] = ecAlgorithms.map(keyPairOf) as [KeyPair, KeyPair, KeyPair]
const ed = keyPairOf('EdDSA')
const everyPair = [rsa, p256, p384, p521, ed]

describe('the examples of the RFCs', () => {
  // {"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}, as RFC 7515 writes it.
  const joe = 'eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ'
  const octets = 'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow'
  const examples: ReadonlyArray<readonly [where: string, from: KeysFrom, token: string]> = [
    [
      'RFC 7515 A.1, HS256',
      { secret: [...bytesOf(octets)] },
      `eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.${joe}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk`,
    ],
    [
      'RFC 7515 A.2, RS256',
      jwkText({
        kty: 'RSA',
        n: 'ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ',
        e: 'AQAB',
      }),
      `eyJhbGciOiJSUzI1NiJ9.${joe}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw`,
    ],
    [
      'RFC 7515 A.3, ES256',
      jwkText({
        kty: 'EC',
        crv: 'P-256',
        x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
        y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
      }),
      `eyJhbGciOiJFUzI1NiJ9.${joe}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q`,
    ],
    [
      'RFC 7515 A.4, ES512',
      jwkText({
        kty: 'EC',
        crv: 'P-521',
        x: 'AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk',
        y: 'ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2',
      }),
      'eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn',
    ],
    [
      'RFC 7520 4.2, PS384',
      jwkText({
        kty: 'RSA',
        kid: 'bilbo.baggins@hobbiton.example',
        use: 'sig',
        n: 'n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw',
        e: 'AQAB',
      }),
      'eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4.cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw',
    ],
    [
      'RFC 8037 A.4, EdDSA',
      jwkText({ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }),
      'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
    ],
  ]

  for (const [where, from, token] of examples) {
    it(`of ${where} are verified, and not with a bit changed`, async () => {
      const [header, claims, signature] = partsOf(token)
      const flipped = Buffer.from(signature, 'base64url')
      flipped[0]! ^= 1
      await assertFinds(from, [
        [{ token }, 'verified'],
        [{ token: `${header}.${claims}.${flipped.toString('base64url')}` }, 'signature'],
        [{ token: `${header}.${claims.slice(4)}.${signature}` }, 'signature'],
        [{ token: `${header}.${claims}.` }, 'signature'],
      ])
    })
  }

  it('of RFC 7515 A.5, which is not signed, are verified by nothing', async () => {
    const token = `eyJhbGciOiJub25lIn0.${joe}.`
    for (const [, from] of examples) await assertFinds(from, [[{ token }, 'algorithm']])
  })
})

/** Algorithms that no key is ever for. */
const never = [
  'none',
  'None',
  '',
  'hs256',
  'HS256 ',
  'HS384',
  'HS512',
  'ES256K',
  'Ed448',
  'ML-DSA-44',
  'RSA-OAEP',
  'dir',
]

describe('the algorithms of a key', () => {
  it('that is a secret are HS256 alone', async () => {
    await assertFinds({ secret: [...Buffer.from(secret)] }, [
      [{ token: hs256() }, 'verified'],
      [{ token: tokenOf({ alg: 'HS256', kid: 'any' }, {}, hmac(secret)) }, 'verified'],
      [{ token: hs256({}, `${secret}.`) }, 'signature'],
      ...everyPair.map((pair) => [{ token: tokenBy(pair) }, 'algorithm'] as const),
      ...never.map((alg) => [{ token: tokenOf({ alg }, {}, hmac(secret)) }, 'algorithm'] as const),
    ])
  })

  /** What a key finds of tokens by every algorithm that are signed with it, as far as it can sign by that. */
  const byEvery = (pair: KeyPair, own: readonly PublicAlgorithm[], like: readonly PublicAlgorithm[]) => [
    ...like.map(
      (other) => [{ token: tokenByOther(pair, other) }, own.includes(other) ? 'verified' : 'algorithm'] as const,
    ),
    ...[...rsaAlgorithms, ...ecAlgorithms, 'EdDSA', 'Ed25519', 'HS256', ...never]
      .filter((other) => !like.includes(other as never) && (pair !== ed || !/^Ed(DSA|25519)$/.test(other)))
      .map((alg) => [{ token: tokenOf({ alg }, {}, always(Buffer.alloc(64))) }, 'algorithm'] as const),
  ]

  for (const [what, from] of [
    ['PEM', (pair) => ({ text: pemOf(pair).trim() })],
    ['JWK without alg', (pair) => jwkText(jwkOf(pair))],
    ['set', (pair) => arrayOf(jwkOf(pair))],
  ] as ReadonlyArray<readonly [string, (pair: KeyPair) => KeysFrom]>) {
    it(`that is a ${what} are those of its kind, whatever a token says`, async () => {
      await assertFinds(from(rsa), byEvery(rsa, rsaAlgorithms, rsaAlgorithms))
      for (const pair of [p256, p384, p521])
        await assertFinds(from(pair), byEvery(pair, [pair.algorithm], [pair.algorithm]))
      await assertFinds(from(ed), [
        ...byEvery(ed, ['EdDSA'], ['EdDSA']),
        [{ token: tokenBy(ed, {}, { alg: 'Ed25519' }) }, 'verified'],
      ])
    })
  }

  for (const algorithm of rsaAlgorithms) {
    it(`that is a JWK of ${algorithm} are that one alone`, async () => {
      await assertFinds(jwkText(jwkOf(rsa, { alg: algorithm })), byEvery(rsa, [algorithm], rsaAlgorithms))
    })
  }

  it('are not mixed up with those by which a token was really signed', async () => {
    for (const algorithm of rsaAlgorithms) {
      const others = rsaAlgorithms.filter((other) => other !== algorithm)
      await assertFinds(
        { text: pemOf(rsa).trim() },
        others.map((other) => [{ token: tokenOf({ alg: algorithm }, {}, signedBy(rsa, other)) }, 'signature']),
      )
    }
    await assertFinds(jwkText(jwkOf(p256)), [
      [{ token: tokenOf({ alg: 'ES256' }, {}, signedBy(p256, 'ES384')) }, 'signature'],
    ])
  })

  it('of Ed25519 have two names, of which a key and its tokens may have one each', async () => {
    for (const alg of [undefined, 'EdDSA', 'Ed25519']) {
      await assertFinds(
        jwkText(jwkOf(ed, alg === undefined ? {} : { alg })),
        ['EdDSA', 'Ed25519'].map((name) => [{ token: tokenBy(ed, {}, { alg: name }) }, 'verified']),
      )
    }
  })

  it('do not make it a secret, whichever of its texts signs', async () => {
    for (const pair of everyPair) {
      const texts = [pemOf(pair), pemOf(pair).trim(), derOf(pair), JSON.stringify(jwkOf(pair))]
      const raw = Buffer.from(String(jwkOf(pair)['x'] ?? jwkOf(pair)['n']), 'base64url')
      const tokens = [...texts, raw].map((text) => tokenOf({ alg: 'HS256' }, {}, hmac(text)))
      for (const from of [{ text: pemOf(pair).trim() }, jwkText(jwkOf(pair)), arrayOf(jwkOf(pair))]) {
        await assertFinds(
          from,
          tokens.map((token) => [{ token }, 'algorithm']),
        )
      }
    }
  })

  it('are not those that a token says to others: jose is not asked about another one', async () => {
    const confused = tokenOf({ alg: 'HS256' }, {}, hmac(pemOf(rsa)))
    await assertFinds({ text: pemOf(rsa).trim() }, [[{ token: confused, alg: 'HS256' }, 'algorithm']])
    // Should the header be read as one thing here and as another there, nothing is verified.
    const lines = [
      { token: confused, alg: 'RS256' },
      { token: tokenByOther(rsa, 'PS256'), alg: 'RS256' },
    ]
    for (const shown of lines) {
      await assert.rejects(reader.read({ text: pemOf(rsa).trim() }, shown))
    }
  })
})

const pem = (label: string, body: string): string => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----`
const bodyOf = (pair: KeyPair): string => derOf(pair).toString('base64')

describe('a PEM text', () => {
  const textOf = (pair: KeyPair): string => pemOf(pair).trim()

  it('is read however its lines are broken', async () => {
    for (const text of [
      textOf(rsa).replaceAll('\n', '\\n'),
      `${textOf(rsa).replaceAll('\n', '\\r\\n')}\\n`,
      textOf(rsa).replaceAll('\n', '\r\n'),
      textOf(rsa).replaceAll('\n', ' '),
      pem('PUBLIC KEY', bodyOf(rsa)),
    ]) {
      await assertFinds({ text }, [[{ token: tokenBy(rsa) }, 'verified']])
    }
  })

  it('of something else is named', async () => {
    for (const [label, words] of [
      ['PRIVATE KEY', /^a private key/],
      ['EC PRIVATE KEY', /^a private key/],
      ['RSA PRIVATE KEY', /^a private key/],
      ['ENCRYPTED PRIVATE KEY', /^a private key/],
      ['OPENSSH PRIVATE KEY', /^a private key/],
      ['CERTIFICATE', /^a certificate \(`openssl /],
      ['RSA PUBLIC KEY', /^a PKCS #1 key \(`openssl /],
      ['DSA PARAMETERS', /^a key of another kind/],
    ] as const) {
      await assertNone(pem(label, bodyOf(p256)), words)
    }
    const ofOthers = [
      small.publicKey,
      generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey,
      generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey,
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey,
      generateKeyPairSync('x25519').publicKey,
      generateKeyPairSync('ed448').publicKey,
    ]
    for (const key of ofOthers) {
      await assertNone(String(key.export({ type: 'spki', format: 'pem' })).trim(), /^a key of another kind or size/)
    }
  })

  it('that is damaged is no key', async () => {
    const text = textOf(ed)
    for (const damaged of [
      '',
      'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me',
      bodyOf(ed),
      '-----BEGIN PUBLIC KEY-----',
      '-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----',
      text.replace('BEGIN', 'begin'),
      text.replace('-----END PUBLIC KEY-----', ''),
      text.replace('END PUBLIC', 'END PRIVATE'),
      text.replace('=', ''),
      text.replace('MCow', 'MCo-'),
      `${text}\n${text}`,
      `Key:\n${text}`,
      text.replace('\n', '\\t'),
    ]) {
      await assertNone(damaged, /cannot be read|another kind or size, or damaged/)
    }
  })

  it('that is cut or has a byte more is no key', async () => {
    for (const pair of [rsa, p256, ed]) {
      const der = derOf(pair)
      const texts = Array.from({ length: der.length }, (_, end) => der.subarray(0, end))
      texts.push(Buffer.concat([der, Buffer.of(0)]))
      const all = texts.map((bytes) => pem('PUBLIC KEY', bytes.toString('base64')))
      await Promise.all(all.map((text) => assertNone(text, /cannot be read|another kind or size, or damaged/)))
    }
  })

  it('whose point is compressed or on no curve is no key', async () => {
    const der = derOf(p256)
    const head = der.subarray(0, der.length - 65)
    const other = Buffer.from(der)
    other[der.length - 1]! ^= 1
    const compressed = createECDH('prime256v1')
    compressed.generateKeys()
    const short = Buffer.concat([head, compressed.getPublicKey(null, 'compressed')])
    short[1] = short.length - 2
    short[24] = 34
    for (const bytes of [other, short]) {
      await assertNone(pem('PUBLIC KEY', bytes.toString('base64')), /cannot be read|another kind or size/)
    }
  })
})

/** JWKs that verify nothing, and what they are instead. */
const unusable: ReadonlyArray<readonly [jwk: object, words: RegExp]> = [
  [{ kty: 'oct', k: 'c2VjcmV0' }, /^a symmetric key/],
  [{ kty: 'oct' }, /^a symmetric key/],
  [jwkOf(rsa, { k: 'AAAA' }), /^a symmetric key/],
  [privateJwkOf(rsa), /^a private key/],
  [privateJwkOf(p256), /^a private key/],
  [jwkOf(ed, { d: null }), /^a private key/],
  [{ keys: [jwkOf(p256)] }, /^a set of keys/],
  [{}, /^a key of another kind/],
  [jwkOf(p256, { kty: 'ec' }), /^a key of another kind/],
  [jwkOf(p256, { kty: ['EC'] }), /^a key of another kind/],
  [jwkOf(p256, { kty: {}, crv: [] }), /^a key of another kind/],
  [jwkOf(p256, { kty: 'RSA' }), /^a key of another kind/],
  [jwkOf(p256, { crv: 'P-384' }), /^a key of another kind/],
  [jwkOf(p256, { crv: 'secp256k1' }), /^a key of another kind/],
  [jwkOf(p256, { crv: undefined }), /^a key of another kind/],
  [jwkOf(p256, { x: String(jwkOf(p256)['x']).slice(0, 40) }), /^a key of another kind/],
  [jwkOf(p256, { x: `${jwkOf(p256)['x']}=` }), /^a key of another kind/],
  [jwkOf(p256, { x: '",' }), /^a key of another kind/],
  [jwkOf(p256, { x: jwkOf(keyPairOf('ES256'))['x'] }), /^a key of another kind/],
  [jwkOf(p256, { x: 7 }), /^a key of another kind/],
  [jwkOf(p256, { y: '' }), /^a key of another kind/],
  [jwkOf(p256, { y: undefined }), /^a key of another kind/],
  [jwkOf(ed, { crv: 'X25519' }), /^a key of another kind/],
  [jwkOf(ed, { crv: 'Ed448' }), /^a key of another kind/],
  [jwkOf(ed, { kty: 'EC' }), /^a key of another kind/],
  [jwkOf(ed, { x: 'AAAA' }), /^a key of another kind/],
  [jwkOf({ algorithm: 'RS256', ...small }), /^a key of another kind or size/],
  [jwkOf(rsa, { n: `${'A'.repeat(400)}AQAB` }), /^a key of another kind/],
  [jwkOf(rsa, { e: '' }), /^a key of another kind/],
  [jwkOf(rsa, { e: undefined }), /^a key of another kind/],
  [{ kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA' }, /^a key of another kind/],
  ...['RSA-OAEP-256', 'HS256', 'none', 'rs256', 'ES256', null, ['RS256'], ''].map(
    (alg) => [jwkOf(rsa, { alg }), /^a key for something else/] as const,
  ),
  ...['RS256', 'ES384', 'ECDH-ES', 'EdDSA'].map((alg) => [jwkOf(p256, { alg }), /^a key for something else/] as const),
  [jwkOf(ed, { alg: 'ES256' }), /^a key for something else/],
  [jwkOf(ed, { alg: 'Ed448' }), /^a key for something else/],
  [jwkOf(p256, { use: 'enc' }), /^a key for something else/],
  [jwkOf(p256, { use: 7 }), /^a key for something else/],
  [jwkOf(p256, { use: null }), /^a key for something else/],
  [jwkOf(p256, { key_ops: ['sign'] }), /^a key for something else/],
  [jwkOf(p256, { key_ops: [] }), /^a key for something else/],
  [jwkOf(p256, { key_ops: {} }), /^a key for something else/],
  [jwkOf(p256, { key_ops: 'verify' }), /^a key for something else/],
  [jwkOf(p256, { kid: 7 }), /^a key for something else/],
  [jwkOf(p256, { kid: null }), /^a key for something else/],
]

describe('a JWK', () => {
  it('is a key whatever else it says of itself', async () => {
    for (const [pair, members] of [
      [p256, { kid: 'a', alg: 'ES256', use: 'sig', key_ops: ['verify'], ext: true, x5c: [] }],
      [p256, { key_ops: ['sign', 'verify'], ext: 'yes', x5t: 'a' }],
      [rsa, { alg: 'RS256', oth: 1, kty: 'RSA', crv: 'P-256' }],
      // A modulus that begins with a zero, as some write it.
      [rsa, { n: Buffer.concat([Buffer.of(0), bytesOf(String(jwkOf(rsa)['n']))]).toString('base64url') }],
      [ed, { __proto__: null, toString: 1 }],
    ] as const) {
      const jwk = jwkOf(pair, members)
      for (const from of [jwkText(jwk), arrayOf(jwk)]) await assertFinds(from, [[{ token: tokenBy(pair) }, 'verified']])
    }
  })

  it('that verifies nothing is named for what it is', async () => {
    for (const [jwk, words] of unusable) await assertNone(JSON.stringify(jwk), words)
  })
})

describe('of a set', () => {
  const named = (pair: KeyPair, kid: string, more: Jwk = {}): Jwk => jwkOf(pair, { kid, ...more })
  const by = (pair: KeyPair, kid?: string, alg?: string): Shown => ({
    token: tokenBy(pair, {}, { ...(kid === undefined ? {} : { kid }), ...(alg === undefined ? {} : { alg }) }),
  })

  it('keys that verify nothing are skipped, and where all do there is none', async () => {
    const jwks = unusable.map(([jwk], index) => ({ kid: `unusable-${index}`, ...jwk }))
    const from = arrayOf(...jwks, named(p256, 'usable'))
    await assertFinds(from, [
      [by(p256, 'usable'), 'verified'],
      [by(p256), 'verified'],
      ...jwks.map((_, index) => [by(p256, `unusable-${index}`), 'unknown'] as const),
    ])
    assert.deepEqual(await reader.read(arrayOf(...jwks)), { none: null, findings: [] })
    assert.deepEqual(await reader.read(arrayOf()), { none: null, findings: [] })
  })

  it('a token means the one it names, and of those the one of its algorithm', async () => {
    const [other, second] = [keyPairOf('ES256'), keyPairOf('EdDSA')]
    await assertFinds(
      arrayOf(named(p256, 'ec'), named(ed, 'ed'), named(second, 'ed2'), named(rsa, 'rsa', { alg: 'PS256' })),
      [
        [by(p256, 'ec'), 'verified'],
        [by(second, 'ed2'), 'verified'],
        [by(ed, 'ed2'), 'signature'],
        [by(second, 'ed'), 'signature'],
        [by(other, 'ec'), 'signature'],
        [by(p256), 'verified'],
        [by(ed), 'verified'],
        [by(second), 'verified'],
        [by(keyPairOf('EdDSA')), 'signature'],
        [by(rsa), 'algorithm'],
        [by(rsa, 'rsa'), 'algorithm'],
        [{ token: tokenByOther(rsa, 'PS256') }, 'verified'],
        [by(rsa, 'ec'), 'algorithm'],
        [by(p256, 'ed'), 'algorithm'],
        [by(p384, 'ec'), 'algorithm'],
        [by(p256, 'new'), 'unknown'],
        [by(rsa, ''), 'unknown'],
        [by(p256, 'EC'), 'unknown'],
        [by(p256, 'ec '), 'unknown'],
        // No newer set could help these.
        [by(p256, 'new', 'HS256'), 'algorithm'],
        [by(p256, 'ec', 'HS256'), 'algorithm'],
        [by(p256, 'new', 'none'), 'algorithm'],
        [by(p256, 'new', 'ES256K'), 'algorithm'],
      ],
    )
  })

  it('one without a name is meant beside those of the name', async () => {
    const another = keyPairOf('ES256')
    await assertFinds(arrayOf(named(p256, 'ec'), jwkOf(another), named(ed, '')), [
      [by(p256, 'ec'), 'verified'],
      [by(another, 'ec'), 'verified'],
      [by(another, 'any'), 'verified'],
      [by(another), 'verified'],
      [by(p256, 'any'), 'signature'],
      [by(ed, ''), 'verified'],
      [by(ed, 'any'), 'algorithm'],
      [by(ed, 'ec'), 'algorithm'],
    ])
  })

  it('all of one name are tried', async () => {
    const [one, two, three] = [keyPairOf('ES256'), keyPairOf('ES256'), keyPairOf('ES256')]
    await assertFinds(arrayOf(named(one, 'a'), named(two, 'a'), named(ed, 'a'), named(rsa, 'a')), [
      [by(one, 'a'), 'verified'],
      [by(two, 'a'), 'verified'],
      [by(ed, 'a'), 'verified'],
      [by(rsa, 'a'), 'verified'],
      [by(three, 'a'), 'signature'],
      [by(two), 'verified'],
    ])
  })

  it('a symmetric key is no key, even to who knows it', async () => {
    const oct = { kty: 'oct', kid: 'oct', alg: 'HS256', k: Buffer.from(secret).toString('base64url') }
    await assertFinds(arrayOf(oct, named(p256, 'ec')), [
      [{ token: tokenOf({ alg: 'HS256', kid: 'oct' }, {}, hmac(secret)) }, 'algorithm'],
      [{ token: hs256() }, 'algorithm'],
    ])
  })
})

describe('base64url', () => {
  it('is read as RFC 4648 has it', async () => {
    const texts = ['', 'Zg', 'Zm8', 'Zm9v', 'Zm9vYg', 'Zm9vYmE', 'Zm9vYmFy', '-_-_']
    const bytes = ['', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar'].map((text) => [...Buffer.from(text)])
    assert.deepEqual(await reader.decode(...texts), [...bytes, [0xfb, 0xff, 0xbf]])
  })

  it('has one text for some bytes, and no other', async () => {
    for (const text of [
      ...['Zg==', 'Zm8=', 'Zm9v=', '='], // padding
      ...['Z', 'A', 'Zm9vY', 'Zm9vA'], // a letter alone
      ...['Zh', 'Zm9', 'Z-', '__'], // bits left over
      ...[' Zg', 'Z g', 'Zg\n', 'Z\tg', 'Z.g', 'Zé', 'Z\0', 'Z%67', 'Z\u{2003}g'],
      ...['+/+/', 'Zm9v+w', 'Zm9v/w'], // the other alphabet
    ]) {
      assert.deepEqual(await reader.decode(text), [null], JSON.stringify(text))
    }
  })

  it('of any bytes is what they are encoded to', async () => {
    const all = Array.from({ length: 300 }, (_, index) => Buffer.alloc(index % 67, index * 7 + 1))
    const found = await reader.decode(...all.map((bytes) => bytes.toString('base64url')))
    assert.deepEqual(
      found,
      all.map((bytes) => [...bytes]),
    )
  })
})
