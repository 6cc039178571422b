//! Those who are told what was committed, client objects of DO-RPC and the app's `on_committed`: every event
//! in order, over pushes, failures, hangs, evictions, replacements and resets; and whenever something is owed,
//! the alarm is stored.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ClientObject, CommittedPage, Delivery, DeliveryId, Frame, Message, Outcome, Output, Progress,
    Report, Rules, SyncBackend, Turn, read_events,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::limits::{
    BURST_DELIVERIES_MAX, CALL_ATTEMPTS_MAX, CALL_DEADLINE_MS, CALL_RETRY_MS, CALL_SETTLE_MS,
    HOOK_DEADLINE_MS, HOOK_RETRY_MS, HOOK_RETRY_MS_MAX, Limits,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::store::sql::Text as _;
use livestore_sync_worker::wire::Transport;
use serde_json::Value;

use crate::client::{Sample, batch_json};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText, When};

const STORE: &str = "room";
const OLD: &str = "backend-of-the-room--";
const NEW: &str = "another-lifetime-----";

/// An object with its backend, and what has come out of it.
struct Room {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    uses: Uses,
    now_ms: u64,
    /// What is under way.
    deliveries: Vec<Delivery<HostText>>,
    /// The alarm that is stored.
    alarm_at_ms: Option<u64>,
    dropped: Vec<String>,
}

impl Room {
    fn new() -> Self {
        Self::with(Uses::NONE)
    }

    /// A room whose app has `on_committed`.
    fn hooked() -> Self {
        Self::with(Uses::NONE.on_committed())
    }

