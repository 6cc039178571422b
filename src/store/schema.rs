//! The stored tables and every statement that touches them.
//!
//! The tables are those of `@livestore/sync-cf`, persistence format 7 (0.3.1, 0.4.0 and after), so
//! that changing the backend in either direction is a deployment and nothing else.
//!
//! | table | column | content |
//! |---|---|---|
//! | `eventlog_7_<id>` | `seqNum` | primary key, the global sequence number |
//! | | `parentSeqNum` | as pushed |
//! | | `name` | event name |
//! | | `args` | JSON text exactly as pushed; NULL when the event had none |
//! | | `createdAt` | server time of the push, ISO 8601 UTC with ms, one value per push |
//! | | `clientId`, `sessionId` | as pushed |
//! | `context_7` | `storeId` | primary key; a row per store id the object was addressed with |
//! | | `currentHead` | kept in step with the log for the way back; never trusted over it |
//! | | `backendId` | 21-character nanoid, kept for the life of the log |
//! | `livestore_sync_state` | `key`, `value` | ours alone, made when first needed: what is kept beside the log |
//! | `livestore_sync_staging` | as the log | ours alone: events that are being brought in, until they are the log |
//! | `livestore_sync_untold` | `id`, `backendId`, `item` | ours alone: events that a reset removed before `on_committed` was told of them, as a page has them |

use std::cell::OnceCell;

use crate::event::{BackendId, SeqNum, StoreId};
use crate::limits::{PAGE_BYTES_MAX, PAGE_OVERHEAD_BYTES, PIECE_BYTES_MAX};
use crate::store::sql::{Form, Param, Sql, Step, StoreError, Text as _, Value};
use crate::wire::Family;

/// The version in the tables' names. A newer one is other tables, which we would not see.
pub const FORMAT_VERSION: u32 = 7;

/// The name of a store's log table: each UTF-16 unit outside `[a-zA-Z0-9]` becomes `_`. Not unique
/// per store, which does not matter inside an object of its own.
#[must_use]
pub fn log_table(store_id: &StoreId) -> String {
    let suffix: String = store_id
        .as_str()
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte),
            _ => '_',
        })
        .collect();
    format!("eventlog_{FORMAT_VERSION}_{suffix}")
}

/// The statements that open a store.
#[derive(Debug)]
pub struct Opening<Statement> {
    /// `backendId`, `currentHead` and the log's last number, of one store id.
    pub context: Statement,
    /// The log's last number.
    pub last: Statement,
    /// A new context row: store id, head, backend id.
    pub insert_context: Statement,
    /// Moves the stored head: head, store id.
    pub set_head: Statement,
}

/// The statements that serve a store, each prepared when it is first needed: most wakes need few.
pub(crate) struct Statements<S: Sql> {
    table: String,
    move_head: OnceCell<S::Statement>,
    append_one: OnceCell<S::Statement>,
    append_run: OnceCell<S::Statement>,
    remove: OnceCell<S::Statement>,
    events_between: OnceCell<S::Statement>,
    pages: [OnceCell<S::Statement>; 2],
    utf8_pages: [OnceCell<S::Statement>; 2],
}

impl<S: Sql> Statements<S> {
    pub(crate) fn new(store_id: &StoreId) -> Self {
        Self {
            table: log_table(store_id),
            move_head: OnceCell::new(),
            append_one: OnceCell::new(),
            append_run: OnceCell::new(),
            remove: OnceCell::new(),
            events_between: OnceCell::new(),
            pages: [OnceCell::new(), OnceCell::new()],
            utf8_pages: [OnceCell::new(), OnceCell::new()],
        }
    }

    /// Moves the stored head after a batch was appended, if the rows are those that are known: head, store id, the head before,
    /// backend id, the log's last number before. Otherwise it changes nothing.
    pub(crate) fn move_head(&self, sql: &S) -> &S::Statement {
        self.move_head.get_or_init(|| {
            let table = &self.table;
            sql.prepare(&format!(
                "UPDATE context_7 SET currentHead = ?1 WHERE storeId = ?2 AND max(currentHead, 0) = ?3 AND backendId = ?4 \
                 AND (SELECT max(seqNum) FROM \"{table}\") = ?1 \
                 AND max(ifnull((SELECT max(seqNum) FROM \"{table}\" WHERE seqNum <= ?3), 0), 0) = ?5"
            ))
        })
    }

