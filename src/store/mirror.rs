//! The mirror of a log in D1: what is copied, by which statements.
//!
//! Owns the tables of `migrations/` and the rule that the mirror is a prefix of the log: rows are written and the
//! mirror's head is moved in one atomic batch, which does nothing unless the mirror ends where the batch begins, and
//! says where it ends. So a batch that is repeated, comes late, or meets another database does no harm.

use super::EventStore;
use super::schema::log_table;
use super::sql::{Param, Sql, StoreError, Text as _, Value};
use crate::event::{SeqNum, StoreId};
use crate::limits::{MIRROR_BYTES_MAX, MIRROR_EVENTS_MAX};

/// What the tables are made by, where they are missing or older.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/0001_backup.sql"),
    include_str!("../../migrations/0002_segments.sql"),
];

/// The version that the tables of this code have. The statements below name it too.
pub const SCHEMA_VERSION: i64 = 2;

/// The version before, which is brought to this one on first use.
pub const FORMER_VERSION: i64 = 1;

/// The table that [`FORMER_VERSION`] lacks.
pub const SEGMENTS_TABLE: &str = "livestore_sync_segments";

/// The table without which there is no mirror at all. Every batch asks for it first.
pub const SCHEMA_TABLE: &str = "livestore_sync_schema";

/// A value bound to a statement of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound<T> {
    /// SQL NULL.
    Null,
    /// An integer within 2^53.
    Int(i64),
    /// A text.
    Text(String),
    /// A text that lives with the host already.
    Kept(T),
    /// The same, to be bound as its gzip in hexadecimal digits.
    Packed(T),
}

/// One statement of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorStep<T> {
    /// SQL of D1.
    pub sql: String,
    /// Its parameters in order.
    pub params: Vec<Bound<T>>,
}

/// A batch of statements, to be run atomically. Some return a row, whose columns are those of [`MirrorAnswer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorBatch<T> {
    /// The statements.
    pub steps: Vec<MirrorStep<T>>,
    /// What a column `packed` is to hold, as [`Bound::Packed`] binds it: the answer says whether it does.
    pub expected: Option<T>,
}

impl<T> MirrorBatch<T> {
    /// A batch that expects nothing.
    #[must_use]
    pub fn new(steps: Vec<MirrorStep<T>>) -> Self {
        Self {
            steps,
            expected: None,
        }
    }
}

/// A batch that copies events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copying<T> {
    /// What does it.
    pub batch: MirrorBatch<T>,
    /// The last of them.
    pub last: SeqNum,
}

/// What a batch returns, each in a column of that name in one of its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorAnswer {
    /// `version`: that of the tables.
    pub version: Option<i64>,
    /// `head`: the last event of this lifetime that the mirror had before; `None` if it had none of it.
    pub head: Option<i64>,
    /// `last_at`: when that event was stored.
    pub last_at: Option<String>,
    /// `moved`: the last event that it has now; `None` if it took nothing.
    pub moved: Option<i64>,
    /// `lifetime`: what the mirror says of this lifetime, as JSON: see [`super::comparison`].
    pub lifetime: Option<String>,
    /// `found`: what a comparison found, as JSON: see [`super::comparison`].
    pub found: Option<String>,
    /// `segment_first`, `segment_last`: the first and the last event of the first segment after those that were asked about.
    pub segment: Option<(i64, i64)>,
    /// `plain`: the first event that has a row of its own and may be folded.
    pub plain: Option<i64>,
    /// `stored`: bytes of the segment that was written.
    pub stored: Option<i64>,
    /// Whether `packed` holds what was expected; `None` if there was no such row.
    pub same: Option<bool>,
}

/// Events for the mirror, with what is told of them.
pub(super) struct Rows<T> {
    pub(super) events: Events<T>,
    pub(super) last: SeqNum,
    count: i64,
    bytes: i64,
    first_at: T,
    last_at: T,
}

pub(super) enum Events<T> {
    /// A JSON array of arrays, one of the columns of each event.
    Many(T),
    /// The columns of one that is too large for that.
    One([Bound<T>; 7]),
}

pub(super) const COLUMNS: &str = "seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId";

/// What one event counts as.
pub(super) const SIZE: &str = "octet_length(name) + ifnull(octet_length(args), 0) + octet_length(clientId) + \
                    octet_length(sessionId)";

