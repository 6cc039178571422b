//! One store's event log in SQLite: the stored head, appending a batch, reading pages.
//!
//! Owns the rows and the cached head, which changes only when the transaction that stored the events
//! has succeeded (INV-1, INV-2). Refuses to know clients, dialects' envelopes and the platform: SQL
//! runs through [`Sql`], and a page's text stays wherever the host keeps it ([`Sql::Text`]).

pub mod schema;
pub mod sql;

use crate::event::{BackendId, Batch, Event, SeqNum, StoreId};
use crate::limits::{EVENT_BYTES_CEILING, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PAGE_OVERHEAD_BYTES};
use crate::wire::Family;
use schema::Statements;
use sql::{Param, Sql, Step, StoreError, Text as _, Value};

/// One store's event log.
#[derive(Debug)]
pub struct EventStore<S: Sql> {
    sql: S,
    statements: Statements<S::Statement>,
    store_id: StoreId,
    backend_id: BackendId,
    head: SeqNum,
    last_stored: SeqNum,
    scratch: Pack,
}

/// What was found when a store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No rows for this store: a new log, or one whose context was lost.
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

impl<S: Sql> EventStore<S> {
    /// Opens the log of `store_id`, creating its tables if they are missing, adopting what is there.
    ///
    /// A stored backend id is kept (INV-8); `fresh` is used where there is none.
    ///
    /// # Errors
    /// When SQLite fails; nothing is half done, and opening can be tried again.
    pub fn open(sql: S, store_id: StoreId, fresh: BackendId) -> Result<(Self, Found), StoreError> {
        let statements = schema::statements(&sql, &store_id);
        let (mut found, mut context) = (Found::InStep, None);
        if let Ok(row) = Self::read_context(&sql, &statements, &store_id) {
            context = row;
        } else {
            // The usual reason is that a table is missing; any other fails again below.
            schema::create(&sql, &store_id)?;
        }
        if context.is_none() {
            context = Self::read_context(&sql, &statements, &store_id)?;
        }
        let (backend_id, stored, log) = match context {
            Some((backend_id, stored, log)) if !backend_id.as_str().is_empty() => {
                (backend_id, stored, log)
            }
            _ => {
                found = Found::NoContext;
                let log = Self::read_last(&sql, &statements)?;
                sql.transact(&[Step {
                    statement: &statements.insert_context,
                    params: &[
                        Param::Text(store_id.as_str()),
                        Param::Int(log.to_i64()),
                        Param::Text(fresh.as_str()),
                    ],
                }])?;
                (fresh, log, log)
            }
        };
        if stored < log {
            found = Found::Behind { stored, log };
            sql.transact(&[Self::head_step(&statements, log, &store_id).as_step()])?;
        } else if stored > log {
            found = Found::Ahead { stored, log };
        }
        let store = Self {
            sql,
            statements,
            store_id,
            backend_id,
            head: stored.max(log),
            last_stored: log,
            scratch: Pack::default(),
        };
        Ok((store, found))
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
    /// When SQLite fails; then nothing is stored and the head is unchanged.
    pub fn append(&mut self, batch: &Batch<'_>, created_at: &str) -> Result<(), StoreError> {
        assert_eq!(
            batch.parent(),
            self.head,
            "a batch is admitted before it is appended"
        );
        let runs = self.scratch.pack(batch.events());
        let head = HeadStep::new(batch.last(), &self.store_id);
        let params: Vec<[Param<'_>; 6]> = runs
            .iter()
            .map(|run| {
                [
                    Param::Int(run.first),
                    Param::Bytes(&self.scratch.bytes),
                    Param::Text(created_at),
                    Param::Text(run.client_id),
                    Param::Text(run.session_id),
                    Param::Text(&run.offsets),
                ]
            })
            .collect();
        let mut steps: Vec<Step<'_, S::Statement>> = params
            .iter()
            .map(|params| Step {
                statement: &self.statements.append,
                params,
            })
            .collect();
        steps.push(Step {
            statement: &self.statements.set_head,
            params: &head.params,
        });
        self.sql.transact(&steps)?;
        self.head = batch.last();
        self.last_stored = batch.last();
        Ok(())
    }

    /// The page of events after `after`: at most 100, at most 900,000 bytes, at least one if there is
    /// one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn page(&self, family: Family, after: SeqNum) -> Result<Page<S::Text>, StoreError> {
        if after >= self.last_stored {
            return Ok(Page {
                items: None,
                bytes: 0,
                last: after,
            });
        }
        let budget = PAGE_BYTES_MAX - PAGE_OVERHEAD_BYTES;
        match self.read_page(family, after, PAGE_EVENTS_MAX) {
            Ok(page) if page.bytes <= budget => Ok(page),
            // Too large for a page, or even for a string of the platform: count what fits.
            Ok(_) | Err(_) => {
                let fitting = self.count_fitting(family, after, budget)?;
                self.read_page(family, after, fitting.max(1))
            }
        }
    }

    /// Whether the events from the first of `events` on are stored exactly as they stand there, up to
    /// the last one stored; `Some(count)` says how many of them are.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn count_repeated(&self, events: &[Event<'_>]) -> Result<Option<usize>, StoreError> {
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
        let last = first + i64::try_from(events.len()).unwrap_or(i64::MAX) - 1;
        let (mut remaining, mut equal) = (events.iter(), 0);
        self.sql.query(
            &self.statements.events_between,
            &[Param::Int(first), Param::Int(last)],
            &mut |row| {
                let event = remaining.next();
                equal += usize::from(event.is_some_and(|event| is_same(event, row)));
            },
        )?;
        Ok(equal)
    }

