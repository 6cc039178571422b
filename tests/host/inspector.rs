//! An operator who looks on by a socket: follows the log as clients do, asks no hook, pushes nothing, and changes nothing for
//! the clients beside it.

use livestore_sync_worker::auth::{Access, Grant};
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, Rules, SyncBackend, Turn};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::limits::{Limits, PULL_PATIENCE_MS, STUCK_LAG_EVENTS, STUCK_PULL_MS};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};
use serde_json::{Value, json};

use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "inspected";
const SPEAKER: Speaker<'static> = Speaker {
    generation: Generation::V04,
    store_id: STORE,
};

struct World {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    uses: Uses,
    now_ms: u64,
    head: i64,
}

impl World {
    fn new(uses: Uses) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        Self {
            backend: Self::open(&sql, uses),
            sql,
            uses,
            now_ms: 1_795_342_751_954,
            head: 0,
        }
    }

    fn open(sql: &HostSql, uses: Uses) -> SyncBackend<HostSql> {
        let fresh = BackendId::stored("a-lifetime-of-the-log".to_owned());
        let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
        let rules = Rules {
            uses,
            ..Rules::default()
        };
        let fresh_ids = fresh_ids(&["the-second-lifetime--"]);
        SyncBackend::new(store, Limits::default(), rules, fresh_ids)
    }

    /// The object leaves memory and comes back with one of its sockets.
    fn evict(&mut self, socket: ConnectionId) -> ConnectionId {
        let kept = self.backend.attachment(socket).unwrap();
        self.backend = Self::open(&self.sql, self.uses);
        self.backend.reconnect(&kept, self.now_ms).unwrap()
    }

    fn inspector(&mut self) -> ConnectionId {
        let grant = Grant::inspector();
        self.backend.connect(Family::Rpc, grant, self.now_ms)
    }

    fn client(&mut self, family: Family) -> ConnectionId {
        self.backend.connect(family, Grant::default(), self.now_ms)
    }

    fn say(&mut self, from: ConnectionId, frame: &str) -> Vec<Output<HostText>> {
        let mut turn = Turn::at(self.now_ms);
        self.backend.on_frame(from, Frame::Text(frame), &mut turn);
        turn.out
    }

    /// A live pull of everything; its first page is acknowledged.
    fn follow(&mut self, socket: ConnectionId) -> Vec<Output<HostText>> {
        let outputs = self.say(socket, &SPEAKER.pull("\"7\"", true, None));
        self.say(socket, &ack("\"7\""));
        outputs
    }

    /// A push of so many events by a client that stays.
    fn push(&mut self, count: i64) -> Vec<Output<HostText>> {
        let events: Vec<_> = (self.head + 1..=self.head + count)
            .map(Sample::new)
            .collect();
        self.head += count;
        let pusher = self.client(Family::Rpc);
        self.say(pusher, &SPEAKER.push("\"1\"", None, &batch_json(&events)))
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.backend.state(self.now_ms).unwrap()).unwrap()
    }
}

fn heard_by(outputs: &[Output<HostText>], receiver: ConnectionId) -> Vec<Heard> {
    let frames = outputs.iter().filter_map(|output| match output {
        Output::Send { to, frame } if *to == receiver => Some(hear(Family::Rpc, frame.as_str())),
        _ => None,
    });
    frames.collect()
}

/// The numbers of the events in these frames.
fn numbers(heard: &[Heard]) -> Vec<i64> {
    let pages = heard.iter().filter_map(|heard| match heard {
        Heard::Page { events, .. } => Some(events),
        _ => None,
    });
    pages
        .flatten()
        .map(|event| event["seqNum"].as_i64().unwrap())
        .collect()
}

fn asks(outputs: &[Output<HostText>]) -> usize {
    let asks = outputs
        .iter()
        .filter(|output| matches!(output, Output::Ask(_)));
    asks.count()
}

#[test]
fn it_follows_the_log_and_no_hook_hears_of_it_not_even_after_an_eviction() {
    let uses = Uses::NONE.on_push_res().on_pull().on_pull_res();
    for is_evicted in [false, true] {
        let mut world = World::new(uses);
        world.push(3);
        let mut inspector = world.inspector();
        let outputs = world.follow(inspector);
        assert_eq!(numbers(&heard_by(&outputs, inspector)), [1, 2, 3]);
        assert_eq!(asks(&outputs), 0);
        if is_evicted {
            inspector = world.evict(inspector);
        }
        let outputs = world.push(2);
        assert_eq!(numbers(&heard_by(&outputs, inspector)), [4, 5]);
        // That the push is stored; not that a page was sent, since no client was sent any.
        assert_eq!(asks(&outputs), 1);
        let outputs = world.say(inspector, &SPEAKER.pull("\"9\"", false, None));
        assert_eq!(numbers(&heard_by(&outputs, inspector)), [1, 2, 3, 4, 5]);
        assert_eq!(asks(&outputs), 0);
        let state = world.state();
        let sockets = state["sockets"].as_array().unwrap();
        let inspectors = sockets.iter().filter(|socket| socket["inspector"] == true);
        assert_eq!(inspectors.count(), 1);
    }
}

