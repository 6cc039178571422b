//! What D1 is asked when a log is brought back from its backup: which lifetimes it holds, whether one of them is whole,
//! and its events.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::mirror::{Bound, MirrorStep};
use super::staging::{Broken, Rows};
use crate::event::{BackendId, SeqNum, StoreId};
use crate::limits::{FETCH_LIFETIMES_MAX, MIRROR_BYTES_MAX};

/// A lifetime of a log, as the backup knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetime {
    /// Its id.
    pub backend_id: String,
    /// Its last event that was copied.
    pub head: u64,
    /// How many were copied.
    pub events: u64,
    /// Their bytes, as the backup counts them.
    pub bytes: u64,
    /// When the first was stored, ISO 8601.
    pub first_at: String,
    /// When the last was stored.
    pub last_at: String,
    /// When the first copy was made.
    pub began_at: String,
    /// When the last copy was made.
    pub copied_at: String,
}

/// A row of D1, by the names of its columns.
pub trait Row {
    /// The text in a column, if there is one.
    fn text(&self, column: &str) -> Option<String>;

    /// The integer in a column, if there is one. *Units*: within 2^53.
    fn integer(&self, column: &str) -> Option<i64>;
}

fn count(row: &impl Row, column: &str) -> u64 {
    u64::try_from(row.integer(column).unwrap_or_default()).unwrap_or_default()
}

impl Lifetime {
    /// Reads a row of [`lifetimes`].
    #[must_use]
    pub fn of(row: &impl Row) -> Self {
        let text = |column| row.text(column).unwrap_or_default();
        Self {
            backend_id: text("backend_id"),
            head: count(row, "head"),
            events: count(row, "events"),
            bytes: count(row, "bytes"),
            first_at: text("first_at"),
            last_at: text("last_at"),
            began_at: text("began_at"),
            copied_at: text("copied_at"),
        }
    }
}

impl Survey {
    /// Reads the row of [`survey`].
    #[must_use]
    pub fn of(row: &impl Row) -> Self {
        let broken = row.integer("seq_num").map(|seq_num| Broken {
            seq_num,
            parent_seq_num: row.integer("parent_seq_num").unwrap_or_default(),
            before: row.integer("before").unwrap_or_default(),
        });
        Self {
            events: count(row, "events"),
            bytes: count(row, "bytes"),
            head: count(row, "head"),
            last_at: row.text("last_at"),
            is_time: row.integer("is_time") != Some(0),
            broken,
        }
    }
}

/// Up to where a log is brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpTo {
    /// Up to this event.
    Event(u64),
    /// Up to the last event before the first that was stored later than this time, ISO 8601.
    Time(String),
}

/// *Shape*: a JSON number, or a text.
impl<'de> Deserialize<'de> for UpTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UpToVisitor)
    }
}

struct UpToVisitor;

impl Visitor<'_> for UpToVisitor {
    type Value = UpTo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of an event, or a time such as \"2026-01-31T12:00:00Z\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<UpTo, E> {
        Ok(UpTo::Event(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<UpTo, E> {
        // Whether it is a time, D1 says; it would take other texts for times as well.
        let is_date = matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', ..]);
        if is_date {
            Ok(UpTo::Time(text.to_owned()))
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }
}

/// What the backup holds of the events that are to be brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many there are.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last of them; 0 when there is none.
    pub head: u64,
    /// When it was stored.
    pub last_at: Option<String>,
    /// Whether D1 has understood the time up to which is asked.
    pub is_time: bool,
    /// The first event that does not continue from the one before it, if there is such a one.
    pub broken: Option<Broken>,
}

/// What a table in D1 holds of which sync-cf made a log: see [`super::adoption`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// How many events.
    pub events: u64,
    /// Their bytes, as a backup counts them.
    pub bytes: u64,
    /// The last of them; 0 when there is none.
    pub head: u64,
    /// By how many pushes those came that follow the stored head: sync-cf leaves one, if it was interrupted.
    pub pushes_after: u64,
}

impl Holdings {
    /// Reads a row, if it is one of that.
    #[must_use]
    pub fn of(row: &impl Row) -> Option<Self> {
        row.integer("pushes_after")?;
        Some(Self {
            events: count(row, "events"),
            bytes: count(row, "bytes"),
            head: count(row, "head"),
            pushes_after: count(row, "pushes_after"),
        })
    }
}

/// Events that D1 has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched<T> {
    /// Their columns; `None` when none fitted.
    pub rows: Option<Rows<T>>,
    /// How many they are.
    pub count: u32,
    /// The last of them.
    pub last: SeqNum,
    /// What [`super::adoption::survey`] says, if that is what was asked.
    pub holdings: Option<Holdings>,
    /// What [`super::adoption::claim`] says: the store that has the log.
    pub owner: Option<String>,
}

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self {
            rows: None,
            count: 0,
            last: SeqNum::ROOT,
            holdings: None,
            owner: None,
        }
    }
}

/// What one event counts as. The same as in a copy.
const SIZE: &str = "octet_length(name) + ifnull(octet_length(args), 0) + octet_length(client_id) + octet_length(session_id)";

