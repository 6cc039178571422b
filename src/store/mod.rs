//! One store's event log in SQLite: the stored head, appending a batch, reading pages.
//!
//! Owns the rows and the cached head, which changes only when the transaction that stored the events
//! has succeeded (INV-1, INV-2). Refuses to know clients, dialects' envelopes and the platform: SQL
//! runs through [`Sql`], and a page's text stays wherever the host keeps it ([`Sql::Text`]).

pub mod adoption;
pub mod comparison;
pub mod deletion;
mod export;
pub mod mirror;
mod pack;
pub mod recall;
pub mod schema;
pub mod segments;
pub mod sql;
pub mod staging;

use std::cell::Cell;

use thiserror::Error;

use crate::event::{BackendId, Batch, Event, SeqNum, StoreId};
use crate::limits::PAGE_EVENTS_MAX;
use crate::wire::Family;
use pack::Pack;
use schema::{Created, Opening, Statements, Succession};
use sql::{Append, Contents, Form, Param, Sql, Step, StoreError, Text as _, Value};

/// One store's event log.
pub struct EventStore<S: Sql> {
    sql: S,
    statements: Statements<S>,
    store_id: StoreId,
    kept_store_id: S::Text,
    backend_id: BackendId,
    kept_backend_id: S::Text,
    head: SeqNum,
    last_stored: SeqNum,
    /// Whether the rows were seen to be others than those that are known here.
    is_stale: Cell<bool>,
    scratch: Pack,
    state: Vec<(String, String)>,
    has_untold: bool,
    had_lifetimes: bool,
}

/// What was found when a store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A new store: its tables have just been made.
    NewStore,
    /// Tables without a context row for this store; it has one now, with a new backend id.
    NoContext,
    /// The stored head agreed with the log.
    InStep,
    /// The stored head was behind the log, or there was none, and has been repaired.
    Behind {
        /// What was stored.
        stored: SeqNum,
        /// What the log holds.
        log: SeqNum,
    },
    /// The stored head is ahead of the log: acknowledged events are missing. The head is kept, so that
    /// no later event gets a number that some client has already seen.
    Ahead {
        /// What was stored.
        stored: SeqNum,
        /// What the log holds.
        log: SeqNum,
    },
}

/// Why a store cannot be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// SQLite failed; opening can be tried again.
    #[error("The store could not be opened")]
    Storage(#[from] StoreError),
    /// There is nothing of this store, and whether there is somewhere else has yet to be asked.
    #[error("Whether this store has a backup has yet to be asked")]
    Unborn,
    /// The stored head says that there are events, and there are none: to go on from nothing, or from the head, would be
    /// another history than the one that clients know.
    #[error(
        "The log of this store is not in its object: {head} events were acknowledged, and none of them is stored here. \
         It may lie in D1, where sync-cf can keep it. Nothing is served before it is here, or the store is reset"
    )]
    Elsewhere {
        /// The stored head.
        head: SeqNum,
    },
}

impl OpenError {
    /// Whether there is no log here, and D1 is to be asked for one.
    #[must_use]
    pub fn is_not_here(&self) -> bool {
        matches!(self, Self::Unborn | Self::Elsewhere { .. })
    }
}

/// What an object has of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The lifetime of its log, where one is known.
    pub backend_id: Option<BackendId>,
    /// The last event that was acknowledged, as far as it is known.
    pub head: SeqNum,
    /// How many events the log holds.
    pub events: u64,
    /// The plan by which a log is being brought in.
    pub import: Option<String>,
    /// Whether all of it is being deleted.
    pub is_deleting: bool,
}

/// Events of one page as the text of its JSON items, without brackets.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, or `None` when there are no events.
    pub items: Option<T>,
    /// Bytes of the items.
    pub bytes: usize,
    /// The last event of the page, or where it started if it is empty.
    pub last: SeqNum,
}

/// Events of an earlier lifetime of the log that somebody is yet to be told of.
#[derive(Clone, Debug)]
pub struct Untold<T> {
    /// As the items of a page.
    pub items: T,
    /// Up to where they go, for [`EventStore::forget_untold`].
    pub last: i64,
    /// The lifetime.
    pub backend_id: BackendId,
}

