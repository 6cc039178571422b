//! What is appended comes back byte for byte, and is known again in a retry.

use super::*;

/// Texts that quoting, packing or SQLite could get wrong.
pub(crate) fn odd_text() -> impl Strategy<Value = String> {
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
pub(crate) fn args() -> impl Strategy<Value = Option<String>> {
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
    #![proptest_config(cases(256))]

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
            let events = json::read(&json, Event::read_all).unwrap();
            let batch = Batch::parse(events, &Limits::default()).unwrap().unwrap();
            let admission = admit(&store, batch);
            prop_assert!(matches!(admission, Ok(Admission::Repeated { .. })), "{:?}", admission);
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
        Batch::parse(
            json::read(json, Event::read_all).unwrap(),
            &Limits::default(),
        )
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
                    matches!(refusal, Ok(Admission::Behind { head, provided, .. })
                        if head.get() == 3 && provided == SeqNum::ROOT),
                    "{refusal:?}"
                );
            });
        }
    }
}
