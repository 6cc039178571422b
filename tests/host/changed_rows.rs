//! Somebody else changes the rows of a store while its object is in memory: it is noticed at the next append or page,
//! whoever asked may ask again, and everyone else goes on, starts over or has to leave, by what is found then.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ConnectionId, Delivery, Frame, Message, Outcome, Output, Progress, Report, Rules, SyncBackend,
    Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::limits::{CALL_SETTLE_MS, Limits};
use livestore_sync_worker::store::{EventStore, OpenError};
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear, seq_num};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "changed";
const LOG: &str = "eventlog_7_changed";
const OLD: &str = "the-first-lifetime---";
const EVENTS: i64 = 5;

/// An object with its backend, of which everything that it has sent is heard.
struct World {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    now_ms: u64,
    sockets: Vec<(ConnectionId, Generation)>,
    sent: Vec<(ConnectionId, HostText)>,
    closed: Vec<(ConnectionId, u16)>,
    deliveries: Vec<Delivery<HostText>>,
    reports: Vec<String>,
    asks: Vec<livestore_sync_worker::backend::AskId>,
    /// What the host thinks that the alarm is set to.
    alarm_at_ms: Option<u64>,
}

/// A socket that pulls live, of each generation.
struct Listeners([(ConnectionId, Generation); 3]);

impl World {
    /// A store of five events.
    fn new() -> Self {
        Self::with(Uses::NONE)
    }

    fn with(uses: Uses) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let fresh = BackendId::stored(OLD.to_owned());
        let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
        let rules = Rules {
            uses,
            ..Rules::default()
        };
        let ids = fresh_ids(&["unused-1", "unused-2", "unused-3", "unused-4"]);
        let mut world = Self {
            sql,
            backend: SyncBackend::new(store, Limits::default(), rules, ids),
            now_ms: 1_795_342_751_954,
            sockets: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            deliveries: Vec::new(),
            reports: Vec::new(),
            asks: Vec::new(),
            alarm_at_ms: None,
        };
        let pusher = world.socket(Generation::V04);
        let events: Vec<Sample> = (1..=EVENTS).map(Sample::new).collect();
        world.say(pusher, &push(Generation::V04, &events));
        for ask in std::mem::take(&mut world.asks) {
            world.turn(|backend, turn| backend.on_verdict(ask, Ok(()), turn));
        }
        assert_eq!(world.backend.store().head().to_i64(), EVENTS);
        world.forget();
        world
    }

    fn turn(&mut self, work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>)) {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        for output in turn.out {
            match output {
                Output::Send { to, frame } => self.sent.push((to, frame)),
                Output::Close {
                    connection, code, ..
                } => {
                    assert!(self.backend.peer(connection).is_none(), "forgotten first");
                    self.closed.push((connection, code));
                }
                Output::Deliver(delivery) => self.deliveries.push(delivery),
                Output::Ask(ask) => self.asks.push(ask.id),
                Output::ForgetAlarm => self.alarm_at_ms = None,
                Output::WakeAt { at_ms } => {
                    let known = self.alarm_at_ms.unwrap_or(at_ms);
                    self.alarm_at_ms = Some(known.min(at_ms));
                }
                Output::Report(report) => {
                    if let Report::RowsChanged { .. } = report {
                        self.reports.push(report.to_string());
                    }
                }
                Output::Remember { .. } | Output::Probe { .. } | Output::Fetch(_) => {}
            }
        }
    }

    /// Forgets what has been sent so far.
    fn forget(&mut self) {
        self.sent.clear();
        self.closed.clear();
        self.reports.clear();
    }

    fn socket(&mut self, generation: Generation) -> ConnectionId {
        let family = generation.family();
        let socket = self.backend.connect(family, Grant::default(), self.now_ms);
        self.sockets.push((socket, generation));
        socket
    }

    fn say(&mut self, from: ConnectionId, frame: &str) {
        self.turn(|backend, turn| backend.on_frame(from, Frame::Text(frame), turn));
    }

    /// A request by `transport`, as a connection of its own.
    fn ask(&mut self, transport: Transport, frame: &str) -> ConnectionId {
        let now_ms = self.now_ms;
        let group = match transport {
            Transport::Http => "SyncHttpRpc",
            _ => "SyncDoRpc",
        };
        let request = self
            .backend
            .connect_once(transport, Grant::default(), now_ms);
        self.say(request, &frame.replace("SyncWsRpc", group));
        request
    }

    fn listen(&mut self) -> Listeners {
        let listeners = [Generation::V03, Generation::V04, Generation::V05].map(|generation| {
            let socket = self.socket(generation);
            let id = speaker(generation).id(7);
            self.say(socket, &speaker(generation).pull(&id, true, None));
            if generation != Generation::V03 {
                self.say(socket, &ack(&id));
            }
            assert_eq!(self.numbers(socket), [1, 2, 3, 4, 5]);
            (socket, generation)
        });
        self.forget();
        Listeners(listeners)
    }

    fn heard(&self, by: ConnectionId) -> Vec<Heard> {
        let known = self.sockets.iter().find(|(socket, _)| *socket == by);
        let family = known.map_or(Family::Rpc, |(_, generation)| generation.family());
        let sent = self.sent.iter().filter(|(to, _)| *to == by);
        sent.map(|(_, frame)| hear(family, frame.as_str()))
            .collect()
    }

    /// The events that a connection was sent.
    fn numbers(&self, by: ConnectionId) -> Vec<i64> {
        let heard = self.heard(by);
        let pages = heard.iter().filter_map(|heard| match heard {
            Heard::Page { events, .. } => Some(events.iter().map(seq_num)),
            _ => None,
        });
        pages.flatten().collect()
    }

    /// Somebody pushes one event after `head`, on a socket of his own; whether it was closed for that.
    fn push_after(&mut self, head: i64) -> bool {
        let pusher = self.socket(Generation::V05);
        self.say(pusher, &push(Generation::V05, &[Sample::new(head + 1)]));
        self.closed.contains(&(pusher, 1013))
    }

    fn only_report(&self) -> &str {
        let [report] = &self.reports[..] else {
            panic!("{:?}", self.reports)
        };
        let known = "somebody else has changed the rows of this store, whose log ended at 5: ";
        report.strip_prefix(known).unwrap()
    }

    /// All that is delivered is taken; what it was.
    fn take_deliveries(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while !self.deliveries.is_empty() {
            let Delivery { id, message } = self.deliveries.remove(0);
            told.push(match message {
                Message::Call { frame, .. } => frame.as_str().to_owned(),
                Message::Committed(page) => {
                    format!("{} {}", page.backend_id.as_str(), page.items.as_str())
                }
                Message::Mirror(_) | Message::Disown { .. } => panic!("there is no backup"),
            });
            self.turn(|backend, turn| backend.on_delivered(id, Outcome::Taken, turn));
        }
        told
    }
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

