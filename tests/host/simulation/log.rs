//! What is stored, compared with what was pushed: whole or not at all, chained, once, and only what hooks let
//! through.

use std::collections::HashSet;

use livestore_sync_worker::wire::Family;

use super::ends::{Asked, End, Event, Push, Request};
use super::seen::Kind;
use super::world::{Cause, World, tell};

/// The events of one lifetime as the rows say, each known to be as it was pushed.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) backend_id: String,
    events: Vec<Stored>,
    markers: HashSet<u64>,
    /// Lifetimes before this one.
    pub(super) ended: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) event: Event,
    pub(super) created_at: String,
}

/// A row as it stands in the table.
#[derive(Debug)]
struct Row {
    seq_num: i64,
    parent_seq_num: i64,
    args: String,
    created_at: String,
    client_id: String,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            backend_id: String::new(),
            events: Vec::new(),
            markers: HashSet::new(),
            ended: 0,
        }
    }

    /// Another lifetime begins.
    pub(super) fn begin(&mut self, backend_id: &str) {
        *self = Self {
            backend_id: backend_id.to_owned(),
            ended: self.ended + u32::from(!self.backend_id.is_empty()),
            ..Self::new()
        };
    }

    pub(super) fn head(&self) -> i64 {
        i64::try_from(self.events.len()).unwrap()
    }

    /// The events after `after`.
    pub(super) fn after(&self, after: i64) -> &[Stored] {
        let index = usize::try_from(after.max(0)).unwrap_or(usize::MAX);
        self.events.get(index..).unwrap_or_default()
    }

    /// Whether these events are stored just like that.
    pub(super) fn has_all(&self, events: &[Event]) -> bool {
        let Some(first) = events.first() else {
            return true;
        };
        let stored = self.after(first.seq_num - 1);
        first.seq_num > 0
            && stored.len() >= events.len()
            && events
                .iter()
                .zip(stored)
                .all(|(event, stored)| *event == stored.event)
    }

    fn push(&mut self, event: Event, row: Row) {
        assert_eq!(event.seq_num, self.head() + 1, "chained");
        assert!(
            self.markers.insert(event.marker),
            "{event:?} is stored twice"
        );
        let created_at = row.created_at;
        self.events.push(Stored { event, created_at });
    }
}

impl Push {
    /// Whether its events are a chain that may stand somewhere in a log.
    pub(super) fn is_chain(&self) -> bool {
        let is_next = |pair: &[Event]| pair[1].parent_seq_num == pair[0].seq_num;
        self.events
            .iter()
            .all(|event| event.parent_seq_num == event.seq_num - 1)
            && self.events.windows(2).all(is_next)
            && self.events.first().is_none_or(|event| event.seq_num > 0)
    }
}

impl World {
    /// The lifetime that is stored.
    pub(super) fn lifetime(&self) -> String {
        let id = |row: &rusqlite::Row<'_>| row.get(0);
        let mut query = self
            .sql
            .raw()
            .prepare_cached("SELECT backendId FROM context_7")
            .unwrap();
        query.query_row([], id).unwrap()
    }

    /// Takes note of what a turn has stored.
    pub(super) fn note_rows(&mut self) {
        let backend_id = self.lifetime();
        if backend_id != self.log.backend_id {
            self.backup.end(&self.log.backend_id, self.log.after(0));
            self.begin_lifetime(&backend_id);
        }
        let mut rows = self.new_rows().into_iter().peekable();
        while let Some(first) = rows.peek() {
            let marker = marker_of(&first.args);
            let (end, index, from) = self.stored_push(marker);
            let push = self.ends[end].requests[index].push().unwrap();
            let events = push.events[from..].to_vec();
            tell!(
                self,
                "  stored {} to {} of {end}",
                events[0].seq_num,
                self.log.head() + 1
            );
            for event in events {
                let row = rows.next().expect("a batch is stored whole");
                check_row(&event, &row);
                self.log.push(event, row);
            }
            self.note_folding();
            let backend_id = self.log.backend_id.clone();
            let push = self.ends[end].requests[index].push_mut().unwrap();
            push.stored_in = Some(backend_id);
            self.seen.count(Kind::Stored);
        }
        let has_failed = self.has_failed();
        self.followers.commit(has_failed);
    }

    /// Takes note of the log that a world begins with.
    pub(super) fn adopt_rows(&mut self, padding: usize) {
        for row in self.new_rows() {
            let event = Event {
                seq_num: row.seq_num,
                parent_seq_num: row.parent_seq_num,
                marker: marker_of(&row.args),
                client: 0,
                padding,
            };
            self.log.push(event, row);
        }
    }

