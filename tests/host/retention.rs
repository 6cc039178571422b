//! Stores that nobody opens for `TTL_DAYS`: they are deleted then, none is deleted before, and what that costs.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{Frame, Report, SyncBackend};
use livestore_sync_worker::limits::DAY_MS;
use livestore_sync_worker::wire::{Family, Transport};
use proptest::prelude::*;

use crate::cases;
use crate::deletion::Room;

const TTL_DAYS: u64 = 30;

fn room(ttl_days: u64) -> Room {
    let mut room = Room::new();
    room.rules.ttl_ms = (ttl_days > 0).then_some(ttl_days * DAY_MS);
    room
}

fn ttl(room: &mut Room, days: u64) {
    room.rules.ttl_ms = (days > 0).then_some(days * DAY_MS);
}

impl Room {
    /// What is kept of when it was opened.
    fn opened(&self) -> Option<String> {
        let kept = "SELECT value FROM livestore_sync_state WHERE key = 'opened'";
        self.sql.raw().query_row(kept, [], |row| row.get(0)).ok()
    }

    /// Time passes; alarms go off, and D1 answers.
    fn wait_until(&mut self, at_ms: u64) {
        loop {
            self.settle_within(at_ms);
            if self.alarm_at_ms.is_none_or(|alarm_ms| alarm_ms > at_ms) {
                break;
            }
        }
        self.now_ms = self.now_ms.max(at_ms);
    }

    fn settle_within(&mut self, at_ms: u64) {
        let (alarm_ms, now_ms) = (self.alarm_at_ms, self.now_ms);
        if alarm_ms.is_some_and(|alarm_ms| alarm_ms <= at_ms) {
            self.alarm();
            // D1 answers, and what follows at once is done.
            let left = at_ms.min(self.now_ms.max(now_ms) + 10_000);
            while self.answer_all()
                || self
                    .alarm_at_ms
                    .is_some_and(|alarm| alarm <= left && self.alarm())
            {}
        }
    }

    fn is_gone(&self) -> bool {
        self.sql.erased() > 0
    }
}

#[test]
fn without_it_nothing_is_kept_and_nothing_ends() {
    let mut room = room(0);
    room.push(2);
    room.settle();
    assert_eq!((room.opened(), room.alarm_at_ms), (None, None));
    assert!(room.state().get("retention").is_none());
    room.die();
    room.now_ms += 4_000 * DAY_MS;
    room.push(1);
    assert_eq!(room.opened(), None);
}

#[test]
fn a_store_that_nobody_opens_is_deleted_with_its_backup_by_one_alarm() {
    let mut room = room(TTL_DAYS);
    let start_ms = room.now_ms;
    room.push(2);
    room.settle();
    let ends_ms = start_ms + (TTL_DAYS + 1) * DAY_MS;
    assert_eq!(room.alarm_at_ms, Some(ends_ms));
    assert_eq!(
        room.state()["retention"]["openedAt"],
        "2026-11-22T10:19:11.954Z"
    );
    assert_eq!(
        room.state()["retention"]["endsAt"],
        "2026-12-23T10:19:11.954Z"
    );
    // It sleeps until then.
    room.die();
    let set = room.alarms_set;
    room.wait_until(ends_ms - 1);
    assert!(!room.is_gone());
    assert_eq!(room.alarms_set, set);
    room.wait_until(ends_ms + DAY_MS);
    assert!(room.is_gone());
    let told = room.told();
    let [.., expired, deleted] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(
        expired,
        "nobody has opened it for 30 days (TTL_DAYS): its 2 events are being deleted"
    );
    assert_eq!(
        deleted,
        "deleted 2 events, and in the backup 2 events of 1 lifetimes"
    );
    room.check_gone_but_for_the_alarm();
}

#[test]
fn a_push_writes_no_more_than_without_and_a_day_one_row() {
    let written = |room: &Room| room.sql.raw().total_changes();
    let mut counts = Vec::new();
    for days in [0, TTL_DAYS] {
        let mut room = room(days);
        room.push(1);
        room.settle();
        let socket = room.connect();
        let mut rows = Vec::new();
        for _ in 0..5 {
            let before = written(&room);
            room.push(1);
            rows.push(written(&room) - before);
        }
        room.now_ms += DAY_MS;
        for _ in 0..3 {
            let before = written(&room);
            room.push(1);
            rows.push(written(&room) - before);
        }
        room.turn(|backend, turn| backend.disconnect(socket, turn));
        counts.push(rows);
    }
    assert_eq!(counts[0], [2; 8]);
    assert_eq!(counts[1], [2, 2, 2, 2, 2, 3, 2, 2]);
}