#[test]
fn a_push_of_it_is_refused_whatever_it_holds_and_no_hook_sees_it() {
    let uses = Uses::NONE.on_push().on_push_res();
    for batch in ["[]".to_owned(), batch_json(&[Sample::new(1)])] {
        let mut world = World::new(uses);
        let inspector = world.inspector();
        let outputs = world.say(inspector, &SPEAKER.push("\"1\"", None, &batch));
        let [Heard::Failed { error, .. }] = &heard_by(&outputs, inspector)[..] else {
            panic!("{outputs:?}");
        };
        assert!(error.to_string().contains("reading alone"), "{error}");
        assert_eq!(asks(&outputs), 0);
        assert_eq!(world.backend.store().head().get(), 0);
    }
}

#[test]
fn a_client_is_answered_by_the_hook_as_without_it() {
    // The hook is shown what clients are sent, once, whoever is the first to be sent it.
    let mut world = World::new(Uses::NONE.on_pull_res());
    let inspector = world.inspector();
    world.follow(inspector);
    let client = world.client(Family::Rpc);
    for output in world.say(client, &SPEAKER.pull("\"7\"", true, None)) {
        if let Output::Ask(ask) = output {
            let mut turn = Turn::at(world.now_ms);
            world.backend.on_verdict(ask.id, Ok(()), &mut turn);
        }
    }
    world.say(client, &ack("\"7\""));
    let outputs = world.push(1);
    for receiver in [inspector, client] {
        assert_eq!(numbers(&heard_by(&outputs, receiver)), [1]);
    }
    assert_eq!(asks(&outputs), 1);
}

#[test]
fn it_is_taken_for_no_client_that_waits_for_a_lost_pull_nor_its_pull_for_a_lost_one() {
    let mut world = World::new(Uses::NONE);
    world.backend.reset(&mut Turn::at(world.now_ms)).unwrap();
    // After a reset, a client that does not pull would be closed; one that has named the lifetime would be asked.
    let (idle, following) = (world.inspector(), world.inspector());
    world.follow(following);
    let client = world.client(Family::Rpc);
    let backend_id = world.backend.store().backend_id().as_str().to_owned();
    let named = SPEAKER.push("\"5\"", Some(&backend_id), &batch_json(&[Sample::new(1)]));
    world.say(client, &named);
    world.head = 1;
    world.now_ms += PULL_PATIENCE_MS + 1;
    let outputs = world.push(1);
    assert!(heard_by(&outputs, idle).is_empty(), "{outputs:?}");
    assert!(heard_by(&outputs, client).is_empty(), "{outputs:?}");
    let closed = outputs
        .iter()
        .any(|output| matches!(output, Output::Close { .. }));
    assert!(!closed, "{outputs:?}");
    assert_eq!(numbers(&heard_by(&outputs, following)), [2]);
}

#[test]
fn pings_are_answered_for_the_clients_beside_it() {
    for (clients, expected) in [
        (&[][..], Family::Rpc),
        (&[Family::Plain], Family::Plain),
        (&[Family::Plain, Family::Rpc], Family::Rpc),
        (&[Family::Rpc], Family::Rpc),
    ] {
        let mut world = World::new(Uses::NONE);
        assert_eq!(world.backend.pinging(), None);
        let inspector = world.inspector();
        for family in clients {
            world.client(*family);
        }
        assert_eq!(world.backend.pinging(), Some(expected), "{clients:?}");
        let mut turn = Turn::at(world.now_ms);
        world.backend.disconnect(inspector, &mut turn);
        let without = (!clients.is_empty()).then_some(expected);
        assert_eq!(world.backend.pinging(), without, "{clients:?}");
    }
}

#[test]
fn one_that_takes_nothing_alarms_nobody() {
    let lag = |world: &World| {
        let metrics = world.backend.metrics(0, world.now_ms).unwrap();
        let mut lines = metrics.lines();
        let lag = lines.find(|line| line.starts_with("livestore_sync_pull_lag_events{"));
        let (_, lag) = lag.unwrap().rsplit_once(' ').unwrap();
        lag.parse::<u64>().unwrap()
    };
    for is_inspector in [true, false] {
        let mut world = World::new(Uses::NONE);
        let socket = if is_inspector {
            world.inspector()
        } else {
            world.client(Family::Rpc)
        };
        world.say(socket, &SPEAKER.pull("\"7\"", true, None));
        let mut outputs = Vec::new();
        for _ in 0..30 {
            world.now_ms += STUCK_PULL_MS / 10;
            outputs.extend(world.push(i64::try_from(STUCK_LAG_EVENTS / 10).unwrap()));
        }
        let told = outputs
            .iter()
            .any(|output| matches!(output, Output::Report(report) if report.to_string().contains("takes none")));
        assert_eq!(told, !is_inspector);
        assert_eq!(lag(&world) == 0, is_inspector);
        // The state says it of that socket.
        assert_eq!(world.state()["sockets"][0]["stuck"], true);
    }
}

#[test]
fn no_token_makes_an_inspector() {
    assert_eq!(Grant::inspector().access, Access::Inspect);
    assert_eq!(Grant::inspector().json(), r#"{"access":"inspect"}"#);
    let mut world = World::new(Uses::NONE);
    world.client(Family::Rpc);
    world.inspector();
    let state = world.state();
    let flags: Vec<&Value> = state["sockets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|socket| &socket["inspector"])
        .collect();
    assert_eq!(flags, [&json!(false), &json!(true)]);
}
