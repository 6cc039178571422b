//! [`Sql`] over rusqlite, capped like the SQLite of a Durable Object, failing on demand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use livestore_sync_worker::store::sql::{Append, Form, Param, Sql, Step, StoreError, Text, Value};
use rusqlite::limits::Limit;
use rusqlite::types::{Null, ValueRef};
use rusqlite::{Connection, Statement, StatementStatus};

/// A text of the host: shared, never copied, like a string of JavaScript.
#[derive(Clone, Debug)]
pub(crate) struct HostText {
    text: Rc<str>,
    form: Form,
}

impl HostText {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// How it was read from SQLite.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    fn read_as(form: Form, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).as_ref().into();
        Self { text, form }
    }
}

impl Text for HostText {
    fn new(text: &str) -> Self {
        let text = text.into();
        Self {
            text,
            form: Form::String,
        }
    }

    fn join(head: &Self, body: &Self, tail: &Self) -> Self {
        let text = [&*head.text, &*body.text, &*tail.text].concat().into();
        Self {
            text,
            form: body.form,
        }
    }

    fn read(&self) -> String {
        (*self.text).to_owned()
    }
}

/// How integers cross to SQLite and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// As they are.
    Integers,
    /// As doubles, the only numbers of JavaScript.
    Doubles,
}

impl Binding {
    pub(crate) const ALL: [Self; 2] = [Self::Integers, Self::Doubles];
}

/// When a statement fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before it did anything.
    Before,
    /// After its effect, or after all its rows were shown.
    After,
}

/// SQLite, shared by everything that has a clone.
#[derive(Clone, Debug)]
pub(crate) struct HostSql(Rc<Database>);

#[derive(Debug)]
struct Database {
    connection: Connection,
    binding: Binding,
    statements_run: Cell<usize>,
    planned_anew: Cell<i32>,
    fault: RefCell<Option<Fault>>,
    failures: Cell<usize>,
    is_held: Cell<bool>,
    key_value_head: Cell<Option<u64>>,
    erased: Cell<usize>,
    given_up: Cell<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Fault {
    /// The number of the statement, as `statements_run` counts.
    at: usize,
    /// How many statements fail, this one included.
    count: usize,
    when: When,
}

impl HostSql {
    pub(crate) fn in_memory(binding: Binding) -> Self {
        Self::with(Connection::open_in_memory().unwrap(), binding)
    }

    pub(crate) fn in_file(path: &std::path::Path, binding: Binding) -> Self {
        Self::with(Connection::open(path).unwrap(), binding)
    }

    fn with(connection: Connection, binding: Binding) -> Self {
        // What the platform documents, and a local runtime enforces.
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
            (Limit::SQLITE_LIMIT_LENGTH, 2_000_000),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
        ] {
            connection.set_limit(limit, value).unwrap();
        }
        connection.set_prepared_statement_cache_capacity(64);
        Self(Rc::new(Database {
            connection,
            binding,
            statements_run: Cell::new(0),
            planned_anew: Cell::new(0),
            fault: RefCell::new(None),
            failures: Cell::new(0),
            is_held: Cell::new(false),
            key_value_head: Cell::new(None),
            erased: Cell::new(0),
            given_up: Cell::new(0),
        }))
    }

    /// Keeps a head beside SQLite, as sync-cf 0.3 did: the platform has a table for such values.
    pub(crate) fn set_key_value_head(&self, head: u64) {
        self.set_up(
            "CREATE TABLE IF NOT EXISTS _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID",
        );
        self.0.key_value_head.set(Some(head));
    }

    /// The connection, to look at and to prepare what a test starts from; not counted, never failing.
    pub(crate) fn raw(&self) -> &Connection {
        &self.0.connection
    }

    /// Runs SQL that a test starts from.
    pub(crate) fn set_up(&self, sql: &str) {
        self.raw().execute_batch(sql).unwrap();
    }

    /// How many statements have run: each query, each step, and each commit is one.
    pub(crate) fn statements_run(&self) -> usize {
        self.0.statements_run.get()
    }

    /// How often SQLite planned a query anew that it had planned before, which costs as much as a small one.
    pub(crate) fn planned_anew(&self) -> i32 {
        self.0.planned_anew.get()
    }

