//! The core on the host: the SQL that is shipped, the log under any history, recordings of real
//! clients, and hostile frames.
//!
//! | module | proves |
//! |---|---|
//! | [`sql_store`] | the store on SQLite: round trips, adoption, all or nothing |
//! | [`transfer`] | what is exported is read back to the byte, and each damage to a file is noticed |
//! | [`layout`] | each module uses those below it alone, and no files use each other in a circle |
//! | [`log_model`] | every pull exactly once and in order, every push whole or refused, over any history |
//! | [`followers`] | client objects and `on_committed` are told each event in order, over failures, evictions and resets |
//! | [`deletion`] | a deleted store leaves nothing behind, wherever D1, storage or the object fails, and the next is a new one |
//! | [`restore`] | a log comes back from its backup whole or not at all, wherever D1, storage or the object fails |
//! | [`retention`] | a store that nobody opens ends in its time and not before, for one row a day |
//! | [`simulation`] | the same beside hooks, followers, every transport, crashes, alarms, resets and failing storage |
//! | [`changed_rows`] | rows that somebody else changes are noticed, and who goes on, starts over or leaves for it |
//! | [`transcripts`] | the frames that recorded clients of each generation were sent |
//! | [`fuzz`] | the bodies of `fuzz/` hold for recorded input changed in places |
//! | [`hostile`] | no frame panics, wedges a connection, or reaches another one; no token or key panics |
//! | [`administration`] | a reset in the middle of a pull leaves no client with two lifetimes of the log |
//! | [`connections`] | what is on its way, who is asked whether he still listens, what waits for a hook |
//! | [`inspector`] | an operator who looks on follows the log and changes nothing for clients |
//! | [`returning`] | a 0.3 client that comes back gets what it lacks, once, and nothing that it gets by itself |
//! | [`operator`] | the state and the metrics of a store say what there is, and who is stuck is named once |
//! | [`backup`] | the mirror in D1 is a prefix of the log whatever fails, and becomes the whole of it |
//! | [`compaction`] | each event is in the mirror once, wherever folding fails, and who reads it finds no difference |
//! | [`verify`] | whatever is wrong with a mirror is told, and made right |
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
    clippy::panic,
    // A model's checks are long lists, and its plain structs have a flag for each thing that can be.
    clippy::too_many_lines,
    clippy::struct_excessive_bools,
    clippy::similar_names,
    clippy::match_same_arms,
    clippy::needless_pass_by_value
)]

mod administration;
mod adoption;
mod backup;
mod changed_rows;
mod client;
mod compaction;
mod connections;
mod d1;
mod deletion;
mod followers;
mod fuzz;
mod host_sql;
mod hostile;
mod inspector;
mod layout;
mod log_model;
mod msgpack;
mod operator;
mod restore;
mod retention;
mod returning;
mod simulation;
mod sql_store;
mod transcripts;
mod transfer;
mod verify;
mod visitors;

use livestore_sync_worker::backend::FreshIds;
use livestore_sync_worker::event::BackendId;
use proptest::test_runner::{Config, FileFailurePersistence};

/// Backend ids for resets: `ids`, one after the other.
fn fresh_ids(ids: &'static [&'static str]) -> FreshIds {
    let mut ids = ids.iter();
    Box::new(move || BackendId::stored((*ids.next().expect("another reset")).to_owned()))
}

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
