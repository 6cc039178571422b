//! JSON Web Tokens: what a deployment asks of them, and what one of them grants.
//!
//! Owns everything around the signature, which the host verifies: [`Token::parse`], then, once a key that
//! the token may mean has verified it, [`JwtPolicy::check`] for the claims. Refuses to know where a token came from,
//! and how keys are read and fetched. An error never holds what a token says. *Source*: RFC 7515 (compact
//! serialisation), RFC 7519 (claims), RFC 8725 (what to refuse).

use std::fmt;

use super::grant::{Access, Grant};
use super::keys::KeySource;
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

/// A JSON Web Token as it was sent: taken apart, not verified. Never printed.
pub struct Token<'a> {
    text: &'a str,
    algorithm: String,
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
    /// Takes a token apart. Nothing in it can be trusted yet. `decode` gives the bytes of a text in base64url, and `None`
    /// unless it is the only text of these bytes.
    ///
    /// # Errors
    /// It is too long or malformed. A header with `crit` is, as no extension is understood, and so is
    /// an object in which a name stands twice.
    pub fn parse(
        text: &'a str,
        decode: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, JwtError> {
        if text.len() > JWT_BYTES_MAX {
            return Err(TOO_LONG);
        }
        if !looks_like_jwt(text) {
            return Err(NO_PARTS);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(NO_PARTS)?;
        let (header, claims) = signed.split_once('.').ok_or(NO_PARTS)?;
        let bytes_of = |part| decode(part).ok_or(NO_BASE64);
        let text_of = |part, not_utf8| String::from_utf8(bytes_of(part)?).map_err(|_| not_utf8);

        let header = text_of(header, NO_HEADER)?;
        let header = Members::parse(&header).ok_or(NO_HEADER)?;
        if header.has("crit") {
            return Err(CRITICAL);
        }
        let algorithm = header.get::<String>("alg").ok_or(NO_ALGORITHM)?;
        let kid = header.get("kid");
        if kid.is_none() && header.has("kid") {
            return Err(NO_KID);
        }

        let claims = text_of(claims, NO_CLAIMS)?;
        if Members::parse(&claims).is_none() {
            return Err(NO_CLAIMS);
        }
        bytes_of(signature)?;
        Ok(Self {
            text,
            algorithm,
            kid,
            claims,
        })
    }

    /// The token as it was sent.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The algorithm that signed it, as it says.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The name of the key that signed it, as it says.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl JwtPolicy {
    /// What `token` grants at `store`. *Shape*: called after a key has verified its signature,
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
    if !claims.has(name) {
        return Ok(None);
    }
    let ms = claims.thousandths(name).ok_or(not_a_number)?;
    Ok(Some(u64::try_from(ms).unwrap_or(0).min(TIME_MS_MAX)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const SECRET_TEXT: &str = "a secret of more than thirty-two bytes";

    /// The bytes of base64url without padding.
    fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text).ok()
    }

    /// A token of these JSON texts.
    fn jwt(header: &str, claims: &str) -> String {
        let [header, claims, signature] =
            [header, claims, "signed"].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.{signature}")
    }

    const ISSUER: &str = "JWT_ISSUER";
    const AUDIENCE: &str = "JWT_AUDIENCE";
    const STORE_CLAIM: &str = "JWT_STORE_CLAIM";
    const ACCESS_CLAIM: &str = "JWT_ACCESS_CLAIM";
    const GRACE_SECONDS: &str = "JWT_GRACE_SECONDS";

    /// The policy of a deployment with a secret and these variables.
    fn policy(variables: &[(&str, &str)]) -> JwtPolicy {
        let mut policy = JwtPolicy {
            source: KeySource::secret(SECRET_TEXT).unwrap(),
            issuer: None,
            audiences: Vec::new(),
            store_claim: None,
            access_claim: None,
            grace_s: 0,
        };
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

    /// What claims grant at the store `notes` under these variables.
    fn check(variables: &[(&str, &str)], claims: &str) -> Result<Grant, JwtError> {
        let text = jwt(r#"{"alg":"HS256"}"#, claims);
        let token = Token::parse(&text, decode).unwrap();
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
        let token = Token::parse(&text, decode).unwrap();
        assert_eq!(token.text(), text);
        assert_eq!((token.algorithm(), token.kid()), ("ES256", Some("k")));
        assert_eq!(token.claims, r#" {"sub":"a"} "#);
        assert_eq!(format!("{token:?}"), "Token");
    }

    #[test]
    fn the_example_of_rfc_7515_is_read() {
        let token = Token::parse(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQo\
             gImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            decode,
        )
        .unwrap();
        assert_eq!(token.algorithm(), "HS256");
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
        assert!(Token::parse(&ok, decode).is_ok());
        let [header, claims, signature] = *ok.split('.').collect::<Vec<_>>() else {
            panic!("{ok}");
        };
        let not_utf8 = URL_SAFE_NO_PAD.encode(b"{\"\xff\":1}");
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
            let error = Token::parse(&text, decode).unwrap_err();
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
            let error = Token::parse(&jwt(header, "{}"), decode).unwrap_err();
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
            let error = Token::parse(&jwt(r#"{"alg":"HS256"}"#, claims), decode).unwrap_err();
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
        assert!(Token::parse(&of(JWT_BYTES_MAX), decode).is_ok());
        for bytes in [JWT_BYTES_MAX + 1, 1_000_000] {
            assert_eq!(Token::parse(&of(bytes), decode).unwrap_err(), TOO_LONG);
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
        let token = Token::parse(&text, decode).unwrap();
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