    /// Removes events: from one number to another.
    pub(crate) fn remove(&self, sql: &S) -> &S::Statement {
        self.remove.get_or_init(|| {
            sql.prepare(&format!(
                "DELETE FROM \"{}\" WHERE seqNum BETWEEN ?1 AND ?2",
                self.table
            ))
        })
    }

    /// Appends one event: its number, then as [`Statements::append_run`], then the bytes of its name and
    /// of its args instead of the offsets.
    pub(crate) fn append_one(&self, sql: &S) -> &S::Statement {
        self.append_one.get_or_init(|| {
            let into = self.insert_into();
            sql.prepare(&format!(
                "{into} VALUES (?1, ?1 - 1, CAST(substr(?2, ?4 + ?5 + ?6, ?7) AS TEXT), \
                 nullif(CAST(substr(?2, ?4 + ?5 + ?6 + ?7, ?8) AS TEXT), ''), {ORIGIN})"
            ))
        })
    }

    /// Appends one run of events: first number, packed bytes, bytes of created at, position of the client
    /// id, its bytes, bytes of the session id, offsets of the events.
    pub(crate) fn append_run(&self, sql: &S) -> &S::Statement {
        self.append_run.get_or_init(|| {
            let into = self.insert_into();
            sql.prepare(&format!(
                "{into} SELECT ?1 + key, ?1 + key - 1, \
                 CAST(substr(?2, value >> 33, (value >> 21) & 4095) AS TEXT), \
                 nullif(CAST(substr(?2, (value >> 33) + ((value >> 21) & 4095), value & 2097151) AS TEXT), ''), \
                 {ORIGIN} FROM json_each(?7)"
            ))
        })
    }

    /// The stored events from one number to another.
    pub(crate) fn events_between(&self, sql: &S) -> &S::Statement {
        self.events_between.get_or_init(|| {
            sql.prepare(&format!(
                "SELECT parentSeqNum, name, args, clientId, sessionId FROM \"{}\" \
                 WHERE seqNum BETWEEN ?1 AND ?2 ORDER BY seqNum",
                self.table
            ))
        })
    }

    /// Items, last number and bytes of a page, and the stored head if it is of that lifetime: after, events, store id,
    /// backend id.
    pub(crate) fn page(&self, sql: &S, family: Family, form: Form) -> &S::Statement {
        let (pages, page, bytes_max) = match form {
            Form::String => (&self.pages, "group_concat(item, ',')", PAGE_BYTES_MAX),
            Form::Utf8 => (
                &self.utf8_pages,
                "CAST(group_concat(item, ',') AS BLOB)",
                PIECE_BYTES_MAX,
            ),
        };
        of_family(pages, family).get_or_init(|| {
            let fitting = fitting(&self.table, family, bytes_max - PAGE_OVERHEAD_BYTES);
            let items = items(&self.table, family, &fitting);
            sql.prepare(&format!(
                "SELECT {page}, max(seqNum), sum(octet_length(item) + 1), {HEAD} FROM ({items})"
            ))
        })
    }

    fn insert_into(&self) -> String {
        let table = &self.table;
        format!(
            "INSERT INTO \"{table}\" (seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId)"
        )
    }
}

/// How many rows at most. SQLite looks into a parameter that stands there alone when it plans a statement, and so plans it
/// anew whenever one is bound.
const LIMIT: &str = "?2 + 0";

/// The stored head of the store `?3`, if the lifetime is `?4`.
const HEAD: &str =
    "(SELECT max(currentHead, 0) FROM context_7 WHERE storeId = ?3 AND backendId = ?4)";

/// Created at, client id and session id of a run, out of its packed bytes.
const ORIGIN: &str = "CAST(substr(?2, 1, ?3) AS TEXT), CAST(substr(?2, ?4, ?5) AS TEXT), \
                      CAST(substr(?2, ?4 + ?5, ?6) AS TEXT)";

