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

use std::cell::RefCell;
use std::rc::Rc;

use worker::Env;

use crate::config::{Config, ConfigError};

thread_local! {
    /// Variables do not change under a running version, which an instance of the core belongs to.
    static CONFIG: RefCell<Option<Rc<Config>>> = const { RefCell::new(None) };
}

/// The deployment's variables and secrets.
fn config(env: &Env) -> Result<Rc<Config>, ConfigError> {
    CONFIG.with_borrow_mut(|kept| {
        if let Some(config) = kept {
            return Ok(Rc::clone(config));
        }
        let config = Rc::new(Config::parse(|name| js::variable(env, name))?);
        Ok(Rc::clone(kept.insert(config)))
    })
}