    fn with(uses: Uses) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        Self {
            backend: open(&sql, uses),
            sql,
            uses,
            now_ms: 1_000_000,
            deliveries: Vec::new(),
            alarm_at_ms: None,
            dropped: Vec::new(),
        }
    }

    /// Runs a turn; what was sent to connections.
    fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>),
    ) -> Vec<String> {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        let mut sent = Vec::new();
        for output in turn.out {
            match output {
                Output::Send { frame, .. } => sent.push(frame.read()),
                Output::Deliver(delivery) => self.deliveries.push(delivery),
                Output::WakeAt { at_ms } => {
                    let known = self.alarm_at_ms.unwrap_or(at_ms);
                    self.alarm_at_ms = Some(known.min(at_ms));
                }
                Output::Report(Report::ClientObjectDropped { object_id, .. }) => {
                    self.dropped.push(object_id);
                }
                Output::ForgetAlarm => self.alarm_at_ms = None,
                Output::Report(_) => {}
                Output::Remember { .. }
                | Output::Close { .. }
                | Output::Probe { .. }
                | Output::Fetch(_)
                | Output::Ask(_) => panic!("{output:?}"),
            }
        }
        sent
    }

    /// One request of an object, answered and read to its end.
    fn ask(&mut self, request: &str) -> Vec<String> {
        let connection = self
            .backend
            .connect_once(Transport::DoRpc, Grant::default(), self.now_ms);
        let mut sent = self.turn(|backend, turn| {
            backend.on_frame(connection, Frame::Text(request), turn);
        });
        while self.backend.progress(connection) != Progress::Done {
            sent.extend(self.turn(|backend, turn| backend.go_on(connection, turn)));
        }
        self.turn(|backend, turn| backend.disconnect(connection, turn));
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
        self.ask(&live_pull(object, id))
    }

    fn unsubscribe(&mut self, object: &str, request: Option<&str>) {
        let request = request.map_or_else(String::new, |id| format!(r#","requestId":{id}"#));
        let answer = self.ask(&format!(
            r#"[{{"_tag":"Request","id":3,"tag":"SyncDoRpc.Unsubscribe","payload":{{"storeId":"{STORE}","durableObjectId":"{object}"{request}}}}}]"#
        ));
        assert_eq!(
            answer,
            [r#"{"_tag":"Exit","requestId":3,"exit":{"_tag":"Success","value":null}}"#]
        );
    }

    /// Time passes up to the alarm, which goes off.
    fn alarm(&mut self) {
        let at_ms = self.alarm_at_ms.take().expect("an alarm is stored");
        self.now_ms = self.now_ms.max(at_ms);
        self.turn(SyncBackend::on_alarm);
    }

    /// The clients of pulls so far have taken note of them.
    fn settle(&mut self) {
        self.now_ms += CALL_SETTLE_MS;
        self.turn(SyncBackend::on_alarm);
    }

    fn outcome(&mut self, id: DeliveryId, outcome: Outcome) {
        self.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
    }

    /// Takes the one call under way: whom it is for, and the numbers of its events.
    fn taken(&mut self) -> (String, Vec<i64>) {
        let (id, object, frame) = self.only_call();
        self.outcome(id, Outcome::Taken);
        (object.object_id, numbers(&frame))
    }

    fn failed(&mut self) {
        let delivery = self.sole();
        self.outcome(delivery.id, Outcome::Failed("no".to_owned()));
    }

    /// Takes the one call of `on_committed` under way: the lifetime it names, and the numbers of its events.
    fn committed(&mut self) -> (String, Vec<i64>) {
        let delivery = self.sole();
        let page = committed_page(&delivery);
        self.outcome(delivery.id, Outcome::Taken);
        page
    }

    fn sole(&mut self) -> Delivery<HostText> {
        assert_eq!(self.deliveries.len(), 1, "one delivery is under way");
        self.deliveries.remove(0)
    }

    fn only_call(&mut self) -> (DeliveryId, ClientObject, HostText) {
        let delivery = self.sole();
        let Message::Call { object, frame } = delivery.message else {
            panic!("{delivery:?}")
        };
        (delivery.id, object, frame)
    }

    /// The call under way, which stays so.
    fn called(&self) -> (&ClientObject, &HostText) {
        let [delivery] = &self.deliveries[..] else {
            panic!("{:?}", self.deliveries)
        };
        let Message::Call { object, frame } = &delivery.message else {
            panic!("{delivery:?}")
        };
        (object, frame)
    }

    /// The object is gone before it learns how anything went; nobody visits it.
    fn lose(&mut self) {
        self.deliveries.clear();
        self.backend = open(&self.sql, self.uses);
    }

    /// The same, and somebody visits.
    fn evict(&mut self) {
        self.lose();
        self.turn(SyncBackend::on_wake);
    }

    fn reset(&mut self) {
        self.turn(|backend, turn| {
            backend.reset(turn).unwrap();
        });
    }
}

fn open(sql: &HostSql, uses: Uses) -> SyncBackend<HostSql> {
    let fresh = BackendId::stored(OLD.to_owned());
    let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
    let rules = Rules {
        uses,
        ..Rules::default()
    };
    SyncBackend::new(store, Limits::default(), rules, fresh_ids(&[NEW]))
}

fn live_pull(object: &str, id: &str) -> String {
    format!(
        r#"[{{"_tag":"Request","id":{id},"tag":"SyncDoRpc.Pull","payload":{{"storeId":"{STORE}","cursor":{{"_tag":"None"}},"rpcContext":{{"callerContext":{{"bindingName":"CLIENT","durableObjectId":"{object}"}}}}}}}}]"#
    )
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

fn committed_page(delivery: &Delivery<HostText>) -> (String, Vec<i64>) {
    let Message::Committed(CommittedPage { items, backend_id }) = &delivery.message else {
        panic!("{delivery:?}")
    };
    let array = format!("[{}]", items.as_str());
    let events = read_events(&array).unwrap();
    let numbers = events.iter().map(|event| event.seq_num).collect();
    (backend_id.as_str().to_owned(), numbers)
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
    assert!(room.deliveries.is_empty());
    room.push(3, 1);
    let (object, frame) = room.called();
    assert_eq!(object.binding, "CLIENT");
    assert!(frame.read().contains(r#""requestId":"7""#));
    assert_eq!(room.taken(), ("a".to_owned(), vec![3]));
    assert!(room.deliveries.is_empty());
}

#[test]
fn a_numeric_request_id_is_a_text_in_pages_and_calls() {
    let mut room = Room::new();
    assert!(
        room.pull_live("a", "7")[0].contains(r#""requestId":7,"values":[{"rpcRequestId":"7","#)
    );
    room.settle();
    room.push(1, 1);
    assert!(room.called().1.read().contains(r#""requestId":"7""#));
}

#[test]
fn a_client_that_is_taking_note_of_its_pull_is_called_when_it_has() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    assert_eq!(
        room.alarm_at_ms, None,
        "nothing to tell, nothing to wake for"
    );
    room.push(1, 1);
    assert!(room.deliveries.is_empty());
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_SETTLE_MS));
    room.alarm();
    assert_eq!(room.taken().1, [1]);
}

#[test]
fn what_is_pushed_while_the_answer_of_a_live_pull_is_read_is_told_without_another_push() {
    let mut room = Room::new();
    let connection = room
        .backend
        .connect_once(Transport::DoRpc, Grant::default(), room.now_ms);
    let pull = live_pull("a", "\"1\"");
    room.turn(|backend, turn| backend.on_frame(connection, Frame::Text(&pull), turn));
    room.push(1, 1);
    assert!(room.deliveries.is_empty());
    assert!(room.alarm_at_ms.is_some(), "armed before it is needed");
    room.alarm_at_ms = None;
    room.turn(|backend, turn| backend.disconnect(connection, turn));
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_SETTLE_MS));
    room.alarm();
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
    assert!(room.deliveries.is_empty());
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
        .deliveries
        .iter()
        .map(|delivery| match &delivery.message {
            Message::Call { object, .. } => {
                format!("{} {}", object.object_id, object.request.json())
            }
            Message::Committed(_) | Message::Mirror(_) | Message::Disown { .. } => {
                panic!("{delivery:?}")
            }
        })
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
    room.alarm_at_ms = None;
    room.failed();
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_RETRY_MS));
    room.push(2, 1);
    assert!(room.deliveries.is_empty(), "it waits");
    room.alarm();
    room.alarm_at_ms = None;
    room.failed();
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + 2 * CALL_RETRY_MS));
    room.alarm();
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
    assert!(room.deliveries.is_empty());
}