fn push(generation: Generation, events: &[Sample]) -> String {
    let speaker = speaker(generation);
    speaker.push(&speaker.id(1), None, &batch_json(events))
}

fn added(numbers: std::ops::RangeInclusive<i64>) -> String {
    let rows = numbers.map(|number| {
        let parent = number - 1;
        format!("({number}, {parent}, 'n', '1', '2025-01-01T00:00:00.000Z', 'c', 's')")
    });
    let rows: Vec<String> = rows.collect();
    format!("INSERT INTO {LOG} VALUES {}", rows.join(","))
}

#[test]
fn rows_that_were_added_reach_everyone_who_pulls_live_once_and_pushes_follow_them() {
    for notices in ["a push", "a pull"] {
        let mut world = World::new();
        let Listeners(listeners) = world.listen();
        world.sql.set_up(&added(6..=150));
        if notices == "a push" {
            assert!(world.push_after(5));
        } else {
            let puller = world.socket(Generation::V04);
            let pull = speaker(Generation::V04).pull("\"1\"", true, None);
            world.say(puller, &pull);
            assert_eq!(world.closed, [(puller, 1013)]);
            assert_eq!(world.heard(puller), []);
        }
        assert_eq!(world.only_report(), "it ends at 150");
        // Pages of 0.3 go on by the alarm.
        world.turn(SyncBackend::on_alarm);
        world.turn(SyncBackend::on_alarm);
        assert!(!world.push_after(150));
        let expected: Vec<i64> = (6..=151).collect();
        for (socket, generation) in listeners {
            assert_eq!(world.numbers(socket), expected, "{generation:?}");
            assert!(world.closed.iter().all(|(closed, _)| *closed != socket));
        }
    }
}

