//! The deployment's variables. What does not parse is an error that names the variable, where it says who may sync, what may be
//! pushed, or where data goes; else it is a [`Warning`], and taken for what does no harm.
//!
//! Owns what a variable may say. What a request is answered for it is the affair of `route`, and what
//! a token needs that of `auth`.

mod deployment;
mod dev_hosts;
mod jwt;
mod origins;
mod place;
mod variable;

use std::cell::RefCell;

use crate::auth::{AdminSecret, CookieName, Policy, Tokens};
use crate::event::EventNames;
use crate::limits::{
    BACKUP_DELAY_S, BACKUP_DELAY_S_MAX, COMPACT_AFTER_DAYS, COMPACT_AFTER_DAYS_MAX,
    CONNECTIONS_CEILING, DAY_MS, EVENT_BYTES_CEILING, FRAME_BYTES_CEILING, Limits,
    STORE_BYTES_CEILING, TTL_DAYS_MAX,
};

use crate::wire::Transport;

pub use deployment::Deployment;
pub use dev_hosts::DevHosts;
pub use jwt::no_public_key;
pub use origins::{OriginPattern, Origins, is_site};
pub use place::no_jurisdiction;
use variable::Variables;
pub use variable::{ConfigError, Warning};

/// Everything that a deployment can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may connect: `AUTH_TOKEN`, `JWT_*`, `ALLOW_ANONYMOUS`, `COOKIE_NAME`.
    pub policy: Policy,
    /// `ADMIN_SECRET`: opens the administration, which without it does not exist.
    pub admin: Option<AdminSecret>,
    /// `EVENT_NAMES`: the events that may be pushed.
    pub event_names: EventNames,
    /// `ALLOWED_ORIGINS`.
    pub origins: Origins,
    /// `DEV_HOSTS`: where else than on localhost a development server is reached.
    pub dev_hosts: DevHosts,
    /// `SYNC_BINDING`: the Durable Object binding to use, `None` for the usual names.
    pub binding: Option<String>,
    /// `JURISDICTION`: where objects run and keep their data; `None`: anywhere.
    pub jurisdiction: Option<&'static str>,
    /// `LOCATION_HINT`: where an object had better be made that is not there yet.
    pub location_hint: Option<&'static str>,
    /// `MAX_EVENT_BYTES`, `MAX_BATCH_EVENTS`, `MAX_FRAME_BYTES`, `MAX_STORE_BYTES`, `MAX_CONNECTIONS`,
    /// `PUSH_RATE`.
    pub limits: Limits,
    /// `ENABLED_TRANSPORTS`: those that objects serve.
    pub transports: Transports,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `BACKUP`: whether events are copied to D1; `None`: where there is a database.
    pub backup: Option<bool>,
    /// `BACKUP_DELAY_SECONDS`: for how long they are collected before that. *Units*: milliseconds.
    pub backup_delay_ms: u64,
    /// `COMPACT_AFTER_DAYS`: how old events of the backup are folded; `None`: none are. *Units*: milliseconds.
    pub compact_after_ms: Option<u64>,
    /// `RESTORE_EMPTY`: what becomes of a store that has a backup and no log.
    pub restore_empty: RestoreEmpty,
    /// `ADOPT_D1`: the D1 binding under which logs are looked for that sync-cf kept in D1; `None`: none are.
    pub adopt_binding: Option<String>,
    /// `TTL_DAYS`: after how long a store is deleted that nobody has opened; `None`: never. *Units*: milliseconds.
    pub ttl_ms: Option<u64>,
    /// What is wrong with variables, and has been taken for something else.
    pub warnings: Vec<Warning>,
}

/// `RESTORE_EMPTY`: what becomes of a store that has a backup and no log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreEmpty {
    /// Nobody is served until an operator restores or resets it.
    #[default]
    Hold,
    /// It is restored.
    Auto,
    /// It begins anew: whether there is a backup is not asked.
    Anew,
}

