//! Verifying JSON Web Tokens with the platform's `WebCrypto`, and fetching the key set of `JWT_JWKS_URL`. What a
//! token has to say, and when the set is fetched, is decided by `auth`.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::auth::{Grant, JwtError, JwtPolicy, Key, KeySet, KeySource, Material, Token};
use crate::event::StoreId;
use crate::limits::{JWKS_BYTES_MAX, JWKS_REDIRECTS_MAX, KEY_SETS_KEPT};

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

/// A key set, shared by the requests that wait for it. Only data is kept: a promise belongs to the request
/// that made it.
pub(super) type SharedKeySet = Rc<RefCell<KeySet>>;

thread_local! {
    /// By their addresses, the last to come first. A host may make a Worker for each request, so they outlive
    /// it.
    static KEY_SETS: RefCell<Vec<(String, SharedKeySet)>> = const { RefCell::new(Vec::new()) };
}

/// The key set of `url`.
pub(super) fn key_set_of(url: &str) -> SharedKeySet {
    KEY_SETS.with_borrow_mut(|sets| {
        if let Some((_, set)) = sets.iter().find(|(known, _)| known == url) {
            return set.clone();
        }
        let set = SharedKeySet::default();
        sets.insert(0, (url.to_owned(), set.clone()));
        sets.truncate(KEY_SETS_KEPT);
        set
    })
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
            let set = key_set_of(url);
            let current = set.borrow_mut().current(js::now_ms());
            let mut keys = match current {
                Some(keys) => keys,
                None => fetch(url, &set).await?,
            };
            if policy.candidates(&token, &keys).err() == Some(JwtError::UnknownKey) {
                let newer = set.borrow_mut().newer(js::now_ms());
                keys = match newer {
                    Some(keys) => keys,
                    None => fetch(url, &set).await?,
                };
            }
            verify_signature(&token, policy.candidates(&token, &keys)?).await?;
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

async fn fetch(url: &str, set: &SharedKeySet) -> Result<Rc<[Key]>, Unverified> {
    let asked_at_ms = js::now_ms();
    let fetched = JsFuture::from(js::fetch_text(url, JWKS_BYTES_MAX, JWKS_REDIRECTS_MAX)).await;
    let keys = match fetched {
        Ok(body) => {
            Key::jwks(&body.as_string().unwrap_or_default()).map_err(|error| error.to_string())
        }
        Err(error) => Err(js::message_of(&error)),
    };
    set.borrow_mut()
        .fetched(keys, asked_at_ms)
        .map_err(Unverified::NoKeys)
}
