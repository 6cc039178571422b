//! Events of the mirror that are folded: which they may be, and by which statements that is done.
//!
//! A segment counts once `is_folded` says so, which is set in the very batch that removes the rows of its events: so each
//! event is there once at any time, as a row or in a segment. Before that, the segment has been read back from D1 and
//! holds, to the letter, what the log has, and D1 has compared that with its rows. Whatever is repeated, comes late or is
//! lost leaves rows that have yet to be folded.

use super::EventStore;
use super::mirror::{Bound, COLUMNS, LOOK_AT_VERSION, MirrorBatch, MirrorStep, SIZE};
use super::mirror::{KNOWS_TABLES, OWN_ITEM, OWN_SIZE};
use super::schema::log_table;
use super::sql::{Param, Sql, StoreError, Text as _, Value};
use crate::event::SeqNum;
use crate::limits::{
    MIRROR_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_EVENTS_MIN, SEGMENT_REST_EVENTS_MIN,
};

/// Events that are folded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first of them.
    pub first: SeqNum,
    /// The last of them.
    pub last: SeqNum,
    /// How many they are.
    pub events: i64,
    /// Their bytes, as a copy counts them.
    pub bytes: i64,
    /// What the first continues from.
    parent: i64,
    first_at: String,
    last_at: String,
    latest_at: String,
    /// When that was begun, which tells one try from another.
    made_at: String,
}

/// What may be folded next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foldable {
    /// These events.
    Segment(Segment),
    /// Nothing up to this event, which have rows of their own for good: too large, or too few between others.
    Skip(SeqNum),
    /// Nothing yet.
    Rest,
}

/// Where events end that may be folded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// There are no more.
    Nowhere,
    /// The next one is too young.
    Young,
    /// The next one does not continue from them, or is too large to be folded.
    Apart,
    /// More do not fit.
    Full,
}

impl Ends {
    fn of(code: Option<i64>) -> Self {
        match code {
            Some(1) => Self::Young,
            Some(2) => Self::Apart,
            Some(3) => Self::Full,
            _ => Self::Nowhere,
        }
    }
}

/// What else is stored under the key of a segment, and is none.
const IS_IT: &str = "store_id = ?1 AND backend_id = ?2 AND last_seq_num = ?3";

/// The first segment after `after`, an SQL expression, of the store `?1` and lifetime `?2`: `what` of it.
pub(super) fn next_segment(what: &str, after: &str) -> String {
    format!(
        "SELECT {what} FROM livestore_sync_segments WHERE store_id = ?1 AND backend_id = ?2 AND last_seq_num > {after} \
         AND is_folded = 1 ORDER BY last_seq_num LIMIT 1"
    )
}

impl<S: Sql> EventStore<S> {
    /// The batch that asks for the first event after `after` that has a row of its own and may be folded, and for the
    /// segment that follows it.
    #[must_use]
    pub fn look_for_rows(&self, after: SeqNum) -> MirrorBatch<S::Text> {
        let (first, last) = (
            next_segment("first_seq_num", "plain"),
            next_segment("last_seq_num", "plain"),
        );
        let sql = format!(
            "SELECT ({LOOK_AT_VERSION}) AS version, plain, ({first}) AS segment_first, ({last}) AS segment_last \
             FROM (SELECT (SELECT seq_num FROM livestore_sync_events AS own WHERE store_id = ?1 AND backend_id = ?2 \
             AND seq_num > ?3 AND {OWN_SIZE} + 100 <= ?4 ORDER BY seq_num LIMIT 1) AS plain)"
        );
        let mut params = self.mirror_keys();
        params.push(Bound::Int(after.to_i64()));
        params.push(Bound::Int(MIRROR_BYTES_MAX));
        MirrorBatch::new(vec![MirrorStep { sql, params }])
    }

    /// What may be folded of the events from `first` on and before `end`, which were stored before `before`, at most
    /// `limit`; `has_more` says whether those from `end` on are in a segment. *Shape*: times are ISO 8601.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows.
    pub fn foldable(
        &self,
        first: SeqNum,
        end: SeqNum,
        has_more: bool,
        before: &str,
        limit: u32,
        now: &str,
    ) -> Result<Foldable, StoreError> {
        self.verify()?;
        let (segment, ends, next) = self.fitting(first, end, before, limit, now)?;
        let ends = match ends {
            Ends::Nowhere if has_more => Ends::Apart,
            ends => ends,
        };
        let Some(segment) = segment else {
            return Ok(match (ends, next) {
                (Ends::Apart | Ends::Full, Some(next)) => Foldable::Skip(next),
                (Ends::Apart, None) => Foldable::Skip(SeqNum::clamped(end.to_i64() - 1)),
                _ => Foldable::Rest,
            });
        };
        let is_large = segment.events >= SEGMENT_EVENTS_MIN || segment.bytes >= SEGMENT_BYTES_MIN;
        let is_rest = segment.events >= SEGMENT_REST_EVENTS_MIN;
        Ok(match ends {
            _ if is_large => Foldable::Segment(segment),
            Ends::Apart | Ends::Full if is_rest => Foldable::Segment(segment),
            Ends::Apart | Ends::Full => Foldable::Skip(segment.last),
            Ends::Nowhere | Ends::Young => Foldable::Rest,
        })
    }