impl<S: Sql> EventStore<S> {
    /// Opens the log of `store_id`, creating its tables if they are missing, adopting what is there.
    ///
    /// A stored backend id is kept (INV-8); `fresh` is used where there is none.
    ///
    /// # Errors
    /// When SQLite fails, or the log is not here; nothing is half done, and opening can be tried again.
    pub fn open(sql: S, store_id: StoreId, fresh: BackendId) -> Result<(Self, Found), OpenError> {
        Self::open_or_make(sql, store_id, fresh, true)
    }

    /// The same for a store that is here; none is made.
    ///
    /// # Errors
    /// [`OpenError::Unborn`] where there is nothing of it, and as [`EventStore::open`].
    pub fn open_born(
        sql: S,
        store_id: StoreId,
        fresh: BackendId,
    ) -> Result<(Self, Found), OpenError> {
        Self::open_or_make(sql, store_id, fresh, false)
    }

    fn open_or_make(
        sql: S,
        store_id: StoreId,
        fresh: BackendId,
        may_make: bool,
    ) -> Result<(Self, Found), OpenError> {
        let tables = schema::find_tables(&sql, &store_id)?;
        let state = schema::read_state(&sql, tables)?;
        let has = |wanted: &str| state.iter().any(|(key, _)| key == wanted);
        // A log that is being brought in is not missed, nor is one of a store that is being deleted.
        let is_importing = has(schema::IMPORT) || has(schema::DELETION);
        let check_presence = |stored, log| {
            if is_importing {
                Ok(())
            } else {
                Self::check_presence(&sql, tables, stored, log)
            }
        };
        if !tables.has_log {
            let stored = if tables.has_context {
                schema::stored_head(&sql, &store_id)?
            } else {
                SeqNum::ROOT
            };
            check_presence(stored, SeqNum::ROOT)?;
            if !may_make && !is_importing {
                return Err(OpenError::Unborn);
            }
        }
        let has_untold = !state.is_empty() && schema::has_untold(&sql)?;
        let had_lifetimes = has(schema::WAS_RESET);
        if schema::create_missing(&sql, tables, &store_id, &fresh)? == Created::Everything {
            let store = Self::new(sql, store_id, fresh, SeqNum::ROOT, SeqNum::ROOT);
            return Ok((
                Self {
                    state,
                    has_untold,
                    had_lifetimes,
                    ..store
                },
                Found::NewStore,
            ));
        }
        let statements = schema::opening(&sql, &store_id);
        let context = Self::read_context(&sql, &statements, &store_id)?;
        let Some((backend_id, stored, log)) = context.filter(|(id, ..)| !id.as_str().is_empty())
        else {
            let log = Self::read_last(&sql, &statements)?;
            check_presence(SeqNum::ROOT, log)?;
            sql.transact(&[Step {
                statement: &statements.insert_context,
                params: &[
                    Param::Text(store_id.as_str()),
                    Param::Int(log.to_i64()),
                    Param::Text(fresh.as_str()),
                ],
            }])?;
            let store = Self::new(sql, store_id, fresh, log, log);
            return Ok((
                Self {
                    state,
                    has_untold,
                    // What there was before it has been lost.
                    had_lifetimes: true,
                    ..store
                },
                Found::NoContext,
            ));
        };
        check_presence(stored, log)?;
        let mut found = Found::InStep;
        if stored < log {
            found = Found::Behind { stored, log };
            sql.transact(&[Step {
                statement: &statements.set_head,
                params: &[Param::Int(log.to_i64()), Param::Text(store_id.as_str())],
            }])?;
        } else if stored > log && !is_importing {
            found = Found::Ahead { stored, log };
        }
        let store = Self::new(sql, store_id, backend_id, stored.max(log), log);
        Ok((
            Self {
                state,
                has_untold,
                had_lifetimes,
                ..store
            },
            found,
        ))
    }

