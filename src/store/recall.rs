//! What D1 is asked when a log is brought back from its backup: which lifetimes it holds, whether one of them is whole,
//! and its events, which have rows of their own or are folded into segments.
//!
//! D1 cannot look into a segment. What has to be known of one that is brought back as a whole stands beside its data; where
//! a log is to end within one, its text is handed back to D1 with the question.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::mirror::{Bound, MirrorStep};
use super::segments::next_segment;
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
    /// The last of them that was asked for: a segment may have more.
    pub last: SeqNum,
    /// What [`super::adoption::survey`] says, if that is what was asked.
    pub holdings: Option<Holdings>,
    /// What [`super::adoption::claim`] says: the store that has the log.
    pub owner: Option<String>,
    /// When they were folded, if they were.
    pub made_at: Option<String>,
    /// The first and the last event of the segment that follows a segment, if there is one.
    pub next_segment: Option<(i64, i64)>,
}

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Self {
            rows: None,
            count: 0,
            last: SeqNum::ROOT,
            holdings: None,
            owner: None,
            made_at: None,
            next_segment: None,
        }
    }
}

/// How a failure begins when a segment holds what is none.
pub const DAMAGED: &str = "a segment of the backup is damaged";

/// The segment in which a log is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut<T> {
    /// Its last event.
    pub last: i64,
    /// Its text.
    pub text: T,
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

/// The size of an event in the text of a segment.
const ITEM_SIZE: &str = "octet_length(value ->> 2) + ifnull(octet_length(value ->> 3), 0) + octet_length(value ->> 5) + \
                         octet_length(value ->> 6)";

/// Looks at the events of a lifetime up to `up_to`: a row, which is a [`Survey`]. If that lies within a segment, the row has
/// the columns `cut_last` and `packed`, too, and means nothing: it is asked again with what that is.
#[must_use]
pub fn survey<T>(
    store_id: &StoreId,
    lifetime: &Lifetime,
    up_to: Option<&UpTo>,
    cut: Option<Cut<T>>,
) -> MirrorStep<T> {
    let whose = "store_id = ?1 AND backend_id = ?2";
    let number = |number: u64| Bound::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let mut is_time = "1";
    let (ends, bound) = match up_to {
        None => (
            "SELECT ?3 AS last, ?3 AS within".to_owned(),
            number(lifetime.head),
        ),
        Some(UpTo::Event(last)) => (
            "SELECT ?3 AS last, ?3 AS within".to_owned(),
            number(*last.min(&lifetime.head)),
        ),
        Some(UpTo::Time(time)) => {
            is_time = "julianday(?3) IS NOT NULL";
            let at = "strftime('%Y-%m-%dT%H:%M:%fZ', ?3)";
            let ends = format!(
                "SELECT ifnull(later - 1, {head}) AS last, ifnull(later, {head}) AS within FROM (SELECT min(later) AS later \
                 FROM (SELECT min(seq_num) AS later FROM livestore_sync_events WHERE {whose} AND created_at > {at} \
                 UNION ALL SELECT min(seq_num) FROM item WHERE created_at > {at} \
                 UNION ALL SELECT min(first_seq_num) FROM other WHERE latest_at > {at}))",
                head = lifetime.head
            );
            (ends, Bound::Text(time.clone()))
        }
    };
    // `item` are the events of the segment that is handed back, as long as it is one, and `other` the other segments.
    let sql = format!(
        "WITH item AS MATERIALIZED (SELECT value ->> 0 AS seq_num, value ->> 1 AS parent_seq_num, value ->> 4 AS created_at, \
         {ITEM_SIZE} AS size FROM json_each(?5) WHERE EXISTS (SELECT 1 FROM livestore_sync_segments WHERE {whose} \
         AND last_seq_num = ?4 AND is_folded = 1)), \
         other AS (SELECT last_seq_num, first_seq_num, parent_seq_num, events, bytes, last_at, latest_at \
         FROM livestore_sync_segments WHERE {whose} AND is_folded = 1 AND last_seq_num <> ?4), \
         ends AS MATERIALIZED ({ends}), \
         found AS (SELECT seq_num, seq_num AS first_seq_num, parent_seq_num, created_at, 1 AS events, {SIZE} AS size \
         FROM livestore_sync_events WHERE {whose} AND seq_num <= (SELECT last FROM ends) \
         UNION ALL SELECT seq_num, seq_num, parent_seq_num, created_at, 1, size FROM item \
         WHERE seq_num <= (SELECT last FROM ends) \
         UNION ALL SELECT last_seq_num, first_seq_num, parent_seq_num, last_at, events, bytes FROM other \
         WHERE last_seq_num <= (SELECT last FROM ends)), \
         chosen AS (SELECT *, lag(seq_num, 1, 0) OVER (ORDER BY seq_num) AS before FROM found), \
         cut AS (SELECT last_seq_num, data FROM livestore_sync_segments WHERE {whose} AND is_folded = 1 \
         AND last_seq_num <> ?4 AND last_seq_num > (SELECT last FROM ends) \
         AND first_seq_num <= (SELECT within FROM ends) ORDER BY last_seq_num LIMIT 1) \
         SELECT * FROM (SELECT {is_time} AS is_time, ifnull(sum(events), 0) AS events, ifnull(sum(size), 0) AS bytes, \
         ifnull(max(seq_num), 0) AS head FROM chosen) \
         LEFT JOIN (SELECT created_at AS last_at FROM chosen ORDER BY seq_num DESC LIMIT 1) \
         LEFT JOIN (SELECT first_seq_num AS seq_num, parent_seq_num, before FROM chosen \
         WHERE parent_seq_num <> before OR first_seq_num <= before ORDER BY seq_num LIMIT 1) \
         LEFT JOIN (SELECT last_seq_num AS cut_last, hex(data) AS packed FROM cut)"
    );
    let (last, text) = match cut {
        Some(Cut { last, text }) => (last, Bound::Kept(text)),
        None => (0, Bound::Text("[]".to_owned())),
    };
    MirrorStep {
        sql,
        params: vec![
            Bound::Text(store_id.as_str().to_owned()),
            Bound::Text(lifetime.backend_id.clone()),
            bound,
            Bound::Int(last),
            text,
        ],
    }
}

