//! What an operator sees of a store: its state, its metrics, the lines about those who are stuck, what is on its way and
//! who has to leave when that is as much as an object may hold, and whether it sleeps.

use std::collections::BTreeMap;

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ConnectionId, Duration, Frame, Output, Reason, Report, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{
    Limits, NAME_BYTES_KEPT, OBJECT_BYTES_MAX, PLAIN_PING_MS, PLAIN_STALL_MS, PROBE_MS,
    SOCKETS_LISTED, STALL_MS, STUCK_LAG_EVENTS, STUCK_PULL_MS, STUCK_REFUSALS, WINDOW_PAGES,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation, Transport};
use serde_json::{Value, json};

use crate::client::{Sample, Speaker, ack, batch_json};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "a \"room\" with a \\ and\nanother line";
const LIFETIME: &str = "a-lifetime-of-the-log";
const THEN_MS: u64 = 1_795_342_751_954;
const THEN: &str = "2026-11-22T10:19:11.954Z";

struct World {
    backend: SyncBackend<HostSql>,
    now_ms: u64,
    next: i64,
}

impl World {
    fn new() -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let fresh = BackendId::stored(LIFETIME.to_owned());
        let (store, _) = EventStore::open(sql, StoreId::new(STORE), fresh).unwrap();
        let (limits, rules) = (Limits::default(), Rules::default());
        Self {
            backend: SyncBackend::new(store, limits, rules, fresh_ids(&[])),
            now_ms: THEN_MS,
            next: 1,
        }
    }

    /// A store of events that are each alone in their page, five of which are what one socket is sent at once.
    fn large(events: i64) -> Self {
        let mut world = Self::new();
        for number in 1..=events {
            let pusher = world.socket(Family::Rpc);
            let batch = batch_json(&[Sample::padded(number, 800_000)]);
            let push = speaker(Generation::V04).push("\"1\"", None, &batch);
            world.say(pusher, &push);
            let mut turn = Turn::at(world.now_ms);
            world.backend.disconnect(pusher, &mut turn);
        }
        world
    }

    fn socket(&mut self, family: Family) -> ConnectionId {
        self.backend.connect(family, Grant::default(), self.now_ms)
    }

    fn say(&mut self, from: ConnectionId, frame: &str) -> Turn<HostText> {
        let mut turn = Turn::at(self.now_ms);
        self.backend.on_frame(from, Frame::Text(frame), &mut turn);
        turn
    }

    /// A push of `count` events by a socket that leaves again.
    fn push(&mut self, count: i64) -> Turn<HostText> {
        let events: Vec<_> = (self.next..self.next + count).map(Sample::new).collect();
        self.next += count;
        let pusher = self.socket(Family::Rpc);
        let turn = self.say(
            pusher,
            &speaker(Generation::V04).push("\"1\"", None, &batch_json(&events)),
        );
        self.backend.disconnect(pusher, &mut Turn::at(self.now_ms));
        turn
    }

    /// A live pull of everything; the last page is acknowledged.
    fn follow(&mut self, generation: Generation) -> ConnectionId {
        let socket = self.socket(generation.family());
        let id = speaker(generation).id(7);
        self.say(socket, &speaker(generation).pull(&id, true, None));
        if generation != Generation::V03 {
            self.say(socket, &ack(&id));
        }
        socket
    }

    fn client_object(&mut self, id: &str) {
        let request = json!([{
            "_tag": "Request", "id": 5, "tag": "SyncDoRpc.Pull",
            "payload": {
                "storeId": STORE, "cursor": {"_tag": "None"},
                "rpcContext": {"callerContext": {"bindingName": "CLIENT", "durableObjectId": id}},
            },
        }]);
        let (transport, grant) = (Transport::DoRpc, Grant::default());
        let call = self.backend.connect_once(transport, grant, self.now_ms);
        self.say(call, &request.to_string());
        self.backend.disconnect(call, &mut Turn::at(self.now_ms));
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.backend.state(self.now_ms).unwrap()).unwrap()
    }

    fn metrics(&self) -> Metrics {
        Metrics::read(&self.backend.metrics(THEN_MS, self.now_ms).unwrap())
    }
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