/// The lifetimes of a store, the latest first: a row for each, which is a [`Lifetime`].
#[must_use]
pub fn lifetimes<T>(store_id: &StoreId) -> MirrorStep<T> {
    MirrorStep {
        sql: "SELECT backend_id, head, events, bytes, first_at, last_at, began_at, copied_at \
              FROM livestore_sync_lifetimes WHERE store_id = ?1 ORDER BY began_at DESC, copied_at DESC LIMIT ?2"
            .to_owned(),
        params: vec![
            Bound::Text(store_id.as_str().to_owned()),
            Bound::Int(FETCH_LIFETIMES_MAX.into()),
        ],
    }
}

/// Looks at the events of a lifetime up to `up_to`: a row, which is a [`Survey`].
#[must_use]
pub fn survey<T>(store_id: &StoreId, lifetime: &Lifetime, up_to: Option<&UpTo>) -> MirrorStep<T> {
    let whose = "store_id = ?1 AND backend_id = ?2";
    let head = Bound::Int(i64::try_from(lifetime.head).unwrap_or(i64::MAX));
    let mut is_time = "1";
    let (last, bound) = match up_to {
        None => ("?3".to_owned(), head),
        Some(UpTo::Event(last)) => {
            let last = i64::try_from(*last.min(&lifetime.head)).unwrap_or(i64::MAX);
            ("?3".to_owned(), Bound::Int(last))
        }
        Some(UpTo::Time(time)) => {
            is_time = "julianday(?3) IS NOT NULL";
            let last = format!(
                "ifnull((SELECT min(seq_num) - 1 FROM livestore_sync_events WHERE {whose} \
                 AND created_at > strftime('%Y-%m-%dT%H:%M:%fZ', ?3)), {})",
                lifetime.head
            );
            (last, Bound::Text(time.clone()))
        }
    };
    let sql = format!(
        "WITH chosen AS (SELECT seq_num, parent_seq_num, created_at, {SIZE} AS size, \
         lag(seq_num, 1, 0) OVER (ORDER BY seq_num) AS before FROM livestore_sync_events \
         WHERE {whose} AND seq_num <= {last}) \
         SELECT * FROM (SELECT {is_time} AS is_time, count(*) AS events, ifnull(sum(size), 0) AS bytes, ifnull(max(seq_num), 0) AS head FROM chosen) \
         LEFT JOIN (SELECT created_at AS last_at FROM chosen ORDER BY seq_num DESC LIMIT 1) \
         LEFT JOIN (SELECT seq_num, parent_seq_num, before FROM chosen WHERE parent_seq_num <> before ORDER BY seq_num LIMIT 1)"
    );
    MirrorStep {
        sql,
        params: vec![
            Bound::Text(store_id.as_str().to_owned()),
            Bound::Text(lifetime.backend_id.clone()),
            bound,
        ],
    }
}

/// The events of a lifetime after `after` up to `up_to`, at most `limit` and as many as fit into one text: a row with
/// the columns `items`, a JSON array of arrays, `count` and `last`.
#[must_use]
pub fn fetch<T>(
    store_id: &StoreId,
    backend_id: &BackendId,
    after: SeqNum,
    up_to: SeqNum,
    limit: u32,
) -> MirrorStep<T> {
    let sql = format!(
        "SELECT '[' || group_concat(item, ',') || ']' AS items, count(*) AS count, max(seq_num) AS last FROM \
         (SELECT seq_num, json_array(seq_num, parent_seq_num, name, args, created_at, client_id, session_id) AS item \
         FROM (SELECT *, sum({SIZE} + 100) OVER (ORDER BY seq_num) AS total FROM (SELECT * FROM livestore_sync_events \
         WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?3 AND seq_num <= ?4 ORDER BY seq_num LIMIT ?5)) \
         WHERE total <= ?6 ORDER BY seq_num)"
    );
    let mut params = range(store_id, backend_id, after, up_to);
    params.push(Bound::Int(limit.into()));
    params.push(Bound::Int(MIRROR_BYTES_MAX));
    MirrorStep { sql, params }
}

/// The first event of a lifetime after `after` up to `up_to`: a row with its columns, by their names in the log.
#[must_use]
pub fn fetch_one<T>(
    store_id: &StoreId,
    backend_id: &BackendId,
    after: SeqNum,
    up_to: SeqNum,
) -> MirrorStep<T> {
    MirrorStep {
        sql: "SELECT seq_num AS seqNum, parent_seq_num AS parentSeqNum, name, args, created_at AS createdAt, \
              client_id AS clientId, session_id AS sessionId FROM livestore_sync_events \
              WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?3 AND seq_num <= ?4 ORDER BY seq_num LIMIT 1"
            .to_owned(),
        params: range(store_id, backend_id, after, up_to),
    }
}

fn range<T>(
    store_id: &StoreId,
    backend_id: &BackendId,
    after: SeqNum,
    up_to: SeqNum,
) -> Vec<Bound<T>> {
    vec![
        Bound::Text(store_id.as_str().to_owned()),
        Bound::Text(backend_id.as_str().to_owned()),
        Bound::Int(after.to_i64()),
        Bound::Int(up_to.to_i64()),
    ]
}
