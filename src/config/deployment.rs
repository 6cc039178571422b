//! What an operator is told of a deployment: each variable as it is in force, and what is wrong or unwise about them.

use std::borrow::Cow;

use serde::Serialize;

use super::variable::ConfigError;
use super::{ADOPT_BINDING, Config, OriginPattern, Origins, USUAL_BINDINGS};
use crate::auth::CookieName;
use crate::limits::{BACKUP_DELAY_S, COMPACT_AFTER_DAYS, Limits, SECRET_BYTES_MIN};

/// What there is to tell of.
#[allow(missing_debug_implementations)] // It holds secrets.
pub struct Deployment<'a> {
    /// Finds variables and secrets as they are set.
    pub lookup: &'a dyn Fn(&str) -> Option<String>,
    /// What they mean, or why they mean nothing.
    pub config: Result<&'a Config, &'a ConfigError>,
    /// The name of the Durable Object binding in use.
    pub objects: Option<&'a str>,
    /// Whether there is a database of backups.
    pub has_database: bool,
    /// Whether data points are written.
    pub has_metrics: bool,
    /// Whether it is a development server on this machine.
    pub is_local: bool,
}

/// A variable that is known.
struct Variable {
    name: &'static str,
    default: Unset,
    secrecy: Secrecy,
}

/// What is in force where a variable is not set.
#[derive(Clone, Copy)]
enum Unset {
    Nothing,
    Text(&'static str),
    Number(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    /// Its value is shown.
    Open,
    /// So it is if it parses: anything else may be a secret that stands in the wrong place.
    OnceParsed,
    /// It never is.
    Secret,
}

const fn open(name: &'static str, default: Unset) -> Variable {
    Variable {
        name,
        default,
        secrecy: Secrecy::Open,
    }
}

const fn hidden(name: &'static str, secrecy: Secrecy) -> Variable {
    Variable {
        name,
        default: Unset::Nothing,
        secrecy,
    }
}

/// All that [`Config::parse`] looks up, in the order of docs/configuration.md.
static VARIABLES: [Variable; 32] = {
    use Secrecy::{OnceParsed, Secret};
    use Unset::{Nothing, Number, Text};
    const LIMITS: Limits = Limits::DEFAULT;
    [
        hidden("AUTH_TOKEN", Secret),
        hidden("JWT_SECRET", Secret),
        hidden("JWT_PUBLIC_KEY", Secret),
        hidden("JWT_JWKS_URL", OnceParsed),
        open("JWT_ISSUER", Nothing),
        open("JWT_AUDIENCE", Nothing),
        open("JWT_STORE_CLAIM", Nothing),
        open("JWT_ACCESS_CLAIM", Nothing),
        open("JWT_GRACE_SECONDS", Number(0)),
        open("COOKIE_NAME", Text(CookieName::DEFAULT)),
        open("ALLOW_ANONYMOUS", Text("false")),
        hidden("ADMIN_SECRET", Secret),
        open("ALLOWED_ORIGINS", Nothing),
        open("DEV_HOSTS", Nothing),
        open("SYNC_BINDING", Nothing),
        open("JURISDICTION", Nothing),
        open("LOCATION_HINT", Nothing),
        open("MAX_EVENT_BYTES", Number(LIMITS.event_bytes_max as u64)),
        open("MAX_BATCH_EVENTS", Number(LIMITS.batch_events_max as u64)),
        open("MAX_FRAME_BYTES", Number(LIMITS.frame_bytes_max as u64)),
        open("MAX_STORE_BYTES", Number(LIMITS.store_bytes_max)),
        open("MAX_CONNECTIONS", Number(LIMITS.connections_max as u64)),
        open("PUSH_RATE", Nothing),
        open("BACKUP", Nothing),
        open("BACKUP_DELAY_SECONDS", Number(BACKUP_DELAY_S)),
        open("COMPACT_AFTER_DAYS", Number(COMPACT_AFTER_DAYS)),
        open("RESTORE_EMPTY", Text("hold")),
        open("ADOPT_D1", Text(ADOPT_BINDING)),
        open("TTL_DAYS", Number(0)),
        open("ENABLED_TRANSPORTS", Text("ws,http,do-rpc")),
        open("EVENT_NAMES", Text("*")),
        open("LOG_LEVEL", Text("info")),
    ]
};

#[derive(Serialize)]
struct Told<'a> {
    version: &'static str,
    variables: Vec<ToldVariable>,
    bindings: Bindings<'a>,
    warnings: Vec<ToldWarning<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldVariable {
    name: &'static str,
    value: Option<String>,
    is_set: bool,
    is_secret: bool,
}

#[derive(Serialize)]
struct Bindings<'a> {
    objects: Option<&'a str>,
    database: bool,
    metrics: bool,
}

#[derive(Serialize)]
struct ToldWarning<'a> {
    name: &'static str,
    message: Cow<'a, str>,
}

