//! A log beside its mirror in D1: by which statements they are compared, and the mirror is made right again.
//!
//! Owns what a difference is. D1 is handed a range of the log as the text that SQL makes of it, makes the same text of
//! each row that it holds, and names the events whose texts differ: no row comes back, and what is told apart is every
//! byte, not a checksum. What repairs can be repeated, come late, and meet a copy under way: an event of a lifetime never
//! changes, and the row of a lifetime is written only where its head is still the one that was seen.

use serde::{Deserialize, Serialize};

use super::EventStore;
use super::mirror::{
    Bound, COLUMNS, ENDS_THERE, Events, INSERT, KNOWS_TABLES, LOOK, LOOK_AT_VERSION, MirrorBatch,
    MirrorStep, OWN_ITEM, OWN_SIZE, SIZE, without_params,
};
use super::schema::log_table;
use super::segments::next_segment;
use super::sql::{Param, Sql, StoreError, Text as _, Value};
use crate::event::SeqNum;
use crate::limits::{VERIFY_EXTRA_MAX, VERIFY_TALLIED_MAX};

/// What is done about differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    No,
    /// The mirror gets what the log has. What the mirror alone has stays: it may be the only copy.
    FromLog,
    /// The mirror becomes what the log is: what it alone has is removed.
    Discard,
}

/// A part of the log, and of what the mirror has under the same numbers.
pub struct Range<T> {
    /// The number before the first; `None`: there is none.
    from: Option<i64>,
    /// The last number.
    to: i64,
    events: Events<T>,
}

impl<T> Range<T> {
    /// The last number.
    #[must_use]
    pub fn to(&self) -> i64 {
        self.to
    }

    /// Ends it at `to` already.
    pub fn end_at(&mut self, to: i64) {
        self.to = to;
    }
}

/// An event that differs.
///
/// *Shape*: D1 returns them as a JSON array in the order of their numbers, at most [`VERIFY_EXTRA_MAX`] and one more of
/// those that are in the mirror alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Found(pub i64, pub u16);

impl Found {
    /// The mirror lacks it; other numbers are bits, one for each of [`COMPARED`] that differs.
    pub const MISSING: u16 = 64;
    /// The log lacks it.
    pub const EXTRA: u16 = 128;

    /// What D1 has returned.
    #[must_use]
    pub fn read(json: &str) -> Option<Vec<Self>> {
        serde_json::from_str(json).ok()
    }
}

/// What is compared of an event, by the names that it has in an export.
pub const COMPARED: [&str; 6] = [
    "parentSeqNum",
    "name",
    "args",
    "createdAt",
    "clientId",
    "sessionId",
];

/// The same in the mirror.
const OWN: [&str; 6] = [
    "parent_seq_num",
    "name",
    "args",
    "created_at",
    "client_id",
    "session_id",
];

/// Where a row of the mirror is so large that its JSON may be too much for SQLite, its columns are compared without.
const LARGE: &str = "300000";

/// What the mirror says of a lifetime, or should say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetime {
    /// The last event that is copied.
    pub head: i64,
    /// How many are.
    pub events: i64,
    /// Their bytes.
    pub bytes: i64,
    /// When the first was stored.
    pub first_at: String,
    /// When the last was stored.
    pub last_at: String,
}

impl Lifetime {
    /// As D1 returns it: an array.
    #[must_use]
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// Events of the log that have been counted so far.
#[derive(Debug, Default)]
pub struct Tally {
    to: SeqNum,
    first: Option<SeqNum>,
    last: SeqNum,
    events: i64,
    bytes: i64,
}

/// What the log says of a range of itself.
pub struct Chain {
    /// How many events there are.
    pub events: u64,
    /// Those whose parent is not the event before them.
    pub broken: Vec<i64>,
}

const LIFETIME: &str = "SELECT json_array(head, events, bytes, first_at, last_at) FROM livestore_sync_lifetimes \
     WHERE store_id = ?1 AND backend_id = ?2";

/// The numbers of the log in a range, of those that the mirror has.
fn in_log<T>(events: &Events<T>) -> &'static str {
    match events {
        Events::Many(_) => "seq_num IN (SELECT value ->> 0 FROM json_each(?5))",
        Events::One(_) => "seq_num = ?5",
    }
}

