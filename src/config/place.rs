//! `LOCATION_HINT` and `JURISDICTION`: where objects are made.
//! *Source*: <https://developers.cloudflare.com/durable-objects/reference/data-location/>, and the platform's types.

use super::variable::{ConfigError, Variables};

/// Where an object had better be made, for the platform to decide.
const LOCATION_HINTS: [&str; 11] = [
    "wnam", "enam", "sam", "weur", "eeur", "apac", "apac-ne", "apac-se", "oc", "afr", "me",
];

/// Where an object runs and keeps its data, without an exception.
const JURISDICTIONS: [&str; 4] = ["eu", "us", "fedramp", "fedramp-high"];

const JURISDICTION: &str = "JURISDICTION";

/// Where an object had better be made that is not there yet.
pub(super) fn location_hint(variables: Variables<'_>) -> Option<&'static str> {
    let parse = |text: &str| one_of(&LOCATION_HINTS, text);
    variables.parsed_or("LOCATION_HINT", &any_of(&LOCATION_HINTS), None, parse)
}

/// The jurisdiction of all objects.
pub(super) fn jurisdiction(variables: Variables<'_>) -> Result<Option<&'static str>, ConfigError> {
    let parse = |text: &str| one_of(&JURISDICTIONS, text);
    variables.parsed(JURISDICTION, &any_of(&JURISDICTIONS), parse)
}

/// The error about a jurisdiction in which the runtime makes no objects, as it says.
#[must_use]
pub fn no_jurisdiction(jurisdiction: &str, message: &str) -> ConfigError {
    let expected =
        format!("left empty where there are none, as by 'JURISDICTION=' in .dev.vars: {message}");
    ConfigError::new(JURISDICTION, jurisdiction, expected)
}

fn one_of(known: &[&'static str], text: &str) -> Option<&'static str> {
    known.iter().copied().find(|one| *one == text)
}

fn any_of(known: &[&str]) -> String {
    format!("one of '{}'", known.join("', '"))
}