    /// Makes the statement after `skip` more of them fail.
    pub(crate) fn fail_after(&self, skip: usize, when: When) {
        self.fail_run(skip, 1, when);
    }

    /// Makes `count` statements fail, after `skip` more of them.
    pub(crate) fn fail_run(&self, skip: usize, count: usize, when: When) {
        let at = self.statements_run() + skip;
        *self.0.fault.borrow_mut() = Some(Fault { at, count, when });
    }

    /// Takes back what [`HostSql::fail_after`] ordered; whether it was still to come.
    pub(crate) fn heal(&self) -> bool {
        self.0.fault.borrow_mut().take().is_some()
    }

    /// Writes from now on are durable only if nobody calls [`HostSql::roll_back`], all of them together.
    pub(crate) fn hold(&self) {
        self.set_up("BEGIN IMMEDIATE");
        self.0.is_held.set(true);
    }

    /// Takes back what was written since [`HostSql::hold`].
    pub(crate) fn roll_back(&self) {
        self.0.is_held.set(false);
        self.set_up("ROLLBACK");
    }

    /// How often everything was removed, the alarm included.
    pub(crate) fn erased(&self) -> usize {
        self.0.erased.get()
    }

    /// How often the object was thrown away because an append could not be taken back.
    pub(crate) fn given_up(&self) -> usize {
        self.0.given_up.get()
    }

    /// How many statements have been made to fail.
    pub(crate) fn failures(&self) -> usize {
        self.0.failures.get()
    }

    /// Whether the next statement is the one that fails.
    fn is_due(&self) -> bool {
        let number = self.statements_run();
        let fault = *self.0.fault.borrow();
        fault.is_some_and(|fault| fault.at <= number)
    }

    fn run<R>(&self, work: impl FnOnce() -> Result<R, StoreError>) -> Result<R, StoreError> {
        let number = self.statements_run();
        self.0.statements_run.set(number + 1);
        let due = self.0.fault.borrow().filter(|fault| fault.at <= number);
        if let Some(fault) = due {
            self.0.failures.set(self.failures() + 1);
            let count = fault.count - 1;
            *self.0.fault.borrow_mut() = (count > 0).then_some(Fault { count, ..fault });
        }
        match due.map(|fault| fault.when) {
            None => work(),
            Some(When::Before) => Err(injected()),
            Some(When::After) => work().and(Err(injected())),
        }
    }

    fn count_planned_anew(&self, statement: &Statement<'_>) {
        let planned_anew = statement.reset_status(StatementStatus::RePrepare);
        self.0.planned_anew.update(|count| count + planned_anew);
    }

    fn prepared(
        &self,
        sql: &str,
        params: &[Param<'_, HostText>],
    ) -> Result<Prepared<'_>, StoreError> {
        let mut statement = self.0.connection.prepare_cached(sql).map_err(failed)?;
        if statement.parameter_count() != params.len() {
            return Err(StoreError {
                message: "wrong number of parameter bindings".to_owned(),
            });
        }
        for (index, param) in params.iter().enumerate() {
            self.bind(&mut statement, index + 1, param)
                .map_err(failed)?;
        }
        Ok(statement)
    }

    fn bind(
        &self,
        statement: &mut Statement<'_>,
        index: usize,
        param: &Param<'_, HostText>,
    ) -> rusqlite::Result<()> {
        match (param, self.0.binding) {
            (Param::Int(integer), Binding::Integers) => {
                statement.raw_bind_parameter(index, *integer)
            }
            (Param::Int(integer), Binding::Doubles) => {
                statement.raw_bind_parameter(index, to_double(*integer))
            }
            (Param::Text(text), _) => statement.raw_bind_parameter(index, *text),
            (Param::Kept(text), _) => statement.raw_bind_parameter(index, text.as_str()),
            (Param::Null, _) => statement.raw_bind_parameter(index, Null),
            (Param::Bytes(bytes), _) => statement.raw_bind_parameter(index, *bytes),
        }
    }

    fn value(&self, value: ValueRef<'_>) -> Value<HostText> {
        match value {
            ValueRef::Integer(integer) if self.0.binding == Binding::Integers => {
                Value::Int(integer)
            }
            ValueRef::Integer(integer) => Value::Int(from_double(to_double(integer))),
            ValueRef::Real(double) => Value::Int(from_double(double)),
            ValueRef::Text(bytes) => Value::Text(HostText::read_as(Form::String, bytes)),
            ValueRef::Blob(bytes) => Value::Text(HostText::read_as(Form::Utf8, bytes)),
            ValueRef::Null => Value::Null,
        }
    }
}

