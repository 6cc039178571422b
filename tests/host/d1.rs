//! D1, as far as the backup is concerned: another SQLite that runs its very statements, in batches that are run whole
//! or not at all, with numbers that travel as doubles.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use livestore_sync_worker::event::{SeqNum, StoreId};
use livestore_sync_worker::store::mirror::{Bound, MirrorAnswer, MirrorBatch, MirrorStep};
use livestore_sync_worker::store::recall::{
    self, Cut, DAMAGED, Fetched, Holdings, Lifetime, Row, Survey, UpTo,
};
use livestore_sync_worker::store::sql::Text as _;
use livestore_sync_worker::store::staging::Rows;
use rusqlite::limits::Limit;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Statement};

use crate::host_sql::HostText;

pub(crate) const MIGRATIONS: [&str; 2] = [
    include_str!("../../migrations/0001_backup.sql"),
    include_str!("../../migrations/0002_segments.sql"),
];

/// What D1 does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Runs it, and says so.
    Done,
    /// Fails at this statement.
    FailsAt(usize),
    /// Runs it, and its answer is lost.
    Unheard,
}

/// A row, by the names of its columns.
pub(crate) struct D1Row(HashMap<String, Value>);

impl Row for D1Row {
    fn text(&self, column: &str) -> Option<String> {
        match self.0.get(column)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn integer(&self, column: &str) -> Option<i64> {
        match self.0.get(column)? {
            Value::Integer(integer) => Some(*integer),
            _ => None,
        }
    }
}

/// A database.
pub(crate) struct D1(pub(crate) Connection);

impl D1 {
    pub(crate) fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, 2_000_000)
            .unwrap();
        Self(connection)
    }

    /// One to which `migrations/` have been applied.
    pub(crate) fn migrated() -> Self {
        let database = Self::new();
        for migration in MIGRATIONS {
            database.0.execute_batch(migration).unwrap();
        }
        database
    }

    pub(crate) fn run(
        &self,
        batch: &MirrorBatch<HostText>,
        fate: Fate,
    ) -> Result<MirrorAnswer, String> {
        self.0.execute_batch("BEGIN IMMEDIATE").unwrap();
        let result = self.run_steps(batch, fate);
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.0.execute_batch(end).unwrap();
        let answer = result?;
        if fate == Fate::Unheard {
            return Err("Network connection lost.".to_owned());
        }
        Ok(answer)
    }

    fn run_steps(&self, batch: &MirrorBatch<HostText>, fate: Fate) -> Result<MirrorAnswer, String> {
        let mut answer = MirrorAnswer::default();
        let mut segment = (0, 0);
        for (index, step) in batch.steps.iter().enumerate() {
            if fate == Fate::FailsAt(index) {
                return Err("D1_ERROR: injected".to_owned());
            }
            assert!(step.params.len() <= 100 && step.sql.len() <= 100_000);
            let failed = |error: rusqlite::Error| format!("D1_ERROR: {error}");
            let mut statement = self.0.prepare(&step.sql).map_err(failed)?;
            bind(&mut statement, step);
            let columns: Vec<String> = statement
                .column_names()
                .iter()
                .map(|name| (*name).to_owned())
                .collect();
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next().map_err(failed)? {
                for (at, column) in columns.iter().enumerate() {
                    let value = row.get_ref(at).unwrap();
                    match (column.as_str(), value) {
                        (_, ValueRef::Null) => {}
                        ("version", ValueRef::Integer(value)) => answer.version = Some(value),
                        ("head", ValueRef::Integer(value)) => answer.head = Some(value),
                        ("moved", ValueRef::Integer(value)) => answer.moved = Some(value),
                        ("last_at", value) => {
                            answer.last_at = Some(value.as_str().unwrap().to_owned());
                        }
                        ("lifetime", value) => {
                            answer.lifetime = Some(value.as_str().unwrap().to_owned());
                        }
                        ("found", value) => {
                            answer.found = Some(value.as_str().unwrap().to_owned());
                        }
                        ("segment_first", ValueRef::Integer(value)) => segment.0 = value,
                        ("segment_last", ValueRef::Integer(value)) => {
                            answer.segment = Some((segment.0, value));
                        }
                        ("plain", ValueRef::Integer(value)) => answer.plain = Some(value),
                        ("stored", ValueRef::Integer(value)) => answer.stored = Some(value),
                        ("packed", value) => {
                            let text = unpack(value.as_str().unwrap());
                            let expected = batch.expected.as_ref().unwrap();
                            answer.same = Some(text.as_deref() == Some(expected.as_str()));
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        Ok(answer)
    }

    /// What a query for events returns.
    pub(crate) fn fetch(&self, step: &MirrorStep<HostText>) -> Result<Fetched<HostText>, String> {
        let failed = |error: rusqlite::Error| format!("D1_ERROR: {error}");
        let mut statement = self.0.prepare(&step.sql).map_err(failed)?;
        bind(&mut statement, step);
        let is_one = statement.column_name(0) == Ok("seqNum");
        let names = statement.column_names();
        if names.contains(&"pushes_after") || names.contains(&"owner") {
            drop(names);
            drop(statement);
            let rows = self.query(step);
            let row = rows.first().unwrap();
            return Ok(Fetched {
                holdings: Holdings::of(row),
                owner: row.text("owner"),
                ..Fetched::default()
            });
        }
        let mut rows = statement.raw_query();
        let Some(row) = rows.next().map_err(failed)? else {
            return Ok(Fetched::default());
        };
        let integer = |at| row.get::<_, Option<i64>>(at).unwrap().unwrap_or_default();
        let text = |at| row.get::<_, Option<String>>(at).unwrap();
        if is_one {
            let kept = |at| text(at).map_or(Bound::Null, |text| Bound::Kept(HostText::new(&text)));
            let (seq_num, parent) = (Bound::Int(integer(0)), Bound::Int(integer(1)));
            let rows = Rows::One([seq_num, parent, kept(2), kept(3), kept(4), kept(5), kept(6)]);
            return Ok(Fetched {
                rows: Some(rows),
                count: 1,
                last: SeqNum::clamped(integer(0)),
                ..Fetched::default()
            });
        }
        // A log of sync-cf has no segments, and no columns for them.
        let at = |column| row.as_ref().column_index(column).ok();
        let integer = |column| at(column).and_then(|at| row.get::<_, Option<i64>>(at).unwrap());
        let words = |column| at(column).and_then(|at| row.get::<_, Option<String>>(at).unwrap());
        let packed = words("packed");
        let items = match packed {
            Some(packed) => Some(unpack(&packed).ok_or(DAMAGED)?),
            None => text(0),
        };
        if items.as_ref().is_some_and(|items| items.len() > 2_000_000) {
            return Err("D1_ERROR: string or blob too big: SQLITE_TOOBIG".to_owned());
        }
        Ok(Fetched {
            rows: items.map(|items| Rows::Many(HostText::new(&items))),
            count: u32::try_from(integer("count").unwrap()).unwrap(),
            last: SeqNum::clamped(integer("last").unwrap_or_default()),
            made_at: words("made_at"),
            next_segment: integer("segment_first").zip(integer("segment_last")),
            ..Fetched::default()
        })
    }

    /// What it holds of a lifetime up to `up_to`.
    pub(crate) fn survey(
        &self,
        store_id: &StoreId,
        lifetime: &Lifetime,
        up_to: Option<&UpTo>,
    ) -> Survey {
        let mut cut = None;
        for _ in 0..3 {
            let step = recall::survey(store_id, lifetime, up_to, cut);
            let row = self.query(&step).remove(0);
            let Some(last) = row.integer("cut_last") else {
                return Survey::of(&row);
            };
            let text = unpack(&row.text("packed").unwrap()).unwrap();
            let text = HostText::new(&text);
            cut = Some(Cut { last, text });
        }
        panic!("it is cut again and again");
    }

    /// What a query returns.
    pub(crate) fn query(&self, step: &MirrorStep<HostText>) -> Vec<D1Row> {
        let mut statement = self.0.prepare(&step.sql).unwrap();
        bind(&mut statement, step);
        let names = statement.column_names();
        let columns: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let value = |at| row.get::<_, Value>(at).unwrap();
            let columns = columns.iter().cloned().enumerate();
            found.push(D1Row(columns.map(|(at, name)| (name, value(at))).collect()));
        }
        found
    }

    /// Everything that it holds of a lifetime, in order, whether it is folded or not; what is there twice is twice here.
    pub(crate) fn events(&self, store_id: &str, backend_id: &str) -> Vec<String> {
        let of = format!("store_id = '{store_id}' AND backend_id = '{backend_id}'");
        let mut events = self.rows(&format!(
            "SELECT json_array(seq_num, parent_seq_num, name, args, created_at, client_id, session_id) \
             FROM livestore_sync_events WHERE {of} ORDER BY seq_num"
        ));
        let folded = self.rows(&format!(
            "SELECT hex(data) FROM livestore_sync_segments WHERE {of} AND is_folded = 1"
        ));
        if folded.is_empty() {
            return events;
        }
        for packed in folded {
            let text = unpack(&packed).unwrap();
            let items: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text).unwrap();
            events.extend(items.iter().map(|item| item.get().to_owned()));
        }
        events.sort_by_key(|event| {
            let number = event[1..].split(',').next().unwrap();
            number.parse::<i64>().unwrap()
        });
        events
    }

    /// Head, events, bytes, first and last time of a lifetime.
    pub(crate) fn lifetime(&self, store_id: &str, backend_id: &str) -> Option<String> {
        let mut rows = self.rows(&format!(
            "SELECT json_array(head, events, bytes, first_at, last_at) FROM livestore_sync_lifetimes \
             WHERE store_id = '{store_id}' AND backend_id = '{backend_id}'"
        ));
        rows.pop()
    }

    /// What a statement returns in its first column; nothing where there are no tables.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let Ok(mut statement) = self.0.prepare(sql) else {
            return Vec::new();
        };
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

fn bind(statement: &mut Statement<'_>, step: &MirrorStep<HostText>) {
    let expected = statement.parameter_count();
    assert_eq!(expected, step.params.len(), "{}", step.sql);
    for (at, param) in step.params.iter().enumerate() {
        statement.raw_bind_parameter(at + 1, bound(param)).unwrap();
    }
}

/// As D1 gets a value.
pub(crate) fn bound(param: &Bound<HostText>) -> Value {
    let text = match param {
        Bound::Null => return Value::Null,
        #[allow(clippy::cast_precision_loss)] // Below 2^53.
        Bound::Int(integer) => return Value::Real(*integer as f64),
        Bound::Text(text) => text.clone(),
        Bound::Kept(text) => text.as_str().to_owned(),
        Bound::Packed(text) => pack(text.as_str()),
    };
    assert!(text.len() <= 2_000_000, "D1 binds at most 2 MB");
    Value::Text(text)
}

/// The rows of a log of the same shape as [`D1::events`].
pub(crate) fn log_of(connection: &Connection, table: &str) -> Vec<String> {
    let mut rows = connection
        .prepare(&format!(
            "SELECT json_array(seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId) FROM {table} ORDER BY seqNum"
        ))
        .unwrap();
    let rows = rows.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Stands for compression: a text is known by its hash, in hexadecimal digits.
pub(crate) fn pack(text: &str) -> String {
    let mut hash = DefaultHasher::new();
    text.hash(&mut hash);
    let packed = format!("{:016X}", hash.finish());
    PACKED.with_borrow_mut(|known| known.insert(packed.clone(), text.to_owned()));
    packed
}

/// The text that was packed so.
pub(crate) fn unpack(packed: &str) -> Option<String> {
    PACKED.with_borrow(|known| known.get(packed).cloned())
}

thread_local! {
    static PACKED: RefCell<HashMap<String, String>> = RefCell::default();
}
