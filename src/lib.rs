//! Sync backend for LiveStore apps on Cloudflare.
//!
//! A Worker routes each store to one Durable Object, which owns the store's event log. The core, which
//! is everything but `edge`, is a value: a frame and the time go in, an ordered list of outputs comes
//! out; it compiles and is tested on the host. `ARCHITECTURE.md` has the code map, the invariants and
//! the flows.

pub mod auth;
pub mod backend;
pub mod config;
#[cfg(target_arch = "wasm32")]
mod edge;
pub mod event;
pub mod eventlog;
pub mod limits;
pub mod route;
pub mod store;
pub mod wire;