/// `ENABLED_TRANSPORTS`: the transports that objects serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transports(Vec<Transport>);

impl Default for Transports {
    fn default() -> Self {
        Self(Transport::ALL.to_vec())
    }
}

impl Transports {
    /// Parses a comma-separated list of names; `None` when one is none, or there are none.
    fn parse(list: &str) -> Option<Self> {
        let entries = list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let of = |name: &str| Transport::ALL.into_iter().find(|one| one.name() == name);
        let transports = entries.map(of).collect::<Option<Vec<_>>>()?;
        (!transports.is_empty()).then_some(Self(transports))
    }

    /// Whether this one is served.
    #[must_use]
    pub fn has(&self, transport: Transport) -> bool {
        self.0.contains(&transport)
    }
}

/// The D1 binding to which sync-cf 0.3 writes, and 0.4 in its examples.
const ADOPT_BINDING: &str = "DB";

/// The D1 binding that backups go to.
pub const BACKUP_BINDING: &str = "DB";

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
    const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

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

impl Config {
    /// Parses the variables that `lookup` finds; an empty one counts as absent.
    ///
    /// # Errors
    /// The first variable that does not parse.
    #[cold]
    #[inline(never)]
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let warnings = RefCell::default();
        let variables = Variables::new(&lookup, &warnings);
        let tokens = variables.get("AUTH_TOKEN");
        Ok(Self {
            policy: Policy {
                tokens: tokens.map_or_else(Tokens::default, |list| Tokens::parse(&list)),
                jwt: jwt::parse(variables)?,
                allow_anonymous: variables.flag("ALLOW_ANONYMOUS")?,
                cookie: cookie(variables)?,
            },
            admin: admin(variables),
            event_names: event_names(variables)?,
            origins: Origins::of(variables),
            dev_hosts: DevHosts::of(variables),
            binding: variables.trimmed("SYNC_BINDING"),
            jurisdiction: place::jurisdiction(variables)?,
            location_hint: place::location_hint(variables),
            limits: limits(variables)?,
            transports: transports(variables)?,
            log_level: log_level(variables),
            backup: backup(variables),
            backup_delay_ms: backup_delay_ms(variables),
            compact_after_ms: compact_after_ms(variables),
            restore_empty: restore_empty(variables),
            adopt_binding: match variables.trimmed("ADOPT_D1") {
                None => Some(ADOPT_BINDING.to_owned()),
                Some(off) if off == "off" => None,
                binding => binding,
            },
            ttl_ms: ttl_ms(variables),
            // The last, so that all of them are there.
            warnings: warnings.take(),
        })
    }

    /// For how long events are collected before they are copied, in milliseconds; `None`: they are not copied.
    ///
    /// # Errors
    /// When a backup is asked for and the database is not bound.
    pub fn backup_delay_ms(&self, has_database: bool) -> Result<Option<u64>, ConfigError> {
        if self.backup == Some(true) && !has_database {
            let expected = format!("'off', as long as no D1 database is bound as {BACKUP_BINDING}");
            return Err(ConfigError::new("BACKUP", "d1", expected));
        }
        let is_on = self.backup.unwrap_or(has_database);
        Ok(is_on.then_some(self.backup_delay_ms))
    }
}

/// The pages that may read why a deployment of which a variable does not parse refuses everybody.
#[cold]
pub fn origins_of(lookup: impl Fn(&str) -> Option<String>) -> Origins {
    Origins::of(Variables::new(&lookup, &RefCell::default()))
}

/// The secret of the administration, which is told of all variables where one does not parse.
#[cold]
pub fn admin_of(lookup: impl Fn(&str) -> Option<String>) -> Option<AdminSecret> {
    admin(Variables::new(&lookup, &RefCell::default()))
}

/// The transports that an object serves; all of them where the variable does not parse, which is found out when it
/// wakes.
#[cold]
pub fn transports_of(lookup: impl Fn(&str) -> Option<String>) -> Transports {
    transports(Variables::new(&lookup, &RefCell::default())).unwrap_or_default()
}

