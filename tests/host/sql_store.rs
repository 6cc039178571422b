//! The store on SQLite: the very statements that are shipped.

use std::fmt::Write as _;

use livestore_sync_worker::event::{BackendId, Batch, Event, SeqNum, StoreId};
use livestore_sync_worker::eventlog::{Admission, Refusal, admit};
use livestore_sync_worker::limits::{Limits, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PAGE_OVERHEAD_BYTES};
use livestore_sync_worker::store::schema::log_table;
use livestore_sync_worker::store::sql::StoreError;
use livestore_sync_worker::store::{EventStore, Found, Page};
use livestore_sync_worker::wire::{Family, encode_items};
use proptest::prelude::*;

use crate::cases;
use crate::client::{Sample, batch_json};
use crate::host_sql::{Binding, HostSql, HostText, When};

const STORE: &str = "my-store.1";
const FRESH: &str = "fresh-backend-id-----";
const CREATED: &str = "2026-11-22T10:19:11.954Z";

fn open(sql: &HostSql) -> Result<(EventStore<HostSql>, Found), StoreError> {
    open_store(sql, STORE)
}

fn open_store(sql: &HostSql, store_id: &str) -> Result<(EventStore<HostSql>, Found), StoreError> {
    let fresh = BackendId::stored(FRESH.to_owned());
    EventStore::open(sql.clone(), StoreId::new(store_id), fresh)
}

