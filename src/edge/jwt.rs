//! Verifying JSON Web Tokens with the platform's `WebCrypto`, and keeping the key set of `JWT_JWKS_URL`.
//!
//! Owns when the key set is fetched: when there is none, when it is old, and when a token names a key
//! that is not in it, but then at most once a minute, so that made-up names cost nothing. What a token
//! has to say is decided by `auth`.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::auth::{Grant, JwtError, JwtPolicy, Key, KeySource, Material, Token};
use crate::event::StoreId;
use crate::limits::{JWKS_AGE_MAX_MS, JWKS_BYTES_MAX, JWKS_RETRY_MS};

/// Why a token does not let its bearer in.
pub(super) enum Unverified {
    /// It is wrong.
    Refused(JwtError),
    /// It cannot be told: the key set cannot be had.
    NoKeys(String),
}

impl From<JwtError> for Unverified {
    fn from(error: JwtError) -> Self {
        Self::Refused(error)
    }
}

/// A key set as it was fetched. Only data is kept: a promise belongs to the request that made it.
#[derive(Clone)]
struct KeySet {
    keys: Rc<Vec<Key>>,
    fetched_at_ms: u64,
}

thread_local! {
    static KEY_SET: RefCell<Option<KeySet>> = const { RefCell::new(None) };
    /// When the key set was last asked for, whatever came of it.
    static ASKED_AT_MS: RefCell<u64> = const { RefCell::new(0) };
}

/// What the token `text` grants at `store`.
pub(super) async fn verify(
    policy: &JwtPolicy,
    text: &str,
    store: &StoreId,
) -> Result<Grant, Unverified> {
    let token = Token::parse(text)?;
    match &policy.source {
        KeySource::Fixed(keys) => {
            verify_signature(&token, policy.candidates(&token, keys)?).await?;
        }
        KeySource::Jwks { url } => {
            let mut set = key_set(url, JWKS_AGE_MAX_MS).await?;
            if policy.candidates(&token, &set.keys).err() == Some(JwtError::UnknownKey) {
                set = key_set(url, 0).await?;
            }
            verify_signature(&token, policy.candidates(&token, &set.keys)?).await?;
        }
    }
    Ok(policy.check(&token, store, js::now_ms())?)
}

async fn verify_signature(token: &Token<'_>, candidates: Vec<&Key>) -> Result<(), Unverified> {
    for key in candidates {
        let (format, material) = match &key.material {
            Material::Secret(bytes) => ("raw", Uint8Array::from(bytes.as_slice()).into()),
            Material::Spki(bytes) => ("spki", Uint8Array::from(bytes.as_slice()).into()),
            Material::Jwk(text) => ("jwk", JsValue::from_str(text)),
        };
        let verified = js::verify(
            key.algorithm.name(),
            format,
            &material,
            token.signature(),
            token.signing_input(),
        );
        // A key that cannot be imported verifies nothing.
        if JsFuture::from(verified)
            .await
            .is_ok_and(|verified| verified.is_truthy())
        {
            return Ok(());
        }
    }
    Err(JwtError::Signature.into())
}

/// The key set, fetched anew if it is older than `age_max_ms` and the last try is not too recent.
async fn key_set(url: &str, age_max_ms: u64) -> Result<KeySet, Unverified> {
    let now_ms = js::now_ms();
    let kept = KEY_SET.with_borrow(Option::clone);
    let is_old = |set: &KeySet| now_ms.saturating_sub(set.fetched_at_ms) > age_max_ms;
    let is_fresh = kept.as_ref().is_some_and(|set| !is_old(set));
    let asked_at_ms = ASKED_AT_MS.with_borrow(|at_ms| *at_ms);
    let is_recent = now_ms.saturating_sub(asked_at_ms) < JWKS_RETRY_MS;
    if let Some(kept) = kept.as_ref().filter(|_| is_fresh || is_recent) {
        return Ok(kept.clone());
    }
    ASKED_AT_MS.set(now_ms);
    match fetch(url).await {
        Ok(keys) => {
            let set = KeySet {
                keys: Rc::new(keys),
                fetched_at_ms: now_ms,
            };
            KEY_SET.set(Some(set.clone()));
            Ok(set)
        }
        // Better an old set than nobody.
        Err(message) => kept.ok_or(Unverified::NoKeys(message)),
    }
}

async fn fetch(url: &str) -> Result<Vec<Key>, String> {
    let text = JsFuture::from(js::fetch_text(url, JWKS_BYTES_MAX)).await;
    let text = text.map_err(|error| js::message_of(&error))?;
    Key::jwks(&text.as_string().unwrap_or_default()).map_err(|error| error.to_string())
}
