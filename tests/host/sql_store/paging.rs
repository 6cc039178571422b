//! Where pages end, and that everything accepted can be read again.

use super::*;

/// Checks that the pages of `store` are as full as they may be and hold everything.
fn check(store: &EventStore<HostSql>, events: &[Sample], family: Family) {
    check_pages(&pages(store, family, 0), events, family, PAGE_BYTES_MAX);
    let mut utf8 = Vec::new();
    let mut after = SeqNum::ROOT;
    while after < store.last_stored() {
        let page = store.page(family, Form::Utf8, after).unwrap();
        assert_eq!(page.items.as_ref().map(HostText::form), Some(Form::Utf8));
        after = page.last;
        utf8.push(page);
    }
    check_pages(&utf8, events, family, PIECE_BYTES_MAX);
}

fn check_pages(pages: &[Page<HostText>], events: &[Sample], family: Family, bytes_max: usize) {
    let budget = bytes_max - PAGE_OVERHEAD_BYTES;
    let mut rest = events;
    for page in pages {
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
fn a_page_is_one_statement_which_reads_no_args_that_do_not_go_into_it() {
    // Were they read, the platform's bound on a text would end it.
    let events: Vec<Sample> = [500_000; 12]
        .into_iter()
        .chain([10, 10])
        .zip(1..)
        .map(|(bytes, seq_num)| Sample::padded(seq_num, bytes))
        .collect();
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    for event in &events {
        append(&mut store, std::slice::from_ref(event)).unwrap();
    }
    for (after, last) in [(0, 1), (1, 2), (11, 14), (12, 14)] {
        let before = sql.statements_run();
        let page = page(&store, Family::Rpc, after);
        assert_eq!(page.last, SeqNum::clamped(last));
        assert_eq!(sql.statements_run() - before, 1, "after {after}");
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
        let events = json::read(&json, Event::read_all).unwrap();
        // It may be refused; but once it is in, it must not block the log.
        let Ok(Some(batch)) = Batch::parse(events, &Limits::default()) else {
            continue;
        };
        if store.append(&batch, CREATED).is_ok() {
            for family in Family::ALL {
                let page = store.page(family, Form::String, SeqNum::ROOT);
                assert!(page.is_ok_and(|page| page.items.is_some()));
            }
        }
    }
}

#[test]
fn a_query_is_planned_once_however_often_it_is_run() {
    let events: Vec<Sample> = (1..=500)
        .map(|seq_num| Sample::padded(seq_num, 20_000))
        .collect();
    let sql = HostSql::in_memory(Binding::Doubles);
    let mut store = open(&sql).unwrap().0;
    append(&mut store, &events).unwrap();
    // What looked for the tables before they were made.
    store.verify().unwrap();
    let planned_anew = sql.planned_anew();
    append(&mut store, &[Sample::new(501)]).unwrap();
    append(&mut store, &[Sample::new(502), Sample::new(503)]).unwrap();
    // Small pages and large ones, lines, what goes to the backup, and a repeated push.
    for after in [0, 100, 450] {
        for family in Family::ALL {
            page(&store, family, after);
        }
        store.lines(SeqNum::clamped(after), 40).unwrap();
        store.mirror(SeqNum::clamped(after), CREATED).unwrap();
        with_batch(&batch_json(&events), |batch| {
            let repeated = store.count_repeated(batch.events()).unwrap();
            assert_eq!(repeated, Some(500));
        });
    }
    assert_eq!(sql.planned_anew(), planned_anew);
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