#[test]
fn a_pull_that_had_passed_a_gap_gets_what_comes_back_into_it() {
    let mut world = World::new();
    let Listeners(listeners) = world.listen();
    let cut = format!("DELETE FROM {LOG} WHERE seqNum > 3");
    world
        .sql
        .set_up(&format!("CREATE TABLE cut AS SELECT * FROM {LOG}; {cut}"));
    assert!(world.push_after(5));
    world.forget();
    let late = world.socket(Generation::V05);
    world.say(late, &speaker(Generation::V05).pull("1", true, None));
    assert_eq!(world.numbers(late), [1, 2, 3]);
    let back = format!("INSERT INTO {LOG} SELECT * FROM cut WHERE seqNum > 3");
    world.sql.set_up(&back);
    assert!(world.push_after(5));
    assert_eq!(world.numbers(late), [1, 2, 3, 4, 5]);
    assert!(!world.push_after(5));
    assert_eq!(world.numbers(late), [1, 2, 3, 4, 5, 6]);
    for (socket, generation) in listeners {
        assert_eq!(world.numbers(socket), [6], "{generation:?}");
    }
}

#[test]
fn no_number_is_given_again_after_rows_were_removed_and_nobody_is_disturbed() {
    for change in [
        format!("DELETE FROM {LOG} WHERE seqNum > 3"),
        format!("DELETE FROM {LOG} WHERE seqNum > 3; UPDATE context_7 SET currentHead = 3"),
    ] {
        let mut world = World::new();
        let Listeners(listeners) = world.listen();
        world.sql.set_up(&change);
        assert!(world.push_after(5));
        assert_eq!(
            world.only_report(),
            "it ends at 3, acknowledged events are missing, and it goes on from 5"
        );
        assert_eq!(world.closed.len(), 1);
        assert!(!world.push_after(5));
        for (socket, generation) in listeners {
            assert_eq!(world.numbers(socket), [6], "{generation:?}");
        }
        let puller = world.socket(Generation::V05);
        world.say(puller, &speaker(Generation::V05).pull("1", true, None));
        assert_eq!(world.numbers(puller), [1, 2, 3, 6]);
    }
}

#[test]
fn another_lifetime_ends_every_pull_as_a_reset_does() {
    let drop_all = format!("DROP TABLE {LOG}; DROP TABLE context_7");
    for (change, last, next) in [
        ("UPDATE context_7 SET backendId = 'other'", 5, "other"),
        ("DELETE FROM context_7", 5, "unused-1"),
        ("DROP TABLE context_7", 5, "unused-1"),
        (drop_all.as_str(), 0, "unused-1"),
    ] {
        let mut world = World::new();
        let Listeners(listeners) = world.listen();
        world.sql.set_up(change);
        // Also by who reads: not a page of the next lifetime comes before the end of the last.
        let pull = speaker(Generation::V05).pull("1", false, Some((OLD, 2)));
        let request = world.ask(Transport::Http, &pull);
        assert!(world.numbers(request).is_empty(), "{change}");
        let report =
            format!("it ends at {last} in another lifetime, {next}, and clients start over");
        assert_eq!(world.only_report(), report, "{change}");
        for (socket, generation) in listeners {
            let [Heard::Failed { id, error }] = &world.heard(socket)[..] else {
                panic!("{change}: {:?}", world.heard(socket))
            };
            assert_eq!(*id, speaker(generation).id(7));
            // 0.3 knows no lifetimes, and is closed for nothing.
            let is_plain = generation == Generation::V03;
            assert_eq!(
                world.closed.contains(&(socket, 1012)),
                !is_plain,
                "{change}"
            );
            if !is_plain {
                assert_eq!(error["_tag"], "BackendIdMismatchError");
                assert_eq!(error["expected"], next);
                assert_eq!(error["received"], OLD);
            }
        }
        world.forget();
        let pusher = world.socket(Generation::V05);
        let batch = batch_json(&[Sample::new(last + 1)]);
        for (backend_id, is_stored) in [(OLD, false), (next, true)] {
            let frame = speaker(Generation::V05).push("3", Some(backend_id), &batch);
            world.say(pusher, &frame);
            let stored = world.backend.store().head().to_i64() == last + 1;
            assert_eq!(stored, is_stored, "{change}");
        }
        let (socket, _) = listeners[0];
        assert_eq!(world.heard(socket), [], "0.3 gets nothing of the next");
        assert_eq!(world.reports, [""; 0]);
    }
}

