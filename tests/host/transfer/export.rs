//! What an export writes.

use livestore_sync_worker::event::SeqNum;
use livestore_sync_worker::transfer::ExportError;

use super::*;

#[test]
fn an_export_is_written_as_documented() {
    let rows = [
        Row::new(1),
        Row::with_args(2, "[ 1,\r\n\t\"\\n\" ]"),
        Row {
            name: "with \"quotes\"".to_owned(),
            args: None,
            ..Row::new(3)
        },
        Row::with_args(4, "null"),
        Row::with_args(5, " 1"),
        Row::with_args(6, "2\t"),
        Row::with_args(7, "no JSON"),
    ];
    let line = |number: i64, name: &str, args: &str| {
        format!(
            r#"{{"seqNum":{number},"parentSeqNum":{},"name":{name}{args},"clientId":"client-A","sessionId":"session-A","createdAt":"{CREATED}"}}"#,
            number - 1
        )
    };
    let name = "\"v1.TodoCreated\"";
    let lines = [
        line(1, name, r#","args":{"id":"id-1"}"#),
        line(2, name, r#","argsText":"[ 1,\r\n\t\"\\n\" ]""#),
        line(3, r#""with \"quotes\"""#, ""),
        line(4, name, r#","args":null"#),
        line(5, name, r#","argsText":" 1""#),
        line(6, name, r#","argsText":"2\t""#),
        line(7, name, r#","argsText":"no JSON""#),
    ];
    assert_eq!(file_of(&rows), sealed(&lines, 7));
    assert_eq!(file_of(&[]), sealed(&[], 0));
}

#[test]
fn an_export_is_of_the_head_that_it_names_whatever_is_pushed_meanwhile() {
    let rows: Vec<_> = (1..=250).map(Row::new).collect();
    let (sql, store) = store_of(&rows);
    let expected = exported(&store);
    let mut export = Export::new(&store, EXPORTED.to_owned());
    let mut file = export.next(&store).unwrap().unwrap();
    insert(&sql, &(251..=270).map(Row::new).collect::<Vec<_>>());
    let store = open(&sql);
    assert_eq!(store.last_stored().get(), 270);
    let mut pieces = 0;
    while let Some(lines) = export.next(&store).unwrap() {
        file.push_str(&lines);
        pieces += 1;
    }
    assert_eq!(file, expected);
    assert_eq!(pieces, 4, "a hundred lines at a time, and the last line");
}

#[test]
fn an_export_is_broken_off_by_a_reset_and_by_events_that_are_gone() {
    let rows: Vec<_> = (1..=150).map(Row::new).collect();
    let (sql, mut store) = store_of(&rows);
    let begun = || {
        let mut export = Export::new(&store, EXPORTED.to_owned());
        for _ in 0..2 {
            export.next(&store).unwrap().unwrap();
        }
        export
    };
    let (mut first, mut second) = (begun(), begun());
    let table = log_table(&StoreId::new(STORE));
    sql.set_up(&format!("DELETE FROM \"{table}\" WHERE seqNum > 100"));
    assert!(matches!(first.next(&store), Err(ExportError::Storage(_))));
    assert!(store.is_stale());
    let fresh = || BackendId::stored("another".to_owned());
    store.reopen(fresh(), false).unwrap();
    let lost = ExportError::Lost {
        last: SeqNum::clamped(100),
        head: SeqNum::clamped(150),
    };
    assert_eq!(first.next(&store), Err(lost));
    store.reset(fresh(), None).unwrap();
    assert_eq!(second.next(&store), Err(ExportError::Reset));
}

#[test]
fn a_log_that_lost_events_is_exported_with_those_that_there_are() {
    let rows = [Row::new(3), Row::new(4), Row::new(9)];
    let file = file_of(&rows);
    let last = file.lines().last().unwrap();
    assert!(
        last.starts_with(r#"{"end":{"events":3,"head":9,"crc32":""#),
        "{last}"
    );
    assert_eq!(
        told(&file),
        "line 2: seqNum is 3, but 1 was expected: the event before it is 0"
    );
}

#[test]
fn a_failure_of_storage_breaks_an_export_off() {
    let (sql, store) = store_of(&[Row::new(1)]);
    let mut export = Export::new(&store, EXPORTED.to_owned());
    export.next(&store).unwrap().unwrap();
    sql.fail_run(0, 9, crate::host_sql::When::Before);
    assert!(matches!(export.next(&store), Err(ExportError::Storage(_))));
}
