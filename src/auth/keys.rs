//! The keys that sign tokens, as variables and key sets hold them.
//!
//! Owns: which keys are usable, and the algorithm of each, which is a fact of the key and never taken
//! from a token. Refuses to know what a signature is: the platform's `WebCrypto` checks it, and
//! [`Material`] is what it imports. *Source*: RFC 7517, RFC 7518, RFC 8037 (Ed25519), RFC 5280 (SPKI).

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::base64::{decode_pem, decode_url};
use super::members::Members;
use crate::limits::{JWKS_BYTES_MAX, JWT_SECRET_BYTES_MIN, RSA_BYTES_MIN};

/// How a token can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256; the signature is `r` and `s`, 32 bytes each, as `WebCrypto` has it.
    Es256,
    /// `EdDSA` over Ed25519.
    EdDsa,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in the header of a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a name. `Ed25519` is the name that RFC 9864 gives to what is here of `EdDSA`.
    pub(super) fn named(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|own| own.name() == name)
    }
}

/// A key that verifies tokens of one algorithm.
#[derive(Clone, Debug)]
pub struct Key {
    /// The algorithm of the key, and so of each token it verifies.
    pub algorithm: Algorithm,
    /// Its name, by which tokens refer to it; a key without one may be meant by any token.
    pub kid: Option<String>,
    /// The key itself.
    pub material: Material,
}

/// A key as `WebCrypto` imports it. Never printed.
#[derive(Clone)]
pub enum Material {
    /// The bytes of a shared secret: import as `raw`.
    Secret(Vec<u8>),
    /// A DER `SubjectPublicKeyInfo`: import as `spki`.
    Spki(Vec<u8>),
    /// The JSON text of one public key, with nothing but what makes it that key: import as `jwk`.
    Jwk(String),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Spki(_) => "Spki",
            Self::Jwk(_) => "Jwk",
        })
    }
}

/// Why a text is no key that could verify a token, in words that go on from "it must be". They hold
/// nothing of the text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Shorter than the 256 bits that RFC 7518 section 3.2 asks for.
    #[error("at least {JWT_SECRET_BYTES_MIN} bytes long, as HS256 wants (RFC 7518)")]
    ShortSecret,
    /// Not a public key of ours, but this.
    #[error(
        "a PEM 'PUBLIC KEY' or a JWK of an RSA key of 2048 bits or more, a P-256 key or an Ed25519 key, and it is {0}"
    )]
    NotPublic(&'static str),
}

/// Why a document is no set of keys that could verify a token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JwksError {
    /// Larger than any real one.
    #[error("the key set has more than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// Not a JWKS.
    #[error("the key set is not a JSON object with an array `keys`")]
    Malformed,
    /// No key in it can be used.
    #[error(
        "the key set has no public key for RS256 (2048 bits or more), ES256 or EdDSA (Ed25519)"
    )]
    NoUsableKey,
}