    /// The events that fit into a segment, where they end, and the one that does not fit any more.
    fn fitting(
        &self,
        first: SeqNum,
        end: SeqNum,
        before: &str,
        limit: u32,
        now: &str,
    ) -> Result<(Option<Segment>, Ends, Option<SeqNum>), StoreError> {
        let table = log_table(&self.store_id);
        let fitting = self.sql.prepare(&format!(
            "WITH near AS (SELECT seqNum, parentSeqNum, createdAt, {SIZE} AS size, \
             lag(seqNum) OVER (ORDER BY seqNum) AS before FROM \"{table}\" WHERE seqNum >= ?1 AND seqNum < ?2 \
             ORDER BY seqNum LIMIT ?3 + 1), \
             run AS (SELECT *, CASE WHEN max(createdAt >= ?4) OVER o THEN 1 WHEN max(parentSeqNum <> before) OVER o \
             OR max(size + 100 > ?5) OVER o THEN 2 WHEN sum(size + 100) OVER o > ?5 OR row_number() OVER o > ?3 THEN 3 \
             ELSE 0 END AS ends FROM near WINDOW o AS (ORDER BY seqNum)), \
             fits AS (SELECT * FROM run WHERE ends = 0) \
             SELECT count(*), ifnull(sum(size), 0), min(seqNum), max(seqNum), max(createdAt), \
             (SELECT parentSeqNum FROM fits ORDER BY seqNum LIMIT 1), \
             (SELECT createdAt FROM fits ORDER BY seqNum LIMIT 1), \
             (SELECT createdAt FROM fits ORDER BY seqNum DESC LIMIT 1), \
             (SELECT ends FROM run WHERE ends > 0 ORDER BY seqNum LIMIT 1), \
             (SELECT seqNum FROM run WHERE ends > 0 ORDER BY seqNum LIMIT 1) FROM fits"
        ));
        let params = [
            Param::Int(first.to_i64()),
            Param::Int(end.to_i64()),
            Param::Int(limit.into()),
            Param::Text(before),
            Param::Int(MIRROR_BYTES_MAX),
        ];
        let mut found = (None, Ends::Nowhere, None);
        self.sql.query(&fitting, &params, &mut |row| {
            let [counted @ .., ends, next] = row else {
                return;
            };
            let integer = |value: &Value<S::Text>| match value {
                Value::Int(integer) => Some(*integer),
                Value::Null | Value::Text(_) => None,
            };
            found.1 = Ends::of(integer(ends));
            found.2 = integer(next).map(SeqNum::clamped);
            if let [
                Value::Int(events),
                Value::Int(bytes),
                Value::Int(first),
                Value::Int(last),
                Value::Text(latest_at),
                Value::Int(parent),
                Value::Text(first_at),
                Value::Text(last_at),
            ] = counted
            {
                found.0 = Some(Segment {
                    first: SeqNum::clamped(*first),
                    last: SeqNum::clamped(*last),
                    events: *events,
                    bytes: *bytes,
                    parent: *parent,
                    first_at: first_at.read(),
                    last_at: last_at.read(),
                    latest_at: latest_at.read(),
                    made_at: now.to_owned(),
                });
            }
        })?;
        Ok(found)
    }

    /// Events of the log as the text of a segment: a JSON array of arrays, one of the columns of each event.
    ///
    /// # Errors
    /// When SQLite fails, as it does where the text is too large for a string of the platform.
    pub fn segment_text(&self, first: SeqNum, last: SeqNum) -> Result<S::Text, StoreError> {
        let table = log_table(&self.store_id);
        let all = self.sql.prepare(&format!(
            "SELECT '[' || ifnull(group_concat(item, ','), '') || ']' FROM (SELECT json_array({COLUMNS}) AS item \
             FROM \"{table}\" WHERE seqNum >= ?1 AND seqNum <= ?2 ORDER BY seqNum)"
        ));
        let mut found = None;
        let params = [Param::Int(first.to_i64()), Param::Int(last.to_i64())];
        self.sql.query(&all, &params, &mut |row| {
            if let [Value::Text(text)] = row {
                found = Some(text.clone());
            }
        })?;
        found.ok_or_else(|| StoreError {
            message: "the text of a segment is too large".to_owned(),
        })
    }