/// Where the mirror of store `?1` and lifetime `?2` ends, and the version of its tables.
pub(super) const LOOK: &str = "SELECT (SELECT max(version) FROM livestore_sync_schema) AS version, \
     (SELECT head FROM livestore_sync_lifetimes WHERE store_id = ?1 AND backend_id = ?2) AS head, \
     (SELECT last_at FROM livestore_sync_lifetimes WHERE store_id = ?1 AND backend_id = ?2) AS last_at";

pub(super) const LOOK_AT_VERSION: &str =
    "SELECT max(version) AS version FROM livestore_sync_schema";

pub(super) const KNOWS_TABLES: &str = "(SELECT max(version) FROM livestore_sync_schema) = 2";

/// A row of the mirror as the text that the log has for it.
pub(super) const OWN_ITEM: &str = "json_array(own.seq_num, own.parent_seq_num, own.name, own.args, own.created_at, \
                                   own.client_id, own.session_id)";

/// What it counts as.
pub(super) const OWN_SIZE: &str = "octet_length(own.name) + ifnull(octet_length(own.args), 0) + \
                                   octet_length(own.client_id) + octet_length(own.session_id)";

pub(super) const INSERT: &str = "INSERT OR REPLACE INTO livestore_sync_events (store_id, backend_id, seq_num, \
     parent_seq_num, name, args, created_at, client_id, session_id)";

/// Whether the tables are those of this code, and that mirror says that it ends at `?3`.
pub(super) const ENDS_THERE: &str = "ifnull((SELECT head FROM livestore_sync_lifetimes WHERE store_id = ?1 AND backend_id = ?2), 0) = ?3 \
     AND (SELECT max(version) FROM livestore_sync_schema) = 2";

/// Whether nothing is folded after `?3`.
const NONE_FOLDED: &str = "NOT EXISTS (SELECT 1 FROM livestore_sync_segments WHERE store_id = ?1 AND backend_id = ?2 \
     AND last_seq_num > ?3 AND is_folded = 1)";

impl<S: Sql> EventStore<S> {
    /// What copies the next events after `after`; `None` when there are none.
    /// *Shape*: `now` is ISO 8601.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows: a mirror is of one lifetime.
    pub fn mirror(&self, after: SeqNum, now: &str) -> Result<Option<Copying<S::Text>>, StoreError> {
        self.verify()?;
        let Some(rows) = self.mirror_rows(after)? else {
            return Ok(None);
        };
        let step = |sql: String, rest: Vec<Bound<S::Text>>| {
            let mut params = self.mirror_keys();
            params.extend(rest);
            MirrorStep { sql, params }
        };
        let from = Bound::Int(after.to_i64());
        let may_follow = format!("{ENDS_THERE} AND {NONE_FOLDED}");
        let insert = match rows.events {
            Events::Many(array) => step(
                format!(
                    "{INSERT} SELECT ?1, ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                     value ->> 6 FROM json_each(?4) WHERE {may_follow}"
                ),
                vec![from.clone(), Bound::Kept(array)],
            ),
            Events::One(columns) => {
                let mut rest = vec![from.clone()];
                rest.extend(columns);
                step(
                    format!(
                        "{INSERT} SELECT ?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE {may_follow}"
                    ),
                    rest,
                )
            }
        };
        let advance = step(
            format!(
                "INSERT INTO livestore_sync_lifetimes (store_id, backend_id, head, events, bytes, first_at, last_at, \
                 began_at, copied_at) SELECT ?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?9 WHERE {may_follow} \
                 ON CONFLICT (store_id, backend_id) DO UPDATE SET head = excluded.head, \
                 events = events + excluded.events, bytes = bytes + excluded.bytes, last_at = excluded.last_at, \
                 copied_at = excluded.copied_at RETURNING head AS moved"
            ),
            vec![
                from,
                Bound::Int(rows.last.to_i64()),
                Bound::Int(rows.count),
                Bound::Int(rows.bytes),
                Bound::Kept(rows.first_at),
                Bound::Kept(rows.last_at),
                Bound::Text(now.to_owned()),
            ],
        );
        let look = step(LOOK.to_owned(), Vec::new());
        let steps = vec![look, insert, advance];
        let batch = MirrorBatch::new(steps);
        Ok(Some(Copying {
            batch,
            last: rows.last,
        }))
    }

    /// The batch that makes the tables where they are missing.
    #[must_use]
    pub fn make_mirror(&self) -> MirrorBatch<S::Text> {
        make()
    }