impl Key {
    /// The key of `JWT_SECRET`: the bytes of its text.
    ///
    /// # Errors
    /// It is too short.
    #[cold]
    pub fn secret(text: &str) -> Result<Self, KeyError> {
        if text.len() < JWT_SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self {
            algorithm: Algorithm::Hs256,
            kid: None,
            material: Material::Secret(text.as_bytes().to_vec()),
        })
    }

    /// The key of `JWT_PUBLIC_KEY`: a PEM `PUBLIC KEY`, in which `\n` may be two characters, or a JWK.
    ///
    /// # Errors
    /// It is something else.
    #[cold]
    pub fn public(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        let key = if text.starts_with('{') {
            Self::jwk(text)
        } else {
            Self::pem(text)
        };
        key.map_err(KeyError::NotPublic)
    }

    /// The public keys of a JWKS, as the answer of `JWT_JWKS_URL` holds it. Keys that cannot be used are
    /// skipped; a symmetric or private key never can.
    ///
    /// # Errors
    /// There are none.
    pub fn jwks(text: &str) -> Result<Vec<Self>, JwksError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        let set = Members::parse(text).ok_or(JwksError::Malformed)?;
        let keys = set.get::<Vec<&RawValue>>("keys");
        let keys = keys.ok_or(JwksError::Malformed)?;
        let keys = keys.into_iter().filter_map(|key| Self::jwk(key.get()).ok());
        let keys: Vec<Self> = keys.collect();
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey);
        }
        Ok(keys)
    }

    /// The public key in a PEM text, or what the text is instead.
    #[cold]
    fn pem(text: &str) -> Result<Self, &'static str> {
        const UNREADABLE: &str = "a text that cannot be read as one";
        // Line breaks are white space, which does not count, and so are those of two characters.
        let lines = text
            .split('\\')
            .map(|line| line.strip_prefix(['n', 'r']).unwrap_or(line));
        let text = lines.collect::<Vec<_>>().join("\n");
        let (label, rest) = text
            .trim_ascii()
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.split_once('-'))
            .ok_or(UNREADABLE)?;
        match label {
            "PUBLIC KEY" => {}
            "CERTIFICATE" => {
                return Err("a certificate (`openssl x509 -pubkey -noout` prints its public key)");
            }
            "RSA PUBLIC KEY" => {
                return Err(
                    "a PKCS #1 key (`openssl rsa -RSAPublicKey_in -pubout` prints it as 'PUBLIC KEY')",
                );
            }
            label if label.ends_with("PRIVATE KEY") => return Err(PRIVATE),
            _ => return Err(OTHER),
        }
        let body = rest
            .strip_prefix("----")
            .and_then(|rest| rest.split_once('-'))
            .filter(|(_, end)| *end == "----END PUBLIC KEY-----");
        let der = body
            .and_then(|(body, _)| decode_pem(body))
            .ok_or(UNREADABLE)?;
        let (algorithm, bits) = spki(&der).ok_or(UNREADABLE)?;
        let is_usable = |algorithm| match algorithm {
            Algorithm::Hs256 => false,
            Algorithm::Rs256 => rsa_modulus(bits).is_some_and(is_large),
            // The form without compression, which is the only one that all platforms import.
            Algorithm::Es256 => bits.len() == 65 && bits.starts_with(&[4]),
            Algorithm::EdDsa => bits.len() == 32,
        };
        match algorithm {
            Some(algorithm) if is_usable(algorithm) => Ok(Self {
                algorithm,
                kid: None,
                material: Material::Spki(der),
            }),
            _ => Err(OTHER),
        }
    }

    /// The public key in a JWK, or what the JWK is instead.
    fn jwk(text: &str) -> Result<Self, &'static str> {
        let jwk = Members::parse(text).ok_or("a text that is no JSON object")?;
        if jwk.has("keys") {
            return Err(
                "a set of keys (give it one of them, or the set's address to JWT_JWKS_URL)",
            );
        }
        let kty = jwk.get::<String>("kty").unwrap_or_default();
        if kty == "oct" || jwk.has("k") {
            return Err("a symmetric key (JWT_SECRET is for those)");
        }
        if jwk.has("d") {
            return Err(PRIVATE);
        }
        // The text of a member, which holds so many bytes.
        let number = |name, is_right: fn(&[u8]) -> bool| {
            let text = jwk.get::<String>(name)?;
            is_right(&decode_url(&text)?).then_some(text)
        };
        let is_32 = |bytes: &[u8]| bytes.len() == 32;
        let curve = jwk.get::<String>("crv").unwrap_or_default();
        let public = match (kty.as_str(), curve.as_str()) {
            ("RSA", _) => number("n", is_large)
                .zip(number("e", |bytes| !bytes.is_empty()))
                .map(|(n, e)| PublicJwk::Rsa { n, e }),
            ("EC", "P-256") => number("x", is_32)
                .zip(number("y", is_32))
                .map(|(x, y)| PublicJwk::Ec { crv: "P-256", x, y }),
            ("OKP", "Ed25519") => number("x", is_32).map(|x| PublicJwk::Okp { crv: "Ed25519", x }),
            _ => None,
        };
        let public = public.ok_or(OTHER)?;
        let algorithm = match public {
            PublicJwk::Rsa { .. } => Algorithm::Rs256,
            PublicJwk::Ec { .. } => Algorithm::Es256,
            PublicJwk::Okp { .. } => Algorithm::EdDsa,
        };
        // What the key is for, as far as it says so.
        let says = |name, is_right: &dyn Fn(&str) -> bool| {
            !jwk.has(name) || jwk.get::<String>(name).is_some_and(|text| is_right(&text))
        };
        let is_usable = says("alg", &|alg| Algorithm::named(alg) == Some(algorithm))
            && says("use", &|own| own == "sig")
            && says("kid", &|_| true)
            && (!jwk.has("key_ops")
                || jwk
                    .texts("key_ops")
                    .is_some_and(|ops| ops.iter().any(|op| op == "verify")));
        if !is_usable {
            return Err("a key for something else, as its `alg`, `use`, `key_ops` or `kid` says");
        }
        let text = serde_json::to_string(&public).map_err(|_| OTHER)?;
        Ok(Self {
            algorithm,
            kid: jwk.get("kid"),
            material: Material::Jwk(text),
        })
    }
}

