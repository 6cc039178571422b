//! What an operator does to a store while it is used.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, SyncBackend};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::Limits;
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::{Sample, Speaker, batch_json};
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
    let mut backend = SyncBackend::new(store, Limits::default());
    let pusher = backend.connect(Family::Rpc, Grant::default(), NOW_MS);
    for number in 1..=EVENTS {
        let batch = batch_json(&[Sample::padded(number, 800_000)]);
        let push = speaker(Generation::V04).push("\"1\"", None, &batch);
        backend.on_frame(pusher, Frame::Text(&push), NOW_MS, &mut Vec::new());
    }
    backend.disconnect(pusher);
    assert_eq!(backend.store().head().get(), 6);
    backend
}

fn speaker(generation: Generation) -> Speaker<'static> {
    Speaker {
        generation,
        store_id: STORE,
    }
}

fn sent(out: &[Output<HostText>], receiver: ConnectionId) -> Vec<&str> {
    let frames = out.iter().filter_map(|output| match output {
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
            let mut out = Vec::new();
            backend.on_frame(request, Frame::Text(&pull), NOW_MS, &mut out);
            assert!(!backend.is_answered(request));
            let pages = sent(&out, request).len();
            assert!((1..6).contains(&pages), "{pages} pages");

            let mut out = Vec::new();
            let fresh = BackendId::stored(NEW.to_owned());
            backend.reset(fresh, &mut out).unwrap();
            let last = sent(&out, request);
            assert_eq!(last.len(), 1);
            for part in ["BackendIdMismatchError", OLD, NEW, "\"Failure\""] {
                assert!(last[0].contains(part), "{}", last[0]);
            }
            assert!(backend.is_answered(request));
            out.clear();
            backend.go_on(request, &mut out);
            assert!(sent(&out, request).is_empty(), "nothing follows");
        }
    }
}

#[test]
fn a_reset_closes_sockets_and_sends_them_nothing() {
    let mut backend = backend();
    let socket = backend.connect(Family::Rpc, Grant::default(), NOW_MS);
    let pull = speaker(Generation::V05).pull("7", true, None);
    backend.on_frame(socket, Frame::Text(&pull), NOW_MS, &mut Vec::new());
    let mut out = Vec::new();
    let fresh = BackendId::stored(NEW.to_owned());
    backend.reset(fresh, &mut out).unwrap();
    let is_closed = |output: &Output<HostText>| matches!(output, Output::Close { connection, code: 1012, .. } if *connection == socket);
    assert!(out.iter().any(is_closed));
    assert!(sent(&out, socket).is_empty());
    assert_eq!(backend.sockets().count(), 0);
}
