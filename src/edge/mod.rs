//! The only code that knows Cloudflare: it translates, and decides nothing.
//!
//! `fetch` is the Worker's entry, `object` the Durable Object, `sql` the object's SQLite, `js` the few
//! calls that `worker` does not offer or that the hot path needs bare. Handlers are synchronous: a
//! frame is one call into wasm, and nothing is left pending when it returns.

mod fetch;
mod js;
mod log;
mod object;
mod sql;

use worker::Env;

use crate::config::{Config, ConfigError};

/// The deployment's variables and secrets.
fn config(env: &Env) -> Result<Config, ConfigError> {
    Config::parse(|name| js::variable(env, name))
}
