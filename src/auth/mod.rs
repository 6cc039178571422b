//! Who may connect to a store. Pure: facts of the request in, a decision out. Fails closed.

mod cookie;
mod grant;
mod jwt;
mod key_set;
mod keys;
mod members;
mod ticket;
mod token;

use std::borrow::Cow;

use serde::Deserialize;
use thiserror::Error;

use crate::json;

pub use cookie::CookieName;
pub use grant::{Access, Grant};
pub use jwt::{JwtError, JwtPolicy, Token, looks_like_jwt};
pub use key_set::KeySet;
pub use keys::{JwksError, KeyError, KeySource, keys_of_set};
pub use ticket::{LIVE_PROTOCOL, Ticket, TicketError};
pub use token::{AdminSecret, Tokens};

/// What a deployment asks of those who connect.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `AUTH_TOKEN`: one of these is enough.
    pub tokens: Tokens,
    /// `JWT_*`: so is a JSON Web Token that is right.
    pub jwt: Option<JwtPolicy>,
    /// `ALLOW_ANONYMOUS`: whether no token is needed.
    pub allow_anonymous: bool,
    /// `COOKIE_NAME`: where a token is looked for that is nowhere else.
    pub cookie: CookieName,
}

/// What is known of a request when it is authorised.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The sync payload as JSON text, if the client sent one.
    pub payload: Option<&'a str>,
    /// Header `Authorization`.
    pub authorization: Option<&'a str>,
    /// Header `Cookie`, if the page that sends it may.
    pub cookie: Option<&'a str>,
    /// The request has come to a development server: on this machine, or where the deployment says.
    pub is_development: bool,
}

/// A request that is let in, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let in.
    Granted,
    /// Let in if this JSON Web Token is right, which [`JwtPolicy`] tells.
    Verify(String),
}

/// The token in a header `Authorization: Bearer <token>`.
#[must_use]
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl<'a> Facts<'a> {
    /// The token: of the payload, else of the header, else of the cookie. The first that is there
    /// counts, right or wrong.
    fn token(&self, cookie: &CookieName) -> Option<Cow<'a, str>> {
        let payload = self.payload.and_then(token_in).map(Cow::Owned);
        payload
            .or_else(|| self.authorization.and_then(bearer).map(Cow::Borrowed))
            .or_else(|| {
                self.cookie
                    .and_then(|all| cookie.find(all))
                    .map(Cow::Borrowed)
            })
    }
}

/// Why a request is not let in.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denied {
    /// The deployment does not say who may connect. *Errors*: 503.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// The token is missing or wrong. *Errors*: 400, as the reference answers.
    #[error("{0}")]
    Refused(&'static str),
}

/// The token in the payload of LiveStore's templates; other keys are the app's own.
fn token_in(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        auth_token: String,
    }
    let payload = json::object(payload).ok();
    payload.map(|Payload { auth_token }| auth_token)
}

