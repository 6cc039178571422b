//! Single behaviours of connections: what is on its way on one, clients that wait for a pull of a connection they have
//! lost, sockets of 0.3 whose client may not read, and what waits for a hook.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    Ask, ConnectionId, Frame, Hook, Output, Progress, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::limits::{
    Limits, OBJECT_BYTES_MAX, PAGE_EVENTS_MAX, PLAIN_CONNECTION_BYTES_MAX, PLAIN_PING_MS,
    PULL_PATIENCE_MS,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "connected";

struct World {
    backend: SyncBackend<HostSql>,
    now_ms: u64,
}

impl World {
    fn new(uses: Uses) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let fresh = BackendId::stored("a-lifetime-of-the-log".to_owned());
        let (store, _) = EventStore::open(sql, StoreId::new(STORE), fresh).unwrap();
        let rules = Rules {
            uses,
            ..Rules::default()
        };
        Self {
            backend: SyncBackend::new(store, Limits::default(), rules, fresh_ids(&[])),
            now_ms: 1_795_342_751_954,
        }
    }

    fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>),
    ) -> Vec<Output<HostText>> {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        turn.out
    }

    fn socket(&mut self, family: Family) -> ConnectionId {
        self.backend.connect(family, Grant::default(), self.now_ms)
    }

    fn say(&mut self, from: ConnectionId, frame: &str) -> Vec<Output<HostText>> {
        self.turn(|backend, turn| backend.on_frame(from, Frame::Text(frame), turn))
    }

    /// A live pull of everything, whose only page is acknowledged and let pass.
    fn follow(&mut self, generation: Generation, counter: u64) -> ConnectionId {
        let socket = self.socket(generation.family());
        let id = speaker(generation).id(counter);
        let outputs = self.say(socket, &speaker(generation).pull(&id, true, None));
        for ask in asked(&outputs) {
            self.turn(|backend, turn| backend.on_verdict(ask.id, Ok(()), turn));
        }
        if generation != Generation::V03 {
            self.say(socket, &ack(&id));
        }
        socket
    }

    /// The events by a socket that stays.
    fn push(&mut self, events: &[Sample]) -> Vec<Output<HostText>> {
        let pusher = self.socket(Family::Rpc);
        self.say(pusher, &push(events))
    }

    fn ping(&mut self, socket: ConnectionId, at_ms: Option<u64>) -> Vec<Output<HostText>> {
        self.turn(|backend, turn| backend.on_ping(socket, at_ms, turn))
    }
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

fn push(events: &[Sample]) -> String {
    speaker(Generation::V05).push("1", None, &batch_json(events))
}

fn sent(outputs: &[Output<HostText>], receiver: ConnectionId) -> Vec<&str> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send { to, frame } if *to == receiver => Some(frame.as_str()),
        _ => None,
    });
    frames.collect()
}

fn asked(outputs: &[Output<HostText>]) -> Vec<&Ask<HostText>> {
    let asks = outputs.iter().filter_map(|output| match output {
        Output::Ask(ask) => Some(ask),
        _ => None,
    });
    asks.collect()
}

fn closed(outputs: &[Output<HostText>]) -> Vec<(ConnectionId, u16)> {
    let closed = outputs.iter().filter_map(|output| match output {
        Output::Close {
            connection, code, ..
        } => Some((*connection, *code)),
        _ => None,
    });
    closed.collect()
}

#[test]
fn a_request_knows_the_bytes_of_its_answer_that_are_on_their_way_and_whether_they_are_of_pages() {
    for (transport, group) in [
        (Transport::Http, "SyncHttpRpc"),
        (Transport::DoRpc, "SyncDoRpc"),
    ] {
        let mut world = World::new(Uses::NONE);
        let now_ms = world.now_ms;
        let mut ask = |frame: String| {
            let request = world
                .backend
                .connect_once(transport, Grant::default(), now_ms);
            let outputs = world.say(request, &frame.replace("SyncWsRpc", group));
            assert!(!sent(&outputs, request).is_empty());
            let backend = &world.backend;
            let before = (backend.in_flight_bytes(request), backend.has_paged(request));
            world.turn(|backend, turn| backend.go_on(request, turn));
            let backend = &world.backend;
            assert_eq!(backend.progress(request), Progress::Done);
            assert_eq!(backend.in_flight_bytes(request), 0, "it was taken");
            assert_eq!(backend.has_paged(request), before.1);
            world.turn(|backend, turn| backend.disconnect(request, turn));
            assert!(!world.backend.has_paged(request));
            before
        };
        assert_eq!(ask(push(&[Sample::padded(1, 10_000)])), (0, false));
        let (bytes, has_paged) = ask(speaker(Generation::V05).pull("2", false, None));
        assert!(has_paged);
        assert!((10_000..11_000).contains(&bytes), "{bytes}");
    }
}

