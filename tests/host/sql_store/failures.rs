//! Storage that fails: all or nothing, wherever it does.

use super::*;

/// Fails every statement of `work` in turn, both ways; after each failure, what is stored must be
/// what `is_whole` accepts, and the same work must succeed afterwards.
fn fail_each(
    set_up: impl Fn() -> HostSql,
    work: impl Fn(&HostSql) -> Result<(), StoreError>,
    is_whole: impl Fn(&HostSql, &str),
) -> usize {
    let clean = set_up();
    let before = clean.statements_run();
    work(&clean).unwrap();
    let statements = clean.statements_run() - before;
    let expected = dump(&clean);
    for at in 0..statements {
        for when in [When::Before, When::After] {
            let sql = set_up();
            sql.fail_after(at, when);
            let outcome = work(&sql);
            assert!(!sql.heal(), "statement {at} ran");
            is_whole(
                &sql,
                &format!("statement {at} failed {when:?}: {outcome:?}"),
            );
            if outcome.is_err() {
                work(&sql).unwrap();
            }
            assert_eq!(dump(&sql), expected, "after statement {at} failed {when:?}");
        }
    }
    statements
}

fn opens(sql: &HostSql) -> Result<(), StoreError> {
    open(sql).map(drop).map_err(|error| match error {
        OpenError::Storage(error) => error,
        OpenError::Unborn | OpenError::Elsewhere { .. } => panic!("{error}"),
    })
}

#[test]
fn opening_is_all_or_nothing_wherever_it_fails() {
    let table_count = |sql: &HostSql| -> i64 {
        sql.raw()
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    let new = fail_each(
        || HostSql::in_memory(Binding::Doubles),
        opens,
        |sql, why| {
            assert!([0, 2].contains(&table_count(sql)), "{why}");
            if table_count(sql) == 2 {
                let context = context(sql, STORE);
                assert!(
                    [None, Some((0, FRESH.to_owned()))].contains(&context),
                    "{why}"
                );
            }
        },
    );
    let behind = fail_each(
        || adopt(&rows(1..=3), &[(STORE, 1, "kept")]),
        opens,
        |sql, why| {
            let (head, backend_id) = context(sql, STORE).unwrap();
            assert!([1, 3].contains(&head) && backend_id == "kept", "{why}");
        },
    );
    let contextless = fail_each(
        || adopt(&rows(1..=3), &[]),
        opens,
        |sql, why| {
            let context = context(sql, STORE);
            assert!(
                [None, Some((3, FRESH.to_owned()))].contains(&context),
                "{why}"
            );
        },
    );
    assert!(
        new > 4 && behind > 1 && contextless > 1,
        "{new} {behind} {contextless}"
    );
}

#[test]
fn appending_is_all_or_nothing_wherever_it_fails() {
    let events: Vec<Sample> = (3..=12)
        .map(|seq_num| Sample {
            client_id: format!("client-{}", seq_num % 3),
            ..Sample::new(seq_num)
        })
        .collect();
    let set_up = || {
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut store = open(&sql).unwrap().0;
        append(&mut store, &[Sample::new(1), Sample::new(2)]).unwrap();
        sql
    };
    let before = dump(&set_up());
    let mut statements = 0;
    for at in 0.. {
        let mut ran_out = false;
        for when in [When::Before, When::After] {
            let sql = set_up();
            let mut store = open(&sql).unwrap().0;
            sql.fail_after(at, when);
            let outcome = append(&mut store, &events);
            ran_out = sql.heal();
            if ran_out {
                outcome.unwrap();
                break;
            }
            assert!(outcome.is_err(), "statement {at} failed {when:?}");
            assert_eq!((store.head().get(), store.last_stored().get()), (2, 2));
            assert_eq!(dump(&sql), before, "statement {at} failed {when:?}");
            // Both this object and one that wakes later go on as if nothing had been pushed.
            append(&mut store, &events).unwrap();
            assert_eq!(numbers(&store, 0), (1..=12).collect::<Vec<i64>>());
            let (store, found) = open(&sql).unwrap();
            assert_eq!((found, store.head().get()), (Found::InStep, 12));
        }
        if ran_out {
            break;
        }
        statements += 1;
    }
    // Ten runs of one event, the head, the commit; fewer if several sessions share a statement.
    assert!(statements >= 3, "{statements}");
}

#[test]
fn an_append_that_cannot_be_taken_back_is_dropped_with_the_object() {
    for events in [3..=3, 3..=7] {
        let events: Vec<Sample> = events.map(Sample::new).collect();
        // What fails first is what inserts, what moves the head, and that with what would take the rows back.
        for (skip, count, given_up) in [(0, 1, 0), (1, 1, 0), (1, 2, 1)] {
            let sql = HostSql::in_memory(Binding::Doubles);
            let mut store = open(&sql).unwrap().0;
            append(&mut store, &[Sample::new(1), Sample::new(2)]).unwrap();
            let before = dump(&sql);
            sql.fail_run(skip, count, When::Before);
            assert!(append(&mut store, &events).is_err());
            assert!(!sql.heal());
            assert_eq!(dump(&sql), before, "{count} failed after {skip}");
            assert_eq!(sql.given_up(), given_up, "{count} failed after {skip}");
            append(&mut store, &events).unwrap();
            assert_eq!(open(&sql).unwrap().1, Found::InStep);
        }
    }
}

#[test]
fn what_is_left_where_nothing_ran_after_the_rows_is_an_event_that_is_stored_whole() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    let events: Vec<Sample> = (1..=4).map(Sample::new).collect();
    append(&mut store, &events).unwrap();
    sql.set_up("UPDATE context_7 SET currentHead = 1");
    let (store, found) = open(&sql).unwrap();
    let [stored, log] = [1, 4].map(SeqNum::clamped);
    assert_eq!(found, Found::Behind { stored, log });
    with_batch(&batch_json(&events[1..]), |batch| {
        let admission = admit(&store, batch.clone());
        assert!(matches!(admission, Ok(Admission::Repeated { .. })));
    });
}

#[test]
fn a_number_that_is_taken_fails_the_whole_push() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    append(&mut store, &[Sample::new(1)]).unwrap();
    // Someone else wrote into the table.
    sql.set_up(&format!(
        "INSERT INTO eventlog_7_my_store_1 VALUES {}",
        row(3, 2)
    ));
    let before = dump(&sql);
    assert!(append(&mut store, &[Sample::new(2), Sample::new(3)]).is_err());
    assert_eq!(dump(&sql), before);
    assert_eq!(store.head().get(), 1);
}

#[test]
fn a_failing_read_is_an_error_and_no_empty_page() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    append(&mut store, &[Sample::new(1)]).unwrap();
    let before = sql.statements_run();
    page(&store, Family::Rpc, 0);
    let statements = sql.statements_run() - before;
    for at in 0..statements {
        for when in [When::Before, When::After] {
            sql.fail_after(at, when);
            let page = store.page(Family::Rpc, Form::String, SeqNum::ROOT);
            sql.heal();
            assert!(page.is_err() || page.is_ok_and(|page| page.last.get() == 1));
        }
    }
    sql.set_up("DROP TABLE eventlog_7_my_store_1");
    assert!(store.page(Family::Rpc, Form::String, SeqNum::ROOT).is_err());
    with_batch(&batch_json(&[Sample::new(1)]), |batch| {
        let refusal = admit(&store, batch.clone());
        assert!(refusal.is_err(), "{refusal:?}");
    });
}