    fn new(
        sql: S,
        store_id: StoreId,
        backend_id: BackendId,
        head: SeqNum,
        last_stored: SeqNum,
    ) -> Self {
        Self {
            statements: Statements::new(&store_id),
            kept_store_id: S::Text::new(store_id.as_str()),
            kept_backend_id: S::Text::new(backend_id.as_str()),
            sql,
            store_id,
            backend_id,
            head,
            last_stored,
            is_stale: Cell::new(false),
            scratch: Pack::default(),
            state: Vec::new(),
            has_untold: false,
            had_lifetimes: false,
        }
    }

    /// What was kept beside the log when the store was opened: keys and values.
    #[must_use]
    pub fn state(&self) -> &[(String, String)] {
        &self.state
    }

    /// The value among them under `key`, if there was one.
    #[must_use]
    pub fn state_of(&self, key: &str) -> Option<&str> {
        let found = self.state.iter().find(|(kept, _)| kept == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Bytes of the database that holds the log.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.sql.size_bytes()
    }

    /// How many events the log holds.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn count(&self) -> Result<u64, StoreError> {
        let mut first = None;
        let lowest = self.sql.prepare(&schema::first_number(&self.store_id));
        self.sql.query(&lowest, &[], &mut |row| {
            if let [Value::Int(number)] = row {
                first = Some(SeqNum::clamped(*number - 1));
            }
        })?;
        // Numbers are contiguous.
        Ok(first.map_or(0, |before| self.last_stored.since(before)))
    }

