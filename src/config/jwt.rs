//! The variables `JWT_*`: what a deployment asks of JSON Web Tokens.

use super::variable::{ConfigError, HIDDEN, Variables};
use crate::auth::{JwtPolicy, KeyError, KeySource};
use crate::limits::JWT_GRACE_SECONDS_MAX;

const SECRET: &str = "JWT_SECRET";
const PUBLIC_KEY: &str = "JWT_PUBLIC_KEY";
const JWKS_URL: &str = "JWT_JWKS_URL";
const ISSUER: &str = "JWT_ISSUER";
const AUDIENCE: &str = "JWT_AUDIENCE";
const STORE_CLAIM: &str = "JWT_STORE_CLAIM";
const ACCESS_CLAIM: &str = "JWT_ACCESS_CLAIM";
const GRACE_SECONDS: &str = "JWT_GRACE_SECONDS";

/// What is asked of tokens; `None` when none of the variables is set.
///
/// # Errors
/// The first variable that does not parse; more than one source of keys; others without a source of
/// keys. No error holds a key or a secret.
pub(super) fn parse(variables: Variables<'_>) -> Result<Option<JwtPolicy>, ConfigError> {
    let Some(source) = source(variables)? else {
        // What is asked of tokens must not be forgotten with the keys.
        for name in [ISSUER, AUDIENCE, STORE_CLAIM, ACCESS_CLAIM, GRACE_SECONDS] {
            if let Some(value) = variables.trimmed(name) {
                let expected = "accompanied by JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL";
                return Err(ConfigError::new(name, &value, expected));
            }
        }
        return Ok(None);
    };
    let audiences = variables.parsed(AUDIENCE, "a comma-separated list of audiences", |list| {
        let audiences = list.split(',').map(str::trim);
        let audiences = audiences.filter(|audience| !audience.is_empty());
        let audiences: Vec<String> = audiences.map(str::to_owned).collect();
        (!audiences.is_empty()).then_some(audiences)
    })?;
    let expected = format!("an integer from 0 to {JWT_GRACE_SECONDS_MAX}");
    let grace_s = variables.parsed(GRACE_SECONDS, &expected, |seconds| {
        let seconds = seconds.parse().ok();
        seconds.filter(|seconds| *seconds <= JWT_GRACE_SECONDS_MAX)
    })?;
    Ok(Some(JwtPolicy {
        source,
        issuer: variables.trimmed(ISSUER),
        audiences: audiences.unwrap_or_default(),
        store_claim: variables.trimmed(STORE_CLAIM),
        access_claim: variables.trimmed(ACCESS_CLAIM),
        grace_s: grace_s.unwrap_or(0),
    }))
}

/// The error about `JWT_PUBLIC_KEY`, of which the host says what it is instead of a public key.
#[must_use]
pub fn no_public_key(what: String) -> ConfigError {
    ConfigError::new(PUBLIC_KEY, HIDDEN, KeyError::NotPublic(what).to_string())
}

fn source(variables: Variables<'_>) -> Result<Option<KeySource>, ConfigError> {
    let [secret, public, url] = [SECRET, PUBLIC_KEY, JWKS_URL].map(|name| variables.get(name));
    let fixed = |name, source: Result<KeySource, KeyError>| {
        source.map_err(|error| ConfigError::new(name, HIDDEN, error.to_string()))
    };
    let source = match (&secret, &public, &url) {
        (None, None, None) => return Ok(None),
        (Some(secret), None, None) => fixed(SECRET, KeySource::secret(secret))?,
        (None, Some(key), None) => fixed(PUBLIC_KEY, KeySource::public(key))?,
        (None, None, Some(url)) => KeySource::Jwks {
            url: jwks_url(url.trim())?,
        },
        (secret, _, _) => {
            let name = if secret.is_some() { SECRET } else { PUBLIC_KEY };
            let expected =
                "the only one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL that is set";
            return Err(ConfigError::new(name, HIDDEN, expected));
        }
    };
    Ok(Some(source))
}

