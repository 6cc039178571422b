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

use crate::event::StoreId;
use crate::store::sql::{Sql, Step, StoreError};
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

/// Every statement of one store, prepared.
#[derive(Debug)]
pub struct Statements<Statement> {
    /// `backendId`, `currentHead` and the log's last number, of one store id.
    pub context: Statement,
    /// The log's last number.
    pub last: Statement,
    /// A new context row: store id, head, backend id.
    pub insert_context: Statement,
    /// Moves the stored head: head, store id.
    pub set_head: Statement,
    /// Appends one run of events: first number, packed bytes, created at, client, session, offsets.
    pub append: Statement,
    /// The stored events from one number to another.
    pub events_between: Statement,
    pages: [Statement; 2],
    fitting: [Statement; 2],
}

impl<Statement> Statements<Statement> {
    /// Items, last number and bytes of a page: after, events.
    pub(crate) fn page(&self, family: Family) -> &Statement {
        let [plain, rpc] = &self.pages;
        match family {
            Family::Plain => plain,
            Family::Rpc => rpc,
        }
    }

    /// How many events fit: after, events, bytes.
    pub(crate) fn count_fitting(&self, family: Family) -> &Statement {
        let [plain, rpc] = &self.fitting;
        match family {
            Family::Plain => plain,
            Family::Rpc => rpc,
        }
    }
}

/// Creates the tables that are missing, in the very text that sync-cf stores.
///
/// # Errors
/// When SQLite fails; then neither table is made.
pub fn create<S: Sql>(sql: &S, store_id: &StoreId) -> Result<(), StoreError> {
    let table = log_table(store_id);
    let log = sql.prepare(&format!(
        "CREATE TABLE IF NOT EXISTS \"{table}\" (\"seqNum\" integer primary key   , \"parentSeqNum\" integer   \
         not null , \"name\" text   not null , \"args\" text    , \"createdAt\" text   not null , \"clientId\" \
         text   not null , \"sessionId\" text   not null ) strict"
    ));
    let context = sql.prepare(
        "CREATE TABLE IF NOT EXISTS \"context_7\" (\"storeId\" text primary key   , \"currentHead\" integer   \
         not null , \"backendId\" text   not null ) strict",
    );
    sql.transact(&[
        Step {
            statement: &log,
            params: &[],
        },
        Step {
            statement: &context,
            params: &[],
        },
    ])
}

/// Prepares every statement of one store.
pub(crate) fn statements<S: Sql>(sql: &S, store_id: &StoreId) -> Statements<S::Statement> {
    let table = log_table(store_id);
    let page = |family: Family| {
        let items = items(&table, family);
        sql.prepare(&format!(
            "SELECT group_concat(item, ','), max(seqNum), sum(octet_length(item) + 1) FROM ({items})"
        ))
    };
    let fitting = |family: Family| {
        let items = items(&table, family);
        sql.prepare(&format!(
            "SELECT count(*) FROM (SELECT sum(octet_length(item) + 1) OVER (ORDER BY seqNum) AS total \
             FROM ({items})) WHERE total <= ?3"
        ))
    };
    Statements {
        context: sql.prepare(&format!(
            "SELECT backendId, currentHead, (SELECT max(seqNum) FROM \"{table}\") FROM context_7 WHERE storeId = ?1"
        )),
        last: sql.prepare(&format!("SELECT max(seqNum) FROM \"{table}\"")),
        insert_context: sql.prepare(
            "INSERT OR REPLACE INTO context_7 (storeId, currentHead, backendId) VALUES (?1, ?2, ?3)",
        ),
        set_head: sql.prepare("UPDATE context_7 SET currentHead = ?1 WHERE storeId = ?2"),
        append: sql.prepare(&format!(
            "INSERT INTO \"{table}\" (seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId) \
             SELECT ?1 + key, ?1 + key - 1, \
             CAST(substr(?2, (value >> 33) + 1, (value >> 21) & 4095) AS TEXT), \
             nullif(CAST(substr(?2, (value >> 33) + 1 + ((value >> 21) & 4095), value & 2097151) AS TEXT), ''), \
             ?3, ?4, ?5 FROM json_each(?6)"
        )),
        events_between: sql.prepare(&format!(
            "SELECT parentSeqNum, name, args, clientId, sessionId FROM \"{table}\" \
             WHERE seqNum BETWEEN ?1 AND ?2 ORDER BY seqNum"
        )),
        pages: [page(Family::Plain), page(Family::Rpc)],
        fitting: [fitting(Family::Plain), fitting(Family::Rpc)],
    }
}

/// Selects the JSON items of the `?2` events after `?1`, byte for byte as `wire::encode_items` writes
/// them.
fn items(table: &str, family: Family) -> String {
    let shape = family.item_shape();
    let (metadata, close) = (shape.metadata, shape.close);
    format!(
        "SELECT seqNum, '{{\"eventEncoded\":{{\"name\":' || json_quote(name) || ',\"args\":' || ifnull(args, 'null') \
         || ',\"seqNum\":' || seqNum || ',\"parentSeqNum\":' || parentSeqNum || ',\"clientId\":' || json_quote(clientId) \
         || ',\"sessionId\":' || json_quote(sessionId) || '{metadata}' || json_quote(createdAt) || '{close}' AS item \
         FROM \"{table}\" WHERE seqNum > ?1 ORDER BY seqNum LIMIT ?2"
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