#[test]
fn an_object_that_does_not_exist_is_dropped_at_once() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.pull_live("b", "\"1\"");
    room.settle();
    room.push(1, 1);
    let Delivery { id, message } = room.deliveries.remove(0);
    let Message::Call { object, .. } = message else {
        panic!("{message:?}")
    };
    room.outcome(id, Outcome::Gone("no such binding".to_owned()));
    assert_eq!(room.dropped, std::slice::from_ref(&object.object_id));
    assert_ne!(room.taken().0, object.object_id);
}

#[test]
fn subscriptions_survive_an_eviction_and_what_was_not_delivered_follows() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    assert_eq!(room.taken().1, [1]);
    room.evict();
    assert!(room.deliveries.is_empty(), "it has everything");
    room.push(2, 1);
    // The object is gone before it learns how the call went.
    room.evict();
    assert_eq!(room.taken().1, [2]);
}

#[test]
fn a_call_under_way_is_repeated_by_the_alarm_alone_when_the_object_is_lost() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.alarm_at_ms = None;
    room.push(1, 1);
    assert_eq!(room.deliveries.len(), 1);
    room.lose();
    room.alarm();
    assert_eq!(room.taken().1, [1]);
}

#[test]
fn a_call_that_is_never_answered_is_repeated_and_its_late_outcome_is_nobodys() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.alarm_at_ms = None;
    room.push(1, 1);
    let hanging = room.sole();
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_DEADLINE_MS));
    room.alarm();
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_RETRY_MS));
    room.alarm();
    room.outcome(hanging.id, Outcome::Taken);
    assert_eq!(room.taken().1, [1], "the late outcome was not its own");
}

#[test]
fn how_a_call_went_that_was_replaced_meanwhile_does_not_count() {
    let mut room = Room::new();
    room.pull_live("a", "\"1\"");
    room.settle();
    room.push(1, 1);
    let (id, ..) = room.only_call();
    room.pull_live("a", "\"2\"");
    room.outcome(id, Outcome::Failed("late".to_owned()));
    room.settle();
    room.push(2, 1);
    assert_eq!(room.taken().1, [2]);
}

#[test]
fn an_object_that_unsubscribes_is_called_no_more() {
    for request in [None, Some("\"2\""), Some("2")] {
        let mut room = Room::new();
        room.pull_live("a", "\"1\"");
        room.pull_live("a", "\"2\"");
        room.pull_live("b", "\"2\"");
        room.settle();
        room.unsubscribe("a", Some("\"1\""));
        room.push(1, 1);
        assert_eq!(room.deliveries.len(), 2, "an earlier pull is not meant");
        room.unsubscribe("a", request);
        room.evict();
        assert_eq!(room.taken(), ("b".to_owned(), vec![1]));
    }
}