#[test]
fn nobody_is_served_beside_an_emptied_log_until_it_is_back() {
    for change in [
        format!("ALTER TABLE {LOG} RENAME TO away"),
        format!(
            "CREATE TABLE away AS SELECT * FROM {LOG}; DELETE FROM {LOG}; UPDATE context_7 SET currentHead = 0"
        ),
    ] {
        let mut world = World::with(Uses::NONE.on_push());
        let Listeners(listeners) = world.listen();
        // A request that waits for its hook, whose verdict comes when all is over.
        let waiting = world.ask(Transport::Http, &push(Generation::V05, &[Sample::new(6)]));
        let late = std::mem::take(&mut world.asks);
        world.sql.set_up(&change);
        let puller = world.ask(
            Transport::DoRpc,
            &speaker(Generation::V05).pull("1", false, None),
        );
        assert!(world.backend.is_closed());
        assert!(world.only_report().contains("5 events were acknowledged"));
        let [Heard::Page { events, .. }, Heard::PullDone { .. }] = &world.heard(puller)[..] else {
            panic!("{:?}", world.heard(puller))
        };
        assert!(events.is_empty());
        assert_eq!(world.backend.progress(puller), Progress::Done);
        assert!(world.closed.contains(&(waiting, 1013)));
        for (socket, generation) in listeners {
            assert!(world.closed.contains(&(socket, 1012)));
            let heard = world.heard(socket);
            if generation == Generation::V03 {
                assert!(matches!(&heard[..], [Heard::Failed { .. }]), "{heard:?}");
            } else {
                assert_eq!(heard, []);
            }
        }
        assert_eq!(world.backend.socket_count(), 0);
        world.forget();

        let elsewhere = OpenError::Elsewhere { head: 5.into() };
        world.turn(|backend, turn| assert_eq!(backend.reopen(true, turn), Err(elsewhere)));
        assert!(world.backend.is_closed());
        let back = format!("DROP TABLE IF EXISTS {LOG}; ALTER TABLE away RENAME TO {LOG}");
        world.sql.set_up(&back);
        world.turn(|backend, turn| assert_eq!(backend.reopen(true, turn), Ok(())));
        assert!(!world.backend.is_closed());
        assert_eq!(world.only_report(), "it ends at 5");

        // Connections have other ids than those that are gone, and what was left behind concerns nobody.
        let Listeners(again) = world.listen();
        for (socket, _) in again {
            assert!(listeners.iter().all(|(gone, _)| *gone != socket));
        }
        for ask in late {
            world.turn(|backend, turn| backend.on_verdict(ask, Ok(()), turn));
        }
        for (socket, generation) in listeners {
            world.say(socket, &push(generation, &[Sample::new(6)]));
        }
        assert_eq!((world.sent.len(), world.asks.len()), (0, 0));
        assert_eq!(world.backend.store().head().to_i64(), 5);
    }
}

#[test]
fn a_store_that_somebody_else_has_emptied_can_be_reset() {
    let mut world = World::new();
    world.sql.set_up(&format!("DELETE FROM {LOG}"));
    world.turn(SyncBackend::check_rows);
    assert!(world.backend.is_closed());
    let next = BackendId::stored("after-the-reset------".to_owned());
    EventStore::discard(&world.sql, &StoreId::new(STORE), &next).unwrap();
    world.turn(|backend, turn| assert_eq!(backend.reopen(true, turn), Ok(())));
    let store = world.backend.store();
    assert_eq!((store.backend_id(), store.head().get()), (&next, 0));
    assert!(store.had_lifetimes());
}