/// The rows of the mirror in a range that are in it alone.
fn extra<T>(events: &Events<T>) -> String {
    let in_log = in_log(events);
    format!(
        "store_id = ?1 AND backend_id = ?2 AND seq_num > ifnull(?3, -9223372036854775808) AND seq_num <= ?4 \
         AND NOT ({in_log})"
    )
}

/// For each column a bit, if `differs` says that it does.
fn bits(differs: impl Fn(usize, &str) -> String) -> String {
    let terms = OWN.iter().enumerate().map(|(index, column)| {
        let bit = 1 << index;
        format!("{bit} * ({})", differs(index, column))
    });
    terms.collect::<Vec<_>>().join(" + ")
}

/// Selects `seq_num` and `kind` of the events of the log that the mirror has not, or otherwise.
fn differing<T>(events: &Events<T>) -> String {
    let missing = Found::MISSING;
    match events {
        Events::Many(_) => {
            let bits = bits(|index, column| {
                let at = index + 1;
                format!(
                    "CASE WHEN octet_length(own.{column}) > {LARGE} THEN own.{column} IS NOT item ->> {at} \
                     ELSE json_quote(own.{column}) <> item -> {at} END"
                )
            });
            format!(
                "SELECT log.seq_num, CASE WHEN own.seq_num IS NULL THEN {missing} ELSE {bits} END AS kind \
                 FROM (SELECT value ->> 0 AS seq_num, value AS item FROM json_each(?5) WHERE value ->> 0 <= ?4) AS log \
                 LEFT JOIN livestore_sync_events AS own ON own.store_id = ?1 AND own.backend_id = ?2 \
                 AND own.seq_num = log.seq_num WHERE own.seq_num IS NULL \
                 OR CASE WHEN {OWN_SIZE} > {LARGE} THEN 1 ELSE {OWN_ITEM} <> item END"
            )
        }
        Events::One(_) => {
            let bits = bits(|index, column| format!("own.{column} IS NOT ?{}", index + 6));
            format!(
                "SELECT CAST(?5 AS INTEGER) AS seq_num, ifnull((SELECT {bits} FROM livestore_sync_events AS own \
                 WHERE store_id = ?1 AND backend_id = ?2 AND seq_num = ?5), {missing}) AS kind WHERE ?5 <= ?4"
            )
        }
    }
}

/// Selects the first segment after `after`.
fn segment_columns(after: &str) -> String {
    let of = |column| next_segment(column, after);
    format!(
        "({}) AS segment_first, ({}) AS segment_last",
        of("first_seq_num"),
        of("last_seq_num")
    )
}

/// Whether event `seq_num` is in no segment.
fn is_unfolded(seq_num: &str) -> String {
    let next = next_segment("first_seq_num", &format!("{seq_num} - 1"));
    format!("ifnull(({next}) > {seq_num}, 1)")
}

impl<S: Sql> EventStore<S> {
    /// The batch that asks for the version of the tables, and where the mirror ends.
    #[must_use]
    pub fn look(&self) -> MirrorBatch<S::Text> {
        MirrorBatch::new(vec![self.own_step(LOOK.to_owned(), Vec::new())])
    }

