//! Reading one variable.

use std::cell::RefCell;
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

/// A variable that does not parse, or not all of it, and does no harm by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The variable.
    pub name: &'static str,
    /// What is wrong with it, and what it is taken for.
    pub message: String,
    /// The text that would mean what it is taken for; none where that is as if it were not set.
    pub in_force: Option<String>,
}

/// The variables and secrets of a deployment.
#[derive(Clone, Copy)]
pub(super) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    warnings: &'a RefCell<Vec<Warning>>,
}

impl<'a> Variables<'a> {
    /// What `lookup` finds. What is wrong and does no harm is added to `warnings`.
    pub(super) fn new(
        lookup: &'a dyn Fn(&str) -> Option<String>,
        warnings: &'a RefCell<Vec<Warning>>,
    ) -> Self {
        Self { lookup, warnings }
    }

    /// A variable as it is set, unless it is empty or nothing but white space.
    pub(super) fn get(self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
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

    /// The same, where one that does not parse had better mean `instead` than stop everybody: it is warned of.
    /// `None` when it is not set, or does not parse.
    pub(super) fn parsed_or<T>(
        self,
        name: &'static str,
        expected: &str,
        instead: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = self.parsed(name, expected, parse);
        parsed.unwrap_or_else(|error| {
            self.warn_of(&error, instead);
            None
        })
    }

    #[cold]
    #[inline(never)]
    fn warn_of(self, error: &ConfigError, instead: Option<&str>) {
        let meaning = instead.map(|text| format!("is taken for '{text}'"));
        let meaning = meaning.as_deref().unwrap_or("counts as not set");
        let message = format!("{error}; it {meaning}");
        self.warn(error.name, message, instead);
    }

    /// Notes that something is wrong with a variable, which is taken for `in_force`.
    #[cold]
    fn warn(self, name: &'static str, message: String, in_force: Option<&str>) {
        self.warnings.borrow_mut().push(Warning {
            name,
            message,
            in_force: in_force.map(str::to_owned),
        });
    }

    /// A variable that is a comma-separated list: what `parse` makes of its entries. One of which it makes nothing is
    /// left out, and warned of. `None` when the variable is not set.
    pub(super) fn list<T>(
        self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let list = self.trimmed(name)?;
        let (mut parsed, mut bad) = (Vec::new(), Vec::new());
        for entry in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match parse(entry) {
                Some(one) => parsed.push(one),
                None => bad.push(entry),
            }
        }
        if !bad.is_empty() {
            self.warn_of_entries(name, expected, &list, &bad);
        }
        Some(parsed)
    }

    #[cold]
    #[inline(never)]
    fn warn_of_entries(self, name: &'static str, expected: &str, list: &str, bad: &[&str]) {
        let entries = list.split(',').map(str::trim);
        let good = entries.filter(|one| !one.is_empty() && !bad.contains(one));
        let good = good.collect::<Vec<_>>().join(",");
        let in_force = Some(good.as_str()).filter(|good| !good.is_empty());
        for entry in bad {
            let message = format!("{name} has '{entry}', which is left out: it must be {expected}");
            self.warn(name, message, in_force);
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