#[test]
fn waking_sets_no_alarm_as_long_as_one_is_set() {
    let mut room = room(TTL_DAYS);
    room.push(2);
    room.settle();
    let (ends_ms, set) = (room.alarm_at_ms.unwrap(), room.alarms_set);
    for _ in 0..5 {
        room.die();
        room.now_ms += 3_600_000;
        let outputs = room.wakes_with_alarm();
        assert_eq!(outputs, 0, "a row at each wake would be too much");
    }
    assert_eq!((room.alarm_at_ms, room.alarms_set), (Some(ends_ms), set));
}

#[test]
fn a_copy_for_the_backup_takes_the_alarm_which_is_set_again_after_it() {
    let mut room = room(TTL_DAYS);
    room.push(2);
    let soon_ms = room.alarm_at_ms.unwrap();
    assert!(soon_ms < room.now_ms + DAY_MS);
    // Whoever dies here has that alarm.
    room.die();
    room.settle();
    let ends_ms = room.alarm_at_ms.unwrap();
    assert!(ends_ms > room.now_ms + TTL_DAYS * DAY_MS);
    room.push(1);
    assert!(room.alarm_at_ms.unwrap() < room.now_ms + DAY_MS);
    room.settle();
    assert_eq!(room.alarm_at_ms, Some(ends_ms));
}

#[test]
fn a_socket_that_stays_open_keeps_its_store_though_nothing_comes() {
    let mut room = room(TTL_DAYS);
    room.push(2);
    let socket = room.connect();
    let start_ms = room.now_ms;
    room.wait_until(start_ms + 100 * DAY_MS);
    assert!(!room.is_gone());
    room.turn(|backend, turn| backend.disconnect(socket, turn));
    let left_ms = room.now_ms;
    room.wait_until(left_ms + (TTL_DAYS + 1) * DAY_MS);
    assert!(room.is_gone(), "nor any longer");
}

