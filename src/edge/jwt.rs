//! Verifying JSON Web Tokens, and fetching the key set of `JWT_JWKS_URL`. What a token has to say, and when the set is
//! fetched, is decided by `auth`; keys and signatures are read by `jwt.js`, which is `jose`.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::auth::{Grant, JwksError, JwtError, JwtPolicy, KeySet, KeySource, Token, keys_of_set};
use crate::config::{ConfigError, no_public_key};
use crate::event::StoreId;
use crate::limits::{JWKS_BYTES_MAX, JWKS_REDIRECTS_MAX, KEY_SETS_KEPT};

#[wasm_bindgen(module = "/src/edge/jwt.js")]
extern "C" {
    /// The bytes of a text in base64url; `None` unless it is the only text of these bytes.
    #[wasm_bindgen(js_name = bytesOfBase64Url)]
    fn bytes_of_base64url(text: &str) -> Option<Vec<u8>>;

    /// The key that these bytes are.
    #[wasm_bindgen(js_name = keysOfSecret)]
    fn keys_of_secret(secret: &[u8]) -> JsValue;

    /// A promise of the key in a PEM or JWK text; of what the text is instead if there is none in it.
    #[wasm_bindgen(js_name = keysOfText)]
    fn keys_of_text(text: &str) -> Promise;

    /// A promise of those keys of an array that can be used; of undefined if there are none.
    #[wasm_bindgen(js_name = keysOfArray)]
    fn keys_of_array(json: &str) -> Promise;

    /// A promise of what keys find of a token's signature, whose header names this algorithm and key.
    #[wasm_bindgen(js_name = verify)]
    fn verify_by(keys: &JsValue, token: &str, algorithm: &str, kid: Option<&str>) -> Promise;
}

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

/// The keys of a deployment.
pub(super) enum Keys {
    /// Those of its variables.
    Fixed(JsValue),
    /// Those that are at this address.
    At(String, SharedKeySet),
}

/// A key set, shared by the requests that wait for it. Only data is kept: a promise belongs to the request
/// that made it.
type SharedKeySet = Rc<RefCell<KeySet<JsValue>>>;

thread_local! {
    /// By their addresses, the last to come first. A host may make a Worker for each request, so they outlive
    /// it.
    static KEY_SETS: RefCell<Vec<(String, SharedKeySet)>> = const { RefCell::new(Vec::new()) };
}

/// The key set of `url`.
fn key_set_of(url: &str) -> SharedKeySet {
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

impl Keys {
    /// The keys of `source`; `None` if they have to be waited for.
    pub(super) fn at_once(source: &KeySource) -> Option<Self> {
        match source {
            KeySource::Secret(secret) => Some(Self::Fixed(keys_of_secret(secret.as_bytes()))),
            KeySource::Public(_) => None,
            KeySource::Jwks { url } => Some(Self::At(url.clone(), key_set_of(url))),
        }
    }

    /// The key in the text of a variable.
    pub(super) async fn read(text: &str) -> Result<Self, ConfigError> {
        let keys = JsFuture::from(keys_of_text(text)).await;
        let keys = keys.map_err(|error| no_public_key(js::message_of(&error)))?;
        match keys.as_string() {
            Some(what) => Err(no_public_key(what)),
            None => Ok(Self::Fixed(keys)),
        }
    }

    /// What the token `text` grants at `store`.
    pub(super) async fn verify(
        &self,
        policy: &JwtPolicy,
        text: &str,
        store: &StoreId,
    ) -> Result<Grant, Unverified> {
        let token = Token::parse(text, bytes_of_base64url)?;
        match self {
            Self::Fixed(keys) => verify_signature(keys, &token).await?,
            Self::At(url, set) => {
                let current = set.borrow_mut().current(js::now_ms());
                let keys = match current {
                    Some(keys) => keys,
                    None => fetch(url, set).await?,
                };
                let mut verified = verify_signature(&keys, &token).await;
                if verified == Err(JwtError::UnknownKey) {
                    let newer = set.borrow_mut().newer(js::now_ms());
                    let keys = match newer {
                        Some(keys) => keys,
                        None => fetch(url, set).await?,
                    };
                    verified = verify_signature(&keys, &token).await;
                }
                verified?;
            }
        }
        Ok(policy.check(&token, store, js::now_ms())?)
    }
}

async fn verify_signature(keys: &JsValue, token: &Token<'_>) -> Result<(), JwtError> {
    let finding = verify_by(keys, token.text(), token.algorithm(), token.kid());
    // Where it fails there is no finding, and nobody is let in.
    let finding = JsFuture::from(finding).await.unwrap_or_default();
    match finding.as_string().as_deref() {
        Some("verified") => Ok(()),
        Some("algorithm") => Err(JwtError::Algorithm),
        Some("unknown") => Err(JwtError::UnknownKey),
        _ => Err(JwtError::Signature),
    }
}

async fn fetch(url: &str, set: &SharedKeySet) -> Result<JsValue, Unverified> {
    let asked_at_ms = js::now_ms();
    let fetched = JsFuture::from(js::fetch_text(url, JWKS_BYTES_MAX, JWKS_REDIRECTS_MAX)).await;
    let keys = match fetched {
        Ok(body) => read_set(&body.as_string().unwrap_or_default()).await,
        Err(error) => Err(js::message_of(&error)),
    };
    set.borrow_mut()
        .fetched(keys, asked_at_ms)
        .map_err(Unverified::NoKeys)
}

async fn read_set(text: &str) -> Result<JsValue, String> {
    let array = keys_of_set(text).map_err(|error| error.to_string())?;
    let keys = JsFuture::from(keys_of_array(&array)).await;
    let keys = keys.map_err(|error| js::message_of(&error))?;
    if keys.is_undefined() {
        return Err(JwksError::NoUsableKey.to_string());
    }
    Ok(keys)
}