/// What makes a JWK the public key it is.
#[derive(Serialize)]
#[serde(tag = "kty")]
enum PublicJwk {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
}

const PRIVATE: &str = "a private key (only the public one belongs here)";
const OTHER: &str = "a key of another kind or size";

/// Whether an RSA modulus is as large as RFC 7518 section 3.3 asks for.
fn is_large(modulus: &[u8]) -> bool {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    modulus.len() - zeros >= RSA_BYTES_MIN
}

/// The algorithm that a DER `SubjectPublicKeyInfo` names, if it is one of ours, and the bits of its key.
fn spki(der: &[u8]) -> Option<(Option<Algorithm>, &[u8])> {
    // The content of each `AlgorithmIdentifier`: the object id and what stands beside it.
    const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    const P_256: &[u8] =
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
    let (info, rest) = element(der, SEQUENCE)?;
    let (identifier, key) = element(info, SEQUENCE)?;
    let (bits, end) = element(key, BIT_STRING)?;
    // The first byte counts the bits of the last one that do not count.
    let bits = bits.strip_prefix(&[0])?;
    let ours = [
        (RSA, Algorithm::Rs256),
        (P_256, Algorithm::Es256),
        (ED25519, Algorithm::EdDsa),
    ];
    let algorithm = ours.into_iter().find(|(own, _)| *own == identifier);
    let is_whole = rest.is_empty() && end.is_empty();
    is_whole.then_some((algorithm.map(|(_, algorithm)| algorithm), bits))
}

/// The modulus of a DER `RSAPublicKey`.
fn rsa_modulus(der: &[u8]) -> Option<&[u8]> {
    let (key, rest) = element(der, SEQUENCE)?;
    let (modulus, key) = element(key, INTEGER)?;
    let (_, end) = element(key, INTEGER)?;
    (rest.is_empty() && end.is_empty()).then_some(modulus)
}

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const SEQUENCE: u8 = 0x30;

