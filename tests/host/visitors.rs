//! Who is let in by the object that its request was led to.

use livestore_sync_worker::auth::{Access, Grant};
use livestore_sync_worker::backend::{Refusal, Rules, SyncBackend, Turn};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::Limits;
use livestore_sync_worker::store::{EventStore, OpenError};
use livestore_sync_worker::wire::Family;

use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, When};

const STORE: &str = "visited";
const NOW_MS: u64 = 1_795_342_751_954;

fn open(sql: &HostSql) -> Result<EventStore<HostSql>, OpenError> {
    let fresh = BackendId::stored("a-backend-id---------".to_owned());
    EventStore::open(sql.clone(), StoreId::new(STORE), fresh).map(|(store, _)| store)
}

fn may_open(sql: &HostSql, store_id: &str, access: Access) -> Result<(), Refusal> {
    SyncBackend::may_open(sql, &StoreId::new(store_id), access)
}

#[test]
fn who_may_only_read_makes_no_store() {
    let sql = HostSql::in_memory(Binding::Doubles);
    assert_eq!(may_open(&sql, STORE, Access::ReadWrite), Ok(()));
    for access in [Access::ReadOnly, Access::Inspect] {
        assert_eq!(may_open(&sql, STORE, access), Err(Refusal::NoStore));
    }
    open(&sql).unwrap();
    assert_eq!(may_open(&sql, STORE, Access::ReadOnly), Ok(()));
    assert_eq!(
        may_open(&sql, "another", Access::ReadOnly),
        Err(Refusal::NoStore)
    );
    // An object that cannot read says so when it is opened: nobody is told that there is no store.
    sql.fail_after(0, When::Before);
    assert_eq!(may_open(&sql, STORE, Access::ReadOnly), Ok(()));
}

#[test]
fn a_socket_is_accepted_for_the_objects_own_store_as_long_as_there_is_room() {
    let limits = Limits {
        connections_max: 2,
        ..Limits::default()
    };
    let store = open(&HostSql::in_memory(Binding::Doubles)).unwrap();
    let mut backend = SyncBackend::new(store, limits, Rules::default(), fresh_ids(&[]));
    let (own, other) = (StoreId::new(STORE), StoreId::new("another"));
    let mut connections = Vec::new();
    for family in [Family::Rpc, Family::Plain] {
        assert_eq!(backend.admit(&other, NOW_MS), Err(Refusal::OtherObject));
        assert_eq!(backend.admit(&own, NOW_MS), Ok(()));
        connections.push(backend.connect(family, Grant::default(), NOW_MS));
    }
    assert_eq!(backend.admit(&own, NOW_MS), Err(Refusal::Connections));
    backend.disconnect(connections[0], &mut Turn::at(NOW_MS));
    assert_eq!(backend.admit(&own, NOW_MS), Ok(()));
    let state = backend.state(NOW_MS).unwrap();
    for (reason, times) in [("other-store", 2), ("connections", 1)] {
        let refused = format!(r#""reason":"{reason}""#);
        assert_eq!(state.matches(&refused).count(), times, "{state}");
    }
}

#[test]
fn who_is_not_let_in_over_http_is_told_why_by_a_status() {
    assert_eq!(Refusal::NoStore.status(), 404);
    assert_eq!(Refusal::OtherObject.status(), 400);
    assert_eq!(Refusal::Connections.status(), 503);
}
