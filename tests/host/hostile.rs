//! Frames that no client sends: whatever comes in, nothing panics, the connection it came on still
//! answers a valid request, the log is as it was, and nobody else hears of it.

use livestore_sync_worker::backend::{ConnectionId, Frame, Output, SyncBackend};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{ATTACHMENT_BYTES_MAX, Limits, REQUEST_ID_BYTES_MAX};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cases;
use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear, interrupt};
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "quiet-store";
const BACKEND: &str = "backend-of-the-room--";
const EVENTS: i64 = 3;
const NOW_MS: u64 = 1_795_342_751_954;

/// A store of three events with a connection for hostile frames and two that listen.
struct Room {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    family: Family,
    hostile: ConnectionId,
    listeners: [ConnectionId; 2],
    /// What is kept with the sockets, the hostile one first.
    kept: [String; 3],
    next_id: u64,
}

/// What a frame led to.
#[derive(Debug, Default)]
struct Outcome {
    /// To its sender.
    answers: Vec<String>,
    /// To the listeners.
    overheard: Vec<String>,
    is_closed: bool,
}

impl Room {
    fn new(family: Family) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let fresh = BackendId::stored(BACKEND.to_owned());
        let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
        let mut backend = SyncBackend::new(store, Limits::default());
        let listeners = [Family::Rpc, Family::Plain].map(|family| backend.connect(family, NOW_MS));
        let hostile = backend.connect(family, NOW_MS);
        let sockets = [hostile, listeners[0], listeners[1]];
        let kept = sockets.map(|socket| backend.attachment(socket).unwrap());
        let mut room = Self {
            sql,
            backend,
            family,
            hostile,
            listeners,
            kept,
            next_id: 900,
        };
        let events: Vec<Sample> = (1..=EVENTS).map(Sample::new).collect();
        let [rpc, plain] = room.listeners;
        let push = speaker(Generation::V04).push("\"1\"", None, &batch_json(&events));
        room.turn(rpc, Frame::Text(&push));
        for (listener, generation) in [(rpc, Generation::V04), (plain, Generation::V03)] {
            let pull = speaker(generation).pull("\"2\"", true, None);
            let outcome = room.turn(listener, Frame::Text(&pull));
            assert_eq!(outcome.overheard.len(), 1);
        }
        room
    }

    fn turn(&mut self, from: ConnectionId, frame: Frame<'_>) -> Outcome {
        let mut out: Vec<Output<HostText>> = Vec::new();
        self.backend.on_frame(from, frame, NOW_MS, &mut out);
        let mut outcome = Outcome::default();
        for output in out {
            match output {
                Output::Send { to, frame } if self.listeners.contains(&to) => {
                    outcome.overheard.push(frame.as_str().to_owned());
                }
                Output::Send { to, frame } => {
                    assert_eq!(to, self.hostile);
                    outcome.answers.push(frame.as_str().to_owned());
                }
                Output::Close { connection, .. } => {
                    assert_eq!(connection, self.hostile);
                    outcome.is_closed = true;
                }
                Output::Remember { connection } => {
                    if let Some(kept) = self.backend.attachment(connection) {
                        assert!(kept.len() <= ATTACHMENT_BYTES_MAX);
                        let [rpc, plain] = self.listeners;
                        let sockets = [self.hostile, rpc, plain];
                        let index = sockets.iter().position(|socket| *socket == connection);
                        self.kept[index.unwrap()] = kept;
                    }
                }
                Output::Resume | Output::Report(_) => {}
            }
        }
        outcome
    }

    /// Sends a frame that may be anything, and checks what must hold after any.
    fn attack(&mut self, frame: Frame<'_>) -> Outcome {
        let before = self.rows();
        let outcome = self.turn(self.hostile, frame);
        let is_acknowledged = outcome
            .answers
            .iter()
            .any(|answer| is_push_ack(self.family, answer));
        let after = self.rows();
        // What reads as a push is one: it is stored, acknowledged and published, or none of that.
        if after == before {
            assert!(outcome.overheard.is_empty(), "{:?}", outcome.overheard);
        } else {
            assert!(is_acknowledged, "{:?}", outcome.answers);
            assert!(outcome.overheard.len() >= 2);
        }
        for answer in &outcome.answers {
            if pages(answer).is_none() {
                hear(self.family, &as_javascript_reads(answer));
            }
        }
        if outcome.is_closed {
            self.hostile = self.backend.connect(self.family, NOW_MS);
            self.kept[0] = self.backend.attachment(self.hostile).unwrap();
        }
        self.check();
        outcome
    }

    fn attack_text(&mut self, text: &str) -> Outcome {
        self.attack(Frame::Text(text))
    }

    /// The object leaves memory and comes back for its sockets.
    fn evict(&mut self) {
        let fresh = BackendId::stored("another-backend-id---".to_owned());
        let (store, _) = EventStore::open(self.sql.clone(), StoreId::new(STORE), fresh).unwrap();
        self.backend = SyncBackend::new(store, Limits::default());
        let sockets = self
            .kept
            .each_ref()
            .map(|kept| self.backend.reconnect(kept).unwrap());
        [self.hostile, self.listeners[0], self.listeners[1]] = sockets;
    }

    /// The connection answers, and the log can be read.
    fn check(&mut self) {
        self.next_id += 1;
        if self.next_id % 3 == 0 {
            self.evict();
        }
        let generation = match (self.family, self.next_id % 2) {
            (Family::Plain, _) => Generation::V03,
            (Family::Rpc, 0) => Generation::V04,
            (Family::Rpc, _) => Generation::V05,
        };
        let speaker = speaker(generation);
        let id = speaker.id(self.next_id);
        let outcome = self.turn(self.hostile, Frame::Text(&speaker.pull(&id, false, None)));
        let numbers: Vec<i64> = outcome
            .answers
            .iter()
            .filter_map(|answer| pages(answer))
            .flatten()
            .collect();
        let rows = i64::try_from(self.rows()).unwrap();
        assert_eq!(numbers, (1..=rows).collect::<Vec<i64>>());
        if self.family == Family::Rpc {
            let end = outcome
                .answers
                .last()
                .map(|answer| hear(Family::Rpc, answer));
            assert_eq!(end, Some(Heard::PullDone { id }));
        }
        let ping = self.turn(self.hostile, Frame::Text(speaker.ping()));
        assert_eq!(ping.answers.len(), 1);
        assert_eq!(hear(self.family, &ping.answers[0]), Heard::Pong);
    }

    fn rows(&self) -> usize {
        let count = |row: &rusqlite::Row<'_>| row.get(0);
        self.sql
            .raw()
            .query_row("SELECT count(*) FROM eventlog_7_quiet_store", [], count)
            .unwrap()
    }

    /// Sends a frame to a fresh room, and returns what its sender hears.
    fn ask(family: Family, frame: &str) -> Vec<Heard> {
        let outcome = Self::new(family).attack_text(frame);
        assert!(!outcome.is_closed, "closed on {frame}");
        outcome
            .answers
            .iter()
            .map(|answer| hear(family, answer))
            .collect()
    }
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

