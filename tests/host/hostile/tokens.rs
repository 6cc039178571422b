//! Tokens, key sets and keys by chance: each is refused, or is what it says, and nothing panics.

use livestore_sync_worker::auth::{Grant, JwtPolicy, Key, KeySource, Material, Token};
use livestore_sync_worker::config::Config;

use super::random::{edit, json};
use super::*;

const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOEIXmkewSSKQhXgpITR6aYRMWl1S\n\
    VXMbbVkXeFR3wxRVjkslwQgbr140dcr85+c/89l0H6G0K84jNYTCAqqVtA==\n\
    -----END PUBLIC KEY-----";
const JWKS: &str = r#"{"keys":[
    {"kty":"EC","crv":"P-256","kid":"a","alg":"ES256","use":"sig","key_ops":["verify"],"x":"OEIXmkewSSKQhXgpITR6aYRMWl1SVXMbbVkXeFR3wxQ","y":"VY5LJcEIG69eNHXK_OfnP_PZdB-htCvOIzWEwgKqlbQ"},
    {"kty":"OKP","crv":"Ed25519","x":"P9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW-_kMY"},
    {"kty":"oct","k":"c2VjcmV0"}
]}"#;
const HEADER: &str = r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"iss":"i","aud":["a","b"],"exp":1795342752.5,"nbf":1,"stores":["quiet-store"],"role":"read"}"#;

/// A deployment that asks for everything.
fn policy() -> JwtPolicy {
    let lookup = |name: &str| {
        let value = match name {
            "JWT_JWKS_URL" => "https://id.example.com/jwks",
            "JWT_ISSUER" => "i",
            "JWT_AUDIENCE" => "a",
            "JWT_STORE_CLAIM" => "stores",
            "JWT_ACCESS_CLAIM" => "role",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::parse(lookup).unwrap().policy.jwt.unwrap()
}

/// Base64url, digit by digit.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..bytes.len() * 8)
        .step_by(6)
        .map(|at| (at..at + 6).fold(0, |digit, at| digit << 1 | bit(at)))
        .map(|digit: u8| char::from(ALPHABET[usize::from(digit)]))
        .collect()
}

fn jwt(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}.c2ln", base64url(header), base64url(claims))
}

/// Takes a token through all that is done with it, as if each key had signed it; whether it was good.
fn attack(text: &str) -> bool {
    let Ok(token) = Token::parse(text) else {
        return false;
    };
    assert!(text.starts_with(token.signing_input()));
    let (policy, keys) = (policy(), Key::jwks(JWKS).unwrap());
    let is_signed = policy.candidates(&token, &keys).is_ok_and(|candidates| {
        assert!(!candidates.is_empty());
        true
    });
    match policy.check(&token, &StoreId::new(STORE), NOW_MS) {
        Err(_) => false,
        Ok(grant) => {
            assert!(!grant.is_expired(NOW_MS));
            assert_eq!(Grant::from_json(&grant.json()), Some(grant));
            is_signed
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

/// Reads a text as every kind of key; no key that comes out of one is a secret.
fn attack_keys(text: &str) {
    let one = Key::public(text).into_iter();
    for key in one.chain(Key::jwks(text).into_iter().flatten()) {
        match &key.material {
            Material::Secret(_) => panic!("{text}"),
            Material::Spki(der) => assert!(!der.is_empty()),
            Material::Jwk(jwk) => assert!(Key::public(jwk).is_ok(), "{jwk}"),
        }
    }
    let lookup = |name: &str| (name == "JWT_JWKS_URL").then(|| text.to_owned());
    if let Some(policy) = Config::parse(lookup)
        .ok()
        .and_then(|config| config.policy.jwt)
    {
        assert!(matches!(policy.source, KeySource::Jwks { .. }));
    }
}

#[test]
fn the_token_that_is_changed_is_a_good_one() {
    assert!(attack(&jwt(HEADER.as_bytes(), CLAIMS.as_bytes())));
    assert!(Key::public(PEM).is_ok());
    assert_eq!(Key::jwks(JWKS).unwrap().len(), 2);
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
        der in proptest::collection::vec(any::<u8>(), 0..60),
        json in json(),
    ) {
        let one = JWKS.lines().nth(1).unwrap().trim().trim_end_matches(',');
        for text in [PEM, JWKS, one] {
            if let Ok(text) = String::from_utf8(changed(text, &edits)) {
                attack_keys(&text);
            }
        }
        let body = base64url(&der).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - body.len() % 4) % 4);
        attack_keys(&format!("-----BEGIN PUBLIC KEY-----{body}{padding}-----END PUBLIC KEY-----"));
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