fn of_family<T>([plain, rpc]: &[T; 2], family: Family) -> &T {
    match family {
        Family::Plain => plain,
        Family::Rpc => rpc,
    }
}

/// Which tables an object has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // One for each table.
pub(super) struct Tables {
    pub(super) has_log: bool,
    pub(super) has_context: bool,
    has_state: bool,
    /// Whether the platform keeps values of its own API beside the tables.
    pub(super) has_values: bool,
}

/// What [`create_missing`] had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Neither table was there: both are, with a context row.
    Everything,
    /// At least one table was there, and both are now.
    AtMostOne,
}

const INSERT_CONTEXT: &str =
    "INSERT OR REPLACE INTO context_7 (storeId, currentHead, backendId) VALUES (?1, ?2, ?3)";
const SET_HEAD: &str = "UPDATE context_7 SET currentHead = ?1 WHERE storeId = ?2";

/// Looks which tables an object has.
///
/// # Errors
/// When SQLite fails.
pub(super) fn find_tables<S: Sql>(sql: &S, store_id: &StoreId) -> Result<Tables, StoreError> {
    let table = log_table(store_id);
    let tables = sql.prepare(
        "SELECT count(CASE name WHEN ?1 THEN 1 END), count(CASE name WHEN 'context_7' THEN 1 END), \
         count(CASE name WHEN 'livestore_sync_state' THEN 1 END), count(CASE name WHEN '_cf_KV' THEN 1 END) \
         FROM sqlite_master WHERE type = 'table' AND name IN (?1, 'context_7', 'livestore_sync_state', '_cf_KV')",
    );
    let mut found = Tables::default();
    sql.query(&tables, &[Param::Text(&table)], &mut |row| {
        if let [
            Value::Int(log),
            Value::Int(context),
            Value::Int(state),
            Value::Int(values),
        ] = row
        {
            found = Tables {
                has_log: *log > 0,
                has_context: *context > 0,
                has_state: *state > 0,
                has_values: *values > 0,
            };
        }
    })?;
    Ok(found)
}

/// The stored head of a store, as far as there is a context of it.
///
/// # Errors
/// When SQLite fails.
pub(super) fn stored_head<S: Sql>(sql: &S, store_id: &StoreId) -> Result<SeqNum, StoreError> {
    let row = sql.prepare("SELECT currentHead FROM context_7 WHERE storeId = ?1");
    let mut head = SeqNum::ROOT;
    sql.query(&row, &[Param::Text(store_id.as_str())], &mut |row| {
        if let [Value::Int(stored)] = row {
            head = SeqNum::clamped(*stored);
        }
    })?;
    Ok(head)
}

/// The stored lifetime of a store.
///
/// # Errors
/// When SQLite fails.
pub(super) fn stored_backend_id<S: Sql>(
    sql: &S,
    store_id: &StoreId,
) -> Result<Option<BackendId>, StoreError> {
    let row = sql.prepare("SELECT backendId FROM context_7 WHERE storeId = ?1");
    let mut backend_id = None;
    sql.query(&row, &[Param::Text(store_id.as_str())], &mut |row| {
        if let [Value::Text(stored)] = row {
            backend_id = Some(BackendId::stored(stored.read()));
        }
    })?;
    Ok(backend_id.filter(|id| !id.as_str().is_empty()))
}

/// Creates a table for events, in the very text that sync-cf stores.
fn create_log(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{table}\" (\"seqNum\" integer primary key   , \"parentSeqNum\" integer   \
         not null , \"name\" text   not null , \"args\" text    , \"createdAt\" text   not null , \"clientId\" \
         text   not null , \"sessionId\" text   not null ) strict"
    )
}

/// The table of events that are being brought in, which becomes the log under its name.
pub(crate) const STAGING: &str = "livestore_sync_staging";

/// Drops that table, if it is there.
pub(crate) fn drop_staging() -> String {
    format!("DROP TABLE IF EXISTS {STAGING}")
}

/// Creates that table.
pub(crate) fn create_staging() -> String {
    create_log(STAGING)
}