fn is_push_ack(family: Family, answer: &str) -> bool {
    pages(answer).is_none()
        && matches!(
            hear(family, &as_javascript_reads(answer)),
            Heard::PushDone { .. }
        )
}

/// An id is echoed as it came, and JavaScript reads what serde does not: half a pair of surrogates,
/// and numbers without bound.
fn as_javascript_reads(frame: &str) -> String {
    frame.replace("\\ud", "\\ue").replace("1e400", "1e300")
}

/// The sequence numbers of a page, however odd its args are; `None` for another frame.
fn pages(frame: &str) -> Option<Vec<i64>> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        batch: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        #[serde(borrow)]
        event_encoded: Event<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event<'a> {
        seq_num: i64,
        #[serde(borrow, rename = "args")]
        _args: &'a RawValue,
    }
    let whole = || -> Option<Vec<&RawValue>> {
        #[derive(Deserialize)]
        struct Values<'a> {
            #[serde(borrow)]
            values: [Batch<'a>; 1],
        }
        let rpc = serde_json::from_str::<Values<'_>>(frame);
        rpc.map(|Values { values: [page] }| page.batch)
            .or_else(|_| serde_json::from_str::<Batch<'_>>(frame).map(|page| page.batch))
            .ok()
    };
    let number = |item: &RawValue| {
        serde_json::from_str::<Item<'_>>(item.get())
            .unwrap()
            .event_encoded
            .seq_num
    };
    whole().map(|items| items.into_iter().map(number).collect())
}

