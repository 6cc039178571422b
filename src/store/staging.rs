//! A log that is being brought in: events are staged beside the log, checked as a whole, and then take its place in one
//! transaction. Until then nobody sees them.

use super::EventStore;
use std::fmt;

use super::mirror::{Bound, COLUMNS, SIZE};
use super::schema::{self, Succession};
use super::sql::{Param, Sql, Step, StoreError, Text as _, Value};
use crate::event::{BackendId, SeqNum};

/// Events with all their columns, in the order of a log's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows<T> {
    /// A JSON array of arrays, one for each event.
    Many(T),
    /// The columns of one that is too large for that.
    One([Bound<T>; 7]),
}

/// An event that does not continue from the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its number.
    pub seq_num: i64,
    /// What it continues from.
    pub parent_seq_num: i64,
    /// The event before it; 0 when it is the first.
    pub before: i64,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq_num,
            parent_seq_num,
            before,
        } = self;
        write!(
            f,
            "event {seq_num} continues from {parent_seq_num}, but the event before it is {before}"
        )
    }
}

/// What has been staged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// How many events.
    pub events: u64,
    /// Their bytes, as a backup counts them.
    pub bytes: u64,
    /// The last of them.
    pub head: u64,
    /// The first that does not continue from the one before it.
    pub broken: Option<Broken>,
}

impl<S: Sql> EventStore<S> {
    /// Stages events; those that are staged already are replaced.
    ///
    /// # Errors
    /// When SQLite fails, or a value is of another kind than its column; then nothing is staged.
    pub fn stage(&self, rows: &Rows<S::Text>) -> Result<(), StoreError> {
        self.stage_up_to(rows, SeqNum::clamped(i64::MAX))
    }

    /// Stages those of several events that are not beyond `up_to`.
    ///
    /// # Errors
    /// As [`EventStore::stage`].
    pub fn stage_up_to(&self, rows: &Rows<S::Text>, up_to: SeqNum) -> Result<(), StoreError> {
        let create = self.sql.prepare(&schema::create_staging());
        let insert = format!("INSERT OR REPLACE INTO {} ({COLUMNS})", schema::STAGING);
        let (insert, params) = match rows {
            Rows::Many(array) => (
                format!(
                    "{insert} SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
                     value ->> 6 FROM json_each(?1) WHERE value ->> 0 <= ?2"
                ),
                vec![Param::Kept(array), Param::Int(up_to.to_i64())],
            ),
            Rows::One(columns) => (
                format!("{insert} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
                columns.iter().map(param).collect(),
            ),
        };
        let insert = self.sql.prepare(&insert);
        let step = |statement, params| Step { statement, params };
        self.sql
            .transact(&[step(&create, &[]), step(&insert, &params)])
    }

    /// The last event that is staged; 0 when none is.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn last_staged(&self) -> Result<SeqNum, StoreError> {
        let mut last = SeqNum::ROOT;
        if self.has_staged()? {
            let newest = format!("SELECT max(seqNum) FROM {}", schema::STAGING);
            let newest = self.sql.prepare(&newest);
            self.sql.query(&newest, &[], &mut |row| {
                if let [Value::Int(number)] = row {
                    last = SeqNum::clamped(*number);
                }
            })?;
        }
        Ok(last)
    }

    fn has_staged(&self) -> Result<bool, StoreError> {
        let table = self
            .sql
            .prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1");
        let mut exists = false;
        self.sql
            .query(&table, &[Param::Text(schema::STAGING)], &mut |_| {
                exists = true;
            })?;
        Ok(exists)
    }

    /// Looks at all that is staged.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn staged(&self) -> Result<Staged, StoreError> {
        let mut staged = Staged::default();
        if !self.has_staged()? {
            return Ok(staged);
        }
        let table = schema::STAGING;
        let all = self.sql.prepare(&format!(
            "SELECT count(*), ifnull(sum({SIZE}), 0), ifnull(max(seqNum), 0) FROM {table}"
        ));
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        self.sql.query(&all, &[], &mut |row| {
            if let [Value::Int(events), Value::Int(bytes), Value::Int(head)] = row {
                staged.events = unsigned(*events);
                staged.bytes = unsigned(*bytes);
                staged.head = unsigned(*head);
            }
        })?;
        let broken = self.sql.prepare(&format!(
            "SELECT seqNum, parentSeqNum, before FROM (SELECT seqNum, parentSeqNum, \
             lag(seqNum, 1, 0) OVER (ORDER BY seqNum) AS before FROM {table}) WHERE parentSeqNum <> before LIMIT 1"
        ));
        self.sql.query(&broken, &[], &mut |row| {
            if let [
                Value::Int(seq_num),
                Value::Int(parent_seq_num),
                Value::Int(before),
            ] = *row
            {
                staged.broken = Some(Broken {
                    seq_num,
                    parent_seq_num,
                    before,
                });
            }
        })?;
        Ok(staged)
    }

    /// Forgets what is staged.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn unstage(&self) -> Result<(), StoreError> {
        let drop = self.sql.prepare(&schema::drop_staging());
        self.sql.transact(&[Step {
            statement: &drop,
            params: &[],
        }])
    }

    /// Forgets what is staged, the plan for it, and that there was a log elsewhere.
    ///
    /// # Errors
    /// When the platform fails; it can be called again.
    pub fn forget_import(&self) -> Result<(), StoreError> {
        self.unstage()?;
        self.forget_old_head()?;
        self.remove_state(schema::IMPORT)
    }

    /// The same, the store going on with the log that it has; `why` is kept.
    ///
    /// # Errors
    /// As [`EventStore::forget_import`].
    pub fn give_up_import(&self, why: &str) -> Result<(), StoreError> {
        self.set_state(schema::GIVEN_UP, why)?;
        self.forget_import()
    }

    fn forget_old_head(&self) -> Result<(), StoreError> {
        if schema::find_tables(&self.sql, &self.store_id)?.has_values {
            self.sql.forget_key_value_head()?;
        }
        Ok(())
    }

    /// What is staged becomes the log, in the lifetime `backend_id`, and the plan for it is forgotten; its head is its end,
    /// but not below `head_at_least`. Events of the log that was, after `untold`, are kept for who is yet to be told of
    /// them.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn install(
        &mut self,
        backend_id: BackendId,
        untold: Option<SeqNum>,
        head_at_least: u64,
    ) -> Result<(), StoreError> {
        let untold = untold.filter(|after| *after < self.last_stored);
        let last = self.last_staged()?;
        let at_least = SeqNum::clamped(i64::try_from(head_at_least).unwrap_or(i64::MAX));
        let head = last.max(at_least);
        let is_other = backend_id != self.backend_id;
        let succession = Succession {
            store_id: &self.store_id,
            ended: &self.backend_id,
            begins: &backend_id,
            untold,
        };
        // As long as there is a plan nobody misses it.
        self.forget_old_head()?;
        schema::install(&self.sql, &succession, head)?;
        self.has_untold |= untold.is_some();
        self.had_lifetimes |= is_other;
        self.kept_backend_id = S::Text::new(backend_id.as_str());
        self.backend_id = backend_id;
        (self.head, self.last_stored) = (head, last);
        Ok(())
    }
}

fn param<T>(bound: &Bound<T>) -> Param<'_, T> {
    match bound {
        Bound::Null => Param::Null,
        Bound::Int(integer) => Param::Int(*integer),
        Bound::Text(text) => Param::Text(text),
        Bound::Kept(text) | Bound::Packed(text) => Param::Kept(text),
    }
}
