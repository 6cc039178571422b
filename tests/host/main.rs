//! The core on the host: the SQL that is shipped, the log under any history, recordings of real
//! clients, and hostile frames.
//!
//! | module | proves |
//! |---|---|
//! | [`sql_store`] | the store on SQLite: round trips, adoption, all or nothing |
//! | [`log_model`] | every pull exactly once and in order, every push whole or refused, over any history |
//! | [`callers`] | client objects are told each event once and in order, or dropped |
//! | [`transcripts`] | the frames that recorded clients of each generation were sent |
//! | [`hostile`] | no frame panics, wedges a connection, or reaches another one; no token or key panics |
//! | [`administration`] | a reset in the middle of a pull leaves no client with two lifetimes of the log |
//! | [`msgpack`] | msgpackr's bytes are read and written as it does, and no bytes panic or swell |
//!
//! [`host_sql`] is the SQLite they run on, [`client`] the other end of the wire.
//!
//! Property tests print the seed of a failure and keep it beside the file; `PROPTEST_CASES` overrides
//! how many cases run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod administration;
mod callers;
mod client;
mod host_sql;
mod hostile;
mod log_model;
mod msgpack;
mod sql_store;
mod transcripts;

use proptest::test_runner::{Config, FileFailurePersistence};

/// Runs `cases` cases unless `PROPTEST_CASES` says otherwise; seeds of failures are kept beside the
/// test's file.
fn cases(cases: u32) -> Config {
    let default = Config::default();
    Config {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            default.cases
        } else {
            cases
        },
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..default
    }
}