/// The kinds of answers of the tables below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    Pong,
    /// A page of the log and the end of the pull.
    Pulled,
    /// A page of a live pull.
    Page,
    Pushed,
    /// Refused with an error that the client understands.
    Refused,
    /// The request failed by the client's mistake.
    Died,
    Interrupted,
    SyntaxDefect,
    Defect(&'static str),
}

fn answer(heard: &[Heard]) -> Answer {
    match heard {
        [] => Answer::Nothing,
        [Heard::Pong] => Answer::Pong,
        [Heard::Page { .. }, Heard::PullDone { .. }] => Answer::Pulled,
        [Heard::Page { .. }] => Answer::Page,
        [.., Heard::PushDone { .. }] => Answer::Pushed,
        [Heard::Failed { .. }] => Answer::Refused,
        [Heard::Died { .. }] => Answer::Died,
        [Heard::Interrupted { .. }] => Answer::Interrupted,
        [Heard::Defect { defect }] if defect["name"] == "SyntaxError" => {
            assert!(defect["message"].is_string());
            Answer::SyntaxDefect
        }
        [Heard::Defect { defect }] => Answer::Defect(Box::leak(
            defect.as_str().unwrap().to_owned().into_boxed_str(),
        )),
        other => panic!("{other:?}"),
    }
}

fn check_table(family: Family, table: &[(&str, Answer)]) {
    for (frame, expected) in table {
        let heard = Room::ask(family, frame);
        let short: String = frame.chars().take(300).collect();
        assert_eq!(answer(&heard), *expected, "{short}: {heard:?}");
    }
}

const UNDEFINED: Answer = Answer::Defect("Unknown request tag: undefined");
const NO_ID: Answer = Answer::Defect("Request.id must be a string or a number");

/// A valid request of an RPC generation with the id as JSON.
fn pull(id: &str) -> String {
    speaker(Generation::V04).pull(id, false, None)
}

mod answers {
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
            let pull = format!(
                r#"{{"_tag":"Request","id":1,"tag":"SyncWsRpc.Pull","payload":{payload}}}"#
            );
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
                    "1e400",
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
    fn fields_that_are_not_ours_may_be_anything() {
        for anything in ["null", "7", "\"x\"", "[[]]", "{\"a\":{}}"] {
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
        let push = |batch: &str| {
            format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"r","batch":{batch}}}"#)
        };
        let pull =
            |cursor: &str| format!(r#"{{"_tag":"WSMessage.PullReq","requestId":"r"{cursor}}}"#);
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
                assert_eq!(
                    pages(&outcome.answers[0]).map(|numbers| numbers.len()),
                    Some(count),
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
            let id = format!("\"{counter}\"");
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
        assert!((100..3_000).contains(&held), "{held} pulls");
        room.check();
        let kept = room.backend.attachment(room.hostile).unwrap();
        assert!(kept.len() <= ATTACHMENT_BYTES_MAX);
        // All of them still get what is pushed.
        let push = speaker(Generation::V04).push("\"9000\"", None, &batch_json(&[Sample::new(4)]));
        let outcome = room.turn(room.hostile, Frame::Text(&push));
        assert_eq!(outcome.answers.len(), held + 1);
    }
}

mod oddities {
    use super::*;

