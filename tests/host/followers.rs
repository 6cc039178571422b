//! Durable Objects that pull live: each event once and in order by calls, over pushes, failures,
//! evictions and replacements.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{CallId, Called, Caller, Frame, Output, Report, SyncBackend};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{CALL_ATTEMPTS_MAX, CALL_RETRY_MS, CALL_SETTLE_MS, Limits};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::store::sql::Text as _;
use livestore_sync_worker::wire::Transport;
use serde_json::Value;

use crate::client::{Sample, batch_json};
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "room";

fn open(sql: &HostSql) -> SyncBackend<HostSql> {
    let fresh = BackendId::stored("backend-of-the-room--".to_owned());
    let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
    SyncBackend::new(store, Limits::default())
}

/// An object with its backend, and what has come out of it.
struct Room {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    now_ms: u64,
    calls: Vec<(CallId, Caller, HostText)>,
    wakes: Vec<u64>,
    dropped: Vec<String>,
}

impl Room {
    fn new() -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        Self {
            backend: open(&sql),
            sql,
            now_ms: 1_000_000,
            calls: Vec::new(),
            wakes: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Runs a turn; what was sent to connections.
    fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, u64, &mut Vec<Output<HostText>>),
    ) -> Vec<String> {
        let mut out = Vec::new();
        work(&mut self.backend, self.now_ms, &mut out);
        let mut sent = Vec::new();
        for output in out {
            match output {
                Output::Send { frame, .. } => sent.push(frame.read()),
                Output::Call {
                    call,
                    caller,
                    frame,
                } => self.calls.push((call, caller, frame)),
                Output::WakeAt { at_ms } => self.wakes.push(at_ms),
                Output::Report(Report::CallerDropped { object_id, .. }) => {
                    self.dropped.push(object_id);
                }
                Output::Report(_) => {}
                Output::Remember { .. }
                | Output::Close { .. }
                | Output::Resume
                | Output::Reset { .. } => panic!("{output:?}"),
            }
        }
        sent
    }

    /// One request of an object, answered and read to its end.
    fn ask(&mut self, request: &str) -> Vec<String> {
        let connection = self
            .backend
            .connect_once(Transport::DoRpc, Grant::default(), self.now_ms);
        let mut sent = self.turn(|backend, now_ms, out| {
            backend.on_frame(connection, Frame::Text(request), now_ms, out);
        });
        while !self.backend.is_answered(connection) {
            sent.extend(self.turn(|backend, _, out| backend.go_on(connection, out)));
        }
        self.backend.disconnect_once(connection, self.now_ms);
        sent
    }

    fn push(&mut self, from: i64, count: i64) {
        let events: Vec<Sample> = (from..from + count).map(Sample::new).collect();
        let request = format!(
            r#"[{{"_tag":"Request","id":"9","tag":"SyncDoRpc.Push","payload":{{"storeId":"{STORE}","batch":{},"backendId":{{"_tag":"None"}}}}}}]"#,
            batch_json(&events)
        );
        let answer = self.ask(&request);
        assert!(answer[0].contains("Success"), "{answer:?}");
    }

    /// A live pull of `object` from the first event on.
    fn pull_live(&mut self, object: &str, id: &str) -> Vec<String> {
        self.ask(&format!(
            r#"[{{"_tag":"Request","id":{id},"tag":"SyncDoRpc.Pull","payload":{{"storeId":"{STORE}","cursor":{{"_tag":"None"}},"rpcContext":{{"callerContext":{{"bindingName":"CLIENT","durableObjectId":"{object}"}}}}}}}}]"#
        ))
    }

    /// The clients of pulls so far have taken note of them.
    fn settle(&mut self) {
        self.now_ms += CALL_SETTLE_MS;
        self.turn(SyncBackend::on_alarm);
    }

    /// Takes the one call under way: whom it is for, and the numbers of its events.
    fn taken(&mut self) -> (String, Vec<i64>) {
        let (call, caller, frame) = self.only_call();
        self.turn(|backend, now_ms, out| backend.on_called(call, Called::Taken, now_ms, out));
        (caller.object_id, numbers(&frame))
    }

    fn failed(&mut self) {
        let (call, ..) = self.only_call();
        let failed = Called::Failed("no".to_owned());
        self.turn(|backend, now_ms, out| backend.on_called(call, failed, now_ms, out));
    }

    fn only_call(&mut self) -> (CallId, Caller, HostText) {
        assert_eq!(self.calls.len(), 1, "one call is under way");
        self.calls.remove(0)
    }

    fn evict(&mut self) {
        self.calls.clear();
        self.backend = open(&self.sql);
        self.turn(SyncBackend::on_wake);
    }
}

fn numbers(frame: &HostText) -> Vec<i64> {
    let frame: Value = serde_json::from_str(&frame.read()).unwrap();
    assert_eq!(frame["_tag"], "Chunk");
    assert_eq!(frame["values"][0]["pageInfo"]["_tag"], "NoMore");
    let items = frame["values"][0]["batch"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["eventEncoded"]["seqNum"].as_i64().unwrap())
        .collect()
}