fn admin(variables: Variables<'_>) -> Option<AdminSecret> {
    let secret = variables.get("ADMIN_SECRET")?;
    Some(AdminSecret::new(&secret))
}

fn cookie(variables: Variables<'_>) -> Result<CookieName, ConfigError> {
    let expected = "the name of a cookie, such as 'authToken' or 'better-auth.session_data'";
    let name = variables.parsed("COOKIE_NAME", expected, CookieName::new)?;
    Ok(name.unwrap_or_default())
}

fn limits(variables: Variables<'_>) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let bytes = |name, max: usize, default| variables.number(name, max, default);
    Ok(Limits {
        event_bytes_max: bytes(
            "MAX_EVENT_BYTES",
            EVENT_BYTES_CEILING,
            default.event_bytes_max,
        )?,
        batch_events_max: bytes("MAX_BATCH_EVENTS", 1_000_000, default.batch_events_max)?,
        frame_bytes_max: bytes(
            "MAX_FRAME_BYTES",
            FRAME_BYTES_CEILING,
            default.frame_bytes_max,
        )?,
        store_bytes_max: variables.number(
            "MAX_STORE_BYTES",
            STORE_BYTES_CEILING,
            default.store_bytes_max,
        )?,
        connections_max: bytes(
            "MAX_CONNECTIONS",
            CONNECTIONS_CEILING,
            default.connections_max,
        )?,
        push_rate: variables.parsed(
            "PUSH_RATE",
            "an integer from 1 to 1000000: pushes per second",
            |text| {
                text.parse()
                    .ok()
                    .filter(|rate| (1..=1_000_000).contains(rate))
            },
        )?,
    })
}

fn event_names(variables: Variables<'_>) -> Result<EventNames, ConfigError> {
    let names = variables.parsed(
        "EVENT_NAMES",
        "a comma-separated list of event names, in which '*' stands for any text, such as 'v1.*,v2.*'",
        EventNames::parse,
    )?;
    Ok(names.unwrap_or_default())
}

fn transports(variables: Variables<'_>) -> Result<Transports, ConfigError> {
    let transports = variables.parsed(
        "ENABLED_TRANSPORTS",
        "a comma-separated list of 'ws', 'http' and 'do-rpc'",
        Transports::parse,
    )?;
    Ok(transports.unwrap_or_default())
}

/// One that does not parse leaves the backup as it is without the variable.
fn backup(variables: Variables<'_>) -> Option<bool> {
    variables.parsed_or("BACKUP", "'d1' or 'off'", None, |text| match text {
        "d1" => Some(true),
        "off" => Some(false),
        _ => None,
    })
}

fn backup_delay_ms(variables: Variables<'_>) -> u64 {
    let expected = format!("an integer from 1 to {BACKUP_DELAY_S_MAX}");
    let instead = BACKUP_DELAY_S.to_string();
    let parse = |text: &str| {
        let seconds = text.parse().ok();
        seconds.filter(|seconds| (1..=BACKUP_DELAY_S_MAX).contains(seconds))
    };
    let seconds = variables.parsed_or("BACKUP_DELAY_SECONDS", &expected, Some(&instead), parse);
    1_000 * seconds.unwrap_or(BACKUP_DELAY_S)
}

/// One that does not parse folds nothing: what is folded stays so.
fn compact_after_ms(variables: Variables<'_>) -> Option<u64> {
    const NAME: &str = "COMPACT_AFTER_DAYS";
    let expected = "'off' or an integer from 1 to 3650: days";
    let default = variables.get(NAME).map_or(COMPACT_AFTER_DAYS, |_| 0);
    let days = variables.parsed_or(NAME, expected, Some("off"), |text| match text {
        "off" | "0" => Some(0),
        days => days
            .parse()
            .ok()
            .filter(|days| (1..=COMPACT_AFTER_DAYS_MAX).contains(days)),
    });
    let days = days.unwrap_or(default);
    (days > 0).then_some(days * DAY_MS)
}

