//! The store on SQLite: the very statements that are shipped.

mod adoption;
mod changed_rows;
mod failures;
mod operations;
mod paging;
pub(crate) mod round_trips;
mod tables;

use std::fmt::Write as _;

use livestore_sync_worker::event::{BackendId, Batch, Event, SeqNum, StoreId};
use livestore_sync_worker::eventlog::{Admission, admit};
use livestore_sync_worker::json;
use livestore_sync_worker::limits::{
    Limits, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PAGE_OVERHEAD_BYTES, PIECE_BYTES_MAX,
};
use livestore_sync_worker::store::schema::log_table;
use livestore_sync_worker::store::sql::{Form, StoreError};
use livestore_sync_worker::store::{EventStore, Found, OpenError, Page};
use livestore_sync_worker::wire::{Family, encode_items};
use proptest::prelude::*;

use crate::cases;
use crate::client::{Sample, batch_json};
use crate::host_sql::{Binding, HostSql, HostText, When};

const STORE: &str = "my-store.1";
const FRESH: &str = "fresh-backend-id-----";
const CREATED: &str = "2026-11-22T10:19:11.954Z";

fn open(sql: &HostSql) -> Result<(EventStore<HostSql>, Found), OpenError> {
    open_store(sql, STORE)
}

fn open_store(sql: &HostSql, store_id: &str) -> Result<(EventStore<HostSql>, Found), OpenError> {
    let fresh = BackendId::stored(FRESH.to_owned());
    EventStore::open(sql.clone(), StoreId::new(store_id), fresh)
}

fn with_batch<R>(json: &str, work: impl FnOnce(&Batch<'_>) -> R) -> R {
    let events = json::read(json, Event::read_all).unwrap();
    let batch = Batch::parse(events, &Limits::default()).unwrap().unwrap();
    work(&batch)
}

fn append(store: &mut EventStore<HostSql>, events: &[Sample]) -> Result<(), StoreError> {
    with_batch(&batch_json(events), |batch| store.append(batch, CREATED))
}

/// What `wire` writes for the same events: what a broadcast of them holds.
fn encoded(family: Family, events: &[Sample]) -> String {
    let mut items = String::new();
    with_batch(&batch_json(events), |batch| {
        encode_items(family, batch.events(), CREATED, &mut items);
    });
    items
}

fn page(store: &EventStore<HostSql>, family: Family, after: i64) -> Page<HostText> {
    store
        .page(family, Form::String, SeqNum::clamped(after))
        .unwrap()
}

/// All pages after `after`.
fn pages(store: &EventStore<HostSql>, family: Family, after: i64) -> Vec<Page<HostText>> {
    let mut pages = vec![page(store, family, after)];
    while let Some(last) = pages
        .last()
        .map(|page| page.last)
        .filter(|last| *last < store.last_stored())
    {
        pages.push(page(store, family, last.to_i64()));
    }
    pages
}

fn text(page: &Page<HostText>) -> &str {
    page.items.as_ref().map_or("", HostText::as_str)
}

/// The rows of the log and the context, as one comparable text.
fn dump(sql: &HostSql) -> String {
    let mut out = String::new();
    let mut tables = sql
        .raw()
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables: Vec<(String, String)> = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (table, ddl) in tables {
        writeln!(out, "{ddl}").unwrap();
        let mut rows = sql
            .raw()
            .prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1"))
            .unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                write!(out, "{:?}|", row.get_ref_unwrap(column)).unwrap();
            }
            out.push('\n');
        }
    }
    out
}

fn context(sql: &HostSql, store_id: &str) -> Option<(i64, String)> {
    let mut statement = sql
        .raw()
        .prepare("SELECT currentHead, backendId FROM context_7 WHERE storeId = ?1")
        .unwrap();
    let mut rows = statement
        .query_map([store_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.next().map(Result::unwrap)
}

/// The tables as sync-cf stores them, with the name of the log.
fn ddl(store_id: &str) -> [String; 2] {
    let table = log_table(&StoreId::new(store_id));
    [
        format!(
            "CREATE TABLE \"{table}\" (\"seqNum\" integer primary key   , \"parentSeqNum\" integer   not null , \
             \"name\" text   not null , \"args\" text    , \"createdAt\" text   not null , \
             \"clientId\" text   not null , \"sessionId\" text   not null ) strict"
        ),
        "CREATE TABLE \"context_7\" (\"storeId\" text primary key   , \"currentHead\" integer   not null , \
         \"backendId\" text   not null ) strict"
            .to_owned(),
    ]
}

/// A store that sync-cf left behind.
fn adopt(rows: &str, contexts: &[(&str, i64, &str)]) -> HostSql {
    let sql = HostSql::in_memory(Binding::Doubles);
    let [log, context] = ddl(STORE);
    sql.set_up(&log);
    sql.set_up(&context);
    if !rows.is_empty() {
        let table = log_table(&StoreId::new(STORE));
        sql.set_up(&format!("INSERT INTO \"{table}\" VALUES {rows}"));
    }
    for (store_id, head, backend_id) in contexts {
        sql.raw()
            .execute(
                "INSERT INTO context_7 VALUES (?1, ?2, ?3)",
                (store_id, head, backend_id),
            )
            .unwrap();
    }
    sql
}

/// A plain row of an existing log.
fn row(seq_num: i64, parent: i64) -> String {
    format!(
        "({seq_num}, {parent}, 'n', '{{\"n\":{seq_num}}}', '2025-01-01T00:00:00.000Z', 'c', 's')"
    )
}

fn rows(numbers: impl IntoIterator<Item = i64>) -> String {
    let rows: Vec<String> = numbers.into_iter().map(|n| row(n, n - 1)).collect();
    rows.join(",")
}

/// The sequence numbers that the pages after `after` hold.
fn numbers(store: &EventStore<HostSql>, after: i64) -> Vec<i64> {
    pages(store, Family::Rpc, after)
        .iter()
        .flat_map(|page| {
            let items: serde_json::Value =
                serde_json::from_str(&format!("[{}]", text(page))).unwrap();
            let items = items.as_array().unwrap().clone();
            items
                .into_iter()
                .map(|item| item["eventEncoded"]["seqNum"].as_i64().unwrap())
        })
        .collect()
}
