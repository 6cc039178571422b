//! The only code that knows Cloudflare: it translates, and decides nothing.
//!
//! `fetch` is the Worker's entry, `object` the Durable Object, `sql` the object's SQLite, `js` the few
//! calls that `worker` does not offer or that the hot path needs bare. Without hooks handlers are
//! synchronous: a frame is one call into wasm, and nothing is left pending when it returns.
//! [`export!`](crate::export) makes the classes and functions that the runtime loads.

mod admin;
mod awake;
mod backup;
mod birth;
mod body;
mod delete;
mod deliver;
mod fetch;
mod hooks;
mod import;
mod instance;
mod js;
mod js_hooks;
mod jwt;
mod log;
mod msgpack;
mod object;
mod one_shot;
mod poll;
mod reply;
mod restore;
mod shared;
mod sql;
mod ticket;
mod turn;
mod unborn;

use worker::Env;

use crate::config::{Config, ConfigError};

pub use fetch::Worker;
pub use instance::{Owner, begin, owner};
pub use js_hooks::JsHooks;
pub use object::Object;
pub use wasm_bindgen;

/// The variables and secrets of `env`: each Worker and each object goes by its own.
fn config(env: &Env) -> Result<Config, ConfigError> {
    let config = Config::parse(|name| js::variable(env, name))?;
    log::tell_warnings(&config);
    Ok(config)
}