fn with_batch<R>(json: &str, work: impl FnOnce(&Batch<'_>) -> R) -> R {
    let events: Vec<Event<'_>> = serde_json::from_str(json).unwrap();
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
    store.page(family, SeqNum::clamped(after)).unwrap()
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

mod tables {
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
}

mod round_trips {
    use super::*;

    /// Texts that quoting, packing or SQLite could get wrong.
    fn odd_text() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "[a-zA-Z0-9._-]{0,12}",
            2 => proptest::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter),
            1 => Just(String::new()),
            1 => Just("\u{0}".to_owned()),
            1 => Just("a\u{0}b".to_owned()),
            1 => Just("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}".to_owned()),
            1 => Just("'; DROP TABLE context_7; --".to_owned()),
            1 => Just("é\u{2028}\u{feff}\u{fffd}😀\u{10ffff}".to_owned()),
            1 => Just("name'||x||'?1 :a @b $c".to_owned()),
        ]
    }

    /// JSON of every kind as a client may have written it.
    fn args() -> impl Strategy<Value = Option<String>> {
        let literal = |text: &'static str| Just(text.to_owned());
        let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
        prop_oneof![
            1 => Just(None),
            6 => prop_oneof![
                literal("null"),
                literal("true"),
                literal("\"\""),
                literal("{}"),
                literal("[]"),
                literal("0"),
                literal("-0"),
                literal("1e400"),
                literal("123456789012345678901234567890.5E-3"),
                literal("{\"a\":1,\"a\":2}"),
                literal("[ 1 ,\t2,\n\r{ \"x\" : [ ] } ]"),
                literal(r#""\ud800 \udfff \ud83d\ude00 \u0000 \/ \" \\ \b""#),
                literal("\"é😀\u{2028}\u{7f}\""),
            ]
            .prop_map(Some),
            3 => odd_text().prop_map(|text| Some(serde_json::to_string(&text).unwrap())),
            2 => (0..5_000_usize).prop_map(|bytes| Some(format!("\"{}\"", "x".repeat(bytes)))),
            1 => Just(Some(deep)),
        ]
    }

    fn events() -> impl Strategy<Value = Vec<Sample>> {
        let event = (odd_text(), args(), odd_text(), odd_text(), 0..4_u8);
        proptest::collection::vec(event, 1..16).prop_map(|events| {
            let mut chain: Vec<Sample> = Vec::new();
            for ((name, args, client_id, session_id, who), seq_num) in events.into_iter().zip(1..) {
                // Mostly the session before, so that there are runs.
                let (client_id, session_id) = match chain.last() {
                    Some(last) if who > 0 => (last.client_id.clone(), last.session_id.clone()),
                    _ => (client_id, session_id),
                };
                chain.push(Sample {
                    name,
                    args,
                    client_id,
                    session_id,
                    ..Sample::new(seq_num)
                });
            }
            chain
        })
    }

    /// The same JSON with every letter and digit of its names and ids escaped.
    fn escaped(json: &str) -> String {
        json.chars()
            .map(|letter| match letter {
                'A' => "\\u0041".to_owned(),
                other => other.to_string(),
            })
            .collect()
    }

    proptest! {
        #![proptest_config(cases(96))]

        #[test]
        fn pages_hold_the_bytes_of_a_broadcast(
            events in events(),
            cuts in proptest::collection::vec(1_usize..6, 0..4),
            after in 0_i64..18,
            doubles: bool,
            escape: bool,
        ) {
            let binding = if doubles { Binding::Doubles } else { Binding::Integers };
            let sql = HostSql::in_memory(binding);
            let mut store = open(&sql).unwrap().0;
            let mut expected = [Vec::new(), Vec::new()];
            let mut batches = Vec::new();
            let (mut rest, mut cuts) = (&events[..], cuts.into_iter());
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                batches.push(batch);
                rest = after;
            }
            for batch in &batches {
                let json = batch_json(batch);
                let json = if escape { escaped(&json) } else { json };
                with_batch(&json, |batch| {
                    store.append(batch, CREATED).unwrap();
                    for (family, expected) in Family::ALL.iter().zip(&mut expected) {
                        for event in batch.events() {
                            let mut item = String::new();
                            encode_items(*family, std::slice::from_ref(event), CREATED, &mut item);
                            expected.push(item);
                        }
                    }
                });
            }
            let start = usize::try_from(after).unwrap().min(events.len());
            for (family, expected) in Family::ALL.iter().zip(&expected) {
                let pages = pages(&store, *family, after);
                let found: Vec<&str> = pages.iter().map(text).collect();
                prop_assert_eq!(found.join(","), expected[start..].join(","));
                for page in &pages {
                    prop_assert!(page.bytes >= text(page).len());
                    prop_assert!(page.bytes <= text(page).len() + 1);
                }
            }
            // A retry of any part that was stored is recognised by the very same bytes.
            for batch in &batches {
                let json = batch_json(batch);
                let json = if escape { escaped(&json) } else { json };
                let events: Vec<Event<'_>> = serde_json::from_str(&json).unwrap();
                let batch = Batch::parse(events, &Limits::default()).unwrap().unwrap();
                let admission = admit(&store, batch);
                prop_assert!(matches!(admission, Ok(Admission::Repeated)), "{:?}", admission);
            }
        }
    }

    #[test]
    fn a_name_and_args_of_any_length_are_found_again() {
        for (name, args) in [
            (0, 2),
            (1, 3),
            (4_095, 2),
            (4_095, 70_000),
            (7, 1_048_575),
            (7, 1_048_576),
            (7, 1_899_000),
        ] {
            let events = [
                Sample {
                    name: "é".repeat(name / 2),
                    ..Sample::padded(1, 5)
                },
                Sample {
                    name: "n".repeat(name),
                    ..Sample::padded(2, args)
                },
                Sample {
                    name: "m".repeat(name),
                    ..Sample::padded(3, 3)
                },
            ];
            let sql = HostSql::in_memory(Binding::Doubles);
            let mut store = open(&sql).unwrap().0;
            append(&mut store, &events).unwrap();
            let pages = pages(&store, Family::Rpc, 0);
            let found: Vec<&str> = pages.iter().map(text).collect();
            assert!(
                found.join(",") == encoded(Family::Rpc, &events),
                "{name}, {args}"
            );
        }
    }

    #[test]
    fn a_part_of_a_retry_is_appended_after_what_is_stored() {
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut store = open(&sql).unwrap().0;
        let events: Vec<Sample> = (1..=7).map(Sample::new).collect();
        append(&mut store, &events[..4]).unwrap();
        let json = batch_json(&events[2..]);
        let parse = |json: &'static str| {
            Batch::parse(serde_json::from_str(json).unwrap(), &Limits::default())
                .unwrap()
                .unwrap()
        };
        let batch = parse(Box::leak(json.into_boxed_str()));
        let Ok(Admission::Append(rest)) = admit(&store, batch) else {
            panic!("not admitted")
        };
        assert_eq!((rest.parent().get(), rest.last().get()), (4, 7));
        store.append(&rest, CREATED).unwrap();
        assert_eq!(numbers(&store, 0), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_retry_that_differs_in_anything_has_lost_a_race() {
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut store = open(&sql).unwrap().0;
        let events: Vec<Sample> = (1..=3).map(Sample::new).collect();
        append(&mut store, &events).unwrap();
        let change: [fn(&mut Sample); 5] = [
            |event| event.name.push('x'),
            |event| event.args = Some("{}".to_owned()),
            |event| event.args = None,
            |event| event.client_id.push('x'),
            |event| event.session_id.push('x'),
        ];
        for index in 0..3 {
            for change in change {
                let mut events = events.clone();
                events.push(Sample::new(4));
                change(&mut events[index]);
                with_batch(&batch_json(&events), |batch| {
                    let refusal = admit(&store, batch.clone());
                    assert!(
                        matches!(refusal, Err(Refusal::ServerAhead { minimum_expected, provided })
                            if minimum_expected.get() == 3 && provided == SeqNum::ROOT),
                        "{refusal:?}"
                    );
                });
            }
        }
    }
}

