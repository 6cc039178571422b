//! Reading one variable.

use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;

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

/// Stands in an error for a value that may hold a secret.
pub(super) const HIDDEN: &str = "(hidden)";

impl ConfigError {
    pub(super) fn new(name: &'static str, value: &str, expected: impl Into<String>) -> Self {
        Self {
            name,
            value: value.to_owned(),
            expected: expected.into(),
        }
    }
}

/// The variables and secrets of a deployment.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl<'a> Variables<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(lookup)
    }

    /// A variable as it is set, unless it is empty or nothing but white space.
    pub(super) fn get(self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// The same without the white space around it, which counts in a secret alone.
    pub(super) fn trimmed(self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.trim().to_owned())
    }

    /// What `parse` makes of a variable; `None` when it is not set.
    pub(super) fn parsed<T>(
        self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.trimmed(name) else {
            return Ok(None);
        };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::new(name, &value, expected)),
        }
    }

    /// A variable that is `true` or `false`; false when it is not set.
    pub(super) fn flag(self, name: &'static str) -> Result<bool, ConfigError> {
        let flag = self.parsed(name, "'true' or 'false'", |text| text.parse().ok())?;
        Ok(flag.unwrap_or(false))
    }

    /// A variable that is an integer from 1 to `max`.
    pub(super) fn number<N: Copy + Display + FromStr + From<u8> + PartialOrd>(
        self,
        name: &'static str,
        max: N,
        default: N,
    ) -> Result<N, ConfigError> {
        let number = self.parsed(name, &format!("an integer from 1 to {max}"), |text| {
            text.parse()
                .ok()
                .filter(|number| (N::from(1)..=max).contains(number))
        })?;
        Ok(number.unwrap_or(default))
    }
}
