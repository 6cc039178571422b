//! A log as a file: what is exported is read back to the byte, however the file is cut up and wherever reading is
//! interrupted, and no damage to it passes unnoticed.

mod damage;
mod documents;
mod export;
mod round_trips;

use std::fmt::Write as _;

use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::store::schema::log_table;
use livestore_sync_worker::transfer::{
    Export, Fault, Header, Kind, Options, Part, Place, ReadError, Reader, Summary,
};
use proptest::prelude::*;
use rusqlite::params;

use crate::cases;
use crate::host_sql::{Binding, HostSql};

const STORE: &str = "my-store.1";
const BACKEND: &str = "a-backend-id---------";
const EXPORTED: &str = "2026-11-22T10:19:11.954Z";
const CREATED: &str = "2026-11-22T10:19:10.000Z";

/// A row of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    seq_num: i64,
    parent: i64,
    name: String,
    args: Option<String>,
    created_at: String,
    client_id: String,
    session_id: String,
}

impl Row {
    fn new(seq_num: i64) -> Self {
        Self {
            seq_num,
            parent: seq_num - 1,
            name: "v1.TodoCreated".to_owned(),
            args: Some(format!(r#"{{"id":"id-{seq_num}"}}"#)),
            created_at: CREATED.to_owned(),
            client_id: "client-A".to_owned(),
            session_id: "session-A".to_owned(),
        }
    }

    fn with_args(seq_num: i64, args: &str) -> Self {
        Self {
            args: Some(args.to_owned()),
            ..Self::new(seq_num)
        }
    }
}

fn insert(sql: &HostSql, rows: &[Row]) {
    let table = log_table(&StoreId::new(STORE));
    for row in rows {
        sql.raw()
            .execute(
                &format!("INSERT INTO \"{table}\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
                params![
                    row.seq_num,
                    row.parent,
                    row.name,
                    row.args,
                    row.created_at,
                    row.client_id,
                    row.session_id
                ],
            )
            .unwrap();
    }
}

fn open(sql: &HostSql) -> EventStore<HostSql> {
    let fresh = BackendId::stored(BACKEND.to_owned());
    EventStore::open(sql.clone(), StoreId::new(STORE), fresh)
        .unwrap()
        .0
}

/// A store whose log has these rows, whoever wrote them.
fn store_of(rows: &[Row]) -> (HostSql, EventStore<HostSql>) {
    let sql = HostSql::in_memory(Binding::Doubles);
    open(&sql);
    insert(&sql, rows);
    let store = open(&sql);
    (sql, store)
}

fn exported(store: &EventStore<HostSql>) -> String {
    let mut export = Export::new(store, EXPORTED.to_owned());
    let mut file = String::new();
    while let Some(lines) = export.next(store).unwrap() {
        file.push_str(&lines);
    }
    file
}

fn file_of(rows: &[Row]) -> String {
    exported(&store_of(rows).1)
}

/// CRC-32 by its definition.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    !crc
}

/// A first line, these lines, and the last line that fits them.
fn sealed(lines: &[String], events: usize) -> String {
    let mut file = format!(
        r#"{{"format":"livestore-sync-export","version":1,"storeId":"{STORE}","backendId":"{BACKEND}","head":{events},"exportedAt":"{EXPORTED}"}}"#
    );
    for line in lines {
        write!(file, "\n{line}").unwrap();
    }
    file.push('\n');
    let crc = crc32(file.as_bytes());
    file + &format!(
        "{{\"end\":{{\"events\":{events},\"head\":{events},\"crc32\":\"{crc:08x}\"}}}}\n"
    )
}

/// What a file was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    header: Header,
    rows: Vec<Row>,
    summary: Summary,
    /// Where the reader said that each event stands.
    places: Vec<Place>,
}

fn options() -> Options {
    Options {
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        accepts_lines: false,
    }
}

/// Reads a file whose bytes come in pieces of these sizes, the last one again and again. After each part, `interrupt` says
/// whether reading goes on in another reader.
fn read_in_pieces(
    file: &[u8],
    options: Options,
    sizes: &[usize],
    mut interrupt: impl FnMut() -> bool,
) -> Result<Log, ReadError> {
    let mut reader = Reader::new(options);
    let (mut at, mut turn) = (0, 0);
    let (mut header, mut summary) = (None, None);
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    loop {
        if at < file.len() {
            let size = sizes
                .get(turn)
                .or(sizes.last())
                .copied()
                .unwrap_or(1)
                .max(1);
            let end = at.saturating_add(size).min(file.len());
            reader.push(&file[at..end])?;
            (at, turn) = (end, turn + 1);
        } else {
            reader.finish();
        }
        while let Some(part) = reader.next()? {
            match part {
                Part::Header(found) => {
                    assert!(header.is_none() && rows.is_empty());
                    header = Some(found);
                }
                Part::Events(batch) => {
                    assert!(header.is_some());
                    assert!(batch.json_bytes() <= 1_000_000 || batch.events().len() == 1);
                    let json = batch.to_json();
                    assert!(
                        (json.len()..json.len() + 64 * batch.events().len() + 64)
                            .contains(&batch.json_bytes())
                    );
                    places.extend(batch.events().iter().map(|event| event.place));
                    rows.extend(taken_apart(&json));
                }
                Part::End(found) => {
                    summary = Some(found);
                }
            }
            assert_eq!(reader.events(), rows.len() as u64);
            assert_eq!(reader.header(), header);
            if interrupt() {
                let state = reader.state();
                assert!(state.len() < 1_000, "{state}");
                reader = Reader::resume(&state).unwrap();
                at = usize::try_from(reader.bytes_read()).unwrap();
                break;
            }
        }
        if let (Some(header), Some(summary)) = (&header, summary) {
            assert_eq!(at, file.len());
            assert_eq!(reader.next()?, None);
            return Ok(Log {
                header: header.clone(),
                rows,
                summary,
                places,
            });
        }
    }
}

fn read(file: &str) -> Result<Log, ReadError> {
    read_in_pieces(file.as_bytes(), options(), &[usize::MAX], || false)
}

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq_num: row.get(0)?,
        parent: row.get(1)?,
        name: row.get(2)?,
        args: row.get(3)?,
        created_at: row.get(4)?,
        client_id: row.get(5)?,
        session_id: row.get(6)?,
    })
}

/// What SQLite makes of the JSON of a batch.
fn taken_apart(json: &str) -> Vec<Row> {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let mut rows = connection
        .prepare(
            "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 \
             FROM json_each(?1)",
        )
        .unwrap();
    let rows = rows.query_map([json], row_of);
    rows.unwrap().map(Result::unwrap).collect()
}

fn told(file: &str) -> String {
    read(file).unwrap_err().to_string()
}
