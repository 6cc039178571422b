//! Clients of 0.3 that come back on another socket. They pull once in their life, so the object has to find out what
//! such a client lacks, and must not send what it gets by itself.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, Rules, SyncBackend, Turn};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{
    Limits, PAGE_EVENTS_MAX, PLAIN_MEND_MS, PLAIN_STALL_MS, PROBE_MS,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};

use crate::client::{Heard, Sample, Speaker, batch_json, hear, seq_num};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText, When};

const STORE: &str = "left-and-came-back";

const PLAIN: Speaker = Speaker {
    generation: Generation::V03,
    store_id: STORE,
};

struct World {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    now_ms: u64,
    /// When the object is to wake, `None` if never.
    alarm_at_ms: Option<u64>,
    /// The socket of the client, and what it was sent in the last turn.
    socket: ConnectionId,
    heard: Vec<Heard>,
    attachment: String,
}

fn open(sql: &HostSql) -> SyncBackend<HostSql> {
    let fresh = BackendId::stored("a-lifetime-of-the-log".to_owned());
    let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
    let ids = fresh_ids(&["the-next-lifetime"]);
    SyncBackend::new(store, Limits::default(), Rules::default(), ids)
}

impl World {
    /// A log of so many events, and a client that has some of them and has just come back.
    fn returned(events: i64) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut backend = open(&sql);
        let now_ms = 1_795_342_751_954;
        let socket = backend.connect(Family::Plain, Grant::default(), now_ms);
        let mut world = Self {
            sql,
            attachment: backend.attachment(socket).unwrap(),
            backend,
            now_ms,
            alarm_at_ms: None,
            socket,
            heard: Vec::new(),
        };
        world.turn(|backend, turn| backend.disconnect(socket, turn));
        world.others_push(1..=events);
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.socket = self
            .backend
            .connect(Family::Plain, Grant::default(), self.now_ms);
        self.attachment = self.backend.attachment(self.socket).unwrap();
    }

    fn turn(&mut self, work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>)) {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        self.heard.clear();
        for output in turn.out {
            match output {
                Output::Send { to, frame } if to == self.socket => {
                    self.heard.push(hear(Family::Plain, frame.as_str()));
                }
                Output::WakeAt { at_ms } => self.alarm_at_ms = Some(at_ms),
                Output::Remember { connection } if connection == self.socket => {
                    self.attachment = self.backend.attachment(connection).unwrap();
                }
                Output::Close { connection, .. } => assert_ne!(connection, self.socket),
                _ => {}
            }
        }
    }

    fn others_push(&mut self, numbers: std::ops::RangeInclusive<i64>) {
        let samples: Vec<_> = numbers.map(Sample::new).collect();
        let speaker = Speaker {
            generation: Generation::V05,
            store_id: STORE,
        };
        let frame = speaker.push("1", None, &batch_json(&samples));
        let now_ms = self.now_ms;
        self.turn(|backend, turn| {
            let pusher = backend.connect(Family::Rpc, Grant::default(), now_ms);
            backend.on_frame(pusher, Frame::Text(&frame), turn);
        });
    }

    fn say(&mut self, frame: &str) {
        let socket = self.socket;
        self.turn(|backend, turn| backend.on_frame(socket, Frame::Text(frame), turn));
    }

    /// The client pushes an event of its own.
    fn pushes(&mut self, number: i64) {
        let sample = Sample {
            client_id: "returned".to_owned(),
            ..Sample::new(number)
        };
        self.say(&PLAIN.push("\"push\"", None, &batch_json(&[sample])));
    }

    fn pulls(&mut self, after: i64) {
        self.say(&PLAIN.pull("\"pull\"", true, Some(("", after))));
    }

    /// The alarm goes off if it is set for now or earlier.
    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.heard.clear();
        if self.alarm_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.alarm_at_ms = None;
            self.turn(SyncBackend::on_alarm);
        }
    }

    /// The object leaves memory, and the socket stays.
    fn is_evicted(&mut self) {
        self.backend = open(&self.sql);
        let socket = self.backend.reconnect(&self.attachment, self.now_ms);
        self.socket = socket.unwrap();
        self.turn(SyncBackend::on_wake);
    }

    /// The numbers of the events that the client was sent in the last turn, each by whether it had asked for it.
    fn events(&self) -> Vec<(bool, i64)> {
        let pages = self.heard.iter().filter_map(|heard| match heard {
            Heard::Page {
                is_broadcast,
                events,
                ..
            } => Some(
                events
                    .iter()
                    .map(move |event| (!is_broadcast, seq_num(event))),
            ),
            _ => None,
        });
        pages.flatten().collect()
    }

    fn is_refused(&self) -> bool {
        matches!(&self.heard[..], [Heard::Failed { id, .. }] if id == "\"push\"")
    }
}

fn unasked(numbers: std::ops::RangeInclusive<i64>) -> Vec<(bool, i64)> {
    numbers.map(|number| (false, number)).collect()
}

