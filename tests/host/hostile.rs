//! Frames that no client sends: whatever comes in, nothing panics, the connection it came on still
//! answers a valid request, the log is as it was, and nobody else hears of it. The same for tokens and
//! keys: they are refused, or what they say holds.

mod answers;
mod oddities;
mod random;
mod tokens;

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, Rules, SyncBackend, Turn};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{
    ATTACHMENT_BYTES_MAX, FRAME_MESSAGES_MAX, Limits, REQUEST_ID_BYTES_MAX,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear, interrupt};
use crate::host_sql::{Binding, HostSql, HostText};
use crate::{cases, fresh_ids};

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

fn backend(store: EventStore<HostSql>) -> SyncBackend<HostSql> {
    SyncBackend::new(store, Limits::default(), Rules::default(), fresh_ids(&[]))
}

impl Room {
    fn new(family: Family) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let fresh = BackendId::stored(BACKEND.to_owned());
        let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
        let mut backend = backend(store);
        let listeners = [Family::Rpc, Family::Plain]
            .map(|family| backend.connect(family, Grant::default(), NOW_MS));
        let hostile = backend.connect(family, Grant::default(), NOW_MS);
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
        let mut turn: Turn<HostText> = Turn::at(NOW_MS);
        self.backend.on_frame(from, frame, &mut turn);
        let mut outcome = Outcome::default();
        for output in turn.out {
            match output {
                Output::Send { to, frame, .. } if self.listeners.contains(&to) => {
                    outcome.overheard.push(frame.as_str().to_owned());
                }
                Output::Send { to, frame, .. } => {
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
                Output::Report(_) => {}
                Output::Probe { .. }
                | Output::WakeAt { .. }
                | Output::ForgetAlarm
                | Output::Ask(_)
                | Output::Fetch(_)
                | Output::Deliver(_) => panic!("nothing is left for later: {output:?}"),
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
            self.hostile = self.backend.connect(self.family, Grant::default(), NOW_MS);
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
        self.backend = backend(store);
        let sockets = self
            .kept
            .each_ref()
            .map(|kept| self.backend.reconnect(kept, NOW_MS).unwrap());
        [self.hostile, self.listeners[0], self.listeners[1]] = sockets;
    }

    /// The connection answers, and the log can be read.
    fn check(&mut self) {
        self.next_id += 1;
        if self.next_id.is_multiple_of(3) {
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