    /// The number of the last event and when it was pushed, ISO 8601.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn last_push(&self) -> Result<Option<(SeqNum, String)>, StoreError> {
        let mut last = None;
        let newest = self.sql.prepare(&schema::last_push(&self.store_id));
        self.sql.query(&newest, &[], &mut |row| {
            if let [Value::Int(number), Value::Text(at)] = row {
                last = Some((SeqNum::clamped(*number), at.read()));
            }
        })?;
        Ok(last)
    }

    /// Up to `count` events after `after`, each a JSON object on a line of its own.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows.
    pub fn lines(&self, after: SeqNum, count: u32) -> Result<Page<S::Text>, StoreError> {
        let lines = self.sql.prepare(&schema::lines(&self.store_id));
        let mut count = i64::from(count);
        loop {
            match self.seen(self.read_items(&lines, after, count)) {
                // Too large for a string of the platform.
                Err(_) if count > 1 && !self.is_stale() => count = count / 8 + 1,
                page => return page,
            }
        }
    }

    /// Empties the log and begins another lifetime of it. Events after `untold`, if that is given, are kept for
    /// who is yet to be told of them: see [`EventStore::untold`].
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn reset(&mut self, fresh: BackendId, untold: Option<SeqNum>) -> Result<(), StoreError> {
        let untold = untold.filter(|after| *after < self.last_stored);
        let succession = Succession {
            store_id: &self.store_id,
            ended: &self.backend_id,
            begins: &fresh,
            untold,
        };
        schema::reset(&self.sql, &succession)?;
        self.has_untold |= untold.is_some();
        self.had_lifetimes = true;
        self.kept_backend_id = S::Text::new(fresh.as_str());
        self.backend_id = fresh;
        (self.head, self.last_stored) = (SeqNum::ROOT, SeqNum::ROOT);
        Ok(())
    }

    /// Whether this log is known to have had another lifetime.
    #[must_use]
    pub fn had_lifetimes(&self) -> bool {
        self.had_lifetimes
    }

    /// Whether there are events of earlier lifetimes that somebody is yet to be told of.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.has_untold
    }

    /// The first of those events, at most 100; `None` when there are none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn untold(&mut self) -> Result<Option<Untold<S::Text>>, StoreError> {
        if !self.has_untold {
            return Ok(None);
        }
        // Many large ones are too much for one string of the platform.
        let untold = self.read_untold(PAGE_EVENTS_MAX);
        let untold = untold.or_else(|_| self.read_untold(1));
        if untold.is_err() && schema::has_untold(&self.sql) == Ok(false) {
            // Somebody else has removed them.
            self.has_untold = false;
            return Ok(None);
        }
        let untold = untold?;
        // After a failure there may be fewer than was known.
        self.has_untold = untold.is_some();
        Ok(untold)
    }

    fn read_untold(&self, events: u32) -> Result<Option<Untold<S::Text>>, StoreError> {
        let mut untold = None;
        let statement = self.sql.prepare(schema::UNTOLD);
        let params = [Param::Int(i64::from(events))];
        self.sql.query(&statement, &params, &mut |row| {
            if let [
                Value::Text(items),
                Value::Int(last),
                Value::Text(backend_id),
            ] = row
            {
                untold = Some(Untold {
                    items: items.clone(),
                    last: *last,
                    backend_id: BackendId::stored(backend_id.read()),
                });
            }
        })?;
        Ok(untold)
    }

    /// Those events have been told of, up to `last`.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn forget_untold(&mut self, last: i64) -> Result<(), StoreError> {
        let forget = self.sql.prepare(schema::FORGET_UNTOLD);
        let forgotten = self.sql.transact(&[Step {
            statement: &forget,
            params: &[Param::Int(last)],
        }]);
        self.has_untold = schema::has_untold(&self.sql)?;
        // Unless somebody else has removed them.
        forgotten.or_else(|error| if self.has_untold { Err(error) } else { Ok(()) })
    }

    /// Whether an object has a log of this store, or had one that lies elsewhere, without making one.
    ///
    /// # Errors
    /// When the platform fails.
    pub fn exists(sql: &S, store_id: &StoreId) -> Result<bool, StoreError> {
        let tables = schema::find_tables(sql, store_id)?;
        Ok(schema::exists(sql, tables, store_id)?
            || Self::old_head(sql, tables)?.is_some()
            || Self::kept_in(sql, tables, schema::IMPORT)?.is_some()
            || Self::kept_in(sql, tables, schema::DELETION)?.is_some())
    }

    /// What an object has of `store_id`, without opening or making it; `None`: nothing.
    ///
    /// # Errors
    /// When the platform fails.
    pub fn glance(sql: &S, store_id: &StoreId) -> Result<Option<Glance>, StoreError> {
        let tables = schema::find_tables(sql, store_id)?;
        let mut glance = Glance::default();
        if let Some(head) = Self::old_head(sql, tables)? {
            glance.head = SeqNum::clamped(i64::try_from(head).unwrap_or(i64::MAX));
        }
        if tables.has_log {
            let log = sql.prepare(&schema::log_range(store_id));
            sql.query(&log, &[], &mut |row| {
                if let [Value::Int(events), Value::Int(last)] = row {
                    glance.events = u64::try_from(*events).unwrap_or(0);
                    glance.head = glance.head.max(SeqNum::clamped(*last));
                }
            })?;
        }
        if tables.has_context {
            glance.head = glance.head.max(schema::stored_head(sql, store_id)?);
            glance.backend_id = schema::stored_backend_id(sql, store_id)?;
        }
        glance.import = Self::kept_in(sql, tables, schema::IMPORT)?;
        glance.is_deleting = Self::kept_in(sql, tables, schema::DELETION)?.is_some();
        let exists = schema::exists(sql, tables, store_id)?
            || glance.import.is_some()
            || glance.is_deleting
            || glance.head > SeqNum::ROOT;
        Ok(exists.then_some(glance))
    }

    /// What is kept beside the log under `wanted`, if something is.
    fn kept_in(
        sql: &S,
        tables: schema::Tables,
        wanted: &str,
    ) -> Result<Option<String>, StoreError> {
        let mut state = schema::read_state(sql, tables)?.into_iter();
        let kept = state.find(|(key, _)| key == wanted);
        Ok(kept.map(|(_, value)| value))
    }

    /// Keeps that a log is to be brought in, in the words of `plan`: whoever opens the store from now on knows.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn plan_import(sql: &S, plan: &str) -> Result<(), StoreError> {
        schema::set_state(sql, schema::IMPORT, plan)
    }

    /// The same for a log that was this store's before: its lifetime is `backend_id` from the first moment on, if there was
    /// none.
    ///
    /// # Errors
    /// As [`EventStore::plan_import`]; then nothing is begun.
    pub fn plan_adoption(
        sql: &S,
        store_id: &StoreId,
        plan: &str,
        backend_id: &BackendId,
    ) -> Result<(), StoreError> {
        Self::plan_import(sql, plan)?;
        let tables = schema::find_tables(sql, store_id)?;
        // Where this fails, whoever opens the store makes them.
        let _ = schema::create_missing(sql, tables, store_id, backend_id);
        Ok(())
    }

    /// Keeps that the store is to be deleted, in the words of `plan`: whoever opens it from now on does that.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn plan_deletion(sql: &S, plan: &str) -> Result<(), StoreError> {
        schema::set_state(sql, schema::DELETION, plan)
    }

    /// The binding of the D1 database from which this log was adopted, if it was.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn adopted_from(&self) -> Result<Option<String>, StoreError> {
        self.kept(schema::ADOPTED)
    }

    /// What was kept by [`EventStore::give_up_import`], unless a log was brought in since, or the store was reset.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn given_up_import(&self) -> Result<Option<String>, StoreError> {
        self.kept(schema::GIVEN_UP)
    }

    fn kept(&self, key: &str) -> Result<Option<String>, StoreError> {
        let tables = schema::find_tables(&self.sql, &self.store_id)?;
        Self::kept_in(&self.sql, tables, key)
    }

    /// Whether an object is deleting its store.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn is_deleting(sql: &S, store_id: &StoreId) -> Result<bool, StoreError> {
        let tables = schema::find_tables(sql, store_id)?;
        Ok(Self::kept_in(sql, tables, schema::DELETION)?.is_some())
    }

    /// Leaves nothing of the object's storage. Nothing is read or written after it but by [`EventStore::start_over`].
    ///
    /// # Errors
    /// When the platform fails; it can be called again.
    pub fn erase(&self) -> Result<(), StoreError> {
        self.sql.erase()
    }

    /// Opens what there is after [`EventStore::erase`], which is a new store if `may_make`. Nothing is known of the one before.
    ///
    /// # Errors
    /// As [`EventStore::reopen`].
    pub fn start_over(&mut self, fresh: BackendId, may_make: bool) -> Result<Found, OpenError> {
        let (sql, store_id) = (self.sql.clone(), self.store_id.clone());
        let (store, found) = Self::open_or_make(sql, store_id, fresh, may_make)?;
        *self = store;
        Ok(found)
    }

    /// The store whose log an object holds, if it is one alone: for an object that nobody tells its name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn only_store_id(sql: &S) -> Result<Option<StoreId>, StoreError> {
        schema::only_store_id(sql)
    }

    /// Keeps a value beside the log.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn set_state(&self, key: &str, value: &str) -> Result<(), StoreError> {
        schema::set_state(&self.sql, key, value)
    }

    /// Forgets a value that was kept beside the log.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn remove_state(&self, key: &str) -> Result<(), StoreError> {
        schema::remove_state(&self.sql, key)
    }

    /// The store's id.
    #[must_use]
    pub fn store_id(&self) -> &StoreId {
        &self.store_id
    }

    /// The lifetime of this log.
    #[must_use]
    pub fn backend_id(&self) -> &BackendId {
        &self.backend_id
    }

    /// The number the next event continues from.
    #[must_use]
    pub fn head(&self) -> SeqNum {
        self.head
    }

    /// The last event that the log holds: the head, but for logs that lost acknowledged events.
    #[must_use]
    pub fn last_stored(&self) -> SeqNum {
        self.last_stored
    }

    /// Hands a text that the core encoded over to the host, once.
    #[must_use]
    pub fn text(&self, text: &str) -> S::Text {
        S::Text::new(text)
    }

    /// Appends `batch`, which must continue from the head, and moves the head: both or neither.
    ///
    /// *Shape*: `created_at` is ISO 8601 in UTC with milliseconds, one value for the whole batch.
    ///
    /// # Errors
    /// When SQLite fails, the batch does not continue from the head, or somebody else has changed the rows
    /// ([`EventStore::is_stale`]); then nothing is stored and the head is unchanged.
    pub fn append(&mut self, batch: &Batch<'_>, created_at: &str) -> Result<(), StoreError> {
        if batch.parent() != self.head {
            // Only a bug leads here; better to store nothing than a broken log.
            let message = format!(
                "the batch continues from {}, not from the head",
                batch.parent()
            );
            return Err(StoreError { message });
        }
        let mut runs = pack::runs(batch.events());
        let first = runs.next().unwrap_or_default();
        let mut scratch = std::mem::take(&mut self.scratch);
        let head = batch.last();
        let outcome = if runs.clone().next().is_none() {
            self.append_run(first, created_at, Some(head), &mut scratch)
        } else {
            // One at a time, so that a batch of any size is in memory once.
            self.sql.together(&mut || {
                let mut run = first;
                for next in runs.clone() {
                    self.append_run(run, created_at, None, &mut scratch)?;
                    run = next;
                }
                self.append_run(run, created_at, Some(head), &mut scratch)
            })
        };
        scratch.shrink();
        self.scratch = scratch;
        self.seen(outcome)?;
        self.head = batch.last();
        self.last_stored = batch.last();
        Ok(())
    }

    /// Appends one run, and moves the head if it is the last.
    fn append_run(
        &self,
        events: &[Event<'_>],
        created_at: &str,
        head: Option<SeqNum>,
        scratch: &mut Pack,
    ) -> Result<(), StoreError> {
        let Some(rows) = scratch.pack(created_at, events) else {
            return Ok(());
        };
        let insert = match rows.contents {
            Contents::One { .. } => self.statements.append_one(&self.sql),
            Contents::Many { .. } => self.statements.append_run(&self.sql),
        };
        let Some(head) = head else {
            return self.sql.transact(&[Step {
                statement: insert,
                params: &rows.params(),
            }]);
        };
        self.sql.append(&Append {
            rows,
            insert,
            move_head: self.statements.move_head(&self.sql),
            undo: self.statements.remove(&self.sql),
            store_id: &self.kept_store_id,
            backend_id: &self.kept_backend_id,
            last: head.to_i64(),
            head_before: self.head.to_i64(),
            last_before: self.last_stored.to_i64(),
        })
    }

    /// The page of events after `after`: at most 100, at most 900,000 bytes, or 131,072 of UTF-8, at least one if there
    /// is one.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows ([`EventStore::is_stale`]).
    pub fn page(
        &self,
        family: Family,
        form: Form,
        after: SeqNum,
    ) -> Result<Page<S::Text>, StoreError> {
        self.seen(self.fitting_page(family, form, after))
    }

    fn fitting_page(
        &self,
        family: Family,
        form: Form,
        after: SeqNum,
    ) -> Result<Page<S::Text>, StoreError> {
        if after >= self.last_stored {
            return Ok(Page {
                items: None,
                bytes: 0,
                last: after,
            });
        }
        let statement = self.statements.page(&self.sql, family, form);
        self.read_items(statement, after, i64::from(PAGE_EVENTS_MAX))
    }

    /// Whether the events from the first of `events` on are stored exactly as they stand there, up to
    /// the last one stored; `Some(count)` says how many of them are.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn count_repeated(&self, events: &[Event<'_>]) -> Result<Option<usize>, StoreError> {
        self.seen(self.count_same(events))
    }

    fn count_same(&self, events: &[Event<'_>]) -> Result<Option<usize>, StoreError> {
        let Some(first) = events.first() else {
            return Ok(None);
        };
        // A losing batch differs in its first event already, so that most refusals read one row.
        if self.count_equal(events.get(..1).unwrap_or_default(), first.seq_num)? == 0 {
            return Ok(None);
        }
        let stored = self.last_stored.to_i64() - first.seq_num + 1;
        let overlap = usize::try_from(stored).unwrap_or(0).min(events.len());
        let equal = self.count_equal(events.get(..overlap).unwrap_or_default(), first.seq_num)?;
        Ok((equal == overlap).then_some(overlap))
    }

    fn count_equal(&self, events: &[Event<'_>], first: i64) -> Result<usize, StoreError> {
        let (mut next, mut equal) = (first, 0);
        // Rows come into memory all at once.
        for events in pack::runs(events) {
            let last = next + i64::try_from(events.len()).unwrap_or(i64::MAX) - 1;
            let mut remaining = events.iter();
            self.sql.query(
                self.statements.events_between(&self.sql),
                &[Param::Int(next), Param::Int(last)],
                &mut |row| {
                    let event = remaining.next();
                    equal += usize::from(event.is_some_and(|event| is_same(event, row)));
                },
            )?;
            next = last + 1;
        }
        Ok(equal)
    }

    fn read_items(
        &self,
        statement: &S::Statement,
        after: SeqNum,
        events: i64,
    ) -> Result<Page<S::Text>, StoreError> {
        let mut page = Page {
            items: None,
            bytes: 0,
            last: after,
        };
        let params = [
            Param::Int(after.to_i64()),
            Param::Int(events),
            Param::Kept(&self.kept_store_id),
            Param::Kept(&self.kept_backend_id),
        ];
        let mut head = None;
        self.sql.query(statement, &params, &mut |row| {
            if let [.., Value::Int(stored)] = row {
                head = Some(SeqNum::clamped(*stored));
            }
            if let [Value::Text(items), Value::Int(last), Value::Int(bytes), _] = row {
                page.items = Some(items.clone());
                page.last = SeqNum::clamped(*last);
                page.bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            }
        })?;
        let is_short = page.items.is_none() && events > 0 && after < self.last_stored;
        let is_long = page.items.is_some() && page.last > self.last_stored;
        if is_short || is_long || head != Some(self.head) {
            return Err(changed());
        }
        Ok(page)
    }

    /// Whether the rows have been seen to be others than those that are known here: somebody else has changed them.
    /// Nothing more is stored by then, nor read; [`EventStore::reopen`] is to be called.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.is_stale.get()
    }

    /// Looks whether the rows are those that are known here, for who is about to do what would not show it.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows.
    pub fn verify(&self) -> Result<(), StoreError> {
        if self.is_known()? {
            return Ok(());
        }
        self.is_stale.set(true);
        Err(changed())
    }

    /// After a failure, looks whether that is because of rows that somebody else has changed.
    fn seen<R>(&self, outcome: Result<R, StoreError>) -> Result<R, StoreError> {
        outcome.map_err(|error| {
            // What SQLite said is about a row that is missing.
            self.verify()
                .err()
                .filter(|_| self.is_stale())
                .unwrap_or(error)
        })
    }

    /// Whether the rows are those that are known here, as far as their ends and the context show it.
    fn is_known(&self) -> Result<bool, StoreError> {
        let tables = schema::find_tables(&self.sql, &self.store_id)?;
        if !tables.has_log || !tables.has_context {
            return Ok(false);
        }
        let statements = schema::opening(&self.sql, &self.store_id);
        let context = Self::read_context(&self.sql, &statements, &self.store_id)?;
        Ok(context.is_some_and(|(backend_id, head, last)| {
            (head, last) == (self.head, self.last_stored) && backend_id == self.backend_id
        }))
    }

    /// Opens the log again, as a wake does, somebody else having changed its rows. In one lifetime the head does not go
    /// back: no later event gets a number that clients know, though the stored head may have been changed as well.
    ///
    /// # Errors
    /// When SQLite fails, or the log is not here, or nothing is and `may_make` is false; then everything is as it was, and
    /// this can be tried again.
    pub fn reopen(&mut self, fresh: BackendId, may_make: bool) -> Result<Found, OpenError> {
        let tables = schema::find_tables(&self.sql, &self.store_id)?;
        if tables.has_context {
            schema::raise_head(&self.sql, &self.store_id, &self.backend_id, self.head)?;
        }
        let (sql, store_id) = (self.sql.clone(), self.store_id.clone());
        let (store, found) = Self::open_or_make(sql, store_id, fresh, may_make)?;
        let is_other = store.backend_id != self.backend_id;
        if is_other {
            store.set_state(schema::WAS_RESET, self.backend_id.as_str())?;
        }
        let had_lifetimes = self.had_lifetimes || store.had_lifetimes || is_other;
        *self = Self {
            had_lifetimes,
            ..store
        };
        Ok(found)
    }

    fn read_context(
        sql: &S,
        statements: &Opening<S::Statement>,
        store_id: &StoreId,
    ) -> Result<Option<(BackendId, SeqNum, SeqNum)>, StoreError> {
        let mut context = None;
        sql.query(
            &statements.context,
            &[Param::Text(store_id.as_str())],
            &mut |row| {
                if let [Value::Text(backend_id), Value::Int(head), log] = row {
                    let log = if let Value::Int(log) = log { *log } else { 0 };
                    let backend_id = BackendId::stored(backend_id.read());
                    context = Some((backend_id, SeqNum::clamped(*head), SeqNum::clamped(log)));
                }
            },
        )?;
        Ok(context)
    }

    /// Whether a log up to `log` is the one that was acknowledged up to `stored`, and not an empty one beside it.
    fn check_presence(
        sql: &S,
        tables: schema::Tables,
        stored: SeqNum,
        log: SeqNum,
    ) -> Result<(), OpenError> {
        if log > SeqNum::ROOT {
            return Ok(());
        }
        let old = Self::old_head(sql, tables)?.unwrap_or(0);
        let old = SeqNum::clamped(i64::try_from(old).unwrap_or(i64::MAX));
        let head = stored.max(old);
        if head > SeqNum::ROOT {
            return Err(OpenError::Elsewhere { head });
        }
        Ok(())
    }

    /// The head that sync-cf 0.3 kept, asked for only where the platform keeps such values.
    fn old_head(sql: &S, tables: schema::Tables) -> Result<Option<u64>, StoreError> {
        if tables.has_values {
            sql.key_value_head()
        } else {
            Ok(None)
        }
    }

    /// Begins another lifetime of a store that cannot be opened since its log is not here.
    ///
    /// # Errors
    /// When the platform fails; what was done by then stays so, and it can be called again.
    pub fn discard(sql: &S, store_id: &StoreId, fresh: &BackendId) -> Result<(), StoreError> {
        sql.forget_key_value_head()?;
        let tables = schema::find_tables(sql, store_id)?;
        schema::create_missing(sql, tables, store_id, fresh)?;
        let stored = schema::stored_backend_id(sql, store_id)?;
        let ended = stored.filter(|stored| stored != fresh);
        let succession = Succession {
            store_id,
            ended: &ended.unwrap_or_else(|| BackendId::stored(String::new())),
            begins: fresh,
            untold: None,
        };
        schema::reset(sql, &succession)
    }

    fn read_last(sql: &S, statements: &Opening<S::Statement>) -> Result<SeqNum, StoreError> {
        let mut last = SeqNum::ROOT;
        sql.query(&statements.last, &[], &mut |row| {
            if let [Value::Int(stored)] = row {
                last = SeqNum::clamped(*stored);
            }
        })?;
        Ok(last)
    }
}

/// What is said when rows are not those that are known.
fn changed() -> StoreError {
    StoreError {
        message: "somebody else has changed the rows of this store".to_owned(),
    }
}

/// Whether a stored row (`parentSeqNum`, `name`, `args`, `clientId`, `sessionId`) holds `event`.
fn is_same<T: sql::Text>(event: &Event<'_>, row: &[Value<T>]) -> bool {
    let [
        Value::Int(parent),
        Value::Text(name),
        args,
        Value::Text(client),
        Value::Text(session),
    ] = row
    else {
        return false;
    };
    let stored_args = match args {
        Value::Text(args) => args.read(),
        // Absent args and null args mean the same to every reader.
        _ => "null".to_owned(),
    };
    *parent == event.parent_seq_num
        && name.read() == event.name
        && stored_args == event.args_text().unwrap_or("null")
        && client.read() == event.client_id
        && session.read() == event.session_id
}
