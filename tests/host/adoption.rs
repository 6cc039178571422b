//! A log that sync-cf kept in D1 is brought into its object: all of it, by itself once it has begun, wherever D1 or storage
//! fails, the object dies, or somebody still writes there; and what could lose or mix events waits for an operator.

use livestore_sync_worker::backend::{
    Adoption, Candidate, Fetch, Plan, Report, SyncBackend, Wanted,
};
use livestore_sync_worker::event::{SeqNum, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::route::admin::Adopt;
use livestore_sync_worker::store::adoption::{self, Look};
use livestore_sync_worker::store::recall::{Holdings, Row as _};
use livestore_sync_worker::store::{EventStore, Glance};
use proptest::prelude::*;

use crate::cases;
use crate::d1::{D1, log_of};
use crate::host_sql::{HostText, When};
use crate::restore::{Room, STORE, backend_id, rows, store_id};

const OLD: &str = "lifetime-of-sync-cf--";
const FRESH: &str = "fresh-for-an-adoption";

/// The table as sync-cf 0.3.1 makes it in D1.
const TABLE: &str = "CREATE TABLE eventlog_7_kept ('seqNum' integer not null , 'parentSeqNum' integer not null , \
     'name' text not null , 'args' text  , 'createdAt' text not null , 'clientId' text not null , 'sessionId' text not \
     null , PRIMARY KEY ('seqNum')) strict";

/// A D1 with a log of these rows, and the log.
fn written(rows: &str) -> (D1, Vec<String>) {
    let d1 = D1::new();
    d1.0.execute_batch(TABLE).unwrap();
    d1.0.execute_batch(&format!("INSERT INTO eventlog_7_kept {rows}"))
        .unwrap();
    let log = log_of(&d1.0, "eventlog_7_kept");
    (d1, log)
}

/// What D1 has, as the edge asks for it.
fn candidate(d1: &D1, store_id: &StoreId, head: u64) -> Candidate {
    let look = Look::of(&d1.query(&adoption::look(store_id))[0]);
    if !look.has_log {
        return Candidate::default();
    }
    let head = SeqNum::clamped(i64::try_from(head).unwrap());
    let survey = d1.query(&adoption::survey::<HostText>(store_id, head));
    let owner = if look.has_claims {
        d1.query(&adoption::owner::<HostText>(store_id))
    } else {
        Vec::new()
    };
    Candidate {
        holdings: Holdings::of(&survey[0]),
        owner: owner.first().and_then(|row| row.text("owner")),
    }
}

fn decide(room: &Room, wanted: Wanted<'_>) -> Adoption {
    let glance = EventStore::glance(&room.sql, &store_id()).unwrap();
    let head = glance.as_ref().map_or(0, |glance| glance.head.get());
    let candidate = candidate(&room.d1, &store_id(), head);
    let fresh = backend_id(FRESH);
    Adoption::decide(
        &store_id(),
        "DB",
        &candidate,
        glance.as_ref(),
        wanted,
        &fresh,
    )
}

const BY_CONTACT: Wanted<'_> = Wanted::ByContact { unproven: false };

fn plan(room: &Room, wanted: Wanted<'_>) -> Plan {
    match decide(room, wanted) {
        Adoption::Plan(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

fn undecided(room: &Room, wanted: Wanted<'_>) -> String {
    match decide(room, wanted) {
        Adoption::Undecided(message) => message,
        other => panic!("{other:?}"),
    }
}

fn begin(room: &mut Room, plan: &Plan) {
    room.d1.0.execute_batch(adoption::CREATE_CLAIMS).unwrap();
    let backend_id = backend_id(&plan.backend_id);
    EventStore::plan_adoption(&room.sql, &store_id(), &plan.to_json(), &backend_id).unwrap();
    room.open();
}

/// An object of sync-cf 0.4 with `storage: d1`: a context, and no log.
fn object_of_04(d1: D1, head: u64) -> Room {
    let room = Room::new(d1);
    room.sql.set_up(&format!(
        "CREATE TABLE \"context_7\" (\"storeId\" text primary key   , \"currentHead\" integer   not null , \"backendId\" \
         text   not null ) strict; INSERT INTO context_7 VALUES ('{STORE}', {head}, '{OLD}')"
    ));
    room
}

/// An object of sync-cf 0.3: a number, and nothing else.
fn object_of_03(d1: D1, head: u64) -> Room {
    let room = Room::new(d1);
    room.sql.set_key_value_head(head);
    room
}

fn read(body: &str) -> Adopt {
    Adopt::read(body, &store_id()).unwrap()
}

#[test]
fn a_log_of_0_4_goes_on_in_its_lifetime() {
    let (d1, log) = written(&rows(3_000, 40));
    let mut room = object_of_04(d1, 3_000);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    assert!(room.is_restoring());
    room.settle();
    room.check_restored(&log, OLD);
    let adopted = |report: &Report| matches!(report, Report::Adopted { events: 3_000, .. });
    assert!(room.reports.iter().any(adopted), "{:?}", room.reports);
    let left = log_of(&room.d1.0, "eventlog_7_kept");
    assert_eq!(left, log, "what lies in D1 stays");
    let owner = "SELECT store_id FROM livestore_sync_adopted WHERE log = 'eventlog_7_kept'";
    assert_eq!(room.d1.rows(owner), [STORE]);
}

#[test]
fn a_log_of_0_3_goes_on_in_a_lifetime_of_its_own() {
    let (d1, log) = written(&rows(250, 10));
    let mut room = object_of_03(d1, 250);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, FRESH);
    room.die();
    room.open();
    assert_eq!(room.lifetime(), FRESH);
    let glance = EventStore::glance(&room.sql, &store_id()).unwrap().unwrap();
    assert_eq!((glance.events, glance.head.get()), (251, 251));
    let fresh = backend_id("yet-another-lifetime-");
    let (store, _) = EventStore::open(room.sql.clone(), store_id(), fresh).unwrap();
    assert!(
        !store.had_lifetimes(),
        "it is the first lifetime that there is"
    );
}

#[test]
fn the_events_of_an_interrupted_push_are_part_of_it() {
    let (d1, log) = written(&rows(30, 10));
    d1.0.execute_batch(
        "UPDATE eventlog_7_kept SET createdAt = '2026-02-01T00:00:00.000Z', clientId = 'one' WHERE seqNum > 20",
    )
    .unwrap();
    assert_eq!(log.len(), 30);
    let log = log_of(&d1.0, "eventlog_7_kept");
    let mut room = object_of_04(d1, 20);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, OLD);
}

#[test]
fn what_goes_on_behind_the_head_by_several_pushes_waits_for_an_operator() {
    let (d1, log) = written(&rows(30, 10));
    let mut room = object_of_04(d1, 20);
    let message = undecided(&room, BY_CONTACT);
    assert!(
        message.contains("behind its head, which is 20, with events of 10 pushes"),
        "{message}"
    );
    undecided(&room, Wanted::ByOperator(&read(r#"{"storeId":"kept"}"#)));
    let plan = plan(
        &room,
        Wanted::ByOperator(&read(r#"{"storeId":"kept","shared":true}"#)),
    );
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, OLD);
}

#[test]
fn a_head_of_0_4_above_its_log_is_kept() {
    let (d1, log) = written(&rows(20, 10));
    let mut room = object_of_04(d1, 25);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    assert_eq!((room.log(), room.lifetime()), (log, OLD.to_owned()));
    for _ in 0..2 {
        let store = room.backend.as_ref().unwrap().store();
        assert_eq!((store.head().get(), store.last_stored().get()), (25, 20));
        room.die();
        room.open();
    }
    room.push_after(25);
    assert_eq!(room.log().len(), 21);
}

#[test]
fn a_head_of_0_3_above_its_log_is_an_operators_decision() {
    for (head, lifetime, goes_on_from) in [("log", FRESH, 20), ("stored", FRESH, 25)] {
        let (d1, log) = written(&rows(20, 10));
        let mut room = object_of_03(d1, 25);
        let message = undecided(&room, BY_CONTACT);
        assert!(
            message.contains("events up to 25 were acknowledged, and it ends at 20"),
            "{message}"
        );
        undecided(&room, Wanted::ByContact { unproven: true });
        undecided(&room, Wanted::ByOperator(&read(r#"{"storeId":"kept"}"#)));
        let ask = read(&format!(r#"{{"storeId":"kept","head":"{head}"}}"#));
        let plan = plan(&room, Wanted::ByOperator(&ask));
        begin(&mut room, &plan);
        room.settle();
        assert_eq!((room.log(), room.lifetime()), (log, lifetime.to_owned()));
        let store = room.backend.as_ref().unwrap().store();
        assert_eq!(store.head().get(), goes_on_from);
        room.push_after(goes_on_from.try_into().unwrap());
        assert_eq!(room.log().len(), 21);
    }
}

#[test]
fn going_back_to_the_end_of_a_log_of_0_4_is_another_lifetime() {
    let (d1, log) = written(&rows(20, 10));
    let mut room = object_of_04(d1, 25);
    let ask = read(r#"{"storeId":"kept","head":"log"}"#);
    let plan = plan(&room, Wanted::ByOperator(&ask));
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, FRESH);
}

#[test]
fn a_log_that_the_object_knows_nothing_of_is_adopted_only_if_somebody_says_so() {
    let (d1, log) = written(&rows(20, 10));
    let mut room = Room::new(d1);
    undecided(&room, BY_CONTACT);
    plan(&room, Wanted::ByOperator(&read(r#"{"storeId":"kept"}"#)));
    let plan = plan(&room, Wanted::ByContact { unproven: true });
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, FRESH);
}

#[test]
fn a_table_belongs_to_one_store() {
    let (d1, _) = written(&rows(20, 10));
    let mut room = object_of_04(d1, 20);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    let claim = "UPDATE livestore_sync_adopted SET store_id = 'k.ept'";
    room.d1.0.execute_batch(claim).unwrap();
    let d1 = std::mem::replace(&mut room.d1, D1::new());
    // Another store of that name, which has a head, and one that has nothing.
    let mut other = object_of_04(d1, 20);
    let message = undecided(&other, BY_CONTACT);
    assert!(
        message.contains("another store of a similar name") && !message.contains("k.ept"),
        "{message}"
    );
    let ask = read(r#"{"storeId":"kept","shared":true}"#);
    let Adoption::Plan(shared) = decide(&other, Wanted::ByOperator(&ask)) else {
        panic!("an operator may");
    };
    // Taken meanwhile: it is not brought in.
    let mut stale = shared.clone();
    stale.adopted.as_mut().unwrap().by_force = false;
    begin(&mut other, &stale);
    other.settle();
    assert_eq!(other.state()["status"], "restore-failed");
    let d1 = std::mem::replace(&mut other.d1, D1::new());
    for unproven in [false, true] {
        let glance: Option<&Glance> = None;
        let candidate = candidate(&d1, &store_id(), 0);
        let (wanted, fresh) = (Wanted::ByContact { unproven }, backend_id(FRESH));
        let decided = Adoption::decide(&store_id(), "DB", &candidate, glance, wanted, &fresh);
        assert_eq!(decided, Adoption::Nothing, "it begins anew");
    }
    let mut third = object_of_04(d1, 20);
    begin(&mut third, &shared);
    third.settle();
    assert_eq!(third.state()["status"], "open");
    assert_eq!(
        third.d1.rows("SELECT store_id FROM livestore_sync_adopted"),
        [STORE]
    );
}

#[test]
fn a_log_that_was_adopted_and_is_gone_is_not_adopted_again_by_itself() {
    let (d1, _) = written(&rows(20, 10));
    let mut room = object_of_04(d1, 20);
    let first = plan(&room, BY_CONTACT);
    begin(&mut room, &first);
    room.settle();
    room.push_after(20);
    let d1 = std::mem::replace(&mut room.d1, D1::new());
    let emptied = object_of_04(d1, 21);
    for unproven in [false, true] {
        let message = undecided(&emptied, Wanted::ByContact { unproven });
        assert!(
            message.contains("was adopted from D1, and is gone"),
            "{message}"
        );
    }
    plan(&emptied, Wanted::ByOperator(&read(r#"{"storeId":"kept"}"#)));
}

#[test]
fn where_there_is_no_such_log_there_is_nothing_to_adopt() {
    let room = object_of_04(D1::new(), 20);
    assert_eq!(decide(&room, BY_CONTACT), Adoption::Nothing);
    let (d1, _) = written(&rows(20, 10));
    d1.0.execute_batch("DELETE FROM eventlog_7_kept").unwrap();
    let room = object_of_03(d1, 20);
    assert_eq!(decide(&room, BY_CONTACT), Adoption::Nothing);
}

#[test]
fn gaps_and_old_rows_come_as_they_are() {
    let (d1, _) = written(&rows(40, 10));
    d1.0.execute_batch(
        "DELETE FROM eventlog_7_kept WHERE seqNum BETWEEN 10 AND 12; UPDATE eventlog_7_kept SET parentSeqNum = 3 WHERE seqNum = 20; \
         UPDATE eventlog_7_kept SET args = 'null' WHERE seqNum = 21",
    )
    .unwrap();
    let log = log_of(&d1.0, "eventlog_7_kept");
    let mut room = object_of_04(d1, 40);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    room.check_restored(&log, OLD);
}

#[test]
fn on_committed_is_told_of_what_follows_alone() {
    let (d1, _) = written(&rows(20, 10));
    let mut room = object_of_03(d1, 20);
    room.rules.uses = Uses::NONE.on_committed();
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    room.settle();
    room.die();
    room.open();
    room.push_after(20);
    let position =
        "SELECT value ->> 'after' FROM livestore_sync_state WHERE key = 'follower:committed'";
    let after: i64 = room
        .sql
        .raw()
        .query_row(position, [], |row| row.get(0))
        .unwrap();
    assert_eq!(after, 20);
}

#[test]
fn what_sync_cf_still_writes_meanwhile_is_not_lost() {
    for late in [
        "INSERT INTO eventlog_7_kept SELECT 3001, 3000, name, args, createdAt, clientId, sessionId FROM eventlog_7_kept WHERE seqNum = 1",
        "INSERT INTO eventlog_7_kept SELECT 50, 49, name, args, createdAt, clientId, sessionId FROM eventlog_7_kept WHERE seqNum = 1",
    ] {
        let (d1, _) = written(&rows(3_000, 10));
        d1.0.execute_batch("DELETE FROM eventlog_7_kept WHERE seqNum = 50")
            .unwrap();
        let mut room = object_of_04(d1, 3_000);
        let plan = plan(&room, BY_CONTACT);
        begin(&mut room, &plan);
        assert!(room.alarm());
        // It is claimed, and the first events have come.
        for _ in 0..2 {
            let Fetch { id, step, .. } = room.fetches.pop().unwrap();
            let fetched = room.d1.fetch(&step);
            room.turn(|backend, turn| backend.on_fetched(id, fetched, turn));
        }
        room.d1.0.execute_batch(late).unwrap();
        let log = log_of(&room.d1.0, "eventlog_7_kept");
        room.settle();
        room.check_restored(&log, OLD);
    }
}

#[test]
fn a_log_that_loses_its_end_meanwhile_is_not_brought_in() {
    let (d1, _) = written(&rows(3_000, 10));
    let mut room = object_of_04(d1, 3_000);
    let plan = plan(&room, BY_CONTACT);
    begin(&mut room, &plan);
    assert!(room.alarm());
    room.d1
        .0
        .execute_batch("DELETE FROM eventlog_7_kept WHERE seqNum > 2990")
        .unwrap();
    room.settle();
    let state = room.state();
    assert_eq!(state["status"], "restore-failed");
    let message = state["restore"]["failed"].as_str().unwrap();
    assert_eq!(
        message,
        "the log in D1 ends at 2990, and not at 3000 any more"
    );
    assert!(room.log().is_empty() && room.is_restoring());
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn it_completes_by_itself_whatever_dies_and_fails_in_between(
        count in 1_u64..120,
        bytes in prop_oneof![Just(10_u64), Just(50_000), Just(1_000_000)],
        steps in proptest::collection::vec(0_u8..6, 0..40),
        is_old in any::<bool>(),
    ) {
        let (d1, log) = written(&rows(count, bytes.min(4_000_000 / count)));
        let mut room = if is_old { object_of_03(d1, count) } else { object_of_04(d1, count) };
        let plan = plan(&room, BY_CONTACT);
        begin(&mut room, &plan);
        for step in steps {
            match step {
                0 => room.die(),
                1 if room.backend.is_some() => room.answer(|| true),
                2 if room.backend.is_some() => {
                    if let Some(Fetch { id, step, .. }) = room.fetches.pop() {
                        let fetched = room.d1.fetch(&step);
                        room.turn(|backend, turn| backend.on_fetched(id, fetched, turn));
                    }
                }
                3 => {
                    room.alarm();
                }
                4 => room.sql.fail_after(0, When::Before),
                _ => {
                    if room.backend.is_none() {
                        room.open();
                    }
                }
            }
            let now = log_of(room.sql.raw(), "eventlog_7_kept");
            prop_assert!(now.is_empty() || now == log);
            let holds = room.backend.as_ref().is_some_and(SyncBackend::holds_alarm);
            prop_assert!(now == log || room.alarm_at_ms.is_some() || holds);
        }
        for _ in 0..3 {
            if room.backend.is_none() {
                room.open();
            }
        }
        room.settle();
        room.check_restored(&log, if is_old { FRESH } else { OLD });
    }
}