#[test]
fn a_reset_is_told_to_each_client_object_and_ends_its_subscription() {
    let mut room = Room::new();
    room.push(1, 1);
    room.pull_live("a", "\"1\"");
    room.pull_live("b", "2");
    room.settle();
    room.alarm_at_ms = None;
    room.reset();
    assert!(room.alarm_at_ms.is_some(), "they are owed the news");
    assert!(room.deliveries.is_empty());
    // It outlives the object's memory.
    room.lose();
    room.alarm();
    room.push(1, 1);
    let mut told: Vec<String> = Vec::new();
    for Delivery { id, message } in std::mem::take(&mut room.deliveries) {
        let Message::Call { frame, .. } = message else {
            panic!("{message:?}")
        };
        told.push(frame.read());
        room.outcome(id, Outcome::Taken);
    }
    told.sort();
    let exit = |id: &str, cause: &str| {
        format!(
            r#"{{"_tag":"Exit","requestId":"{id}","exit":{{"_tag":"Failure","cause":{cause}}}}}"#
        )
    };
    assert_eq!(
        told,
        [
            exit(
                "1",
                r#"{"_tag":"Fail","error":{"expected":"another-lifetime-----","received":"","_tag":"BackendIdMismatchError"}}"#
            ),
            exit(
                "2",
                r#"[{"_tag":"Fail","error":{"_tag":"BackendIdMismatchError","expected":"another-lifetime-----","received":""}}]"#
            ),
        ]
    );
    room.evict();
    room.push(2, 1);
    assert!(room.deliveries.is_empty());
    assert_eq!(room.backend.store().backend_id().as_str(), NEW);
}

#[test]
fn on_committed_is_told_every_event_in_order_a_page_at_a_time() {
    let mut room = Room::hooked();
    room.push(1, 250);
    room.push(251, 1);
    let pages: Vec<Vec<i64>> = (0..3).map(|_| room.committed().1).collect();
    assert_eq!(pages.concat(), (1..=251).collect::<Vec<i64>>());
    assert_eq!(
        pages.iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 100, 51]
    );
    assert!(room.deliveries.is_empty());
    room.push(252, 1);
    assert_eq!(room.committed(), (OLD.to_owned(), vec![252]));
}

#[test]
fn a_store_that_meets_on_committed_for_the_first_time_begins_at_its_head() {
    let mut room = Room::new();
    room.push(1, 3);
    room.uses = Uses::NONE.on_committed();
    room.evict();
    assert!(room.deliveries.is_empty());
    room.push(4, 1);
    assert_eq!(room.committed().1, [4]);
}

#[test]
fn on_committed_that_fails_is_called_again_for_ever() {
    let mut room = Room::hooked();
    room.push(1, 1);
    let mut wait_ms = HOOK_RETRY_MS;
    for attempt in 0..3 * CALL_ATTEMPTS_MAX {
        room.alarm_at_ms = None;
        room.failed();
        assert_eq!(room.alarm_at_ms, Some(room.now_ms + wait_ms), "{attempt}");
        wait_ms = (2 * wait_ms).min(HOOK_RETRY_MS_MAX);
        if attempt % 5 == 3 {
            room.lose();
        }
        room.alarm();
    }
    assert_eq!(room.committed().1, [1]);
}

#[test]
fn on_committed_that_is_lost_or_never_returns_is_called_again_by_the_alarm_alone() {
    let mut room = Room::hooked();
    room.push(1, 1);
    assert_eq!(room.deliveries.len(), 1);
    room.lose();
    room.alarm();
    let hanging = room.sole();
    room.alarm_at_ms = None;
    room.push(2, 1);
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + HOOK_DEADLINE_MS));
    room.alarm();
    room.alarm();
    room.outcome(hanging.id, Outcome::Taken);
    assert_eq!(room.committed().1, [1, 2]);
}

#[test]
fn on_committed_is_told_of_the_new_lifetime_from_its_first_event_on() {
    let mut room = Room::hooked();
    room.push(1, 5);
    room.committed();
    room.alarm_at_ms = None;
    room.reset();
    assert_eq!(room.alarm_at_ms, None, "nothing is owed");
    room.push(1, 1);
    assert_eq!(room.committed(), (NEW.to_owned(), vec![1]));
    room.evict();
    room.push(2, 1);
    assert_eq!(room.committed(), (NEW.to_owned(), vec![2]));
}

