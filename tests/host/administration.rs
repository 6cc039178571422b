//! What an operator does to a store while it is used.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ConnectionId, Frame, Output, Progress, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::Limits;
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::{Heard, Sample, Speaker, batch_json, hear, seq_num};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

const STORE: &str = "administered";
const OLD: &str = "the-first-lifetime---";
const NEW: &str = "the-second-lifetime--";
const EVENTS: i64 = 6;
const NOW_MS: u64 = 1_795_342_751_954;

/// A store of events that are each alone in their page.
fn backend() -> SyncBackend<HostSql> {
    let sql = HostSql::in_memory(Binding::Doubles);
    let fresh = BackendId::stored(OLD.to_owned());
    let (store, _) = EventStore::open(sql, StoreId::new(STORE), fresh).unwrap();
    let mut backend = SyncBackend::new(
        store,
        Limits::default(),
        Rules::default(),
        fresh_ids(&[NEW]),
    );
    let pusher = backend.connect(Family::Rpc, Grant::default(), NOW_MS);
    for number in 1..=EVENTS {
        let batch = batch_json(&[Sample::padded(number, 800_000)]);
        let push = speaker(Generation::V04).push("\"1\"", None, &batch);
        backend.on_frame(pusher, Frame::Text(&push), &mut Turn::at(NOW_MS));
    }
    backend.disconnect(pusher, &mut Turn::at(NOW_MS));
    assert_eq!(backend.store().head().get(), 6);
    backend
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

fn sent(turn: &Turn<HostText>, receiver: ConnectionId) -> Vec<&str> {
    let frames = turn.out.iter().filter_map(|output| match output {
        Output::Send { to, frame, .. } if *to == receiver => Some(frame.as_str()),
        _ => None,
    });
    frames.collect()
}

#[test]
fn a_reset_ends_a_pull_that_is_being_answered_as_one_of_another_lifetime() {
    for generation in [Generation::V04, Generation::V05] {
        for (transport, group) in [
            (Transport::Http, "SyncHttpRpc"),
            (Transport::DoRpc, "SyncDoRpc"),
        ] {
            let mut backend = backend();
            let request = backend.connect_once(transport, Grant::default(), NOW_MS);
            let pull = speaker(generation).pull(&speaker(generation).id(7), false, None);
            let pull = pull.replace("SyncWsRpc", group);
            let mut turn = Turn::at(NOW_MS);
            backend.on_frame(request, Frame::Text(&pull), &mut turn);
            assert_eq!(backend.progress(request), Progress::More);
            let pages = sent(&turn, request).len();
            assert!((1..6).contains(&pages), "{pages} pages");

            let mut turn = Turn::at(NOW_MS);
            assert_eq!(backend.reset(&mut turn).unwrap().as_str(), NEW);
            let last = sent(&turn, request);
            assert_eq!(last.len(), 1);
            for part in ["BackendIdMismatchError", OLD, NEW, "\"Failure\""] {
                assert!(last[0].contains(part), "{}", last[0]);
            }
            assert_eq!(backend.progress(request), Progress::Done);
            let mut turn = Turn::at(NOW_MS);
            backend.go_on(request, &mut turn);
            assert!(sent(&turn, request).is_empty(), "nothing follows");
        }
    }
}

#[test]
fn a_reset_ends_live_pulls_in_their_dialect_before_their_sockets_are_closed() {
    for generation in [Generation::V04, Generation::V05] {
        let mut backend = backend();
        let socket = backend.connect(Family::Rpc, Grant::default(), NOW_MS);
        let id = speaker(generation).id(7);
        let pull = speaker(generation).pull(&id, true, None);
        backend.on_frame(socket, Frame::Text(&pull), &mut Turn::at(NOW_MS));
        let mut turn = Turn::at(NOW_MS);
        backend.reset(&mut turn).unwrap();
        let outputs = turn.out.iter().position(|output| matches!(output, Output::Close { connection, code: 1012, .. } if *connection == socket));
        let closed = outputs.expect("it is closed");
        assert!(
            !turn.out[closed..]
                .iter()
                .any(|output| matches!(output, Output::Send { .. }))
        );
        let [last] = sent(&turn, socket)[..] else {
            panic!("{turn:?}")
        };
        let Heard::Failed { id: ended, error } = hear(Family::Rpc, last) else {
            panic!("{last}")
        };
        assert_eq!(
            (ended, &error["_tag"]),
            (id, &"BackendIdMismatchError".into())
        );
        assert_eq!(
            (&error["expected"], &error["received"]),
            (&NEW.into(), &OLD.into())
        );
        assert_eq!(backend.socket_count(), 0);
    }
}

#[test]
fn a_0_3_socket_gets_the_next_lifetime_only_once_it_pulls_from_its_beginning() {
    let mut backend = backend();
    let socket = backend.connect(Family::Plain, Grant::default(), NOW_MS);
    let plain = speaker(Generation::V03);
    let pull = |id: u64, after: Option<i64>| {
        plain.pull(&plain.id(id), true, after.map(|after| ("", after)))
    };
    let frame = pull(1, Some(5));
    backend.on_frame(socket, Frame::Text(&frame), &mut Turn::at(NOW_MS));
    backend.reset(&mut Turn::at(NOW_MS)).unwrap();
    let pusher = backend.connect(Family::Rpc, Grant::default(), NOW_MS);
    let mut say = |from, frame: &str| {
        let mut turn = Turn::at(NOW_MS);
        backend.on_frame(from, Frame::Text(frame), &mut turn);
        sent(&turn, socket)
            .iter()
            .map(|frame| hear(Family::Plain, frame))
            .collect::<Vec<_>>()
    };
    let push = |number| {
        let batch = batch_json(&[Sample::new(number)]);
        speaker(Generation::V04).push("\"1\"", None, &batch)
    };
    for number in 1..=2 {
        assert_eq!(say(pusher, &push(number)), []);
    }
    // The log has such an event again, which is another.
    for after in 1..=2 {
        let heard = say(socket, &pull(2, Some(after)));
        assert!(
            matches!(&heard[..], [Heard::Failed { .. }]),
            "{after}: {heard:?}"
        );
    }
    let numbers = |heard: &[Heard]| match heard {
        [Heard::Page { events, .. }] => events.iter().map(seq_num).collect::<Vec<_>>(),
        _ => panic!("{heard:?}"),
    };
    assert_eq!(numbers(&say(socket, &pull(3, None))), [1, 2]);
    assert_eq!(numbers(&say(pusher, &push(3))), [3]);
}

#[test]
fn those_who_are_disconnected_are_counted_if_they_have_a_socket() {
    let mut backend = backend();
    for family in [Family::Rpc, Family::Plain, Family::Rpc] {
        backend.connect(family, Grant::default(), NOW_MS);
    }
    let request = backend.connect_once(Transport::Http, Grant::default(), NOW_MS);
    let pull = speaker(Generation::V05).pull("7", false, None);
    let pull = pull.replace("SyncWsRpc", "SyncHttpRpc");
    backend.on_frame(request, Frame::Text(&pull), &mut Turn::at(NOW_MS));
    assert_eq!(backend.progress(request), Progress::More);
    let mut disconnect_all = || backend.disconnect_all("moved", &mut Turn::at(NOW_MS));
    assert_eq!(disconnect_all(), 3);
    assert_eq!(disconnect_all(), 0);
    assert_eq!(backend.progress(request), Progress::Done);
}