#[test]
fn a_live_pull_ends_and_is_followed_by_calls_with_what_is_pushed() {
    let mut room = Room::new();
    room.push(1, 2);
    let answer = room.pull_live("a", "\"7\"");
    assert_eq!(answer.len(), 2);
    assert!(answer[0].contains(r#""rpcRequestId":"7""#), "{answer:?}");
    assert!(answer[1].contains("Success"));
    room.settle();
    assert!(room.calls.is_empty());
    room.push(3, 1);
    let (_, caller, frame) = &room.calls[0];
    assert_eq!(caller.binding, "CLIENT");
    assert!(frame.read().contains(r#""requestId":"7""#));
    assert_eq!(room.taken(), ("a".to_owned(), vec![3]));
    assert!(room.calls.is_empty());
}

#[test]
fn a_numeric_request_id_is_a_text_in_pages_and_calls() {
    let mut room = Room::new();
    assert!(
        room.pull_live("a", "7")[0].contains(r#""requestId":7,"values":[{"rpcRequestId":"7","#)
    );
    room.settle();
    room.push(1, 1);
    assert!(room.calls[0].2.read().contains(r#""requestId":"7""#));
}

#[test]
fn a_client_that_is_taking_note_of_its_pull_is_called_when_it_has() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    assert!(
        room.wakes.is_empty(),
        "nothing to tell, nothing to wake for"
    );
    room.push(1, 1);
    assert!(room.calls.is_empty());
    assert_eq!(room.wakes, [room.now_ms + CALL_SETTLE_MS]);
    room.settle();
    assert_eq!(room.taken().1, [1]);
}

#[test]
fn one_call_is_under_way_and_carries_a_page() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 250);
    room.push(251, 1);
    let mut told = Vec::new();
    for size in [100, 100, 51] {
        let (_, numbers) = room.taken();
        assert_eq!(numbers.len(), size);
        told.extend(numbers);
    }
    assert_eq!(told, (1..=251).collect::<Vec<i64>>());
    assert!(room.calls.is_empty());
}

#[test]
fn each_object_is_called_and_its_latest_pull_counts() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.pull_live("b", "\"1\"");
    room.pull_live("a", "\"2\"");
    room.settle();
    room.push(1, 1);
    let mut called: Vec<String> = room
        .calls
        .iter()
        .map(|(_, caller, _)| format!("{} {}", caller.object_id, caller.request.json()))
        .collect();
    called.sort();
    assert_eq!(called, [r#"a "2""#, r#"b "1""#]);
}

#[test]
fn a_failed_call_is_repeated_later_and_later_with_what_it_did_not_deliver() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    room.failed();
    assert_eq!(room.wakes.pop(), Some(room.now_ms + CALL_RETRY_MS));
    room.push(2, 1);
    assert!(room.calls.is_empty(), "it waits");
    room.now_ms += CALL_RETRY_MS;
    room.turn(SyncBackend::on_alarm);
    room.failed();
    assert_eq!(room.wakes.pop(), Some(room.now_ms + 2 * CALL_RETRY_MS));
    room.now_ms += 2 * CALL_RETRY_MS;
    room.turn(SyncBackend::on_alarm);
    assert_eq!(room.taken().1, [1, 2]);
    assert!(room.dropped.is_empty());
}

#[test]
fn an_object_that_fails_for_good_is_dropped_and_stays_so() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    for attempt in 1..=CALL_ATTEMPTS_MAX {
        assert!(room.dropped.is_empty(), "after {attempt} attempts");
        room.failed();
        room.now_ms += 1_000_000;
        room.turn(SyncBackend::on_alarm);
    }
    assert_eq!(room.dropped, ["a"]);
    room.evict();
    room.push(2, 1);
    assert!(room.calls.is_empty());
}

#[test]
fn an_object_that_does_not_exist_is_dropped_at_once() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.pull_live("b", "\"1\"");
    room.settle();
    room.push(1, 1);
    let (call, caller, _) = room.calls.remove(0);
    let gone = Called::Gone("no such binding".to_owned());
    room.turn(|backend, now_ms, out| backend.on_called(call, gone, now_ms, out));
    assert_eq!(room.dropped, std::slice::from_ref(&caller.object_id));
    assert_ne!(room.taken().0, caller.object_id);
}

#[test]
fn subscriptions_survive_an_eviction_and_what_was_not_delivered_follows() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    assert_eq!(room.taken().1, [1]);
    room.evict();
    assert!(room.calls.is_empty(), "it has everything");
    room.push(2, 1);
    // The object is gone before it learns how the call went.
    room.evict();
    assert_eq!(room.taken().1, [2]);
}

#[test]
fn how_a_call_went_that_was_replaced_meanwhile_does_not_count() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    let (call, ..) = room.only_call();
    room.pull_live("a", "\"2\"");
    let failed = Called::Failed("late".to_owned());
    room.turn(|backend, now_ms, out| backend.on_called(call, failed, now_ms, out));
    room.settle();
    room.push(2, 1);
    assert_eq!(room.taken().1, [2]);
}

#[test]
fn a_reset_ends_every_subscription() {
    let mut room = Room::new();
    room.push(1, 1);
    room.pull_live("a", "\"1\"");
    room.settle();
    let fresh = BackendId::stored("another-lifetime-----".to_owned());
    room.turn(|backend, _, out| backend.reset(fresh, out).unwrap());
    room.push(1, 1);
    assert!(room.calls.is_empty());
    room.evict();
    assert!(room.calls.is_empty());
    assert_eq!(
        room.backend.store().backend_id().as_str(),
        "another-lifetime-----"
    );
}