impl Deployment<'_> {
    /// All of it, but no secret.
    ///
    /// *Shape*: JSON: `{"version":"0.1.0","variables":[{"name":"TTL_DAYS","value":"0","isSet":false,"isSecret":false}],
    /// "bindings":{"objects":"SYNC_BACKEND_DO","database":true,"metrics":false},"warnings":[{"name":"BACKUP","message":"…"}]}`.
    /// The value of a variable that is not set is its default; null where there is none, and of a secret.
    #[must_use]
    #[cold]
    pub fn to_json(&self) -> String {
        let told = Told {
            version: env!("CARGO_PKG_VERSION"),
            variables: VARIABLES.iter().map(|one| self.variable(one)).collect(),
            bindings: Bindings {
                objects: self.objects,
                database: self.has_database,
                metrics: self.has_metrics,
            },
            warnings: self.warnings(),
        };
        serde_json::to_string(&told).unwrap_or_default()
    }

    fn variable(&self, variable: &Variable) -> ToldVariable {
        let Variable { name, secrecy, .. } = *variable;
        let set = (self.lookup)(name).map(|value| value.trim().to_owned());
        let set = set.filter(|value| !value.is_empty());
        let is_set = set.is_some();
        let all = self.config.map_or(&[][..], |config| &config.warnings);
        let value = match all.iter().find(|warning| warning.name == name) {
            Some(warning) => warning.in_force.clone(),
            None => set,
        };
        let is_secret = match secrecy {
            Secrecy::Open => false,
            Secrecy::OnceParsed => self.config.is_err(),
            Secrecy::Secret => true,
        };
        ToldVariable {
            name,
            value: (!is_secret)
                .then(|| value.or_else(|| self.default(variable)))
                .flatten(),
            is_set,
            is_secret,
        }
    }

    fn default(&self, variable: &Variable) -> Option<String> {
        let of_bindings = match variable.name {
            "SYNC_BINDING" => Some(self.objects.unwrap_or(USUAL_BINDINGS[0])),
            "BACKUP" => Some(if self.has_database { "d1" } else { "off" }),
            _ => None,
        };
        match (of_bindings, variable.default) {
            (Some(text), _) | (None, Unset::Text(text)) => Some(text.to_owned()),
            (None, Unset::Number(number)) => Some(number.to_string()),
            (None, Unset::Nothing) => None,
        }
    }

    fn warnings(&self) -> Vec<ToldWarning<'_>> {
        let config = match self.config {
            Ok(config) => config,
            Err(error) => {
                let message = Cow::Owned(format!("{error}; until then nobody is served"));
                let name = error.name;
                return vec![ToldWarning { name, message }];
            }
        };
        let wrong = config.warnings.iter().map(|warning| ToldWarning {
            name: warning.name,
            message: Cow::Borrowed(&warning.message),
        });
        let unwise = self.unwise(config).into_iter();
        let unwise = unwise.map(|(name, message)| ToldWarning {
            name,
            message: Cow::Borrowed(message),
        });
        wrong.chain(unwise).collect()
    }

    /// What may well not be meant so.
    fn unwise(&self, config: &Config) -> Vec<(&'static str, &'static str)> {
        let Config {
            policy,
            admin,
            origins,
            ..
        } = config;
        let (tokens, is_deployed) = (&policy.tokens, !self.is_local);
        let null = OriginPattern::Exact("null".to_owned());
        let lists_null = matches!(origins, Origins::Listed(list) if list.contains(&null));
        let opens_all = policy
            .jwt
            .as_ref()
            .is_some_and(|jwt| jwt.store_claim.is_none());
        let all = [
            (
                !policy.is_configured(),
                "AUTH_TOKEN",
                "nothing says who may sync: nobody can connect",
            ),
            (
                policy.allow_anonymous,
                "ALLOW_ANONYMOUS",
                "anybody may read and write every store",
            ),
            (
                is_deployed && tokens.has_template(),
                "AUTH_TOKEN",
                "the token of the templates is known to everybody: it is for development",
            ),
            (
                is_deployed && tokens.are_short(SECRET_BYTES_MIN),
                "AUTH_TOKEN",
                "a token is so short that it can be guessed",
            ),
            (
                is_deployed && !config.dev_hosts.is_empty(),
                "DEV_HOSTS",
                "it is for development: at these hosts the token of the templates opens every store",
            ),
            (
                opens_all,
                "JWT_STORE_CLAIM",
                "it is not set: every valid token opens every store",
            ),
            (
                *origins == Origins::Any,
                "ALLOWED_ORIGINS",
                "pages of every origin may connect; their cookies do not count",
            ),
            (
                lists_null,
                "ALLOWED_ORIGINS",
                "any page can be one of the origin 'null'; cookies of such pages do not count",
            ),
            (
                admin.as_ref().is_some_and(|secret| {
                    !secret.is_template() && secret.is_short(SECRET_BYTES_MIN)
                }),
                "ADMIN_SECRET",
                "it is so short that it can be guessed",
            ),
            (
                self.objects.is_none(),
                "SYNC_BINDING",
                "there is no Durable Object binding: nothing can be synced",
            ),
            (
                !self.has_database && config.backup != Some(false),
                "BACKUP",
                "no D1 database is bound as DB: there is no backup",
            ),
        ];
        let unwise = all.into_iter().filter(|(is_so, _, _)| *is_so);
        unwise.map(|(_, name, message)| (name, message)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    type Vars<'a> = &'a [(&'a str, &'a str)];

    fn lookup(variables: Vars<'_>) -> impl Fn(&str) -> Option<String> {
        move |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    /// What is told of a deployment with an object binding and a database.
    fn told(variables: Vars<'_>, is_local: bool) -> Value {
        let lookup = lookup(variables);
        let config = Config::parse(&lookup);
        let deployment = Deployment {
            lookup: &lookup,
            config: config.as_ref(),
            objects: Some("SYNC_BACKEND_DO"),
            has_database: true,
            has_metrics: false,
            is_local,
        };
        serde_json::from_str(&deployment.to_json()).unwrap()
    }

    fn variable(told: &Value, name: &str) -> Value {
        let mut variables = told["variables"].as_array().unwrap().iter();
        let mut found = variables.find(|one| one["name"] == name).unwrap().clone();
        found.as_object_mut().unwrap().remove("name");
        found
    }

    /// The variables that are warned of.
    fn warned(told: &Value) -> Vec<String> {
        let warnings = told["warnings"].as_array().unwrap().iter();
        warnings
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Enough for nothing to be unwise.
    const WISE: Vars<'_> = &[
        ("AUTH_TOKEN", "a-token-that-nobody-guesses"),
        ("ADMIN_SECRET", "a-secret-that-nobody-guesses"),
        ("ALLOWED_ORIGINS", "https://app.example.com"),
    ];

    #[test]
    fn all_variables_that_are_looked_up_are_told_of_and_no_others() {
        let asked = RefCell::new(BTreeSet::new());
        let parsed = Config::parse(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        assert!(parsed.is_ok());
        let known = VARIABLES.iter().map(|one| one.name.to_owned());
        assert_eq!(asked.into_inner(), known.collect());
    }

    #[test]
    fn defaults_are_what_is_in_force_where_nothing_is_set() {
        let told = told(&[], false);
        let defaults = |name: &str| {
            let value = variable(&told, name)["value"].clone();
            value.as_str().map(str::to_owned)
        };
        // Without a key nothing may be asked of tokens.
        let secret = |name: &str| {
            (name == "JWT_SECRET").then(|| "a secret of more than thirty-two bytes".to_owned())
        };
        let unset = Config::parse(secret).unwrap();
        let set = Config::parse(|name| match name {
            // Said by what is bound; and '*' is a pattern, where nothing is none.
            "SYNC_BINDING" | "BACKUP" | "EVENT_NAMES" => None,
            name => secret(name).or_else(|| defaults(name)),
        });
        assert_eq!(format!("{:?}", set.unwrap()), format!("{unset:?}"));
        assert_eq!(defaults("MAX_CONNECTIONS").as_deref(), Some("32768"));
        assert_eq!(defaults("SYNC_BINDING").as_deref(), Some("SYNC_BACKEND_DO"));
        assert_eq!(defaults("BACKUP").as_deref(), Some("d1"));
        assert_eq!(defaults("PUSH_RATE"), None);
    }

    #[test]
    fn a_deployment_is_told_as_documented() {
        let told = told(WISE, false);
        assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
        let bindings = json!({ "objects": "SYNC_BACKEND_DO", "database": true, "metrics": false });
        assert_eq!(told["bindings"], bindings);
        assert_eq!(told["warnings"], json!([]));
        assert_eq!(
            variable(&told, "ALLOWED_ORIGINS"),
            json!({ "value": "https://app.example.com", "isSet": true, "isSecret": false })
        );
        assert_eq!(
            variable(&told, "TTL_DAYS"),
            json!({ "value": "0", "isSet": false, "isSecret": false })
        );
        assert_eq!(
            variable(&told, "JWT_SECRET"),
            json!({ "value": null, "isSet": false, "isSecret": true })
        );
    }

    #[test]
    fn no_secret_is_told_whether_it_parses_or_not() {
        let hush = "hush-hush-hush-hush-hush-hush-hush-hush";
        for name in [
            "AUTH_TOKEN",
            "JWT_SECRET",
            "JWT_PUBLIC_KEY",
            "JWT_JWKS_URL",
            "ADMIN_SECRET",
        ] {
            let told = told(&[(name, hush)], false);
            assert!(!told.to_string().contains("hush"), "{told}");
            let expected = json!({ "value": null, "isSet": true, "isSecret": true });
            assert_eq!(variable(&told, name), expected);
        }
        let url = "https://id.example.com/jwks";
        let shown = variable(&told(&[("JWT_JWKS_URL", url)], false), "JWT_JWKS_URL");
        assert_eq!(
            shown,
            json!({ "value": url, "isSet": true, "isSecret": false })
        );
    }

    #[test]
    fn a_variable_that_does_not_parse_is_told_as_what_it_is_taken_for() {
        let told = told(
            &[
                WISE[0],
                ("ALLOWED_ORIGINS", "app, https://a.io"),
                ("TTL_DAYS", "a month"),
                ("LOCATION_HINT", "europe"),
            ],
            false,
        );
        assert_eq!(
            warned(&told),
            ["ALLOWED_ORIGINS", "LOCATION_HINT", "TTL_DAYS"]
        );
        for (name, value) in [
            ("ALLOWED_ORIGINS", json!("https://a.io")),
            ("TTL_DAYS", json!("0")),
            ("LOCATION_HINT", json!(null)),
        ] {
            let expected = json!({ "value": value, "isSet": true, "isSecret": false });
            assert_eq!(variable(&told, name), expected);
        }
    }

    #[test]
    fn a_variable_that_stops_everybody_is_told_with_what_it_does() {
        let told = told(&[("PUSH_RATE", "fast"), ("MAX_CONNECTIONS", "3")], false);
        assert_eq!(warned(&told), ["PUSH_RATE"]);
        let message = told["warnings"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with("PUSH_RATE is 'fast', but "),
            "{message}"
        );
        assert_eq!(variable(&told, "MAX_CONNECTIONS")["value"], "3");
    }

    #[test]
    fn what_is_unwise_is_warned_of_and_development_is_let_be() {
        let with = |more: (&'static str, &'static str)| {
            let all: Vec<_> = [more].into_iter().chain(WISE.iter().copied()).collect();
            let names = |is_local| warned(&told(&all, is_local));
            (names(false), names(true))
        };
        let template = "insecure-token-change-me";
        for (name, value, is_for_development) in [
            ("AUTH_TOKEN", template, true),
            ("AUTH_TOKEN", "a-token-that-nobody-guesses,short", true),
            ("DEV_HOSTS", "192.168.0.2", true),
            ("ALLOW_ANONYMOUS", "true", false),
            ("ALLOWED_ORIGINS", "*", false),
            ("ALLOWED_ORIGINS", "null", false),
            ("ADMIN_SECRET", "short", false),
        ] {
            let (deployed, local) = with((name, value));
            assert_eq!(deployed, [name], "{name}={value}");
            assert_eq!(local.is_empty(), is_for_development, "{name}={value}");
        }
        let (deployed, _) = with(("JWT_SECRET", "a secret of more than thirty-two bytes"));
        assert_eq!(deployed, ["JWT_STORE_CLAIM"]);
        assert_eq!(warned(&told(&WISE[1..], false)), ["AUTH_TOKEN"]);
    }

    #[test]
    fn a_binding_that_is_missing_is_warned_of() {
        let lookup = lookup(WISE);
        let config = Config::parse(&lookup).unwrap();
        let off = Config {
            backup: Some(false),
            ..config.clone()
        };
        for (config, expected) in [
            (&config, vec!["SYNC_BINDING", "BACKUP"]),
            (&off, vec!["SYNC_BINDING"]),
        ] {
            let deployment = Deployment {
                lookup: &lookup,
                config: Ok(config),
                objects: None,
                has_database: false,
                has_metrics: true,
                is_local: false,
            };
            let told: Value = serde_json::from_str(&deployment.to_json()).unwrap();
            assert_eq!(warned(&told), expected);
            let bindings = json!({ "objects": null, "database": false, "metrics": true });
            assert_eq!(told["bindings"], bindings);
        }
    }
}
