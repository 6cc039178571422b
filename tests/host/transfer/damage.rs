//! Files that are not as they were written.

use super::*;

fn small() -> String {
    file_of(&[
        Row::new(1),
        Row::with_args(2, "[\n1]"),
        Row {
            args: None,
            ..Row::new(3)
        },
        Row::with_args(4, "\"é\""),
    ])
}

fn read_bytes(file: &[u8]) -> Result<Log, ReadError> {
    read_in_pieces(file, options(), &[usize::MAX], || false)
}

#[test]
fn every_byte_that_is_another_is_noticed() {
    let file = small().into_bytes();
    assert!(read_bytes(&file).is_ok());
    for at in 0..file.len() {
        for change in [1, 7, 32, 128] {
            let mut damaged = file.clone();
            damaged[at] ^= change;
            let read = read_bytes(&damaged);
            assert!(
                read.is_err(),
                "{at} {change} {}",
                String::from_utf8_lossy(&damaged)
            );
        }
        for other in [b'\n', b'\r', b' ', b'"', b'{', b'}', b'0'] {
            let mut damaged = file.clone();
            damaged[at] = other;
            assert!(
                damaged == file || read_bytes(&damaged).is_err(),
                "{at} {other}"
            );
        }
    }
}

#[test]
fn every_cut_is_noticed_and_called_one() {
    let file = small();
    for end in 0..file.len() - 1 {
        let error = read_bytes(&file.as_bytes()[..end]).unwrap_err();
        let expected = if end == 0 {
            Fault::Empty
        } else {
            Fault::CutOff
        };
        assert_eq!(error.fault, expected, "{end}");
    }
    let without_line_break = read(file.trim_end()).unwrap();
    assert_eq!(
        without_line_break,
        read(&file).unwrap(),
        "nothing is lost by that"
    );
}

#[test]
fn every_line_that_is_missing_doubled_or_elsewhere_is_noticed() {
    let file = small();
    let lines: Vec<&str> = file.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 6);
    let mut tried = 0;
    for at in 0..lines.len() {
        let (mut missing, mut doubled) = (lines.clone(), lines.clone());
        missing.remove(at);
        doubled.insert(at, lines[at]);
        let mut variants = vec![missing, doubled];
        for other in at + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, other);
            variants.push(swapped);
        }
        for variant in variants {
            tried += 1;
            assert!(read(&variant.concat()).is_err(), "{variant:?}");
        }
    }
    assert_eq!(tried, 12 + 15);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn bytes_that_are_put_in_left_out_or_replaced_are_noticed_however_the_file_comes(
        at in 0..1_000_usize,
        left_out in 0..20_usize,
        put_in in proptest::collection::vec(any::<u8>(), 0..20),
        size in 1..300_usize,
    ) {
        let file = small();
        let at = at % (file.len() - 1);
        let end = (at + left_out).min(file.len() - 1);
        let mut damaged = file.as_bytes()[..at].to_vec();
        damaged.extend(&put_in);
        damaged.extend(&file.as_bytes()[end..]);
        prop_assume!(damaged != file.as_bytes());
        let whole = read_bytes(&damaged).unwrap_err();
        let pieces = read_in_pieces(&damaged, options(), &[size], || true);
        if let Err(pieces) = pieces {
            prop_assert_eq!(pieces, whole);
        } else {
            prop_assert!(false, "{:?}", whole);
        }
    }

    #[test]
    fn no_bytes_whatsoever_are_taken_for_a_file(bytes in proptest::collection::vec(any::<u8>(), 0..400), beginning in 0..4_usize) {
        let beginnings = ["", "{\"format\":", "{\"version\":1,\"storeId\":\"\",\"events\":[", "{\"seqNum\":"];
        let file = [beginnings[beginning].as_bytes(), &bytes].concat();
        prop_assert!(read_bytes(&file).is_err());
    }
}

