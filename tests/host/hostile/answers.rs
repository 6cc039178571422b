//! What each kind of bad frame is answered.

use super::*;

#[test]
fn what_is_no_message_is_a_defect() {
    check_table(
        Family::Rpc,
        &[
            ("{not json", Answer::SyntaxDefect),
            ("", Answer::SyntaxDefect),
            (" ", Answer::SyntaxDefect),
            ("{", Answer::SyntaxDefect),
            ("[", Answer::SyntaxDefect),
            ("[1,]", Answer::SyntaxDefect),
            ("nul", Answer::SyntaxDefect),
            ("undefined", Answer::SyntaxDefect),
            ("\u{feff}{\"_tag\":\"Ping\"}", Answer::SyntaxDefect),
            (
                "{\"_tag\":\"Ping\"} {\"_tag\":\"Ping\"}",
                Answer::SyntaxDefect,
            ),
            ("{\"_tag\":\"Ping\"}\u{0}", Answer::SyntaxDefect),
            ("{'_tag':'Ping'}", Answer::SyntaxDefect),
            ("{\"_tag\":\"Pi\nng\"}", Answer::SyntaxDefect),
            ("7", UNDEFINED),
            ("\"hi\"", UNDEFINED),
            ("true", UNDEFINED),
            ("null", UNDEFINED),
            ("{}", UNDEFINED),
            ("{\"_tag\":null}", UNDEFINED),
            ("{\"_tag\":7}", UNDEFINED),
            ("{\"_tag\":{}}", UNDEFINED),
            ("{\"_TAG\":\"Ping\"}", UNDEFINED),
            (
                "{\"_tag\":\"Bogus\"}",
                Answer::Defect("Unknown request tag: Bogus"),
            ),
            ("{\"_tag\":\"\"}", Answer::Defect("Unknown request tag: ")),
            (
                "{\"_tag\":\"WSMessage.PullReq\",\"requestId\":\"r\"}",
                Answer::Defect("Unknown request tag: WSMessage.PullReq"),
            ),
            (
                "{\"_tag\":\"Chunk\",\"requestId\":\"1\",\"values\":[]}",
                Answer::Defect("Unknown request tag: Chunk"),
            ),
        ],
    );
}

#[test]
fn messages_in_an_array_are_read_one_by_one() {
    let one = pull("\"5\"");
    check_table(
        Family::Rpc,
        &[
            ("[]", Answer::Nothing),
            ("[ ]", Answer::Nothing),
            (&format!("[{one}]"), Answer::Pulled),
            (&format!(" \n[ {one} ]"), Answer::Pulled),
            ("[null]", UNDEFINED),
            ("[7]", UNDEFINED),
            ("[[]]", UNDEFINED),
            ("[{\"_tag\":\"Eof\"},{\"_tag\":\"Ping\"}]", Answer::Pong),
        ],
    );
    let many = |count: usize| format!("[{}{{}}]", "{\"_tag\":\"Eof\"},".repeat(count - 1));
    check_table(Family::Rpc, &[(&many(FRAME_MESSAGES_MAX), UNDEFINED)]);
    let [Heard::Defect { defect }] = &Room::ask(Family::Rpc, &many(FRAME_MESSAGES_MAX + 1))[..]
    else {
        panic!("too many messages are refused together");
    };
    assert!(defect.as_str().unwrap().contains("at most 1000 messages"));
    let heard = Room::ask(
        Family::Rpc,
        &format!("[null,{one},{{\"_tag\":\"Ping\"}},7]"),
    );
    assert_eq!(heard.len(), 5, "{heard:?}");
    assert_eq!(heard[3], Heard::Pong);
}