    /// Frames by hand that a careless reader trips over.
    fn frames() -> Vec<String> {
        let deep =
            |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
        let (arrays, objects) = (
            deep("[", "]"),
            deep("{\"a\":", "") + "1" + &"}".repeat(100_000),
        );
        let event = Sample::new(EVENTS + 1).json();
        let push = speaker(Generation::V04).push("\"1\"", None, &format!("[{event}]"));
        let pull = pull("\"1\"");
        let stale = push
            .replace("\"seqNum\":4", "\"seqNum\":2")
            .replace("\"parentSeqNum\":3", "\"parentSeqNum\":1");
        let mut frames = vec![
            "[".repeat(1_000_000),
            "{\"a\":".repeat(200_000),
            arrays.clone(),
            objects.clone(),
            format!("[{arrays}]"),
            " ".repeat(1_000_000),
            format!("\"{}\"", "x".repeat(3_000_000)),
            "9".repeat(1_000_000),
            format!("{}1", "-".repeat(100_000)),
            format!("[{}1]", "1,".repeat(20_000)),
            format!("[{}{{}}]", "{\"_tag\":\"Ping\"},".repeat(5_000)),
            format!("{{\"_tag\":\"{}\"}}", "x".repeat(1_000_000)),
            format!(
                "{{\"_tag\":\"Request\",\"id\":\"1\",\"tag\":\"{}\"}}",
                "\\u0000".repeat(100_000)
            ),
            format!("{{{}\"_tag\":\"Ping\"}}", "\"_tag\":\"Ping\",".repeat(1000)),
            format!("{{{}\"_tag\":\"Ping\"}}", "\"k\":0,".repeat(100_000)),
            "{\"_tag\":\"Request\",\"_tag\":\"Ping\"}".to_owned(),
            "{\"__proto__\":{\"_tag\":\"Ping\"}}".to_owned(),
            "{\"_tag\":\"\\ud800\"}".to_owned(),
            "{\"_tag\":\"Ping\\ud83d\"}".to_owned(),
            "{\"\\ud800\":1,\"_tag\":\"Ping\"}".to_owned(),
            push.replace("\"id\":\"1\"", "\"id\":\"1\",\"id\":\"2\""),
            push.replace("\"headers\":[]", "\"payload\":{}"),
            push.replace("\"seqNum\":4", "\"seqNum\":4,\"seqNum\":5"),
        ];
        for (target, odd) in [
            ("\"1\"", &arrays),
            ("\"1\"", &objects),
            ("\"todoCreated\"", &arrays),
            ("4", &arrays),
            ("\"quiet-store\"", &objects),
            ("{\"_tag\":\"None\"}", &arrays),
            (
                "{\"_tag\":\"None\"}",
                &format!("{{\"_tag\":\"Some\",\"value\":{arrays}}}"),
            ),
            ("{\"_tag\":\"None\"}", &format!("{{\"_tag\":{objects}}}")),
            ("[]", &arrays),
        ] {
            for frame in [&pull, &push, &stale] {
                frames.push(frame.replacen(target, odd, 1));
            }
        }
        for frame in [&pull, &push, &stale] {
            for odd in [
                "\"\\ud800\"",
                "\"\\udc00\\ud800\"",
                "\"\u{0}\"",
                "\"\\u0000\"",
                "1e400",
                "-0",
                "1e-400",
                "NaN",
                "-",
                "\"",
                "\\",
                "\u{2028}",
            ] {
                for target in [
                    "\"1\"",
                    "\"quiet-store\"",
                    "\"todoCreated\"",
                    "4",
                    "false",
                    "\"None\"",
                    "\"headers\"",
                    "\"client-A\"",
                ] {
                    frames.push(frame.replacen(target, odd, 1));
                }
            }
        }
        frames
    }

    #[test]
    fn no_frame_by_hand_does_harm() {
        let frames = frames();
        println!("{} frames", frames.len());
        for family in Family::ALL {
            let mut room = Room::new(family);
            for frame in &frames {
                room.attack_text(frame);
                room.attack(Frame::Binary(&frame.as_bytes()[..frame.len() / 2]));
            }
        }
    }