/// The address of a key set. It is never reported: what stands there by mistake may be a secret.
fn jwks_url(url: &str) -> Result<String, ConfigError> {
    let is_right = url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && match (host(url, "https://"), host(url, "http://")) {
            (Some(host), _) => !host.is_empty(),
            (None, host) => matches!(host, Some("localhost" | "127.0.0.1" | "[::1]")),
        };
    if is_right {
        Ok(url.to_owned())
    } else {
        let expected = "an https:// address, or an http:// address of localhost, without a user";
        Err(ConfigError::new(JWKS_URL, HIDDEN, expected))
    }
}

/// The host of a URL that starts with `scheme`, its port left off. `None` with a user or a password as
/// well, as the platform fetches no such address.
fn host<'u>(url: &'u str, scheme: &str) -> Option<&'u str> {
    let rest = url.strip_prefix(scheme)?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => authority,
    };
    (!authority.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const SECRET_TEXT: &str = "a secret of more than thirty-two bytes";
    const ED25519_PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAP9NnZrGRzzJx9HCCrOcpdsviCFZhopHAYbXYvW+/kMY=\n\
        -----END PUBLIC KEY-----";

    fn parse_policy(variables: &[(&str, &str)]) -> Result<Option<JwtPolicy>, ConfigError> {
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        parse(Variables::new(&lookup, &RefCell::default()))
    }

    #[test]
    fn without_variables_there_is_no_policy() {
        assert!(parse_policy(&[]).unwrap().is_none());
        assert!(
            parse_policy(&[(SECRET, ""), (ISSUER, " ")])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn variables_are_read() {
        let policy = parse_policy(&[
            (JWKS_URL, " https://id.example.com/.well-known/jwks.json\n"),
            (ISSUER, "https://id.example.com/"),
            (AUDIENCE, "a, b"),
            (STORE_CLAIM, "stores"),
            (ACCESS_CLAIM, "role"),
            (GRACE_SECONDS, " 86400 "),
        ])
        .unwrap()
        .unwrap();
        match &policy.source {
            KeySource::Jwks { url } => {
                assert_eq!(url, "https://id.example.com/.well-known/jwks.json");
            }
            _ => panic!("{policy:?}"),
        }
        assert_eq!(policy.issuer.as_deref(), Some("https://id.example.com/"));
        assert_eq!(policy.audiences, ["a", "b"]);
        assert_eq!(policy.store_claim.as_deref(), Some("stores"));
        assert_eq!(policy.access_claim.as_deref(), Some("role"));
        assert_eq!(policy.grace_s, 86_400);

        let policy = parse_policy(&[(SECRET, SECRET_TEXT)]).unwrap().unwrap();
        assert!(matches!(&policy.source, KeySource::Secret(secret) if secret == SECRET_TEXT));
        assert_eq!(
            (policy.issuer, policy.audiences.len(), policy.grace_s),
            (None, 0, 0)
        );
    }

    #[test]
    fn there_is_one_source_of_keys() {
        let all = [
            (SECRET, SECRET_TEXT),
            (PUBLIC_KEY, ED25519_PEM),
            (JWKS_URL, "https://id.example.com/jwks"),
        ];
        let [secret, key, url] = all;
        for variables in [&[secret, key][..], &[key, url], &[secret, url], &all] {
            let error = parse_policy(variables).unwrap_err();
            assert_eq!((error.name, &*error.value), (variables[0].0, HIDDEN));
            for name in [SECRET, PUBLIC_KEY, JWKS_URL] {
                assert!(error.expected.contains(name), "{error}");
            }
        }
        for source in all {
            assert!(parse_policy(&[source]).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_asked_of_tokens_needs_a_source_of_keys() {
        for (name, value) in [
            (ISSUER, "https://id.example.com/"),
            (AUDIENCE, "a"),
            (STORE_CLAIM, "stores"),
            (ACCESS_CLAIM, "role"),
            (GRACE_SECONDS, "0"),
        ] {
            let error = parse_policy(&[(name, value)]).unwrap_err();
            assert_eq!((error.name, &*error.value), (name, value));
            assert!(error.expected.contains(JWKS_URL), "{error}");
            assert!(parse_policy(&[(name, value), (SECRET, SECRET_TEXT)]).is_ok());
        }
    }

    #[test]
    fn each_variable_that_does_not_parse_is_named() {
        for (name, value) in [
            (GRACE_SECONDS, "86401"),
            (GRACE_SECONDS, "-1"),
            (GRACE_SECONDS, "1.5"),
            (GRACE_SECONDS, "an hour"),
            (AUDIENCE, ", ,"),
        ] {
            let error = parse_policy(&[(SECRET, SECRET_TEXT), (name, value)]).unwrap_err();
            assert_eq!((error.name, &*error.value), (name, value));
        }
    }

    #[test]
    fn no_error_and_no_debug_text_holds_a_secret() {
        let hush = "hush-hush-hush-hush";
        for variables in [
            &[(SECRET, hush)][..],
            &[(PUBLIC_KEY, "{hush")],
            &[(JWKS_URL, hush)],
            &[(JWKS_URL, "https://user:hush@id.example.com/jwks")],
            &[(SECRET, hush), (JWKS_URL, hush)],
        ] {
            let error = parse_policy(variables).unwrap_err();
            assert_eq!(error.name, variables[0].0);
            let texts = format!("{error} {error:?}");
            assert!(!texts.contains("hush") && texts.contains(HIDDEN), "{texts}");
        }
        let long = [(SECRET, "hush-hush-hush-hush-hush-hush-hush-hush")];
        let policy = format!("{:?}", parse_policy(&long).unwrap().unwrap());
        let bytes = format!("{:?}", &b"hush"[..]);
        assert!(!policy.contains("hush") && !policy.contains(bytes.trim_matches(['[', ']'])));
    }

    #[test]
    fn a_key_set_is_fetched_over_https_or_from_this_machine() {
        for url in [
            "https://id.example.com/jwks",
            "https://id.example.com",
            "https://id.example.com:8443/jwks?a=@b#c",
            "http://localhost/jwks",
            "http://localhost:8787/jwks",
            "http://127.0.0.1:8787",
            "http://[::1]:8787/jwks",
            "http://[::1]/jwks",
        ] {
            assert!(parse_policy(&[(JWKS_URL, url)]).is_ok(), "{url}");
        }
        for url in [
            "http://id.example.com/jwks",
            "http://localhost.example.com/jwks",
            "http://localhost@example.com/jwks",
            "http://localhost:80@example.com/jwks",
            "http://example.com\\@localhost/jwks",
            "http://127.0.0.1.example.com/jwks",
            "http://127.0.0.2/jwks",
            "http://[::2]/jwks",
            "http://localhost:port/jwks",
            "http:///jwks",
            "https://",
            "https:///jwks",
            "https://?a",
            "https://:443/jwks",
            "https://user@id.example.com/jwks",
            "https:/id.example.com/jwks",
            "https://id.exam ple.com/jwks",
            "https://id.example.com\\jwks",
            "http://localhost\\jwks",
            "https://id.example.com/\njwks",
            "https://id.exämple.com/jwks",
            "ftp://id.example.com/jwks",
            "file:///etc/jwks",
            "data:application/json,{}",
            "id.example.com/jwks",
            "//id.example.com/jwks",
            r#"{"keys":[]}"#,
        ] {
            let error = parse_policy(&[(JWKS_URL, url)]).unwrap_err();
            assert_eq!((error.name, &*error.value), (JWKS_URL, HIDDEN), "{url}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_hidden_and_said_what_it_is() {
        for (name, value, words) in [
            (SECRET, "a secret that is one byte short", "32 bytes"),
            (
                PUBLIC_KEY,
                r#"{"kty":"oct","k":"c2VjcmV0""#,
                "no JSON object",
            ),
        ] {
            let error = parse_policy(&[(name, value)]).unwrap_err();
            assert_eq!((error.name, &*error.value), (name, HIDDEN));
            assert!(error.expected.contains(words), "{error}");
        }
        let error = no_public_key("a fish".to_owned());
        assert_eq!((error.name, &*error.value), (PUBLIC_KEY, HIDDEN));
        assert!(error.expected.ends_with(", and it is a fish"), "{error}");
    }
}