/// Creates the tables that are missing, in the very text that sync-cf stores; a store without either
/// gets its context row, with head 0 and the backend id `fresh`, in the same transaction.
///
/// # Errors
/// When SQLite fails; then nothing is made.
pub(super) fn create_missing<S: Sql>(
    sql: &S,
    tables: Tables,
    store_id: &StoreId,
    fresh: &BackendId,
) -> Result<Created, StoreError> {
    let Tables {
        has_log,
        has_context,
        ..
    } = tables;
    if has_log && has_context {
        return Ok(Created::AtMostOne);
    }
    let is_new = !has_log && !has_context;
    let log = sql.prepare(&create_log(&log_table(store_id)));
    let context = sql.prepare(
        "CREATE TABLE IF NOT EXISTS \"context_7\" (\"storeId\" text primary key   , \"currentHead\" integer   \
         not null , \"backendId\" text   not null ) strict",
    );
    let insert = sql.prepare(INSERT_CONTEXT);
    let row = [
        Param::Text(store_id.as_str()),
        Param::Int(0),
        Param::Text(fresh.as_str()),
    ];
    let mut steps = vec![
        Step {
            statement: &log,
            params: &[],
        },
        Step {
            statement: &context,
            params: &[],
        },
    ];
    if is_new {
        steps.push(Step {
            statement: &insert,
            params: &row,
        });
    }
    sql.transact(&steps)?;
    Ok(if is_new {
        Created::Everything
    } else {
        Created::AtMostOne
    })
}

/// Selects how many events a log holds, and the number of the last.
pub(crate) fn log_range(store_id: &StoreId) -> String {
    format!(
        "SELECT count(*), ifnull(max(seqNum), 0) FROM \"{}\"",
        log_table(store_id)
    )
}

/// Raises the stored head of a lifetime to `head`, if it is lower.
///
/// # Errors
/// When SQLite fails; then nothing is changed.
pub(super) fn raise_head<S: Sql>(
    sql: &S,
    store_id: &StoreId,
    backend_id: &BackendId,
    head: SeqNum,
) -> Result<(), StoreError> {
    let raise = sql.prepare(
        "UPDATE context_7 SET currentHead = ?1 WHERE storeId = ?2 AND backendId = ?3 AND currentHead < ?1",
    );
    sql.transact(&[Step {
        statement: &raise,
        params: &[
            Param::Int(head.to_i64()),
            Param::Text(store_id.as_str()),
            Param::Text(backend_id.as_str()),
        ],
    }])
}

/// Selects the lowest number of a log.
pub(crate) fn first_number(store_id: &StoreId) -> String {
    format!("SELECT min(seqNum) FROM \"{}\"", log_table(store_id))
}

/// Selects the number and time of the last event.
pub(crate) fn last_push(store_id: &StoreId) -> String {
    let table = log_table(store_id);
    format!("SELECT seqNum, createdAt FROM \"{table}\" ORDER BY seqNum DESC LIMIT 1")
}

/// Selects the `?2` events after `?1` as lines of JSON, with what a page has beside its items. Line breaks
/// that a client wrote between the parts of its args become spaces; within strings JSON has none.
pub(crate) fn lines(store_id: &StoreId) -> String {
    let table = log_table(store_id);
    format!(
        "SELECT group_concat(line, ''), max(seqNum), sum(octet_length(line)), {HEAD} FROM (SELECT seqNum, \
         concat('{{\"seqNum\":', seqNum, ',\"parentSeqNum\":', parentSeqNum, ',\"name\":', json_quote(name), \
         ',\"args\":', replace(replace(ifnull(args, 'null'), char(10), ' '), char(13), ' '), \
         ',\"clientId\":', json_quote(clientId), ',\"sessionId\":', json_quote(sessionId), ',\"createdAt\":', \
         json_quote(createdAt), '}}', char(10)) AS line \
         FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT {LIMIT})"
    )
}

/// Whether there is a log of this store, or a context.
///
/// # Errors
/// When SQLite fails.
pub(super) fn exists<S: Sql>(
    sql: &S,
    tables: Tables,
    store_id: &StoreId,
) -> Result<bool, StoreError> {
    let mut exists = tables.has_log;
    if tables.has_context && !exists {
        let row = sql.prepare("SELECT 1 FROM context_7 WHERE storeId = ?1");
        sql.query(&row, &[Param::Text(store_id.as_str())], &mut |_| {
            exists = true;
        })?;
    }
    Ok(exists)
}

