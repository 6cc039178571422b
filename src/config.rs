//! The deployment's variables, parsed once. What does not parse is an error that names the variable.

use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;

use crate::auth::{AdminSecret, JwtPolicy, Policy, Tokens};
use crate::event::EventNames;
use crate::limits::{
    CONNECTIONS_CEILING, EVENT_BYTES_CEILING, FRAME_BYTES_CEILING, Limits, STORE_BYTES_CEILING,
};
use crate::route::Origins;

/// Everything that a deployment can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may connect: `AUTH_TOKEN`, `JWT_*`, `ALLOW_ANONYMOUS`.
    pub policy: Policy,
    /// `ADMIN_SECRET`: opens the administration, which without it does not exist.
    pub admin: Option<AdminSecret>,
    /// `EVENT_NAMES`: the events that may be pushed.
    pub event_names: EventNames,
    /// `ALLOWED_ORIGINS`.
    pub origins: Origins,
    /// `SYNC_BINDING`: the Durable Object binding to use, `None` for the usual names.
    pub binding: Option<String>,
    /// `MAX_EVENT_BYTES`, `MAX_BATCH_EVENTS`, `MAX_FRAME_BYTES`, `MAX_STORE_BYTES`, `MAX_CONNECTIONS`,
    /// `PUSH_RATE`.
    pub limits: Limits,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
}

/// Names of the Durable Object binding that are looked for, in this order, without `SYNC_BINDING`.
pub const USUAL_BINDINGS: [&str; 2] = ["SYNC_BACKEND_DO", "WEBSOCKET_SERVER"];

/// How much is logged; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures of the platform.
    Error,
    /// Things an operator should look at.
    Warn,
    /// Requests that were refused.
    Info,
    /// Every wake and every connection.
    Debug,
}

impl LogLevel {
    /// The name in a log line and in `LOG_LEVEL`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// A variable that does not parse.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{name} is '{value}', but it must be {expected}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// As set; no secret is ever reported here.
    pub value: String,
    /// What would parse.
    pub expected: String,
}

impl Config {
    /// Parses the variables that `lookup` finds; an empty one counts as absent.
    ///
    /// # Errors
    /// The first variable that does not parse.
    #[cold]
    #[inline(never)]
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let limits = Limits::default();
        Ok(Self {
            policy: Policy {
                tokens: lookup("AUTH_TOKEN")
                    .map(|list| Tokens::parse(&list))
                    .unwrap_or_default(),
                jwt: JwtPolicy::parse(&lookup)?,
                allow_anonymous: flag("ALLOW_ANONYMOUS", lookup("ALLOW_ANONYMOUS").as_deref())?,
            },
            admin: lookup("ADMIN_SECRET").map(|secret| AdminSecret::new(&secret)),
            event_names: event_names(lookup("EVENT_NAMES"))?,
            origins: origins(lookup("ALLOWED_ORIGINS"))?,
            binding: lookup("SYNC_BINDING"),
            limits: Limits {
                event_bytes_max: number(
                    "MAX_EVENT_BYTES",
                    &lookup,
                    EVENT_BYTES_CEILING,
                    limits.event_bytes_max,
                )?,
                batch_events_max: number(
                    "MAX_BATCH_EVENTS",
                    &lookup,
                    1_000_000,
                    limits.batch_events_max,
                )?,
                frame_bytes_max: number(
                    "MAX_FRAME_BYTES",
                    &lookup,
                    FRAME_BYTES_CEILING,
                    limits.frame_bytes_max,
                )?,
                store_bytes_max: number(
                    "MAX_STORE_BYTES",
                    &lookup,
                    STORE_BYTES_CEILING,
                    limits.store_bytes_max,
                )?,
                push_rate: rate(lookup("PUSH_RATE"))?,
                connections_max: number(
                    "MAX_CONNECTIONS",
                    &lookup,
                    CONNECTIONS_CEILING,
                    limits.connections_max,
                )?,
            },
            log_level: log_level(lookup("LOG_LEVEL"))?,
        })
    }
}

#[cold]
#[inline(never)]
fn flag(name: &'static str, value: Option<&str>) -> Result<bool, ConfigError> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ConfigError {
            name,
            value: other.to_owned(),
            expected: "'true' or 'false'".to_owned(),
        }),
    }
}

