//! Where the keys come from that sign tokens, and what is asked of them before anybody reads them.
//!
//! Owns how long a secret is at least, how long a key set may be, and that a key in JSON is an object of distinct
//! names. Refuses to know what a key is: the host reads it, and says what it is instead. *Source*: RFC 7517, RFC 7518.

use std::fmt;

use serde_json::value::RawValue;
use thiserror::Error;

use super::members::Members;
use crate::limits::{JWKS_BYTES_MAX, JWT_SECRET_BYTES_MIN};

/// Where the keys come from. Never printed.
#[derive(Clone)]
pub enum KeySource {
    /// `JWT_SECRET`: the bytes of this text, which sign with HS256.
    Secret(String),
    /// `JWT_PUBLIC_KEY`: a text that is to be a PEM `PUBLIC KEY`, in which `\n` may be two characters, or a JWK.
    Public(String),
    /// A JWKS that the host fetches and keeps.
    Jwks {
        /// Its address: `https`, or `http` on this machine.
        url: String,
    },
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret",
            Self::Public(_) => "Public",
            Self::Jwks { .. } => "Jwks",
        })
    }
}

/// Why a text is no key that could verify a token, in words that go on from "it must be". They hold
/// nothing of the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Shorter than the 256 bits that RFC 7518 section 3.2 asks for.
    #[error("at least {JWT_SECRET_BYTES_MIN} bytes long, as HS256 wants (RFC 7518)")]
    ShortSecret,
    /// Not a public key of ours, but this.
    #[error(
        "a PEM 'PUBLIC KEY' or a JWK of an RSA key of 2048 bits or more, a P-256, P-384 or P-521 key or an Ed25519 key, and it is {0}"
    )]
    NotPublic(String),
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
        "the key set has no public key that could verify a token: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519"
    )]
    NoUsableKey,
}

impl KeySource {
    /// The secret of `JWT_SECRET`.
    ///
    /// # Errors
    /// It is too short.
    pub fn secret(text: &str) -> Result<Self, KeyError> {
        if text.len() < JWT_SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        Ok(Self::Secret(text.to_owned()))
    }

    /// The key of `JWT_PUBLIC_KEY`, as long as nobody has read it.
    ///
    /// # Errors
    /// It looks like a JWK and is no object of distinct names.
    pub fn public(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if text.starts_with('{') && Members::parse(text).is_none() {
            let what = "a text that is no JSON object".to_owned();
            return Err(KeyError::NotPublic(what));
        }
        Ok(Self::Public(text.to_owned()))
    }
}

/// The keys of a JWKS, as the answer of `JWT_JWKS_URL` holds it, that are objects of distinct names: as a JSON array, for the
/// host to read those that it can use.
///
/// # Errors
/// The document is none, or has none.
pub fn keys_of_set(text: &str) -> Result<String, JwksError> {
    if text.len() > JWKS_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let set = Members::parse(text).ok_or(JwksError::Malformed)?;
    let keys = set.get::<Vec<&RawValue>>("keys");
    let mut keys = keys.ok_or(JwksError::Malformed)?;
    keys.retain(|key| Members::parse(key.get()).is_some());
    if keys.is_empty() {
        return Err(JwksError::NoUsableKey);
    }
    serde_json::to_string(&keys).map_err(|_| JwksError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#;

    #[test]
    fn a_secret_has_as_many_bits_as_its_hash() {
        let secret = "é".repeat(16);
        assert!(
            matches!(KeySource::secret(&secret), Ok(KeySource::Secret(kept)) if kept == secret)
        );
        for text in ["", "secret", "a secret that is one byte short"] {
            let error = KeySource::secret(text).unwrap_err();
            assert_eq!(error, KeyError::ShortSecret);
            assert!(error.to_string().contains("32 bytes"), "{error}");
        }
    }

    #[test]
    fn a_public_key_is_kept_as_it_is_set_but_for_the_space_around_it() {
        for text in [KEY, "-----BEGIN PUBLIC KEY-----", "{}", "no key"] {
            let source = KeySource::public(&format!("\n {text}\r\n")).unwrap();
            assert!(matches!(source, KeySource::Public(kept) if kept == text));
        }
        let doubled = KEY.replace(r#""kty":"OKP","#, r#""kty":"OKP","kty":"OKP","#);
        for text in ["{", "{]", &doubled, &format!("{KEY}{KEY}")] {
            let error = KeySource::public(text).unwrap_err().to_string();
            assert!(error.contains("no JSON object"), "{text}: {error}");
            assert!(error.contains("RSA") && error.contains("P-256") && error.contains("Ed25519"));
            assert!(!error.contains("AAAA"), "{error}");
        }
    }

    #[test]
    fn keys_of_a_set_that_are_no_object_of_distinct_names_are_skipped() {
        let twice = r#"{"kid":"6","kid":"6"}"#;
        let text = format!(r#"{{"keys":[ {KEY},null,7,[],"a",{twice},{{}} ],"more":1}}"#);
        assert_eq!(keys_of_set(&text).unwrap(), format!("[{KEY},{{}}]"));
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
            KEY,
            &format!("[{KEY}]"),
        ] {
            assert_eq!(keys_of_set(text), Err(JwksError::Malformed), "{text}");
        }
        for keys in ["", "null", r#"{"a":1,"a":1}"#] {
            let found = keys_of_set(&format!(r#"{{"keys":[{keys}]}}"#));
            assert_eq!(found, Err(JwksError::NoUsableKey), "{keys}");
        }
        let set = format!(r#"{{"keys":[{KEY}]}}"#);
        let padded = |bytes: usize| format!("{set}{}", " ".repeat(bytes - set.len()));
        assert!(keys_of_set(&padded(JWKS_BYTES_MAX)).is_ok());
        assert_eq!(
            keys_of_set(&padded(JWKS_BYTES_MAX + 1)),
            Err(JwksError::TooLong)
        );
    }

    #[test]
    fn keys_are_not_printed() {
        let secret = KeySource::secret("a secret of more than thirty-two bytes").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(format!("{:?}", KeySource::public(KEY).unwrap()), "Public");
    }
}