/// The events of a lifetime after `after` up to `up_to`, at most `limit` and as many as fit into one text: a row with
/// the columns `items`, a JSON array of arrays, `count` and `last`. Where a segment comes next, it is `packed` that holds
/// the array, of all its events, `made_at` says when that was made, and `segment_first` and `segment_last` are those of the segment that follows it.
#[must_use]
pub fn fetch<T>(
    store_id: &StoreId,
    backend_id: &BackendId,
    after: SeqNum,
    up_to: SeqNum,
    limit: u32,
) -> MirrorStep<T> {
    let next = next_segment("first_seq_num, last_seq_num, events, made_at, data", "?3");
    let follows = |column| next_segment(column, "(SELECT last_seq_num FROM next)");
    let sql = format!(
        "WITH next AS MATERIALIZED ({next}), near AS (SELECT * FROM livestore_sync_events \
         WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?3 \
         AND seq_num <= min(?4, ifnull((SELECT first_seq_num - 1 FROM next), ?4)) ORDER BY seq_num LIMIT ?5), \
         own AS (SELECT '[' || group_concat(item, ',') || ']' AS items, count(*) AS count, max(seq_num) AS last FROM \
         (SELECT seq_num, json_array(seq_num, parent_seq_num, name, args, created_at, client_id, session_id) AS item \
         FROM (SELECT *, sum({SIZE} + 100) OVER (ORDER BY seq_num) AS total FROM near) WHERE total <= ?6 ORDER BY seq_num)), \
         whole AS (SELECT hex(data) AS packed, made_at, events, CAST(min(last_seq_num, ?4) AS INTEGER) AS last, ({}) AS segment_first, \
         ({}) AS segment_last FROM next WHERE first_seq_num <= ?4 AND NOT EXISTS (SELECT 1 FROM near)) \
         SELECT items, packed, made_at, segment_first, segment_last, ifnull(whole.events, own.count) AS count, \
         ifnull(whole.last, own.last) AS last FROM own LEFT JOIN whole",
        follows("first_seq_num"),
        follows("last_seq_num")
    );
    let mut params = range(store_id, backend_id, after, up_to);
    params.push(Bound::Int(limit.into()));
    params.push(Bound::Int(MIRROR_BYTES_MAX));
    MirrorStep { sql, params }
}

/// The first event of a lifetime after `after` up to `up_to`, unless a segment comes first: a row with its columns, by their
/// names in the log.
#[must_use]
pub fn fetch_one<T>(
    store_id: &StoreId,
    backend_id: &BackendId,
    after: SeqNum,
    up_to: SeqNum,
) -> MirrorStep<T> {
    let next = next_segment("first_seq_num", "?3");
    MirrorStep {
        sql: format!(
            "SELECT seq_num AS seqNum, parent_seq_num AS parentSeqNum, name, args, created_at AS createdAt, \
             client_id AS clientId, session_id AS sessionId FROM livestore_sync_events \
             WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?3 AND seq_num <= ?4 \
             AND seq_num < ifnull(({next}), seq_num + 1) ORDER BY seq_num LIMIT 1"
        ),
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
