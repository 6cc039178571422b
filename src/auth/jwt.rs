//! JSON Web Tokens: what a deployment asks of them, and what one of them grants.
//!
//! Owns everything around the signature, which the host has the platform's `WebCrypto` verify:
//! [`Token::parse`], then [`JwtPolicy::candidates`] for the keys to try, then, once one of them
//! verified the signature, [`JwtPolicy::check`] for the claims. Refuses to know where a token came from,
//! and how keys are fetched. An error never holds what a token says. *Source*: RFC 7515 (compact
//! serialisation), RFC 7519 (claims), RFC 8725 (what to refuse).

use std::fmt;

use super::base64::decode_url;
use super::grant::{Access, Grant};
use super::keys::{Algorithm, Key};
use super::members::Members;
use crate::event::StoreId;
use crate::limits::{JWT_BYTES_MAX, TIME_MS_MAX};

/// What a deployment asks of a token.
#[derive(Clone, Debug)]
pub struct JwtPolicy {
    /// `JWT_SECRET`, `JWT_PUBLIC_KEY` or `JWT_JWKS_URL`: the keys that sign.
    pub source: KeySource,
    /// `JWT_ISSUER`: what `iss` must be; `None` for any.
    pub issuer: Option<String>,
    /// `JWT_AUDIENCE`: `aud` must name one of these; none for any.
    pub audiences: Vec<String>,
    /// `JWT_STORE_CLAIM`: the claim that names the store or stores a token opens, `*` for all; with
    /// `None` it opens all of them. Always the name of a claim at the top, whatever it looks like.
    pub store_claim: Option<String>,
    /// `JWT_ACCESS_CLAIM`: the claim that says `read`, `write` or `read-write`; with `None` a token may
    /// write.
    pub access_claim: Option<String>,
    /// `JWT_GRACE_SECONDS`: for how long a token is good after its `exp` and before its `nbf`, as clocks
    /// differ. *Units*: seconds.
    pub grace_s: u64,
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The variables hold them.
    Fixed(Vec<Key>),
    /// A JWKS that the host fetches and keeps.
    Jwks {
        /// Its address: `https`, or `http` on this machine.
        url: String,
    },
}

/// A JSON Web Token as it was sent: taken apart, not verified. Never printed.
pub struct Token<'a> {
    signing_input: &'a str,
    signature: Vec<u8>,
    /// `None` when it names one that is not supported, `none` included.
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    /// The text of a JSON object.
    claims: String,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtError {
    /// Not a JWT, or not one that means the same to all who read it; with the text for the client.
    Malformed(&'static str),
    /// Signed with an algorithm that no key is for, or not at all.
    Algorithm,
    /// Signed with a key that is not there. The host may fetch the key set again.
    UnknownKey,
    /// No key verified the signature. The host's finding.
    Signature,
    /// Past `exp` and the grace after it.
    Expired,
    /// Before `nbf` and the grace before it.
    NotYetValid,
    /// `iss` is missing or another one.
    Issuer,
    /// `aud` is missing or names others.
    Audience,
    /// The claim of `JWT_STORE_CLAIM` is missing or names other stores.
    Store,
    /// The claim of `JWT_ACCESS_CLAIM` is missing or says something else.
    Access,
}

impl JwtError {
    /// What the client is told. It holds nothing of what the token says.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed(text) => text,
            Self::Algorithm => {
                "Invalid auth token: it is not signed with the algorithm of a key that is accepted here"
            }
            Self::UnknownKey => "Invalid auth token: the key that signed it is not known",
            Self::Signature => "Invalid auth token: its signature is wrong",
            Self::Expired => "Invalid auth token: it has expired",
            Self::NotYetValid => "Invalid auth token: it is not valid yet",
            Self::Issuer => {
                "Invalid auth token: its claim 'iss' is not the issuer that is expected here"
            }
            Self::Audience => {
                "Invalid auth token: its claim 'aud' has no audience that is expected here"
            }
            Self::Store => "Invalid auth token: it does not open this store",
            Self::Access => "Invalid auth token: it says neither 'read' nor 'write'",
        }
    }
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for JwtError {}

const TOO_LONG: JwtError = JwtError::Malformed("Invalid auth token: it has more than 8192 bytes");
const NO_PARTS: JwtError = JwtError::Malformed("Invalid auth token: it does not have three parts");
const NO_BASE64: JwtError =
    JwtError::Malformed("Invalid auth token: a part of it is not base64url without padding");