impl Policy {
    /// Whether the deployment says anything about who may connect.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.allow_anonymous || !self.tokens.is_empty() || self.jwt.is_some()
    }

    /// Whether it matters where a request has come in ([`Facts::is_development`]).
    #[must_use]
    pub fn asks_for_development(&self) -> bool {
        !self.allow_anonymous && self.tokens.has_template()
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn decide(&self, facts: Facts<'_>) -> Result<Decision, Denied> {
        if self.allow_anonymous {
            return Ok(Decision::Granted);
        }
        if !self.is_configured() {
            return Err(Denied::NotConfigured(
                "Nobody can connect yet: set the secret AUTH_TOKEN (or JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL, \
                 or the variable ALLOW_ANONYMOUS to 'true').",
            ));
        }
        let only_template = self.jwt.is_none() && self.tokens.only_template();
        if !facts.is_development && only_template {
            return Err(Denied::NotConfigured(
                "Nobody can connect yet: AUTH_TOKEN is the token of the templates, which is accepted on localhost only, \
                 by `wrangler dev` and Vite's plugin; to develop by another host, name it in DEV_HOSTS in .dev.vars, \
                 else set the secret AUTH_TOKEN to one of your own.",
            ));
        }
        let Some(token) = facts.token(&self.cookie) else {
            return Err(Denied::Refused(
                "No auth token: the sync payload must be {\"authToken\":\"...\"}",
            ));
        };
        if self.tokens.accept(&token, facts.is_development) {
            return Ok(Decision::Granted);
        }
        match &self.jwt {
            Some(_) => Ok(Decision::Verify(token.into_owned())),
            None => Err(Denied::Refused("Invalid auth token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "insecure-token-change-me";

    fn decide(
        tokens: &str,
        payload: Option<&str>,
        is_development: bool,
    ) -> Result<Decision, Denied> {
        let policy = Policy {
            tokens: Tokens::parse(tokens),
            ..Policy::default()
        };
        policy.decide(Facts {
            payload,
            authorization: None,
            cookie: None,
            is_development,
        })
    }

    fn refused(result: &Result<Decision, Denied>) -> bool {
        matches!(result, Err(Denied::Refused(_)))
    }

    #[test]
    fn without_a_policy_nobody_connects() {
        for is_development in [true, false] {
            let error = decide("", Some(r#"{"authToken":""}"#), is_development).unwrap_err();
            assert!(error.to_string().contains("AUTH_TOKEN"), "{error}");
            assert!(matches!(error, Denied::NotConfigured(_)));
        }
    }

    #[test]
    fn one_of_the_tokens_is_enough_and_anything_else_is_refused() {
        for token in ["a", "bb"] {
            let payload = format!(r#"{{"authToken":"{token}","more":[1]}}"#);
            assert_eq!(
                decide("a, bb", Some(&payload), false),
                Ok(Decision::Granted)
            );
        }
        let wrong = [
            r#"{"authToken":"b"}"#,
            r#"{"authToken":"a,bb"}"#,
            r#"{"authToken":null}"#,
            r#"{"authToken":["a"]}"#,
            r#"{"authToken":"b","authToken":"a"}"#,
            r#"["a"]"#,
            "{}",
            "null",
            "\"a\"",
            "not json",
        ];
        for payload in wrong {
            assert!(refused(&decide("a, bb", Some(payload), false)), "{payload}");
        }
        assert!(refused(&decide("a", None, false)));
    }

    #[test]
    fn the_token_of_the_templates_is_for_localhost_only() {
        let payload = format!(r#"{{"authToken":"{TEMPLATE}"}}"#);
        assert_eq!(
            decide(TEMPLATE, Some(&payload), true),
            Ok(Decision::Granted)
        );
        assert!(matches!(
            decide(TEMPLATE, Some(&payload), false),
            Err(Denied::NotConfigured(_))
        ));
        let both = format!("{TEMPLATE},real");
        assert!(refused(&decide(&both, Some(&payload), false)));
        assert_eq!(
            decide(&both, Some(r#"{"authToken":"real"}"#), false),
            Ok(Decision::Granted)
        );
    }

    #[test]
    fn anonymous_needs_no_token() {
        let policy = Policy {
            allow_anonymous: true,
            ..Policy::default()
        };
        assert_eq!(
            policy.decide(Facts {
                payload: None,
                authorization: None,
                cookie: None,
                is_development: false
            }),
            Ok(Decision::Granted)
        );
    }

    #[test]
    fn the_cookie_has_the_name_that_the_deployment_says() {
        let policy = Policy {
            tokens: Tokens::parse("right"),
            cookie: CookieName::new("my-app.session").unwrap(),
            ..Policy::default()
        };
        for (cookie, is_right) in [
            ("my-app.session=right", true),
            ("__Secure-my-app.session=right", true),
            ("my-app.session=right; __Secure-my-app.session=wrong", false),
            ("authToken=right", false),
        ] {
            let facts = Facts {
                payload: None,
                authorization: None,
                cookie: Some(cookie),
                is_development: false,
            };
            assert_eq!(policy.decide(facts).is_ok(), is_right, "{cookie}");
        }
    }

    #[test]
    fn a_token_is_taken_from_the_payload_else_the_header_else_the_cookie() {
        let policy = Policy {
            tokens: Tokens::parse("right"),
            ..Policy::default()
        };
        let (payload, wrong) = (
            Some(r#"{"authToken":"right"}"#),
            Some(r#"{"authToken":"wrong"}"#),
        );
        let cases = [
            (payload, None, None, true),
            (None, Some("Bearer right"), None, true),
            (None, Some("bearer  right"), None, true),
            (None, Some("Basic right"), None, false),
            (None, Some("right"), None, false),
            (None, None, Some("a=b; authToken=right"), true),
            (None, None, Some("authToken=\"right\""), true),
            (None, None, Some("xauthToken=right"), false),
            (Some("{}"), Some("Bearer right"), None, true),
            (wrong, Some("Bearer right"), Some("authToken=right"), false),
            (None, Some("Bearer wrong"), Some("authToken=right"), false),
        ];
        for (payload, authorization, cookie, is_right) in cases {
            let facts = Facts {
                payload,
                authorization,
                cookie,
                is_development: false,
            };
            assert_eq!(policy.decide(facts).is_ok(), is_right, "{facts:?}");
        }
    }
}
