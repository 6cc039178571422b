//! Rows that somebody else changes while the store is open: an append or a page fails instead of going on, and the
//! store is opened again as a wake would, but for the head, which does not go back within a lifetime.

use super::*;

const LOG: &str = "eventlog_7_my_store_1";
const AGAIN: &str = "lifetime-made-again--";

/// A store of five events.
fn five() -> (HostSql, EventStore<HostSql>) {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    let events: Vec<Sample> = (1..=5).map(Sample::new).collect();
    append(&mut store, &events).unwrap();
    (sql, store)
}

fn reopen(store: &mut EventStore<HostSql>) -> Result<Found, OpenError> {
    store.reopen(BackendId::stored(AGAIN.to_owned()), true)
}

fn ends(store: &EventStore<HostSql>) -> (u64, u64, &str) {
    let (head, last) = (store.head().get(), store.last_stored().get());
    (head, last, store.backend_id().as_str())
}

/// What somebody else did, what is found then, and head, end and lifetime of the log.
type Change = (String, Result<Found, OpenError>, (u64, u64, &'static str));

fn changes() -> Vec<Change> {
    let ahead = |stored: i64, log: i64| Found::Ahead {
        stored: SeqNum::clamped(stored),
        log: SeqNum::clamped(log),
    };
    let behind = |stored: i64, log: i64| Found::Behind {
        stored: SeqNum::clamped(stored),
        log: SeqNum::clamped(log),
    };
    let elsewhere = || {
        let head = SeqNum::clamped(5);
        Err(OpenError::Elsewhere { head })
    };
    let as_it_was = (5, 5, FRESH);
    let added = format!("INSERT INTO {LOG} VALUES {}", rows(6..=7));
    let emptied = format!("DELETE FROM {LOG}");
    let cut = format!("DELETE FROM {LOG} WHERE seqNum > 3");
    let context = "DELETE FROM context_7";
    let both = format!("DROP TABLE {LOG}; DROP TABLE context_7");
    let replaced = format!("{emptied}; INSERT INTO {LOG} VALUES {}", rows(1..=5));
    vec![
        (added.clone(), Ok(behind(5, 7)), (7, 7, FRESH)),
        (
            format!("{added}; UPDATE context_7 SET currentHead = 7"),
            Ok(Found::InStep),
            (7, 7, FRESH),
        ),
        (cut.clone(), Ok(ahead(5, 3)), (5, 3, FRESH)),
        (
            format!("{cut}; UPDATE context_7 SET currentHead = 3"),
            Ok(ahead(5, 3)),
            (5, 3, FRESH),
        ),
        (
            "UPDATE context_7 SET currentHead = 9".to_owned(),
            Ok(ahead(9, 5)),
            (9, 5, FRESH),
        ),
        (
            "UPDATE context_7 SET currentHead = 2".to_owned(),
            Ok(Found::InStep),
            as_it_was,
        ),
        (emptied.clone(), elsewhere(), as_it_was),
        (
            format!("{emptied}; UPDATE context_7 SET currentHead = 0"),
            elsewhere(),
            as_it_was,
        ),
        (format!("DROP TABLE {LOG}"), elsewhere(), as_it_was),
        (
            "UPDATE context_7 SET backendId = 'of-another'".to_owned(),
            Ok(Found::InStep),
            (5, 5, "of-another"),
        ),
        (
            format!("{replaced}; UPDATE context_7 SET backendId = 'of-another'"),
            Ok(Found::InStep),
            (5, 5, "of-another"),
        ),
        (
            format!("{emptied}; UPDATE context_7 SET backendId = 'of-another', currentHead = 0"),
            Ok(Found::InStep),
            (0, 0, "of-another"),
        ),
        (context.to_owned(), Ok(Found::NoContext), (5, 5, AGAIN)),
        (
            "DROP TABLE context_7".to_owned(),
            Ok(Found::NoContext),
            (5, 5, AGAIN),
        ),
        (
            format!("{emptied}; {context}"),
            Ok(Found::NoContext),
            (0, 0, AGAIN),
        ),
        (both, Ok(Found::NewStore), (0, 0, AGAIN)),
    ]
}

#[test]
fn a_push_onto_rows_that_somebody_else_has_changed_stores_nothing() {
    // One event, several of one session, and several sessions, of which only the first follows the rows that are known.
    let sessions = (6..=9).map(|number| Sample {
        session_id: format!("session-{}", number % 2),
        ..Sample::new(number)
    });
    let batches = [
        vec![Sample::new(6)],
        vec![Sample::new(6), Sample::new(7)],
        sessions.collect(),
    ];
    for (change, ..) in changes() {
        for batch in &batches {
            let (sql, mut store) = five();
            sql.set_up(&change);
            let before = dump(&sql);
            assert!(!store.is_stale());
            assert!(append(&mut store, batch).is_err(), "{change}");
            assert!(store.is_stale(), "{change}");
            assert_eq!(dump(&sql), before, "{change}");
            assert_eq!(ends(&store), (5, 5, FRESH), "{change}");
        }
    }
}

#[test]
fn a_page_of_rows_that_somebody_else_has_changed_is_not_handed_out() {
    for (change, ..) in changes() {
        // What is gone shows where it stood.
        let after = SeqNum::clamped(if change.contains("seqNum > 3") { 3 } else { 0 });
        for reader in ["page", "lines", "mirror"] {
            let (sql, store) = five();
            sql.set_up(&change);
            let is_refused = match reader {
                "page" => store.page(Family::Rpc, Form::String, after).is_err(),
                "lines" => store.lines(after, 100).is_err(),
                _ => store.mirror(after, CREATED).is_err(),
            };
            assert!(is_refused && store.is_stale(), "{reader}: {change}");
        }
    }
}

#[test]
fn a_store_whose_rows_were_changed_is_opened_again_as_a_wake_would() {
    for (change, expected, (head, last, backend_id)) in changes() {
        let (sql, mut store) = five();
        sql.set_up(&change);
        assert!(store.verify().is_err(), "{change}");
        let found = reopen(&mut store);
        assert_eq!(found, expected, "{change}");
        assert_eq!(ends(&store), (head, last, backend_id), "{change}");
        assert_eq!(store.is_stale(), found.is_err(), "{change}");
        let is_other = backend_id != FRESH;
        assert_eq!(store.had_lifetimes(), is_other, "{change}");
        // Whoever opens it later finds the same.
        match open(&sql) {
            Ok((store, _)) => {
                assert_eq!(ends(&store), (head, last, backend_id), "{change}");
                assert_eq!(store.had_lifetimes(), is_other, "{change}");
            }
            Err(error) => assert_eq!(Err(error), expected, "{change}"),
        }
        if found.is_err() {
            continue;
        }
        assert_eq!(store.verify(), Ok(()), "{change}");
        let next = i64::try_from(head).unwrap() + 1;
        append(&mut store, &[Sample::new(next)]).unwrap();
        assert_eq!(numbers(&store, next - 1), [next], "{change}");
    }
}

#[test]
fn a_log_that_comes_back_is_opened_as_it_was() {
    let (sql, mut store) = five();
    sql.set_up(&format!("ALTER TABLE {LOG} RENAME TO elsewhere"));
    assert!(append(&mut store, &[Sample::new(6)]).is_err());
    for _ in 0..2 {
        assert!(reopen(&mut store).is_err() && store.is_stale());
    }
    sql.set_up(&format!("ALTER TABLE elsewhere RENAME TO {LOG}"));
    assert_eq!(reopen(&mut store), Ok(Found::InStep));
    append(&mut store, &[Sample::new(6)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn opening_again_can_fail_anywhere_and_be_tried_again() {
    for (change, expected, after) in changes() {
        for at in 0.. {
            let (sql, mut store) = five();
            sql.set_up(&change);
            assert!(store.verify().is_err());
            sql.fail_after(at, When::Before);
            let failed = reopen(&mut store);
            if sql.heal() {
                assert!(at > 2, "{change}");
                break;
            }
            assert!(failed.is_err(), "statement {at} of {change}");
            assert!(store.is_stale(), "statement {at} of {change}");
            let found = reopen(&mut store);
            // What had been done by then is found as done.
            assert_eq!(found.is_err(), expected.is_err(), "{change}");
            let (head, last, _) = ends(&store);
            assert_eq!((head, last), (after.0, after.1), "{at}: {change}");
            let (again, _) = match open(&sql) {
                Ok(opened) => opened,
                Err(error) => {
                    assert_eq!(Err(error), expected);
                    continue;
                }
            };
            assert_eq!(ends(&again), ends(&store), "{at}: {change}");
        }
    }
}

#[test]
fn a_failure_that_has_nothing_to_do_with_the_rows_is_none_of_that() {
    let (sql, mut store) = five();
    for at in 0..2 {
        sql.fail_after(at, When::Before);
        assert!(append(&mut store, &[Sample::new(6)]).is_err());
    }
    sql.set_up(&format!("ALTER TABLE {LOG} RENAME COLUMN args TO hidden"));
    assert!(append(&mut store, &[Sample::new(6)]).is_err());
    assert!(store.page(Family::Rpc, Form::String, SeqNum::ROOT).is_err());
    assert!(!store.is_stale());
    sql.set_up(&format!("ALTER TABLE {LOG} RENAME COLUMN hidden TO args"));
    append(&mut store, &[Sample::new(6)]).unwrap();
    assert_eq!(numbers(&store, 0), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_is_kept_beside_the_log_can_be_removed_by_somebody_else() {
    let (sql, mut store) = five();
    store.set_state("a", "1").unwrap();
    let next = BackendId::stored("next".to_owned());
    store.reset(next, Some(SeqNum::clamped(1))).unwrap();
    assert!(store.has_untold());
    let mut other = open(&sql).unwrap().0;
    let untold = store.untold().unwrap().unwrap();
    sql.set_up("DROP TABLE livestore_sync_state; DROP TABLE livestore_sync_untold");
    store.remove_state("a").unwrap();
    sql.set_up("DROP TABLE livestore_sync_state");
    store.set_state("b", "2").unwrap();
    store.forget_untold(untold.last).unwrap();
    assert!(!store.has_untold());
    assert!(other.untold().unwrap().is_none() && !other.has_untold());
    append(&mut store, &[Sample::new(1)]).unwrap();
}