    /// The next part of the log after `from`, up to `to`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn range(&self, from: Option<i64>, to: SeqNum) -> Result<Range<S::Text>, StoreError> {
        let after = SeqNum::clamped(from.unwrap_or(0));
        let rows = self.mirror_rows(after)?;
        let (events, last) = match rows {
            Some(rows) => (rows.events, rows.last.min(to)),
            None => (Events::Many(self.text("[]")), to),
        };
        Ok(Range {
            from,
            to: last.to_i64(),
            events,
        })
    }

    /// How many events a range has, and which of them do not continue from the one before.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn chain(&self, range: &Range<S::Text>) -> Result<Chain, StoreError> {
        let table = log_table(&self.store_id);
        let chain = self.sql.prepare(&format!(
            "SELECT count(*), json_group_array(seqNum) FILTER (WHERE parentSeqNum IS NOT previous) FROM (SELECT seqNum, \
             parentSeqNum, ifnull(lag(seqNum) OVER (ORDER BY seqNum), ifnull((SELECT max(seqNum) FROM \"{table}\" \
             WHERE seqNum <= ?1), 0)) AS previous FROM \"{table}\" WHERE seqNum > ?1 AND seqNum <= ?2)"
        ));
        let from = SeqNum::clamped(range.from.unwrap_or(0));
        let params = [
            Param::Int(from.to_i64()),
            Param::Int(SeqNum::clamped(range.to).to_i64()),
        ];
        let mut found = Chain {
            events: 0,
            broken: Vec::new(),
        };
        self.sql.query(&chain, &params, &mut |row| {
            if let [Value::Int(events), Value::Text(broken)] = row {
                found.events = u64::try_from(*events).unwrap_or(0);
                found.broken = serde_json::from_str(&broken.read()).unwrap_or_default();
            }
        })?;
        Ok(found)
    }

    /// The batch that names what differs in a range, as [`Found`], and the first segment after its beginning: from there
    /// on, what it names means nothing.
    #[must_use]
    pub fn compare(&self, range: &Range<S::Text>) -> MirrorBatch<S::Text> {
        let (differing, extra) = (differing(&range.events), extra(&range.events));
        let (kind, limit) = (Found::EXTRA, VERIFY_EXTRA_MAX + 1);
        let segment = segment_columns("ifnull(?3, 0)");
        let sql = format!(
            "SELECT {segment}, json_group_array(json_array(seq_num, kind)) AS found FROM (SELECT * FROM ({differing}) WHERE kind <> 0 \
             UNION ALL SELECT * FROM (SELECT seq_num, {kind} FROM livestore_sync_events WHERE {extra} ORDER BY seq_num \
             LIMIT {limit}) ORDER BY 1)"
        );
        MirrorBatch::new(vec![self.own_step(sql, range_params(range))])
    }

    /// The range of a segment whose last event is `to`, of which the events before `from` were compared.
    #[must_use]
    pub fn segment_range(&self, from: Option<i64>, to: i64) -> Range<S::Text> {
        Range {
            from,
            to,
            events: Events::Many(self.text("[]")),
        }
    }

    /// What differs between a range of the log and `text`, that of a segment.
    ///
    /// # Errors
    /// When SQLite fails, or it is no such text.
    pub fn compare_segment(
        &self,
        range: &Range<S::Text>,
        text: &S::Text,
    ) -> Result<Vec<Found>, StoreError> {
        let table = log_table(&self.store_id);
        let bits = bits(|index, _| {
            let at = index + 1;
            format!("own.item -> {at} IS NOT log.item -> {at}")
        });
        let (missing, extra) = (Found::MISSING, Found::EXTRA);
        let compared = self.sql.prepare(&format!(
            "WITH log AS MATERIALIZED (SELECT seqNum AS seq_num, json_array({COLUMNS}) AS item FROM \"{table}\" \
             WHERE seqNum > ?1 AND seqNum <= ?2), own AS MATERIALIZED (SELECT value ->> 0 AS seq_num, value AS item \
             FROM json_each(?3) WHERE ifnull(value ->> 0, 0) > ?1) \
             SELECT json_group_array(json_array(seq_num, kind)) FROM (\
             SELECT seq_num, CASE WHEN own.item IS NULL THEN {missing} ELSE max({bits}, 1) END AS kind FROM log \
             LEFT JOIN own USING (seq_num) WHERE own.item IS NOT log.item \
             UNION ALL SELECT seq_num, {extra} FROM own WHERE seq_num NOT IN (SELECT seq_num FROM log) ORDER BY 1)"
        ));
        let params = [
            Param::Int(SeqNum::clamped(range.from.unwrap_or(0)).to_i64()),
            Param::Int(SeqNum::clamped(range.to).to_i64()),
            Param::Kept(text),
        ];
        let mut found = None;
        self.sql.query(&compared, &params, &mut |row| {
            if let [Value::Text(text)] = row {
                found = Found::read(&text.read());
            }
        })?;
        found.ok_or_else(|| StoreError {
            message: "a segment cannot be compared".to_owned(),
        })
    }

    /// The batch that gives the events of `text` rows of their own, in place of the segment that ends at `last`. If that is
    /// where the text is from, `made_at` says which one it has to be: another may have taken its place.
    #[must_use]
    pub fn unfold(&self, last: i64, made_at: Option<&str>, text: &S::Text) -> MirrorBatch<S::Text> {
        let is_it = "store_id = ?1 AND backend_id = ?2 AND last_seq_num = ?3 AND made_at = ifnull(?4, made_at) \
                     AND is_folded = 1";
        let is_there = format!(
            "{KNOWS_TABLES} AND EXISTS (SELECT 1 FROM livestore_sync_segments WHERE {is_it})"
        );
        let insert = format!(
            "{INSERT} SELECT ?1, ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
             value ->> 6 FROM json_each(?5) WHERE {is_there}"
        );
        let delete =
            format!("DELETE FROM livestore_sync_segments WHERE {is_it} AND {KNOWS_TABLES}");
        let which = || {
            let made_at = made_at.map_or(Bound::Null, |at| Bound::Text(at.to_owned()));
            vec![Bound::Int(last), made_at]
        };
        let mut params = which();
        params.push(Bound::Kept(text.clone()));
        MirrorBatch::new(vec![
            without_params(LOOK_AT_VERSION),
            self.own_step(insert, params),
            self.own_step(delete, which()),
        ])
    }

    /// The batch that writes what differs in a range, and says the version of the tables; what is not that of this code is
    /// left alone.
    #[must_use]
    pub fn rewrite(&self, range: &Range<S::Text>, repair: Repair) -> MirrorBatch<S::Text> {
        let params = || range_params(range);
        let insert = match range.events {
            Events::Many(_) => format!(
                "{INSERT} SELECT ?1, ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                 value ->> 6 FROM json_each(?5) WHERE value ->> 0 <= ?4 AND {KNOWS_TABLES} AND {} AND NOT EXISTS (SELECT 1 \
                 FROM livestore_sync_events AS own WHERE own.store_id = ?1 AND own.backend_id = ?2 \
                 AND own.seq_num = value ->> 0 AND CASE WHEN {OWN_SIZE} > {LARGE} THEN 0 ELSE {OWN_ITEM} = value END)",
                is_unfolded("(value ->> 0)")
            ),
            Events::One(_) => format!(
                "{INSERT} SELECT ?1, ?2, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE ?5 <= ?4 AND {KNOWS_TABLES} AND {}",
                is_unfolded("?5")
            ),
        };
        let mut steps = vec![
            without_params(LOOK_AT_VERSION),
            self.own_step(insert, params()),
        ];
        if repair == Repair::Discard {
            let extra = extra(&range.events);
            let delete =
                format!("DELETE FROM livestore_sync_events WHERE {extra} AND {KNOWS_TABLES}");
            let mut params = params();
            // Of an event, its number alone.
            params.truncate(3);
            steps.push(self.own_step(delete, params));
        }
        MirrorBatch::new(steps)
    }

    /// The batch that asks for the version of the tables, for what the mirror says of this lifetime, and for its rows after
    /// `from` that are above its head, or after `last`, where the log ends; and for the first segment after `from`.
    #[must_use]
    pub fn tail(&self, from: SeqNum, last: SeqNum) -> MirrorBatch<S::Text> {
        let segment = segment_columns("?3");
        let (kind, limit) = (Found::EXTRA, VERIFY_EXTRA_MAX + 1);
        let sql = format!(
            "SELECT {segment}, (SELECT max(version) FROM livestore_sync_schema) AS version, ({LIFETIME}) AS lifetime, \
             (SELECT json_group_array(json_array(seq_num, {kind})) FROM (SELECT seq_num FROM livestore_sync_events \
             WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?3 AND (seq_num > ?4 OR seq_num > ifnull((SELECT head \
             FROM livestore_sync_lifetimes WHERE store_id = ?1 AND backend_id = ?2), 0)) ORDER BY seq_num LIMIT {limit})) \
             AS found"
        );
        let params = vec![Bound::Int(from.to_i64()), Bound::Int(last.to_i64())];
        MirrorBatch::new(vec![self.own_step(sql, params)])
    }

    /// The batch that has the mirror say `truth` of this lifetime, `None`: nothing, and removes its rows after `end` up to
    /// `to`. It does nothing unless the mirror says that it ends at `seen`; else it returns `moved`.
    #[must_use]
    pub fn settle(
        &self,
        seen: i64,
        truth: Option<&Lifetime>,
        end: SeqNum,
        to: i64,
        now: &str,
    ) -> MirrorBatch<S::Text> {
        let with = |rest: Vec<Bound<S::Text>>| {
            let mut params = vec![Bound::Int(seen)];
            params.extend(rest);
            params
        };
        // A number that somebody has made up may be more than a double holds.
        let delete = format!(
            "DELETE FROM livestore_sync_events WHERE store_id = ?1 AND backend_id = ?2 AND seq_num > ?4 \
             AND seq_num <= {to} AND {ENDS_THERE}"
        );
        let rows = vec![Bound::Int(end.to_i64())];
        let lifetime = match truth {
            Some(truth) => self.own_step(
                format!(
                    "INSERT INTO livestore_sync_lifetimes (store_id, backend_id, head, events, bytes, first_at, last_at, \
                     began_at, copied_at) SELECT ?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?9 WHERE {ENDS_THERE} \
                     ON CONFLICT (store_id, backend_id) DO UPDATE SET head = excluded.head, events = excluded.events, \
                     bytes = excluded.bytes, first_at = excluded.first_at, last_at = excluded.last_at, \
                     copied_at = excluded.copied_at"
                ),
                with(vec![
                    Bound::Int(truth.head),
                    Bound::Int(truth.events),
                    Bound::Int(truth.bytes),
                    Bound::Text(truth.first_at.clone()),
                    Bound::Text(truth.last_at.clone()),
                    Bound::Text(now.to_owned()),
                ]),
            ),
            None => self.own_step(
                format!(
                    "DELETE FROM livestore_sync_lifetimes WHERE store_id = ?1 AND backend_id = ?2 AND {ENDS_THERE}"
                ),
                with(Vec::new()),
            ),
        };
        let is_there = format!("SELECT 1 AS moved WHERE {ENDS_THERE}");
        let steps = vec![
            without_params(LOOK_AT_VERSION),
            self.own_step(is_there, with(Vec::new())),
            self.own_step(delete, with(rows)),
            lifetime,
        ];
        MirrorBatch::new(steps)
    }

    /// Counts on, up to `end`; what the mirror should say, once that is done. `Some(None)`: nothing.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tally(
        &self,
        tally: &mut Tally,
        end: SeqNum,
    ) -> Result<Option<Option<Lifetime>>, StoreError> {
        if tally.to > end {
            *tally = Tally::default();
        }
        if tally.to < end {
            self.count_on(tally, end)?;
            return Ok(None);
        }
        let Some(first) = tally.first else {
            return Ok(Some(None));
        };
        let [first_at, last_at] = [self.created_at(first)?, self.created_at(tally.last)?];
        Ok(Some(Some(Lifetime {
            head: end.to_i64(),
            events: tally.events,
            bytes: tally.bytes,
            first_at: first_at.unwrap_or_default(),
            last_at: last_at.unwrap_or_default(),
        })))
    }

    fn count_on(&self, tally: &mut Tally, end: SeqNum) -> Result<(), StoreError> {
        let table = log_table(&self.store_id);
        let counted = self.sql.prepare(&format!(
            "SELECT count(*), sum(size), min(seqNum), max(seqNum) FROM (SELECT seqNum, {SIZE} AS size \
             FROM \"{table}\" WHERE seqNum > ?1 AND seqNum <= ?2 ORDER BY seqNum LIMIT ?3 + 0)"
        ));
        let params = [
            Param::Int(tally.to.to_i64()),
            Param::Int(end.to_i64()),
            Param::Int(VERIFY_TALLIED_MAX.into()),
        ];
        // Where nothing is left, that is all.
        let mut to = end;
        self.sql.query(&counted, &params, &mut |row| {
            if let [
                Value::Int(count),
                Value::Int(bytes),
                Value::Int(first),
                Value::Int(last),
            ] = row
            {
                tally.events += count;
                tally.bytes += bytes;
                tally.first.get_or_insert(SeqNum::clamped(*first));
                tally.last = SeqNum::clamped(*last);
                if *count == i64::from(VERIFY_TALLIED_MAX) {
                    to = tally.last;
                }
            }
        })?;
        tally.to = to;
        Ok(())
    }

    fn own_step(&self, sql: String, rest: Vec<Bound<S::Text>>) -> MirrorStep<S::Text> {
        let mut params = self.mirror_keys();
        params.extend(rest);
        MirrorStep { sql, params }
    }
}

fn range_params<T: Clone>(range: &Range<T>) -> Vec<Bound<T>> {
    let from = range.from.map_or(Bound::Null, Bound::Int);
    let mut params = vec![from, Bound::Int(range.to)];
    match &range.events {
        Events::Many(array) => params.push(Bound::Kept(array.clone())),
        Events::One(columns) => params.extend(columns.iter().cloned()),
    }
    params
}