fn number<N: Copy + Display + FromStr + From<u8> + PartialOrd>(
    name: &'static str,
    lookup: &impl Fn(&str) -> Option<String>,
    max: N,
    default: N,
) -> Result<N, ConfigError> {
    let Some(value) = lookup(name) else {
        return Ok(default);
    };
    let number = value
        .trim()
        .parse()
        .ok()
        .filter(|number| (N::from(1)..=max).contains(number));
    number.ok_or_else(|| ConfigError {
        name,
        value,
        expected: format!("an integer from 1 to {max}"),
    })
}

/// Pushes per second; absent is without bound.
#[cold]
#[inline(never)]
fn rate(value: Option<String>) -> Result<Option<u32>, ConfigError> {
    let Some(value) = value else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(rate) if (1..=1_000_000).contains(&rate) => Ok(Some(rate)),
        _ => Err(ConfigError {
            name: "PUSH_RATE",
            value,
            expected: "an integer from 1 to 1000000: pushes per second".to_owned(),
        }),
    }
}

#[cold]
#[inline(never)]
fn event_names(value: Option<String>) -> Result<EventNames, ConfigError> {
    let Some(value) = value else {
        return Ok(EventNames::default());
    };
    EventNames::parse(&value).ok_or_else(|| ConfigError {
        name: "EVENT_NAMES",
        value,
        expected: "a comma-separated list of event names, in which '*' stands for any text, such as 'v1.*,v2.*'"
            .to_owned(),
    })
}

#[cold]
#[inline(never)]
fn origins(value: Option<String>) -> Result<Origins, ConfigError> {
    let Some(value) = value else {
        return Ok(Origins::SameOrigin);
    };
    Origins::parse(&value).ok_or_else(|| ConfigError {
        name: "ALLOWED_ORIGINS",
        value,
        expected: "'*' or a comma-separated list of origins such as 'https://app.example.com' or \
                   'https://*.example.com'"
            .to_owned(),
    })
}

#[cold]
#[inline(never)]
fn log_level(value: Option<String>) -> Result<LogLevel, ConfigError> {
    let levels = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
    ];
    let Some(value) = value else {
        return Ok(LogLevel::Info);
    };
    let level = levels.into_iter().find(|level| level.name() == value);
    level.ok_or_else(|| ConfigError {
        name: "LOG_LEVEL",
        value,
        expected: "'error', 'warn', 'info' or 'debug'".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::parse(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_is_the_defaults() {
        let config = parse(&[("LOG_LEVEL", " ")]).unwrap();
        assert_eq!(
            (config.limits, config.log_level),
            (Limits::default(), LogLevel::Info)
        );
        assert!(!config.policy.is_configured());
    }

    #[test]
    fn each_variable_that_does_not_parse_is_named() {
        let bad = [
            ("ALLOW_ANONYMOUS", "yes"),
            ("ALLOWED_ORIGINS", "example.com"),
            ("MAX_EVENT_BYTES", "0"),
            ("MAX_EVENT_BYTES", "2000000"),
            ("MAX_BATCH_EVENTS", "-1"),
            ("MAX_FRAME_BYTES", "1e6"),
            ("MAX_CONNECTIONS", "many"),
            ("MAX_STORE_BYTES", "10GB"),
            ("MAX_STORE_BYTES", "100000000000000"),
            ("PUSH_RATE", "0"),
            ("PUSH_RATE", "1.5"),
            ("EVENT_NAMES", ","),
            ("LOG_LEVEL", "loud"),
        ];
        for (name, value) in bad {
            let error = parse(&[(name, value)]).unwrap_err();
            assert_eq!((error.name, error.value.as_str()), (name, value));
            assert!(error.to_string().starts_with(name));
        }
    }

    #[test]
    fn limits_are_read() {
        let config = parse(&[("MAX_EVENT_BYTES", "1000"), ("MAX_CONNECTIONS", "3")]).unwrap();
        assert_eq!(
            (config.limits.event_bytes_max, config.limits.connections_max),
            (1000, 3)
        );
    }
}