/// The store id of the only context row; `None` where there is none, or more than one.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn only_store_id<S: Sql>(sql: &S) -> Result<Option<StoreId>, StoreError> {
    let table = sql.prepare("SELECT name FROM sqlite_master WHERE name = 'context_7'");
    let (mut exists, mut ids) = (false, Vec::new());
    sql.query(&table, &[], &mut |_| exists = true)?;
    if !exists {
        return Ok(None);
    }
    let rows = sql.prepare("SELECT storeId FROM context_7 LIMIT 2");
    sql.query(&rows, &[], &mut |row| {
        if let [Value::Text(id)] = row {
            ids.push(StoreId::new(id.read()));
        }
    })?;
    let only = ids.pop();
    Ok(only.filter(|_| ids.is_empty()))
}

/// How one lifetime of a log ends and another begins.
pub(crate) struct Succession<'a> {
    /// The store.
    pub(crate) store_id: &'a StoreId,
    /// The lifetime that ends.
    pub(crate) ended: &'a BackendId,
    /// The one that begins; the same where only its rows are others.
    pub(crate) begins: &'a BackendId,
    /// After which events those of the log that ends are kept for who is yet to be told of them.
    pub(crate) untold: Option<SeqNum>,
}

/// Empties the log and its context, and begins another lifetime.
///
/// # Errors
/// When SQLite fails; then nothing is changed.
pub(crate) fn reset<S: Sql>(sql: &S, succession: &Succession<'_>) -> Result<(), StoreError> {
    let table = log_table(succession.store_id);
    let empty = format!("DELETE FROM \"{table}\"");
    succeed(sql, succession, SeqNum::ROOT, &[&empty])
}

/// Puts what is staged, up to `head`, in the place of the log, and forgets the plan for it, and any that was given up before.
///
/// # Errors
/// When SQLite fails; then nothing is changed.
pub(crate) fn install<S: Sql>(
    sql: &S,
    succession: &Succession<'_>,
    head: SeqNum,
) -> Result<(), StoreError> {
    let table = log_table(succession.store_id);
    let drop = format!("DROP TABLE \"{table}\"");
    let rename = format!("ALTER TABLE {STAGING} RENAME TO \"{table}\"");
    succeed(sql, succession, head, &[&drop, &rename])
}

fn succeed<S: Sql>(
    sql: &S,
    succession: &Succession<'_>,
    head: SeqNum,
    replace: &[&str],
) -> Result<(), StoreError> {
    let Succession {
        store_id,
        ended,
        begins,
        untold,
    } = succession;
    let table = log_table(store_id);
    let insert = sql.prepare(INSERT_CONTEXT);
    let row = [
        Param::Text(store_id.as_str()),
        Param::Int(head.to_i64()),
        Param::Text(begins.as_str()),
    ];
    let create = sql.prepare(
        "CREATE TABLE IF NOT EXISTS livestore_sync_untold \
         (id integer primary key, backendId text not null, item text not null) strict",
    );
    let items = items(&table, Family::Rpc, LIMIT);
    let keep = sql.prepare(&format!(
        "INSERT INTO livestore_sync_untold (backendId, item) SELECT ?3, item FROM ({items})"
    ));
    let after = untold.unwrap_or(SeqNum::ROOT).to_i64();
    let range = [
        Param::Int(after),
        Param::Int(-1),
        Param::Text(ended.as_str()),
    ];
    let (create_state, set_state) = (sql.prepare(CREATE_STATE), sql.prepare(SET_STATE));
    let was_reset = [Param::Text(WAS_RESET), Param::Text(ended.as_str())];
    let forget = sql.prepare(REMOVE_STATE);
    let forgotten = [[Param::Text(IMPORT)], [Param::Text(GIVEN_UP)]];
    let replace: Vec<S::Statement> = replace.iter().map(|one| sql.prepare(one)).collect();
    let step = |statement, params| Step { statement, params };
    let mut steps = Vec::with_capacity(9);
    if untold.is_some() {
        steps.push(step(&create, &[]));
        steps.push(step(&keep, &range));
    }
    steps.extend(replace.iter().map(|statement| step(statement, &[])));
    steps.push(step(&insert, &row));
    steps.push(step(&create_state, &[]));
    if ended != begins {
        steps.push(step(&set_state, &was_reset));
    }
    steps.extend(forgotten.iter().map(|key| step(&forget, key)));
    sql.transact(&steps)
}