    /// The batch that writes a segment, which does not count yet, beside the rows of its events. It returns `moved`, and
    /// how many bytes are `stored`.
    ///
    /// # Errors
    /// As [`EventStore::segment_text`].
    pub fn write_segment(&self, segment: &Segment) -> Result<MirrorBatch<S::Text>, StoreError> {
        let text = self.segment_text(segment.first, segment.last)?;
        let sql = format!(
            "INSERT INTO livestore_sync_segments (store_id, backend_id, last_seq_num, first_seq_num, parent_seq_num, events, \
             bytes, first_at, last_at, latest_at, made_at, is_folded, data) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, 0, unhex(?12) WHERE {KNOWS_TABLES} AND EXISTS (SELECT 1 FROM livestore_sync_events WHERE store_id = ?1 \
             AND backend_id = ?2 AND seq_num = ?3) ON CONFLICT (store_id, backend_id, last_seq_num) DO UPDATE SET \
             first_seq_num = excluded.first_seq_num, parent_seq_num = excluded.parent_seq_num, events = excluded.events, \
             bytes = excluded.bytes, first_at = excluded.first_at, last_at = excluded.last_at, \
             latest_at = excluded.latest_at, made_at = excluded.made_at, data = excluded.data WHERE is_folded = 0 \
             RETURNING last_seq_num AS moved, length(data) AS stored"
        );
        let text_of = |text: &String| Bound::Text(text.clone());
        let step = self.segment_step(
            sql,
            segment,
            vec![
                Bound::Int(segment.first.to_i64()),
                Bound::Int(segment.parent),
                Bound::Int(segment.events),
                Bound::Int(segment.bytes),
                text_of(&segment.first_at),
                text_of(&segment.last_at),
                text_of(&segment.latest_at),
                text_of(&segment.made_at),
                Bound::Packed(text),
            ],
        );
        Ok(MirrorBatch::new(vec![step]))
    }

    /// The batch that reads back what was written, which is expected to be what the log has.
    ///
    /// # Errors
    /// As [`EventStore::segment_text`].
    pub fn read_segment(&self, segment: &Segment) -> Result<MirrorBatch<S::Text>, StoreError> {
        let text = self.segment_text(segment.first, segment.last)?;
        let sql = format!(
            "SELECT hex(data) AS packed FROM livestore_sync_segments WHERE {IS_IT} AND made_at = ?4 AND is_folded = 0"
        );
        let step = self.segment_step(sql, segment, vec![Bound::Text(segment.made_at.clone())]);
        Ok(MirrorBatch {
            steps: vec![step],
            expected: Some(text),
        })
    }

    /// The batch that has a segment count from now on, and removes the rows of its events; it returns `moved` if these are
    /// what the log has, and else does nothing.
    ///
    /// # Errors
    /// As [`EventStore::segment_text`].
    pub fn fold_segment(&self, segment: &Segment) -> Result<MirrorBatch<S::Text>, StoreError> {
        let text = self.segment_text(segment.first, segment.last)?;
        let first = Bound::Int(segment.first.to_i64());
        let count = format!(
            "UPDATE livestore_sync_segments SET is_folded = 1 WHERE {IS_IT} AND made_at = ?4 AND is_folded = 0 \
             AND {KNOWS_TABLES} AND (SELECT count(*) FROM livestore_sync_events WHERE store_id = ?1 AND backend_id = ?2 \
             AND seq_num >= ?5 AND seq_num <= ?3) = ?6 AND (SELECT count(*) FROM json_each(?7) AS log \
             CROSS JOIN livestore_sync_events AS own ON own.store_id = ?1 AND own.backend_id = ?2 \
             AND own.seq_num = log.value ->> 0 WHERE {OWN_ITEM} = log.value) = ?6 \
             RETURNING last_seq_num AS moved, length(data) AS stored"
        );
        let count = self.segment_step(
            count,
            segment,
            vec![
                Bound::Text(segment.made_at.clone()),
                first.clone(),
                Bound::Int(segment.events),
                Bound::Kept(text),
            ],
        );
        let delete = format!(
            "DELETE FROM livestore_sync_events WHERE store_id = ?1 AND backend_id = ?2 AND seq_num >= ?4 AND seq_num <= ?3 \
             AND EXISTS (SELECT 1 FROM livestore_sync_segments WHERE {IS_IT} AND first_seq_num = ?4 AND is_folded = 1)"
        );
        let delete = self.segment_step(delete, segment, vec![first.clone()]);
        // Of tries that came to nothing.
        let forget = "DELETE FROM livestore_sync_segments WHERE store_id = ?1 AND backend_id = ?2 AND is_folded = 0 \
                      AND last_seq_num >= ?4 AND last_seq_num <= ?3";
        let forget = self.segment_step(forget.to_owned(), segment, vec![first]);
        Ok(MirrorBatch::new(vec![count, delete, forget]))
    }

    fn segment_step(
        &self,
        sql: String,
        segment: &Segment,
        rest: Vec<Bound<S::Text>>,
    ) -> MirrorStep<S::Text> {
        let mut params = self.mirror_keys();
        params.push(Bound::Int(segment.last.to_i64()));
        params.extend(rest);
        MirrorStep { sql, params }
    }
}
