//! From a log to a file and back.

use livestore_sync_worker::store::staging::Rows;

use super::*;
use crate::sql_store::round_trips::{args, odd_text};

/// Args as they may lie in a log: what clients push, and what others have put there.
fn stored_args() -> impl Strategy<Value = Option<String>> {
    let around = prop_oneof![
        4 => Just(""), 1 => Just(" "), 1 => Just("\t"), 1 => Just("\n"), 1 => Just("\r\n"), 1 => Just("  \n ")
    ];
    (around.clone(), args(), around)
        .prop_map(|(before, args, after)| args.map(|args| format!("{before}{args}{after}")))
}

fn log() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        odd_text(),
        stored_args(),
        odd_text(),
        odd_text(),
        "[ -~]{0,24}",
    );
    proptest::collection::vec(row, 0..12).prop_map(|rows| {
        let rows = rows.into_iter().zip(1..);
        rows.map(
            |((name, args, client_id, session_id, created_at), seq_num)| Row {
                name,
                args,
                created_at,
                client_id,
                session_id,
                ..Row::new(seq_num)
            },
        )
        .collect()
    })
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_log_comes_back_to_the_byte_however_its_file_is_cut_up_and_reading_is_interrupted(
        rows in log(),
        sizes in proptest::collection::vec(1_usize..2_000, 1..8),
        interrupted: u64,
    ) {
        let file = file_of(&rows);
        let mut parts = 0;
        let log = read_in_pieces(file.as_bytes(), options(), &sizes, || {
            parts += 1;
            interrupted >> (parts % 64) & 1 == 1
        });
        let log = log.unwrap();
        prop_assert_eq!(&log.rows, &rows);
        let events = rows.len() as u64;
        prop_assert_eq!((log.summary.events, log.summary.last.get(), log.summary.undated), (events, events, 0));
        prop_assert_eq!(file_of(&log.rows), file);
    }
}

#[test]
fn a_file_says_what_it_is() {
    let log = read(&file_of(&[Row::new(1), Row::new(2)])).unwrap();
    assert_eq!(
        log.header,
        Header {
            kind: Kind::Export,
            store_id: Some(STORE.to_owned()),
            backend_id: Some(BACKEND.to_owned()),
            head: livestore_sync_worker::event::SeqNum::new(2),
            exported_at: Some(EXPORTED.to_owned()),
        }
    );
    assert_eq!(log.places, [Place::Line(2), Place::Line(3)]);
    assert!(read(&file_of(&[])).unwrap().rows.is_empty());
}

#[test]
fn the_largest_events_come_back_and_go_alone_and_others_together() {
    const LARGEST: usize = 1_950_000;
    let own = Row::new(1);
    let room = LARGEST - own.name.len() - own.client_id.len() - own.session_id.len();
    let quotes = format!("\"{}\"", "\\\"".repeat((room - 2) / 2));
    let breaks = format!("[{}]", "\n".repeat(room - 2));
    let mut rows = vec![
        Row::with_args(1, &format!("\"{}\"", "x".repeat(room - 2))),
        Row::with_args(2, &quotes),
        Row::with_args(3, &breaks),
        Row::with_args(4, &format!("\n\"{}\"", "\\\"".repeat((room - 3) / 2))),
    ];
    rows.extend((5..=3_000).map(Row::new));
    let file = file_of(&rows);
    let log = read_in_pieces(file.as_bytes(), options(), &[65_536], || true);
    assert!(log.unwrap().rows == rows);
    let mut reader = Reader::new(options());
    let mut sizes = Vec::new();
    for piece in file.as_bytes().chunks(65_536) {
        reader.push(piece).unwrap();
        while let Some(part) = reader.next().unwrap() {
            if let Part::Events(batch) = part {
                sizes.push(batch.events().len());
            }
        }
    }
    assert_eq!(
        sizes,
        [1, 1, 1, 1],
        "the rest comes when there are no more bytes"
    );
    reader.finish();
    assert!(
        matches!(reader.next(), Ok(Some(Part::Events(batch))) if batch.events().len() == 2_996)
    );
}

#[test]
fn what_is_read_is_staged_to_the_byte_whatever_its_size() {
    let text = |bytes: usize| format!("[\n\"{}\"]", "\\\"".repeat(bytes / 2));
    let rows = [
        Row::new(1),
        Row {
            name: "\0\"".to_owned(),
            args: None,
            ..Row::new(2)
        },
        Row::with_args(3, "null"),
        Row::with_args(4, &text(900_000)),
        Row::with_args(5, &text(1_900_000)),
        Row::with_args(6, "\"\\ud800\""),
    ];
    let file = file_of(&rows);
    let (sql, store) = store_of(&[]);
    let mut reader = Reader::new(options());
    reader.push(file.as_bytes()).unwrap();
    reader.finish();
    let mut is_alone = Vec::new();
    while let Some(part) = reader.next().unwrap() {
        if let Part::Events(batch) = part {
            let rows = batch.rows();
            is_alone.push(matches!(rows, Rows::One(_)));
            store.stage(&rows).unwrap();
        }
    }
    assert_eq!(is_alone, [false, false, true, false]);
    let staged = sql
        .raw()
        .prepare("SELECT * FROM livestore_sync_staging ORDER BY seqNum")
        .unwrap()
        .query_map([], row_of)
        .unwrap()
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    assert!(staged == rows);
}

#[test]
fn a_batch_comes_when_a_megabyte_is_there() {
    let rows: Vec<_> = (1..=20_000).map(Row::new).collect();
    let file = file_of(&rows);
    let mut reader = Reader::new(options());
    let (mut pushed, mut batches) = (0, 0);
    for piece in file.as_bytes().chunks(10_000) {
        reader.push(piece).unwrap();
        pushed += piece.len();
        while let Some(part) = reader.next().unwrap() {
            if let Part::Events(_) = part {
                batches += 1;
                let read = usize::try_from(reader.bytes_read()).unwrap();
                assert!(pushed - read < 1_010_000, "{pushed} {read}");
            }
        }
    }
    assert!(batches >= 2, "{batches}");
}