    #[test]
    fn args_of_any_depth_are_carried_as_they_are() {
        for args in [
            "[".repeat(100_000) + &"]".repeat(100_000),
            "\"\\ud800\"".to_owned(),
            "1e400".to_owned(),
        ] {
            let event = Sample {
                args: Some(args.clone()),
                ..Sample::new(EVENTS + 1)
            };
            for generation in [Generation::V03, Generation::V04, Generation::V05] {
                let speaker = speaker(generation);
                let mut room = Room::new(generation.family());
                let frame = speaker.push(
                    &speaker.id(1),
                    None,
                    &batch_json(std::slice::from_ref(&event)),
                );
                let outcome = room.attack_text(&frame);
                // Accepted and delivered as sent, or refused: but never half of it.
                if room.rows() == 4 {
                    assert!(outcome.overheard.iter().all(|frame| frame.contains(&args)));
                } else {
                    assert_eq!(outcome.answers.len(), 1);
                }
            }
        }
    }
}

mod random {
    use super::*;

    /// Texts as they stand in JSON, the words of the protocol among them.
    fn string() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => proptest::sample::select(vec![
                "_tag", "Request", "Ack", "Interrupt", "Ping", "Eof", "id", "requestId", "tag", "payload", "storeId",
                "live", "cursor", "batch", "backendId", "Some", "None", "value", "eventSequenceNumber",
                "SyncWsRpc.Pull", "SyncWsRpc.Push", "WSMessage.PullReq", "WSMessage.PushReq", "name", "args", "seqNum",
                "parentSeqNum", "clientId", "sessionId", STORE, BACKEND, "ping", "WSMessage.Ping", "1", "\\ud800", "\\u0000",
            ]).prop_map(|word| format!("\"{word}\"")),
            1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ]
    }

    fn scalar() -> impl Strategy<Value = String> {
        let literals = vec![
            "null",
            "true",
            "false",
            "0",
            "1",
            "3",
            "4",
            "-1",
            "-0",
            "1.5",
            "1e400",
            "9007199254740993",
            "1e3",
        ];
        prop_oneof![
            2 => proptest::sample::select(literals).prop_map(str::to_owned),
            1 => any::<i64>().prop_map(|number| number.to_string()),
            1 => any::<f64>().prop_map(|number| format!("{number:e}")),
            4 => string(),
        ]
    }

    /// JSON text of any shape.
    fn json() -> impl Strategy<Value = String> {
        scalar().prop_recursive(5, 40, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec((string(), inner), 0..8).prop_map(|fields| {
                    let fields: Vec<String> = fields
                        .iter()
                        .map(|(name, value)| format!("{name}:{value}"))
                        .collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    /// Valid frames of every kind and generation.
    fn valid() -> Vec<String> {
        let events = [
            Sample::new(EVENTS + 1),
            Sample {
                args: None,
                ..Sample::new(EVENTS + 2)
            },
        ];
        let stale = [Sample::new(2)];
        let mut frames = vec![
            ack("\"1\""),
            interrupt("7"),
            ack("12"),
            r#"{"_tag":"Ping"}"#.to_owned(),
        ];
        for generation in [Generation::V03, Generation::V04, Generation::V05] {
            let speaker = speaker(generation);
            let id = speaker.id(12);
            frames.push(speaker.pull(&id, true, None));
            frames.push(speaker.pull(&id, false, Some((BACKEND, 2))));
            frames.push(speaker.push(&id, Some(BACKEND), &batch_json(&events)));
            frames.push(speaker.push(&id, None, &batch_json(&stale)));
            frames.push(speaker.ping().to_owned());
        }
        frames.push(format!("[{}]", frames.join(",")));
        frames
    }

    /// A change to some bytes of a frame.
    #[derive(Clone, Debug)]
    enum Edit {
        Flip { at: usize, bits: u8 },
        Remove { at: usize, count: usize },
        Insert { at: usize, bytes: Vec<u8> },
        Repeat { at: usize, count: usize },
        Cut { at: usize },
    }

    impl Edit {
        fn apply(&self, bytes: &mut Vec<u8>) {
            if bytes.is_empty() {
                return;
            }
            let len = bytes.len();
            match self {
                Self::Flip { at, bits } => bytes[at % len] ^= bits,
                Self::Remove { at, count } => {
                    let at = at % len;
                    bytes.drain(at..(at + count).min(len));
                }
                Self::Insert { at, bytes: new } => {
                    let at = at % len;
                    bytes.splice(at..at, new.iter().copied());
                }
                Self::Repeat { at, count } => {
                    let at = at % len;
                    let slice = bytes[at..(at + count).min(len)].to_vec();
                    bytes.splice(at..at, slice);
                }
                Self::Cut { at } => bytes.truncate(at % len),
            }
        }
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let at = any::<usize>;
        let piece = proptest::sample::select(vec![
            "\"", "{", "}", "[", "]", ",", ":", "\\", "null", "1", "-", ".5", "e9", "\\u0000",
            "\\ud800", " ",
        ]);
        prop_oneof![
            3 => (at(), 1_u8..=255).prop_map(|(at, bits)| Edit::Flip { at, bits }),
            2 => (at(), 1_usize..20).prop_map(|(at, count)| Edit::Remove { at, count }),
            3 => (at(), piece).prop_map(|(at, piece)| Edit::Insert { at, bytes: piece.as_bytes().to_vec() }),
            1 => (at(), proptest::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
            2 => (at(), 1_usize..80).prop_map(|(at, count)| Edit::Repeat { at, count }),
            1 => at().prop_map(|at| Edit::Cut { at }),
        ]
    }

    fn family() -> impl Strategy<Value = Family> {
        prop_oneof![3 => Just(Family::Rpc), 1 => Just(Family::Plain)]
    }

    fn send(room: &mut Room, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => room.attack(Frame::Text(text)),
            Err(_) => room.attack(Frame::Binary(bytes)),
        };
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn bytes_do_no_harm(
            family in family(),
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
        ) {
            let mut room = Room::new(family);
            for frame in frames {
                send(&mut room, &frame);
            }
        }

        #[test]
        fn json_of_any_shape_does_no_harm(
            family in family(),
            frames in proptest::collection::vec(json(), 1..8),
        ) {
            let mut room = Room::new(family);
            for frame in frames {
                room.attack_text(&frame);
                room.attack_text(&format!(r#"{{"_tag":"Request","id":"7","tag":"SyncWsRpc.Push","payload":{frame}}}"#));
            }
        }

        #[test]
        fn a_frame_with_one_field_replaced_does_no_harm(
            which in any::<prop::sample::Index>(),
            field in any::<prop::sample::Index>(),
            value in json(),
        ) {
            let frames = valid();
            let frame = which.get(&frames);
            // The value after a colon, as far as the next comma or closing bracket.
            let colons: Vec<usize> = frame.match_indices("\":").map(|(at, _)| at + 2).collect();
            let start = *field.get(&colons);
            let rest = &frame[start..];
            let length = rest.find([',', '}', ']']).unwrap_or(rest.len());
            let frame = format!("{}{value}{}", &frame[..start], &rest[length..]);
            for family in Family::ALL {
                Room::new(family).attack_text(&frame);
            }
        }

        #[test]
        fn a_frame_with_bytes_changed_does_no_harm(
            family in family(),
            frames in proptest::collection::vec(
                (any::<prop::sample::Index>(), proptest::collection::vec(edit(), 1..4)),
                1..8,
            ),
        ) {
            let valid = valid();
            let mut room = Room::new(family);
            for (which, edits) in frames {
                let mut bytes = which.get(&valid).clone().into_bytes();
                for edit in &edits {
                    edit.apply(&mut bytes);
                }
                send(&mut room, &bytes);
            }
        }
    }
}