#[test]
fn on_committed_is_told_of_what_a_reset_removed_before_anything_later() {
    let mut room = Room::hooked();
    room.push(1, 5);
    room.committed();
    room.push(6, 120);
    let waiting = room.sole();
    room.reset();
    // It was of the old lifetime, and says nothing of the new one.
    room.outcome(waiting.id, Outcome::Taken);
    assert!(room.deliveries.is_empty());
    let at_ms = room.alarm_at_ms.expect("something is owed");
    assert!(at_ms <= room.now_ms);
    room.push(1, 1);
    let old = |range: std::ops::RangeInclusive<i64>| (OLD.to_owned(), range.collect());
    assert_eq!(room.committed(), old(6..=105));
    room.lose();
    room.alarm();
    assert_eq!(room.committed(), old(106..=125));
    assert_eq!(room.committed(), (NEW.to_owned(), vec![1]));
    assert!(room.deliveries.is_empty());
    room.evict();
    assert!(room.deliveries.is_empty(), "it is told once");
}

#[test]
fn an_object_comes_to_rest_whichever_statement_fails_once_what_a_reset_removed_is_told() {
    for skip in 0..8 {
        for when in [When::Before, When::After] {
            let mut room = Room::hooked();
            room.push(1, 3);
            room.reset();
            room.deliveries.clear();
            room.alarm();
            let told = room.sole();
            room.sql.fail_after(skip, when);
            room.outcome(told.id, Outcome::Taken);
            room.sql.heal();
            let mut alarms = 0;
            loop {
                for Delivery { id, .. } in std::mem::take(&mut room.deliveries) {
                    room.outcome(id, Outcome::Taken);
                }
                if room.alarm_at_ms.is_none() {
                    break;
                }
                alarms += 1;
                assert!(alarms < 10, "statement {skip} failed {when:?}");
                room.alarm();
            }
        }
    }
}

#[test]
fn a_follower_that_never_waits_ends_a_turn_and_goes_on_by_the_alarm() {
    let mut room = Room::hooked();
    let pages = u64::from(BURST_DELIVERIES_MAX) + 3;
    for page in 0..pages {
        let first = 100 * i64::try_from(page).unwrap() + 1;
        room.push(first, 100);
        if page == 0 {
            // Nothing else is told until this is taken.
            assert_eq!(room.deliveries.len(), 1);
        }
    }
    let mut told = 0;
    while !room.deliveries.is_empty() {
        room.committed();
        told += 1;
    }
    assert_eq!(told, BURST_DELIVERIES_MAX);
    assert!(room.alarm_at_ms.is_some_and(|at_ms| at_ms <= room.now_ms));
    room.now_ms += 1;
    room.alarm();
    while !room.deliveries.is_empty() {
        room.committed();
        told += 1;
    }
    assert_eq!(u64::from(told), pages);
}

#[test]
fn an_object_that_is_lost_while_an_answer_is_read_calls_once_its_client_can_have_taken_note() {
    for clears in [false, true] {
        let mut room = Room::new();
        room.push(1, 2);
        let connection = room
            .backend
            .connect_once(Transport::DoRpc, Grant::default(), room.now_ms);
        let request = live_pull("a", "\"7\"");
        room.turn(|backend, turn| backend.on_frame(connection, Frame::Text(&request), turn));
        room.now_ms += 10 * CALL_SETTLE_MS;
        room.alarm_at_ms = None;
        if clears {
            // Its last piece is taken, and the object is lost before it can keep that.
            room.sql.hold();
            room.turn(|backend, turn| backend.disconnect(connection, turn));
            room.sql.roll_back();
        }
        room.evict();
        room.push(3, 1);
        assert!(
            room.deliveries.is_empty(),
            "called while the answer is read"
        );
        assert_eq!(room.alarm_at_ms, Some(room.now_ms + CALL_SETTLE_MS));
        room.settle();
        assert_eq!(room.taken(), ("a".to_owned(), vec![3]));
        // Later it is called at once.
        room.evict();
        room.push(4, 1);
        assert_eq!(room.taken(), ("a".to_owned(), vec![4]));
    }
}
