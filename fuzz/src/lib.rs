//! What the targets of cargo-fuzz run, and what they begin with. `tests/host/fuzz.rs` includes the same files.

pub mod bodies;
pub mod seeds;

/// The SQLite of the host's tests.
#[allow(dead_code, unreachable_pub)]
#[path = "../../tests/host/host_sql.rs"]
pub(crate) mod host_sql;