    /// The batch that asks for the version of the tables, whatever they are.
    #[must_use]
    pub fn look_at_mirror(&self) -> MirrorBatch<S::Text> {
        MirrorBatch::new(vec![without_params(LOOK_AT_VERSION)])
    }

    pub(super) fn mirror_keys(&self) -> Vec<Bound<S::Text>> {
        vec![
            Bound::Kept(self.kept_store_id.clone()),
            Bound::Text(self.backend_id.as_str().to_owned()),
        ]
    }

    /// When an event was stored, as it stands in the log.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn created_at(&self, seq_num: SeqNum) -> Result<Option<String>, StoreError> {
        let table = log_table(&self.store_id);
        let one = self.sql.prepare(&format!(
            "SELECT createdAt FROM \"{table}\" WHERE seqNum = ?1"
        ));
        let mut at = None;
        self.sql
            .query(&one, &[Param::Int(seq_num.to_i64())], &mut |row| {
                if let [Value::Text(text)] = row {
                    at = Some(text.read());
                }
            })?;
        Ok(at)
    }

    /// When the first event after `after` was stored, to the second. *Units*: milliseconds since the epoch.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn first_after_ms(&self, after: SeqNum) -> Result<Option<u64>, StoreError> {
        let table = log_table(&self.store_id);
        let first = self.sql.prepare(&format!(
            "SELECT unixepoch(createdAt) FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT 1"
        ));
        let mut at = None;
        self.sql
            .query(&first, &[Param::Int(after.to_i64())], &mut |row| {
                if let [Value::Int(seconds)] = row {
                    at = u64::try_from(*seconds).ok().map(|seconds| seconds * 1_000);
                }
            })?;
        Ok(at)
    }

    /// The next events after `after`, as many as go into one batch; `None` when there are none.
    pub(super) fn mirror_rows(&self, after: SeqNum) -> Result<Option<Rows<S::Text>>, StoreError> {
        if after >= self.last_stored {
            return Ok(None);
        }
        let mut limit = i64::from(MIRROR_EVENTS_MAX);
        loop {
            let Some((count, bytes, first_at)) = self.mirror_range(after, limit)? else {
                return self.mirror_one(after);
            };
            match self.mirror_many(after, count, bytes, &first_at) {
                Ok(Some(rows)) => return Ok(Some(rows)),
                // Escapes have made it too large for a string of the platform.
                Ok(None) | Err(_) if count > 1 => limit = count / 8 + 1,
                Ok(None) | Err(_) => return self.mirror_one(after),
            }
        }
    }

    /// How many events after `after` fit into one array, at most `limit`, their bytes, and when the first was stored;
    /// `None` if not even one does.
    fn mirror_range(
        &self,
        after: SeqNum,
        limit: i64,
    ) -> Result<Option<(i64, i64, S::Text)>, StoreError> {
        let table = log_table(&self.store_id);
        // A column beside min() or max() is that of the row that has it.
        let fitting = self.sql.prepare(&format!(
            "SELECT count(*), sum(size), createdAt, min(seqNum) FROM (SELECT seqNum, createdAt, size, \
             sum(size + 100) OVER (ORDER BY seqNum) AS total FROM (SELECT seqNum, createdAt, {SIZE} AS size \
             FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT ?2 + 0)) WHERE total <= ?3"
        ));
        let params = [
            Param::Int(after.to_i64()),
            Param::Int(limit),
            Param::Int(MIRROR_BYTES_MAX),
        ];
        let mut range = None;
        self.sql.query(&fitting, &params, &mut |row| {
            if let [
                Value::Int(count),
                Value::Int(bytes),
                Value::Text(first_at),
                _,
            ] = row
            {
                range = Some((*count, *bytes, first_at.clone()));
            }
        })?;
        Ok(range)
    }

    fn mirror_many(
        &self,
        after: SeqNum,
        count: i64,
        bytes: i64,
        first_at: &S::Text,
    ) -> Result<Option<Rows<S::Text>>, StoreError> {
        let table = log_table(&self.store_id);
        let rows = self.sql.prepare(&format!(
            "SELECT '[' || group_concat(item, ',') || ']', createdAt, max(seqNum) FROM (SELECT seqNum, createdAt, \
             json_array({COLUMNS}) AS item FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT ?2 + 0)"
        ));
        let mut found = None;
        let params = [Param::Int(after.to_i64()), Param::Int(count)];
        self.sql.query(&rows, &params, &mut |row| {
            if let [Value::Text(array), Value::Text(last_at), Value::Int(last)] = row {
                found = Some(Rows {
                    events: Events::Many(array.clone()),
                    last: SeqNum::clamped(*last),
                    count,
                    bytes,
                    first_at: first_at.clone(),
                    last_at: last_at.clone(),
                });
            }
        })?;
        Ok(found)
    }

    fn mirror_one(&self, after: SeqNum) -> Result<Option<Rows<S::Text>>, StoreError> {
        let table = log_table(&self.store_id);
        let row = self.sql.prepare(&format!(
            "SELECT {COLUMNS}, {SIZE} FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT 1"
        ));
        let mut found = None;
        self.sql
            .query(&row, &[Param::Int(after.to_i64())], &mut |row| {
                if let [
                    Value::Int(seq_num),
                    Value::Int(parent),
                    Value::Text(name),
                    args,
                    Value::Text(at),
                    Value::Text(client),
                    Value::Text(session),
                    Value::Int(bytes),
                ] = row
                {
                    let args = match args {
                        Value::Text(args) => Bound::Kept(args.clone()),
                        Value::Int(_) | Value::Null => Bound::Null,
                    };
                    let kept = |text: &S::Text| Bound::Kept(text.clone());
                    found = Some(Rows {
                        events: Events::One([
                            Bound::Int(*seq_num),
                            Bound::Int(*parent),
                            kept(name),
                            args,
                            kept(at),
                            kept(client),
                            kept(session),
                        ]),
                        last: SeqNum::clamped(*seq_num),
                        count: 1,
                        bytes: *bytes,
                        first_at: at.clone(),
                        last_at: at.clone(),
                    });
                }
            })?;
        Ok(found)
    }
}

