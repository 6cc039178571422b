//! The stored text of the tables and rows.

use super::*;

#[test]
fn a_new_store_is_stored_in_the_very_text_of_sync_cf() {
    for store_id in ["my-store.1", "", "a'b\"c", "é😀", "plain"] {
        let sql = HostSql::in_memory(Binding::Doubles);
        let (store, found) = open_store(&sql, store_id).unwrap();
        assert_eq!(found, Found::NewStore);
        assert_eq!(
            (store.head(), store.last_stored()),
            (SeqNum::ROOT, SeqNum::ROOT)
        );
        assert_eq!(context(&sql, store_id), Some((0, FRESH.to_owned())));
        let mut stored = sql
            .raw()
            .prepare("SELECT sql FROM sqlite_schema WHERE type = 'table' ORDER BY name DESC")
            .unwrap();
        let stored: Vec<String> = stored
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(stored, ddl(store_id));
    }
}

#[test]
fn an_opened_store_is_opened_again_without_a_change() {
    for binding in Binding::ALL {
        let sql = HostSql::in_memory(binding);
        let mut store = open(&sql).unwrap().0;
        append(&mut store, &[Sample::new(1), Sample::new(2)]).unwrap();
        let before = dump(&sql);
        let (store, found) = open(&sql).unwrap();
        assert_eq!((found, store.head().get()), (Found::InStep, 2));
        assert_eq!(store.backend_id().as_str(), FRESH);
        assert_eq!(dump(&sql), before);
    }
}

#[test]
fn a_store_in_a_file_outlives_its_connection() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("reopened.sqlite");
    let _ = std::fs::remove_file(&path);
    let sql = HostSql::in_file(&path, Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    append(&mut store, &[Sample::new(1)]).unwrap();
    drop((store, sql));
    let (mut store, found) = open(&HostSql::in_file(&path, Binding::Integers)).unwrap();
    assert_eq!((found, store.head().get()), (Found::InStep, 1));
    append(&mut store, &[Sample::new(2)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2]);
    drop(store);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn rows_hold_what_sync_cf_would_have_stored() {
    type Row = (
        i64,
        i64,
        String,
        Option<String>,
        String,
        String,
        String,
        String,
    );
    for binding in Binding::ALL {
        let sql = HostSql::in_memory(binding);
        let mut store = open(&sql).unwrap().0;
        let absent = Sample {
            args: None,
            ..Sample::new(2)
        };
        let null = Sample {
            args: Some("null".to_owned()),
            ..Sample::new(3)
        };
        append(&mut store, &[Sample::new(1), absent, null]).unwrap();
        let mut rows = sql
            .raw()
            .prepare(
                "SELECT seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId, typeof(args) \
                 FROM eventlog_7_my_store_1 ORDER BY seqNum",
            )
            .unwrap();
        let rows: Vec<Row> = rows
            .query_map([], |row| row.try_into())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let expected = |seq_num, args: Option<&str>| {
            let text = |text: &str| text.to_owned();
            let kind = if args.is_some() { "text" } else { "null" };
            (
                seq_num,
                seq_num - 1,
                text("todoCreated"),
                args.map(text),
                text(CREATED),
                text("client-A"),
                text("session-A"),
                text(kind),
            )
        };
        assert_eq!(
            rows,
            [
                expected(1, Some(r#"{"id":"id-1"}"#)),
                expected(2, None),
                expected(3, Some("null"))
            ]
        );
        assert_eq!(context(&sql, STORE), Some((3, FRESH.to_owned())));
    }
}

#[test]
fn each_run_of_a_client_session_keeps_its_own() {
    let who = ["AABAB", "ABCABC", "AAAA", "AB"];
    for clients in who {
        let events: Vec<Sample> = clients
            .chars()
            .zip(1..)
            .map(|(client, seq_num)| Sample {
                client_id: format!("client-{client}"),
                session_id: format!("session-{}", seq_num % 2),
                name: format!("name{}", "n".repeat(usize::try_from(seq_num).unwrap())),
                ..Sample::new(seq_num)
            })
            .collect();
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut store = open(&sql).unwrap().0;
        append(&mut store, &events).unwrap();
        for family in Family::ALL {
            assert_eq!(
                text(&page(&store, family, 0)),
                encoded(family, &events),
                "{clients}"
            );
        }
    }
}
