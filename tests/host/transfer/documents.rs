//! What LiveStore's `sync export` writes, and lines of events.

use serde_json::{Value, json};

use super::*;

/// The document for these rows, as LiveStore's release 0.4.0 makes it.
fn document(rows: &[Row]) -> Value {
    let event = |row: &Row| {
        let mut event = json!({"name": row.name});
        if let Some(args) = &row.args {
            event["args"] = serde_json::from_str(args).unwrap();
        }
        for (key, value) in [
            ("seqNum", json!(row.seq_num)),
            ("parentSeqNum", json!(row.parent)),
            ("clientId", json!(row.client_id)),
            ("sessionId", json!(row.session_id)),
        ] {
            event[key] = value;
        }
        event
    };
    json!({
        "version": 1,
        "storeId": STORE,
        "exportedAt": EXPORTED,
        "eventCount": rows.len(),
        "events": rows.iter().map(event).collect::<Vec<_>>(),
    })
}

/// Members of the document in the order in which LiveStore writes them.
fn written(document: &Value, is_pretty: bool) -> String {
    let members = ["version", "storeId", "exportedAt", "eventCount", "events"].map(|key| {
        let value = &document[key];
        let value = if is_pretty {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let value = value.unwrap().replace('\n', "\n  ");
        if is_pretty {
            format!("\n  \"{key}\": {value}")
        } else {
            format!("\"{key}\":{value}")
        }
    });
    let end = if is_pretty { "\n}" } else { "}" };
    format!("{{{}{end}", members.join(","))
}

fn rows() -> Vec<Row> {
    [
        r#"{"a":"x y","b":[1,{}],"c":{"d":null,"e":" \" ] } "}}"#,
        "null",
        "[]",
        "{}",
        "-1.5",
        "\"a b\"",
        "true",
        r#"[[[[]]],"é",""]"#,
    ]
    .iter()
    .zip(1..)
    .map(|(args, seq_num)| Row {
        created_at: options().created_at,
        ..Row::with_args(seq_num, args)
    })
    .chain([Row {
        args: None,
        created_at: options().created_at,
        ..Row::new(9)
    }])
    .collect()
}

#[test]
fn what_livestore_exports_is_read_with_args_as_they_were_before_they_were_printed() {
    let rows = rows();
    for is_pretty in [false, true] {
        let file = written(&document(&rows), is_pretty);
        assert_eq!(file.contains('\n'), is_pretty, "{file}");
        for size in [1, 2, 3, 7, 50, usize::MAX] {
            for interrupts in [false, true] {
                let log = read_in_pieces(file.as_bytes(), options(), &[size], || interrupts);
                let log = log.unwrap();
                assert_eq!(log.rows, rows);
                assert_eq!(log.header.kind, Kind::LiveStore);
                assert_eq!(log.header.store_id.as_deref(), Some(STORE));
                assert_eq!(log.header.exported_at.as_deref(), Some(EXPORTED));
                assert_eq!((log.header.backend_id, log.header.head), (None, None));
                assert_eq!((log.summary.events, log.summary.undated), (9, 9));
                assert_eq!(log.places[8], Place::Event(9));
            }
        }
    }
    assert!(
        read(&written(&document(&[]), true))
            .unwrap()
            .rows
            .is_empty()
    );
}

#[test]
fn a_document_is_read_in_batches_and_goes_on_after_any_of_them() {
    let rows: Vec<_> = (1..=12_000)
        .map(|seq_num| Row {
            created_at: options().created_at,
            ..Row::new(seq_num)
        })
        .collect();
    let file = written(&document(&rows), true);
    let mut parts = 0;
    let log = read_in_pieces(file.as_bytes(), options(), &[65_536], || {
        parts += 1;
        true
    });
    assert!(log.unwrap().rows == rows);
    assert!(parts > 3, "{parts}");
}

#[test]
fn a_document_may_end_with_white_space_and_have_members_that_nobody_knows() {
    let file = written(&document(&rows()), false);
    let more = file.replacen(
        '{',
        "{\"version\":1,\"more\":{\"a\":[1, 2]},\"x\\\"\": true ,",
        1,
    );
    for file in [format!("\r\n {file}\r\n\t "), more] {
        assert_eq!(read(&file).unwrap().rows, rows(), "{file}");
    }
}

#[test]
fn every_cut_of_a_document_is_noticed() {
    let file = written(&document(&rows()), true);
    for end in 1..file.len() {
        let error = read_in_pieces(&file.as_bytes()[..end], options(), &[64], || false);
        assert_eq!(error.unwrap_err().fault, Fault::CutOff, "{end}");
    }
}

#[test]
fn errors_in_a_document_name_the_event() {
    let of = |change: &dyn Fn(&mut Value)| {
        let mut document = document(&rows());
        change(&mut document);
        written(&document, true)
    };
    let file = of(&|_| {});
    let cases = [
        (
            of(&|it| it["events"][6]["seqNum"] = json!(8)),
            "event 7: seqNum is 8, but 7 was expected: the event before it is 6",
        ),
        (
            of(&|it| it["events"][2]["name"] = json!(1)),
            "event 3: name: a string was expected at column",
        ),
        (
            of(&|it| it["events"][2] = json!(7)),
            "event 3: an object was expected at column 1",
        ),
        (of(&|it| it["events"] = json!({})), "byte"),
        (
            of(&|it| it["eventCount"] = json!(8)),
            "the file: it gives 8 as the number of events, but that is 9",
        ),
        (
            of(&|it| it["version"] = json!(2)),
            "the file: it has version 2",
        ),
        (
            of(&|it| it["version"] = json!("1")),
            "the file: an integer was expected",
        ),
        (
            file.replace("\"version\": 1,", ""),
            "the file: version and storeId have to stand before events",
        ),
        (
            file.replace("\"eventCount\": 9,", ""),
            "the file: it has no eventCount",
        ),
        (
            file.replace("\"events\"", "\"event\""),
            "the file: it has no events",
        ),
        (
            format!("{},\"events\":[]}}", file.strip_suffix("\n}").unwrap()),
            "the file: it has events twice",
        ),
        (format!("{file}x"), "byte 1873: nothing may follow the end"),
        (file.replacen("-1.5", "-1 5", 1), "event 5:"),
        (file.replacen("true", "tr ue", 1), "event 7:"),
        (file.replacen("[]", "[}", 1), "event"),
        (
            file.replacen("\"eventCount\": 9,", "\"eventCount\": 9 9,", 1),
            "byte 108: ',' or '}' was expected",
        ),
        (
            file.replacen("\"eventCount\": 9,", "\"eventCount\": ,", 1),
            "byte 106: a value was expected",
        ),
        (
            file.replacen("\"eventCount\": 9,", "\"eventCount\" 9,", 1),
            "byte 105: ':' was expected",
        ),
        (
            file.replacen("\"eventCount\": 9,", "5: 9,", 1),
            "byte 92: a key was expected",
        ),
        (
            file.replacen("\"c\"", &format!("\"{}\"", "n".repeat(4_000_000)), 1),
            "event 1: it has more than 3937754 bytes",
        ),
    ];
    for (file, expected) in cases {
        let whole = told(&file);
        assert!(
            whole.starts_with(expected),
            "{whole}\nwhere expected was\n{expected}"
        );
        let pieces = read_in_pieces(file.as_bytes(), options(), &[1_000], || false);
        assert_eq!(pieces.unwrap_err().to_string(), whole);
    }
}

fn lines() -> String {
    let line = |seq_num: i64| {
        format!(
            r#"{{"seqNum":{seq_num},"parentSeqNum":{},"name":"v1.TodoCreated","args":{{"id":"id-{seq_num}"}},"clientId":"client-A","sessionId":"session-A","createdAt":"{CREATED}"}}"#,
            seq_num - 1
        ) + "\n"
    };
    (1..=5).map(line).collect()
}

#[test]
fn lines_of_events_are_read_only_where_that_is_asked_for() {
    let error = read(&lines()).unwrap_err();
    assert_eq!((error.place, error.fault), (Place::Line(1), Fault::Bare));
    let asked = Options {
        accepts_lines: true,
        ..options()
    };
    let rows: Vec<_> = (1..=5).map(Row::new).collect();
    for file in [
        lines(),
        lines().replace('\n', "\r\n"),
        lines() + "\n",
        lines().trim_end().to_owned(),
    ] {
        for size in [1, 100, usize::MAX] {
            for interrupts in [false, true] {
                let log = read_in_pieces(file.as_bytes(), asked.clone(), &[size], || interrupts);
                let log = log.unwrap();
                assert_eq!((&log.rows, log.header.kind), (&rows, Kind::Lines));
                assert_eq!(log.summary.undated, 0);
            }
        }
    }
    let read = |file: &str| read_in_pieces(file.as_bytes(), asked.clone(), &[64], || false);
    let cut = lines();
    assert_eq!(
        read(&cut[..cut.len() - 9]).unwrap_err().fault,
        Fault::CutOff
    );
    let later = cut.split_inclusive('\n').skip(1).collect::<String>();
    let error = read(&later).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1: seqNum is 2, but 1 was expected: the event before it is 0"
    );
    let undated = cut.replace("createdAt", "at");
    assert_eq!(
        read(&undated).unwrap_err().to_string(),
        "line 1: it has no createdAt"
    );
    assert_eq!(read(&lines()).unwrap().rows.len(), 5);
}
