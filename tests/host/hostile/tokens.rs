//! Tokens, key sets and keys by chance: each is refused, or is what it says, and nothing panics. What the host makes of
//! keys is the affair of `tests/workerd/keys.test.ts`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livestore_sync_worker::auth::{Grant, JwtPolicy, KeySource, Token, keys_of_set};
use livestore_sync_worker::config::Config;

use super::random::{edit, json};
use super::*;
use crate::fuzz::bodies;

const JWKS: &str = r#"{"keys":[
    {"kty":"EC","crv":"P-256","kid":"a","alg":"ES256","use":"sig","key_ops":["verify"],"x":"OEIXmkewSSKQhXgpITR6aYRMWl1SVXMbbVkXeFR3wxQ","y":"VY5LJcEIG69eNHXK_OfnP_PZdB-htCvOIzWEwgKqlbQ"},
    {"kty":"OKP","crv":"Ed25519","x":"P9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW-_kMY"},
    {"kty":"oct","k":"c2VjcmV0"}
]}"#;
const HEADER: &str = r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"i","aud":["a","b"],"exp":1795342752.5,"nbf":1,"stores":["quiet-store"],"role":"read"}"#;

/// What a deployment that asks everything of a token asks of one that is signed.
fn policy() -> JwtPolicy {
    bodies::policy().jwt.unwrap()
}

fn jwt(header: &[u8], claims: &[u8]) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.c2ln")
}

/// Takes a token through all that is done with it, as if a key had signed it; whether it was good.
fn attack(text: &str) -> bool {
    let Ok(token) = Token::parse(text, |part| URL_SAFE_NO_PAD.decode(part).ok()) else {
        return false;
    };
    assert_eq!(token.text(), text);
    match policy().check(&token, &StoreId::new(STORE), NOW_MS) {
        Err(_) => false,
        Ok(grant) => {
            assert!(!grant.is_expired(NOW_MS));
            assert_eq!(Grant::from_json(&grant.json()), Some(grant));
            true
        }
    }
}

fn changed(text: &str, edits: &[super::random::Edit]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for edit in edits {
        edit.apply(&mut bytes);
    }
    bytes
}

/// Reads a text as what keys are read from, and gives the host nothing that it cannot read.
fn attack_keys(text: &str) {
    if let Ok(array) = keys_of_set(text) {
        let keys: Vec<&RawValue> = serde_json::from_str(&array).unwrap();
        assert!(!keys.is_empty(), "{text}");
        assert!(keys.iter().all(|key| key.get().starts_with('{')), "{text}");
    }
    for variable in ["JWT_JWKS_URL", "JWT_PUBLIC_KEY"] {
        let lookup = |name: &str| (name == variable).then(|| text.to_owned());
        let config = Config::parse(lookup).ok();
        match config.and_then(|config| config.policy.jwt.map(|policy| policy.source)) {
            None => {}
            Some(KeySource::Jwks { url }) => assert_eq!(variable, "JWT_JWKS_URL", "{url}"),
            Some(KeySource::Public(key)) => {
                assert_eq!(key, text.trim_ascii());
                assert!(!key.starts_with('{') || serde_json::from_str::<&RawValue>(&key).is_ok());
            }
            Some(KeySource::Secret(_)) => panic!("{text}"),
        }
    }
}

#[test]
fn the_token_that_is_changed_is_a_good_one() {
    assert!(attack(&jwt(HEADER.as_bytes(), CLAIMS.as_bytes())));
    assert_eq!(keys_of_set(JWKS).unwrap().matches("kty").count(), 3);
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn any_text_is_a_token_or_refused(text in any::<String>(), parts in "[A-Za-z0-9_.=-]{0,80}") {
        attack(&text);
        attack(&parts);
        attack_keys(&text);
    }

    #[test]
    fn any_json_as_header_and_claims_does_no_harm(header in json(), claims in json()) {
        attack(&jwt(header.as_bytes(), claims.as_bytes()));
        attack(&jwt(header.as_bytes(), CLAIMS.as_bytes()));
        attack(&jwt(HEADER.as_bytes(), claims.as_bytes()));
        for name in ["exp", "nbf", "iss", "aud", "stores", "role"] {
            let text = CLAIMS.replace(&format!("\"{name}\":"), &format!("\"{name}\":{claims},\"x\":"));
            attack(&jwt(HEADER.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn a_token_with_bytes_changed_does_no_harm(
        outer in proptest::collection::vec(edit(), 0..3),
        header in proptest::collection::vec(edit(), 0..3),
        claims in proptest::collection::vec(edit(), 0..4),
    ) {
        let text = jwt(&changed(HEADER, &header), &changed(CLAIMS, &claims));
        if let Ok(text) = String::from_utf8(changed(&text, &outer)) {
            attack(&text);
        }
    }

    #[test]
    fn a_key_with_bytes_changed_does_no_harm(
        edits in proptest::collection::vec(edit(), 1..4),
        json in json(),
    ) {
        let one = JWKS.lines().nth(1).unwrap().trim().trim_end_matches(',');
        for text in [JWKS, one] {
            if let Ok(text) = String::from_utf8(changed(text, &edits)) {
                attack_keys(&text);
            }
        }
        attack_keys(&json);
        attack_keys(&format!("{{\"keys\":[{json}]}}"));
        attack_keys(&format!("{{\"keys\":{json}}}"));
    }

    #[test]
    fn a_changed_grant_does_no_harm(edits in proptest::collection::vec(edit(), 1..4)) {
        let json = format!(r#"{{"claims":{CLAIMS},"access":"read","expiresAtMs":1795342752500}}"#);
        if let Ok(text) = String::from_utf8(changed(&json, &edits))
            && let Some(grant) = Grant::from_json(&text)
        {
            prop_assert_eq!(Grant::from_json(&grant.json()), Some(grant));
        }
    }
}