type Prepared<'a> = rusqlite::CachedStatement<'a>;

impl Sql for HostSql {
    type Text = HostText;
    type Statement = Rc<str>;

    fn prepare(&self, sql: &str) -> Rc<str> {
        sql.into()
    }

    fn query(
        &self,
        statement: &Rc<str>,
        params: &[Param<'_, HostText>],
        row: &mut dyn FnMut(&[Value<HostText>]),
    ) -> Result<(), StoreError> {
        self.run(|| {
            let mut statement = self.prepared(statement, params)?;
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            while let Some(found) = rows.next().map_err(failed)? {
                let values: Vec<Value<HostText>> = (0..columns)
                    .map(|column| self.value(found.get_ref_unwrap(column)))
                    .collect();
                row(&values);
            }
            drop(rows);
            self.count_planned_anew(&statement);
            Ok(())
        })
    }

    fn size_bytes(&self) -> u64 {
        let pragma = |name: &str| -> u64 {
            self.0
                .connection
                .pragma_query_value(None, name, |row| row.get(0))
                .unwrap()
        };
        pragma("page_count") * pragma("page_size")
    }

    fn key_value_head(&self) -> Result<Option<u64>, StoreError> {
        self.run(|| Ok(self.0.key_value_head.get()))
    }

    fn forget_key_value_head(&self) -> Result<(), StoreError> {
        self.run(|| {
            self.0.key_value_head.set(None);
            Ok(())
        })
    }

    fn erase(&self) -> Result<(), StoreError> {
        self.run(|| {
            assert!(self.0.connection.is_autocommit());
            self.0.key_value_head.set(None);
            self.0.erased.set(self.0.erased.get() + 1);
            let tables = "SELECT group_concat('DROP TABLE \"' || name || '\";', '') FROM sqlite_master WHERE type = 'table'";
            let drops = self.raw().query_row(tables, [], |row| row.get::<_, Option<String>>(0));
            let drops = drops.map_err(failed)?.unwrap_or_default();
            self.raw().execute_batch(&format!("BEGIN; {drops} COMMIT")).map_err(failed)
        })
    }

    fn together(&self, work: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.set_up("SAVEPOINT together");
        let mut outcome = work();
        if outcome.is_ok() {
            let doomed = self.is_due();
            outcome = self.run(|| {
                if doomed {
                    return Ok(());
                }
                let commit = self.0.connection.execute_batch("RELEASE together");
                commit.map_err(failed)
            });
        }
        if outcome.is_err() {
            self.set_up("ROLLBACK TO together; RELEASE together");
        }
        outcome
    }

    fn append(&self, append: &Append<'_, Rc<str>, HostText>) -> Result<(), StoreError> {
        // Like the platform: a statement that reports a failure has had no effect, and without a savepoint the one before it stays.
        let execute = |statement: &Rc<str>, params: &[Param<'_, HostText>]| {
            let doomed = self.is_due();
            self.run(|| {
                if doomed {
                    return Ok(0);
                }
                let mut statement = self.prepared(statement, params)?;
                let changed = statement.raw_execute().map_err(failed);
                self.count_planned_anew(&statement);
                changed
            })
        };
        self.set_up("SAVEPOINT turn");
        let inserted = execute(append.insert, &append.rows.params());
        let outcome = inserted.and_then(|inserted| {
            let moved = execute(append.move_head, &append.head_params()).and_then(|moved| {
                (moved > 0).then_some(()).ok_or_else(|| StoreError {
                    message: "the head is not where it was".to_owned(),
                })
            });
            moved.inspect_err(|_| {
                if execute(append.undo, &append.undo_params()) != Ok(inserted) {
                    // The object is thrown away, and the turn with it.
                    self.set_up("ROLLBACK TO turn");
                    self.0.given_up.update(|count| count + 1);
                }
            })
        });
        self.set_up("RELEASE turn");
        outcome
    }

    fn transact(&self, steps: &[Step<'_, Rc<str>, HostText>]) -> Result<(), StoreError> {
        // Within another transaction it is a part of that.
        let [begin, commit, roll_back] = if self.0.connection.is_autocommit() {
            ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]
        } else {
            [
                "SAVEPOINT steps",
                "RELEASE steps",
                "ROLLBACK TO steps; RELEASE steps",
            ]
        };
        self.set_up(begin);
        let mut outcome = steps.iter().try_for_each(|step| {
            self.run(|| {
                let mut statement = self.prepared(step.statement, step.params)?;
                let done = statement.raw_execute().map(drop).map_err(failed);
                self.count_planned_anew(&statement);
                done
            })
        });
        if outcome.is_ok() {
            // A commit that reports a failure has not happened.
            let doomed = self.is_due();
            outcome = self.run(|| {
                if doomed {
                    return Ok(());
                }
                self.0.connection.execute_batch(commit).map_err(failed)
            });
        }
        if outcome.is_err() && !self.0.connection.is_autocommit() {
            self.set_up(roll_back);
        }
        outcome
    }
}

#[allow(clippy::cast_precision_loss)] // `Param` promises integers within 2^53.
fn to_double(integer: i64) -> f64 {
    integer as f64
}

#[allow(clippy::cast_possible_truncation)] // `as` saturates, as the platform's side does.
fn from_double(double: f64) -> i64 {
    double as i64
}

fn injected() -> StoreError {
    StoreError {
        message: "injected failure".to_owned(),
    }
}

#[allow(clippy::needless_pass_by_value)] // It is what `map_err` hands over.
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError {
        message: error.to_string(),
    }
}