mod paging {
    use super::*;

    /// Checks that the pages of `store` are as full as they may be and hold everything.
    fn check(store: &EventStore<HostSql>, events: &[Sample], family: Family) {
        let budget = PAGE_BYTES_MAX - PAGE_OVERHEAD_BYTES;
        let pages = pages(store, family, 0);
        let mut rest = events;
        for page in &pages {
            let last = usize::try_from(page.last.to_i64() - rest[0].parent_seq_num).unwrap();
            let (here, after) = rest.split_at(last);
            assert!(
                text(page) == encoded(family, here),
                "after {}",
                rest[0].parent_seq_num
            );
            let is_alone = here.len() == 1;
            assert!(!here.is_empty() && here.len() <= PAGE_EVENTS_MAX as usize);
            assert!(
                is_alone || text(page).len() <= budget,
                "{} bytes",
                text(page).len()
            );
            if let Some(next) = after.first() {
                let with_next =
                    text(page).len() + 1 + encoded(family, std::slice::from_ref(next)).len();
                assert!(
                    here.len() == PAGE_EVENTS_MAX as usize || with_next + 2 > budget,
                    "a page of {} could hold one more: {with_next}",
                    here.len()
                );
            }
            rest = after;
        }
        assert!(rest.is_empty());
    }

    fn store_of(events: &[Sample], binding: Binding) -> EventStore<HostSql> {
        let mut store = open(&HostSql::in_memory(binding)).unwrap().0;
        for event in events {
            append(&mut store, std::slice::from_ref(event)).unwrap();
        }
        store
    }

    #[test]
    fn pages_hold_at_most_100_events() {
        for binding in Binding::ALL {
            for count in [1, 99, 100, 101, 200, 250] {
                let events: Vec<Sample> = (1..=count).map(Sample::new).collect();
                let mut store = open(&HostSql::in_memory(binding)).unwrap().0;
                append(&mut store, &events).unwrap();
                check(&store, &events, Family::Plain);
                check(&store, &events, Family::Rpc);
            }
        }
    }

    #[test]
    fn pages_hold_at_most_900_000_bytes() {
        for sizes in [
            vec![300_000, 300_000, 299_000, 500_000, 399_000, 899_000, 10],
            vec![450_000, 449_000, 450_000, 450_000],
            vec![899_000, 899_000, 899_000],
            vec![30_000; 100],
            vec![9_000; 120],
        ] {
            let events: Vec<Sample> = sizes
                .iter()
                .zip(1..)
                .map(|(bytes, seq_num)| Sample::padded(seq_num, *bytes))
                .collect();
            for binding in Binding::ALL {
                check(&store_of(&events, binding), &events, Family::Rpc);
            }
            check(&store_of(&events, Binding::Doubles), &events, Family::Plain);
        }
    }

    #[test]
    fn an_event_that_is_too_large_for_a_page_is_alone_in_one() {
        for sizes in [
            vec![900_000],
            vec![10, 950_000, 10],
            vec![1_899_000, 1_899_000, 10],
            vec![10, 899_700, 10],
        ] {
            let events: Vec<Sample> = sizes
                .iter()
                .zip(1..)
                .map(|(bytes, seq_num)| Sample::padded(seq_num, *bytes))
                .collect();
            check(&store_of(&events, Binding::Doubles), &events, Family::Rpc);
        }
    }