#[test]
fn who_pushes_without_knowing_what_others_did_meanwhile_is_sent_that_and_follows_again() {
    for is_evicted in [false, true] {
        let mut world = World::returned(5);
        if is_evicted {
            world.is_evicted();
        }
        world.pushes(3);
        assert!(world.is_refused(), "{:?}", world.heard);
        assert_eq!(world.alarm_at_ms, Some(world.now_ms + PLAIN_MEND_MS));
        // It would be of no use to it now.
        world.others_push(6..=7);
        assert_eq!(world.events(), []);
        world.wait(PLAIN_MEND_MS - 1);
        assert_eq!(world.events(), []);
        if is_evicted {
            world.is_evicted();
        }
        world.wait(1);
        assert_eq!(world.events(), unasked(3..=7));
        // As it does after a page, it pushes again, on top of that.
        world.pushes(8);
        assert_eq!(world.events(), unasked(8..=8));
        world.others_push(9..=9);
        assert_eq!(world.events(), unasked(9..=9));
        // And again it is behind for a moment only, for what it lacks is on its way.
        world.pushes(9);
        assert!(world.is_refused());
        world.wait(2 * PLAIN_MEND_MS);
        assert_eq!(world.events(), []);
    }
}

#[test]
fn as_much_as_it_lacks_is_sent_page_by_page() {
    let count = 3 * i64::from(PAGE_EVENTS_MAX);
    let mut world = World::returned(count);
    world.pushes(2);
    world.wait(PLAIN_MEND_MS);
    assert_eq!(world.events(), unasked(2..=count));
    assert_eq!(world.heard.len(), 3);
}

#[test]
fn who_has_only_just_started_gets_everything_by_its_pull_and_nothing_twice() {
    for is_broadcast in [false, true] {
        let mut world = World::returned(5);
        world.pushes(3);
        assert!(world.is_refused());
        if is_broadcast {
            world.others_push(6..=6);
            assert_eq!(world.events(), []);
        }
        let head = if is_broadcast { 6 } else { 5 };
        world.pulls(2);
        let asked: Vec<_> = (3..=head).map(|number| (true, number)).collect();
        assert_eq!(world.events(), asked);
        world.wait(2 * PLAIN_MEND_MS);
        assert_eq!(world.events(), []);
        world.pushes(head + 1);
        assert_eq!(world.events(), unasked(head + 1..=head + 1));
    }
}

#[test]
fn what_it_has_been_sent_may_be_on_its_way_and_is_not_sent_again() {
    for is_evicted in [false, true] {
        let mut world = World::returned(5);
        world.others_push(6..=6);
        assert_eq!(world.events(), unasked(6..=6));
        if is_evicted {
            world.is_evicted();
        }
        world.pushes(6);
        assert!(world.is_refused());
        world.wait(2 * PLAIN_MEND_MS);
        assert_eq!(world.events(), []);
    }
}

#[test]
fn who_lacks_nothing_waits_for_nothing() {
    let mut world = World::returned(5);
    world.pushes(6);
    assert_eq!(world.events(), unasked(6..=6));
    assert_eq!(world.alarm_at_ms, None);
}

#[test]
fn whose_acknowledgement_was_lost_is_acknowledged_and_gets_everything_from_there() {
    let mut world = World::returned(2);
    world.pushes(3);
    let socket = world.socket;
    world.turn(|backend, turn| backend.disconnect(socket, turn));
    world.others_push(4..=5);
    world.connect();
    world.pushes(3);
    assert!(matches!(&world.heard[..], [Heard::PushDone { .. }]));
    world.wait(PLAIN_MEND_MS);
    assert_eq!(world.events(), unasked(3..=5));
}

#[test]
fn a_client_that_may_be_of_another_lifetime_is_sent_nothing_of_this_one() {
    let mut world = World::returned(5);
    let reset = world.backend.reset(&mut Turn::at(world.now_ms));
    reset.unwrap();
    world.others_push(1..=4);
    world.connect();
    world.pushes(3);
    assert!(world.is_refused());
    world.wait(2 * PLAIN_MEND_MS);
    assert_eq!(world.events(), []);
}

#[test]
fn a_reset_while_it_waits_leaves_it_with_what_it_has() {
    let mut world = World::returned(5);
    world.pushes(3);
    world.turn(|backend, turn| {
        backend.reset(turn).unwrap();
    });
    world.others_push(1..=4);
    world.wait(2 * PLAIN_MEND_MS);
    assert_eq!(world.events(), []);
}

#[test]
fn what_cannot_be_read_is_read_again_each_second_for_a_while() {
    for heals in [true, false] {
        let mut world = World::returned(5);
        world.pushes(3);
        world.sql.fail_run(0, usize::MAX, When::Before);
        world.wait(PLAIN_MEND_MS);
        let seconds = if heals { 3 } else { PLAIN_STALL_MS / PROBE_MS };
        for _ in 0..seconds {
            assert_eq!(world.heard, []);
            assert_eq!(world.alarm_at_ms, Some(world.now_ms + PROBE_MS));
            world.wait(PROBE_MS);
        }
        // Whose alarm is for nobody is the last.
        world.wait(if heals { 0 } else { PROBE_MS });
        world.sql.heal();
        let is_alarm_set = world.alarm_at_ms.is_some();
        world.wait(PROBE_MS);
        let missing = if heals { unasked(3..=5) } else { vec![] };
        assert_eq!((is_alarm_set, world.events()), (heals, missing));
    }
}