#[test]
fn an_array_is_no_message() {
    check_table(
        Family::Rpc,
        &[
            (r#"[["Ping",null,null,null,null]]"#, UNDEFINED),
            (r#"[["Eof"]]"#, UNDEFINED),
        ],
    );
    check_table(
        Family::Plain,
        &[(r#"["WSMessage.PullReq","r",1,null]"#, Answer::Nothing)],
    );
}

#[test]
fn an_array_is_no_payload() {
    let payload = r#"["quiet-store",false,{"_tag":"None"},null,null]"#;
    let cursor = r#"{"storeId":"quiet-store","live":false,"cursor":["None"]}"#;
    let value = r#"{"storeId":"quiet-store","live":false,"cursor":{"_tag":"Some","value":["backend-of-the-room--",1]}}"#;
    for payload in [payload, cursor, value] {
        let pull =
            format!(r#"{{"_tag":"Request","id":1,"tag":"SyncWsRpc.Pull","payload":{payload}}}"#);
        check_table(Family::Rpc, &[(&pull, Answer::Died)]);
    }
}

#[test]
fn an_array_is_no_event() {
    let batch = r#"[["n",{},4,3,"c","s"]]"#;
    for (generation, answer) in [
        (Generation::V03, Answer::Nothing),
        (Generation::V04, Answer::Died),
        (Generation::V05, Answer::Died),
    ] {
        let speaker = speaker(generation);
        let push = speaker.push(&speaker.id(1), None, batch);
        check_table(generation.family(), &[(&push, answer)]);
    }
}

#[test]
fn a_request_for_something_else_fails_in_its_dialect() {
    let request = |id: &str, tag: &str| {
        format!(r#"{{"_tag":"Request","id":{id},{tag}"payload":{{}},"headers":[]}}"#)
    };
    for tag in [
        "SyncWsRpc.Nope",
        "SyncHttpRpc.Pull",
        "SyncDoRpc.Push",
        "",
        "toString",
    ] {
        let text = format!("Unknown request tag: {tag}");
        let field = format!(r#""tag":"{tag}","#);
        let [v04] = &Room::ask(Family::Rpc, &request("\"1\"", &field))[..] else {
            panic!()
        };
        assert_eq!(
            *v04,
            Heard::Defect {
                defect: text.clone().into()
            }
        );
        let [v05] = &Room::ask(Family::Rpc, &request("1", &field))[..] else {
            panic!()
        };
        assert_eq!(
            *v05,
            Heard::Died {
                id: "1".to_owned(),
                defect: text
            }
        );
    }
    check_table(
        Family::Rpc,
        &[
            (&request("\"1\"", ""), UNDEFINED),
            (&request("1", ""), Answer::Died),
            (&request("1", "\"tag\":null,"), Answer::Died),
        ],
    );
}

#[test]
fn each_field_of_a_wrong_type_fails_its_request() {
    let mut count = 0;
    for generation in [Generation::V04, Generation::V05] {
        let speaker = speaker(generation);
        let id = speaker.id(1);
        let event = Sample::new(EVENTS + 1).json();
        let pull = speaker.pull(&id, false, Some((BACKEND, 1)));
        let push = speaker.push(&id, Some(BACKEND), &format!("[{event}]"));
        let fields = [
            (&pull, r#""storeId":"quiet-store""#),
            (&pull, r#""live":false"#),
            (
                &pull,
                r#""cursor":{"_tag":"Some","value":{"backendId":"backend-of-the-room--","eventSequenceNumber":1}}"#,
            ),
            (&pull, r#""backendId":"backend-of-the-room--""#),
            (&pull, r#""eventSequenceNumber":1"#),
            (&push, r#""storeId":"quiet-store""#),
            (
                &push,
                r#""backendId":{"_tag":"Some","value":"backend-of-the-room--"}"#,
            ),
            (&push, r#""value":"backend-of-the-room--""#),
            (&push, r#""name":"todoCreated""#),
            (&push, r#""seqNum":4"#),
            (&push, r#""parentSeqNum":3"#),
            (&push, r#""clientId":"client-A""#),
            (&push, r#""sessionId":"session-A""#),
        ];
        for (frame, field) in fields {
            // Serialised maps sort their keys, so the field is looked for in either form.
            let (name, value) = field.split_once(':').unwrap();
            assert!(frame.contains(field), "{frame} has no {field}");
            let wrong = [
                "null",
                "true",
                "7.5",
                "[]",
                "{}",
                "{\"_tag\":\"Maybe\"}",
                "\"\\ud800\"",
                "{\"_tag\":\"Some\"}",
            ];
            let wrong = wrong
                .iter()
                .filter(|wrong| !(value == "false" && **wrong == "true"));
            let strings = ["\"1\"", "\"\""].iter().filter(|_| !value.starts_with('"'));
            let numbers = ["4", "-1"]
                .iter()
                .filter(|_| value.starts_with(['"', '{', 'f']));
            for wrong in wrong.chain(strings).chain(numbers) {
                let frame = frame.replace(field, &format!("{name}:{wrong}"));
                let heard = Room::ask(Family::Rpc, &frame);
                assert_eq!(answer(&heard), Answer::Died, "{frame}: {heard:?}");
                assert_eq!(heard[0].id(), Some(id.as_str()));
                count += 1;
            }
            // And without it; args are the only field that may be left out.
            let without = frame
                .replace(&format!("{field},"), "")
                .replace(&format!(",{field}"), "");
            assert_eq!(
                answer(&Room::ask(Family::Rpc, &without)),
                Answer::Died,
                "{without}"
            );
        }
    }
    println!("{count} frames");
    assert!(count > 200);
}

#[test]
fn what_is_wrong_with_a_payload_is_told_with_its_place_and_without_its_text() {
    let secret = "a secret ".repeat(100_000);
    let push = |id: &str| {
        let event = Sample::new(EVENTS + 1).json();
        speaker(Generation::V05).push(id, None, &format!("[{event}]"))
    };
    let quoted = format!("\"{secret}\"");
    for (field, wrong, expected) in [
        (
            "\"seqNum\":4",
            format!("\"seqNum\":{quoted}"),
            "SyncWsRpc.Push: payload: batch: seqNum: an integer was expected at column ",
        ),
        (
            "\"clientId\":\"client-A\"",
            format!("\"secret\":{quoted}"),
            "SyncWsRpc.Push: payload: batch: clientId is missing at column ",
        ),
        (
            "\"batch\":[",
            format!("\"batch\":{quoted},\"a\":["),
            "SyncWsRpc.Push: payload: batch: an array was expected at column ",
        ),
        (
            "\"payload\":{",
            format!("\"payload\":{quoted},\"a\":{{"),
            "SyncWsRpc.Push: payload: an object was expected at column ",
        ),
    ] {
        let frame = push("1");
        assert!(frame.contains(field), "{frame} has no {field}");
        let heard = Room::ask(Family::Rpc, &frame.replace(field, &wrong));
        let [Heard::Died { id, defect }] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert_eq!(id, "1");
        let column = defect
            .strip_prefix(expected)
            .unwrap_or_else(|| panic!("{defect}"));
        assert!(column.parse::<usize>().is_ok(), "{defect}");
    }
}

#[test]
fn of_a_name_that_stands_twice_the_last_counts() {
    let event = Sample::new(EVENTS + 1).json();
    for generation in [Generation::V03, Generation::V04, Generation::V05] {
        let speaker = speaker(generation);
        let push = speaker.push(&speaker.id(1), None, &format!("[{event}]"));
        let twice = push.replace("\"seqNum\":4", "\"seqNum\":9,\"seqNum\":4");
        assert_ne!(twice, push);
        let mut room = Room::new(generation.family());
        room.attack_text(&twice);
        assert_eq!(room.rows(), 4, "{twice}");
    }
}

#[test]
fn fields_that_are_not_ours_may_be_anything() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for anything in ["null", "7", "\"x\"", "[[]]", "{\"a\":{}}", &deep] {
        let field = format!("\"payload\":{anything}");
        let inner = pull("\"5\"").replace("\"live\":false", &format!("\"live\":false,{field}"));
        let headers = pull("5").replace("\"headers\":[]", &format!("\"headers\":{anything}"));
        let extra = pull("5").replace(
            "\"headers\":[]",
            &format!("\"foo\":{anything},\"sampled\":1"),
        );
        let on_ping = format!("{{\"_tag\":\"Ping\",{field},\"id\":{anything}}}");
        check_table(
            Family::Rpc,
            &[
                (&inner, Answer::Pulled),
                (&headers, Answer::Pulled),
                (&extra, Answer::Pulled),
                (&on_ping, Answer::Pong),
            ],
        );
    }
    check_table(
        Family::Rpc,
        &[(&pull("5").replace(",\"headers\":[]", ""), Answer::Pulled)],
    );
}

#[test]
fn an_id_that_is_none_is_a_defect_and_any_other_is_echoed() {
    for id in [
        "\"abc\"",
        "\"-4\"",
        "\"0x10\"",
        "\"\"",
        "\"\\u0000\"",
        "\"é😀\"",
        "0",
        "-3",
        "3.5",
        "1e3",
        "123456789012345678901234567890",
        "\"123456789012345678901234567890\"",
    ] {
        let heard = Room::new(Family::Rpc).attack_text(&pull(id));
        let echo = format!("\"requestId\":{id},");
        assert_eq!(heard.answers.len(), 2, "{id}: {heard:?}");
        assert!(
            heard.answers.iter().all(|answer| answer.contains(&echo)),
            "{id}: {heard:?}"
        );
    }
    let long = format!("\"{}\"", "7".repeat(10_000));
    let longest = format!("\"{}\"", "7".repeat(REQUEST_ID_BYTES_MAX - 2));
    for id in ["null", "true", "{}", "[]", "[1]", "{\"id\":\"1\"}", &long] {
        assert_eq!(answer(&Room::ask(Family::Rpc, &pull(id))), NO_ID, "{id}");
    }
    assert_eq!(
        answer(&Room::ask(Family::Rpc, &pull(&longest))),
        Answer::Pulled
    );
    let none = pull("1").replace("\"id\":1,", "");
    assert_eq!(answer(&Room::ask(Family::Rpc, &none)), NO_ID);
    let dead = r#"{"_tag":"Request","tag":"SyncWsRpc.Pull","payload":{},"headers":[]}"#;
    assert_eq!(answer(&Room::ask(Family::Rpc, dead)), NO_ID);
}

#[test]
fn the_id_of_a_push_is_a_text_to_clients_of_0_3() {
    let batch = batch_json(&[Sample::new(EVENTS + 1)]);
    let longest = "7".repeat(REQUEST_ID_BYTES_MAX);
    for id in ["1", "-3", "3.5", "\"1\"", "\"\"", &longest] {
        let push = speaker(Generation::V04).push(id, None, &batch);
        let outcome = Room::new(Family::Rpc).attack_text(&push);
        assert_eq!(outcome.overheard.len(), 2);
        let to_plain = outcome
            .overheard
            .iter()
            .find(|frame| frame.contains("WSMessage"));
        let heard = hear(Family::Plain, to_plain.unwrap());
        let expected = format!("\"{}\"", id.trim_matches('"'));
        assert_eq!(heard.id(), Some(expected.as_str()));
    }
}

#[test]
fn acknowledging_and_interrupting_what_is_not_there_is_harmless() {
    for id in [
        "\"999\"", "\"zz\"", "999", "null", "{}", "[]", "true", "\"\"", "-1",
    ] {
        let mut room = Room::new(Family::Rpc);
        room.check();
        let outcome = room.attack_text(&ack(id));
        assert!(outcome.answers.is_empty(), "{id}: {outcome:?}");
        let outcome = room.attack_text(&interrupt(id));
        assert!(
            outcome.answers.len() <= 1 && !outcome.is_closed,
            "{id}: {outcome:?}"
        );
    }
    check_table(
        Family::Rpc,
        &[
            ("{\"_tag\":\"Ack\"}", Answer::Nothing),
            ("{\"_tag\":\"Interrupt\"}", Answer::Nothing),
            (
                "{\"_tag\":\"Interrupt\",\"requestId\":\"999\"}",
                Answer::Interrupted,
            ),
            ("{\"_tag\":\"Eof\"}", Answer::Nothing),
            ("{\"_tag\":\"Eof\",\"payload\":7}", Answer::Nothing),
        ],
    );
}

#[test]
fn a_ping_is_answered_however_it_is_spelt() {
    check_table(
        Family::Rpc,
        &[
            (r#"{"_tag":"Ping"}"#, Answer::Pong),
            (r#" { "_tag" : "Ping" } "#, Answer::Pong),
            (r#"{"a":[],"_tag":"Ping"}"#, Answer::Pong),
            (r#"{"\u005ftag":"\u0050ing"}"#, Answer::Pong),
        ],
    );
    check_table(
        Family::Plain,
        &[
            (
                r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#,
                Answer::Pong,
            ),
            (
                r#"{"requestId":"ping","_tag":"WSMessage.Ping"}"#,
                Answer::Pong,
            ),
            (
                r#"{"_tag":"WSMessage.Ping","requestId":"x"}"#,
                Answer::Nothing,
            ),
        ],
    );
    let mut room = Room::new(Family::Rpc);
    let outcome = room.attack(Frame::Binary(br#"{"_tag":"Ping"}"#));
    assert_eq!(outcome.answers, [r#"{"_tag":"Pong"}"#]);
}

#[test]
fn binary_frames_hold_utf_8_or_nothing() {
    let frames: [&[u8]; 5] = [
        b"\x92\x01\x02",
        b"\xff\xfe",
        b"",
        b"\xed\xa0\x80",
        b"{\"_tag\":\"\xc3\x28\"}",
    ];
    for bytes in frames {
        let mut room = Room::new(Family::Rpc);
        let outcome = room.attack(Frame::Binary(bytes));
        let heard: Vec<Heard> = outcome
            .answers
            .iter()
            .map(|answer| hear(Family::Rpc, answer))
            .collect();
        assert_eq!(answer(&heard), Answer::SyntaxDefect, "{bytes:?}");
        let outcome = Room::new(Family::Plain).attack(Frame::Binary(bytes));
        assert!(outcome.answers.is_empty() && !outcome.is_closed);
    }
    let outcome = Room::new(Family::Rpc).attack(Frame::Binary(pull("1").as_bytes()));
    assert_eq!(outcome.answers.len(), 2);
}

#[test]
fn what_0_3_does_not_understand_is_ignored() {
    let event = Sample::new(EVENTS + 1).json();
    let push =
        |batch: &str| format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"r","batch":{batch}}}"#);
    let pull = |cursor: &str| format!(r#"{{"_tag":"WSMessage.PullReq","requestId":"r"{cursor}}}"#);
    check_table(
        Family::Plain,
        &[
            ("{oops", Answer::Nothing),
            ("", Answer::Nothing),
            ("null", Answer::Nothing),
            ("[]", Answer::Nothing),
            ("{}", Answer::Nothing),
            (&pull(""), Answer::Page),
            (&pull(",\"cursor\":1.5"), Answer::Page),
            (&pull(",\"cursor\":-9"), Answer::Page),
            (&pull(",\"cursor\":null"), Answer::Nothing),
            (&pull(",\"cursor\":\"1\""), Answer::Nothing),
            (&pull("").replace("\"r\"", "1"), Answer::Nothing),
            (&pull("").replace("\"r\"", "null"), Answer::Nothing),
            (
                &pull("").replace(",\"requestId\":\"r\"", ""),
                Answer::Nothing,
            ),
            (
                &pull("").replace("\"r\"", &format!("\"{}\"", "r".repeat(10_000))),
                Answer::Nothing,
            ),
            (&push("[]"), Answer::Pushed),
            (&push("null"), Answer::Nothing),
            (&push("{}"), Answer::Nothing),
            (&push("[{\"name\":\"x\"}]"), Answer::Nothing),
            (&push(&format!("[{event},null]")), Answer::Nothing),
            (&push("[]").replace(",\"batch\":[]", ""), Answer::Nothing),
            (
                "{\"_tag\":\"WSMessage.Nope\",\"requestId\":\"z\"}",
                Answer::Nothing,
            ),
            (
                "{\"_tag\":\"WSMessage.PushAck\",\"requestId\":\"z\"}",
                Answer::Nothing,
            ),
            (
                "{\"_tag\":\"WSMessage.AdminInfoReq\",\"requestId\":\"z\",\"adminSecret\":\"nope\"}",
                Answer::Refused,
            ),
            (
                "{\"_tag\":\"WSMessage.AdminResetRoomReq\",\"requestId\":\"z\",\"adminSecret\":\"\"}",
                Answer::Refused,
            ),
            (r#"{"_tag":"Ping"}"#, Answer::Nothing),
            (&super::pull("1"), Answer::Nothing),
        ],
    );
}

#[test]
fn numbers_that_are_none_are_refused_and_store_nothing() {
    let numbers = [
        "-1",
        "0",
        "-0",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551616",
        "-9223372036854775809",
        "1e300",
        "-1e300",
    ];
    for generation in [Generation::V03, Generation::V04, Generation::V05] {
        let family = generation.family();
        for number in numbers {
            for field in ["seqNum", "parentSeqNum"] {
                let event = Sample::new(EVENTS + 1).json();
                let value = if field == "seqNum" { "4" } else { "3" };
                let event = event.replace(
                    &format!("\"{field}\":{value}"),
                    &format!("\"{field}\":{number}"),
                );
                let speaker = speaker(generation);
                let frame = speaker.push(&speaker.id(1), None, &format!("[{event}]"));
                let heard = Room::ask(family, &frame);
                assert_eq!(answer(&heard), Answer::Refused, "{frame}: {heard:?}");
            }
        }
        // A cursor may be any number: below the first event is from it on, beyond the last is nothing.
        for (number, count) in [
            ("-5", 3),
            ("0", 3),
            ("1.0", 2),
            ("2e0", 1),
            ("1e300", 0),
            ("-1e300", 3),
            ("9223372036854775808", 0),
        ] {
            let speaker = speaker(generation);
            let frame = speaker.pull(&speaker.id(1), false, Some((BACKEND, 77)));
            let frame = frame.replace("77", number);
            let outcome = Room::new(family).attack_text(&frame);
            // One of 0.3 that has events beyond the head has them of another lifetime, which it cannot name.
            let is_beyond = count == 0 && generation == Generation::V03;
            assert_eq!(
                pages(&outcome.answers[0]).map(|numbers| numbers.len()),
                Some(count).filter(|_| !is_beyond),
                "{frame}"
            );
        }
    }
}

#[test]
fn limits_are_refused_and_named() {
    let speaker = speaker(Generation::V04);
    let limits = Limits::default();
    let many: Vec<Sample> = (4..=4 + i64::try_from(limits.batch_events_max).unwrap())
        .map(Sample::new)
        .collect();
    let large = [Sample::padded(4, limits.event_bytes_max)];
    let long_name = [Sample {
        name: "n".repeat(4_096),
        ..Sample::new(4)
    }];
    for (events, limit) in [
        (&many[..], "MAX_BATCH_EVENTS"),
        (&large, "MAX_EVENT_BYTES"),
        (&long_name, "4095"),
    ] {
        let heard = Room::ask(
            Family::Rpc,
            &speaker.push("\"1\"", None, &batch_json(events)),
        );
        let [Heard::Failed { error, .. }] = &heard[..] else {
            panic!("{heard:?}")
        };
        assert!(error.to_string().contains(limit), "{error}");
    }
    assert_eq!(
        answer(&Room::ask(
            Family::Rpc,
            &speaker.push("\"1\"", None, &batch_json(&many[..500]))
        )),
        Answer::Pushed
    );
}

#[test]
fn a_connection_holds_only_as_many_pulls_as_survive_an_eviction() {
    let mut room = Room::new(Family::Rpc);
    let mut held = 0;
    for counter in 0..3_000 {
        let id = format!("\"{counter:0>100}\"");
        let outcome = room.turn(
            room.hostile,
            Frame::Text(&speaker(Generation::V04).pull(&id, true, None)),
        );
        match hear(Family::Rpc, outcome.answers.last().unwrap()) {
            Heard::Page { .. } => held += 1,
            Heard::Failed { error, .. } => {
                assert_eq!(error["_tag"], "UnknownError");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((50..3_000).contains(&held), "{held} pulls");
    // One that ends makes room for another.
    let first = format!("\"{:0>100}\"", 0);
    room.turn(room.hostile, Frame::Text(&interrupt(&first)));
    held -= 1;
    room.check();
    let kept = room.backend.attachment(room.hostile).unwrap();
    assert!(kept.len() <= ATTACHMENT_BYTES_MAX);
    // All of them still get what is pushed.
    let push = speaker(Generation::V04).push("\"9000\"", None, &batch_json(&[Sample::new(4)]));
    let outcome = room.turn(room.hostile, Frame::Text(&push));
    assert_eq!(outcome.answers.len(), held + 1);
}

#[test]
fn pulls_that_fall_behind_still_fit_beside_their_socket() {
    let mut room = Room::new(Family::Rpc);
    for counter in 0..400 {
        let id = format!("\"{counter:0>60}\"");
        let pull = speaker(Generation::V04).pull(&id, true, None);
        room.turn(room.hostile, Frame::Text(&pull));
    }
    // Nobody acknowledges, so that all of them have to be remembered one by one.
    for seq_num in 4..25 {
        let id = (5_000 + seq_num).to_string();
        let batch = batch_json(&[Sample::new(seq_num)]);
        let push = speaker(Generation::V05).push(&id, None, &batch);
        room.turn(room.listeners[0], Frame::Text(&push));
    }
    // Where they do not fit, the socket must be closed, not forgotten by half.
    if let Some(kept) = room.backend.attachment(room.hostile) {
        assert!(kept.len() <= ATTACHMENT_BYTES_MAX, "{} bytes", kept.len());
    }
}
