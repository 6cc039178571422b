//! What the store asks of SQLite, whoever hosts it: prepared statements, a query, a transaction.

use thiserror::Error;

/// A value bound to a statement. Integers stay within 2^53, since some hosts carry them as doubles.
#[derive(Clone, Copy, Debug)]
pub enum Param<'a, T> {
    /// SQL NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// A text that lives with the host already.
    Kept(&'a T),
    /// Bytes, as a BLOB.
    Bytes(&'a [u8]),
}

/// A value that a query returned.
#[derive(Clone, Debug)]
pub enum Value<T> {
    /// SQL NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A text, wherever the host keeps it; also from a BLOB, which holds it as UTF-8.
    Text(T),
}

/// How the host keeps a text that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a string of its own: for who is handed strings.
    String,
    /// As UTF-8, as it lies in SQLite: for who writes bytes, and need not change it for that.
    Utf8,
}

/// A text that lives with the host: a string of JavaScript under the platform.
pub trait Text: Clone {
    /// Hands `text` over to the host.
    fn new(text: &str) -> Self;

    /// The three texts one after the other.
    #[must_use]
    fn join(head: &Self, body: &Self, tail: &Self) -> Self;

    /// Reads it back; not for the hot path.
    fn read(&self) -> String;
}

/// One statement of a transaction with its parameters.
#[derive(Debug)]
pub struct Step<'a, Statement, T> {
    /// What to run.
    pub statement: &'a Statement,
    /// Its parameters in order.
    pub params: &'a [Param<'a, T>],
}

/// Consecutive events of one client session on their way into the log, as numbers and one BLOB.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The number of the first.
    pub first: i64,
    /// `created at`, client id and session id, then each event's name and args, in UTF-8.
    pub bytes: &'a [u8],
    /// Bytes of `created at`.
    pub created_at_bytes: usize,
    /// Bytes of the client id.
    pub client_id_bytes: usize,
    /// Bytes of the session id.
    pub session_id_bytes: usize,
    /// Where the events are in `bytes`.
    pub contents: Contents<'a>,
}

/// Where events are in a BLOB.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// One event, right after the session id.
    One {
        /// Bytes of its name.
        name_bytes: usize,
        /// Bytes of its args, 0 if there are none.
        args_bytes: usize,
    },
    /// A JSON array of `position << 33 | name bytes << 21 | args bytes`, an integer an event; positions count from 1.
    Many {
        /// That array.
        offsets: &'a str,
    },
}

impl<'a> Rows<'a> {
    /// The parameters of the statement that inserts them: first number, BLOB, bytes of `created at`, position of the client id in
    /// the BLOB, from 1, its bytes, bytes of the session id; then bytes of the name and of the args, or the offsets.
    #[must_use]
    pub fn params<T>(&self) -> Vec<Param<'a, T>> {
        let length = |bytes: usize| Param::Int(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut params = vec![
            Param::Int(self.first),
            Param::Bytes(self.bytes),
            length(self.created_at_bytes),
            length(self.created_at_bytes + 1),
            length(self.client_id_bytes),
            length(self.session_id_bytes),
        ];
        match self.contents {
            Contents::One {
                name_bytes,
                args_bytes,
            } => params.extend([length(name_bytes), length(args_bytes)]),
            Contents::Many { offsets } => params.push(Param::Text(offsets)),
        }
        params
    }
}

/// Rows that are inserted, and the head that moves with them.
#[derive(Debug)]
pub struct Append<'a, Statement, T> {
    /// What is inserted.
    pub rows: Rows<'a>,
    /// Inserts it, with [`Rows::params`].
    pub insert: &'a Statement,
    /// Moves the head, which is a row that it changes, with [`Append::head_params`].
    pub move_head: &'a Statement,
    /// Deletes the inserted rows again, with [`Append::undo_params`].
    pub undo: &'a Statement,
    /// The store.
    pub store_id: &'a T,
    /// The lifetime of its log.
    pub backend_id: &'a T,
    /// The number of the last row, which becomes the head.
    pub last: i64,
    /// The head before.
    pub head_before: i64,
    /// The number of the last row before.
    pub last_before: i64,
}

impl<'a, Statement, T> Append<'a, Statement, T> {
    /// The parameters of `move_head`.
    #[must_use]
    pub fn head_params(&self) -> [Param<'a, T>; 5] {
        [
            Param::Int(self.last),
            Param::Kept(self.store_id),
            Param::Int(self.head_before),
            Param::Kept(self.backend_id),
            Param::Int(self.last_before),
        ]
    }

    /// The parameters of `undo`.
    #[must_use]
    pub fn undo_params(&self) -> [Param<'a, T>; 2] {
        [Param::Int(self.rows.first), Param::Int(self.last)]
    }
}

/// The platform failed: a full disk, a lost connection, a damaged table.
///
/// *Errors*: logged with its text; a client is told only that storage failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("storage: {message}")]
pub struct StoreError {
    /// What SQLite said.
    pub message: String,
}

/// Is shown one row of a query at a time.
pub type OnRow<'a, T> = &'a mut dyn FnMut(&[Value<T>]);

/// A synchronous SQLite. Clones are the same one.
pub trait Sql: Clone {
    /// Where texts live.
    type Text: Text;
    /// A statement ready to run.
    type Statement;

    /// Makes a statement ready; an error in it shows when it runs.
    fn prepare(&self, sql: &str) -> Self::Statement;

    /// Runs a statement and shows each row it returns.
    ///
    /// # Errors
    /// When SQLite fails, possibly after some rows have been shown.
    fn query(
        &self,
        statement: &Self::Statement,
        params: &[Param<'_, Self::Text>],
        row: OnRow<'_, Self::Text>,
    ) -> Result<(), StoreError>;

    /// Bytes of the database.
    fn size_bytes(&self) -> u64;

    /// The head that sync-cf 0.3 kept beside SQLite, whose log lay in D1; `None` where there is none.
    ///
    /// # Errors
    /// When the platform fails.
    fn key_value_head(&self) -> Result<Option<u64>, StoreError>;

    /// Forgets that head.
    ///
    /// # Errors
    /// When the platform fails; then it is not forgotten.
    fn forget_key_value_head(&self) -> Result<(), StoreError>;

    /// Removes everything that is stored, the alarm included. No transaction is under way.
    ///
    /// # Errors
    /// When the platform fails; it can be called again.
    fn erase(&self) -> Result<(), StoreError>;

    /// Runs all steps in one transaction.
    ///
    /// # Errors
    /// When SQLite fails; then no step has had an effect.
    fn transact(&self, steps: &[Step<'_, Self::Statement, Self::Text>]) -> Result<(), StoreError>;

    /// Inserts rows and moves the head: both or neither. For what every push does, since it costs less than a transaction of its own:
    /// where `move_head` fails, or changes no row, `undo` is run. Should that fail, too, the host drops all that is not durable yet,
    /// and itself.
    ///
    /// # Errors
    /// When SQLite fails, or the head is not where it was; then nothing has had an effect.
    fn append(&self, append: &Append<'_, Self::Statement, Self::Text>) -> Result<(), StoreError>;

    /// Runs `work`, in which there are transactions, as one: for what need not be in memory all at once.
    ///
    /// # Errors
    /// When `work` or SQLite fails; then nothing has had an effect.
    fn together(&self, work: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError>;
}