/// What Prometheus makes of the text.
struct Metrics {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, u64>,
}

impl Metrics {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut helped = "";
        let label = r#"store="a \"room\" with a \\ and\nanother line""#;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP livestore_sync_") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.'), "{line}");
                helped = name;
            } else if let Some(kind) = line.strip_prefix("# TYPE livestore_sync_") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped);
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none());
            } else {
                let sample = line.strip_prefix("livestore_sync_").expect(line);
                assert!(sample.starts_with(helped), "{line}");
                let (series, value) = sample.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap();
                let labels = labels.strip_suffix('}').unwrap();
                let others = labels.strip_prefix(label).expect(line);
                let series = if let Some(others) = others.strip_prefix(',') {
                    format!("{name} {others}")
                } else {
                    assert_eq!(others, "", "{line}");
                    name.to_owned()
                };
                let value = value.parse().expect(line);
                assert!(samples.insert(series, value).is_none(), "{line}");
            }
        }
        Self { kinds, samples }
    }

    fn of(&self, series: &str) -> u64 {
        *self.samples.get(series).expect(series)
    }
}

#[test]
fn the_state_of_an_empty_store_is_complete() {
    let world = World::new();
    let bytes = world.backend.store().size_bytes();
    assert!(bytes > 4_096, "{bytes}");
    assert_eq!(
        world.state(),
        json!({
            "storeId": STORE, "backendId": LIFETIME, "head": 0, "events": 0, "bytes": bytes, "format": 7, "status": "open", "status": "open",
            "status": "open",
            "time": THEN, "lastPush": null,
            "connections": {
                "byTransport": {"ws": 0, "http": 0, "do-rpc": 0},
                "byGeneration": {"v03": 0, "v04": 0, "v05": 0, "unknown": 0},
            },
            "inFlightBytes": 0, "sockets": [], "clientObjects": [], "stuckClients": [], "lastErrors": [],
        })
    );
}

#[test]
fn the_state_names_everyone_who_is_connected_and_what_each_lacks() {
    let mut world = World::new();
    world.push(3);
    world.now_ms += 10_000;
    world.client_object("object-1");
    // It has acknowledged its page, and then nothing.
    world.follow(Generation::V04);
    world.follow(Generation::V03);
    // Has asked for nothing.
    world.socket(Family::Rpc);
    let (http, grant) = (Transport::Http, Grant::default());
    world.backend.connect_once(http, grant, world.now_ms);
    world.push(2);
    let silent = world.follow(Generation::V05);
    world.say(silent, &speaker(Generation::V05).pull("8", true, None));

    let state = world.state();
    assert_eq!(
        state["connections"],
        json!({
            "byTransport": {"ws": 4, "http": 1, "do-rpc": 0},
            "byGeneration": {"v03": 1, "v04": 1, "v05": 1, "unknown": 2},
        })
    );
    let socket = |generation: &str, pulls: u64, unacknowledged: u64| {
        json!({
            "transport": "ws", "generation": generation, "pulls": pulls, "lag": 0,
            "unacknowledged": unacknowledged, "stuck": false,
            "subject": null, "clientId": null, "inspector": false,
        })
    };
    let mut sockets = state["sockets"].as_array().unwrap().clone();
    sockets.sort_by_key(|socket| socket["generation"].as_str().unwrap().to_owned());
    assert_eq!(
        sockets,
        [
            socket("unknown", 0, 0),
            socket("v03", 0, 0),
            socket("v04", 1, 1),
            socket("v05", 2, 1)
        ]
    );
    assert_eq!(
        state["clientObjects"],
        json!([{"binding": "CLIENT", "id": "object-1", "generation": "v05", "lag": 2}])
    );
    let then = "2026-11-22T10:19:21.954Z";
    assert_eq!(state["lastPush"], json!({"seqNum": 5, "at": then}));
    assert_eq!((&state["head"], &state["events"]), (&5.into(), &5.into()));
    assert_eq!(state["time"], then);
    assert!(state["inFlightBytes"].as_u64().unwrap() > 0);

    let metrics = world.metrics();
    for (name, value) in [
        ("head", 5),
        ("sockets", 4),
        ("client_objects", 1),
        ("pull_lag_events", 2),
        ("woken_timestamp_seconds", THEN_MS / 1_000),
        ("store_bytes", world.backend.store().size_bytes()),
        ("in_flight_bytes", state["inFlightBytes"].as_u64().unwrap()),
    ] {
        assert_eq!(metrics.of(name), value, "{name}");
        assert_eq!(metrics.kinds[name], "gauge");
    }
}