    #[test]
    fn a_push_may_hold_more_than_one_string_of_the_platform() {
        for sizes in [
            vec![30_000; 100],
            vec![1_200_000, 1_200_000],
            vec![1_899_000, 1_899_000],
        ] {
            let events: Vec<Sample> = sizes
                .iter()
                .zip(1..)
                .map(|(bytes, seq_num)| Sample::padded(seq_num, *bytes))
                .collect();
            let mut store = open(&HostSql::in_memory(Binding::Doubles)).unwrap().0;
            append(&mut store, &events).unwrap();
            check(&store, &events, Family::Rpc);
        }
    }

    #[test]
    fn whatever_is_accepted_can_be_read_again() {
        // Quoted, each of these letters takes six bytes.
        let long = "\u{1}".repeat(600_000);
        for event in [
            Sample {
                client_id: long.clone(),
                ..Sample::new(1)
            },
            Sample {
                session_id: long.clone(),
                ..Sample::new(1)
            },
            Sample {
                client_id: "\"".repeat(1_100_000),
                ..Sample::new(1)
            },
            Sample {
                name: "\u{1}".repeat(4_095),
                ..Sample::padded(1, 1_890_000)
            },
        ] {
            let mut store = open(&HostSql::in_memory(Binding::Doubles)).unwrap().0;
            let json = batch_json(std::slice::from_ref(&event));
            let events: Vec<Event<'_>> = serde_json::from_str(&json).unwrap();
            // It may be refused; but once it is in, it must not block the log.
            let Ok(Some(batch)) = Batch::parse(events, &Limits::default()) else {
                continue;
            };
            if store.append(&batch, CREATED).is_ok() {
                for family in Family::ALL {
                    let page = store.page(family, SeqNum::ROOT);
                    assert!(page.is_ok_and(|page| page.items.is_some()));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(cases(12))]

        #[test]
        fn pages_are_full_whatever_the_sizes(
            sizes in proptest::collection::vec(
                prop_oneof![6 => 0_usize..400, 2 => 5_000_usize..20_000, 2 => 200_000_usize..950_000],
                1..40,
            ),
        ) {
            let events: Vec<Sample> = sizes
                .iter()
                .zip(1..)
                .map(|(bytes, seq_num)| Sample::padded(seq_num, *bytes))
                .collect();
            check(&store_of(&events, Binding::Doubles), &events, Family::Rpc);
        }
    }

    #[test]
    fn beyond_the_head_there_is_nothing() {
        let events = [Sample::new(1), Sample::new(2)];
        let store = store_of(&events, Binding::Doubles);
        for after in [2, 3, i64::MAX] {
            let page = page(&store, Family::Rpc, after);
            assert!(page.items.is_none() && page.bytes == 0);
            assert_eq!(page.last, SeqNum::clamped(after));
        }
    }
}

mod adoption {
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
                    matches!(refused, Err(Refusal::ServerAhead { .. })),
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

    #[test]
    fn an_empty_log_with_a_head_goes_on_from_it() {
        let sql = adopt("", &[(STORE, 4, "kept")]);
        let (mut store, found) = open(&sql).unwrap();
        let (stored, log) = (SeqNum::clamped(4), SeqNum::ROOT);
        assert_eq!(found, Found::Ahead { stored, log });
        append(&mut store, &[Sample::new(5)]).unwrap();
        assert_eq!(numbers(&store, 0), [5]);
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
                    Err(Refusal::ServerAhead { .. })
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
                    matches!(refused, Err(Refusal::ServerAhead { .. })),
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
                matches!(admission, Ok(Admission::Repeated)),
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
}

mod failures {
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
        open(sql).map(drop)
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
                let page = store.page(Family::Rpc, SeqNum::ROOT);
                sql.heal();
                assert!(page.is_err() || page.is_ok_and(|page| page.last.get() == 1));
            }
        }
        sql.set_up("DROP TABLE eventlog_7_my_store_1");
        assert!(store.page(Family::Rpc, SeqNum::ROOT).is_err());
        with_batch(&batch_json(&[Sample::new(1)]), |batch| {
            let refusal = admit(&store, batch.clone());
            assert!(matches!(refusal, Err(Refusal::Store(_))), "{refusal:?}");
        });
    }
}