    fn new_rows(&self) -> Vec<Row> {
        let is_there = "SELECT count(*) FROM sqlite_schema WHERE name = 'eventlog_7_sim'";
        let is_there = self.sql.raw().query_row(is_there, [], |row| row.get(0));
        if !is_there.unwrap_or(false) {
            return Vec::new();
        }
        let mut query = self
            .sql
            .raw()
            .prepare_cached(
                "SELECT seqNum, parentSeqNum, args, createdAt, clientId, \
                 (SELECT currentHead FROM context_7) FROM eventlog_7_sim WHERE seqNum > ?1 ORDER BY seqNum",
            )
            .unwrap();
        let mut head = self.log.head();
        let rows = query.query_map([head], |row| {
            head = row.get(5)?;
            Ok(Row {
                seq_num: row.get(0)?,
                parent_seq_num: row.get(1)?,
                args: row.get(2)?,
                created_at: row.get(3)?,
                client_id: row.get(4)?,
            })
        });
        let rows: Vec<Row> = rows.unwrap().map(Result::unwrap).collect();
        if let Some(last) = rows.last() {
            assert_eq!(head, last.seq_num, "the head is stored with the events");
        }
        rows
    }

    /// The push by which an event came into the log, and which of its events that is. A hook has let it through,
    /// and nobody has been told that it was refused.
    fn stored_push(&self, marker: u64) -> (usize, usize, usize) {
        let position = |request: &Request| {
            let push = request
                .push()
                .filter(|push| !push.is_foreign && push.is_chain())?;
            let is_of_lifetime = push
                .backend_id
                .as_ref()
                .is_none_or(|id| *id == self.log.backend_id);
            let may_be = is_of_lifetime
                && !request.is_answered
                && !request.is_interrupted
                && push.stored_in.is_none()
                && self.may_be_decided(request);
            let from = push.events.iter().position(|event| event.marker == marker);
            from.filter(|_| may_be)
        };
        let ends = self.ends.iter().enumerate();
        let may_push = |end: &End| {
            end.is_open
                && !end.is_over
                && end.grant.access == livestore_sync_worker::auth::Access::ReadWrite
                && !end.grant.is_expired(self.now_ms)
        };
        let ends = ends.filter(|(_, end)| may_push(end));
        let mut pushes = ends.flat_map(|(number, end)| {
            let requests = end.requests.iter().enumerate();
            requests.filter_map(move |(index, request)| Some((number, index, position(request)?)))
        });
        let found = pushes.next();
        found.unwrap_or_else(|| panic!("nobody may have stored event {marker}"))
    }

    fn begin_lifetime(&mut self, backend_id: &str) {
        let is_asked = match self.cause {
            Cause::Reset | Cause::Change => true,
            Cause::End(end) => self.ends[end].requests.iter().any(|request| {
                matches!(request.ask, Asked::Reset { is_right: true }) && !request.is_answered
            }),
            _ => false,
        };
        assert!(
            is_asked,
            "nobody asked for another lifetime than {}",
            self.log.backend_id
        );
        tell!(self, "  lifetime {backend_id}");
        let untold = self.log.after(self.followers.told_at_least()).iter();
        let untold = untold.map(|stored| (stored.event.seq_num, stored.event.marker));
        // What others have removed is kept for nobody.
        let is_kept = self.plan.uses.has_on_committed() && self.cause != Cause::Change;
        let untold = untold.filter(|_| is_kept);
        let untold: Vec<(i64, u64)> = untold.collect();
        self.followers.reset(&self.log.backend_id, untold);
        self.log.begin(backend_id);
        self.head_before = 0;
        for end in self.ends.iter_mut().filter(|end| end.is_open) {
            end.is_over |= end.family == Family::Plain;
        }
        if self.has_failed() {
            self.followers.doubt();
        }
    }

    /// Whether the log is what it was, as a whole.
    pub(super) fn check_log(&self) {
        let count: i64 = {
            let count = |row: &rusqlite::Row<'_>| row.get(0);
            let query = "SELECT count(*) FROM eventlog_7_sim";
            self.sql.raw().query_row(query, [], count).unwrap()
        };
        assert_eq!(count, self.log.head());
        if let Some(object) = &self.object {
            let store = object.backend.store();
            assert_eq!(store.head().to_i64(), self.log.head());
            assert_eq!(store.backend_id().as_str(), self.log.backend_id);
        }
    }
}

pub(super) fn marker_of(args: &str) -> u64 {
    let digits = args.strip_prefix(r#"{"sekret":"#).unwrap();
    digits.split(',').next().unwrap().parse().unwrap()
}

fn check_row(event: &Event, row: &Row) {
    let is_same = (event.seq_num, event.parent_seq_num) == (row.seq_num, row.parent_seq_num)
        && event.marker == marker_of(&row.args)
        && row.client_id == format!("c{}", event.client)
        && row.args.len()
            == event.padding + format!(r#"{{"sekret":{},"text":""}}"#, event.marker).len();
    assert!(is_same, "{event:?} is stored as {row:?}");
}