#[test]
fn so_many_sockets_are_listed_and_all_are_counted() {
    let mut world = World::new();
    for _ in 0..=SOCKETS_LISTED {
        world.socket(Family::Rpc);
    }
    let state = world.state();
    assert_eq!(state["sockets"].as_array().unwrap().len(), SOCKETS_LISTED);
    let all = SOCKETS_LISTED + 1;
    assert_eq!(state["connections"]["byTransport"]["ws"], all);
    assert_eq!(world.metrics().of("sockets"), all as u64);
}

#[test]
fn each_counter_counts_what_its_name_says() {
    let mut world = World::new();
    let live = world.follow(Generation::V04);
    world.follow(Generation::V03);
    world.push(3);
    world.push(1);
    world.next = 4;
    world.push(1);
    let socket = world.socket(Family::Rpc);
    world.say(socket, &speaker(Generation::V04).pull("\"1\"", false, None));
    world.next = 2;
    let lost = {
        let mut event = Sample::new(2);
        event.client_id = "late".to_owned();
        speaker(Generation::V04).push("\"2\"", None, &batch_json(&[event]))
    };
    world.say(socket, &lost);
    world.say(live, "no JSON");

    let metrics = world.metrics();
    for (name, value) in [
        ("pushes_total", 2),
        ("pushes_repeated_total", 1),
        ("events_total", 4),
        ("pulls_total", 3),
        ("pages_total", 3),
        ("deliveries_total", 4),
        ("calls_failed_total", 0),
        // Those of the pushes, too.
        ("connections_total", 6),
    ] {
        assert_eq!(metrics.of(name), value, "{name}");
        assert_eq!(metrics.kinds[name], "counter");
    }
    for reason in Reason::ALL {
        let expected = match reason {
            Reason::ServerAhead | Reason::Malformed => 1,
            _ => 0,
        };
        let series = format!("refusals_total reason=\"{}\"", reason.name());
        assert_eq!(metrics.of(&series), expected, "{series}");
    }
    assert_eq!(metrics.kinds["refusals_total"], "counter");
}

#[test]
fn a_duration_is_in_every_bucket_that_is_not_below_it() {
    let mut world = World::new();
    let bounds = [
        "1", "2", "5", "10", "25", "50", "100", "250", "1000", "5000", "+Inf",
    ];
    for ms in [0, 1, 2, 3, 1_000, 1_001, 5_000, 60_000] {
        world.backend.stats().observe(Duration::Frame, ms);
    }
    world.backend.stats().observe(Duration::Call, 7);
    let metrics = world.metrics();
    for (what, buckets, sum, count) in [
        ("frame", [2, 3, 4, 4, 4, 4, 4, 4, 5, 7, 8], 67_007, 8),
        ("call", [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], 7, 1),
        ("request", [0; 11], 0, 0),
    ] {
        let name = "duration_milliseconds";
        for (bound, expected) in bounds.iter().zip(buckets) {
            let series = format!("{name}_bucket what=\"{what}\",le=\"{bound}\"");
            assert_eq!(metrics.of(&series), expected, "{series}");
        }
        assert_eq!(metrics.of(&format!("{name}_sum what=\"{what}\"")), sum);
        assert_eq!(metrics.of(&format!("{name}_count what=\"{what}\"")), count);
        assert_eq!(metrics.kinds[name], "histogram");
    }
}