#[test]
fn a_client_that_has_not_pulled_for_long_is_asked_once_by_an_empty_page_of_each_live_pull() {
    let mut world = World::new(Uses::NONE);
    let follower = world.follow(Generation::V05, 7);
    world.follow(Generation::V04, 8);
    world.follow(Generation::V03, 9);
    let silent = world.socket(Family::Rpc);
    world.now_ms += PULL_PATIENCE_MS;
    let outputs = world.push(&[Sample::new(1)]);
    assert_eq!(sent(&outputs, silent), Vec::<&str>::new(), "it may yet");

    world.now_ms += 1;
    let outputs = world.push(&[Sample::new(2)]);
    let heard = sent(&outputs, silent);
    let heard: Vec<_> = heard.iter().map(|frame| hear(Family::Rpc, frame)).collect();
    for (heard, id) in heard.iter().zip(["7", "\"8\""]) {
        let is_empty = |heard: &Heard| matches!(heard, Heard::Page { id: of, events, .. } if of == id && events.is_empty());
        assert!(is_empty(heard), "{heard:?}");
    }
    assert_eq!(heard.len(), 2, "a pull of 0.3 has no acknowledgements");
    assert_eq!(sent(&outputs, follower).len(), 1, "it has pulled");

    let outputs = world.push(&[Sample::new(3)]);
    assert_eq!(sent(&outputs, silent), Vec::<&str>::new());
}

/// A 0.3 socket that has pinged, and then been sent more than it may have on its way: it is asked about.
fn doubtful() -> (World, ConnectionId, u64) {
    const BYTES: usize = 1_800_000;
    let mut world = World::new(Uses::NONE);
    let socket = world.follow(Generation::V03, 7);
    let mut next = 1;
    let mut push = |world: &mut World| {
        next += 1;
        world.push(&[Sample::padded(next - 1, BYTES)])
    };
    push(&mut world);
    let pinged_ms = world.now_ms;
    assert_eq!(world.ping(socket, Some(pinged_ms)).len(), 0);
    world.now_ms += PLAIN_PING_MS;
    for _ in 1..PLAIN_CONNECTION_BYTES_MAX / BYTES {
        assert_eq!(sent(&push(&mut world), socket).len(), 1);
    }
    let outputs = push(&mut world);
    assert_eq!(sent(&outputs, socket).len(), 0, "it is held back");
    let is_probe = |output: &Output<_>| matches!(output, Output::Probe { connection } if *connection == socket);
    assert!(outputs.iter().any(is_probe));
    (world, socket, pinged_ms)
}

