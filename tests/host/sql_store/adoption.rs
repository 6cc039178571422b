//! Logs that sync-cf left behind, also damaged ones.

use super::*;

#[test]
fn an_existing_backend_id_is_kept_whatever_it_is() {
    for id in ["DrDzSrICP-tg92gyF7oTx", "changed-backend-id", "é\"'", " "] {
        for log in [0, 3] {
            let sql = adopt(&rows(1..=log), &[(STORE, log, id)]);
            let (store, found) = open(&sql).unwrap();
            assert_eq!((store.backend_id().as_str(), found), (id, Found::InStep));
            assert_eq!(context(&sql, STORE), Some((log, id.to_owned())));
        }
    }
}

#[test]
fn a_head_behind_the_log_is_repaired() {
    for stored in [0, 2] {
        let sql = adopt(&rows(1..=5), &[(STORE, stored, "kept")]);
        let (mut store, found) = open(&sql).unwrap();
        let (stored, log) = (SeqNum::clamped(stored), SeqNum::clamped(5));
        assert_eq!(found, Found::Behind { stored, log });
        assert_eq!((store.head(), store.last_stored()), (log, log));
        assert_eq!(context(&sql, STORE), Some((5, "kept".to_owned())));
        append(&mut store, &[Sample::new(6)]).unwrap();
        assert_eq!(numbers(&store, 0), [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_head_ahead_of_the_log_is_kept() {
    let sql = adopt(&rows(1..=3), &[(STORE, 7, "kept")]);
    let (mut store, found) = open(&sql).unwrap();
    let (stored, log) = (SeqNum::clamped(7), SeqNum::clamped(3));
    assert_eq!(found, Found::Ahead { stored, log });
    assert_eq!((store.head(), store.last_stored()), (stored, log));
    assert_eq!(context(&sql, STORE), Some((7, "kept".to_owned())));
    assert_eq!(numbers(&store, 0), [1, 2, 3]);
    assert_eq!(numbers(&store, 5), [0_i64; 0]);
    // The missing numbers are never given to other events.
    for first in 1..=7 {
        with_batch(&batch_json(&[Sample::new(first)]), |batch| {
            let refused = admit(&store, batch.clone());
            assert!(
                matches!(refused, Ok(Admission::Behind { .. })),
                "{refused:?}"
            );
        });
    }
    append(&mut store, &[Sample::new(8)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 3, 8]);
    assert_eq!(numbers(&store, 5), [8]);
    let (store, found) = open(&sql).unwrap();
    assert_eq!((found, store.head().get()), (Found::InStep, 8));
}

fn elsewhere(head: i64) -> OpenError {
    let head = SeqNum::clamped(head);
    OpenError::Elsewhere { head }
}

#[test]
fn a_head_without_a_log_means_that_the_log_is_elsewhere() {
    let [log_table, context_table] = ddl(STORE);
    let with_head = |sql: &HostSql| {
        sql.set_up(&context_table);
        sql.set_up("INSERT INTO context_7 VALUES ('my-store.1', 4, 'kept')");
    };
    let without_log = HostSql::in_memory(Binding::Doubles);
    with_head(&without_log);
    for sql in [adopt("", &[(STORE, 4, "kept")]), without_log] {
        let before = dump(&sql);
        assert_eq!(open(&sql).map(|_| ()), Err(elsewhere(4)));
        assert_eq!(dump(&sql), before, "something was made");
        // Once the log is here, it is served.
        sql.set_up(&log_table.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"));
        sql.set_up(&format!(
            "INSERT INTO eventlog_7_my_store_1 VALUES {}",
            rows(1..=4)
        ));
        assert_eq!(open(&sql).unwrap().1, Found::InStep);
    }
    // Another store's head says nothing of this one.
    let sql = adopt("", &[("another", 4, "other")]);
    assert_eq!(open(&sql).unwrap().1, Found::NoContext);
}

#[test]
fn the_head_that_0_3_kept_beside_sqlite_counts_as_long_as_the_log_is_empty() {
    for sql in [
        HostSql::in_memory(Binding::Doubles),
        adopt("", &[]),
        adopt("", &[(STORE, 0, "kept")]),
        adopt("", &[(STORE, 0, "")]),
    ] {
        sql.set_key_value_head(7);
        let before = dump(&sql);
        assert_eq!(open(&sql).map(|_| ()), Err(elsewhere(7)));
        assert_eq!(dump(&sql), before, "something was made");
        sql.set_key_value_head(0);
        open(&sql).unwrap();
    }
    let sql = adopt(&rows(1..=3), &[]);
    sql.set_key_value_head(7);
    assert_eq!(open(&sql).unwrap().1, Found::NoContext);
}

#[test]
fn a_store_whose_log_is_elsewhere_exists_and_can_be_discarded() {
    let old = HostSql::in_memory(Binding::Doubles);
    old.set_key_value_head(7);
    let [_, context_table] = ddl(STORE);
    let newer = HostSql::in_memory(Binding::Doubles);
    newer.set_up(&context_table);
    newer.set_up("INSERT INTO context_7 VALUES ('my-store.1', 4, 'kept')");
    for sql in [old, newer] {
        let store_id = StoreId::new(STORE);
        assert_eq!(EventStore::exists(&sql, &store_id), Ok(true));
        let discard = || {
            let next = BackendId::stored("the-next-lifetime----".to_owned());
            EventStore::discard(&sql, &store_id, &next)
        };
        // Wherever it breaks off, the store is the old one or the new one.
        for skip in 0..3 {
            sql.fail_after(skip, When::Before);
            assert!(discard().is_err());
            sql.heal();
        }
        discard().unwrap();
        let (mut store, found) = open(&sql).unwrap();
        assert_eq!(
            (found, store.backend_id().as_str()),
            (Found::InStep, "the-next-lifetime----")
        );
        append(&mut store, &[Sample::new(1)]).unwrap();
        assert_eq!(numbers(&store, 0), [1]);
    }
    let empty = HostSql::in_memory(Binding::Doubles);
    assert_eq!(EventStore::exists(&empty, &StoreId::new(STORE)), Ok(false));
}

#[test]
fn a_log_without_a_context_is_taken_over_with_a_new_backend_id() {
    let sql = adopt(&rows(1..=3), &[]);
    let (mut store, found) = open(&sql).unwrap();
    assert_eq!((found, store.head().get()), (Found::NoContext, 3));
    assert_eq!(context(&sql, STORE), Some((3, FRESH.to_owned())));
    append(&mut store, &[Sample::new(4)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 3, 4]);
}

#[test]
fn a_log_without_a_context_table_is_taken_over() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let [log, _] = ddl(STORE);
    sql.set_up(&log);
    sql.set_up(&format!(
        "INSERT INTO eventlog_7_my_store_1 VALUES {}",
        rows(1..=2)
    ));
    let (store, found) = open(&sql).unwrap();
    assert_eq!((found, store.head().get()), (Found::NoContext, 2));
}

#[test]
fn a_context_without_a_log_table_is_kept() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let [_, context_table] = ddl(STORE);
    sql.set_up(&context_table);
    sql.set_up("INSERT INTO context_7 VALUES ('my-store.1', 0, 'kept')");
    let (mut store, found) = open(&sql).unwrap();
    assert_eq!(
        (found, store.backend_id().as_str()),
        (Found::InStep, "kept")
    );
    append(&mut store, &[Sample::new(1)]).unwrap();
}

#[test]
fn an_empty_backend_id_is_none() {
    let sql = adopt(&rows(1..=2), &[(STORE, 2, "")]);
    let (store, _) = open(&sql).unwrap();
    assert_eq!(
        (store.backend_id().as_str(), store.head().get()),
        (FRESH, 2)
    );
    assert_eq!(context(&sql, STORE), Some((2, FRESH.to_owned())));
}

#[test]
fn the_tables_of_0_3_are_adopted() {
    let sql = HostSql::in_memory(Binding::Doubles);
    sql.set_up(
        "CREATE TABLE eventlog_7_my_store_1 ('seqNum' integer not null , 'parentSeqNum' integer not null , \
         'name' text not null , 'args' text  , 'createdAt' text not null , 'clientId' text not null , \
         'sessionId' text not null , PRIMARY KEY ('seqNum')) strict",
    );
    sql.set_up(&format!(
        "INSERT INTO eventlog_7_my_store_1 VALUES {}",
        rows(1..=2)
    ));
    let (mut store, found) = open(&sql).unwrap();
    assert_eq!((found, store.head().get()), (Found::NoContext, 2));
    append(&mut store, &[Sample::new(3)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 3]);
}

#[test]
fn gaps_and_odd_parents_of_an_old_log_are_read_as_they_stand() {
    let old = [row(1, 0), row(2, 1), row(5, 4), row(9, 1), row(10, 77)].join(",");
    let sql = adopt(&old, &[(STORE, 10, "kept")]);
    let (mut store, found) = open(&sql).unwrap();
    assert_eq!((found, store.head().get()), (Found::InStep, 10));
    append(&mut store, &[Sample::new(11)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 5, 9, 10, 11]);
    assert_eq!(numbers(&store, 3), [5, 9, 10, 11]);
    assert!(text(&page(&store, Family::Rpc, 9)).contains(r#""seqNum":10,"parentSeqNum":77"#));
    // What would fill a gap is refused like any stale batch.
    for first in [3, 4, 6] {
        with_batch(&batch_json(&[Sample::new(first)]), |batch| {
            assert!(matches!(
                admit(&store, batch.clone()),
                Ok(Admission::Behind { .. })
            ));
        });
    }
}

#[test]
fn a_retry_across_a_gap_is_no_retry() {
    let like = |seq_num: i64, parent: i64| {
        format!(
            "({seq_num}, {parent}, 'todoCreated', '{{\"id\":\"id-{seq_num}\"}}', '{CREATED}', 'client-A', 'session-A')"
        )
    };
    let sql = adopt(&[like(1, 0), like(3, 2)].join(","), &[(STORE, 3, "kept")]);
    let store = open(&sql).unwrap().0;
    let events: Vec<Sample> = (1..=4).map(Sample::new).collect();
    for batch in [&events[..3], &events[1..3], &events[..], &events[1..]] {
        with_batch(&batch_json(batch), |batch| {
            let refused = admit(&store, batch.clone());
            assert!(
                matches!(refused, Ok(Admission::Behind { .. })),
                "{refused:?}"
            );
        });
    }
}

#[test]
fn rows_below_the_first_number_do_not_disturb() {
    let old = [row(-3, -4), row(0, -1), row(1, 0)].join(",");
    let sql = adopt(&old, &[(STORE, 1, "kept")]);
    let store = open(&sql).unwrap().0;
    assert_eq!(store.head().get(), 1);
    assert_eq!(numbers(&store, 0), [1]);
    let sql = adopt(&row(-3, -4), &[(STORE, -3, "kept")]);
    let mut store = open(&sql).unwrap().0;
    assert_eq!(store.head(), SeqNum::ROOT);
    append(&mut store, &[Sample::new(1)]).unwrap();
    assert_eq!(numbers(&store, 0), [1]);
}

#[test]
fn null_args_are_read_as_json_null() {
    let old = "(1, 0, 'n', NULL, '2025-01-01T00:00:00.000Z', 'c', 's'), \
               (2, 1, 'n', 'null', '2025-01-01T00:00:00.000Z', 'c', 's')";
    let store = open(&adopt(old, &[(STORE, 2, "kept")])).unwrap().0;
    for family in Family::ALL {
        let page = page(&store, family, 0);
        assert_eq!(text(&page).matches(r#""args":null,"#).count(), 2);
    }
    // To a client they are the same, so either is a retry of the other.
    let events = [1, 2].map(|seq_num| {
        let event = Sample::new(seq_num);
        let (name, client_id, session_id) = ("n".to_owned(), "c".to_owned(), "s".to_owned());
        Sample {
            name,
            client_id,
            session_id,
            args: None,
            ..event
        }
    });
    with_batch(&batch_json(&events), |batch| {
        let admission = admit(&store, batch.clone());
        assert!(
            matches!(admission, Ok(Admission::Repeated { .. })),
            "{admission:?}"
        );
    });
}

#[test]
fn other_stores_in_the_object_are_left_alone() {
    let sql = adopt(
        &rows(1..=2),
        &[
            ("other", 9, "of-other"),
            (STORE, 2, "kept"),
            ("my-store_1", 5, "alike"),
        ],
    );
    sql.set_up("CREATE TABLE eventlog_7_other (seqNum integer primary key, name text) strict");
    sql.set_up("INSERT INTO eventlog_7_other VALUES (1, 'n'), (9, 'n')");
    sql.set_up("CREATE TABLE __miniflare_do_name (id integer primary key, name text)");
    let (mut store, found) = open(&sql).unwrap();
    assert_eq!(
        (found, store.backend_id().as_str()),
        (Found::InStep, "kept")
    );
    append(&mut store, &[Sample::new(3)]).unwrap();
    assert_eq!(context(&sql, "other"), Some((9, "of-other".to_owned())));
    assert_eq!(context(&sql, "my-store_1"), Some((5, "alike".to_owned())));
    assert_eq!(context(&sql, STORE), Some((3, "kept".to_owned())));
    let count: i64 = sql
        .raw()
        .query_row("SELECT count(*) FROM eventlog_7_other", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(count, 2);
}

#[test]
fn the_largest_numbers_survive() {
    let max = (1_i64 << 53) - 1;
    for binding in Binding::ALL {
        let sql = HostSql::in_memory(binding);
        let [log, context_table] = ddl(STORE);
        sql.set_up(&log);
        sql.set_up(&context_table);
        sql.set_up(&format!(
            "INSERT INTO eventlog_7_my_store_1 VALUES {}",
            row(max - 2, 0)
        ));
        sql.set_up(&format!(
            "INSERT INTO context_7 VALUES ('{STORE}', {}, 'kept')",
            max - 2
        ));
        let mut store = open(&sql).unwrap().0;
        append(&mut store, &[Sample::new(max - 1), Sample::new(max)]).unwrap();
        assert_eq!(store.head().to_i64(), max);
        assert_eq!(numbers(&store, max - 3), [max - 2, max - 1, max]);
    }
}