#[test]
fn a_client_that_loses_every_race_is_named_once_and_listed_with_its_refusals() {
    let mut world = World::new();
    world.push(5);
    let socket = world.socket(Family::Rpc);
    let late = |id: u32| {
        let mut event = Sample::new(2);
        event.client_id = "late".to_owned();
        speaker(Generation::V05).push(&id.to_string(), None, &batch_json(&[event]))
    };
    let mut told = Vec::new();
    for id in 1..=STUCK_REFUSALS + 1 {
        let turn = world.say(socket, &late(id));
        told.extend(turn.out.into_iter().filter_map(|output| match output {
            Output::Report(Report::StuckClient {
                client_id,
                refusals,
            }) => Some((id, client_id, refusals)),
            _ => None,
        }));
    }
    let last = STUCK_REFUSALS;
    assert_eq!(told, [(last, "late".to_owned(), last)]);
    let state = world.state();
    assert_eq!(
        state["stuckClients"],
        json!([{
            "clientId": "late", "refusals": STUCK_REFUSALS + 1, "reason": "server-ahead",
            "message": "a push continued from 1, but the head is 5", "head": 1,
        }])
    );
    // Lost races are routine.
    assert_eq!(state["lastErrors"], json!([]));
    world.now_ms += 1;
    world.say(socket, "no JSON");
    let errors = world.state()["lastErrors"].clone();
    assert_eq!(errors[0]["at"], "2026-11-22T10:19:11.955Z");
    assert_eq!(errors[0]["reason"], "malformed");
    assert!(
        errors[0]["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(errors.as_array().unwrap().len(), 1);
}

#[test]
fn sockets_and_errors_name_the_client_and_the_subject_as_far_as_they_are_known() {
    let mut world = World::new();
    let grant = |claims: Option<&str>| Grant {
        claims: claims.map(str::to_owned),
        ..Grant::default()
    };
    let long = "ü".repeat(NAME_BYTES_KEPT);
    let cut = "ü".repeat(NAME_BYTES_KEPT / 2);
    let of_long = format!(r#"{{"sub":"{long}"}}"#);
    let mut head = 0;
    for (claims, client_id, subject, named) in [
        (None, None, Value::Null, Value::Null),
        (Some("{}"), Some("one"), Value::Null, json!("one")),
        (
            Some(r#"{"iat":1,"sub":"a \"\u00fc"}"#),
            Some("two \"ü\""),
            json!("a \"ü"),
            json!("two \"ü\""),
        ),
        (Some(r#"{"sub":7}"#), None, json!("7"), Value::Null),
        (Some(&of_long), Some(&*long), json!(cut), json!(cut)),
    ] {
        let socket = world
            .backend
            .connect(Family::Rpc, grant(claims), world.now_ms);
        if let Some(client_id) = client_id {
            head += 1;
            let event = Sample {
                client_id: client_id.to_owned(),
                ..Sample::new(head)
            };
            let push = speaker(Generation::V04).push("\"1\"", None, &batch_json(&[event]));
            world.say(socket, &push);
        }
        let state = world.state();
        let listed = &state["sockets"][0];
        assert_eq!(
            (&listed["subject"], &listed["clientId"]),
            (&subject, &named)
        );
        world.say(socket, "no JSON");
        let state = world.state();
        let last = state["lastErrors"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&last["reason"], &last["subject"], &last["clientId"]),
            (&json!("malformed"), &subject, &named)
        );
        world
            .backend
            .disconnect(socket, &mut Turn::at(world.now_ms));
    }
}

#[test]
fn a_push_that_is_refused_names_its_client_also_where_that_ends_the_connection() {
    let mut world = World::new();
    world.push(2);
    let grant = |expires_at_ms| Grant {
        claims: Some(r#"{"sub":"somebody"}"#.to_owned()),
        expires_at_ms,
        ..Grant::default()
    };
    let frame = |name: &str, seq_num: i64| {
        let mut event = Sample::new(seq_num);
        event.client_id = name.to_owned();
        event.parent_seq_num = 0;
        speaker(Generation::V04).push("\"1\"", None, &batch_json(&[event]))
    };
    let now_ms = world.now_ms;
    let socket = world.backend.connect(Family::Rpc, grant(None), now_ms);
    // An event that does not chain; a lost race, which is no error, but names it as well.
    world.say(socket, &frame("of a gap", 0));
    world.say(socket, &frame("late", 1));
    assert_eq!(world.state()["sockets"][0]["clientId"], "late");
    let expired = world
        .backend
        .connect(Family::Rpc, grant(Some(now_ms)), now_ms);
    world.say(expired, &frame("too late", 1));
    let http = world
        .backend
        .connect_once(Transport::Http, grant(Some(now_ms)), now_ms);
    let over_http = frame("over HTTP", 1).replace("SyncWsRpc", "SyncHttpRpc");
    world.say(http, &over_http);
    let state = world.state();
    let errors: Vec<_> = state["lastErrors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (&error["reason"], &error["clientId"], &error["subject"]))
        .collect();
    let somebody = json!("somebody");
    assert_eq!(
        errors,
        [
            (&json!("no-batch"), &json!("of a gap"), &somebody),
            (&json!("expired"), &json!("too late"), &somebody),
            (&json!("expired"), &json!("over HTTP"), &somebody),
        ]
    );
}

/// Whom a turn closes, and the alarm it asks for.
fn closed(turn: &Turn<HostText>) -> (Vec<(ConnectionId, u16)>, Option<u64>) {
    let (mut closed, mut wake_ms) = (Vec::new(), None);
    for output in &turn.out {
        match output {
            Output::Close {
                connection, code, ..
            } => closed.push((*connection, *code)),
            Output::WakeAt { at_ms } => wake_ms = Some(*at_ms),
            _ => {}
        }
    }
    (closed, wake_ms)
}

fn frames_to(turn: &Turn<HostText>, receiver: ConnectionId) -> usize {
    let to =
        |output: &&Output<HostText>| matches!(output, Output::Send { to, .. } if *to == receiver);
    turn.out.iter().filter(to).count()
}

#[test]
fn a_pull_that_waits_for_its_own_client_needs_no_alarm() {
    let mut world = World::large(6);
    let socket = world.socket(Family::Rpc);
    let turn = world.say(socket, &speaker(Generation::V05).pull("7", true, None));
    assert_eq!(frames_to(&turn, socket), 5);
    assert_eq!(closed(&turn), (vec![], None));
    let turn = world.say(socket, &ack("7"));
    assert_eq!(frames_to(&turn, socket), 1);
    assert_eq!(closed(&turn), (vec![], None));
}

#[test]
fn who_has_taken_nothing_for_longest_leaves_after_ten_seconds_and_only_while_others_wait() {
    let mut world = World::large(5);
    let bytes = |world: &World| world.state()["inFlightBytes"].as_u64().unwrap();
    let pull = speaker(Generation::V05).pull("7", true, None);
    let mut sockets = Vec::new();
    while bytes(&world) < OBJECT_BYTES_MAX as u64 {
        let socket = world.socket(Family::Rpc);
        world.now_ms += 100;
        let turn = world.say(socket, &pull);
        assert_eq!(closed(&turn), (vec![], None), "nobody waits");
        sockets.push((socket, world.now_ms));
    }
    assert!(sockets.len() > 6, "{}", sockets.len());
    // However long that takes.
    world.now_ms += 3 * STALL_MS;
    let mut turn = Turn::at(world.now_ms);
    world.backend.on_alarm(&mut turn);
    assert_eq!(closed(&turn), (vec![], None));

    // All but one take something now, so that the last of them is the slowest but for that one.
    let begun_ms = world.now_ms;
    let (silent, _) = sockets.remove(1);
    for (socket, _) in &sockets {
        world.now_ms += 1;
        let turn = world.say(*socket, &ack("7"));
        assert_eq!(closed(&turn).0, []);
    }
    // Others come, until one of them finds no room.
    let come = |world: &mut World| loop {
        let socket = world.socket(Family::Rpc);
        let turn = world.say(socket, &pull);
        let (closed, wake_ms) = closed(&turn);
        if !closed.is_empty() || wake_ms.is_some() {
            return (socket, frames_to(&turn, socket), closed, wake_ms);
        }
    };
    let (late, frames, left, wake_ms) = come(&mut world);
    assert_eq!((frames, left, wake_ms), (2, vec![(silent, 1013)], None));
    assert!(!sockets.iter().any(|(socket, _)| *socket == late));

    // The next has to wait until whoever is the slowest now has taken nothing for so long.
    let (last, frames, left, wake_ms) = come(&mut world);
    let (slowest, due_ms) = (sockets[0].0, begun_ms + 1 + STALL_MS);
    assert_eq!((left, wake_ms), (vec![], Some(due_ms)));
    assert_eq!(frames, 0);
    world.now_ms = due_ms - 1;
    let mut turn = Turn::at(world.now_ms);
    world.backend.on_alarm(&mut turn);
    assert_eq!(closed(&turn), (vec![], Some(due_ms)));
    world.now_ms = due_ms;
    let mut turn = Turn::at(world.now_ms);
    world.backend.on_alarm(&mut turn);
    assert_eq!(closed(&turn).0, [(slowest, 1013)]);
    assert!(frames_to(&turn, last) > 0);
    assert_eq!(world.metrics().of("refusals_total reason=\"memory\""), 2);
}

#[test]
fn whoever_waits_for_room_still_gets_it_when_others_take_too_little_to_make_any() {
    let mut world = World::large(5);
    let follower = world.socket(Family::Rpc);
    let after = Some((LIFETIME, 5));
    world.say(follower, &speaker(Generation::V05).pull("7", true, after));
    world.say(follower, &ack("7"));
    world.next = 6;
    world.push(1);
    world.now_ms += 100;
    let first_ms = world.now_ms;
    let mut sockets = Vec::new();
    let (late, wake_ms) = loop {
        let socket = world.socket(Family::Rpc);
        let turn = world.say(socket, &speaker(Generation::V05).pull("7", true, None));
        world.now_ms += 100;
        if frames_to(&turn, socket) == 0 {
            break (socket, closed(&turn).1);
        }
        sockets.push(socket);
    };
    assert_eq!(wake_ms, Some(first_ms - 100 + STALL_MS), "the follower");
    let turn = world.say(follower, &ack("7"));
    assert_eq!(frames_to(&turn, late), 0);
    let due_ms = first_ms + STALL_MS;
    assert_eq!(closed(&turn), (vec![], Some(due_ms)));
    world.now_ms = due_ms;
    let mut turn = Turn::at(world.now_ms);
    world.backend.on_alarm(&mut turn);
    assert_eq!(closed(&turn).0, [(sockets[0], 1013)]);
    assert_eq!(frames_to(&turn, late), 5);
}

#[test]
fn a_pull_that_lacks_nothing_is_answered_whether_there_is_room_or_not() {
    let mut world = World::large(5);
    // Neither at the object nor on that connection.
    let full = loop {
        let socket = world.socket(Family::Rpc);
        let turn = world.say(socket, &speaker(Generation::V05).pull("7", true, None));
        if frames_to(&turn, socket) == 0 {
            break socket;
        }
    };
    for after in [5, 9] {
        let pull = speaker(Generation::V05).pull("8", true, Some((LIFETIME, after)));
        let late = world.socket(Family::Rpc);
        for socket in [full, late] {
            let turn = world.say(socket, &pull);
            assert_eq!(frames_to(&turn, socket), 1, "after {after}");
        }
    }
}

#[test]
fn what_a_0_3_client_took_shows_in_its_pings_and_is_no_more_on_its_way() {
    let mut world = World::large(2);
    let socket = world.follow(Generation::V03);
    let bytes = |world: &World| world.state()["inFlightBytes"].as_u64().unwrap();
    assert!(bytes(&world) > 1_600_000);
    let ping = speaker(Generation::V03).ping();
    world.say(socket, ping);
    // It was not pinged for long enough to have read the answer.
    world.now_ms += PLAIN_PING_MS - 1;
    world.say(socket, ping);
    assert!(bytes(&world) > 1_600_000);
    world.now_ms += PLAIN_PING_MS;
    world.say(socket, ping);
    assert_eq!(bytes(&world), 0);
}

#[test]
fn a_0_3_client_that_takes_nothing_of_its_pull_is_left_after_a_while_and_the_object_rests() {
    let mut world = World::large(45);
    world.now_ms += 1;
    let socket = world.follow(Generation::V03);
    let begun_ms = world.now_ms;
    let alarm = |world: &mut World| {
        let mut turn = Turn::at(world.now_ms);
        world.backend.on_alarm(&mut turn);
        turn
    };
    // First the pages for which there is room.
    while frames_to(&alarm(&mut world), socket) > 0 {}
    world.now_ms = begun_ms + PLAIN_STALL_MS - 1;
    let turn = alarm(&mut world);
    assert_eq!(closed(&turn), (vec![], Some(world.now_ms + PROBE_MS)));
    // Its pings show that it takes something, if only every now and then.
    let ping = speaker(Generation::V03).ping();
    world.say(socket, ping);
    world.now_ms += PLAIN_PING_MS;
    world.say(socket, ping);
    let heard_ms = world.now_ms;
    while frames_to(&alarm(&mut world), socket) > 0 {}
    world.now_ms = heard_ms + PLAIN_STALL_MS - 1;
    assert_eq!(closed(&alarm(&mut world)).0, []);
    world.now_ms += PROBE_MS;
    let turn = alarm(&mut world);
    assert_eq!(closed(&turn), (vec![(socket, 1013)], None));
    assert_eq!(frames_to(&turn, socket), 1, "the word for it");
}

#[test]
fn a_wake_with_nothing_to_do_sets_no_alarm() {
    for generation in [Generation::V03, Generation::V04, Generation::V05] {
        let mut world = World::new();
        world.push(3);
        let socket = world.follow(generation);
        let kept = world.backend.attachment(socket).unwrap();
        let mut turn = Turn::at(world.now_ms);
        world.backend.disconnect(socket, &mut turn);
        assert!(world.backend.reconnect(&kept, world.now_ms).is_some());
        let mut turn = Turn::at(world.now_ms);
        world.backend.on_wake(&mut turn);
        assert_eq!(closed(&turn), (vec![], None), "{generation:?}");
    }
}

/// Those that a turn says are stuck, with what they lack.
fn stuck(turn: &Turn<HostText>) -> Vec<(Generation, u64)> {
    let reports = turn.out.iter().filter_map(|output| match output {
        Output::Report(Report::StuckPull { generation, lag }) => Some((*generation, *lag)),
        _ => None,
    });
    reports.collect()
}

#[test]
fn a_live_pull_that_takes_nothing_is_named_once_as_stuck_and_no_more_when_it_goes_on() {
    for generation in [Generation::V04, Generation::V05] {
        let mut world = World::new();
        let silent = world.follow(generation);
        // One that takes what it is sent is never named.
        let quick = world.follow(Generation::V05);
        let take = |world: &mut World| {
            for _ in 0..WINDOW_PAGES {
                world.say(quick, &ack("7"));
            }
        };
        for _ in 0..WINDOW_PAGES {
            assert_eq!(stuck(&world.push(1)), []);
            take(&mut world);
        }
        // The first push that finds its window full.
        assert_eq!(stuck(&world.push(1)), []);
        take(&mut world);
        let lag = i64::try_from(STUCK_LAG_EVENTS).unwrap();
        world.now_ms += STUCK_PULL_MS;
        assert_eq!(stuck(&world.push(lag - 2)), [], "not far enough behind");
        take(&mut world);
        let socket = |world: &World, index: usize| world.state()["sockets"][index].clone();
        assert_eq!(socket(&world, 0)["stuck"], false);
        assert_eq!(
            stuck(&world.push(1)),
            [(generation, STUCK_LAG_EVENTS)],
            "once"
        );
        take(&mut world);
        assert_eq!(stuck(&world.push(1)), []);
        take(&mut world);
        assert_eq!(
            socket(&world, 0),
            json!({
                "transport": "ws", "generation": generation.name(), "pulls": 1,
                "lag": STUCK_LAG_EVENTS + 1, "unacknowledged": WINDOW_PAGES, "stuck": true,
                "subject": null, "clientId": null, "inspector": false,
            })
        );
        assert_eq!(socket(&world, 1)["stuck"], false);
        assert_eq!(world.metrics().of("pull_lag_events"), STUCK_LAG_EVENTS + 1);

        world.say(silent, &ack(&speaker(generation).id(7)));
        assert_eq!(socket(&world, 0)["stuck"], false);
    }
}