/// Whether there are events of an earlier lifetime that somebody is yet to be told of.
///
/// # Errors
/// When SQLite fails.
pub(crate) fn has_untold<S: Sql>(sql: &S) -> Result<bool, StoreError> {
    let tables = sql.prepare("SELECT 1 FROM sqlite_master WHERE name = 'livestore_sync_untold'");
    let mut exists = false;
    sql.query(&tables, &[], &mut |_| exists = true)?;
    if exists {
        exists = false;
        let rows = sql.prepare("SELECT 1 FROM livestore_sync_untold LIMIT 1");
        sql.query(&rows, &[], &mut |_| exists = true)?;
    }
    Ok(exists)
}

/// Selects the items, the last id and the lifetime of the first `?1` such events, all of one lifetime.
pub(crate) const UNTOLD: &str = "SELECT group_concat(item, ','), max(id), min(backendId) FROM \
     (SELECT id, backendId, item FROM livestore_sync_untold WHERE backendId = \
     (SELECT backendId FROM livestore_sync_untold ORDER BY id LIMIT 1) ORDER BY id LIMIT ?1 + 0)";

/// Removes such events up to an id.
pub(crate) const FORGET_UNTOLD: &str = "DELETE FROM livestore_sync_untold WHERE id <= ?1";

/// Everything that is kept beside the log.
///
/// # Errors
/// When SQLite fails.
pub(super) fn read_state<S: Sql>(
    sql: &S,
    tables: Tables,
) -> Result<Vec<(String, String)>, StoreError> {
    if !tables.has_state {
        return Ok(Vec::new());
    }
    let all = sql.prepare("SELECT key, value FROM livestore_sync_state");
    let mut state = Vec::new();
    sql.query(&all, &[], &mut |row| {
        if let [Value::Text(key), Value::Text(value)] = row {
            state.push((key.read(), value.read()));
        }
    })?;
    Ok(state)
}

/// Under this key stands by which plan a log is being brought in.
pub(crate) const IMPORT: &str = "import";

/// Under this key stands how it ended that a log was to be brought in, where the store has gone on with the one that it had.
pub(crate) const GIVEN_UP: &str = "import-given-up";

/// Under this key stands that the store is being deleted, and how far that is.
pub(crate) const DELETION: &str = "deletion";

/// Under this key stands the binding of the D1 database from which the log was adopted.
pub(crate) const ADOPTED: &str = "adopted";

/// Under this key stands when the store was last opened, where that matters.
pub(crate) const OPENED: &str = "opened";

/// Under this key stands the lifetime that the last reset ended.
pub(crate) const WAS_RESET: &str = "reset";

const CREATE_STATE: &str = "CREATE TABLE IF NOT EXISTS livestore_sync_state (key text primary key, value text not null) strict, without rowid";
const REMOVE_STATE: &str = "DELETE FROM livestore_sync_state WHERE key = ?1";
const SET_STATE: &str = "INSERT OR REPLACE INTO livestore_sync_state (key, value) VALUES (?1, ?2)";

/// Keeps a value beside the log.
///
/// # Errors
/// When SQLite fails; then nothing is changed.
pub(crate) fn set_state<S: Sql>(sql: &S, key: &str, value: &str) -> Result<(), StoreError> {
    let (create, replace) = (sql.prepare(CREATE_STATE), sql.prepare(SET_STATE));
    let create = Step {
        statement: &create,
        params: &[],
    };
    let replace = Step {
        statement: &replace,
        params: &[Param::Text(key), Param::Text(value)],
    };
    sql.transact(&[create, replace])
}