fn restore_empty(variables: Variables<'_>) -> RestoreEmpty {
    let expected = "'hold', 'auto' or 'new'";
    let parse = |text: &str| match text {
        "hold" => Some(RestoreEmpty::Hold),
        "auto" => Some(RestoreEmpty::Auto),
        "new" => Some(RestoreEmpty::Anew),
        _ => None,
    };
    let restore_empty = variables.parsed_or("RESTORE_EMPTY", expected, Some("hold"), parse);
    restore_empty.unwrap_or_default()
}

/// One that does not parse deletes nothing.
fn ttl_ms(variables: Variables<'_>) -> Option<u64> {
    let expected = format!("an integer from 0 to {TTL_DAYS_MAX}: days, 0 for no end");
    let days = variables.parsed_or("TTL_DAYS", &expected, Some("0"), |text| {
        text.parse().ok().filter(|days: &u64| *days <= TTL_DAYS_MAX)
    });
    days.filter(|days| *days > 0).map(|days| days * DAY_MS)
}

fn log_level(variables: Variables<'_>) -> LogLevel {
    let expected = "'error', 'warn', 'info' or 'debug'";
    let level = variables.parsed_or("LOG_LEVEL", expected, Some("info"), |text| {
        LogLevel::ALL.into_iter().find(|level| level.name() == text)
    });
    level.unwrap_or(LogLevel::Info)
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
    fn what_says_who_may_do_what_and_does_not_parse_is_an_error_that_names_it() {
        let bad = [
            ("ALLOW_ANONYMOUS", "yes"),
            ("COOKIE_NAME", "auth token"),
            ("COOKIE_NAME", "a=b"),
            ("JURISDICTION", "europe"),
            ("JURISDICTION", "EU"),
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
            ("ENABLED_TRANSPORTS", "ws,tcp"),
            ("ENABLED_TRANSPORTS", ","),
        ];
        for (name, value) in bad {
            let error = parse(&[(name, value)]).unwrap_err();
            assert_eq!((error.name, error.value.as_str()), (name, value));
            assert!(error.to_string().starts_with(name));
        }
    }

    #[test]
    fn what_does_no_harm_and_does_not_parse_is_warned_of_and_taken_for_the_safe_thing() {
        let quiet = |config: Config| Config {
            warnings: Vec::new(),
            ..config
        };
        assert_eq!(parse(&[]).unwrap().warnings, []);
        for (name, value, in_force) in [
            ("BACKUP", "D1", None),
            ("BACKUP_DELAY_SECONDS", "0", Some("5")),
            ("BACKUP_DELAY_SECONDS", "3601", Some("5")),
            ("COMPACT_AFTER_DAYS", "-1", Some("off")),
            ("COMPACT_AFTER_DAYS", "3651", Some("off")),
            ("COMPACT_AFTER_DAYS", "1.5", Some("off")),
            ("RESTORE_EMPTY", "yes", Some("hold")),
            ("TTL_DAYS", "-1", Some("0")),
            ("TTL_DAYS", "0.5", Some("0")),
            ("TTL_DAYS", "36501", Some("0")),
            ("LOG_LEVEL", "loud", Some("info")),
            ("LOCATION_HINT", "europe", None),
        ] {
            let config = parse(&[(name, value)]).unwrap();
            let [warning] = config.warnings.as_slice() else {
                panic!("{:?}", config.warnings);
            };
            assert_eq!(
                (warning.name, warning.in_force.as_deref()),
                (name, in_force)
            );
            let start = format!("{name} is '{value}', but it must be ");
            assert!(warning.message.starts_with(&start), "{}", warning.message);
            // What is in force is what its text says.
            let same = parse(&[(name, in_force.unwrap_or_default())]).unwrap();
            assert_eq!(format!("{:?}", quiet(config)), format!("{same:?}"));
        }
        let [warning] = &*parse(&[("TTL_DAYS", "a month")]).unwrap().warnings else {
            panic!("no warning");
        };
        let expected = "TTL_DAYS is 'a month', but it must be an integer from 0 to 36500: days, 0 for no end; \
                        it is taken for '0'";
        assert_eq!(warning.message, expected);
    }

    #[test]
    fn a_warning_does_not_hide_an_error() {
        let error = parse(&[("LOG_LEVEL", "loud"), ("PUSH_RATE", "fast")]).unwrap_err();
        assert_eq!(error.name, "PUSH_RATE");
    }

    #[test]
    fn all_transports_are_served_unless_some_are_listed() {
        let served = |list: &str| {
            let transports = transports_of(|_| Some(list.to_owned()));
            Transport::ALL.map(|transport| transports.has(transport))
        };
        assert_eq!(served(""), [true; 3]);
        assert_eq!(served("ws"), [true, false, false]);
        assert_eq!(served(" do-rpc, http,"), [false, true, true]);
        assert_eq!(
            served("tcp"),
            [true; 3],
            "its object says that this does not parse"
        );
    }

    #[test]
    fn origins_are_known_though_another_variable_does_not_parse() {
        let of = |list: &'static str| {
            origins_of(move |name| match name {
                "ALLOWED_ORIGINS" => Some(list.to_owned()),
                _ => Some("perhaps".to_owned()),
            })
        };
        assert_eq!(of("*"), Origins::Any);
        assert_eq!(of("example.com"), Origins::Listed(Vec::new()));
        assert_eq!(of(""), Origins::SameOrigin);
    }

    #[test]
    fn there_is_a_backup_where_there_is_a_database_unless_it_is_off() {
        let delay =
            |variables, has_database| parse(variables).unwrap().backup_delay_ms(has_database);
        assert_eq!(delay(&[], true), Ok(Some(5_000)));
        assert_eq!(delay(&[], false), Ok(None));
        assert_eq!(delay(&[("BACKUP", "off")], true), Ok(None));
        let every_minute: &[_] = &[("BACKUP", "d1"), ("BACKUP_DELAY_SECONDS", "60")];
        assert_eq!(delay(every_minute, true), Ok(Some(60_000)));
        let error = delay(every_minute, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "BACKUP is 'd1', but it must be 'off', as long as no D1 database is bound as DB"
        );
    }

    #[test]
    fn stores_are_kept_for_ever_unless_days_are_said() {
        for (value, ttl_ms) in [
            ("", None),
            ("0", None),
            ("1", Some(86_400_000)),
            (" 30 ", Some(2_592_000_000)),
        ] {
            assert_eq!(parse(&[("TTL_DAYS", value)]).unwrap().ttl_ms, ttl_ms);
        }
    }

    #[test]
    fn events_are_folded_after_a_month_unless_it_is_said_otherwise() {
        let after = |variables| parse(variables).unwrap().compact_after_ms;
        assert_eq!(after(&[]), Some(30 * 86_400_000));
        assert_eq!(after(&[("COMPACT_AFTER_DAYS", "1")]), Some(86_400_000));
        assert_eq!(after(&[("COMPACT_AFTER_DAYS", "off")]), None);
        assert_eq!(after(&[("COMPACT_AFTER_DAYS", "0")]), None);
    }

    #[test]
    fn places_are_those_of_the_platform() {
        let config = parse(&[("JURISDICTION", " eu "), ("LOCATION_HINT", "apac-ne")]).unwrap();
        assert_eq!(
            (config.jurisdiction, config.location_hint),
            (Some("eu"), Some("apac-ne"))
        );
        let error = parse(&[("JURISDICTION", "europe")])
            .unwrap_err()
            .to_string();
        let expected =
            "JURISDICTION is 'europe', but it must be one of 'eu', 'us', 'fedramp', 'fedramp-high'";
        assert_eq!(error, expected);
        let error = no_jurisdiction("eu", "Not here.").to_string();
        assert!(error.starts_with("JURISDICTION is 'eu', but it must be left empty"));
        assert!(error.ends_with("Not here."));
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