#[test]
fn a_transaction_is_all_or_nothing_whatever_fails() {
    for when in [When::Before, When::After] {
        for at in 0..3 {
            let sql = HostSql::in_memory(Binding::Integers);
            sql.set_up("CREATE TABLE t (x integer primary key) strict");
            let insert = sql.prepare("INSERT INTO t VALUES (?1)");
            let steps = |params: &[[Param<'_, HostText>; 1]; 2]| {
                let step = |params| Step {
                    statement: &insert,
                    params,
                };
                sql.transact(&[step(&params[0]), step(&params[1])])
            };
            let params = [[Param::Int(1)], [Param::Int(2)]];
            sql.fail_after(at, when);
            assert!(steps(&params).is_err());
            let count = |sql: &HostSql| -> i64 {
                sql.raw()
                    .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
                    .unwrap()
            };
            assert_eq!(count(&sql), 0, "step {at} failed {when:?}");
            assert!(steps(&params).is_ok());
            assert_eq!(count(&sql), 2);
        }
    }
}

#[test]
fn what_is_held_is_taken_back_with_all_its_transactions() {
    let sql = HostSql::in_memory(Binding::Integers);
    sql.set_up("CREATE TABLE t (x integer primary key) strict");
    let insert = sql.prepare("INSERT INTO t VALUES (?1)");
    let run = |number| {
        let params = [Param::Int(number)];
        let step = Step {
            statement: &insert,
            params: &params,
        };
        sql.transact(&[step])
    };
    let count = || -> i64 {
        let count = sql
            .raw()
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        count.unwrap()
    };
    run(1).unwrap();
    sql.hold();
    run(2).unwrap();
    sql.fail_after(0, When::After);
    assert!(run(3).is_err());
    run(4).unwrap();
    assert_eq!(count(), 3);
    sql.roll_back();
    assert_eq!(count(), 1);
    run(5).unwrap();
    assert_eq!(count(), 2);
}

#[test]
fn the_platforms_limits_hold() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let too_long = "x".repeat(2_000_001);
    let mut ignore = |_: &[Value<HostText>]| {};
    let select = sql.prepare("SELECT ?1");
    assert!(
        sql.query(&select, &[Param::Text(&too_long)], &mut ignore)
            .is_err()
    );
    assert!(
        sql.query(
            &select,
            &[Param::Bytes(&too_long.as_bytes()[1..])],
            &mut ignore
        )
        .is_ok()
    );
    assert!(sql.query(&select, &[], &mut ignore).is_err());
    let many = sql.prepare("SELECT ?101");
    assert!(
        sql.query(&many, &[const { Param::Int(1) }; 101], &mut ignore)
            .is_err()
    );
}