#[test]
fn a_file_that_goes_on_in_another_file_is_noticed() {
    let file = small();
    let other = file.replace("id-1", "id-2");
    let mut reader = Reader::new(options());
    reader.push(file.as_bytes()).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(
        reader.events(),
        0,
        "little comes at the end, and the header before"
    );
    let at = usize::try_from(reader.bytes_read()).unwrap();
    let mut reader = Reader::resume(&reader.state()).unwrap();
    reader.push(&other.as_bytes()[at..]).unwrap();
    reader.finish();
    assert!(matches!(reader.next(), Ok(Some(Part::Events(_)))));
    let error = reader.next().unwrap_err();
    assert!(
        matches!(
            error.fault,
            Fault::Disagrees {
                what: "the checksum",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn errors_name_line_and_member() {
    let event = |seq_num: i64, parent: i64| {
        format!(
            r#"{{"seqNum":{seq_num},"parentSeqNum":{parent},"name":"a","args":1,"clientId":"c","sessionId":"s","createdAt":"{CREATED}"}}"#
        )
    };
    let (one, two) = (event(1, 0), event(2, 1));
    let with = |second: String| sealed(&[one.clone(), second], 2);
    let file = with(two.clone());
    assert!(read(&file).is_ok());
    let long = |bytes: usize| "n".repeat(bytes);
    let cases = [
        (
            with(event(3, 2)),
            "line 3: seqNum is 3, but 2 was expected: the event before it is 1",
        ),
        (
            with(event(2, 0)),
            "line 3: parentSeqNum is 0, but 1 was expected: the event before it is 1",
        ),
        (
            with(event(1, 0)),
            "line 3: seqNum is 1, but 2 was expected: the event before it is 1",
        ),
        (
            with(two.replace("\"name\"", "\"nom\"")),
            "line 3: name is missing",
        ),
        (
            with(two.replace("\"c\"", "1")),
            "line 3: clientId: a string was expected at column 61",
        ),
        (
            with(two.replace("\"seqNum\":2", "\"seqNum\":\"2\"")),
            "line 3: seqNum: an integer was expected at column 13",
        ),
        (
            with(two.replace("createdAt", "at")),
            "line 3: it has no createdAt",
        ),
        (
            with(two.replace("\"args\":1", "\"args\":1,\"argsText\":\"1\"")),
            "line 3: it has args and argsText",
        ),
        (
            with(two.replace("\"args\":1", "\"argsText\":\"1 2\"")),
            "line 3: argsText is not JSON",
        ),
        (
            with(two.replace("\"args\":1", "\"args\":x")),
            "line 3: expected value at column 48",
        ),
        (
            with(two.replace("\"a\"", &format!("\"{}\"", long(4_096)))),
            "line 3: name has 4096 bytes, but may have at most 4095",
        ),
        (
            with(two.replace("\"c\"", &format!("\"{}\"", long(1_025)))),
            "line 3: clientId has 1025 bytes, but may have at most 1024",
        ),
        (
            with(two.replace("\"s\"", &format!("\"{}\"", long(1_025)))),
            "line 3: sessionId has 1025 bytes, but may have at most 1024",
        ),
        (
            with(two.replace(CREATED, &long(65))),
            "line 3: createdAt has 65 bytes, but may have at most 64",
        ),
        (
            with(two.replace("\"args\":1", &format!("\"args\":\"{}\"", long(1_949_996)))),
            "line 3: the event has 1950001 bytes, but may have at most 1950000",
        ),
        (
            with(two.replace("\"args\":1", &format!("\"args\":\"{}\"", long(4_000_000)))),
            "line 3: it has more than 3937754 bytes",
        ),
        (
            with(String::new()),
            "line 3: EOF while parsing a value at column 0",
        ),
        (format!("{file}\n"), "line 5: nothing may follow the end"),
        (format!("{file}x"), "line 5: nothing may follow the end"),
        (
            file.replacen("\"head\":2", "\"head\":1", 1),
            "line 4: it gives",
        ),
        (
            file.replace("\"events\":2", "\"events\":3"),
            "line 4: it gives 3 as the number of events, but that is 2",
        ),
        (
            file.replace("\"head\":2,\"crc32\"", "\"head\":3,\"crc32\""),
            "line 4: it gives 3 as the last event, but that is 2",
        ),
        (file.replace("\"a\"", "\"b\""), "line 4: it gives"),
        (
            file.replace("{\"end\":{", "{\"end\": {"),
            "line 4: this is not as an export writes its last line, {\"end\":{\"events\":2,\"head\":2,",
        ),
        (
            sealed(std::slice::from_ref(&one), 2),
            "line 3: it gives 2 as the number of events, but that is 1",
        ),
        (
            file.replace('\n', "\r\n"),
            "line 1: it ends with a carriage return: copy the file as it was written, not as text",
        ),
        (
            format!("\u{feff}{file}"),
            "line 1: it begins with a byte order mark: send it as it was written",
        ),
        (
            file.replace("livestore-sync-export", "another"),
            "line 1: this is neither an export of a store, nor what LiveStore's sync export writes",
        ),
        (
            file.replace("\"version\":1", "\"version\":2"),
            "line 1: it has version 2 of its format, and this release reads version 1",
        ),
        (
            file.replace("\"version\":1,", ""),
            "line 1: it has no version",
        ),
        (
            file.replace("\"storeId\":", "\"store\":"),
            "line 1: it has no storeId, backendId or head",
        ),
        ("[1]".to_owned(), "line 1: this is neither"),
        ("{\"a\":1}".to_owned(), "line 1: this is neither"),
        (format!("{{{}", " ".repeat(300)), "line 1: this is neither"),
        (String::new(), "the file: nothing is in it"),
        (
            file[..file.len() - 80].to_owned(),
            "line 3: its end is missing: the file was cut off",
        ),
    ];
    for (file, expected) in cases {
        let error = told(&file);
        assert!(
            error.starts_with(expected),
            "{error}\nwhere expected was\n{expected}"
        );
    }
    let mut bytes = file.into_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'a').unwrap();
    bytes[at] = 0xff;
    assert!(read_bytes(&bytes).is_err());
}

#[test]
fn a_head_that_the_first_line_gives_is_that_of_the_events() {
    let file = sealed(&[], 0).replace("\"head\":0,\"exportedAt\"", "\"head\":7,\"exportedAt\"");
    let first = file.lines().next().unwrap().to_owned() + "\n";
    let crc = crc32(first.as_bytes());
    let file = format!("{first}{{\"end\":{{\"events\":0,\"head\":0,\"crc32\":\"{crc:08x}\"}}}}\n");
    assert_eq!(
        told(&file),
        "line 2: it gives 7 as the last event, but that is 0"
    );
}

#[test]
fn a_state_of_something_else_is_none() {
    let state = Reader::new(options()).state();
    assert!(Reader::resume(&state).is_some());
    let one_less = state.replacen("0,", "", 1);
    let no_time = state.replace(&format!("\"{}\"", options().created_at), "null");
    let unknown = state.replacen("[0,0", "[0,9", 1);
    for state in [
        "", "{}", "[]", "null", "[[],[]]", &one_less, &no_time, &unknown,
    ] {
        assert!(Reader::resume(state).is_none(), "{state}");
    }
}
