//! What D1 is asked when a log is adopted that sync-cf kept there: whether there is one, what it holds, its events, and
//! whose it is.
//!
//! The table has the name and the columns of the log in an object. Its name is not unique, so the store that takes it says so
//! in a table of ours beside it, and another store of that name finds it taken.

use super::mirror::{Bound, COLUMNS, MirrorBatch, MirrorStep, SIZE};
use super::recall::Row;
use super::schema::log_table;
use crate::event::{SeqNum, StoreId};
use crate::limits::MIRROR_BYTES_MAX;

/// What D1 has of a log that sync-cf kept there, at a first look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether there is such a table.
    pub has_log: bool,
    /// Whether any store has said that it took one.
    pub has_claims: bool,
}

impl Look {
    /// Reads the row of [`look`].
    #[must_use]
    pub fn of(row: &impl Row) -> Self {
        let has = |column| row.integer(column).unwrap_or_default() > 0;
        Self {
            has_log: has("has_log"),
            has_claims: has("has_claims"),
        }
    }
}

/// Whether there is a log of a store: a row, which is a [`Look`].
#[must_use]
pub fn look<T>(store_id: &StoreId) -> MirrorStep<T> {
    MirrorStep {
        sql: "SELECT count(CASE name WHEN ?1 THEN 1 END) AS has_log, \
              count(CASE name WHEN 'livestore_sync_adopted' THEN 1 END) AS has_claims \
              FROM sqlite_master WHERE type = 'table' AND name IN (?1, 'livestore_sync_adopted')"
            .to_owned(),
        params: vec![Bound::Text(log_table(store_id))],
    }
}

/// Looks at all of a log whose stored head is `head`: a row, which is [`super::recall::Holdings`].
#[must_use]
pub fn survey<T>(store_id: &StoreId, head: SeqNum) -> MirrorStep<T> {
    let table = log_table(store_id);
    MirrorStep {
        sql: format!(
            "SELECT count(*) AS events, ifnull(sum({SIZE}), 0) AS bytes, ifnull(max(seqNum), 0) AS head, \
             count(DISTINCT CASE WHEN seqNum > ?1 THEN createdAt || ' ' || clientId END) AS pushes_after \
             FROM \"{table}\" WHERE seqNum > 0"
        ),
        params: vec![Bound::Int(head.to_i64())],
    }
}

/// The next events of a log after `after`, in the form of [`super::recall::fetch`]; with a `limit` of 0 the next one alone,
/// in that of [`super::recall::fetch_one`].
#[must_use]
pub fn fetch<T>(store_id: &StoreId, after: SeqNum, limit: u32) -> MirrorStep<T> {
    let table = log_table(store_id);
    let after = Bound::Int(after.to_i64());
    if limit == 0 {
        return MirrorStep {
            sql: format!(
                "SELECT {COLUMNS} FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT 1"
            ),
            params: vec![after],
        };
    }
    MirrorStep {
        sql: format!(
            "SELECT '[' || group_concat(item, ',') || ']' AS items, count(*) AS count, max(seqNum) AS last FROM \
             (SELECT seqNum, json_array({COLUMNS}) AS item \
             FROM (SELECT *, sum({SIZE} + 100) OVER (ORDER BY seqNum) AS total FROM \
             (SELECT * FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT ?2)) \
             WHERE total <= ?3 ORDER BY seqNum)"
        ),
        params: vec![
            after,
            Bound::Int(limit.into()),
            Bound::Int(MIRROR_BYTES_MAX),
        ],
    }
}

/// Which store took the log: a row with the column `owner`, or none.
#[must_use]
pub fn owner<T>(store_id: &StoreId) -> MirrorStep<T> {
    MirrorStep {
        sql: "SELECT store_id AS owner FROM livestore_sync_adopted WHERE log = ?1".to_owned(),
        params: vec![Bound::Text(log_table(store_id))],
    }
}

/// Makes the table in which stores say what they took, where it is missing.
pub const CREATE_CLAIMS: &str = "CREATE TABLE IF NOT EXISTS livestore_sync_adopted \
     (log TEXT PRIMARY KEY, store_id TEXT NOT NULL, adopted_at TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Takes the log for a store at the time `now`, ISO 8601, unless another has it; with `by_force` also then. A row as that of
/// [`owner`].
#[must_use]
pub fn claim<T>(store_id: &StoreId, now: &str, by_force: bool) -> MirrorStep<T> {
    let owner = if by_force {
        "excluded.store_id"
    } else {
        "store_id"
    };
    MirrorStep {
        sql: format!(
            "INSERT INTO livestore_sync_adopted (log, store_id, adopted_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (log) DO UPDATE SET store_id = {owner} RETURNING store_id AS owner"
        ),
        params: vec![
            Bound::Text(log_table(store_id)),
            Bound::Text(store_id.as_str().to_owned()),
            Bound::Text(now.to_owned()),
        ],
    }
}

/// Leaves nothing of a log that this store has taken, at most `rows` rows at a time, and then not that it has: a row with the
/// column `found`, which is 0 once nothing is left. What another store has taken stays.
#[must_use]
pub fn disown<T>(store_id: &StoreId, rows: u32) -> MirrorBatch<T> {
    let table = log_table(store_id);
    let is_own = "EXISTS (SELECT 1 FROM livestore_sync_adopted WHERE log = ?1 AND store_id = ?2)";
    let step = |sql: String, rest: Option<Bound<T>>| {
        let mut params = vec![
            Bound::Text(table.clone()),
            Bound::Text(store_id.as_str().to_owned()),
        ];
        params.extend(rest);
        MirrorStep { sql, params }
    };
    let delete = format!(
        "DELETE FROM \"{table}\" WHERE {is_own} AND seqNum IN (SELECT seqNum FROM \"{table}\" ORDER BY seqNum LIMIT ?3)"
    );
    let forget = format!(
        "DELETE FROM livestore_sync_adopted WHERE log = ?1 AND store_id = ?2 AND NOT EXISTS (SELECT 1 FROM \"{table}\")"
    );
    let look = format!("SELECT iif({is_own}, '1', '0') AS found");
    MirrorBatch::new(vec![
        step(delete, Some(Bound::Int(rows.into()))),
        step(forget, None),
        step(look, None),
    ])
}