/// The batch that makes the tables where they are missing, and brings those of [`FORMER_VERSION`] to this one.
#[must_use]
pub fn make<T>() -> MirrorBatch<T> {
    let statements = MIGRATIONS.into_iter().flat_map(|text| text.split(";\n"));
    let made = statements.map(str::trim).filter(|sql| !sql.is_empty());
    MirrorBatch::new(made.chain([LOOK_AT_VERSION]).map(without_params).collect())
}

/// A statement that takes nothing.
#[must_use]
pub fn without_params<T>(sql: &str) -> MirrorStep<T> {
    MirrorStep {
        sql: sql.to_owned(),
        params: Vec::new(),
    }
}

/// The statement that lists stores, those after `after` in the order of their ids, at most `limit`: for each a row with
/// the columns `line`, which is JSON, and `store_id`.
#[must_use]
pub fn list_stores<T>(after: Option<&StoreId>, limit: u32) -> MirrorStep<T> {
    let (bound, compared) = match after {
        Some(after) => (after.as_str(), ">"),
        None => ("", ">="),
    };
    // Columns beside max() are those of the row that has it.
    let sql = format!(
        "SELECT store_id, json_object('storeId', store_id, 'backendId', backend_id, 'head', head, 'events', events, \
         'bytes', bytes, 'firstAt', first_at, 'lastAt', last_at, 'copiedAt', copied_at, 'lifetimes', lifetimes) AS line \
         FROM (SELECT *, max(began_at), count(*) AS lifetimes FROM livestore_sync_lifetimes \
         WHERE store_id {compared} ?1 GROUP BY store_id ORDER BY store_id LIMIT ?2)"
    );
    MirrorStep {
        sql,
        params: vec![Bound::Text(bound.to_owned()), Bound::Int(limit.into())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_ask_for_the_version_that_migrations_make() {
        let made = format!(
            "UPDATE {SCHEMA_TABLE} SET version = {SCHEMA_VERSION} WHERE version = {FORMER_VERSION};"
        );
        assert!(MIGRATIONS[1].ends_with(&(made + "\n")));
        assert!(MIGRATIONS[1].contains(&format!("EXISTS {SEGMENTS_TABLE} (")));
        assert_eq!(
            KNOWS_TABLES,
            format!("(SELECT max(version) FROM {SCHEMA_TABLE}) = {SCHEMA_VERSION}")
        );
        assert!(ENDS_THERE.ends_with(&format!(" = {SCHEMA_VERSION}")));
        assert!(LOOK.starts_with(&format!("SELECT (SELECT max(version) FROM {SCHEMA_TABLE})")));
    }
}