const NO_HEADER: JwtError =
    JwtError::Malformed("Invalid auth token: its header is not an object of distinct names");
const CRITICAL: JwtError =
    JwtError::Malformed("Invalid auth token: its header has 'crit', which is not supported");
const NO_ALGORITHM: JwtError =
    JwtError::Malformed("Invalid auth token: its header has no text 'alg'");
const NO_KID: JwtError = JwtError::Malformed("Invalid auth token: its 'kid' is not a text");
const NO_CLAIMS: JwtError =
    JwtError::Malformed("Invalid auth token: its claims are not an object of distinct names");
const NO_EXP: JwtError = JwtError::Malformed("Invalid auth token: its claim 'exp' is not a number");
const NO_NBF: JwtError = JwtError::Malformed("Invalid auth token: its claim 'nbf' is not a number");

/// Whether `text` looks like a JWT rather than a static token: it has two dots.
#[must_use]
pub fn looks_like_jwt(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> Token<'a> {
    /// Takes a token apart. Nothing in it can be trusted yet.
    ///
    /// # Errors
    /// It is too long or malformed. A header with `crit` is, as no extension is understood, and so is
    /// an object in which a name stands twice.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > JWT_BYTES_MAX {
            return Err(TOO_LONG);
        }
        if !looks_like_jwt(text) {
            return Err(NO_PARTS);
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(NO_PARTS)?;
        let (header, claims) = signing_input.split_once('.').ok_or(NO_PARTS)?;

        let header = decode_text(header, NO_HEADER)?;
        let header = Members::parse(&header).ok_or(NO_HEADER)?;
        if header.has("crit") {
            return Err(CRITICAL);
        }
        let algorithm = header.get::<String>("alg").ok_or(NO_ALGORITHM)?;
        let kid = header.get("kid");
        if kid.is_none() && header.has("kid") {
            return Err(NO_KID);
        }

        let claims = decode_text(claims, NO_CLAIMS)?;
        if Members::parse(&claims).is_none() {
            return Err(NO_CLAIMS);
        }
        Ok(Self {
            signing_input,
            signature: decode_url(signature).ok_or(NO_BASE64)?,
            algorithm: Algorithm::named(&algorithm),
            kid,
            claims,
        })
    }

    /// What the signature is over: the header and the claims as they were sent.
    #[must_use]
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The signature to verify; empty when there is none.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The name of the key that signed it, as it says.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

/// The text in a part of a token.
fn decode_text(part: &str, not_utf8: JwtError) -> Result<String, JwtError> {
    let bytes = decode_url(part).ok_or(NO_BASE64)?;
    String::from_utf8(bytes).map_err(|_| not_utf8)
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl JwtPolicy {
    /// The keys of `keys` that may have signed `token`: those of its `kid` and those without one, or all
    /// when it has none; and of these, those of its algorithm. `keys` are those of [`KeySource::Fixed`],
    /// or the fetched ones.
    ///
    /// # Errors
    /// [`JwtError::UnknownKey`] when no key has the token's `kid`, and [`JwtError::Algorithm`] when none
    /// of those meant is for the token's algorithm, which a fetched key set cannot change.
    pub fn candidates<'k>(
        &self,
        token: &Token<'_>,
        keys: &'k [Key],
    ) -> Result<Vec<&'k Key>, JwtError> {
        let algorithm = token.algorithm.ok_or(JwtError::Algorithm)?;
        if matches!(self.source, KeySource::Jwks { .. }) && algorithm == Algorithm::Hs256 {
            return Err(JwtError::Algorithm);
        }
        let is_meant = |key: &Key| match (&token.kid, &key.kid) {
            (Some(kid), Some(own)) => kid == own,
            (None, _) | (_, None) => true,
        };
        let mut keys: Vec<&Key> = keys.iter().filter(|key| is_meant(key)).collect();
        if keys.is_empty() {
            return Err(JwtError::UnknownKey);
        }
        keys.retain(|key| key.algorithm == algorithm);
        if keys.is_empty() {
            return Err(JwtError::Algorithm);
        }
        Ok(keys)
    }

    /// What `token` grants at `store`. *Shape*: called after one of the candidates verified its signature,
    /// and never before.
    ///
    /// A token without `exp` does not expire, as its issuer means it.
    ///
    /// # Errors
    /// The first claim that is not what the deployment asks for.
    pub fn check(
        &self,
        token: &Token<'_>,
        store: &StoreId,
        now_ms: u64,
    ) -> Result<Grant, JwtError> {
        let claims = Members::parse(&token.claims).ok_or(NO_CLAIMS)?;
        let grace_ms = self.grace_s.saturating_mul(1_000);
        let end_ms = time_ms(&claims, "exp", NO_EXP)?;
        let mut grant = Grant {
            expires_at_ms: end_ms.map(|end| end.saturating_add(grace_ms).min(TIME_MS_MAX)),
            ..Grant::default()
        };
        if grant.is_expired(now_ms) {
            return Err(JwtError::Expired);
        }
        let start_ms = time_ms(&claims, "nbf", NO_NBF)?;
        if start_ms.is_some_and(|start| now_ms.saturating_add(grace_ms) < start) {
            return Err(JwtError::NotYetValid);
        }
        if self.issuer.is_some() && claims.get("iss") != self.issuer {
            return Err(JwtError::Issuer);
        }
        // Whether a claim names one that is right.
        let names = |claim: &str, is_right: &dyn Fn(&String) -> bool| {
            let texts = claims.texts(claim);
            texts.is_some_and(|texts| texts.iter().any(is_right))
        };
        let is_ours = |audience: &String| self.audiences.contains(audience);
        if !self.audiences.is_empty() && !names("aud", &is_ours) {
            return Err(JwtError::Audience);
        }
        let opens = |id: &String| id == "*" || id == store.as_str();
        if let Some(claim) = &self.store_claim
            && !names(claim, &opens)
        {
            return Err(JwtError::Store);
        }
        if let Some(claim) = &self.access_claim {
            grant.access = match claims.get::<String>(claim).as_deref() {
                Some("read") => Access::ReadOnly,
                Some("write" | "read-write") => Access::ReadWrite,
                _ => return Err(JwtError::Access),
            };
        }
        grant.claims = Some(token.claims.trim_ascii().to_owned());
        Ok(grant)
    }
}