#[test]
fn every_way_to_come_counts_and_an_operator_does_not() {
    for way in 0..5 {
        let mut room = room(TTL_DAYS);
        room.push(2);
        room.settle();
        let start_ms = room.now_ms;
        room.wait_until(start_ms + 20 * DAY_MS);
        room.visit().unwrap();
        let now_ms = room.now_ms;
        match way {
            0 => {
                room.turn(|backend, turn| {
                    let id = backend.connect(Family::Plain, Grant::default(), now_ms);
                    backend.disconnect(id, turn);
                });
            }
            1 | 2 => {
                let transport = if way == 1 {
                    Transport::Http
                } else {
                    Transport::DoRpc
                };
                room.turn(|backend, turn| {
                    let id = backend.connect_once(transport, Grant::default(), now_ms);
                    backend.on_frame(id, Frame::Text("[]"), turn);
                    backend.disconnect(id, turn);
                });
            }
            4 => {
                // A page that is left open, and goes on asking.
                room.turn(|backend, turn| {
                    let id = backend.connect(Family::Rpc, Grant::inspector(), now_ms);
                    backend.on_frame(id, Frame::Text(r#"{"_tag":"Ping"}"#), turn);
                });
                room.wait_until(start_ms + 40 * DAY_MS);
            }
            _ => {
                room.turn(SyncBackend::check_rows);
                room.turn(|backend, turn| backend.disconnect_all("", turn));
                room.state();
            }
        }
        room.die();
        room.wait_until(start_ms + 40 * DAY_MS);
        assert_eq!(room.is_gone(), way >= 3, "{way}");
    }
}

#[test]
fn a_store_from_before_begins_to_count_when_it_wakes() {
    let mut room = room(0);
    room.push(2);
    room.settle();
    room.die();
    room.now_ms += 400 * DAY_MS;
    ttl(&mut room, TTL_DAYS);
    // By an operator who asks for its state.
    room.visit().unwrap();
    let woken_ms = room.now_ms;
    assert_eq!(room.alarm_at_ms, Some(woken_ms + (TTL_DAYS + 1) * DAY_MS));
    room.wait_until(woken_ms + TTL_DAYS * DAY_MS);
    assert!(!room.is_gone());
    room.wait_until(woken_ms + (TTL_DAYS + 2) * DAY_MS);
    assert!(room.is_gone());
}

#[test]
fn what_counts_is_how_it_is_set_when_the_alarm_goes_off() {
    // Raised: the alarm finds that it is too early, and sets the next.
    let mut room = room(TTL_DAYS);
    room.push(2);
    room.settle();
    let start_ms = room.now_ms;
    room.die();
    ttl(&mut room, 90);
    room.wait_until(start_ms + 80 * DAY_MS);
    assert!(!room.is_gone());
    room.die();
    assert_eq!(room.wakes_with_alarm(), 0, "that is known at the next wake");
    room.wait_until(start_ms + 92 * DAY_MS);
    assert!(room.is_gone());

    // Lowered: whoever wakes it sets the alarm earlier, once.
    let mut room = self::room(90);
    room.push(2);
    room.settle();
    let start_ms = room.now_ms;
    room.die();
    ttl(&mut room, TTL_DAYS);
    assert_eq!(room.wakes_with_alarm(), 1);
    room.die();
    assert_eq!(room.wakes_with_alarm(), 0);
    room.wait_until(start_ms + 32 * DAY_MS);
    assert!(room.is_gone());

    // Switched off: it stays, and when that is switched on again nothing of before counts.
    let mut room = self::room(TTL_DAYS);
    room.push(2);
    room.settle();
    let start_ms = room.now_ms;
    room.die();
    ttl(&mut room, 0);
    room.wait_until(start_ms + 60 * DAY_MS);
    assert_eq!(room.opened(), None);
    assert_eq!(room.alarm_at_ms, None);
    room.push(1);
    room.settle();
    room.die();
    ttl(&mut room, TTL_DAYS);
    room.visit().unwrap();
    room.settle();
    room.wait_until(start_ms + 89 * DAY_MS);
    assert!(!room.is_gone());
    room.wait_until(start_ms + 93 * DAY_MS);
    assert!(room.is_gone());
}

#[test]
fn an_alarm_that_the_platform_has_lost_is_made_up_for_at_the_next_wake() {
    let mut room = room(TTL_DAYS);
    room.push(2);
    room.settle();
    room.die();
    room.alarm_at_ms = None;
    room.now_ms += 50 * DAY_MS;
    room.visit().unwrap();
    room.settle();
    assert!(room.is_gone());
}

#[test]
fn storage_that_fails_when_it_ends_has_it_end_later() {
    for at in 0..6 {
        let mut room = room(TTL_DAYS);
        room.push(2);
        room.settle();
        let ends_ms = room.alarm_at_ms.unwrap();
        room.wait_until(ends_ms - 1);
        room.sql.fail_after(at, crate::host_sql::When::Before);
        room.wait_until(ends_ms + DAY_MS);
        room.sql.heal();
        room.wait_until(ends_ms + 2 * DAY_MS);
        assert!(room.is_gone(), "{at}");
    }
}

#[derive(Clone, Debug)]
enum Happens {
    /// Hours pass.
    Wait(u64),
    Push,
    Connect,
    Evict,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (1_u64..60).prop_map(Happens::Wait),
        Just(Happens::Push),
        Just(Happens::Connect),
        Just(Happens::Evict),
    ]
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn no_store_ends_before_its_time_or_more_than_a_day_later(
        days in 1_u64..4,
        history in prop::collection::vec(happens(), 1..40),
    ) {
        let mut room = room(days);
        room.push(1);
        let (mut opened_ms, mut erased) = (room.now_ms, 0);
        let check = |room: &Room, opened_ms: u64, erased: usize| {
            let passed_ms = room.now_ms - opened_ms;
            if room.sql.erased() > erased {
                assert!(passed_ms >= days * DAY_MS, "{passed_ms}");
            } else {
                assert!(passed_ms <= (days + 1) * DAY_MS + 120_000, "{passed_ms}");
            }
        };
        for one in history {
            match one {
                Happens::Wait(hours) => {
                    // By the hour, so that it is seen when it ends.
                    for _ in 0..hours {
                        let at_ms = room.now_ms + 3_600_000;
                        room.wait_until(at_ms);
                        let is_here = room.sql.erased() == erased;
                        if is_here || room.now_ms - opened_ms < (days + 1) * DAY_MS + 4_000_000 {
                            check(&room, opened_ms, erased);
                        }
                        if !is_here {
                            break;
                        }
                    }
                    if room.sql.erased() > erased {
                        erased = room.sql.erased();
                        room.push(1);
                        opened_ms = room.now_ms;
                    }
                }
                Happens::Push => {
                    room.push(1);
                    opened_ms = room.now_ms;
                }
                Happens::Connect => {
                    room.visit().unwrap();
                    let id = room.connect();
                    room.turn(|backend, turn| backend.disconnect(id, turn));
                    opened_ms = room.now_ms;
                }
                Happens::Evict => room.die(),
            }
        }
        let expired = room.reports.iter().filter(|one| matches!(one, Report::StoreExpired { .. })).count();
        prop_assert_eq!(expired, erased);
    }
}