#[test]
fn whoever_asks_first_is_told_to_ask_again_in_the_way_of_its_transport() {
    let words = "the backend could not store the events; nothing was stored";
    for (transport, generation, is_closed) in [
        (Transport::WebSocket, Generation::V03, false),
        (Transport::WebSocket, Generation::V04, true),
        (Transport::WebSocket, Generation::V05, true),
        (Transport::Http, Generation::V04, true),
        (Transport::Http, Generation::V05, true),
        (Transport::DoRpc, Generation::V04, false),
        (Transport::DoRpc, Generation::V05, true),
    ] {
        let mut world = World::new();
        world.sql.set_up(&added(6..=6));
        let frame = push(generation, &[Sample::new(6)]);
        let from = if transport == Transport::WebSocket {
            let socket = world.socket(generation);
            world.say(socket, &frame);
            socket
        } else {
            world.ask(transport, &frame)
        };
        let told = world.heard(from);
        if is_closed {
            assert_eq!(world.closed, [(from, 1013)]);
            assert_eq!(told, [], "{transport:?} {generation:?}");
        } else {
            let [Heard::Failed { error, .. }] = &told[..] else {
                panic!("{told:?}")
            };
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(world.backend.store().head().to_i64(), 6);
    }
}

#[test]
fn followers_go_on_with_what_was_added_and_begin_again_with_another_lifetime() {
    let pull = r#"{"_tag":"Request","id":"7","tag":"SyncWsRpc.Pull","payload":{"storeId":"changed","cursor":{"_tag":"None"},"rpcContext":{"callerContext":{"bindingName":"CLIENT","durableObjectId":"a"}}}}"#;
    let follow = || {
        let mut world = World::with(Uses::NONE.on_committed());
        let answer = world.ask(Transport::DoRpc, pull);
        assert_eq!(world.numbers(answer), [1, 2, 3, 4, 5]);
        world.turn(|backend, turn| backend.disconnect(answer, turn));
        world.now_ms += CALL_SETTLE_MS;
        world.take_deliveries();
        world.alarm_at_ms = None;
        world
    };
    // A change that followers notice themselves, a delivery being due; the alarm is gone with the rows.
    let mut world = follow();
    world.sql.set_up(&added(6..=6));
    world.turn(SyncBackend::check_rows);
    let told = world.take_deliveries();
    assert_eq!(told.len(), 2);
    for message in told {
        assert!(
            message.contains(r#""seqNum":6,"parentSeqNum":5"#),
            "{message}"
        );
    }

    let mut world = follow();
    world.alarm_at_ms = Some(world.now_ms);
    world.sql.set_up(&format!(
        "DROP TABLE {LOG}; DROP TABLE context_7; DROP TABLE livestore_sync_state"
    ));
    assert!(world.push_after(5));
    let told = world.take_deliveries();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("BackendIdMismatchError"), "{told:?}");
    assert!(!world.push_after(0));
    let told = world.take_deliveries();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("unused-1 ") && told[0].contains(r#""seqNum":1,"#));
}

#[test]
fn a_follower_whose_delivery_meets_other_rows_is_told_of_those_and_the_alarm_is_set_again() {
    let mut world = World::with(Uses::NONE.on_committed());
    world.take_deliveries();
    world.push_after(5);
    let [delivery] = &world.deliveries[..] else {
        panic!("{:?}", world.deliveries)
    };
    let failed = (delivery.id, Outcome::Failed("no".to_owned()));
    world.deliveries.clear();
    world.turn(|backend, turn| backend.on_delivered(failed.0, failed.1, turn));
    let at_ms = world.alarm_at_ms.take().unwrap();
    world.now_ms = at_ms;
    // The event that it was to be told of is gone, and the alarm may be.
    world.sql.set_up(&format!(
        "DELETE FROM {LOG} WHERE seqNum > 2; UPDATE context_7 SET backendId = 'other', currentHead = 2"
    ));
    world.alarm_at_ms = Some(0);
    world.turn(SyncBackend::on_alarm);
    assert!(world.alarm_at_ms > Some(at_ms), "it is set again");
    let told = world.take_deliveries();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("other ") && told[0].contains(r#""seqNum":2,"#));
    assert!(!told[0].contains(r#""seqNum":6,"#));
}