/// The content of the DER element that `der` starts with, if its tag is `tag`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::super::base64::encode_url;
    use super::*;

    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqocAXzWmiC2ECW5Ql9EM\n\
        y5eL1USTLA89OArkhz6NfkuAsPBApF8WeukhMokC7Qm341p5rRyV4eb4s446eJGQ\n\
        KRluKuzrsqLgKqoygJ8IJNRt14Q98Y1LNa3LQEPnIF8cKnz8maw31gPJLMbkICNS\n\
        VsuZ7RE6+ps0+rd4ivsrkC38rXd2Atn42Yl8+wWSOjdRNGbfLkVPZvRPjgBb1d+I\n\
        zhbUnHMahdD3FTz71pcNu+91er+RhBzI1BNxbQjRy0theti56IeERDclENaR2ciN\n\
        CfKf7C+R3ypqmKV4tioVWZdiZWyfG7an/pEPYDijGnY+4jP88y8HROrCKxSilv+1\n\
        KwIDAQAB\n\
        -----END PUBLIC KEY-----";
    const P_256_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOEIXmkewSSKQhXgpITR6aYRMWl1S\n\
        VXMbbVkXeFR3wxRVjkslwQgbr140dcr85+c/89l0H6G0K84jNYTCAqqVtA==\n\
        -----END PUBLIC KEY-----";
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAP9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW+/kMY=\n\
        -----END PUBLIC KEY-----";
    const RSA_N: &str = "qocAXzWmiC2ECW5Ql9EMy5eL1USTLA89OArkhz6NfkuAsPBApF8WeukhMokC7Qm341p5rRyV4eb4s446eJGQKRluKuzrsqLgKqoygJ8IJNRt14Q98Y1LNa3LQEPnIF8cKnz8maw31gPJLMbkICNSVsuZ7RE6-ps0-rd4ivsrkC38rXd2Atn42Yl8-wWSOjdRNGbfLkVPZvRPjgBb1d-IzhbUnHMahdD3FTz71pcNu-91er-RhBzI1BNxbQjRy0theti56IeERDclENaR2ciNCfKf7C-R3ypqmKV4tioVWZdiZWyfG7an_pEPYDijGnY-4jP88y8HROrCKxSilv-1Kw";
    const EC_X: &str = "OEIXmkewSSKQhXgpITR6aYRMWl1SVXMbbVkXeFR3wxQ";
    const EC_Y: &str = "VY5LJcEIG69eNHXK_OfnP_PZdB-htCvOIzWEwgKqlbQ";
    const ED_X: &str = "P9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW-_kMY";
    /// PEM bodies of keys that are not supported: RSA of 1024 bits, RSA-PSS, P-384, X25519.
    const OTHER_BODIES: [&str; 4] = [
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDICUgZIahRw8S5k+sY77RnH0BN2Bx/ZMy8sY1tBWfrjjxnta7Xq4zVDMwHLVB7rJ4ZTEGpEseWIFA1EfYjPLl0VQuykqSsz9AyxI0K/AW8yakZN2iRnOfFa2fVyMknt3vRSV4eW+vO77vcDb09tzUiWfYLtOp/L/qjS4/YJcVhLwIDAQAB",
        "MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBAK1gZ+CQ1q/F4dclaV3J7BzCUJD8riB95vnoGgWWdYzmmkuJLLdPi5mGKJTC1fQMJYuTD6uCZ9s+c5Z2UV2VEx8Q3dwQ5lS7RnwfaUYxcvPsy5g2Tq3BQh8VPAfTj5X/JjbZxMjEwOF5TE8An/pzHxkKZEXUBwbsfZXmCLJFvUHmBzvmW0SDyD8F4v78kMI/lxQ3HltGsL7w4NaklmQVGZLcVlN/TFSswGHzfukEqnTSmh4k5OtvZBn3h0y4gjFt5bL6TipaftZ2sxqhQ8MXxsS2BCIlmDn7/qEOUnDMZ4pKRBMtrLKTta75XUdSsYsgfcf1aUjM4Gm2AvY29K6pWxsCAwEAAQ==",
        "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAErXeVHUTDUymfAQE+tUqNmNo1n08HsiG6OZLtaUG3yN4GJIJLBW5Z6vLjsPLhP2G4mStcN1i0NyjtUz782C/vcwuIfky3SAHZ+3L3VBJU4TslnFkEqzxJ77ybl46ipfj2",
        "MCowBQYDK2VuAyEAxxnMYeBqujcu4GG4m1A/4NNXl+bnPKgKKA61Fbq8NXk=",
    ];
    const RSA_1024_N: &str = "yAlIGSGoUcPEuZPrGO-0Zx9ATdgcf2TMvLGNbQVn6448Z7Wu16uM1QzMBy1Qe6yeGUxBqRLHliBQNRH2Izy5dFULspKkrM_QMsSNCvwFvMmpGTdokZznxWtn1cjJJ7d70UleHlvrzu-73A29Pbc1Iln2C7Tqfy_6o0uP2CXFYS8";

    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn body(pem: &str) -> String {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        lines.collect()
    }

    fn rsa(n: &str, more: &str) -> String {
        format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"{more}}}"#)
    }

    fn ec(more: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"{more}}}"#)
    }

    fn ed(more: &str) -> String {
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ED_X}"{more}}}"#)
    }

    fn jwk_text(key: &Key) -> &str {
        match &key.material {
            Material::Jwk(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn spki_bytes(key: &Key) -> &[u8] {
        match &key.material {
            Material::Spki(der) => der,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refusal(text: &str) -> String {
        Key::public(text).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_has_as_many_bits_as_its_hash() {
        let key = Key::secret(&"é".repeat(16)).unwrap();
        assert_eq!((key.algorithm, &key.kid), (Algorithm::Hs256, &None));
        assert!(matches!(&key.material, Material::Secret(bytes) if bytes.len() == 32));
        for text in ["", "secret", "a secret that is one byte short"] {
            let error = Key::secret(text).unwrap_err();
            assert_eq!(error, KeyError::ShortSecret);
            assert!(error.to_string().contains("32 bytes"), "{error}");
        }
    }

    #[test]
    fn the_algorithm_of_a_pem_is_that_of_its_key() {
        for (text, algorithm, der_bytes) in [
            (RSA_PEM, Algorithm::Rs256, 294),
            (P_256_PEM, Algorithm::Es256, 91),
            (ED25519_PEM, Algorithm::EdDsa, 44),
        ] {
            let key = Key::public(text).unwrap();
            assert_eq!((key.algorithm, &key.kid), (algorithm, &None));
            assert_eq!(spki_bytes(&key).len(), der_bytes);
        }
    }

    #[test]
    fn a_pem_is_read_however_its_lines_are_broken() {
        let expected = Key::public(RSA_PEM).unwrap();
        for text in [
            RSA_PEM.replace('\n', "\\n"),
            RSA_PEM.replace('\n', "\\r\\n") + "\\n",
            RSA_PEM.replace('\n', "\r\n"),
            RSA_PEM.replace('\n', " "),
            format!("\n  {RSA_PEM}\n\n"),
            pem("PUBLIC KEY", &body(RSA_PEM)),
        ] {
            let key = Key::public(&text).unwrap();
            assert_eq!(spki_bytes(&key), spki_bytes(&expected));
        }
    }

    #[test]
    fn what_else_a_pem_may_be_is_named() {
        for (label, words) in [
            ("PRIVATE KEY", "a private key"),
            ("EC PRIVATE KEY", "a private key"),
            ("RSA PRIVATE KEY", "a private key"),
            ("ENCRYPTED PRIVATE KEY", "a private key"),
            ("OPENSSH PRIVATE KEY", "a private key"),
            ("CERTIFICATE", "a certificate"),
            ("RSA PUBLIC KEY", "a PKCS #1 key"),
            ("DSA PARAMETERS", "another kind"),
        ] {
            let text = refusal(&pem(label, &body(P_256_PEM)));
            assert!(text.contains(words), "{text}");
            assert!(text.contains("RSA") && text.contains("P-256") && text.contains("Ed25519"));
            assert!(!text.contains(&body(P_256_PEM)));
        }
        for other in OTHER_BODIES {
            let text = refusal(&pem("PUBLIC KEY", other));
            assert!(text.contains("another kind or size"), "{text}");
        }
    }

    #[test]
    fn a_pem_that_is_damaged_is_refused() {
        let ed = body(ED25519_PEM);
        let twice = format!("{ED25519_PEM}\n{ED25519_PEM}");
        for text in [
            "",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me",
            &ed,
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
            &ED25519_PEM.replace("BEGIN", "begin"),
            &ED25519_PEM.replace("-----END PUBLIC KEY-----", ""),
            &ED25519_PEM.replace("END PUBLIC", "END PRIVATE"),
            &ED25519_PEM.replace('=', ""),
            &ED25519_PEM.replace("MCow", "MCo-"),
            &twice,
            &format!("Key:\n{ED25519_PEM}"),
        ] {
            assert!(Key::public(text).is_err(), "{text}");
        }
        // Every prefix of the DER, and a byte more.
        for good in [RSA_PEM, P_256_PEM, ED25519_PEM] {
            let key = Key::public(good).unwrap();
            let der = spki_bytes(&key);
            assert!(spki(der).is_some());
            for end in 0..der.len() {
                assert!(spki(&der[..end]).is_none(), "{end}");
            }
            assert!(spki(&[der, &[0]].concat()).is_none());
        }
    }

    #[test]
    fn a_pem_holds_as_many_bits_as_its_key_has() {
        // The lengths that change: of the whole, and of the bits with the byte before them.
        for (good, length_at, bits_at) in [(P_256_PEM, 24, 26), (ED25519_PEM, 10, 12)] {
            let good = Key::public(good).unwrap();
            let of = |count: usize, first: u8| {
                let mut der = spki_bytes(&good)[..bits_at].to_vec();
                der.push(first);
                der.resize(bits_at + count, 7);
                der[1] = u8::try_from(der.len() - 2).unwrap();
                der[length_at] = u8::try_from(count + 1).unwrap();
                assert!(spki(&der).is_some_and(|(algorithm, bits)| {
                    algorithm == Some(good.algorithm) && bits.len() == count
                }));
                let body = encode_url(&der).replace('-', "+").replace('_', "/");
                let padding = "=".repeat((4 - body.len() % 4) % 4);
                Key::public(&pem("PUBLIC KEY", &(body + &padding)))
            };
            let right = spki_bytes(&good).len() - bits_at;
            assert!(of(right, 4).is_ok());
            for (count, first) in [
                (33, 4),
                (33, 2),
                (64, 4),
                (66, 4),
                (31, 4),
                (65, 6),
                (65, 2),
            ] {
                assert!(of(count, first).is_err(), "{count} {first}");
            }
        }
    }

    #[test]
    fn der_lengths_are_read_in_the_forms_that_keys_need() {
        let long = [&[2, 0x81, 0x80][..], &[7; 0x80]].concat();
        let longer = [&[2, 0x82, 1, 1][..], &[7; 0x101]].concat();
        assert_eq!(element(&[2, 1, 7, 8], 2), Some((&[7][..], &[8][..])));
        assert_eq!(element(&long, 2), Some((&[7; 0x80][..], &[][..])));
        assert_eq!(element(&longer, 2), Some((&[7; 0x101][..], &[][..])));
        for (der, tag) in [
            (&[][..], 2),
            (&[2], 2),
            (&[2, 1], 2),
            (&[2, 1, 7], 3),
            (&[2, 0x80, 0, 0], 2),
            (&[2, 0x81], 2),
            (&[2, 0x82, 1], 2),
            (&[2, 0x82, 0xff, 0xff], 2),
            (&[2, 0x83, 0, 0, 1, 7], 2),
            (&[2, 0x84, 0xff, 0xff, 0xff, 0xff], 2),
            (&[2, 0xff, 1], 2),
        ] {
            assert_eq!(element(der, tag), None, "{der:?}");
        }
    }

    #[test]
    fn a_jwk_keeps_what_makes_it_that_key() {
        for (text, algorithm, kept) in [
            (rsa(RSA_N, ""), Algorithm::Rs256, rsa(RSA_N, "")),
            (ec(""), Algorithm::Es256, ec("")),
            (ed(""), Algorithm::EdDsa, ed("")),
            (
                ec(
                    r#","kid":"a","alg":"ES256","use":"sig","key_ops":["verify"],"ext":true,"x5c":[]"#,
                ),
                Algorithm::Es256,
                ec(""),
            ),
            (ed(r#","alg":"EdDSA""#), Algorithm::EdDsa, ed("")),
            (ed(r#","alg":"Ed25519""#), Algorithm::EdDsa, ed("")),
        ] {
            let key = Key::public(&format!(" {text}\n")).unwrap();
            assert_eq!(key.algorithm, algorithm);
            assert_eq!(jwk_text(&key), kept);
            let kid = text.contains("kid").then_some("a");
            assert_eq!(key.kid.as_deref(), kid);
        }
    }

    #[test]
    fn a_jwk_that_cannot_verify_is_refused() {
        let short = &EC_X[..40];
        let doubled = ec("").replace(r#""kty":"EC","#, r#""kty":"EC","kty":"EC","#);
        for (text, words) in [
            (r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(), "symmetric"),
            (r#"{"kty":"oct"}"#.to_owned(), "symmetric"),
            (rsa(RSA_N, r#","k":"AAAA""#), "symmetric"),
            (ec(r#","d":"AAAA""#), "private"),
            (ed(r#","d":null"#), "private"),
            (rsa(RSA_N, r#","d":"AAAA","p":"AAAA""#), "private"),
            (format!(r#"{{"keys":[{}]}}"#, ec("")), "a set of keys"),
            ("{".to_owned(), "no JSON object"),
            (doubled, "no JSON object"),
            ("{}".to_owned(), "another kind"),
            (ec("").replace("EC", "ec"), "another kind"),
            (ec("").replace("P-256", "P-384"), "another kind"),
            (ec("").replace("P-256", "secp256k1"), "another kind"),
            (ec("").replace(r#""crv":"P-256","#, ""), "another kind"),
            (ec("").replace(EC_X, short), "another kind"),
            (ec("").replace(EC_Y, ""), "another kind"),
            (ec("").replace(EC_X, &format!("{EC_X}=")), "another kind"),
            (ec("").replace(EC_X, "\\u0022,"), "another kind"),
            (ed("").replace("Ed25519", "X25519"), "another kind"),
            (ed("").replace("Ed25519", "Ed448"), "another kind"),
            (ed("").replace("OKP", "EC"), "another kind"),
            (ed("").replace(ED_X, "AAAA"), "another kind"),
            (rsa(RSA_1024_N, ""), "another kind or size"),
            // The zeros in front do not count.
            (rsa(&format!("{}AQAB", "A".repeat(400)), ""), "another kind"),
            (rsa(RSA_N, "").replace("AQAB", ""), "another kind"),
            (rsa(RSA_N, "").replace(r#","e":"AQAB""#, ""), "another kind"),
            (rsa(RSA_N, r#","alg":"RS512""#), "something else"),
            (rsa(RSA_N, r#","alg":"PS256""#), "something else"),
            (rsa(RSA_N, r#","alg":"RSA-OAEP-256""#), "something else"),
            (rsa(RSA_N, r#","alg":"HS256""#), "something else"),
            (rsa(RSA_N, r#","alg":"none""#), "something else"),
            (rsa(RSA_N, r#","alg":null"#), "something else"),
            (ec(r#","alg":"RS256""#), "something else"),
            (ec(r#","use":"enc""#), "something else"),
            (ec(r#","use":7"#), "something else"),
            (ec(r#","key_ops":["sign"]"#), "something else"),
            (ec(r#","key_ops":[]"#), "something else"),
            (ec(r#","key_ops":{}"#), "something else"),
            (ec(r#","kid":7"#), "something else"),
        ] {
            let refusal = refusal(&text);
            assert!(refusal.contains(words), "{text}: {refusal}");
            assert!(
                !refusal.contains(EC_Y) && !refusal.contains(ED_X),
                "{refusal}"
            );
        }
    }

    #[test]
    fn keys_of_a_set_that_cannot_be_used_are_skipped() {
        let keys = [
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"secret"}"#.to_owned(),
            rsa(RSA_N, r#","kid":"1","use":"sig","alg":"RS256","x5t":"a""#),
            rsa(RSA_N, r#","kid":"2","use":"enc""#),
            "null".to_owned(),
            "7".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            ec(r#","kid":"3""#).replace("P-256", "P-521"),
            ec(r#","kid":"4","d":"AAAA""#),
            ec(r#","kid":"5""#),
            ed(""),
            ed(r#","kid":"6","kid":"6""#),
        ];
        let text = format!(r#"{{"keys":[{}],"more":1}}"#, keys.join(","));
        let keys = Key::jwks(&text).unwrap();
        let found: Vec<_> = keys
            .iter()
            .map(|key| (key.algorithm, key.kid.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                (Algorithm::Rs256, Some("1")),
                (Algorithm::Es256, Some("5")),
                (Algorithm::EdDsa, None),
            ]
        );
        assert_eq!(jwk_text(&keys[0]), rsa(RSA_N, ""));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"keys":null}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[],"keys":[]}"#,
            r#"{"keys":[}"#,
            &ec(""),
            &format!("[{}]", ec("")),
        ] {
            assert_eq!(Key::jwks(text).unwrap_err(), JwksError::Malformed, "{text}");
        }
        for keys in ["", r#"{"kty":"oct","k":"AAAA"}"#] {
            let error = Key::jwks(&format!(r#"{{"keys":[{keys}]}}"#)).unwrap_err();
            assert_eq!(error, JwksError::NoUsableKey);
        }
        let set = format!(r#"{{"keys":[{}]}}"#, ec(""));
        let padded = |bytes: usize| format!("{set}{}", " ".repeat(bytes - set.len()));
        assert!(Key::jwks(&padded(JWKS_BYTES_MAX)).is_ok());
        let error = Key::jwks(&padded(JWKS_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error, JwksError::TooLong);
    }

    #[test]
    fn algorithms_have_the_names_of_rfc_7518() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDsa));
        for name in [
            "", "none", "hs256", "HS384", "RS512", "PS256", "ES384", "ES256K", "Ed448",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }

    #[test]
    fn keys_are_not_printed() {
        let secret = Key::secret("a secret of more than thirty-two bytes").unwrap();
        let text = format!("{secret:?}");
        assert_eq!(
            text,
            "Key { algorithm: Hs256, kid: None, material: Secret }"
        );
        for public in [P_256_PEM, &ec("")] {
            let text = format!("{:?}", Key::public(public).unwrap());
            assert!(text.len() < 64, "{text}");
        }
    }
}