/// A claim that is a moment, in milliseconds since the epoch from 0 to 2^53 - 1.
fn time_ms(
    claims: &Members<'_>,
    name: &str,
    not_a_number: JwtError,
) -> Result<Option<u64>, JwtError> {
    let Some(ms) = claims.thousandths(name) else {
        return Ok(None);
    };
    let ms = ms.map_err(|_| not_a_number)?;
    Ok(Some(u64::try_from(ms).unwrap_or(0).min(TIME_MS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::super::base64::encode_url;
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const SECRET_TEXT: &str = "a secret of more than thirty-two bytes";
    const JWKS: &str = r#"{"keys":[
        {"kty":"EC","crv":"P-256","kid":"ec","x":"OEIXmkewSSKQhXgpITR6aYRMWl1SVXMbbVkXeFR3wxQ","y":"VY5LJcEIG69eNHXK_OfnP_PZdB-htCvOIzWEwgKqlbQ"},
        {"kty":"OKP","crv":"Ed25519","kid":"ed","x":"P9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW-_kMY"},
        {"kty":"OKP","crv":"Ed25519","kid":"ed2","x":"P9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW-_kMY"}
    ]}"#;
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAP9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW+/kMY=\n\
        -----END PUBLIC KEY-----";

    /// A token of these JSON texts.
    fn jwt(header: &str, claims: &str) -> String {
        let [header, claims, signature] =
            [header, claims, "signed"].map(|part| encode_url(part.as_bytes()));
        format!("{header}.{claims}.{signature}")
    }

    const ISSUER: &str = "JWT_ISSUER";
    const AUDIENCE: &str = "JWT_AUDIENCE";
    const STORE_CLAIM: &str = "JWT_STORE_CLAIM";
    const ACCESS_CLAIM: &str = "JWT_ACCESS_CLAIM";
    const GRACE_SECONDS: &str = "JWT_GRACE_SECONDS";

    fn policy_of(source: KeySource) -> JwtPolicy {
        JwtPolicy {
            source,
            issuer: None,
            audiences: Vec::new(),
            store_claim: None,
            access_claim: None,
            grace_s: 0,
        }
    }

    /// The policy of a deployment with a secret and these variables.
    fn policy(variables: &[(&str, &str)]) -> JwtPolicy {
        let mut policy = policy_of(KeySource::Fixed(vec![Key::secret(SECRET_TEXT).unwrap()]));
        for (name, value) in variables {
            let text = || Some((*value).to_owned());
            match *name {
                ISSUER => policy.issuer = text(),
                AUDIENCE => policy.audiences = value.split(' ').map(str::to_owned).collect(),
                STORE_CLAIM => policy.store_claim = text(),
                ACCESS_CLAIM => policy.access_claim = text(),
                GRACE_SECONDS => policy.grace_s = value.parse().unwrap(),
                other => panic!("{other}"),
            }
        }
        policy
    }

    /// The policy of a deployment with the address of a key set.
    fn of_set() -> JwtPolicy {
        let url = "https://id.example.com/jwks".to_owned();
        policy_of(KeySource::Jwks { url })
    }

    /// What claims grant at the store `notes` under these variables.
    fn check(variables: &[(&str, &str)], claims: &str) -> Result<Grant, JwtError> {
        let text = jwt(r#"{"alg":"HS256"}"#, claims);
        let token = Token::parse(&text).unwrap();
        policy(variables).check(&token, &StoreId::new("notes"), NOW_MS)
    }

    #[track_caller]
    fn check_table(variables: &[(&str, &str)], table: &[(&str, Result<(), JwtError>)]) {
        for (claims, expected) in table {
            let found = check(variables, claims).map(|_| ());
            assert_eq!(found, *expected, "{claims}");
        }
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = jwt(
            r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#,
            r#" {"sub":"a"} "#,
        );
        let token = Token::parse(&text).unwrap();
        let (signing_input, _) = text.rsplit_once('.').unwrap();
        assert_eq!(token.signing_input(), signing_input);
        assert_eq!(token.signature(), b"signed");
        assert_eq!(token.kid(), Some("k"));
        assert_eq!(token.algorithm, Some(Algorithm::Es256));
        assert_eq!(token.claims, r#" {"sub":"a"} "#);
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn the_example_of_rfc_7515_is_read() {
        let token = Token::parse(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQo\
             gImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        )
        .unwrap();
        assert_eq!(token.algorithm, Some(Algorithm::Hs256));
        assert_eq!(token.signature().len(), 32);
        let policy = policy(&[(ISSUER, "joe")]);
        let store = StoreId::new("s");
        let grant = policy.check(&token, &store, 1_300_819_379_999).unwrap();
        assert_eq!(grant.expires_at_ms, Some(1_300_819_380_000));
        assert_eq!(
            policy.check(&token, &store, 1_300_819_380_000),
            Err(JwtError::Expired)
        );
        let json = grant.json();
        assert!(json.contains(r#""http://example.com/is_root":true"#));
        assert_eq!(Grant::from_json(&json), Some(grant));
    }

    #[test]
    fn what_is_no_jwt_is_refused() {
        let ok = jwt(r#"{"alg":"HS256"}"#, "{}");
        assert!(Token::parse(&ok).is_ok());
        let [header, claims, signature] = *ok.split('.').collect::<Vec<_>>() else {
            panic!("{ok}");
        };
        let not_utf8 = encode_url(b"{\"\xff\":1}");
        let texts = [
            String::new(),
            "a".to_owned(),
            ".".to_owned(),
            "..".to_owned(),
            format!("{header}.{claims}"),
            format!("{ok}.{signature}"),
            format!("{ok}.{claims}.{signature}"),
            format!("{header}.{claims}.{signature}="),
            format!("{header}=.{claims}.{signature}"),
            format!("{header}.{claims}=.{signature}"),
            format!("{header}. {claims}.{signature}"),
            format!(" {ok}"),
            format!("{ok}\n"),
            format!("{header}.{claims}.c2lnbmVk/"),
            format!("{header}.{claims}.c2lnbmV"), // bits left over
            format!("{header}.{claims}.é"),
            format!(".{claims}.{signature}"),
            format!("{header}..{signature}"),
            format!("{not_utf8}.{claims}.{signature}"),
            format!("{header}.{not_utf8}.{signature}"),
            format!("Bearer {ok}"),
        ];
        for text in texts {
            let error = Token::parse(&text).unwrap_err();
            assert!(matches!(error, JwtError::Malformed(_)), "{text}: {error}");
            let has_three_parts = looks_like_jwt(&text);
            let says_so = error.to_string().contains("three parts");
            assert_eq!(says_so, !has_three_parts, "{text}: {error}");
        }
    }

    #[test]
    fn a_header_that_is_not_understood_is_refused() {
        for header in [
            "",
            "null",
            "[]",
            r#"["HS256"]"#,
            r#""HS256""#,
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"ALG":"HS256"}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"none","\u0061lg":"HS256"}"#,
            r#"{"alg":"HS256","kid":1}"#,
            r#"{"alg":"HS256","kid":null}"#,
            r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","crit":null}"#,
            r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
            r#"{"alg":"HS256"} {}"#,
            r#"{"alg":"HS256""#,
        ] {
            let error = Token::parse(&jwt(header, "{}")).unwrap_err();
            assert!(matches!(error, JwtError::Malformed(_)), "{header}: {error}");
        }
    }

    #[test]
    fn claims_that_are_no_plain_object_are_refused() {
        for claims in [
            "",
            "null",
            "1",
            "[]",
            r#""{}""#,
            r#"{"exp":1,"exp":9999999999}"#,
            r#"{"exp":9999999999,"exp":9999999999}"#,
            r#"{"exp":9999999999,"\u0065xp":1}"#,
            r#"{"sub":"a","sub":"a"}"#,
            r#"{"exp":NaN}"#,
            r#"{"exp":Infinity}"#,
            r#"{"exp":1_0}"#,
            "{}{}",
            "{",
            "eyJ9.e30.",
        ] {
            let error = Token::parse(&jwt(r#"{"alg":"HS256"}"#, claims)).unwrap_err();
            assert_eq!(error, NO_CLAIMS, "{claims}");
        }
    }

    #[test]
    fn a_token_may_have_so_many_bytes_and_no_more() {
        let ok = jwt(r#"{"alg":"HS256"}"#, "{}");
        let (signing_input, _) = ok.rsplit_once('.').unwrap();
        let of = |bytes: usize| {
            format!(
                "{signing_input}.{}",
                "A".repeat(bytes - signing_input.len() - 1)
            )
        };
        // A letter alone is no base64, so some lengths cannot be.
        assert!(Token::parse(&of(JWT_BYTES_MAX)).is_ok());
        for bytes in [JWT_BYTES_MAX + 1, 1_000_000] {
            assert_eq!(Token::parse(&of(bytes)).unwrap_err(), TOO_LONG);
        }
        let named = format!("{JWT_BYTES_MAX} bytes");
        assert!(TOO_LONG.text().contains(&named), "{TOO_LONG}");
    }

    #[test]
    fn a_jwt_is_told_from_a_static_token_by_its_two_dots() {
        for (text, expected) in [
            ("a.b.c", true),
            ("..", true),
            ("", false),
            ("insecure-token-change-me", false),
            ("a.b", false),
            ("a.b.c.d", false),
            ("a.b.c.d.e", false),
        ] {
            assert_eq!(looks_like_jwt(text), expected, "{text}");
        }
    }

    /// The kids of the candidates, `-` for a key without one.
    fn candidates(policy: &JwtPolicy, keys: &[Key], header: &str) -> Result<String, JwtError> {
        let text = jwt(header, "{}");
        let keys = policy.candidates(&Token::parse(&text).unwrap(), keys)?;
        let kids = keys.iter().map(|key| key.kid.as_deref().unwrap_or("-"));
        Ok(kids.collect::<Vec<_>>().join(","))
    }

    #[track_caller]
    fn check_candidates(
        policy: &JwtPolicy,
        keys: &[Key],
        table: &[(&str, Result<&str, JwtError>)],
    ) {
        for (header, expected) in table {
            let found = candidates(policy, keys, header);
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{header}");
        }
    }

    fn fixed(policy: &JwtPolicy) -> &[Key] {
        match &policy.source {
            KeySource::Fixed(keys) => keys,
            KeySource::Jwks { .. } => panic!("{policy:?}"),
        }
    }

    #[test]
    fn a_secret_verifies_hs256_alone() {
        let policy = policy(&[]);
        check_candidates(
            &policy,
            fixed(&policy),
            &[
                (r#"{"alg":"HS256"}"#, Ok("-")),
                (r#"{"alg":"HS256","kid":"any"}"#, Ok("-")),
                (r#"{"alg":"none"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"None"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":""}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"hs256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"HS256 "}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"HS384"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"HS512"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"RS256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"ES256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"EdDSA"}"#, Err(JwtError::Algorithm)),
            ],
        );
    }

    #[test]
    fn a_public_key_is_never_a_secret() {
        let policy = policy_of(KeySource::Fixed(vec![Key::public(ED25519_PEM).unwrap()]));
        check_candidates(
            &policy,
            fixed(&policy),
            &[
                (r#"{"alg":"EdDSA"}"#, Ok("-")),
                (r#"{"alg":"Ed25519"}"#, Ok("-")),
                (r#"{"alg":"HS256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"none"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"RS256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"Ed448"}"#, Err(JwtError::Algorithm)),
            ],
        );
    }

    #[test]
    fn a_key_of_a_set_is_found_by_its_kid_and_algorithm() {
        let policy = of_set();
        let keys = Key::jwks(JWKS).unwrap();
        check_candidates(
            &policy,
            &keys,
            &[
                (r#"{"alg":"ES256","kid":"ec"}"#, Ok("ec")),
                (r#"{"alg":"EdDSA","kid":"ed2"}"#, Ok("ed2")),
                (r#"{"alg":"ES256"}"#, Ok("ec")),
                (r#"{"alg":"EdDSA"}"#, Ok("ed,ed2")),
                (r#"{"alg":"RS256"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"RS256","kid":"ec"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"ES256","kid":"ed"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"ES256","kid":"new"}"#, Err(JwtError::UnknownKey)),
                (r#"{"alg":"RS256","kid":""}"#, Err(JwtError::UnknownKey)),
                (r#"{"alg":"ES256","kid":"EC"}"#, Err(JwtError::UnknownKey)),
                // Fetching the set again cannot help these.
                (r#"{"alg":"HS256","kid":"new"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"HS256","kid":"ec"}"#, Err(JwtError::Algorithm)),
                (r#"{"alg":"none","kid":"new"}"#, Err(JwtError::Algorithm)),
            ],
        );
        let header = r#"{"alg":"ES256"}"#;
        let none = candidates(&policy, &[], header);
        assert_eq!(none, Err(JwtError::UnknownKey));
        // Even if a secret came to be among them.
        let secret = [Key::secret(SECRET_TEXT).unwrap()];
        let confused = candidates(&policy, &secret, r#"{"alg":"HS256"}"#);
        assert_eq!(confused, Err(JwtError::Algorithm));
    }

    #[test]
    fn a_key_without_kid_is_tried_beside_those_that_match() {
        let policy = of_set();
        let mut keys = Key::jwks(JWKS).unwrap();
        keys[1].kid = None;
        check_candidates(
            &policy,
            &keys,
            &[
                (r#"{"alg":"EdDSA","kid":"ed2"}"#, Ok("-,ed2")),
                (r#"{"alg":"EdDSA","kid":"new"}"#, Ok("-")),
                (r#"{"alg":"ES256","kid":"ec"}"#, Ok("ec")),
            ],
        );
    }

    #[test]
    fn a_token_is_good_until_its_exp() {
        let expired = Err(JwtError::Expired);
        let not_a_number = Err(NO_EXP);
        check_table(
            &[],
            &[
                ("{}", Ok(())),
                (r#"{"exp":1700000001}"#, Ok(())),
                (r#"{"exp":1700000000.001}"#, Ok(())),
                (r#"{"exp":1.700000001e9}"#, Ok(())),
                (r#"{"exp":99999999999999999999999}"#, Ok(())),
                (r#"{"exp":1e300}"#, Ok(())),
                (r#"{"exp":1700000000}"#, expired),
                (r#"{"exp":1699999999.999}"#, expired),
                (r#"{"exp":0}"#, expired),
                (r#"{"exp":-0}"#, expired),
                (r#"{"exp":-1}"#, expired),
                (r#"{"exp":-1e300}"#, expired),
                (r#"{"exp":1e-300}"#, expired),
                (r#"{"exp":1e400}"#, Ok(())),
                (r#"{"exp":-1e400}"#, expired),
                (r#"{"exp":"1700000001"}"#, not_a_number),
                (r#"{"exp":null}"#, not_a_number),
                (r#"{"exp":true}"#, not_a_number),
                (r#"{"exp":[1700000001]}"#, not_a_number),
                (r#"{"exp":{}}"#, not_a_number),
            ],
        );
    }

    #[test]
    fn the_end_of_a_grant_is_exp_and_the_grace_after_it() {
        let grace = [(GRACE_SECONDS, "60")];
        for (claims, variables, expected) in [
            ("{}", &[][..], Ok(None)),
            ("{}", &grace[..], Ok(None)),
            (r#"{"exp":1700000000.5}"#, &[][..], Ok(Some(NOW_MS + 500))),
            (
                r#"{"exp":1699999999}"#,
                &grace[..],
                Ok(Some(NOW_MS + 59_000)),
            ),
            (
                r#"{"exp":1699999940.001}"#,
                &grace[..],
                Ok(Some(NOW_MS + 1)),
            ),
            (r#"{"exp":1699999940}"#, &grace[..], Err(JwtError::Expired)),
            (r#"{"exp":1e300}"#, &grace[..], Ok(Some(TIME_MS_MAX))),
        ] {
            let end = check(variables, claims).map(|grant| grant.expires_at_ms);
            assert_eq!(end, expected, "{claims}");
        }
    }

    #[test]
    fn a_token_is_not_good_before_its_nbf_and_the_grace_before_it() {
        let too_early = Err(JwtError::NotYetValid);
        let not_a_number = Err(NO_NBF);
        check_table(
            &[],
            &[
                (r#"{"nbf":1700000000}"#, Ok(())),
                (r#"{"nbf":1699999999.999}"#, Ok(())),
                (r#"{"nbf":-1e300}"#, Ok(())),
                (r#"{"nbf":1700000000.001}"#, too_early),
                (r#"{"nbf":1700000001,"exp":1700000002}"#, too_early),
                (r#"{"nbf":1e300}"#, too_early),
                (r#"{"nbf":1e400}"#, too_early),
                (r#"{"nbf":"0"}"#, not_a_number),
                (r#"{"nbf":null}"#, not_a_number),
            ],
        );
        check_table(
            &[(GRACE_SECONDS, "60")],
            &[
                (r#"{"nbf":1700000001}"#, Ok(())),
                (r#"{"nbf":1700000060}"#, Ok(())),
                (r#"{"nbf":1700000060.001}"#, too_early),
                (r#"{"nbf":1e300}"#, too_early),
                (r#"{"nbf":1700000060,"exp":1699999941}"#, Ok(())),
                (
                    r#"{"nbf":1700000060,"exp":1699999940}"#,
                    Err(JwtError::Expired),
                ),
            ],
        );
        // `iat` says when and not whether.
        check_table(&[], &[(r#"{"iat":"tomorrow"}"#, Ok(()))]);
    }

    #[test]
    fn the_issuer_is_the_one_that_is_expected() {
        let other = Err(JwtError::Issuer);
        check_table(
            &[(ISSUER, "https://id.example.com/")],
            &[
                (r#"{"iss":"https://id.example.com/"}"#, Ok(())),
                (r#"{"iss":"https:\/\/id.example.com\/"}"#, Ok(())),
                ("{}", other),
                (r#"{"iss":"https://id.example.com"}"#, other),
                (r#"{"iss":"https://ID.example.com/"}"#, other),
                (r#"{"iss":" https://id.example.com/ "}"#, other),
                (r#"{"iss":["https://id.example.com/"]}"#, other),
                (r#"{"iss":null}"#, other),
                (r#"{"iss":""}"#, other),
            ],
        );
        let any = [r#"{"iss":7}"#, r#"{"iss":"other"}"#, "{}"];
        check_table(&[], &any.map(|claims| (claims, Ok(()))));
    }

    #[test]
    fn one_audience_of_those_expected_is_enough() {
        let other = Err(JwtError::Audience);
        check_table(
            &[(AUDIENCE, "notes tasks")],
            &[
                (r#"{"aud":"notes"}"#, Ok(())),
                (r#"{"aud":"tasks"}"#, Ok(())),
                (r#"{"aud":["mail","tasks"]}"#, Ok(())),
                ("{}", other),
                (r#"{"aud":"mail"}"#, other),
                (r#"{"aud":"notes, tasks"}"#, other),
                (r#"{"aud":""}"#, other),
                (r#"{"aud":"*"}"#, other),
                (r#"{"aud":[]}"#, other),
                (r#"{"aud":["mail"]}"#, other),
                (r#"{"aud":["notes",1]}"#, other),
                (r#"{"aud":[["notes"]]}"#, other),
                (r#"{"aud":{"notes":true}}"#, other),
                (r#"{"aud":null}"#, other),
            ],
        );
        check_table(&[], &[(r#"{"aud":"mail"}"#, Ok(()))]);
    }

    #[test]
    fn the_store_is_one_that_the_claim_names() {
        let other = Err(JwtError::Store);
        for name in ["stores", "https://example.com/stores", "app.stores"] {
            for (value, expected) in [
                (r#""notes""#, Ok(())),
                (r#"["tasks","notes"]"#, Ok(())),
                (r#""*""#, Ok(())),
                (r#"["tasks","*"]"#, Ok(())),
                (r#""tasks""#, other),
                (r#""Notes""#, other),
                (r#""notes*""#, other),
                (r#""note*""#, other),
                (r#""**""#, other),
                (r#""notes,tasks""#, other),
                (r#""""#, other),
                ("[]", other),
                (r#"["tasks"]"#, other),
                (r#"["notes",7]"#, other),
                (r#"[["notes"]]"#, other),
                (r#"{"notes":true}"#, other),
                ("null", other),
                ("true", other),
                ("7", other),
            ] {
                let claims = format!(r#"{{"{name}":{value}}}"#);
                check_table(&[(STORE_CLAIM, name)], &[(&claims, expected)]);
            }
            check_table(&[(STORE_CLAIM, name)], &[("{}", other)]);
        }
        // A dot in the name is no path.
        let nested = (r#"{"app":{"stores":"notes"}}"#, other);
        check_table(&[(STORE_CLAIM, "app.stores")], &[nested]);
        check_table(&[], &[(r#"{"stores":"tasks"}"#, Ok(()))]);
    }

    #[test]
    fn a_store_with_an_empty_id_is_named_like_any_other() {
        let text = jwt(r#"{"alg":"HS256"}"#, r#"{"stores":""}"#);
        let token = Token::parse(&text).unwrap();
        let policy = policy(&[(STORE_CLAIM, "stores")]);
        assert!(policy.check(&token, &StoreId::new(""), NOW_MS).is_ok());
        let other = policy.check(&token, &StoreId::new("a"), NOW_MS);
        assert_eq!(other, Err(JwtError::Store));
    }

    #[test]
    fn access_is_what_the_claim_says_and_nothing_else() {
        for (value, expected) in [
            (r#""read""#, Ok(Access::ReadOnly)),
            (r#""write""#, Ok(Access::ReadWrite)),
            (r#""read-write""#, Ok(Access::ReadWrite)),
            (r#""Read""#, Err(JwtError::Access)),
            (r#""write ""#, Err(JwtError::Access)),
            (r#""admin""#, Err(JwtError::Access)),
            (r#""*""#, Err(JwtError::Access)),
            (r#""""#, Err(JwtError::Access)),
            (r#"["write"]"#, Err(JwtError::Access)),
            ("true", Err(JwtError::Access)),
            ("null", Err(JwtError::Access)),
        ] {
            let claims = format!(r#"{{"role":{value}}}"#);
            let access = |variables| check(variables, &claims).map(|grant| grant.access);
            assert_eq!(access(&[(ACCESS_CLAIM, "role")]), expected, "{value}");
            assert_eq!(access(&[]), Ok(Access::ReadWrite), "{value}");
        }
        check_table(&[(ACCESS_CLAIM, "role")], &[("{}", Err(JwtError::Access))]);
    }

    #[test]
    fn a_grant_holds_the_claims_as_they_were_signed() {
        let claims = "\n{ \"sub\" : \"a\", \"n\": 1.50, \"exp\": 1700000001 }\n";
        let grant = check(&[], claims).unwrap();
        assert_eq!(grant.claims.as_deref(), Some(claims.trim()));
        assert_eq!(grant.expires_at_ms, Some(NOW_MS + 1_000));
        assert_eq!(Grant::from_json(&grant.json()), {
            let claims = Some(claims.trim().to_owned());
            Some(Grant { claims, ..grant })
        });
    }

    #[test]
    fn a_text_for_the_client_is_one_sentence_that_holds_nothing_of_the_token() {
        let claims = r#"{"iss":"hush","aud":"hush","stores":"hush","role":"hush","exp":"hush"}"#;
        let variables = [
            &[][..],
            &[(ISSUER, "own")],
            &[(AUDIENCE, "own")],
            &[(STORE_CLAIM, "stores")],
            &[(ACCESS_CLAIM, "role")],
        ];
        let numbered = claims.replace(r#","exp":"hush""#, "");
        let mut errors = vec![check(&[], claims).unwrap_err()];
        for variables in &variables[1..] {
            errors.push(check(variables, &numbered).unwrap_err());
        }
        errors.extend([TOO_LONG, JwtError::Signature, JwtError::UnknownKey]);
        errors.extend([JwtError::Algorithm, JwtError::NotYetValid, NO_CLAIMS]);
        for error in errors {
            let text = error.to_string();
            assert!(text.starts_with("Invalid auth token: "), "{text}");
            assert!(!text.contains("hush") && !text.ends_with('.'), "{text}");
        }
    }
}
