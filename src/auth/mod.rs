//! Who may connect to a store. Pure: facts of the request in, a decision out. Fails closed.

mod token;

use serde::Deserialize;
use thiserror::Error;

pub use token::Tokens;

/// What a deployment asks of those who connect.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `AUTH_TOKEN`: the payload's `authToken` must be one of these.
    pub tokens: Tokens,
    /// `ALLOW_ANONYMOUS`: whether no token is needed.
    pub allow_anonymous: bool,
}

/// What is known of a request when it is authorised.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The sync payload as JSON text, if the client sent one.
    pub payload: Option<&'a str>,
    /// The request's host is this machine.
    pub is_localhost: bool,
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

/// The payload of LiveStore's templates; other keys are the app's own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    auth_token: Option<String>,
}

impl Policy {
    /// Whether the deployment says anything about who may connect.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.allow_anonymous || !self.tokens.is_empty()
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn decide(&self, facts: Facts<'_>) -> Result<(), Denied> {
        if self.allow_anonymous {
            return Ok(());
        }
        if self.tokens.is_empty() {
            return Err(Denied::NotConfigured(
                "Nobody can connect yet: set the secret AUTH_TOKEN (or the variable ALLOW_ANONYMOUS to 'true').",
            ));
        }
        if !facts.is_localhost && self.tokens.only_template() {
            return Err(Denied::NotConfigured(
                "Nobody can connect yet: AUTH_TOKEN is the token of the templates, which is accepted on localhost only; \
                 set the secret AUTH_TOKEN to one of your own.",
            ));
        }
        let payload = facts
            .payload
            .and_then(|payload| serde_json::from_str::<Payload>(payload).ok());
        let token = payload.and_then(|payload| payload.auth_token);
        match token {
            None => Err(Denied::Refused(
                "No auth token: the sync payload must be {\"authToken\":\"...\"}",
            )),
            Some(token) if self.tokens.accept(&token, facts.is_localhost) => Ok(()),
            Some(_) => Err(Denied::Refused("Invalid auth token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "insecure-token-change-me";

    fn decide(tokens: &str, payload: Option<&str>, is_localhost: bool) -> Result<(), Denied> {
        let policy = Policy {
            tokens: Tokens::parse(tokens),
            allow_anonymous: false,
        };
        policy.decide(Facts {
            payload,
            is_localhost,
        })
    }

    fn refused(result: &Result<(), Denied>) -> bool {
        matches!(result, Err(Denied::Refused(_)))
    }

    #[test]
    fn without_a_policy_nobody_connects() {
        for is_localhost in [true, false] {
            let error = decide("", Some(r#"{"authToken":""}"#), is_localhost).unwrap_err();
            assert!(error.to_string().contains("AUTH_TOKEN"), "{error}");
            assert!(matches!(error, Denied::NotConfigured(_)));
        }
    }

    #[test]
    fn one_of_the_tokens_is_enough_and_anything_else_is_refused() {
        for token in ["a", "bb"] {
            let payload = format!(r#"{{"authToken":"{token}","more":[1]}}"#);
            assert_eq!(decide("a, bb", Some(&payload), false), Ok(()));
        }
        let wrong = [
            r#"{"authToken":"b"}"#,
            r#"{"authToken":"a,bb"}"#,
            r#"{"authToken":null}"#,
            r#"{"authToken":["a"]}"#,
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
        assert_eq!(decide(TEMPLATE, Some(&payload), true), Ok(()));
        assert!(matches!(
            decide(TEMPLATE, Some(&payload), false),
            Err(Denied::NotConfigured(_))
        ));
        let both = format!("{TEMPLATE},real");
        assert!(refused(&decide(&both, Some(&payload), false)));
        assert_eq!(
            decide(&both, Some(r#"{"authToken":"real"}"#), false),
            Ok(())
        );
    }

    #[test]
    fn anonymous_needs_no_token() {
        let policy = Policy {
            tokens: Tokens::default(),
            allow_anonymous: true,
        };
        assert_eq!(
            policy.decide(Facts {
                payload: None,
                is_localhost: false
            }),
            Ok(())
        );
    }
}