    fn read_page(
        &self,
        family: Family,
        after: SeqNum,
        events: u32,
    ) -> Result<Page<S::Text>, StoreError> {
        let mut page = Page {
            items: None,
            bytes: 0,
            last: after,
        };
        let params = [Param::Int(after.to_i64()), Param::Int(i64::from(events))];
        self.sql
            .query(self.statements.page(family), &params, &mut |row| {
                if let [Value::Text(items), Value::Int(last), Value::Int(bytes)] = row {
                    page.items = Some(items.clone());
                    page.last = SeqNum::clamped(*last);
                    page.bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
                }
            })?;
        Ok(page)
    }

    fn count_fitting(
        &self,
        family: Family,
        after: SeqNum,
        budget: usize,
    ) -> Result<u32, StoreError> {
        let params = [
            Param::Int(after.to_i64()),
            Param::Int(i64::from(PAGE_EVENTS_MAX)),
            Param::Int(i64::try_from(budget).unwrap_or(i64::MAX)),
        ];
        let mut count = 0;
        self.sql
            .query(self.statements.count_fitting(family), &params, &mut |row| {
                if let [Value::Int(fitting)] = row {
                    count = u32::try_from(*fitting).unwrap_or(0);
                }
            })?;
        Ok(count)
    }

    fn read_context(
        sql: &S,
        statements: &Statements<S::Statement>,
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

    fn read_last(sql: &S, statements: &Statements<S::Statement>) -> Result<SeqNum, StoreError> {
        let mut last = SeqNum::ROOT;
        sql.query(&statements.last, &[], &mut |row| {
            if let [Value::Int(stored)] = row {
                last = SeqNum::clamped(*stored);
            }
        })?;
        Ok(last)
    }

    fn head_step<'a>(
        statements: &'a Statements<S::Statement>,
        head: SeqNum,
        store_id: &'a StoreId,
    ) -> OwnedStep<'a, S::Statement> {
        OwnedStep {
            statement: &statements.set_head,
            head: HeadStep::new(head, store_id),
        }
    }
}

/// Parameters that set the stored head.
struct HeadStep<'a> {
    params: [Param<'a>; 2],
}

impl<'a> HeadStep<'a> {
    fn new(head: SeqNum, store_id: &'a StoreId) -> Self {
        Self {
            params: [Param::Int(head.to_i64()), Param::Text(store_id.as_str())],
        }
    }
}

struct OwnedStep<'a, Statement> {
    statement: &'a Statement,
    head: HeadStep<'a>,
}

impl<Statement> OwnedStep<'_, Statement> {
    fn as_step(&self) -> Step<'_, Statement> {
        Step {
            statement: self.statement,
            params: &self.head.params,
        }
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

/// The contents of a batch in one run of bytes, so that any number of events crosses to SQLite in six
/// parameters: each event's name and args one after the other, found again by packed offsets.
#[derive(Debug, Default)]
struct Pack {
    bytes: Vec<u8>,
}

/// Consecutive events of one client session.
struct Run<'a> {
    first: i64,
    client_id: &'a str,
    session_id: &'a str,
    /// JSON array of `offset << 33 | name bytes << 21 | args bytes`, an integer an event.
    offsets: String,
}

impl Pack {
    fn pack<'a>(&mut self, events: &'a [Event<'_>]) -> Vec<Run<'a>> {
        use std::fmt::Write as _;
        self.bytes.clear();
        let mut runs: Vec<Run<'a>> = Vec::with_capacity(1);
        for event in events {
            let args = event.args_text().unwrap_or_default();
            debug_assert!(
                event.content_bytes() <= EVENT_BYTES_CEILING,
                "`Batch` bounds its events"
            );
            let packed = (self.bytes.len() as u64) << 33
                | (event.name.len() as u64) << 21
                | args.len() as u64;
            self.bytes.extend_from_slice(event.name.as_bytes());
            self.bytes.extend_from_slice(args.as_bytes());
            let continues = runs.last().is_some_and(|run| {
                run.client_id == event.client_id && run.session_id == event.session_id
            });
            if !continues {
                runs.push(Run {
                    first: event.seq_num,
                    client_id: &event.client_id,
                    session_id: &event.session_id,
                    offsets: String::from("["),
                });
            }
            if let Some(run) = runs.last_mut() {
                let comma = if continues { "," } else { "" };
                // Writing to a string cannot fail.
                let _ = write!(run.offsets, "{comma}{packed}");
            }
        }
        for run in &mut runs {
            run.offsets.push(']');
        }
        runs
    }
}
