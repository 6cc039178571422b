//! What D1 is asked when a store is deleted: how much it holds of it, and to forget that, a bounded number of rows at a
//! time, the list of its lifetimes last.

use serde::{Deserialize, Serialize};

use super::mirror::{Bound, MirrorBatch, MirrorStep, SCHEMA_VERSION};
use crate::event::StoreId;
use crate::limits::DELETE_BYTES_MAX;

/// How much D1 holds of a store, as its list of lifetimes says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Lifetimes of its log.
    pub lifetimes: u64,
    /// Events of all of them.
    pub events: u64,
}

impl Held {
    /// Reads what [`look`] returns in the column `found`.
    #[must_use]
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// Whether nothing is left, by what [`forget`] returns in the column `found`; `None` if that says nothing.
#[must_use]
pub fn is_forgotten(json: &str) -> Option<bool> {
    match json {
        "0" => Some(true),
        "1" => Some(false),
        _ => None,
    }
}

/// Tables whose rows are of a store and a lifetime of it, with the column that numbers them and what a row counts as.
const ROWS: [(&str, &str, &str); 2] = [
    (
        "livestore_sync_events",
        "seq_num",
        "100 + octet_length(name) + ifnull(octet_length(args), 0)",
    ),
    (
        "livestore_sync_segments",
        "last_seq_num",
        "100 + octet_length(data)",
    ),
];

const LIFETIMES: &str = "livestore_sync_lifetimes";

/// The batch that asks how much there is: a row with the column `found`, which is a [`Held`].
#[must_use]
pub fn look<T>(store_id: &StoreId) -> MirrorBatch<T> {
    let held = format!(
        "SELECT json_object('lifetimes', count(*), 'events', ifnull(sum(events), 0)) AS found FROM {LIFETIMES} \
         WHERE store_id = ?1"
    );
    MirrorBatch::new(vec![version(), step(store_id, held)])
}

/// The batch that forgets at most `rows` rows of a lifetime, and the list of lifetimes once there are no others: a row
/// with the column `found`, for [`is_forgotten`]. It does nothing where the tables are not those of this code.
#[must_use]
pub fn forget<T>(store_id: &StoreId, rows: u32) -> MirrorBatch<T> {
    let is_ours = format!("(SELECT max(version) FROM livestore_sync_schema) = {SCHEMA_VERSION}");
    let mut steps = vec![version()];
    let mut rest = String::new();
    for (table, number, size) in ROWS {
        // The range is found before anything of it goes, and found by the key: no other row is read.
        let lifetime = format!(
            "store_id = ?1 AND backend_id = (SELECT min(backend_id) FROM {table} WHERE store_id = ?1)"
        );
        let sql = format!(
            "DELETE FROM {table} WHERE {lifetime} AND {number} <= (SELECT max({number}) FROM (SELECT {number}, \
             sum(size) OVER (ORDER BY {number}) - size AS before FROM (SELECT {number}, {size} AS size \
             FROM {table} WHERE {lifetime} ORDER BY {number} LIMIT ?2)) WHERE before < ?3) AND {is_ours}"
        );
        let mut delete = step(store_id, sql);
        delete.params.push(Bound::Int(rows.into()));
        delete.params.push(Bound::Int(DELETE_BYTES_MAX));
        steps.push(delete);
        rest.push_str(" OR EXISTS (SELECT 1 FROM ");
        rest.push_str(table);
        rest.push_str(" WHERE store_id = ?1)");
    }
    let rest = rest.trim_start_matches(" OR ");
    steps.push(step(
        store_id,
        format!("DELETE FROM {LIFETIMES} WHERE store_id = ?1 AND NOT ({rest}) AND {is_ours}"),
    ));
    steps.push(step(
        store_id,
        format!(
            "SELECT iif(EXISTS (SELECT 1 FROM {LIFETIMES} WHERE store_id = ?1) OR {rest}, '1', '0') AS found"
        ),
    ));
    MirrorBatch::new(steps)
}

fn version<T>() -> MirrorStep<T> {
    super::mirror::without_params(super::mirror::LOOK_AT_VERSION)
}

fn step<T>(store_id: &StoreId, sql: String) -> MirrorStep<T> {
    MirrorStep {
        sql,
        params: vec![Bound::Text(store_id.as_str().to_owned())],
    }
}
