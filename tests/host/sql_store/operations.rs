//! What the administration, the wake and the followers ask of a store.

use super::*;

#[test]
fn a_log_is_looked_for_without_making_one() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let exists = |id: &str| EventStore::exists(&sql, &StoreId::new(id)).unwrap();
    assert!(!exists(STORE));
    assert_eq!(EventStore::only_store_id(&sql).unwrap(), None);
    assert_eq!(dump(&sql), "", "nothing was made");
    open(&sql).unwrap();
    assert!(exists(STORE) && !exists("another"));
}

#[test]
fn an_object_knows_whose_log_it_holds_if_it_is_one_alone() {
    let sql = HostSql::in_memory(Binding::Doubles);
    open(&sql).unwrap();
    assert_eq!(
        EventStore::only_store_id(&sql).unwrap(),
        Some(StoreId::new(STORE))
    );
    open_store(&sql, "another").unwrap();
    assert_eq!(EventStore::only_store_id(&sql).unwrap(), None);
}

#[test]
fn events_are_exported_a_line_each() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    let spread = Sample {
        args: Some("{\"a\":\r\n \"b\\n\"}".to_owned()),
        name: "with \"quotes\"".to_owned(),
        ..Sample::new(2)
    };
    let absent = Sample {
        args: None,
        ..Sample::new(3)
    };
    append(&mut store, &[Sample::new(1), spread, absent]).unwrap();
    let line = |number: i64, name: &str, args: &str| {
        format!(
            r#"{{"seqNum":{number},"parentSeqNum":{},"name":{name},"args":{args},"clientId":"client-A","sessionId":"session-A","createdAt":"{CREATED}"}}"#,
            number - 1
        ) + "\n"
    };
    let expected = [
        line(1, "\"todoCreated\"", r#"{"id":"id-1"}"#),
        line(2, r#""with \"quotes\"""#, "{\"a\":   \"b\\n\"}"),
        line(3, "\"todoCreated\"", "null"),
    ];
    let none = store.lines(SeqNum::ROOT, 0).unwrap();
    assert_eq!((none.items.is_none(), store.is_stale()), (true, false));
    for (after, count, lines) in [(0, 9, 0..3), (0, 2, 0..2), (1, 2, 1..3), (2, 9, 2..3)] {
        let page = store.lines(SeqNum::clamped(after), count).unwrap();
        assert_eq!(
            page.last.to_i64(),
            after + i64::try_from(lines.len()).unwrap()
        );
        let text = expected[lines].concat();
        assert_eq!(page.items.as_ref().unwrap().as_str(), text);
        assert_eq!(page.bytes, text.len());
    }
    let end = store.lines(SeqNum::clamped(3), 9).unwrap();
    assert_eq!(
        (end.items.is_none(), end.last.get(), end.bytes),
        (true, 3, 0)
    );
}

#[test]
fn fewer_lines_are_exported_at_once_when_they_are_too_large_for_a_string() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    for number in 1..=10 {
        append(&mut store, &[Sample::padded(number, 400_000)]).unwrap();
    }
    // Ten are 4 MB, an eighth of ten and one more are none too many.
    let page = store.lines(SeqNum::ROOT, 10).unwrap();
    assert_eq!(page.last.get(), 2);
    assert!((800_000..801_000).contains(&page.bytes), "{}", page.bytes);
}

#[test]
fn a_log_that_does_not_begin_at_1_is_counted_and_its_last_push_known() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    assert_eq!(
        (store.count().unwrap(), store.last_push().unwrap()),
        (0, None)
    );
    let events: Vec<_> = (1..=5).map(Sample::new).collect();
    append(&mut store, &events).unwrap();
    assert_eq!(store.count().unwrap(), 5);
    let table = log_table(&StoreId::new(STORE));
    let delete = format!("DELETE FROM \"{table}\" WHERE seqNum < 3");
    sql.raw().execute(&delete, []).unwrap();
    assert_eq!(store.count().unwrap(), 3);
    let last = (SeqNum::clamped(5), CREATED.to_owned());
    assert_eq!(store.last_push().unwrap(), Some(last));
}

#[test]
fn what_is_kept_beside_the_log_is_there_when_it_is_opened_again_until_it_is_removed() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let store = open(&sql).unwrap().0;
    for (key, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        store.set_state(key, value).unwrap();
    }
    let state = |sql: &HostSql| {
        let mut state = open(sql).unwrap().0.state().to_vec();
        state.sort();
        state
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(state(&sql), [pair("a", "2"), pair("b", "3")]);
    store.remove_state("a").unwrap();
    store.remove_state("never kept").unwrap();
    assert_eq!(state(&sql), [pair("b", "3")]);
}

#[test]
fn what_is_kept_outlives_the_context_of_the_log_and_so_does_what_is_yet_to_be_told() {
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    append(
        &mut store,
        &[Sample::new(1), Sample::new(2), Sample::new(3)],
    )
    .unwrap();
    store.set_state("a", "1").unwrap();
    let next = BackendId::stored("next".to_owned());
    store.reset(next, Some(SeqNum::clamped(1))).unwrap();
    for expected in [Found::InStep, Found::NoContext] {
        let (mut store, found) = open(&sql).unwrap();
        assert_eq!(found, expected);
        let kept = ("a".to_owned(), "1".to_owned());
        assert!(store.state().contains(&kept));
        assert!(store.has_untold() && store.had_lifetimes());
        assert_eq!(store.untold().unwrap().unwrap().backend_id.as_str(), FRESH);
        sql.raw().execute("DELETE FROM context_7", []).unwrap();
    }
    let mut store = open(&sql).unwrap().0;
    let untold = store.untold().unwrap().unwrap();
    store.forget_untold(untold.last).unwrap();
    assert!(!store.has_untold() && store.untold().unwrap().is_none());
    assert!(!open(&sql).unwrap().0.has_untold());
}