/// Forgets a value that was kept beside the log.
///
/// # Errors
/// When SQLite fails; then nothing is changed.
pub(crate) fn remove_state<S: Sql>(sql: &S, key: &str) -> Result<(), StoreError> {
    // Somebody else may have removed the table.
    let create = sql.prepare(CREATE_STATE);
    let delete = sql.prepare(REMOVE_STATE);
    sql.transact(&[
        Step {
            statement: &create,
            params: &[],
        },
        Step {
            statement: &delete,
            params: &[Param::Text(key)],
        },
    ])
}

/// Prepares the statements that open a store.
pub(crate) fn opening<S: Sql>(sql: &S, store_id: &StoreId) -> Opening<S::Statement> {
    let table = log_table(store_id);
    Opening {
        context: sql.prepare(&format!(
            "SELECT backendId, currentHead, (SELECT max(seqNum) FROM \"{table}\") FROM context_7 WHERE storeId = ?1"
        )),
        last: sql.prepare(&format!("SELECT max(seqNum) FROM \"{table}\"")),
        insert_context: sql.prepare(INSERT_CONTEXT),
        set_head: sql.prepare(SET_HEAD),
    }
}

/// How many of the `?2` events after `?1` go into a page of `budget` bytes, at least one: what does not go into it is not
/// made. Mostly they all do, however many letters have to be escaped; else what goes into it is counted, of those whose args
/// alone would. The lengths of texts SQLite keeps apart from them.
fn fitting(table: &str, family: Family, budget: usize) -> String {
    let shape = family.item_shape();
    let keys = KEYS.len() + shape.metadata.len() + shape.close.len() + 1;
    let args = "ifnull(octet_length(args), 4)";
    // Quoted, a letter has six bytes at most.
    let at_most = format!(
        "{} + 6 * (octet_length(name) + octet_length(clientId) + octet_length(sessionId) + octet_length(createdAt)) + {args}",
        keys + 4 * 2 + 2 * DIGITS_MAX
    );
    let exactly = format!(
        "{keys} + octet_length(concat(seqNum, parentSeqNum, json_quote(name), json_quote(clientId), \
         json_quote(sessionId), json_quote(createdAt))) + {args}"
    );
    let rows = |bytes: &str, limit: &str| {
        format!(
            "SELECT seqNum, {bytes} AS bytes FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT {limit}"
        )
    };
    let count = |rows: &str| {
        format!(
            "(SELECT count(*) FROM (SELECT sum(bytes) OVER (ORDER BY seqNum) AS total FROM ({rows})) WHERE total <= {budget})"
        )
    };
    let candidates = count(&rows(args, LIMIT));
    let counted = count(&rows(&exactly, &candidates));
    let all = rows(&at_most, LIMIT);
    format!(
        "CASE WHEN (SELECT sum(bytes) FROM ({all})) <= {budget} THEN {LIMIT} ELSE max(1, {counted}) END"
    )
}

/// Digits of the largest number in an item, and its sign.
const DIGITS_MAX: usize = 20;

/// What is in an item, but for texts, args and numbers, and its end.
const KEYS: &str =
    r#"{"eventEncoded":{"name":,"args":,"seqNum":,"parentSeqNum":,"clientId":,"sessionId":"#;

/// Selects the JSON items of the `limit` events after `?1`, byte for byte as `wire::encode_items` writes
/// them.
fn items(table: &str, family: Family, limit: &str) -> String {
    let shape = family.item_shape();
    let (metadata, close) = (shape.metadata, shape.close);
    format!(
        "SELECT seqNum, concat('{{\"eventEncoded\":{{\"name\":', json_quote(name), ',\"args\":', ifnull(args, 'null'), \
         ',\"seqNum\":', seqNum, ',\"parentSeqNum\":', parentSeqNum, ',\"clientId\":', json_quote(clientId), \
         ',\"sessionId\":', json_quote(sessionId), '{metadata}', json_quote(createdAt), '{close}') AS item \
         FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT {limit}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_after_utf_16_units() {
        let cases = [
            ("a-b.C9", "eventlog_7_a_b_C9"),
            ("", "eventlog_7_"),
            ("é😀", "eventlog_7____"),
        ];
        for (store_id, table) in cases {
            assert_eq!(log_table(&StoreId::new(store_id)), table);
        }
    }
}