#[test]
fn what_is_held_back_from_a_0_3_socket_is_sent_once_a_ping_shows_that_its_client_reads() {
    let (mut world, socket, pinged_ms) = doubtful();
    let outputs = world.ping(socket, Some(pinged_ms + PLAIN_PING_MS));
    let [held] = sent(&outputs, socket)[..] else {
        panic!("{} outputs", outputs.len());
    };
    assert!(held.contains(r#""seqNum":9"#));
    assert_eq!(closed(&outputs), []);
    let outputs = world.ping(socket, Some(pinged_ms + PLAIN_PING_MS));
    assert_eq!(outputs.len(), 0, "once");
}

#[test]
fn a_0_3_socket_whose_client_has_not_been_heard_of_since_is_closed() {
    for is_earlier in [true, false] {
        let (mut world, socket, pinged_ms) = doubtful();
        let outputs = world.ping(socket, is_earlier.then_some(pinged_ms));
        assert_eq!(closed(&outputs), [(socket, 1013)]);
        assert!(world.backend.peer(socket).is_none());
    }
}

#[test]
fn each_part_of_a_batch_is_shown_to_its_hook_once_however_many_get_it() {
    let mut world = World::new(Uses::NONE.on_pull_res());
    let count = i64::from(PAGE_EVENTS_MAX);
    let samples = |range: std::ops::RangeInclusive<i64>| range.map(Sample::new).collect::<Vec<_>>();
    let outputs = world.push(&samples(1..=2));
    assert_eq!(asked(&outputs).len(), 0, "nobody gets it");

    let followers = [(Generation::V05, 7), (Generation::V04, 8)]
        .map(|(generation, counter)| world.follow(generation, counter));
    let mut outputs = world.push(&samples(3..=3 + count));
    let sockets = followers.map(|follower| sent(&outputs, follower).len());
    assert_eq!(sockets, [2, 2], "they have left by then");
    let mut shown = Vec::new();
    while let [ask] = asked(&outputs)[..] {
        let Hook::PullRes { frame } = &ask.hook else {
            panic!("{:?}", ask.hook)
        };
        shown.push(frame.as_str().to_owned());
        let id = ask.id;
        outputs = world.turn(|backend, turn| backend.on_verdict(id, Ok(()), turn));
        let again = followers.map(|follower| sent(&outputs, follower).len());
        assert_eq!(again, [0, 0]);
    }
    assert_eq!(shown.len(), 2);
    assert!(shown[0].contains(r#""seqNum":3,"#) && shown[1].contains(r#""seqNum":103,"#));
}

#[test]
fn as_many_bytes_wait_for_hooks_as_an_object_may_hold_and_who_comes_then_is_sent_away() {
    let mut world = World::new(Uses::NONE.on_push());
    let frame = push(&[Sample::new(1)]);
    let sockets = [(); 3].map(|()| world.socket(Family::Rpc));
    // White space takes up as much memory as anything.
    let white = " ".repeat(OBJECT_BYTES_MAX - 2 * frame.len());
    let outputs = world.say(sockets[0], &format!("{frame}{white}"));
    let [first] = asked(&outputs)[..] else {
        panic!("{outputs:?}")
    };
    let first = first.id;
    let outputs = world.say(sockets[1], &frame);
    assert_eq!(asked(&outputs).len(), 1);
    let outputs = world.say(sockets[2], &frame);
    assert_eq!(asked(&outputs).len(), 0);
    assert_eq!(closed(&outputs), [(sockets[2], 1013)]);

    world.turn(|backend, turn| backend.on_verdict(first, Ok(()), turn));
    let again = world.socket(Family::Rpc);
    let outputs = world.say(again, &frame);
    assert_eq!(asked(&outputs).len(), 1);
}

#[test]
fn a_push_that_is_refused_is_shown_to_its_hook_after_its_client_was_told_and_nothing_waits_for_that()
 {
    let mut world = World::new(Uses::NONE.on_push_res());
    world.push(&[Sample::new(1)]);
    let socket = world.socket(Family::Rpc);
    let outputs = world.say(socket, &push(&[Sample::new(7)]));
    assert_eq!(sent(&outputs, socket).len(), 1);
    let [ask] = asked(&outputs)[..] else {
        panic!("{outputs:?}")
    };
    let Hook::PushRes {
        refusal: Some(refusal),
    } = &ask.hook
    else {
        panic!("{:?}", ask.hook)
    };
    assert!(refusal.contains("head"), "{refusal}");
    let told = outputs
        .iter()
        .position(|output| matches!(output, Output::Send { .. }));
    let shown = outputs
        .iter()
        .position(|output| matches!(output, Output::Ask(_)));
    assert!(told < shown);
    let id = ask.id;
    let outputs = world.turn(|backend, turn| backend.on_verdict(id, Err("no".into()), turn));
    assert!(sent(&outputs, socket).is_empty());
    assert!(
        matches!(&outputs[..], [Output::Report(report)] if report.to_string().contains("no")),
        "{outputs:?}"
    );
}
